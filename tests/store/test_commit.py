"""One commit point: a reader sees all tables of a run or none."""

import errno
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from palimpsest.records.errors import ContractError, SettingsError, TransientError
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import StoredArchive
from palimpsest.store.commit import ChangeSet, clear_staging, open_staging, open_writer
from tests.store.rows import SEALED, all_rows, make_row, make_rows, publish, sorted_rows


@pytest.fixture
def archive(tmp_path: Path) -> StoredArchive:
    return StoredArchive(tmp_path / "press")


def _files(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_ino for p in folder.rglob("*") if p.is_file()}


def test_reader_of_the_first_version_still_reads_it_after_the_second(
    archive: StoredArchive,
) -> None:
    first = publish(archive, "r1", {"sources": make_rows("sources", 0, 4)})
    before = all_rows(first)
    withdrawn = {"sources": pa.table({"uri": ["uri-000002"]})}
    second = publish(archive, "r2", {"sources": make_rows("sources", 4, 5)}, withdrawn)
    assert all_rows(first) == before
    assert first.read("sources").column("uri").to_pylist() == [f"uri-00000{n}" for n in range(4)]
    kept = sorted(second.read("sources").column("uri").to_pylist())
    assert kept == ["uri-000000", "uri-000001", "uri-000003", "uri-000004"]
    assert (first.manifest.version, second.manifest.version) == (1, 2)
    assert archive.snapshot().folder == second.folder


def test_kept_files_are_hard_links(archive: StoredArchive) -> None:
    first = publish(archive, "r1", {"sources": make_rows("sources", 0, 4)})
    second = publish(archive, "r2", {"sources": make_rows("sources", 4, 5)})
    [old] = first.files("sources")
    same = second.folder / "sources" / old.name
    assert same.stat().st_ino == old.stat().st_ino
    assert old.stat().st_nlink == 2
    assert len(second.files("sources")) == 2


def test_empty_table_has_exactly_one_empty_file(archive: StoredArchive) -> None:
    for run in ("r1", "r2"):
        snapshot = publish(archive, run, {"sources": make_rows("sources", 0, 1)})
        for name in set(TABLES) - {"sources"}:
            [file] = sorted((snapshot.folder / name).iterdir())
            assert pq.read_metadata(file).num_rows == 0


def test_empty_file_is_removed_when_rows_are_added(archive: StoredArchive) -> None:
    publish(archive, "r1", {})
    snapshot = publish(archive, "r2", {name: make_rows(name, 0, 2) for name in TABLES})
    for name in TABLES:
        assert [path.name for path in (snapshot.folder / name).iterdir()] == ["r2.parquet"]
        assert snapshot.rows(name) == 2


def test_table_has_an_empty_file_again_after_its_last_rows_are_removed(
    archive: StoredArchive,
) -> None:
    publish(archive, "r1", {"sources": make_rows("sources", 0, 1)})
    publish(archive, "r2", {"sources": make_rows("sources", 1, 2)})
    withdrawn = {"sources": pa.table({"uri": ["uri-000000", "uri-000001"]})}
    snapshot = publish(archive, "r3", {}, withdrawn)
    assert [path.name for path in snapshot.files("sources")] == ["r3.parquet"]
    assert snapshot.read("sources").num_rows == 0


def test_only_files_with_withdrawn_keys_are_rewritten(archive: StoredArchive) -> None:
    for number, run in enumerate(("r1", "r2", "r3")):
        first = 3 * number
        base = publish(archive, run, {"sources": make_rows("sources", first, first + 3)})
    before = _files(base.folder)
    withdrawn = {"sources": pa.table({"uri": ["uri-000004", "uri-999999"]})}
    after = publish(archive, "r4", {}, withdrawn)
    names = [path.name for path in after.files("sources")]
    assert names == ["r1.parquet", "r3.parquet", "r4-0001.parquet"]
    now = _files(after.folder)
    same = {name for name in now if now[name] == before.get(name)}
    assert set(now) - same == {"sources/r4-0001.parquet", "manifest.json"}
    assert pq.read_table(after.folder / "sources" / "r4-0001.parquet").num_rows == 2


def test_manifest_lists_rows_and_bytes_of_each_file(archive: StoredArchive) -> None:
    snapshot = publish(archive, "r1", {name: make_rows(name, 0, 5) for name in TABLES})
    for name in TABLES:
        for entry, path in zip(snapshot.manifest.files[name], snapshot.files(name), strict=True):
            assert entry["bytes"] == path.stat().st_size
            assert entry["rows"] == pq.read_metadata(path).num_rows
    assert snapshot.size_bytes() == sum(
        path.stat().st_size for name in TABLES for path in snapshot.files(name)
    )


@pytest.mark.parametrize(
    "broken",
    [
        make_rows("sources", 0, 2).drop_columns(["bytes"]),
        make_rows("sources", 0, 2).set_column(0, "uri", pa.array([None, "x"], pa.string())),
        make_rows("sources", 0, 2).set_column(1, "bytes", pa.array(["many", "few"])),
    ],
    ids=["missing column", "null where none may be", "other type"],
)
def test_rows_that_violate_the_schema_are_not_published(
    archive: StoredArchive, broken: pa.Table
) -> None:
    base = publish(archive, "r1", {"sources": make_rows("sources", 0, 2)})
    before, files = all_rows(base), _files(base.folder)
    with pytest.raises(ContractError, match="sources"):
        publish(archive, "r2", {"sources": broken, "documents": make_rows("documents", 0, 2)})
    assert archive.snapshot().manifest.version == 1
    assert all_rows(archive.snapshot()) == before
    assert _files(archive.snapshot().folder) == files
    assert publish(archive, "r3", {}).manifest.version == 2


def test_failed_run_leaves_nothing_among_versions(archive: StoredArchive) -> None:
    publish(archive, "r1", {})
    with pytest.raises(ContractError):
        publish(archive, "r2", {"sources": make_rows("sources", 0, 2).drop_columns(["bytes"])})
    assert [path.name for path in archive.versions.iterdir()] == ["00000001"]


def test_first_commit_that_fails_leaves_no_archive(archive: StoredArchive) -> None:
    with pytest.raises(ContractError):
        publish(archive, "r1", {"sources": make_rows("sources", 0, 2).drop_columns(["bytes"])})
    assert not archive.exists()
    assert not os.path.lexists(archive.path)


def test_second_writer_gets_a_transient_error(archive: StoredArchive) -> None:
    with open_writer(archive, "r1") as writer:
        with pytest.raises(TransientError, match="another run"), open_writer(archive, "r2"):
            pass
        writer.commit(ChangeSet(added={"sources": make_rows("sources", 0, 1)}, sealed=SEALED))
    assert archive.snapshot().rows("sources") == 1
    with open_writer(archive, "r2") as writer:
        assert writer.base is not None


def test_second_writer_waits_and_starts_from_the_version_of_the_first(
    archive: StoredArchive,
) -> None:
    publish(archive, "r1", {})
    waits, seen = threading.Event(), []

    def second() -> None:
        waits.set()
        with open_writer(archive, "r3", wait_seconds=60) as writer:
            seen.append(writer.base.manifest)
            seen.append(writer.commit(ChangeSet(sealed=SEALED)).manifest)

    thread = threading.Thread(target=second)
    with open_writer(archive, "r2") as writer:
        thread.start()
        assert waits.wait(60)
        time.sleep(0.2)
        assert seen == []
        writer.commit(ChangeSet(added={"sources": make_rows("sources", 0, 1)}, sealed=SEALED))
    thread.join(60)
    assert [(one.version, one.run_id) for one in seen] == [(2, "r2"), (3, "r3")]
    assert archive.snapshot().rows("sources") == 1


def test_writer_gives_up_after_its_waiting_time(archive: StoredArchive) -> None:
    with open_writer(archive, "r1"):
        started = time.monotonic()
        with pytest.raises(TransientError, match="another run"), open_writer(archive, "r2", 0.3):
            pass
        assert 0.3 <= time.monotonic() - started < 30


def test_reading_needs_no_lock(archive: StoredArchive) -> None:
    publish(archive, "r1", {"sources": make_rows("sources", 0, 3)})
    with open_writer(archive, "r2"):
        assert archive.snapshot().read("sources").num_rows == 3


def test_leftovers_of_killed_writers_are_removed(archive: StoredArchive) -> None:
    publish(archive, "r1", {})
    for left in (
        archive.versions / "building-r0" / "sources",
        archive.versions / "00000002" / "sources",
        archive.index / "r0",
    ):
        left.mkdir(parents=True)
        (left / "file").write_text("left")
    (archive.home / "next").symlink_to("nowhere")
    with open_writer(archive, "r2"):
        assert [path.name for path in archive.versions.iterdir()] == ["00000001"]
        assert list(archive.index.iterdir()) == []
        assert not os.path.lexists(archive.home / "next")


def test_segments_of_the_version_are_kept(archive: StoredArchive) -> None:
    with open_writer(archive, "r1") as writer:
        (archive.index / "r1").mkdir()
        writer.commit(ChangeSet(sealed=SEALED, segments=["r1"]))
    with open_writer(archive, "r2") as writer:
        assert [path.name for path in archive.index.iterdir()] == ["r1"]
        assert writer.commit(ChangeSet(sealed=SEALED)).manifest.segments == ["r1"]


def test_manifest_records_operation_and_time(archive: StoredArchive) -> None:
    before = datetime.now(UTC)
    with open_writer(archive, "r1") as writer:
        manifest = writer.commit(ChangeSet(sealed=SEALED, operation="remove")).manifest
    assert (manifest.run_id, manifest.operation, manifest.sealed) == ("r1", "remove", SEALED)
    assert before <= datetime.fromisoformat(manifest.published_at) <= datetime.now(UTC)
    assert archive.snapshot().manifest == manifest


def test_only_rows_that_agree_in_all_key_columns_are_removed(archive: StoredArchive) -> None:
    rows = [
        make_row("overlaps", 2 * n, left_text_id=left, right_text_id=right)
        for n, (left, right) in enumerate(["ab", "ac", "bc", "ab", "cb"])
    ]
    table = pa.Table.from_pylist(rows, schema=TABLES["overlaps"])
    publish(archive, "r1", {"overlaps": table})
    withdrawn = pa.table({"left_text_id": ["a", "c"], "right_text_id": ["b", "c"]})
    kept = publish(archive, "r2", {}, {"overlaps": withdrawn}).read("overlaps")
    pairs = zip(kept["left_text_id"].to_pylist(), kept["right_text_id"].to_pylist(), strict=True)
    assert sorted(pairs) == [("a", "c"), ("b", "c"), ("c", "b")]


def test_compaction_keeps_all_rows_in_few_full_files(
    archive: StoredArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palimpsest.store.commit.FILE_ROWS", 16)
    for run in range(13):
        rows = make_rows("sources", 3 * run, 3 * run + 3)
        base = publish(archive, f"r{run:02d}", {"sources": rows})
    before = all_rows(base)
    with open_writer(archive, "c") as writer:
        compacted = writer.compact(["merged"])
    assert all_rows(compacted) == before
    assert all_rows(base) == before
    assert [file["rows"] for file in compacted.manifest.files["sources"]] == [16, 16, 7]
    manifest = compacted.manifest
    assert (manifest.version, manifest.operation, manifest.segments) == (14, "compact", ["merged"])
    assert manifest.sealed == SEALED


def test_compaction_links_a_table_of_one_file(archive: StoredArchive) -> None:
    base = publish(archive, "r1", {"sources": make_rows("sources", 0, 4)})
    base = publish(archive, "r2", {"documents": make_rows("documents", 0, 4)})
    with open_writer(archive, "c") as writer:
        compacted = writer.compact([])
    assert _files(compacted.folder).keys() == _files(base.folder).keys()
    before = _files(base.folder)
    assert {n: i for n, i in _files(compacted.folder).items() if before[n] != i}.keys() == {
        "manifest.json"
    }


def test_archive_without_a_version_cannot_be_compacted(archive: StoredArchive) -> None:
    with open_writer(archive, "c") as writer, pytest.raises(SettingsError, match="there is none"):
        writer.compact([])


_HOLDER = """
import sys
from palimpsest.store.archive import StoredArchive
from palimpsest.store.commit import open_staging

with open_staging(StoredArchive(sys.argv[1]), "other-run") as folder:
    (folder / "mine").write_text("mine")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_staging_folder_of_a_living_process_is_left_alone_until_it_dies(
    archive: StoredArchive, root: Path
) -> None:
    command = [sys.executable, "-c", _HOLDER, str(archive.path)]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "ready\n"
        assert clear_staging(archive) == 0
        with open_staging(archive, "r1") as folder:
            assert list((folder / "left").iterdir()) == []
            assert (archive.staging / "other-run" / "mine").read_text() == "mine"
        holder.kill()
        holder.wait(60)
    with open_staging(archive, "r2") as folder:
        assert (folder / "left" / "other-run" / "mine").read_text() == "mine"
        assert [path.name for path in archive.staging.iterdir()] == ["r2"]
    assert list(archive.staging.iterdir()) == []


def test_staging_folder_is_removed_when_a_run_succeeds(archive: StoredArchive) -> None:
    with open_staging(archive, "r1") as folder:
        assert folder.is_dir()
    assert list(archive.staging.iterdir()) == []


def test_staged_files_of_a_failed_run_are_left_to_the_next(archive: StoredArchive) -> None:
    for number in (1, 2):
        with pytest.raises(ZeroDivisionError), open_staging(archive, f"r{number}") as folder:  # noqa: PT012
            (folder / f"batch-{number}").write_text("read")
            raise ZeroDivisionError
    with open_staging(archive, "r3") as folder:
        found = sorted(path.name for path in folder.rglob("batch-*"))
    assert found == ["batch-1", "batch-2"]


@pytest.mark.parametrize(
    ("code", "left"), [(errno.ENOSPC, []), (errno.EDQUOT, []), (errno.EIO, ["r1"])]
)
def test_staged_files_are_removed_when_the_disk_is_full(
    archive: StoredArchive, code: int, left: list[str]
) -> None:
    with pytest.raises(OSError), open_staging(archive, "r1") as folder:  # noqa: PT012
        (folder / "batch").write_text("read")
        raise OSError(code, "told by the disk")
    assert [path.name for path in archive.staging.iterdir()] == left


def test_staging_folders_of_dead_runs_are_removed_on_request(archive: StoredArchive) -> None:
    (archive.staging / "r0" / "batch-00000").mkdir(parents=True)
    with open_staging(archive, "r1"):
        (archive.staging / "later").mkdir()
        assert clear_staging(archive) == 1
        assert [path.name for path in archive.staging.iterdir()] == ["r1"]


@pytest.mark.parametrize("kind", ["folder", "file", "link to a folder"])
def test_path_that_is_not_an_archive_is_refused_and_left_alone(
    archive: StoredArchive, kind: str
) -> None:
    elsewhere = archive.path.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "letter.txt").write_text("mine")
    if kind == "folder":
        elsewhere.rename(archive.path)
    elif kind == "file":
        archive.path.write_text("mine")
    else:
        archive.path.symlink_to("elsewhere")
    before = sorted(p.name for p in archive.path.parent.rglob("*"))
    with pytest.raises(SettingsError, match="press"):
        archive.snapshot()
    with pytest.raises(SettingsError, match="press"):
        publish(archive, "r1", {})
    assert sorted(p.name for p in archive.path.parent.rglob("*")) == before


def test_missing_archive_names_the_command_that_creates_one(archive: StoredArchive) -> None:
    with pytest.raises(SettingsError, match="palimpsest ingest SOURCE --archive"):
        archive.snapshot()


def test_archive_of_another_format_is_refused_with_advice(archive: StoredArchive) -> None:
    snapshot = publish(archive, "r1", {})
    manifest = snapshot.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 99'))
    with pytest.raises(ContractError, match="upgrade"):
        archive.snapshot()
    manifest.write_text(manifest.read_text().replace('"format": 99', '"format": 1'))
    with pytest.raises(ContractError, match="into a new archive"):
        archive.snapshot()


def test_archive_can_be_moved_with_its_store(archive: StoredArchive, tmp_path: Path) -> None:
    base = publish(archive, "r1", {"sources": make_rows("sources", 0, 3)})
    before = sorted_rows(base.read("sources"))
    (tmp_path / "new").mkdir()
    archive.path.rename(tmp_path / "new" / "press")
    archive.home.rename(tmp_path / "new" / ".press.store")
    assert (
        sorted_rows(StoredArchive(tmp_path / "new" / "press").snapshot().read("sources")) == before
    )
