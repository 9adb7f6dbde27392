"""Compacting keeps the rows in fewer files; reindexing rebuilds the index from the tables."""

from pathlib import Path

import pytest

from palimpsest.pipeline.compact import compact
from palimpsest.pipeline.index_upkeep import reindex
from palimpsest.pipeline.verify import verify
from palimpsest.records.errors import SettingsError
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import StoredArchive
from palimpsest.store.digest import digest_archive
from palimpsest.store.versions import clean
from tests.pipeline.corpora import ingest, listing, make_paragraph, reuse_articles, write_articles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_articles(tmp_path / "in", reuse_articles())


@pytest.fixture
def archive(folder: Path, fresh_archive: Path) -> Path:
    """An archive of three runs."""
    files = sorted(folder.iterdir())
    for first in range(0, len(files), 2):
        ingest(files[first : first + 2], fresh_archive)
    return fresh_archive


def digest_of(archive: Path) -> str:
    return digest_archive(StoredArchive(archive).snapshot())


def failed_checks(archive: Path) -> set[str]:
    place = StoredArchive(archive)
    return {check.name for check in verify(place, place.snapshot()).checks if check.failed}


def segments_of(archive: Path) -> list[Path]:
    place = StoredArchive(archive)
    return [place.index / name for name in place.snapshot().manifest.segments]


def assert_later_runs_as_before(folder: Path, archive: Path, place: Path) -> None:
    """Check that another file gives the same as in an archive that was never compacted."""
    more = write_articles(folder.parent / "more", {"g.txt": [make_paragraph(1, edit=4), "New."]})
    ingest(more, archive)
    ingest([folder, more], place)
    assert digest_of(archive) == digest_of(place)
    assert failed_checks(archive) == set()


def test_compacting_keeps_the_rows_in_fewer_files(
    folder: Path, archive: Path, tmp_path: Path
) -> None:
    before = digest_of(archive)
    files = sum(len(StoredArchive(archive).snapshot().files(name)) for name in TABLES)
    runs = StoredArchive(archive).snapshot().read("runs").sort_by("run_id")
    done = compact(archive)
    snapshot = StoredArchive(archive).snapshot()
    assert done == {"version": 4, "files_before": files, "files_after": len(TABLES)}
    assert (snapshot.manifest.version, snapshot.manifest.operation) == (4, "compact")
    for name in TABLES:
        assert len(snapshot.files(name)) == 1
        assert len(list((archive / name).glob("*.parquet"))) == 1
    [segment] = snapshot.manifest.segments
    assert [one.name for one in StoredArchive(archive).index.iterdir()] == [segment]
    assert snapshot.read("runs").sort_by("run_id").equals(runs)
    assert digest_of(archive) == before
    assert digest_archive(StoredArchive(archive).snapshot(3)) == before
    assert failed_checks(archive) == set()
    assert_later_runs_as_before(folder, archive, tmp_path / "whole")


def test_compacting_a_second_time_does_nothing(archive: Path) -> None:
    compact(archive)
    before = listing(archive)
    done = compact(archive)
    assert done == {"version": 4, "files_before": len(TABLES), "files_after": len(TABLES)}
    assert listing(archive) == before


def test_clean_deletes_the_files_that_were_merged(archive: Path) -> None:
    compact(archive)
    assert clean(StoredArchive(archive))["dropped"] == [1, 2, 3]
    place = StoredArchive(archive)
    assert len(list(place.home.rglob("*.parquet"))) == len(TABLES)
    assert [one.name for one in place.index.iterdir()] == place.snapshot().manifest.segments
    assert failed_checks(archive) == set()


def test_reindexing_keeps_the_rows(folder: Path, archive: Path, tmp_path: Path) -> None:
    before = digest_of(archive)
    done = reindex(archive)
    snapshot = StoredArchive(archive).snapshot()
    texts = snapshot.rows("paragraphs") + snapshot.rows("variants")
    assert done == {"version": 4, "texts": texts}
    assert snapshot.manifest.operation == "reindex"
    assert len(snapshot.manifest.segments) == 1
    assert digest_of(archive) == before
    assert failed_checks(archive) == set()
    assert_later_runs_as_before(folder, archive, tmp_path / "whole")


@pytest.mark.parametrize("name", ["texts", "entries", "documents"])
def test_reindexing_repairs_a_damaged_segment(archive: Path, name: str) -> None:
    damaged = segments_of(archive)[1] / f"{name}.npy"
    raw = bytearray(damaged.read_bytes())
    raw[-1] ^= 1
    damaged.write_bytes(raw)
    assert failed_checks(archive) == {"index"}
    reindex(archive)
    assert failed_checks(archive) == set()


def test_reindexing_repairs_a_lost_segment(archive: Path) -> None:
    for path in segments_of(archive)[0].iterdir():
        path.unlink()
    assert failed_checks(archive) == {"index"}
    reindex(archive)
    assert failed_checks(archive) == set()


@pytest.mark.parametrize("command", [compact, reindex])
def test_archive_without_texts_can_be_compacted_and_reindexed(
    tmp_path: Path, command: object
) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    ingest(tmp_path / "empty.txt", tmp_path / "press")
    before = digest_of(tmp_path / "press")
    command(tmp_path / "press")  # type: ignore[operator]
    assert digest_of(tmp_path / "press") == before
    assert failed_checks(tmp_path / "press") == set()


@pytest.mark.parametrize("command", [compact, reindex])
def test_missing_archive_is_refused_and_not_created(tmp_path: Path, command: object) -> None:
    with pytest.raises(SettingsError):
        command(tmp_path / "press")  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []
