"""Find candidates: pairs of texts with windows that share a bucket and enough of their shingles.

Locality-sensitive hashing (Indyk and Motwani 1998), banding as in Leskovec, Rajaraman, Ullman,
Mining of Massive Datasets, section 3.4. Many pairs share a bucket by chance; comparing the shingles
of the two windows costs a thousandth of an alignment and sorts most of them out.

A bucket is held as one uint64: the band's hash above, the number of the window below. Sorted, equal
buckets stand side by side, and a sorted array on disk can be searched without being read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dedup.signatures import Hashes, Positions, Windows
from records.columns import distinct
from records.compiled import inlined, kernel
from records.settings import SignSettings

Buckets = npt.NDArray[np.uint64]

_MERGED_AT_ONCE = 2**22


class Candidates(NamedTuple):
    """Pairs of texts worth aligning.

    Attributes:
        left, right: int64, shape (pairs,), numbers of texts: ``left < right``, sorted, each once.
        capped: buckets of more windows than are paired in full.
    """

    left: Positions
    right: Positions
    capped: int


def sort_buckets(hashes: Hashes) -> Buckets:
    """Return the buckets of one band in order: uint64, shape (windows,).

    Args:
        hashes: uint32, shape (windows,), the band's hash of each window.
    """
    if len(hashes) >= 2**32:
        raise ValueError(f"{len(hashes)} windows; a band holds fewer than 2**32")
    numbers = np.arange(len(hashes), dtype=np.uint64)
    return np.sort(hashes.astype(np.uint64) << np.uint64(32) | numbers)


def pair_band(
    buckets: Buckets, windows: Windows, is_new: npt.NDArray[np.bool_], settings: SignSettings
) -> Candidates:
    """Return the pairs of texts whose windows share a bucket of one band and enough shingles.

    A bucket of more than ``max_bucket_windows`` windows is not paired in full: each window in it is
    paired with the first so many, in the order of numbers, and the bucket is counted.

    Args:
        buckets: as ``sort_buckets`` returns them.
        windows: what the numbers in ``buckets`` refer to.
        is_new: shape (texts,); a pair of two texts that are not new was seen by an earlier run.
    """
    pairs, capped = _pair_band(
        buckets,
        *windows,
        is_new,
        settings.max_bucket_windows,
        settings.min_shared_shingles,
        settings.min_shared_share,
    )
    return _unpacked(distinct(pairs), capped)


def merge_candidates(parts: Iterable[Candidates]) -> Candidates:
    """Return the candidates of several bands as one; few bands are held at a time."""
    merged = np.empty(0, dtype=np.uint64)
    waiting: list[Buckets] = []
    capped = 0
    for part in parts:
        waiting.append(_packed(part))
        capped += part.capped
        if sum(map(len, waiting)) > max(_MERGED_AT_ONCE, len(merged)):
            merged, waiting = distinct(np.concatenate([merged, *waiting])), []
    return _unpacked(distinct(np.concatenate([merged, *waiting])), capped)


def _packed(candidates: Candidates) -> Buckets:
    left = candidates.left.astype(np.uint64) << np.uint64(32)
    return left | candidates.right.astype(np.uint64)


def _unpacked(packed: Buckets, capped: int) -> Candidates:
    left = (packed >> np.uint64(32)).astype(np.int64)
    right = (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return Candidates(left, right, capped)


@kernel
def _pair_band(
    buckets: Buckets,
    shingles: Hashes,
    texts: Positions,
    starts: Positions,
    ends: Positions,
    is_new: npt.NDArray[np.bool_],
    max_windows: int,
    min_shared: int,
    min_share: float,
) -> tuple[Buckets, int]:
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    pairs = np.empty(1024, dtype=np.uint64)
    count, capped, at = 0, 0, 0
    while at < len(buckets):
        stop = at + 1
        while stop < len(buckets) and buckets[stop] >> half == buckets[at] >> half:
            stop += 1
        capped += 1 if stop - at > max_windows else 0
        for j in range(at + 1, stop):
            right_window = np.int64(buckets[j] & low)
            right = texts[right_window]
            right_shingles = shingles[starts[right_window] : ends[right_window]]
            for i in range(at, min(j, at + max_windows)):
                left_window = np.int64(buckets[i] & low)
                left = texts[left_window]
                if left == right or not (is_new[left] or is_new[right]):
                    continue
                left_shingles = shingles[starts[left_window] : ends[left_window]]
                shorter = min(len(left_shingles), len(right_shingles))
                shared = _shared(left_shingles, right_shingles)
                if shared < min_shared or shared < min_share * shorter:
                    continue
                if count == len(pairs):
                    larger = np.empty(2 * count, dtype=np.uint64)
                    larger[:count] = pairs
                    pairs = larger
                pairs[count] = np.uint64(left) << half | np.uint64(right)
                count += 1
        at = stop
    return pairs[:count], capped


@inlined
def _shared(left: Hashes, right: Hashes) -> np.int64:
    """Return how many shingles of the left window stand in the right one."""
    shared = np.int64(0)
    for i in range(len(left)):
        value = left[i]
        equal = np.uint8(0)
        for j in range(len(right)):
            equal |= np.uint8(value == right[j])
        shared += np.int64(equal)
    return shared
