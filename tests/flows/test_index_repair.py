"""A lost index segment is made again, and nobody can tell from the tables."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from store.archive import Archive
from store.index import is_whole
from tests.flows.corpora import contents, ingest, listing, reuse_articles, write_articles


@pytest.mark.parametrize("lost", [(0,), (1,), (0, 1)], ids=str)
def test_lost_segments_are_made_again(
    tmp_path: Path, fresh_archive: Path, lost: tuple[int, ...]
) -> None:
    files = sorted(write_articles(tmp_path / "in", reuse_articles()).iterdir())
    whole = tmp_path / "whole" / "press"
    for archive in (whole, fresh_archive):
        ingest(files[:2], archive)
        ingest(files[2:4], archive)
    place = Archive(fresh_archive)
    segments = [place.index / name for name in place.snapshot().manifest.segments]
    held = [np.load(folder / "texts.npy") for folder in segments]
    for number in lost:
        shutil.rmtree(segments[number])
    for archive in (whole, fresh_archive):
        ingest(files[4:], archive)
    assert contents(fresh_archive) == contents(whole)
    assert all(is_whole(folder) for folder in segments)
    remade = np.concatenate([np.load(folder / "texts.npy") for folder in segments])
    assert {row.tobytes() for row in remade} == {row.tobytes() for row in np.concatenate(held)}
    before = listing(fresh_archive)
    assert ingest(files, fresh_archive).version is None
    assert listing(fresh_archive) == before
