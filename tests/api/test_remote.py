"""An archive on an object store reads like a local one; only tables in use are downloaded."""

from pathlib import Path
from typing import Any

import pytest

from palimpsest import Archive, SettingsError
from palimpsest.records.schemas import TABLES
from tests.api.processes import count_in_processes
from tests.pipeline.corpora import contents, ingest, reuse_articles, write_articles


@pytest.fixture
def remote_and_local(s3_archive: str, tmp_path: Path) -> tuple[Archive, Archive]:
    """A remote and a local archive of the same articles."""
    articles = write_articles(tmp_path / "in", reuse_articles())
    for location in (s3_archive, tmp_path / "press"):
        ingest(articles, location)
    return Archive(s3_archive), Archive(tmp_path / "press")


def rows_without_run(table: Any) -> list[str]:
    run_columns = [name for name in ("run_id",) if name in table.schema.names]
    return sorted(map(repr, table.drop_columns(run_columns).to_pylist()))


def test_remote_archive_reads_like_a_local_one(
    remote_and_local: tuple[Archive, Archive], s3_archive: str, tmp_path: Path
) -> None:
    remote, local = remote_and_local
    assert contents(s3_archive) == contents(tmp_path / "press")
    assert repr(remote).startswith(f"Archive({s3_archive!r}, version=1)  # 6 documents, ")
    assert remote.name == s3_archive
    for table in TABLES:
        if table != "runs":
            assert rows_without_run(remote.table(table)) == rows_without_run(local.table(table))
    article = tmp_path / "in" / "a.txt"
    assert rows_without_run(remote.occurrences(document=article)) == rows_without_run(
        local.occurrences(document=article)
    )
    assert remote.passages().equals(local.passages())
    assert remote.text(article) == local.text(article)
    assert remote.raw(article) == article.read_bytes()
    query = "SELECT count(*) AS n FROM passages"
    assert remote.sql(query).equals(local.sql(query))
    [version] = remote.versions().to_pylist()
    assert version["path"] == f"{s3_archive}/versions/00000001/manifest.json"


@pytest.mark.usefixtures("remote_and_local")
def test_only_tables_in_use_are_downloaded(
    s3: Any, s3_archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "another machine"))

    def downloaded_tables() -> set[str]:
        paths = [path for method, path in s3.requests if method == "GET" and "/tables/" in path]
        s3.requests.clear()
        return {path.split("/tables/")[1].split("/")[0] for path in paths}

    s3.requests.clear()
    remote = Archive(s3_archive)
    assert (remote.rows["documents"], downloaded_tables()) == (6, set())
    assert (remote.documents().num_rows, downloaded_tables()) == (6, {"documents"})
    remote.sql("SELECT count(*) FROM sources JOIN documents USING (document_id)")
    assert downloaded_tables() == {"sources"}
    remote.sql("FROM folds")
    assert downloaded_tables() == {"paragraphs", "variants"}
    remote.passages()
    assert downloaded_tables() == {"occurrences", "overlaps"}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_remote_archive_works_in_forked_and_spawned_processes(
    remote_and_local: tuple[Archive, Archive], method: str, root: Path
) -> None:
    remote, local = remote_and_local
    expected = count_in_processes(local.name, method, root)
    assert count_in_processes(remote.name, method, root) == expected


def test_error_on_an_address_without_an_archive_says_what_to_do(s3_archive: str) -> None:
    with pytest.raises(SettingsError, match=f"--archive {s3_archive}"):
        Archive(s3_archive)
