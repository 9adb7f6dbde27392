"""Versions are listed and read as published; cleaning removes only old ones."""

from pathlib import Path

import pyarrow as pa
import pytest

from palimpsest.records.errors import SettingsError
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.versions import clean, list_versions
from tests.store.rows import all_rows, make_rows, publish

Grown = tuple[StoredArchive, list[dict[str, list[str]]]]
"""An archive, and the rows of each of its versions."""


def make_archive(path: Path, versions: int = 4) -> Grown:
    """Return an archive, and the rows of each of its versions."""
    archive, rows = StoredArchive(path), []
    for number in range(versions):
        first = 10 * number
        withdrawn = (
            {"documents": pa.table({"document_id": ["document_id-000000"]})} if number == 2 else {}
        )
        added = {name: make_rows(name, first, first + 4 + number) for name in TABLES}
        rows.append(all_rows(publish(archive, f"r{number}", added, withdrawn)))
    return archive, rows


@pytest.fixture
def grown(fresh_archive: Path) -> Grown:
    return make_archive(fresh_archive)


def bytes_on_disk(archive: StoredArchive) -> int:
    """Return the bytes of all files of an archive, counting hard links once."""
    found = {
        path.stat().st_ino: path.stat().st_size
        for path in archive.home.rglob("*")
        if path.is_file()
    }
    return sum(found.values())


def rows_of(archive: StoredArchive, version: int) -> dict[str, list[str]]:
    return all_rows(archive.snapshot(version))


def test_versions_are_listed_in_order(
    grown: Grown,
) -> None:
    archive, rows = grown
    listed = list_versions(archive)
    assert [one["version"] for one in listed] == [1, 2, 3, 4]
    assert [one["run_id"] for one in listed] == ["r0", "r1", "r2", "r3"]
    assert {one["operation"] for one in listed} == {"ingest"}
    for one, tables in zip(listed, rows, strict=True):
        snapshot = archive.snapshot(one["version"])
        assert one["documents"] == len(tables["documents"])
        assert one["paragraphs"] == len(tables["paragraphs"])
        assert one["files"] == sum(len(snapshot.files(name)) for name in TABLES)
        assert one["bytes"] == snapshot.size_bytes()
        assert Path(one["path"]) == snapshot.folder
    assert [one["published_at"] for one in listed] == sorted(one["published_at"] for one in listed)


def test_each_version_is_read_as_published(
    grown: Grown,
) -> None:
    archive, rows = grown
    for number, tables in enumerate(rows, start=1):
        assert rows_of(archive, number) == tables
    assert all_rows(archive.snapshot()) == rows[-1]


@pytest.mark.parametrize("version", [0, 5, -1, 10**12])
def test_unknown_version_is_refused_with_the_existing_ones(grown: Grown, version: int) -> None:
    with pytest.raises(SettingsError, match="found 1, 2, 3, 4"):
        grown[0].snapshot(version)


@pytest.mark.parametrize(("keep", "left"), [(1, [4]), (2, [3, 4]), (4, [1, 2, 3, 4]), (9, None)])
def test_cleaning_keeps_the_last_versions(grown: Grown, keep: int, left: list[int] | None) -> None:
    archive, rows = grown
    left = left or [1, 2, 3, 4]
    before = bytes_on_disk(archive)
    done = clean(archive, keep)
    assert done["dropped"] == [one for one in range(1, 5) if one not in left]
    assert (done["in_use"], done["left_by_runs"]) == ([], 0)
    assert done["bytes_freed"] == before - bytes_on_disk(archive)
    assert (done["bytes_freed"] > 0) == (len(left) < 4)
    assert [one["version"] for one in list_versions(archive)] == left
    assert [one.name for one in sorted(archive.versions.iterdir())] == [f"{n:08d}" for n in left]
    for number in left:
        assert rows_of(archive, number) == rows[number - 1]


def test_bytes_freed_are_those_of_removed_rows(fresh_archive: Path) -> None:
    archive = StoredArchive(fresh_archive)
    publish(archive, "r1", {"sources": make_rows("sources", 0, 2000)})
    [old] = archive.snapshot().files("sources")
    size = old.stat().st_size
    uris = [f"uri-{number:06d}" for number in range(2000)]
    publish(archive, "r2", {}, {"sources": pa.table({"uri": uris})})
    done = clean(archive)
    assert done["bytes_freed"] >= size
    assert not old.exists()


def test_version_in_use_is_kept_until_it_is_released(
    grown: Grown,
) -> None:
    archive, rows = grown
    snapshot: Snapshot | None = archive.snapshot(2)
    done = clean(archive)
    assert (done["dropped"], done["in_use"]) == ([1, 3], [2])
    assert snapshot is not None
    assert all_rows(snapshot) == rows[1]
    assert [one["version"] for one in list_versions(archive)] == [2, 4]
    snapshot = None
    done = clean(archive)
    assert (done["dropped"], done["in_use"]) == ([2], [])
    assert done["bytes_freed"] > 0


def test_version_numbers_are_not_reused_after_cleaning(
    grown: Grown,
) -> None:
    archive, _ = grown
    clean(archive)
    published = publish(archive, "r9", {"sources": make_rows("sources", 90, 91)})
    assert published.manifest.version == 5
    assert [one["version"] for one in list_versions(archive)] == [4, 5]


def test_leftovers_of_dead_runs_are_removed(
    grown: Grown,
) -> None:
    archive, rows = grown
    for folder in (
        archive.staging / "dead" / "batch-00000",
        archive.versions / "building-dead" / "sources",
        archive.versions / "dropping-00000001",
        archive.versions / "00000005",
        archive.index / "of-nobody",
    ):
        folder.mkdir(parents=True)
        (folder / "some.arrow").write_bytes(b"left")
    done = clean(archive, keep=4)
    assert (done["dropped"], done["left_by_runs"]) == ([], 1)
    assert list(archive.staging.iterdir()) == []
    assert list(archive.index.iterdir()) == []
    assert len(list(archive.versions.iterdir())) == 4
    assert all_rows(archive.snapshot()) == rows[-1]


def test_cleaning_does_not_create_a_missing_archive(tmp_path: Path) -> None:
    for command in (clean, list_versions):
        with pytest.raises(SettingsError):
            command(StoredArchive(tmp_path / "press"))
    assert list(tmp_path.iterdir()) == []
