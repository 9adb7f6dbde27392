"""The export command: what it writes, prints and refuses."""

import json
from pathlib import Path
from typing import Any

import bagit
import pytest
from click.testing import CliRunner, Result

from palimpsest.cli.main import main
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import ingest, listing, make_paragraph, make_words, write_articles


def run(archive: Path, form: str, output: Path, *options: object) -> Result:
    arguments = ["export", archive, "--as", form, "--output", output, *options]
    return CliRunner().invoke(main, list(map(str, arguments)))


def export_as_json(archive: Path, form: str, output: Path, *options: object) -> dict[str, Any]:
    """Export an archive; return what the command prints with --json."""
    result = run(archive, form, output, *options, "--json")
    assert result.exit_code == 0, result.output
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of two versions; in the second, two documents share a paragraph."""
    folder = tmp_path_factory.mktemp("export")
    sources = write_articles(folder / "in", {"a.txt": [make_paragraph(1), make_paragraph(2)]})
    ingest(sources, folder / "press")
    short_passage = " ".join(make_words(60, 9))
    articles = {
        "b.txt": [make_paragraph(1, edit=2), make_paragraph(3)],
        "c.txt": [" ".join([*make_words(70, 40), short_passage])],
        "d.txt": [" ".join([*make_words(80, 40), short_passage])],
    }
    ingest(write_articles(sources, articles), folder / "press")
    return folder / "press"


FORMS = {
    "jsonl": ("press.jsonl.gz", "4 documents, 6 paragraphs"),
    "csv": ("tables", "11 tables, "),
    "annotations": ("shared.jsonl", "2 annotations"),
    "prov": ("press.json", " records"),
    "bagit": ("bag", " files, "),
}


@pytest.mark.parametrize("form", FORMS)
def test_export_prints_its_path_and_never_overwrites(
    form: str, archive: Path, tmp_path: Path
) -> None:
    name, counts = FORMS[form]
    path = tmp_path / name
    before = listing(archive)
    result = run(archive, form, path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert counts in result.stdout
    assert result.stdout.endswith(f"written to {path}\n")
    assert list(tmp_path.iterdir()) == [path]
    again = run(archive, form, path)
    assert again.exit_code == 2
    assert f"output {path}: already exists; name a new" in again.stderr
    assert list(tmp_path.iterdir()) == [path]
    assert listing(archive) == before


@pytest.mark.parametrize("form", FORMS)
def test_force_replaces_files_but_not_folders(form: str, archive: Path, tmp_path: Path) -> None:
    path = tmp_path / FORMS[form][0]
    if path.suffix:
        path.write_bytes(b"mine")
        assert run(archive, form, path, "--force").exit_code == 0
        assert path.read_bytes() != b"mine"
    else:
        result = run(archive, form, path, "--force")
        assert result.exit_code == 2
        assert f"--force: is for jsonl, annotations, prov, not for {form}" in result.stderr
        assert not path.exists()


@pytest.mark.parametrize("form", ["jsonl", "annotations", "prov"])
def test_unknown_endings_are_refused(form: str, archive: Path, tmp_path: Path) -> None:
    result = run(archive, form, tmp_path / "press.xlsx")
    assert result.exit_code == 2
    assert f"press.xlsx: {'expected' if form == 'annotations' else 'ends in none of'}" in (
        result.stderr
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMS)
def test_json_gives_path_format_version_and_counts(
    form: str, archive: Path, tmp_path: Path
) -> None:
    path = tmp_path / FORMS[form][0]
    printed = export_as_json(archive, form, path)
    assert list(printed)[:3] == ["output", "format", "version"]
    assert (printed["output"], printed["format"], printed["version"]) == (str(path), form, 2)
    assert len(printed) > 3


def test_earlier_version_can_be_exported(archive: Path, tmp_path: Path) -> None:
    printed = export_as_json(archive, "jsonl", tmp_path / "a.jsonl", "--version", 1)
    assert (printed["version"], printed["documents"]) == (1, 1)
    assert run(archive, "jsonl", tmp_path / "b.jsonl", "--version", 3).exit_code == 2


def test_lines_contain_the_name_of_the_archive(archive: Path, tmp_path: Path) -> None:
    export_as_json(archive, "jsonl", tmp_path / "a.jsonl", "--deduplicated")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert {line["source"] for line in lines} == {"press"}
    assert sum(len(line["paragraphs"]) for line in lines) == 5


def test_document_option_limits_the_export(archive: Path, tmp_path: Path) -> None:
    path = archive.parent / "in" / "b.txt"
    assert (
        export_as_json(archive, "jsonl", tmp_path / "b.jsonl", "--document", path)["documents"] == 1
    )
    printed = export_as_json(archive, "annotations", tmp_path / "b.json", "--document", path)
    assert printed["annotations"] == 1
    records = export_as_json(archive, "prov", tmp_path / "prov.json", "--document", path)["records"]
    assert (records["alternateOf"], records["specializationOf"]) == (1, 3)
    unknown = run(archive, "jsonl", tmp_path / "none.jsonl", "--document", "f" * 32)
    assert unknown.exit_code == 2
    assert "not in the archive" in unknown.stderr


def test_passages_are_filtered_as_in_the_passages_command(archive: Path, tmp_path: Path) -> None:
    count = export_as_json(archive, "annotations", tmp_path / "clear.jsonl", "--clear")[
        "annotations"
    ]
    assert count == 1
    strict = ("--clear", "--set", "passages.clear_score=1000")
    printed = export_as_json(archive, "annotations", tmp_path / "strict.jsonl", *strict)
    assert printed["annotations"] == 0
    rows = export_as_json(archive, "csv", tmp_path / "tables", "--min-words", 20)["rows"]
    assert (rows["passages"], rows["documents"]) == (1, 4)
    assert (
        "passages"
        not in export_as_json(archive, "csv", tmp_path / "few", "--without-passages")["rows"]
    )


def test_options_without_effect_are_refused_all_at_once(archive: Path, tmp_path: Path) -> None:
    options = ("--document", "x", "--with-raw", "--clear", "--set", "passages.clear_score=1")
    result = run(archive, "csv", tmp_path / "tables", *options, "--without-passages")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: --document: is for jsonl, annotations, prov, not for csv; leave it out",
        "error: --with-raw: is for bagit, not for csv; leave it out",
        "error: --clear: has no effect with --without-passages; leave one of them out",
        "error: --set: has no effect with --without-passages; leave one of them out",
    ]
    assert list(tmp_path.iterdir()) == []


def test_bag_without_some_raw_files_exits_with_1(tmp_path: Path) -> None:
    sources = write_articles(tmp_path / "in", {"a.txt": ["One."], "b.txt": ["Two."]})
    ingest(sources, tmp_path / "press")
    complete = run(tmp_path / "press", "bagit", tmp_path / "complete", "--with-raw")
    assert complete.exit_code == 0
    (sources / "a.txt").unlink()
    info = ("--bag-info", "Source-Organization=A = B")
    result = run(tmp_path / "press", "bagit", tmp_path / "bag", "--with-raw", *info)
    assert result.exit_code == 1
    assert "raw files of sources: 1 as-read, 1 vanished; data/raw.csv lists them" in result.stdout
    bag = bagit.Bag(str(tmp_path / "bag"))
    bag.validate()
    assert bag.info["Source-Organization"] == "A = B"
    wrong = run(tmp_path / "press", "bagit", tmp_path / "other", "--bag-info", "nothing")
    assert wrong.exit_code == 2
    assert "expected LABEL=VALUE" in wrong.stderr


def test_archive_without_documents_can_be_exported(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty.txt").touch()
    ingest(tmp_path / "in", tmp_path / "press")
    assert StoredArchive(tmp_path / "press").snapshot().rows("documents") == 0
    assert export_as_json(tmp_path / "press", "jsonl", tmp_path / "a.jsonl")["documents"] == 0
    assert export_as_json(tmp_path / "press", "csv", tmp_path / "tables")["rows"]["rejects"] == 1
    assert (
        export_as_json(tmp_path / "press", "annotations", tmp_path / "a.json")["annotations"] == 0
    )
    assert export_as_json(tmp_path / "press", "prov", tmp_path / "p.json")["records"]["entity"] == 0
    assert export_as_json(tmp_path / "press", "bagit", tmp_path / "bag", "--with-raw")["raw"] == {}
    bagit.Bag(str(tmp_path / "bag")).validate()


def test_missing_archive_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path / "none", "jsonl", tmp_path / "a.jsonl")
    assert result.exit_code == 2
    assert "there is none" in result.stderr


def test_nothing_is_written_into_the_archive(archive: Path) -> None:
    before = listing(archive)
    result = run(archive, "jsonl", archive / "documents" / "a.jsonl")
    assert result.exit_code == 2
    assert "is inside the archive" in result.stderr
    assert listing(archive) == before
