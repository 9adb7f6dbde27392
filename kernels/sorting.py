"""Sort integers and digests, remove duplicates, and look digests up."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from palimpsest.kernels.arrays import Bytes, Keys, Positions
from palimpsest.kernels.compiled import kernel

Values = TypeVar("Values", bound=np.generic)

KERNEL_MIN_DIGESTS = 2000
"""Fewer digests are handled by numpy, which is as fast and has nothing to compile."""
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def pack_with_positions(numbers: npt.NDArray[Values]) -> Keys:
    """Return sorted numbers with their positions: uint64, number above and position below.

    Args:
        numbers: integers from 0 to 2**32 - 1; at most 2**32 of them.
    """
    packed = numbers.astype(np.uint64) << _HALF | np.arange(len(numbers), dtype=np.uint64)
    packed.sort()
    return packed


def stable_order(numbers: npt.NDArray[Values]) -> Positions:
    """Return the positions that sort the numbers, as a stable ``numpy.argsort`` does: int64.

    Args:
        numbers: integers from 0 to 2**32 - 1; at most 2**32 of them.
    """
    return (pack_with_positions(numbers) & _LOW).astype(np.int64)


def distinct(values: npt.NDArray[Values]) -> npt.NDArray[Values]:
    """Return the distinct values, sorted.

    ``numpy.unique`` does the same but hashes integers since numpy 2.3: a million random ones took
    it 1.2 s, and this function 19 ms.
    """
    ordered = np.sort(values)
    keep = np.ones(len(ordered), dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=keep[1:])
    return ordered[keep]


def sortable(digests: Bytes) -> npt.NDArray[np.bytes_]:
    """Return digests, uint8 of shape (n, width), as byte strings, which compare by their bytes."""
    width = digests.shape[1]
    return np.ascontiguousarray(digests).view(f"S{width}").reshape(-1)


def halves_of(digests: Bytes) -> tuple[Keys, Keys]:
    """Return the upper and lower halves of digests, uint8 of shape (n, 16): uint64, shape (n,)."""
    halves = np.ascontiguousarray(digests).view(">u8").astype(np.uint64)
    return halves[:, 0], halves[:, 1]


def distinct_digests(digests: Bytes) -> Bytes:
    """Return the distinct digests of uint8, shape (n, 16), sorted."""
    return digests[first_of_each(digests)]


def first_of_each(digests: Bytes) -> Positions:
    """Return the first position of each distinct digest, in the order of the digests: int64.

    Args:
        digests: uint8, shape (n, 16).
    """
    if len(digests) < KERNEL_MIN_DIGESTS:
        return np.unique(sortable(digests), return_index=True)[1]
    upper, lower = halves_of(digests)
    return _first_of_each(upper, lower, stable_order(upper >> _HALF))


@kernel
def _first_of_each(upper: Keys, lower: Keys, order: Positions) -> Positions:
    """Return the first position of each digest by insertion sort, which overwrites ``order``.

    ``order`` sorts the digests by their first 32 bits, stably. Few distinct digests agree in these,
    so nearly all insertions end at once; of equal digests the first one stays.
    """
    count = 0
    for k in range(len(order)):
        position = order[k]
        at = count
        is_new = True
        while at > 0:
            other = order[at - 1]
            if upper[other] < upper[position] or (
                upper[other] == upper[position] and lower[other] <= lower[position]
            ):
                is_new = upper[other] != upper[position] or lower[other] != lower[position]
                break
            at -= 1
        if is_new:
            for moved in range(count, at, -1):
                order[moved] = order[moved - 1]
            order[at] = position
            count += 1
    return order[:count].copy()


def find_digests(stored: Bytes, wanted: Bytes) -> Positions:
    """Return the position of each wanted digest in the stored ones, or -1: int64, shape (wanted,).

    For many digests this takes a fifteenth of the time of ``numpy.searchsorted``.

    Args:
        stored: uint8, shape (stored, 16), sorted and distinct.
        wanted: uint8, shape (wanted, 16), in any order.
    """
    if len(stored) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    if len(wanted) < max(KERNEL_MIN_DIGESTS, len(stored) // 8):
        # binary search does not read all that is stored, which may be mapped from a file
        keys, wanted_keys = sortable(stored), sortable(wanted)
        position = np.minimum(np.searchsorted(keys, wanted_keys), len(keys) - 1)
        return np.where(keys[position] == wanted_keys, position, -1)
    return _find_digests(*halves_of(stored), *halves_of(wanted))


@kernel
def _find_digests(upper: Keys, lower: Keys, wanted_upper: Keys, wanted_lower: Keys) -> Positions:
    """Look digests up in a table by as many leading bits as there are, then by binary search."""
    bits = 1
    while 1 << bits < len(upper):
        bits += 1
    shift = np.uint64(64 - bits)
    starts = np.zeros((1 << bits) + 1, dtype=np.int64)
    for k in range(len(upper)):
        starts[np.int64(upper[k] >> shift) + 1] += 1
    for before in range(1 << bits):
        starts[before + 1] += starts[before]
    positions = np.full(len(wanted_upper), -1, dtype=np.int64)
    for k in range(len(wanted_upper)):
        slot = np.int64(wanted_upper[k] >> shift)
        at, end = int(starts[slot]), int(starts[slot + 1])
        while at < end:
            middle = (at + end) // 2
            if upper[middle] < wanted_upper[k] or (
                upper[middle] == wanted_upper[k] and lower[middle] < wanted_lower[k]
            ):
                at = middle + 1
            else:
                end = middle
        if at < starts[slot + 1] and upper[at] == wanted_upper[k] and lower[at] == wanted_lower[k]:
            positions[k] = at
    return positions
