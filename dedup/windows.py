"""Compare windows of two texts by their shingles: exactly, by sketch, or by truncated hashes.

Candidates are pairs of windows with enough shingles in common. Two cheaper tests come first, and
neither ever rules out such a pair:

- A *sketch* has a bit for each of 256 classes of shingle, chosen by the upper eight bits of the
  hash. A class that occurs in the left window and not in the right one means at least one shingle
  that the two do not share.
- A *truncated shingle hash* is the lower half of the hash, which is all that the index keeps on
  disk. Equal shingles have equal halves, so two windows appear to share at least what they share.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from palimpsest.dedup.signatures import Windows
from palimpsest.kernels.arrays import Hashes, Positions, Sketches, TruncatedHashes
from palimpsest.kernels.compiled import inlined, kernel

Values = TypeVar("Values", bound=np.generic)

_SKETCH_WORDS = 4
"""Words of 64 bits in a sketch."""


def sketch_windows(windows: Windows) -> Sketches:
    """Return a sketch of each window: uint64, shape (windows, 4), a bit for each shingle class."""
    return _sketch_windows(windows.shingles, windows.starts, windows.ends)


@kernel
def _sketch_windows(shingles: Hashes, starts: Positions, ends: Positions) -> Sketches:
    sketches = np.zeros((len(starts), _SKETCH_WORDS), dtype=np.uint64)
    for window in range(len(starts)):
        for k in range(starts[window], ends[window]):
            bit = np.uint64(shingles[k] >> np.uint32(24))
            sketches[window, bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
    return sketches


@inlined
def most_shared(sketches: Sketches, left: np.int64, right: np.int64, left_size: int) -> np.int64:
    """Return the most shingles of the left window that the right one can contain."""
    missing = np.int64(0)
    for k in range(_SKETCH_WORDS):
        missing += _count_bits(sketches[left, k] & ~sketches[right, k])
    return left_size - missing


@inlined
def _count_bits(value: np.uint64) -> np.int64:
    """Return the number of set bits (Warren, Hacker's Delight, figure 5-2)."""
    pairs = value - ((value >> np.uint64(1)) & np.uint64(0x5555555555555555))
    quads = (pairs & np.uint64(0x3333333333333333)) + (
        (pairs >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    octets = (quads + (quads >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((octets * np.uint64(0x0101010101010101)) >> np.uint64(56))


@inlined
def share_enough(left: Hashes, right: Hashes, min_shared: int, min_share: float) -> bool:
    """Return whether the right window contains enough shingles of the left one."""
    return is_enough(count_shared(left, right), len(left), len(right), min_shared, min_share)


@inlined
def may_share_enough(
    one: TruncatedHashes, other: TruncatedHashes, min_shared: int, min_share: float
) -> bool:
    """Return whether two windows, of which either may be the left one, may share enough.

    Args:
        one, other: uint16, the truncated shingle hashes of the windows.
        min_shared, min_share: as in ``is_enough``.
    """
    shared = max(count_shared(one, other), count_shared(other, one))
    return is_enough(shared, len(one), len(other), min_shared, min_share)


@inlined
def is_enough(
    shared: np.int64, left_size: int, right_size: int, min_shared: int, min_share: float
) -> bool:
    """Return whether two windows of these sizes are a candidate if they share that much.

    Args:
        shared: shingles of the left window that are in the right one.
        left_size, right_size: shingles of each window.
        min_shared: fewest shingles, and
        min_share: smallest share of the shorter window, that a candidate shares.
    """
    return bool(shared >= min_shared and shared >= min_share * min(left_size, right_size))


@inlined
def count_shared(left: npt.NDArray[Values], right: npt.NDArray[Values]) -> np.int64:
    """Return how many values of the left array are in the right one too; for short arrays.

    Every value is compared with every other one, without a branch, so that the loop is vectorised.
    """
    shared = np.int64(0)
    for i in range(len(left)):
        value = left[i]
        equal = np.uint8(0)
        for j in range(len(right)):
            equal |= np.uint8(value == right[j])
        shared += np.int64(equal)
    return shared
