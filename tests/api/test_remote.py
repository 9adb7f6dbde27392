"""An archive on an object store is read like one in a folder, and what is not used is not brought."""

from pathlib import Path
from typing import Any

import pytest

from palimpsest import Archive, SettingsError
from palimpsest.records.schemas import TABLES
from tests.api.processes import ask_in_processes
from tests.pipeline.corpora import contents, ingest, reuse_articles, write_articles


@pytest.fixture
def both(s3_archive: str, tmp_path: Path) -> tuple[Archive, Archive]:
    """The same articles in an archive on the store and in one in a folder."""
    articles = write_articles(tmp_path / "in", reuse_articles())
    for place in (s3_archive, tmp_path / "press"):
        ingest(articles, place)
    return Archive(s3_archive), Archive(tmp_path / "press")


def without_run(table: Any) -> list[str]:
    dropped = [name for name in ("run_id",) if name in table.schema.names]
    return sorted(map(repr, table.drop_columns(dropped).to_pylist()))


def test_an_address_gives_what_a_path_gives(
    both: tuple[Archive, Archive], s3_archive: str, tmp_path: Path
) -> None:
    remote, local = both
    assert contents(s3_archive) == contents(tmp_path / "press")
    assert repr(remote).startswith(f"Archive({s3_archive!r}, version=1)  # 6 documents, ")
    assert remote.name == s3_archive
    for name in TABLES:
        if name != "runs":
            assert without_run(remote.table(name)) == without_run(local.table(name))
    a = tmp_path / "in" / "a.txt"
    assert without_run(remote.occurrences(document=a)) == without_run(local.occurrences(document=a))
    assert remote.passages().equals(local.passages())
    assert remote.text(a) == local.text(a)
    assert remote.raw(a) == a.read_bytes()
    query = "SELECT count(*) AS n FROM passages"
    assert remote.sql(query).equals(local.sql(query))
    [version] = remote.versions().to_pylist()
    assert version["path"] == f"{s3_archive}/versions/00000001/manifest.json"


@pytest.mark.usefixtures("both")
def test_only_tables_that_are_used_are_brought(
    s3: Any, s3_archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "another machine"))

    def brought() -> set[str]:
        paths = [path for method, path in s3.requests if method == "GET" and "/tables/" in path]
        s3.requests.clear()
        return {path.split("/tables/")[1].split("/")[0] for path in paths}

    s3.requests.clear()
    remote = Archive(s3_archive)
    assert (remote.rows["documents"], brought()) == (6, set())
    assert (remote.documents().num_rows, brought()) == (6, {"documents"})
    remote.sql("SELECT count(*) FROM sources JOIN documents USING (document_id)")
    assert brought() == {"sources"}
    remote.sql("FROM folds")
    assert brought() == {"paragraphs", "variants"}
    remote.passages()
    assert brought() == {"occurrences", "overlaps"}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_may_be_forked_and_started_beside_an_archive_on_a_store(
    both: tuple[Archive, Archive], method: str, root: Path
) -> None:
    remote, local = both
    expected = ask_in_processes(local.name, method, root)
    assert ask_in_processes(remote.name, method, root) == expected


def test_an_address_without_an_archive_says_what_to_do(s3_archive: str) -> None:
    with pytest.raises(SettingsError, match=f"--archive {s3_archive}"):
        Archive(s3_archive)
