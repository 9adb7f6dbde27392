"""Versions of an archive: read as published, locked while they are read, and listed."""

import fcntl
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from palimpsest.records.errors import SettingsError, TransientError
from palimpsest.store.archive import MANIFEST, Snapshot, StoredArchive
from tests.store.rows import all_rows, make_rows, publish


@pytest.fixture
def grown(tmp_path: Path) -> StoredArchive:
    """An archive of three versions, each with one more source."""
    archive = StoredArchive(tmp_path / "press")
    for number in range(3):
        publish(archive, f"r{number}", {"sources": make_rows("sources", number, number + 1)})
    return archive


@contextmanager
def _cleaned(snapshot_folder: Path) -> Iterator[bool]:
    """Lock a version as cleaning does; return whether no reader had locked it."""
    with (snapshot_folder / MANIFEST).open() as manifest:
        try:
            fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _is_free(folder: Path) -> bool:
    with _cleaned(folder) as is_free:
        return is_free


@pytest.mark.parametrize("version", [1, 2, 3])
def test_earlier_version_is_read_as_published(grown: StoredArchive, version: int) -> None:
    snapshot = grown.snapshot(version)
    assert snapshot.manifest.version == version
    assert snapshot.manifest.run_id == f"r{version - 1}"
    assert snapshot.rows("sources") == version
    assert sorted(snapshot.read("sources", ["uri"]).column("uri").to_pylist()) == [
        f"uri-00000{number}" for number in range(version)
    ]


@pytest.mark.parametrize("version", [0, 4, -1])
def test_unknown_version_is_reported_with_the_existing_ones(
    grown: StoredArchive, version: int
) -> None:
    with pytest.raises(SettingsError, match=rf"there is no version {version}; found 1, 2, 3"):
        grown.snapshot(version)


def test_published_versions_are_listed_in_order(grown: StoredArchive) -> None:
    (grown.versions / "00000004").mkdir()  # never published
    (grown.versions / "building-r9").mkdir()
    manifests = grown.published()
    assert [(one.version, one.run_id) for one in manifests] == [(1, "r0"), (2, "r1"), (3, "r2")]
    assert [one.published_at for one in manifests] == sorted(one.published_at for one in manifests)
    assert manifests[-1] == grown.snapshot().manifest


def test_removed_version_is_not_listed(grown: StoredArchive) -> None:
    (grown.versions / "00000002" / MANIFEST).unlink()
    assert [one.version for one in grown.published()] == [1, 3]
    with pytest.raises(SettingsError, match="there is no version 2; found 1, 3"):
        grown.snapshot(2)


def test_version_is_locked_until_its_last_reader_is_done(grown: StoredArchive) -> None:
    first, again = grown.snapshot(1), grown.snapshot(1)
    folder = first.folder
    assert not _is_free(folder)
    assert _is_free(grown.versions / "00000002")
    del first
    assert not _is_free(folder)
    del again
    assert _is_free(folder)


def test_version_being_removed_is_not_opened(grown: StoredArchive) -> None:
    with _cleaned(grown.versions / "00000001") as is_free:
        assert is_free
        with pytest.raises(TransientError, match="try again"):
            grown.snapshot(1)
        assert grown.snapshot().manifest.version == 3


def test_snapshot_survives_pickling_and_locks_its_version(grown: StoredArchive) -> None:
    snapshot = grown.snapshot(2)
    rows = all_rows(snapshot)
    copy: Snapshot = pickle.loads(pickle.dumps(snapshot))
    assert copy == snapshot
    del snapshot
    assert not _is_free(copy.folder)
    assert all_rows(copy) == rows
    folder = copy.folder
    del copy
    assert _is_free(folder)
