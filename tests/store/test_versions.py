"""Versions are listed and read as they were; cleaning drops the old ones and nothing else."""

from pathlib import Path

import pyarrow as pa
import pytest

from palimpsest.records.errors import SettingsError
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.versions import clean, list_versions
from tests.store.rows import all_rows, make_rows, publish

Grown = tuple[StoredArchive, list[dict[str, list[str]]]]
"""An archive, and the rows that each of its versions has."""


def make_archive(path: Path, versions: int = 4) -> Grown:
    """Return an archive, and the rows that each of its versions has."""
    archive, rows = StoredArchive(path), []
    for number in range(versions):
        first = 10 * number
        gone = (
            {"documents": pa.table({"document_id": ["document_id-000000"]})} if number == 2 else {}
        )
        added = {name: make_rows(name, first, first + 4 + number) for name in TABLES}
        rows.append(all_rows(publish(archive, f"r{number}", added, gone)))
    return archive, rows


@pytest.fixture
def grown(fresh_archive: Path) -> Grown:
    return make_archive(fresh_archive)


def bytes_on_disk(archive: StoredArchive) -> int:
    """Return the bytes of all files under an archive, each once however often it is linked."""
    found = {
        path.stat().st_ino: path.stat().st_size
        for path in archive.home.rglob("*")
        if path.is_file()
    }
    return sum(found.values())


def rows_of(archive: StoredArchive, version: int) -> dict[str, list[str]]:
    return all_rows(archive.snapshot(version))


def test_versions_are_listed_the_first_one_first(
    grown: Grown,
) -> None:
    archive, rows = grown
    told = list_versions(archive)
    assert [one["version"] for one in told] == [1, 2, 3, 4]
    assert [one["run_id"] for one in told] == ["r0", "r1", "r2", "r3"]
    assert {one["operation"] for one in told} == {"ingest"}
    for one, held in zip(told, rows, strict=True):
        snapshot = archive.snapshot(one["version"])
        assert one["documents"] == len(held["documents"])
        assert one["paragraphs"] == len(held["paragraphs"])
        assert one["files"] == sum(len(snapshot.files(name)) for name in TABLES)
        assert one["bytes"] == snapshot.size_bytes()
        assert Path(one["path"]) == snapshot.folder
    assert [one["published_at"] for one in told] == sorted(one["published_at"] for one in told)


def test_each_version_is_read_as_it_was(
    grown: Grown,
) -> None:
    archive, rows = grown
    for number, held in enumerate(rows, start=1):
        assert rows_of(archive, number) == held
    assert all_rows(archive.snapshot()) == rows[-1]


@pytest.mark.parametrize("version", [0, 5, -1, 10**12])
def test_unknown_version_is_refused_naming_those_that_there_are(grown: Grown, version: int) -> None:
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


def test_bytes_freed_are_those_of_rows_that_went(fresh_archive: Path) -> None:
    archive = StoredArchive(fresh_archive)
    publish(archive, "r1", {"sources": make_rows("sources", 0, 2000)})
    [old] = archive.snapshot().files("sources")
    size = old.stat().st_size
    uris = [f"uri-{number:06d}" for number in range(2000)]
    publish(archive, "r2", {}, {"sources": pa.table({"uri": uris})})
    done = clean(archive)
    assert done["bytes_freed"] >= size
    assert not old.exists()


def test_version_that_is_read_is_spared_until_it_is_not(
    grown: Grown,
) -> None:
    archive, rows = grown
    held: Snapshot | None = archive.snapshot(2)
    done = clean(archive)
    assert (done["dropped"], done["in_use"]) == ([1, 3], [2])
    assert held is not None
    assert all_rows(held) == rows[1]
    assert [one["version"] for one in list_versions(archive)] == [2, 4]
    held = None
    done = clean(archive)
    assert (done["dropped"], done["in_use"]) == ([2], [])
    assert done["bytes_freed"] > 0


def test_numbers_are_not_given_again_after_cleaning(
    grown: Grown,
) -> None:
    archive, _ = grown
    clean(archive)
    published = publish(archive, "r9", {"sources": make_rows("sources", 90, 91)})
    assert published.manifest.version == 5
    assert [one["version"] for one in list_versions(archive)] == [4, 5]


def test_what_dead_runs_left_is_removed(
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


def test_archive_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for command in (clean, list_versions):
        with pytest.raises(SettingsError):
            command(StoredArchive(tmp_path / "press"))
    assert list(tmp_path.iterdir()) == []
