"""Opening, showing, pinning, sharing and pickling an archive; naming its documents."""

import gc
import html
import pickle
import re
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import palimpsest
from palimpsest import Archive, SettingsError, SourceError, compare
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.records import errors
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import StoredArchive
from palimpsest.store.rebuild import rebuild_document
from palimpsest.store.versions import clean, list_versions
from tests.api.processes import count_in_processes
from tests.api.two_papers import SETTINGS, make_archive, read_rows
from tests.pipeline.corpora import ingest, make_paragraph, write_articles


def test_all_public_names_exist_and_are_sorted() -> None:
    assert set(palimpsest.__all__) <= set(dir(palimpsest))
    for name in palimpsest.__all__:
        assert getattr(palimpsest, name) is not None
    assert sorted(palimpsest.__all__) == palimpsest.__all__
    assert Path(palimpsest.__file__).with_name("py.typed").is_file()


def test_every_error_is_exported() -> None:
    known = {
        error.__name__: error
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.ArchiveError)
    }
    exported = {name for name in palimpsest.__all__ if name.endswith("Error")}
    assert exported == known.keys() == set(palimpsest.errors.__all__)
    for name in exported:
        assert getattr(palimpsest, name) is known[name]


def test_importing_loads_neither_the_compiler_nor_duckdb() -> None:
    code = (
        "import sys, palimpsest; heavy = {'numba', 'duckdb', 'pandas', 'prefect', 'lxml'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("address", "version", "message"),
    [
        ("nowhere", None, "ingest sources into it first: palimpsest ingest SOURCE --archive"),
        ("https://nowhere/press", None, "expected a folder or s3://BUCKET/NAME"),
        (None, 3, "there is no version 3; found 1, 2"),
        (None, 0, "version = 0: expected a whole number, 1 or more"),
        (None, "2", "version = '2': expected a whole number, 1 or more"),
    ],
)
def test_error_on_opening_an_archive_says_what_to_do(
    archive_path: Path, address: str | None, version: Any, message: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        Archive(address or archive_path, version)


def test_path_may_be_a_string_and_start_with_a_tilde(
    archive_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(archive_path.parent))
    monkeypatch.chdir(archive_path.parent)
    for address in (str(archive_path), "press", Path("press"), "~/press"):
        assert Archive(address).name == str(archive_path)


def test_repr_reopens_the_archive_and_shows_row_counts(
    archive_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(archive_path.parent)
    archive = Archive("press")
    text = repr(archive)
    assert eval(text, {"Archive": Archive}).version == archive.version == 2
    assert text.startswith("Archive('press', version=2)  # 5 documents, ")
    for table in ("documents", "paragraphs", "variants", "occurrences", "overlaps", "rejects"):
        assert f"{len(read_rows(archive_path, table)):,} {table}" in text


def test_html_repr_shows_row_counts_and_escapes_the_name(tmp_path: Path) -> None:
    archive_path = tmp_path / "<b>press & 'co'"
    ingest(write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1)]}), archive_path)
    markup = Archive(archive_path)._repr_html_()
    assert "<b>" not in markup
    assert html.escape(str(archive_path)) in markup
    for table in TABLES:
        rows = len(read_rows(archive_path, table))
        assert f"<th>{table}</th><td>{rows}</td>" in markup


def test_archive_stays_at_its_version_until_another_is_opened(tmp_path: Path) -> None:
    archive_path = make_archive(tmp_path)
    archive = Archive(archive_path)
    before = archive.documents()
    later_articles = write_articles(
        tmp_path / "more", {"f/2024-12-01-late.txt": [make_paragraph(1)]}
    )
    ingest(later_articles, archive_path, SETTINGS)
    assert archive.version == 2
    assert archive.rows["documents"] == 5
    assert archive.documents().equals(before)
    assert archive.sql("SELECT count(*) AS n FROM documents").to_pylist() == [{"n": 5}]
    assert archive.versions().column("version").to_pylist() == [1, 2, 3]
    assert (archive.newest().version, archive.newest().rows["documents"]) == (3, 6)
    assert (archive.at(1).version, archive.at(1).rows["documents"]) == (1, 3)
    assert Archive(archive_path, 1).documents().equals(archive.at(1).documents())
    with pytest.raises(SettingsError, match="there is no version 9; found 1, 2, 3"):
        archive.at(9)


def test_versions_are_those_that_the_command_lists(archive: Archive, archive_path: Path) -> None:
    versions = archive.versions().to_pylist()
    expected = list_versions(StoredArchive(archive_path))
    for version in expected:
        version["published_at"] = datetime.fromisoformat(version["published_at"])
    assert versions == expected
    assert versions[0]["documents"] == 3


def test_clean_spares_the_version_of_an_open_archive(tmp_path: Path) -> None:
    archive_path = make_archive(tmp_path)
    archive = Archive(archive_path, 1)
    assert clean(StoredArchive(archive_path))["in_use"] == [1]
    assert archive.documents().num_rows == 3
    del archive
    gc.collect()
    assert clean(StoredArchive(archive_path))["dropped"] == [1]


def test_unpickled_archive_opens_at_the_same_version(
    archive_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(archive_path.parent)
    pickled = pickle.dumps(Archive("press", 1))
    monkeypatch.chdir("/")
    opened = pickle.loads(pickled)
    assert (opened.name, opened.version) == (str(archive_path), 1)
    assert opened.documents().num_rows == 3


@pytest.mark.usefixtures("compiled_kernels")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_archive_works_in_forked_and_spawned_processes(
    archive: Archive, method: str, root: Path
) -> None:
    rows = archive.rows
    assert count_in_processes(archive.name, method, root) == (
        rows["paragraphs"] + rows["variants"],
        rows["occurrences"],
    )


def test_threads_can_share_an_archive(archive: Archive) -> None:
    ids = archive.documents(columns=["document_id"]).column(0).to_pylist()[:3]

    def read_document(document_id: str) -> tuple[int, str, int]:
        query = "SELECT count(*) AS n FROM occurrences WHERE document_id = ?"
        [row] = archive.sql(query, [document_id]).to_pylist()
        assert archive.occurrences(document=document_id).num_rows == row["n"]
        return row["n"], archive.text(document_id), archive.passages(document_id).num_rows

    expected = list(map(read_document, ids))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read_document, ids * 2)) == expected * 2


def test_document_is_found_by_id_prefix_uri_or_path(
    opened_examples: Archive, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = examples / "wieselbacher-umschau" / "2024-10-08-glocke-im-muehlteich.txt"
    [row] = [row for row in opened_examples.sources().to_pylist() if path.name in row["uri"]]
    document_id = row["document_id"]
    monkeypatch.chdir(path.parent)
    names = [
        document_id,
        document_id[:8],
        document_id.upper(),
        row["uri"],
        str(path),
        path,
        path.name,
        Path(path.name),
    ]
    for name in names:
        assert opened_examples.document(name)["document_id"] == document_id, name


def test_single_document_and_paragraph_are_returned_as_dicts(
    archive: Archive, archive_path: Path
) -> None:
    sources = read_rows(archive_path, "sources")
    for row in read_rows(archive_path, "documents")[:2]:
        uris = sorted(
            source["uri"] for source in sources if source["document_id"] == row["document_id"]
        )
        assert archive.document(row["document_id"]) == {**row, "uris": uris}
    paragraphs = {row["paragraph_id"]: row for row in read_rows(archive_path, "paragraphs")}
    first = next(iter(paragraphs.values()))
    assert archive.paragraph(first["paragraph_id"][:8]) == first
    for row in read_rows(archive_path, "variants"):
        assert archive.paragraph(row["text_id"]) == paragraphs[row["paragraph_id"]]


def test_document_lists_the_uris_of_all_its_sources(opened_examples: Archive) -> None:
    [document_id] = {
        row["document_id"]
        for row in opened_examples.sources().to_pylist()
        if "brackwater" in row["uri"]
    }
    first, second = opened_examples.document(document_id)["uris"]
    assert "brackwater-mirror" in first
    assert "tarn-wire" in second


@pytest.mark.parametrize("paper", ["tarn-wire", "wieselbacher-umschau", "echo-des-joncs"])
def test_byte_spans_of_the_raw_bytes_decode_to_the_text(
    opened_examples: Archive, examples_archive: Path, examples: Path, paper: str
) -> None:
    path = min((examples / paper).iterdir())
    document = opened_examples.document(path)
    text, raw = opened_examples.text(path), opened_examples.raw(path)
    assert text == rebuild_document(
        StoredArchive(examples_archive).snapshot(), document["document_id"]
    )
    assert raw == path.read_bytes()
    occurrences = opened_examples.occurrences(document=path).to_pylist()
    for row, paragraph in zip(occurrences, text.split("\n\n"), strict=True):
        piece = raw[row["start_byte"] : row["end_byte"]]
        encoding = document["encoding"]
        assert (
            normalise_text(piece.decode("utf-16-le" if "16" in encoding else encoding)) == paragraph
        )


def test_raw_bytes_come_from_any_unchanged_source_even_in_a_container(
    tmp_path: Path,
) -> None:
    article = make_paragraph(1).encode()
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "all.zip", "w") as container:
        container.writestr("deep/a.txt", article)
    (tmp_path / "in" / "a.txt").write_bytes(article)
    (tmp_path / "in" / "b.txt").write_bytes(article)
    ingest(tmp_path / "in", tmp_path / "press")
    archive = Archive(tmp_path / "press")
    assert archive.rows["documents"] == 1
    uri = f"{tmp_path / 'in' / 'all.zip'}#member=deep/a.txt"
    (tmp_path / "in" / "a.txt").write_bytes(b"another article")
    (tmp_path / "in" / "b.txt").unlink()
    assert archive.raw(uri) == article
    (tmp_path / "in" / "all.zip").write_bytes(b"no longer a zip file")
    with pytest.raises(SourceError) as caught:
        archive.raw(uri)
    for message in (
        "a.txt: changed: the bytes now have SHA-256",
        "b.txt: vanished",
        "palimpsest rebuild",
    ):
        assert message in caught.value.detail
    assert archive.text(uri) == article.decode()


def test_compare_returns_the_same_as_the_command(examples: Path, tmp_path: Path) -> None:
    from palimpsest.evidence.compare import compare_files

    left = examples / "tarn-wire" / "2024-11-12-lantern-bridge-closed.txt"
    right = examples / "long-quay-review" / "2024-11-15-a-bridge-is-a-promise.txt"
    comparison = compare(left, str(right))
    assert comparison == compare_files(str(left), str(right))
    assert len(comparison["passages"]) > 1
    stricter = compare(left, right, settings={"align": {"min_score": 15}})
    assert 0 < len(stricter["passages"]) < len(comparison["passages"])
    with pytest.raises(SettingsError, match="no such file"):
        compare(left, tmp_path / "nothing.txt")
    with pytest.raises(SettingsError, match=r"align.min_scores"):
        compare(left, right, settings={"align": {"min_scores": 15}})
