"""Commands that maintain an archive, and commands that read its earlier versions."""

import json
from pathlib import Path
from typing import Any

import pytest

from palimpsest.ingest.finding.discover import uri_of
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import StoredArchive
from palimpsest.store.commit import open_writer
from palimpsest.store.digest import digest_archive
from tests.cli.test_main import run
from tests.pipeline.corpora import ingest, listing, make_paragraph, write_articles

MAINTENANCE = ("remove", "compact", "clean", "reindex", "versions")
READING = ("show", "passages", "digest", "verify", "rebuild")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    articles = {"a.txt": [make_paragraph(1)], "b.txt": [make_paragraph(1, edit=3)]}
    return write_articles(tmp_path / "in", articles)


@pytest.fixture
def archive(corpus: Path, fresh_archive: Path) -> Path:
    """An archive of two versions: of one article, and of two that share a passage."""
    ingest(corpus / "a.txt", fresh_archive)
    ingest(corpus / "b.txt", fresh_archive)
    return fresh_archive


def run_json(*arguments: object, code: int = 0) -> Any:
    """Run a command with --json; return the value that it prints."""
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def usage_error(*arguments: object) -> str:
    """Run a command that is refused as wrong usage; return its message."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return str(result.stderr)


def document_of(archive: Path, path: Path) -> str:
    """Return the id of the document that was read from a file."""
    rows = StoredArchive(archive).snapshot().read("sources").to_pylist()
    return str(next(row["document_id"] for row in rows if row["uri"] == uri_of(str(path))))


def test_remove_lists_removed_documents_and_rows(corpus: Path, archive: Path) -> None:
    document = document_of(archive, corpus / "b.txt")
    result = run("remove", archive, corpus / "b.txt", "--reason", "asked by the author")
    assert result.exit_code == 0, result.output
    first, counts, hint = result.stdout.splitlines()
    assert first == f"removed: {document}"
    assert counts == "version 3: removed 1 paragraphs, 1 texts that occur nowhere else, 1 overlaps"
    assert hint == (
        f"earlier versions still contain them; delete those: palimpsest clean {archive}"
    )
    [row] = StoredArchive(archive).snapshot().read("removals").to_pylist()
    assert (row["document_id"], row["reason"]) == (document, "asked by the author")


def test_remove_prints_its_counts_as_json(corpus: Path, archive: Path) -> None:
    document = document_of(archive, corpus / "b.txt")
    removal = run_json("remove", archive, document[:8], "--reason", "asked by the author")
    assert removal.pop("run_id") == StoredArchive(archive).snapshot().manifest.run_id
    assert removal == {
        "archive": str(archive), "version": 3, "documents": [document],
        "paragraphs": 1, "texts": 1, "overlaps": 1,
    }  # fmt: skip


def test_remove_accepts_the_path_of_a_deleted_file(
    corpus: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (corpus / "b.txt").unlink()
    monkeypatch.chdir(corpus.parent)
    assert run_json("remove", archive, "in/b.txt", "--reason", "deleted anyway")["version"] == 3


def test_ingest_reports_that_a_document_was_removed(corpus: Path, archive: Path) -> None:
    run_json("remove", archive, corpus / "b.txt", "--reason", "asked by the author")
    result = run("ingest", corpus, "--archive", archive, "--no-prefect")
    assert result.exit_code == 1, result.output
    assert "1 removed" in result.stdout


def test_remove_names_every_unknown_document(corpus: Path, archive: Path) -> None:
    before = listing(archive)
    names = ("nobody", corpus / "b.txt", "0" * 32)
    message = usage_error("remove", archive, *names, "--reason", "asked")
    assert [line.split("'")[1] for line in message.splitlines()] == ["nobody", "0" * 32]
    assert listing(archive) == before


def test_remove_needs_a_reason(corpus: Path, archive: Path) -> None:
    before = listing(archive)
    assert "--reason" in usage_error("remove", archive, corpus / "b.txt")
    assert "reason: empty" in usage_error("remove", archive, corpus / "b.txt", "--reason", " ")
    assert "DOCUMENT" in usage_error("remove", archive, "--reason", "asked")
    assert listing(archive) == before


def test_compact_reports_files_before_and_after(archive: Path) -> None:
    files = sum(len(StoredArchive(archive).snapshot().files(name)) for name in TABLES)
    before = digest_archive(StoredArchive(archive).snapshot())
    result = run("compact", archive)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"version 3: {files} files before, {len(TABLES)} now\n"
    again = run_json("compact", archive)
    assert again == {"version": 3, "files_before": len(TABLES), "files_after": len(TABLES)}
    assert digest_archive(StoredArchive(archive).snapshot()) == before


def test_reindex_reports_the_number_of_indexed_texts(archive: Path) -> None:
    result = run("reindex", archive)
    assert (result.exit_code, result.stdout) == (0, "version 3: index of 2 texts\n")
    assert run_json("reindex", archive) == {"version": 4, "texts": 2}


def test_clean_reports_deleted_versions(archive: Path) -> None:
    open_snapshot = StoredArchive(archive).snapshot(1)
    (StoredArchive(archive).staging / "dead").mkdir()
    result = run("clean", archive)
    assert result.exit_code == 0, result.output
    deleted, leftovers, in_use = result.stdout.splitlines()
    assert deleted == "versions deleted: 0, 0.0 MB freed"
    assert leftovers == "leftovers of interrupted runs deleted: 1"
    assert in_use == "still in use, and kept for now: versions 1"
    assert open_snapshot.rows("documents") == 1
    del open_snapshot
    report = run_json("clean", archive)
    assert report.pop("bytes_freed") > 0
    assert report == {"dropped": [1], "in_use": [], "left_by_runs": 0}
    assert run_json("clean", archive)["dropped"] == []


def test_clean_keeps_the_requested_number_of_versions(archive: Path) -> None:
    run_json("reindex", archive)
    assert run_json("clean", archive, "--keep", 2)["dropped"] == [1]
    assert [row["version"] for row in run_json("versions", archive)] == [2, 3]


@pytest.mark.parametrize("keep", ["0", "-1", "all"])
def test_clean_keeps_at_least_one_version(archive: Path, keep: str) -> None:
    before = listing(archive)
    assert "--keep" in usage_error("clean", archive, "--keep", keep)
    assert listing(archive) == before


def test_versions_are_listed_one_per_line(corpus: Path, archive: Path) -> None:
    run_json("remove", archive, corpus / "b.txt", "--reason", "asked")
    result = run("versions", archive)
    assert result.exit_code == 0, result.output
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["version", "published", "(UTC)", "by", "documents", "paragraphs"]
    cells = [line.split() for line in lines]
    assert [[cell[0], *cell[3:]] for cell in cells] == [
        ["1", "ingest", "1", "1"], ["2", "ingest", "2", "1"], ["3", "remove", "1", "1"],
    ]  # fmt: skip
    listed = run_json("versions", archive)
    assert [row["published_at"][:10] for row in listed] == [cell[1] for cell in cells]
    for row in listed:
        assert Path(row["path"], "paragraphs").is_dir()


def test_show_reads_an_earlier_version(archive: Path) -> None:
    documents = {
        version: [row["rows"] for row in run_json("show", archive, "--version", version)
                  if row["table"] == "documents"]
        for version in (1, 2)
    }  # fmt: skip
    assert documents == {1: [1], 2: [2]}
    assert "version 1" in run("show", archive, "--version", 1).stdout
    assert len(run_json("show", archive, "documents", "--version", 1)) == 1
    assert len(run_json("show", archive, "documents")) == 2


def test_passages_of_an_earlier_version_are_shown(archive: Path) -> None:
    assert run_json("passages", archive, "--version", 1) == []
    assert run("passages", archive, "--version", 1).stdout == "no passages\n"
    assert run_json("passages", archive, "--version", 2) == run_json("passages", archive)
    assert len(run_json("passages", archive)) == 1


def test_digest_of_an_earlier_version_is_printed(
    corpus: Path, archive: Path, tmp_path: Path
) -> None:
    ingest(corpus / "a.txt", tmp_path / "first")
    assert run_json("digest", archive, "--version", 1) == run_json("digest", tmp_path / "first")
    assert run("digest", archive, "--version", 2).stdout == run("digest", archive).stdout
    assert run_json("digest", archive, "--version", 1) != run_json("digest", archive)


def test_earlier_version_is_verified_except_for_the_index(archive: Path) -> None:
    checks = {
        check["name"]: check for check in run_json("verify", archive, "--version", 1)["checks"]
    }
    assert checks["lossless"]["passed"] == 1
    assert checks["index"]["not_checked_because"] == {"the index is that of the current version": 1}
    result = run("verify", archive, "--version", 1)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"{archive}, version 1: nothing failed"
    checks = {
        check["name"]: check for check in run_json("verify", archive, "--version", 2)["checks"]
    }
    assert checks["index"]["passed"] > 0
    assert checks["index"]["not_checked"] == 0


def test_document_is_rebuilt_from_an_earlier_version(corpus: Path, archive: Path) -> None:
    path = corpus / "a.txt"
    run_json("remove", archive, path, "--reason", "asked")
    assert "not in the archive" in usage_error("rebuild", archive, path)
    assert run_json("rebuild", archive, path, "--version", 1)["text"] == make_paragraph(1)
    assert run("rebuild", archive, path, "--version", 2).stdout == make_paragraph(1)


@pytest.mark.parametrize("command", READING)
def test_unknown_version_exits_with_2_and_lists_the_existing_ones(
    corpus: Path, archive: Path, command: str
) -> None:
    arguments = [corpus / "a.txt"] if command == "rebuild" else []
    for option in ((), ("--json",)):
        message = usage_error(command, archive, *arguments, "--version", 7, *option)
        assert (
            message
            == f"error: archive {archive}: there is no version 7; found 1, 2; name one of these\n"
        )
    assert "--version" in usage_error(command, archive, *arguments, "--version", "last")


@pytest.mark.parametrize("command", [*MAINTENANCE, *READING])
def test_missing_archive_exits_with_2_and_creates_none(tmp_path: Path, command: str) -> None:
    arguments = ["a.txt"] if command in {"remove", "rebuild"} else []
    options = ["--reason", "asked"] if command == "remove" else []
    for option in ((), ("--json",)):
        message = usage_error(command, tmp_path / "press", *arguments, *options, *option)
        assert str(tmp_path / "press") in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", MAINTENANCE[:-1])
def test_command_stops_waiting_for_a_locked_archive(
    corpus: Path, archive: Path, command: str
) -> None:
    before = digest_archive(StoredArchive(archive).snapshot())
    arguments = [corpus / "a.txt", "--reason", "asked"] if command == "remove" else []
    with open_writer(StoredArchive(archive), "another"):
        result = run(command, archive, *arguments, "--wait", 0)
    assert result.exit_code == 3, result.output
    assert "another run is writing" in result.stderr
    assert [row["version"] for row in run_json("versions", archive)] == [1, 2]
    assert digest_archive(StoredArchive(archive).snapshot()) == before
