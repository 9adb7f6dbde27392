"""Every command accepts the address of an archive on S3 instead of a path."""

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
def remote_archive(s3_archive: str, examples: Path) -> str:
    """The address of an archive of some examples."""
    source = str(examples / "tarn-wire")
    run("ingest", source, "--archive", s3_archive, "--no-prefect")
    return s3_archive


def run(*arguments: str, expected: int = 0) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == expected, result.output
    return result


def run_json(*arguments: str) -> Any:
    """Run a command with --json; return the value that it prints."""
    return json.loads(run(*arguments, "--json").stdout)


def test_commands_accept_the_address_of_an_archive(
    remote_archive: str, examples: Path, tmp_path: Path
) -> None:
    article = str(examples / "tarn-wire" / "2024-11-12-lantern-bridge-closed.txt")
    overview = run("show", remote_archive).output
    assert remote_archive.removeprefix("s3://") in overview
    assert len(run_json("show", remote_archive, "documents")) == len(
        list((examples / "tarn-wire").iterdir())
    )
    assert run_json("verify", remote_archive)["archive"] == remote_archive
    assert run_json("verify", remote_archive)["failed"] == 0
    assert isinstance(run_json("passages", remote_archive), list)
    other = next(str(path) for path in (examples / "tarn-wire").iterdir() if str(path) != article)
    assert run_json("explain", remote_archive, article, other)
    assert run_json("rebuild", remote_archive, article)["text"]
    before = run_json("digest", remote_archive)["archive"]
    local = str(tmp_path / "press")
    run("ingest", str(examples / "tarn-wire"), "--archive", local, "--no-prefect")
    assert run_json("digest", local)["archive"] == before
    assert run_json("reindex", remote_archive)["version"] == 2
    run("remove", remote_archive, article, "--reason", "asked for")
    assert run_json("compact", remote_archive)["version"] >= 3
    assert run_json("digest", remote_archive)["archive"] != before
    [first, *_] = run_json("versions", remote_archive)
    assert first["path"] == f"{remote_archive}/versions/00000001/manifest.json"
    assert run_json("clean", remote_archive)["dropped"][0] == 1


def test_exports_equal_those_of_the_same_archive_in_a_folder(
    remote_archive: str, examples: Path, tmp_path: Path
) -> None:
    local = str(tmp_path / "press")
    run("ingest", str(examples / "tarn-wire"), "--archive", local, "--no-prefect")
    exports = []
    for archive in (remote_archive, local):
        target = tmp_path / f"{len(exports)}.jsonl"
        run("export", archive, "--as", "jsonl", "--output", str(target))
        rows = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            assert row.pop("source") == "press"
            row["metadata"].pop("run_id")
        exports.append(rows)
    assert exports[0] == exports[1] != []
    run("export", remote_archive, "--as", "bagit", "--output", str(tmp_path / "bag"), "--with-raw")
    bagit.Bag(str(tmp_path / "bag")).validate()


def test_files_of_a_version_are_listed_as_addresses(remote_archive: str, tmp_path: Path) -> None:
    printed = run_json("files", remote_archive)
    assert (printed["archive"], printed["version"]) == (remote_archive, 1)
    assert set(printed["files"]) == set(TABLES)
    assert (
        run("files", remote_archive, "--table", "paragraphs").stdout.split()
        == printed["files"]["paragraphs"]
    )
    assert run_json("files", remote_archive, "--table", "runs", "--version", "1")["files"] == {
        "runs": printed["files"]["runs"]
    }
    rows = 0
    for address in printed["files"]["paragraphs"]:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        client().download_file(bucket, key, str(tmp_path / "table.parquet"))
        rows += pq.read_metadata(tmp_path / "table.parquet").num_rows
    assert rows == len(run_json("show", remote_archive, "paragraphs", "--limit", "1000"))
    run("files", remote_archive, "--table", "phrases", expected=2)
    run("files", remote_archive, "--version", "9", expected=2)


def test_files_of_a_local_archive_are_listed_as_paths(examples_archive: Path) -> None:
    paths = run_json("files", str(examples_archive))["files"]["paragraphs"]
    assert sum(pq.read_metadata(path).num_rows for path in paths) > 50


def test_unusable_address_exits_with_the_code_for_its_cause(
    s3_archive: str, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there is none" in run("show", s3_archive, expected=2).output
    assert "unsupported address" in run("show", "gs://shelves/press", expected=2).output
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    ingest = ["ingest", str(examples), "--archive", s3_archive, "--no-prefect"]
    assert "does not answer" in run(*ingest, expected=3).output
