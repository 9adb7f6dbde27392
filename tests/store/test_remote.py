"""An archive on an object store, with an S3 server: publishing, competing writers, local copies."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import palimpsest.store.remote
from palimpsest.records.errors import (
    ContractError,
    OutrunError,
    SettingsError,
    TransientError,
    UnsureError,
)
from palimpsest.records.schemas import TABLES
from palimpsest.store.address import absolute, open_archive
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.commit import ChangeSet, open_writer, retry_if_outrun
from palimpsest.store.digest import digest_archive
from palimpsest.store.remote import RemoteArchive
from palimpsest.store.versions import clean, list_versions
from tests.store.rows import SEALED, all_rows, make_rows, publish
from tests.store.s3 import client, keys, on_another_machine
from tests.sweep.attempts import TornError
from tests.sweep.remote import read_plainly

KEY = "document_id-000000"


def add(archive: StoredArchive, run_id: str, number: int) -> Snapshot:
    """Publish a version with one more row in each table."""
    return publish(archive, run_id, {name: make_rows(name, number, number + 1) for name in TABLES})


def with_segment(archive: StoredArchive, run_id: str) -> Snapshot:
    """Publish a version with an index segment of arbitrary content."""
    with open_writer(archive, run_id) as writer:
        (archive.index / run_id).mkdir()
        (archive.index / run_id / "texts.npy").write_bytes(run_id.encode())
        return writer.commit(ChangeSet(sealed=SEALED, segments=[run_id]))


def named(archive: StoredArchive) -> set[str]:
    """Return the keys of all objects that the versions of an archive need."""
    found = {f"versions/{one.version:08d}/manifest.json" for one in archive.published()}
    for manifest in archive.published():
        for name in TABLES:
            found |= {f"tables/{name}/{file['name']}" for file in manifest.files[name]}
    return found | {"archive.json"}


def copied(archive: StoredArchive) -> set[str]:
    """Return the files of tables that are cached here."""
    return {str(one.relative_to(archive.versions)) for one in archive.versions.rglob("*.parquet")}


def on(environ: dict[str, Any], method: str, ending: str) -> bool:
    return environ["REQUEST_METHOD"] == method and environ["PATH_INFO"].endswith(ending)


def test_rows_are_those_of_an_archive_in_a_folder(
    s3_archive: str, fresh_archive: Path, tmp_path: Path
) -> None:
    withdrawn = {"documents": pa.table({"document_id": [KEY]})}
    snapshots = []
    for archive in (StoredArchive(fresh_archive), open_archive(s3_archive)):
        publish(archive, "r1", {name: make_rows(name, 0, 3) for name in TABLES})
        publish(archive, "r2", {name: make_rows(name, 3, 5) for name in TABLES}, withdrawn)
        snapshots.append(archive.snapshot())
    with on_another_machine(tmp_path / "elsewhere"):
        snapshots.append(open_archive(s3_archive).snapshot())
    assert len({digest_archive(one) for one in snapshots}) == 1
    assert all_rows(snapshots[0]) == all_rows(snapshots[1]) == all_rows(snapshots[2])
    assert KEY not in snapshots[2].read("documents").column("document_id").to_pylist()


def test_plain_reader_finds_the_files_in_the_manifest(s3_archive: str, tmp_path: Path) -> None:
    add(open_archive(s3_archive), "r1", 0)
    add(open_archive(s3_archive), "r2", 1)
    bucket, _, prefix = s3_archive.removeprefix("s3://").partition("/")
    there = keys(s3_archive)
    newest = max(key for key in there if key.startswith("versions/") and there[key])
    assert newest == "versions/00000002/manifest.json"
    plain = client()
    manifest = json.load(plain.get_object(Bucket=bucket, Key=f"{prefix}/{newest}")["Body"])
    archive = open_archive(s3_archive)
    for name in TABLES:
        expected = [
            f"{s3_archive}/tables/{name}/{file['name']}" for file in manifest["files"][name]
        ]
        assert archive.addresses(archive.manifest(), name) == expected
        rows = 0
        for file in manifest["files"][name]:
            key = f"tables/{name}/{file['name']}"
            assert there[key] == file["bytes"]
            plain.download_file(bucket, f"{prefix}/{key}", str(tmp_path / "one.parquet"))
            rows += pq.read_metadata(tmp_path / "one.parquet").num_rows
        assert rows == 2
    assert set(there) == named(archive)


def test_only_new_files_are_uploaded(s3_archive: str, s3: Any) -> None:
    archive = open_archive(s3_archive)
    add(archive, "r1", 0)
    with_segment(archive, "r2")
    s3.requests.clear()
    add(archive, "r3", 1)
    written = {path for method, path in s3.requests if method == "PUT"}
    new = {f"/tables/{name}/r3.parquet" for name in TABLES} | {"/versions/00000003/manifest.json"}
    assert {path.removeprefix(f"/{s3_archive.removeprefix('s3://')}") for path in written} == new


def test_second_of_two_writers_publishes_nothing(s3_archive: str, tmp_path: Path) -> None:
    add(open_archive(s3_archive), "r1", 0)
    before = keys(s3_archive)
    with (
        on_another_machine(tmp_path / "elsewhere"),
        open_writer(open_archive(s3_archive), "slow") as slow,
    ):
        rows = {name: make_rows(name, 5, 6) for name in TABLES}
        with on_another_machine(tmp_path / "copies"):
            first = add(open_archive(s3_archive), "quick", 1)
        with pytest.raises(OutrunError, match=r"has published version 2.*run it again"):
            slow.commit(ChangeSet(added=rows, sealed=SEALED))
    with on_another_machine(tmp_path / "third"):
        assert all_rows(open_archive(s3_archive).snapshot()) == all_rows(first)
    assert not [key for key in keys(s3_archive) if "slow" in key]
    assert set(before) < set(keys(s3_archive))


def test_outrun_step_is_repeated_on_the_newest_version(s3_archive: str, tmp_path: Path) -> None:
    bases = []

    @retry_if_outrun
    def work(archive: StoredArchive, run_id: str) -> Snapshot:
        with open_writer(archive, f"{run_id}-{len(bases)}") as writer:
            bases.append(writer.base.manifest.version if writer.base else 0)
            if len(bases) < 3:
                with on_another_machine(tmp_path / "elsewhere"):
                    add(open_archive(s3_archive), f"other-{len(bases)}", 10 + len(bases))
            return writer.commit(ChangeSet(sealed=SEALED))

    assert work(open_archive(s3_archive), "r").manifest.version == 3
    assert bases == [0, 1, 2]
    assert open_archive(s3_archive).snapshot().rows("documents") == 2


def test_writer_suspended_while_versions_were_dropped_publishes_nothing(
    s3_archive: str, tmp_path: Path
) -> None:
    add(open_archive(s3_archive), "r1", 0)
    with open_writer(open_archive(s3_archive), "away") as away:
        with on_another_machine(tmp_path / "elsewhere"):
            for number in (2, 3, 4):
                add(open_archive(s3_archive), f"r{number}", number)
            assert clean(open_archive(s3_archive))["dropped"] == [1, 2, 3]
        with pytest.raises(OutrunError):
            away.commit(ChangeSet(sealed=SEALED))
    archive = open_archive(s3_archive)
    assert [one["version"] for one in list_versions(archive)] == [4]
    assert archive.snapshot().rows("documents") == 4
    with pytest.raises(SettingsError, match="there is no version 2; found 4"):
        archive.snapshot(2)


def test_manifest_whose_answer_is_lost_is_published(s3_archive: str, s3: Any) -> None:
    lost = []

    def fault(environ: dict[str, Any]) -> str | None:
        if on(environ, "PUT", "/versions/00000001/manifest.json") and not lost:
            lost.append(environ)
            return "lose"
        return None

    s3.fault = fault
    assert add(open_archive(s3_archive), "r1", 0).manifest.version == 1
    assert lost
    assert [one.run_id for one in open_archive(s3_archive).published()] == ["r1"]


@pytest.mark.parametrize("what", ["lose", "refuse"])
def test_commit_is_unsure_if_the_store_stops_answering(
    s3_archive: str, s3: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    add(open_archive(s3_archive), "r1", 0)
    attempts = []

    def fault(environ: dict[str, Any]) -> str | None:
        if on(environ, "PUT", "/versions/00000002/manifest.json"):
            attempts.append(True)
            return what
        return "refuse" if attempts else None

    s3.fault = fault
    with pytest.raises(UnsureError, match="not known whether version 2 was published"):
        add(open_archive(s3_archive), "r2", 1)
    s3.fault = lambda _: None
    run_ids = [one.run_id for one in open_archive(s3_archive).published()]
    assert run_ids == (["r1", "r2"] if what == "lose" else ["r1"])
    assert open_archive(s3_archive).snapshot().rows("documents") == len(run_ids)
    add(open_archive(s3_archive), "r3", 2)
    assert open_archive(s3_archive).snapshot().rows("documents") == len(run_ids) + 1


def test_upload_that_fails_publishes_nothing(
    s3_archive: str, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    before = all_rows(add(open_archive(s3_archive), "r1", 0))
    s3.fault = lambda environ: "refuse" if on(environ, "PUT", "/paragraphs/r2.parquet") else None
    with pytest.raises(TransientError, match=r"tables/paragraphs/r2\.parquet"):
        add(open_archive(s3_archive), "r2", 1)
    s3.fault = lambda _: None
    assert all_rows(open_archive(s3_archive).snapshot()) == before


def test_store_that_ignores_conditional_writes_is_refused(s3_archive: str, s3: Any) -> None:
    s3.fault = lambda environ: environ.pop("HTTP_IF_NONE_MATCH", None) and None
    for _ in range(2):
        with pytest.raises(SettingsError, match="ignores 'If-None-Match"):
            add(open_archive(s3_archive), "r1", 0)
    assert set(keys(s3_archive)) == {"archive.json"}


def test_reading_a_table_downloads_only_its_files(s3_archive: str, tmp_path: Path) -> None:
    add(open_archive(s3_archive), "r1", 0)
    with on_another_machine(tmp_path / "elsewhere"):
        archive = open_archive(s3_archive)
        snapshot = archive.snapshot()
        assert snapshot.rows("documents") == 1
        assert copied(archive) == set()
        snapshot.read("documents")
        assert copied(archive) == {"00000001/documents/r1.parquet"}


def test_next_version_downloads_only_new_files(s3_archive: str, s3: Any, tmp_path: Path) -> None:
    add(open_archive(s3_archive), "r1", 0)
    with on_another_machine(tmp_path / "elsewhere"):
        all_rows(open_archive(s3_archive).snapshot())
    add(open_archive(s3_archive), "r2", 1)
    s3.requests.clear()
    with on_another_machine(tmp_path / "elsewhere"):
        all_rows(open_archive(s3_archive).snapshot())
    fetched = [path for method, path in s3.requests if method == "GET" and "parquet" in path]
    assert len(fetched) == len(TABLES)
    assert all(path.endswith("/r2.parquet") for path in fetched)


def test_copies_of_older_versions_are_removed_unless_in_use(s3_archive: str) -> None:
    archive = open_archive(s3_archive)
    snapshot = add(archive, "r1", 0)
    add(archive, "r2", 1)
    assert sorted(one.name for one in archive.versions.iterdir()) == ["00000001", "00000002"]
    assert snapshot.rows("documents") == len(snapshot.read("documents")) == 1
    del snapshot
    add(archive, "r3", 2)
    there = sorted(one.name for one in archive.versions.iterdir())
    assert there == [
        "00000002",
        "00000003",
    ]  # the base is locked until the next version is published
    assert not list((archive.home / "fetching").iterdir())
    earlier = archive.snapshot(1)
    assert len(earlier.read("documents")) == 1


@pytest.mark.parametrize("harm", ["truncated", "half-fetched", "ahead"])
def test_damaged_copies_are_downloaded_again(s3_archive: str, harm: str) -> None:
    archive = open_archive(s3_archive)
    before = all_rows(with_segment(archive, "r0") and add(archive, "r1", 0))
    file = archive.versions / "00000002" / "documents" / "r1.parquet"
    if harm == "truncated":
        os.truncate(file, 10)
        (file.parent / "r0.parquet").unlink(missing_ok=True)
    elif harm == "half-fetched":
        (archive.home / "fetching" / "dead").mkdir(parents=True)
        (archive.home / "fetching" / "dead" / "documents-r1.parquet").write_bytes(b"half")
        shutil.rmtree(archive.versions)
        archive.versions.mkdir()
    else:
        shutil.copytree(archive.versions / "00000002", archive.versions / "00000003")
        (archive.versions / "building-dead").mkdir()
    archive = open_archive(s3_archive)
    assert archive.snapshot().manifest.version == 2
    assert all_rows(archive.snapshot()) == before
    add(archive, "r2", 1)
    assert archive.snapshot().manifest.version == 3
    assert len(archive.snapshot().read("documents")) == 2
    assert {one.name for one in archive.versions.iterdir()} <= {"00000002", "00000003"}


def test_another_archive_at_the_same_address_is_not_mixed_with_the_old(s3_archive: str) -> None:
    add(open_archive(s3_archive), "r1", 0)
    add(open_archive(s3_archive), "r2", 1)
    bucket, _, prefix = s3_archive.removeprefix("s3://").partition("/")
    for key in keys(s3_archive):
        client().delete_object(Bucket=bucket, Key=f"{prefix}/{key}")
    assert not open_archive(s3_archive).exists()
    with pytest.raises(SettingsError, match=f"archive {s3_archive}: there is none"):
        open_archive(s3_archive).snapshot()
    add(open_archive(s3_archive), "other", 7)
    snapshot = open_archive(s3_archive).snapshot()
    assert (snapshot.manifest.version, snapshot.manifest.run_id) == (1, "other")
    assert snapshot.read("documents").column("document_id").to_pylist() == ["document_id-000007"]


def test_segments_are_downloaded_when_used(s3_archive: str, tmp_path: Path) -> None:
    with_segment(open_archive(s3_archive), "r1")
    assert "index/r1/texts.npy" in keys(s3_archive)
    with on_another_machine(tmp_path / "elsewhere"):
        archive = open_archive(s3_archive)
        names = archive.snapshot().manifest.segments
        assert not archive.index.exists()
        [folder] = archive.segments(names)
        assert (folder / "texts.npy").read_bytes() == b"r1"


def test_cleaning_keeps_needed_objects_and_possible_uploads(
    s3_archive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = open_archive(s3_archive)
    add(archive, "r1", 0)
    with_segment(archive, "r2")
    with_segment(archive, "r3")
    withdrawn = {"documents": pa.table({"document_id": [KEY]})}
    publish(archive, "r4", {}, withdrawn)
    bucket, _, prefix = s3_archive.removeprefix("s3://").partition("/")
    stray = {"tables/documents/dead.parquet", "index/dead/texts.npy"}
    for key in stray:
        client().put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=b"torn")
    sizes = keys(s3_archive)
    done = clean(archive, keep=2)
    assert done["dropped"] == [1, 2]
    assert done["bytes_freed"] == sizes["index/r2/texts.npy"]
    empty = {f"versions/{number:08d}/manifest.json" for number in (1, 2)}
    assert set(keys(s3_archive)) == named(archive) | empty | stray | {"index/r3/texts.npy"}
    assert "tables/documents/r1.parquet" in keys(s3_archive)  # of version 3
    clean(archive)
    assert "tables/documents/r1.parquet" not in keys(s3_archive)
    monkeypatch.setattr(palimpsest.store.remote, "GRACE_SECONDS", 0.0)
    clean(archive)
    empty |= {"versions/00000003/manifest.json"}
    assert set(keys(s3_archive)) == named(archive) | empty | {"index/r3/texts.npy"}
    assert len(archive.snapshot().read("documents")) == 0
    assert len(archive.snapshot().read("runs")) == 1


def test_reading_a_version_dropped_meanwhile_is_an_error(s3_archive: str, tmp_path: Path) -> None:
    archive = open_archive(s3_archive)
    publish(archive, "r1", {name: make_rows(name, 0, 2) for name in TABLES})
    with on_another_machine(tmp_path / "elsewhere"):
        late = open_archive(s3_archive).snapshot()
    publish(archive, "r2", {}, {"documents": pa.table({"document_id": [KEY]})})
    clean(archive)
    with pytest.raises(OutrunError, match="version 1 has been dropped while it was read"):
        late.read("documents")


def test_missing_object_is_an_error_and_never_skipped(s3_archive: str, tmp_path: Path) -> None:
    add(open_archive(s3_archive), "r1", 0)
    assert set(read_plainly(s3_archive)[1].values()) == {1}
    bucket, _, prefix = s3_archive.removeprefix("s3://").partition("/")
    key = f"{prefix}/tables/documents/r1.parquet"
    with on_another_machine(tmp_path / "elsewhere"):
        client().put_object(Bucket=bucket, Key=key, Body=b"other")
        with pytest.raises(ContractError, match=r"r1\.parquet: 5 bytes; expected"):
            open_archive(s3_archive).snapshot().read("documents")
        client().delete_object(Bucket=bucket, Key=key)
        with pytest.raises(ContractError, match="is missing, and version 1 names it"):
            open_archive(s3_archive).snapshot().read("documents")
    with pytest.raises(TornError, match=r"r1\.parquet"):  # as tests.sweep.remote reports it
        read_plainly(s3_archive)


def test_archive_and_version_pass_between_workers(s3_archive: str, tmp_path: Path) -> None:
    archive = open_archive(s3_archive)
    rows = all_rows(add(archive, "r1", 0))
    with on_another_machine(tmp_path / "elsewhere"):
        again = pickle.loads(pickle.dumps((archive, open_archive(s3_archive).snapshot())))
        assert isinstance(again[0], RemoteArchive)
        assert again[0].name == s3_archive
        assert all_rows(again[1]) == rows


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://", "expected s3://BUCKET/NAME"),
        ("s3://bucket", "expected s3://BUCKET/NAME"),
        ("s3:///press", "expected s3://BUCKET/NAME"),
        ("s3://bucket/a//b", "expected s3://BUCKET/NAME"),
        ("gs://bucket/press", "unsupported address"),
    ],
)
def test_invalid_address_is_refused(address: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        open_archive(address)


def test_paths_become_absolute_and_addresses_do_not_change() -> None:
    assert absolute("s3://shelves/press") == "s3://shelves/press"
    assert absolute("press") == str(Path("press").absolute())
    assert isinstance(open_archive(Path("press")), StoredArchive)


def _no_bucket(_: pytest.MonkeyPatch) -> str:
    return "s3://no-such-bucket/press"


def _no_credentials(patched: pytest.MonkeyPatch) -> str:
    patched.delenv("AWS_ACCESS_KEY_ID")
    patched.delenv("AWS_SECRET_ACCESS_KEY")
    return "s3://shelves/press"


def _no_endpoint(patched: pytest.MonkeyPatch) -> str:
    patched.setenv("AWS_ENDPOINT_URL", "not an address")
    return "s3://shelves/press"


def _no_client(patched: pytest.MonkeyPatch) -> str:
    patched.setitem(sys.modules, "botocore", None)
    return "s3://shelves/press"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_no_bucket, "create the bucket no-such-bucket"),
        (_no_credentials, "AWS_ACCESS_KEY_ID"),
        (_no_endpoint, "AWS_ENDPOINT_URL"),
        (_no_client, r"pip install 'palimpsest-archive\[s3\]'"),
    ],
)
@pytest.mark.usefixtures("s3")
def test_missing_configuration_is_named(
    monkeypatch: pytest.MonkeyPatch, harm: Callable[[pytest.MonkeyPatch], str], message: str
) -> None:
    address = harm(monkeypatch)
    with pytest.raises(SettingsError, match=message):
        open_archive(address).exists()


@pytest.mark.usefixtures("s3")
def test_store_that_does_not_answer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(TransientError, match="does not answer"):
        open_archive("s3://shelves/press").exists()


def test_request_that_fails_once_is_repeated(s3_archive: str, s3: Any) -> None:
    refused: list[str] = []

    def fault(environ: dict[str, Any]) -> str | None:
        asked = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        if asked in refused or len(refused) >= 3:
            return None
        refused.append(asked)
        return "refuse"

    s3.fault = fault
    assert add(open_archive(s3_archive), "r1", 0).manifest.version == 1
    assert len(refused) == 3


def test_python_in_the_docs_reads_the_files_of_the_manifest(
    s3_archive: str, fresh_archive: Path, tmp_path: Path, root: Path
) -> None:
    text = (root / "docs" / "OBJECT_STORES.md").read_text(encoding="utf-8")
    with_duckdb, with_arrow = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    add(open_archive(s3_archive), "r1", 0)
    add(open_archive(s3_archive), "r2", 1)
    code = with_arrow.replace("news/press", s3_archive.removeprefix("s3://"))
    code = code.replace("()", "(endpoint_override=os.environ['AWS_ENDPOINT_URL'])", 1)
    assert _output_of(f"import os\n{code}", tmp_path).strip() == "2"
    add(StoredArchive(fresh_archive), "r1", 4)  # DuckDB must be able to load its extension for more
    archive = StoredArchive(fresh_archive)
    files = {"paragraphs": archive.addresses(archive.manifest(), "paragraphs")}
    (tmp_path / "files.json").write_text(json.dumps({"files": files}))
    code = "".join(line for line in with_duckdb.splitlines(True) if "SECRET" not in line)
    assert "4" in _output_of(code, tmp_path)


def _output_of(code: str, folder: Path) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout
