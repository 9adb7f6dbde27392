"""Every command takes an address where it takes the path of an archive."""

import json
from pathlib import Path
from typing import Any

import bagit
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from palimpsest.cli.main import main
from palimpsest.records.schemas import TABLES
from tests.store.s3 import client


@pytest.fixture
def made(s3_archive: str, examples: Path) -> str:
    """An archive of some examples."""
    source = str(examples / "tarn-wire")
    run("ingest", source, "--archive", s3_archive, "--no-prefect")
    return s3_archive


def run(*arguments: str, expected: int = 0) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == expected, result.output
    return result


def told(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def test_commands_accept_the_address_of_an_archive(
    made: str, examples: Path, tmp_path: Path
) -> None:
    article = str(examples / "tarn-wire" / "2024-11-12-lantern-bridge-closed.txt")
    overview = run("show", made).output
    assert made.removeprefix("s3://") in overview
    assert len(told("show", made, "documents")) == len(list((examples / "tarn-wire").iterdir()))
    assert told("verify", made)["archive"] == made
    assert told("verify", made)["failed"] == 0
    assert isinstance(told("passages", made), list)
    other = next(str(one) for one in (examples / "tarn-wire").iterdir() if str(one) != article)
    assert told("explain", made, article, other)
    assert told("rebuild", made, article)["text"]
    before = told("digest", made)["archive"]
    local = str(tmp_path / "press")
    run("ingest", str(examples / "tarn-wire"), "--archive", local, "--no-prefect")
    assert told("digest", local)["archive"] == before
    assert told("reindex", made)["version"] == 2
    run("remove", made, article, "--reason", "asked for")
    assert told("compact", made)["version"] >= 3
    assert told("digest", made)["archive"] != before
    [first, *_] = told("versions", made)
    assert first["path"] == f"{made}/versions/00000001/manifest.json"
    assert told("clean", made)["dropped"][0] == 1


def test_exports_equal_those_of_the_same_archive_in_a_folder(
    made: str, examples: Path, tmp_path: Path
) -> None:
    local = str(tmp_path / "press")
    run("ingest", str(examples / "tarn-wire"), "--archive", local, "--no-prefect")
    lines = []
    for archive in (made, local):
        target = tmp_path / f"{len(lines)}.jsonl"
        run("export", archive, "--as", "jsonl", "--output", str(target))
        found = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
        for one in found:
            assert one.pop("source") == "press"
            one["metadata"].pop("run_id")
        lines.append(found)
    assert lines[0] == lines[1] != []
    run("export", made, "--as", "bagit", "--output", str(tmp_path / "bag"), "--with-raw")
    bagit.Bag(str(tmp_path / "bag")).validate()


def test_files_of_a_version_are_listed_as_addresses(made: str, tmp_path: Path) -> None:
    found = told("files", made)
    assert (found["archive"], found["version"]) == (made, 1)
    assert set(found["files"]) == set(TABLES)
    assert (
        run("files", made, "--table", "paragraphs").stdout.split() == found["files"]["paragraphs"]
    )
    assert told("files", made, "--table", "runs", "--version", "1")["files"] == {
        "runs": found["files"]["runs"]
    }
    rows = 0
    for address in found["files"]["paragraphs"]:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        client().download_file(bucket, key, str(tmp_path / "one.parquet"))
        rows += pq.read_metadata(tmp_path / "one.parquet").num_rows
    assert rows == len(told("show", made, "paragraphs", "--limit", "1000"))
    run("files", made, "--table", "phrases", expected=2)
    run("files", made, "--version", "9", expected=2)


def test_files_of_a_local_archive_are_listed_as_paths(examples_archive: Path) -> None:
    paths = told("files", str(examples_archive))["files"]["paragraphs"]
    assert sum(pq.read_metadata(path).num_rows for path in paths) > 50


def test_unusable_address_exits_with_the_code_for_its_cause(
    s3_archive: str, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there is none" in run("show", s3_archive, expected=2).output
    assert "of another kind" in run("show", "gs://shelves/press", expected=2).output
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    ingest = ["ingest", str(examples), "--archive", s3_archive, "--no-prefect"]
    assert "does not answer" in run(*ingest, expected=3).output
