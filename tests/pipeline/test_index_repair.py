"""A lost or damaged index is rebuilt, without any effect on the tables."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from palimpsest.dedup.index.segments import Segment, check_segment, open_segment
from palimpsest.pipeline.index_upkeep import index_parameters, open_index, reindex
from palimpsest.records.errors import ContractError, SettingsError, TransientError
from palimpsest.records.settings import Settings, SignSettings
from palimpsest.store.archive import StoredArchive
from palimpsest.store.commit import open_writer
from tests.pipeline.corpora import contents, ingest, listing, reuse_articles, write_articles
from tests.store.damage import copy_archive

_FILES = [*(f"{name}.npy" for name in Segment._fields), "segment.json"]


class _Shelf(NamedTuple):
    """An archive of two runs, its contents after a third run, and the files of all three."""

    before: Path
    after: dict[str, list[str]]
    files: list[Path]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> _Shelf:
    folder = tmp_path_factory.mktemp("shelf")
    files = sorted(write_articles(folder / "in", reuse_articles()).iterdir())
    before = folder / "before" / "press"
    ingest(files[:2], before)
    ingest(files[2:4], before)
    whole = copy_archive(before, folder / "whole" / "press")
    ingest(files[4:], whole)
    return _Shelf(before, contents(whole), files)


def _segments(archive: Path) -> list[Path]:
    place = StoredArchive(archive)
    return [place.index / name for name in place.snapshot().manifest.segments]


def _texts_in_index(archive: Path) -> list[str]:
    segments = [open_segment(folder, index_parameters(Settings())) for folder in _segments(archive)]
    return sorted(row.tobytes().hex() for one in segments for row in one.texts)


def _texts_in_tables(archive: Path) -> list[str]:
    snapshot = StoredArchive(archive).snapshot()
    paragraphs = snapshot.read("paragraphs", ["paragraph_id"]).column(0).to_pylist()
    return sorted(paragraphs + snapshot.read("variants", ["text_id"]).column(0).to_pylist())


def _assert_repaired(archive: Path, shelf: _Shelf) -> None:
    """Check that a run gives the same in this archive as in an undamaged one."""
    ingest(shelf.files[4:], archive)
    assert contents(archive) == shelf.after
    for folder in _segments(archive):
        check_segment(folder, index_parameters(Settings()))
    assert _texts_in_index(archive) == _texts_in_tables(archive)
    before = listing(archive)
    assert ingest(shelf.files, archive).version is None
    assert listing(archive) == before


def _lose(path: Path) -> None:
    path.unlink()


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _garble(path: Path) -> None:
    """Change a byte near the beginning, where numpy and JSON describe what follows."""
    content = bytearray(path.read_bytes())
    content[8] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("damage", [_lose, _cut_short, _garble])
def test_damaged_segment_is_rebuilt(
    tmp_path: Path, shelf: _Shelf, damage: object, name: str, number: int
) -> None:
    archive = copy_archive(shelf.before, tmp_path / "press")
    damage(_segments(archive)[number] / name)
    _assert_repaired(archive, shelf)


@pytest.mark.parametrize("lost", [(0,), (1,), (0, 1)], ids=str)
def test_lost_segments_are_rebuilt(tmp_path: Path, shelf: _Shelf, lost: tuple[int, ...]) -> None:
    archive = copy_archive(shelf.before, tmp_path / "press")
    segments = _segments(archive)
    assert len(segments) == 2
    for number in lost:
        shutil.rmtree(segments[number])
    _assert_repaired(archive, shelf)


def test_known_sources_are_recognised_without_an_index(tmp_path: Path, shelf: _Shelf) -> None:
    archive = copy_archive(shelf.before, tmp_path / "press")
    shutil.rmtree(StoredArchive(archive).index)
    summary = ingest(shelf.files[:4], archive)
    assert (summary.version, summary.sources_known, summary.sources_new) == (None, 4, 0)


def test_reindexing_publishes_the_same_rows_with_one_segment(tmp_path: Path, shelf: _Shelf) -> None:
    archive = copy_archive(shelf.before, tmp_path / "press")
    rows, texts = contents(archive), _texts_in_index(archive)
    result = reindex(archive)
    manifest = StoredArchive(archive).snapshot().manifest
    assert (manifest.version, manifest.operation) == (3, "reindex")
    assert result == {"version": 3, "texts": len(texts)}
    assert len(manifest.segments) == 1
    assert contents(archive) == rows
    assert _texts_in_index(archive) == texts
    _assert_repaired(archive, shelf)


def test_rebuilt_index_equals_the_merged_segments_of_the_runs(
    tmp_path: Path, shelf: _Shelf
) -> None:
    archive = copy_archive(shelf.before, tmp_path / "press")
    runs = [open_segment(folder, index_parameters(Settings())) for folder in _segments(archive)]
    reindex(archive)
    [again] = (open_segment(folder, index_parameters(Settings())) for folder in _segments(archive))
    for name in ("texts", "documents", "sources"):
        parts = np.concatenate([getattr(one, name) for one in runs]).tolist()
        assert getattr(again, name).tolist() == sorted(parts)
    assert len(again.window_texts) == sum(len(one.window_texts) for one in runs)
    for band in range(len(again.entries)):
        hashes = np.concatenate([one.buckets(band) >> np.uint64(32) for one in runs])
        np.testing.assert_array_equal(again.buckets(band) >> np.uint64(32), np.sort(hashes))


def test_reindexing_rebuilds_a_damaged_index(tmp_path: Path, shelf: _Shelf) -> None:
    archive = copy_archive(shelf.before, tmp_path / "press")
    _lose(_segments(archive)[0] / "entries.npy")
    reindex(archive)
    assert _texts_in_index(archive) == _texts_in_tables(archive)
    _assert_repaired(archive, shelf)


def test_index_is_built_from_several_files_of_texts(
    tmp_path: Path, shelf: _Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palimpsest.store.commit.FILE_ROWS", 2)
    archive = tmp_path / "press"
    ingest(shelf.files[:4], archive)
    texts = _texts_in_index(archive)
    reindex(archive)
    assert _texts_in_index(archive) == texts
    assert [path.name for path in StoredArchive(archive).index.glob("*-part-*")] == []
    _assert_repaired(archive, shelf)


def test_index_of_another_seed_is_refused_with_the_command_that_repairs_it(shelf: _Shelf) -> None:
    place = StoredArchive(shelf.before)
    with pytest.raises(ContractError, match=r"'seed': 1.*'seed': 2.*palimpsest reindex"):
        open_index(place, place.snapshot().manifest.segments, Settings(sign=SignSettings(seed=2)))


def test_reindexing_a_missing_archive_is_refused(fresh_archive: Path) -> None:
    with pytest.raises(SettingsError, match="there is none"):
        reindex(fresh_archive)


def test_reindexing_does_not_wait_for_a_run(tmp_path: Path, shelf: _Shelf) -> None:
    archive = copy_archive(shelf.before, tmp_path / "press")
    with (
        open_writer(StoredArchive(archive), "r9"),
        pytest.raises(TransientError, match="another run"),
    ):
        reindex(archive, wait_seconds=0.0)
