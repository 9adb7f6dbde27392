"""An archive is opened, shown, held at a version, shared and handed on; documents are named."""

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
from palimpsest.store.archive import StoredArchive as Place
from palimpsest.store.rebuild import rebuild_document
from palimpsest.store.versions import clean, list_versions
from tests.api.processes import ask_in_processes
from tests.api.two_papers import SETTINGS, make_shelf, plain
from tests.pipeline.corpora import ingest, make_paragraph, write_articles


def test_what_is_exported_is_what_is_public() -> None:
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
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("address", "version", "told"),
    [
        ("nowhere", None, "ingest sources into it first: palimpsest ingest SOURCE --archive"),
        ("https://nowhere/press", None, "expected a folder, or s3://BUCKET/NAME"),
        (None, 3, "there is no version 3; found 1, 2"),
        (None, 0, "version = 0: expected a whole number, 1 or more"),
        (None, "2", "version = '2': expected a whole number, 1 or more"),
    ],
)
def test_what_cannot_be_opened_says_what_to_do(
    shelf: Path, address: str | None, version: Any, told: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        Archive(address or shelf, version)


def test_a_path_may_be_a_string_and_begin_with_a_tilde(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(shelf.parent))
    monkeypatch.chdir(shelf.parent)
    for address in (str(shelf), "press", Path("press"), "~/press"):
        assert Archive(address).name == str(shelf)


def test_an_archive_says_what_opens_it_and_how_many_rows_it_has(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shelf.parent)
    archive = Archive("press")
    shown = repr(archive)
    assert eval(shown, {"Archive": Archive}).version == archive.version == 2
    assert shown.startswith("Archive('press', version=2)  # 5 documents, ")
    for name in ("documents", "paragraphs", "variants", "occurrences", "overlaps", "rejects"):
        assert f"{len(plain(shelf, name)):,} {name}" in shown


def test_a_notebook_shows_tables_and_no_name_is_markup(tmp_path: Path) -> None:
    name = tmp_path / "<b>press & 'co'"
    ingest(write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1)]}), name)
    shown = Archive(name)._repr_html_()
    assert "<b>" not in shown
    assert html.escape(str(name)) in shown
    for table in TABLES:
        rows = len(plain(name, table))
        assert f"<th>{table}</th><td>{rows}</td>" in shown


def test_an_archive_stays_at_its_version_until_a_newer_one_is_asked_for(tmp_path: Path) -> None:
    press = make_shelf(tmp_path)
    held = Archive(press)
    before = held.documents()
    more = write_articles(tmp_path / "more", {"f/2024-12-01-late.txt": [make_paragraph(1)]})
    ingest(more, press, SETTINGS)
    assert held.version == 2
    assert held.rows["documents"] == 5
    assert held.documents().equals(before)
    assert held.sql("SELECT count(*) AS n FROM documents").to_pylist() == [{"n": 5}]
    assert held.versions().column("version").to_pylist() == [1, 2, 3]
    assert (held.newest().version, held.newest().rows["documents"]) == (3, 6)
    assert (held.at(1).version, held.at(1).rows["documents"]) == (1, 3)
    assert Archive(press, 1).documents().equals(held.at(1).documents())
    with pytest.raises(SettingsError, match="there is no version 9; found 1, 2, 3"):
        held.at(9)


def test_versions_are_told_as_the_command_tells_them(archive: Archive, shelf: Path) -> None:
    found = archive.versions().to_pylist()
    told = list_versions(Place(shelf))
    for one in told:
        one["published_at"] = datetime.fromisoformat(one["published_at"])
    assert found == told
    assert found[0]["documents"] == 3


def test_cleaning_spares_the_version_of_an_archive_that_lives(tmp_path: Path) -> None:
    press = make_shelf(tmp_path)
    held = Archive(press, 1)
    assert clean(Place(press))["in_use"] == [1]
    assert held.documents().num_rows == 3
    del held
    gc.collect()
    assert clean(Place(press))["dropped"] == [1]


def test_a_pickled_archive_is_opened_at_the_same_version(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shelf.parent)
    pickled = pickle.dumps(Archive("press", 1))
    monkeypatch.chdir("/")
    opened = pickle.loads(pickled)
    assert (opened.name, opened.version) == (str(shelf), 1)
    assert opened.documents().num_rows == 3


@pytest.mark.usefixtures("compiled_kernels")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_may_be_forked_and_started_beside_an_archive(
    archive: Archive, method: str, root: Path
) -> None:
    rows = archive.rows
    assert ask_in_processes(archive.name, method, root) == (
        rows["paragraphs"] + rows["variants"],
        rows["occurrences"],
    )


def test_threads_may_share_an_archive(archive: Archive) -> None:
    ids = archive.documents(columns=["document_id"]).column(0).to_pylist()[:3]

    def ask(document_id: str) -> tuple[int, str, int]:
        query = "SELECT count(*) AS n FROM occurrences WHERE document_id = ?"
        [counted] = archive.sql(query, [document_id]).to_pylist()
        assert archive.occurrences(document=document_id).num_rows == counted["n"]
        return counted["n"], archive.text(document_id), archive.passages(document_id).num_rows

    one_by_one = list(map(ask, ids))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, ids * 2)) == one_by_one * 2


def test_a_document_is_named_by_id_beginning_uri_or_path(
    examples_opened: Archive, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = examples / "wieselbacher-umschau" / "2024-10-08-glocke-im-muehlteich.txt"
    [row] = [row for row in examples_opened.sources().to_pylist() if path.name in row["uri"]]
    its_id = row["document_id"]
    monkeypatch.chdir(path.parent)
    names = [
        its_id,
        its_id[:8],
        its_id.upper(),
        row["uri"],
        str(path),
        path,
        path.name,
        Path(path.name),
    ]
    for name in names:
        assert examples_opened.document(name)["document_id"] == its_id, name


def test_one_document_and_one_paragraph_are_rows_as_dicts(archive: Archive, shelf: Path) -> None:
    sources = plain(shelf, "sources")
    for row in plain(shelf, "documents")[:2]:
        uris = sorted(one["uri"] for one in sources if one["document_id"] == row["document_id"])
        assert archive.document(row["document_id"]) == {**row, "uris": uris}
    paragraphs = {row["paragraph_id"]: row for row in plain(shelf, "paragraphs")}
    some = next(iter(paragraphs.values()))
    assert archive.paragraph(some["paragraph_id"][:8]) == some
    for row in plain(shelf, "variants"):
        assert archive.paragraph(row["text_id"]) == paragraphs[row["paragraph_id"]]


def test_the_uris_of_a_document_are_those_of_all_its_sources(examples_opened: Archive) -> None:
    [its_id] = {
        row["document_id"]
        for row in examples_opened.sources().to_pylist()
        if "brackwater" in row["uri"]
    }
    first, second = examples_opened.document(its_id)["uris"]
    assert "brackwater-mirror" in first
    assert "tarn-wire" in second


@pytest.mark.parametrize("paper", ["tarn-wire", "wieselbacher-umschau", "echo-des-joncs"])
def test_text_and_raw_bytes_lead_to_each_other(
    examples_opened: Archive, examples_archive: Path, examples: Path, paper: str
) -> None:
    path = min((examples / paper).iterdir())
    document = examples_opened.document(path)
    text, raw = examples_opened.text(path), examples_opened.raw(path)
    assert text == rebuild_document(Place(examples_archive).snapshot(), document["document_id"])
    assert raw == path.read_bytes()
    places = examples_opened.occurrences(document=path).to_pylist()
    for row, paragraph in zip(places, text.split("\n\n"), strict=True):
        cut = raw[row["start_byte"] : row["end_byte"]]
        encoding = document["encoding"]
        assert (
            normalise_text(cut.decode("utf-16-le" if "16" in encoding else encoding)) == paragraph
        )


def test_raw_bytes_come_out_of_containers_and_from_whichever_source_still_has_them(
    tmp_path: Path,
) -> None:
    article = make_paragraph(1).encode()
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "all.zip", "w") as packed:
        packed.writestr("deep/a.txt", article)
    (tmp_path / "in" / "a.txt").write_bytes(article)
    (tmp_path / "in" / "b.txt").write_bytes(article)
    ingest(tmp_path / "in", tmp_path / "press")
    archive = Archive(tmp_path / "press")
    assert archive.rows["documents"] == 1
    name = f"{tmp_path / 'in' / 'all.zip'}#member=deep/a.txt"
    (tmp_path / "in" / "a.txt").write_bytes(b"another article")
    (tmp_path / "in" / "b.txt").unlink()
    assert archive.raw(name) == article
    (tmp_path / "in" / "all.zip").write_bytes(b"no archive any more")
    with pytest.raises(SourceError) as caught:
        archive.raw(name)
    for told in (
        "a.txt: changed: the bytes now have SHA-256",
        "b.txt: vanished",
        "palimpsest rebuild",
    ):
        assert told in caught.value.detail
    assert archive.text(name) == article.decode()


def test_compare_gives_what_the_command_gives(examples: Path, tmp_path: Path) -> None:
    from palimpsest.evidence.compare import compare_files

    left = examples / "tarn-wire" / "2024-11-12-lantern-bridge-closed.txt"
    right = examples / "long-quay-review" / "2024-11-15-a-bridge-is-a-promise.txt"
    told = compare(left, str(right))
    assert told == compare_files(str(left), str(right))
    assert len(told["passages"]) > 1
    few = compare(left, right, settings={"align": {"min_score": 15}})
    assert 0 < len(few["passages"]) < len(told["passages"])
    with pytest.raises(SettingsError, match="no such file"):
        compare(left, tmp_path / "nothing.txt")
    with pytest.raises(SettingsError, match=r"align.min_scores"):
        compare(left, right, settings={"align": {"min_scores": 15}})
