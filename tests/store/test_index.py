"""The index against slow, obvious versions of itself."""

from pathlib import Path

import numpy as np
import pytest

from store.index import is_whole, known_texts, sharing_texts, write_segment

_BANDS = 3


class _Segment:
    """A segment with few different hashes, so that buckets are shared, and what is in it."""

    def __init__(self, folder: Path, seed: int, texts: int, entries: int) -> None:
        rng = np.random.default_rng(seed)
        self.folder = folder
        self.digests = np.unique(rng.integers(0, 256, (texts, 16), dtype=np.uint8), axis=0)
        hashes = rng.integers(2**32 - 40, 2**32, (_BANDS, entries), dtype=np.uint64)
        owners = rng.integers(0, texts, (_BANDS, entries), dtype=np.uint64)
        self.buckets = np.sort(hashes << np.uint64(32) | owners, axis=1)
        write_segment(folder, self.digests, list(self.buckets), (_BANDS, entries))


@pytest.fixture
def segments(tmp_path: Path) -> list[_Segment]:
    sizes = ((30, 80), (1, 1), (50, 20), (7, 0))
    return [_Segment(tmp_path / f"s{n}", n, *size) for n, size in enumerate(sizes)]


def _naive_sharing(segments: list[_Segment], buckets: list[np.ndarray], most: int) -> set[bytes]:
    shared = set()
    for segment in segments:
        for band in range(_BANDS):
            taken: dict[int, int] = {}
            wanted = {int(entry) >> 32 for entry in buckets[band]}
            for entry in segment.buckets[band].tolist():
                key = entry >> 32
                if key in wanted and taken.get(key, 0) < most:
                    taken[key] = taken.get(key, 0) + 1
                    shared.add(segment.digests[entry & 0xFFFFFFFF].tobytes())
    return shared


@pytest.mark.parametrize("most", [1, 2, 1000])
def test_sharing_texts_are_those_with_a_bucket_in_common(
    segments: list[_Segment], most: int
) -> None:
    rng = np.random.default_rng(99)
    hashes = rng.integers(2**32 - 60, 2**32, (_BANDS, 12), dtype=np.uint64)
    buckets = list(np.sort(hashes << np.uint64(32) | np.arange(12, dtype=np.uint64), axis=1))
    found = sharing_texts([one.folder for one in segments], buckets, most)
    rows = [row.tobytes() for row in found]
    assert set(rows) == _naive_sharing(segments, buckets, most)
    assert rows == sorted(set(rows))
    assert len(rows) > 3


def test_bucket_of_another_band_is_not_shared(tmp_path: Path) -> None:
    digests = np.zeros((1, 16), dtype=np.uint8)
    entries = [np.array([number << 32], dtype=np.uint64) for number in (1, 2)]
    write_segment(tmp_path / "s", digests, entries, (2, 1))
    assert len(sharing_texts([tmp_path / "s"], entries, 5)) == 1
    assert len(sharing_texts([tmp_path / "s"], entries[::-1], 5)) == 0


def test_known_texts_are_those_of_any_segment(segments: list[_Segment]) -> None:
    rng = np.random.default_rng(5)
    held = np.concatenate([one.digests for one in segments])
    asked = rng.permutation(
        np.concatenate((held, rng.integers(0, 256, (40, 16), dtype=np.uint8), held ^ np.uint8(1)))
    )
    oracle = {row.tobytes() for row in held}
    known = known_texts([one.folder for one in segments], asked)
    assert known.tolist() == [row.tobytes() in oracle for row in asked]
    assert known.sum() >= len(held)


def test_digests_with_zero_bytes_at_the_end_are_told_apart(tmp_path: Path) -> None:
    digests = np.zeros((2, 16), dtype=np.uint8)
    digests[1, 0] = 7
    write_segment(tmp_path / "s", digests[1:], (), (0, 0))
    assert known_texts([tmp_path / "s"], digests).tolist() == [False, True]


def test_without_segments_nothing_is_known() -> None:
    assert known_texts([], np.ones((3, 16), dtype=np.uint8)).tolist() == [False] * 3
    assert sharing_texts([], [np.array([1], dtype=np.uint64)], 5).shape == (0, 16)


def test_segment_is_whole_only_with_both_files(tmp_path: Path) -> None:
    segment = _Segment(tmp_path / "s", 1, 3, 3)
    assert is_whole(segment.folder)
    (segment.folder / "buckets.npy").unlink()
    assert not is_whole(segment.folder)
