"""Commands that read an archive: verify, rebuild, digest and explain."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from palimpsest.ingest.finding.discover import uri_of
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import StoredArchive
from palimpsest.store.digest import digest_archive, digest_tables
from palimpsest.store.rebuild import rebuild_document
from tests.cli.test_main import run, run_in_subprocess
from tests.pipeline.corpora import ingest, listing, make_paragraph, write_articles
from tests.store.damage import copy_archive, put, rewrite


@pytest.fixture
def source(examples_archive: Path) -> dict[str, Any]:
    """A source of the examples whose text is not ASCII."""
    rows = StoredArchive(examples_archive).snapshot().read("sources").to_pylist()
    return next(row for row in rows if "wieselbacher" in row["uri"])


def test_verify_prints_each_check_and_exits_with_0(examples_archive: Path) -> None:
    result = run("verify", examples_archive)
    assert result.exit_code == 0, result.output
    verification = json.loads(run("verify", examples_archive, "--json").stdout)
    lines = result.stdout.splitlines()
    for check, line in zip(verification["checks"], lines[1:], strict=False):
        assert line.split() == [check["name"], f"{check['passed']:,}", "0", "0"]
        assert check["passed"] > 0
    assert lines[-1] == f"{examples_archive}, version 1: nothing failed"
    assert verification["archive"] == str(examples_archive)
    assert (verification["version"], verification["failed"]) == (1, 0)


def test_verify_prints_failures_and_exits_with_1(examples_archive: Path, tmp_path: Path) -> None:
    archive = copy_archive(examples_archive, tmp_path / "press")
    rewrite(archive, "documents", put("text_sha256", "0" * 64))
    before = listing(archive)
    for option in ((), ("--tables-only",)):
        result = run("verify", archive, *option)
        assert result.exit_code == 1
        [line] = [text for text in result.stdout.splitlines() if text.startswith("lossless: ")]
        assert f"expected {'0' * 64}" in line
        assert "1 failed" in result.stdout
    assert "fixity: 18 not checked: left out by --tables-only" in result.stdout
    assert listing(archive) == before


def test_verify_help_says_that_not_checked_is_neither_failure_nor_success() -> None:
    help_text = " ".join(run("verify", "--help").stdout.split())
    assert "counted as not checked, which is neither a failure nor a success" in help_text


def test_rebuild_prints_the_text_byte_for_byte(
    examples_archive: Path, source: dict[str, Any]
) -> None:
    text = rebuild_document(StoredArchive(examples_archive).snapshot(), source["document_id"])
    result = run("rebuild", examples_archive, source["document_id"][:8])
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes == text.encode()
    assert not text.isascii()


def test_rebuild_accepts_a_uri_and_a_path(examples_archive: Path, source: dict[str, Any]) -> None:
    path = Path(source["uri"].removeprefix("file://"))
    expected = run("rebuild", examples_archive, source["document_id"]).stdout_bytes
    relative = os.path.relpath(path)
    for name in (source["uri"], path, relative, source["document_id"].upper()):
        result = run("rebuild", examples_archive, name)
        assert result.exit_code == 0, result.output
        assert result.stdout_bytes == expected


def test_rebuild_accepts_the_path_of_a_deleted_file(tmp_path: Path) -> None:
    folder = write_articles(tmp_path / "in", {"a \udcff.txt": [make_paragraph(1)]})
    ingest(folder, tmp_path / "press")
    [path] = folder.iterdir()
    path.unlink()
    result = run_in_subprocess("rebuild", tmp_path / "press", path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == make_paragraph(1)


def test_rebuild_prints_the_text_and_its_document_as_json(
    examples_archive: Path, source: dict[str, Any]
) -> None:
    rebuilt = json.loads(run("rebuild", examples_archive, source["uri"], "--json").stdout)
    assert list(rebuilt) == ["document_id", "uri", "text_sha256", "text"]
    assert rebuilt["document_id"] == source["document_id"]
    assert rebuilt["uri"] == source["uri"]
    assert hashlib.sha256(rebuilt["text"].encode()).hexdigest() == rebuilt["text_sha256"]


def test_rebuild_writes_a_new_file_and_replaces_none(
    examples_archive: Path, source: dict[str, Any], tmp_path: Path
) -> None:
    target = tmp_path / "text"
    arguments = ("rebuild", examples_archive, source["uri"], "--output", target)
    result = run(*arguments)
    assert (result.exit_code, result.output) == (0, "")
    assert target.read_bytes().decode() == run("rebuild", examples_archive, source["uri"]).stdout
    target.write_bytes(b"mine")
    again = run(*arguments)
    assert again.exit_code == 2
    assert "already exists" in again.stderr
    assert target.read_bytes() == b"mine"
    refused = run(*arguments[:-1], tmp_path / "none" / "text")
    assert refused.exit_code == 2
    assert "No such file or directory" in refused.stderr


def test_rebuild_of_a_replaced_file_names_both_documents(tmp_path: Path) -> None:
    archive, folder = tmp_path / "press", tmp_path / "in"
    for seed in (1, 2):
        write_articles(folder, {"a.txt": [make_paragraph(seed)]})
        ingest(folder, archive)
    result = run("rebuild", archive, folder / "a.txt")
    assert result.exit_code == 2
    assert result.stdout == ""
    for row in StoredArchive(archive).snapshot().read("documents").to_pylist():
        assert row["document_id"] in result.stderr
    assert uri_of(str(folder / "a.txt")) in result.stderr


def test_rebuild_of_a_damaged_document_exits_with_3(
    examples_archive: Path, source: dict[str, Any], tmp_path: Path
) -> None:
    archive = copy_archive(examples_archive, tmp_path / "press")
    ids = StoredArchive(archive).snapshot().read("documents").column("document_id").to_pylist()
    row = ids.index(source["document_id"])
    rewrite(archive, "documents", put("text_sha256", "0" * 64, row))
    target = tmp_path / "text"
    result = run("rebuild", archive, source["uri"], "--output", target)
    assert result.exit_code == 3
    assert "palimpsest verify" in result.stderr
    assert not target.exists()


def test_digest_prints_one_line_per_table_and_one_for_all(examples_archive: Path) -> None:
    snapshot = StoredArchive(examples_archive).snapshot()
    tables, whole = digest_tables(snapshot), digest_archive(snapshot)
    lines = run("digest", examples_archive).stdout.splitlines()
    assert lines == [
        *(f"{digest}  {name}" for name, digest in tables.items()),
        f"{whole}  all tables",
    ]
    printed = json.loads(run("digest", examples_archive, "--json").stdout)
    assert printed == {"archive": whole, "tables": tables}
    assert set(tables) == set(TABLES) - {"runs"}


def test_archive_ingested_again_has_the_same_digest(
    examples: Path, examples_archive: Path, tmp_path: Path
) -> None:
    ingest(examples, tmp_path / "again")
    again = run("digest", tmp_path / "again").stdout
    assert again == run("digest", examples_archive).stdout


def test_digest_of_a_truncated_file_exits_with_3(examples_archive: Path, tmp_path: Path) -> None:
    archive = copy_archive(examples_archive, tmp_path / "press")
    [path] = StoredArchive(archive).snapshot().files("overlaps")
    path.write_bytes(path.read_bytes()[:-9])
    result = run("digest", archive)
    assert result.exit_code == 3
    assert str(path) in result.stderr
    assert result.stdout == ""


@pytest.mark.usefixtures("compiled_kernels")
def test_rebuilt_text_cannot_control_the_terminal(tmp_path: Path) -> None:
    text = make_paragraph(1).replace(" ", " \x1b]0;title\x07 ", 1)
    folder = write_articles(tmp_path / "in", {"a.txt": [text]})
    ingest(folder, tmp_path / "press")
    script = "from palimpsest.cli.main import main; main(prog_name='palimpsest')"
    command = [sys.executable, "-c", script, "rebuild", tmp_path / "press", folder / "a.txt"]
    controller, terminal = os.openpty()
    with os.fdopen(controller, "rb", buffering=0) as screen:
        result = subprocess.run(command, stdout=terminal, timeout=60, check=False)
        os.close(terminal)
        shown = screen.read(4096)
    assert result.returncode == 0
    assert b"]0;title" in shown
    assert not set(shown) & {0x1B, 0x07}


def test_explain_shows_the_overlaps_of_texts_and_documents(tmp_path: Path) -> None:
    articles = {"a.txt": [make_paragraph(1)], "b.txt": [make_paragraph(1, edit=3)]}
    folder = write_articles(tmp_path / "in", articles)
    archive = tmp_path / "press"
    ingest(folder, archive)
    result = run("explain", archive, folder / "a.txt", folder / "b.txt")
    assert result.exit_code == 0, result.output
    assert "near, 42 words: an overlap, folded into one paragraph" in result.stdout
    assert re.search(r"\{\+\w+-\w+\+\}", result.stdout)
    arguments = ("explain", archive, folder / "a.txt", folder / "b.txt", "--json")
    explanation = json.loads(run(*arguments).stdout)
    assert set(explanation) == {
        *("left", "right", "thresholds", "pairs_found", "pairs", "is_recorded", "passages")
    }
    [pair] = explanation["pairs"]
    text = pair["left"]["text_id"]
    alone = json.loads(run("explain", archive, text[:8], "--json", "--version", 1).stdout)
    assert alone["pairs"] == [pair]
    none = json.loads(run("explain", archive, text[:8], "--json", "--limit", 0).stdout)
    assert (none["pairs_found"], none["pairs"]) == (1, [])


def test_explain_says_that_two_documents_share_nothing(tmp_path: Path) -> None:
    articles = {"a.txt": [make_paragraph(1)], "b.txt": [make_paragraph(2)]}
    folder = write_articles(tmp_path / "in", articles)
    ingest(folder, tmp_path / "press")
    result = run("explain", tmp_path / "press", folder / "a.txt", folder / "b.txt")
    assert result.exit_code == 0, result.output
    assert "no text of one has an overlap with a text of the other" in result.stdout
