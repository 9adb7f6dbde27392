"""Where two long documents share anything: the regions in which they are aligned word by word.

The pairs of equal words of two books are millions, nearly all of them by chance, and the time to
align them grows with their number. But wherever text was reused, some neighbouring words agree that
are rare as a pair. So a *seed* is a pair of content words, at most ``_REACH`` apart, that occurs in
both documents, and at most ``_MAX_REPEATS`` times in the second one. (Seeds and their extension are
those of Altschul and others 1990.) The plane of both documents is cut into cells, and only cells
with at least ``_MIN_SEEDS`` seeds in them or in the eight cells around them are aligned.

Finding seeds takes time in proportion to the words of both documents, whatever they repeat.
"""

from __future__ import annotations

import numpy as np

from palimpsest.kernels.arrays import Bytes, Hashes, Indices
from palimpsest.kernels.compiled import inlined

LONG_CELLS = 1 << 24
"""Documents are long if the product of their content words is larger: 4,096 each, for example."""
_REACH, _MAX_REPEATS, _MIN_SEEDS = 2, 8, 4
_MIN_SHIFT, _MAX_CELLS = 5, 1 << 22
"""A cell is 32 content words wide, or more if there would be more cells than this."""


@inlined
def cell_shift(my_size: int, their_size: int) -> int:
    """Return the binary logarithm of the width of a cell, in content words."""
    shift = _MIN_SHIFT
    while ((my_size >> shift) + 1) * ((their_size >> shift) + 1) > _MAX_CELLS:
        shift += 1
    return shift


@inlined
def find_regions(
    content: Hashes, mine: int, my_size: int, theirs: int, their_size: int
) -> tuple[Indices, int]:
    """Return the region of each cell, and how many regions there are.

    A region is a connected component of cells, also by their corners, that have enough seeds in
    and around them.

    Args:
        content: content words of all texts.
        mine, theirs: where those of the two documents begin.
        my_size, their_size: how many they have.

    Returns:
        int32, shape (cells,), a row of cells after the other (``cell_shift``): the number of its
        region, or -1.
    """
    shift = cell_shift(my_size, their_size)
    width = (their_size >> shift) + 1
    counts = _count_seeds(content, mine, my_size, theirs, their_size, shift)
    regions = np.full(len(counts), -1, dtype=np.int32)
    waiting = np.empty(len(counts), dtype=np.int32)
    number = 0
    for start in range(len(counts)):
        if counts[start] < _MIN_SEEDS or regions[start] >= 0:
            continue
        regions[start] = number
        waiting[0], left = start, 1
        while left:
            left -= 1
            row, column = waiting[left] // width, waiting[left] % width
            for y in range(max(0, row - 1), min(len(counts) // width, row + 2)):
                for cell in range(
                    y * width + max(0, column - 1), y * width + min(width, column + 2)
                ):
                    if counts[cell] >= _MIN_SEEDS and regions[cell] < 0:
                        regions[cell] = number
                        waiting[left] = cell
                        left += 1
        number += 1
    return regions, number


@inlined
def _count_seeds(
    content: Hashes, mine: int, my_size: int, theirs: int, their_size: int, shift: int
) -> Bytes:
    """Return the number of seeds in and around each cell, at most 255: uint8, shape (cells,)."""
    height, width = (my_size >> shift) + 1, (their_size >> shift) + 1
    counts = np.zeros(height * width, dtype=np.uint8)
    heads, follows = _table_of_pairs(content, theirs, their_size)
    mask = np.uint64(len(heads) - 1)
    repeats = np.empty(_MAX_REPEATS + 1, dtype=np.int64)
    for i in range(my_size - 1):
        for distance in range(1, min(_REACH, my_size - 1 - i) + 1):
            one, other = content[mine + i], content[mine + i + distance]
            entry = heads[_pair_hash(one, other) & mask]
            found = 0
            while entry >= 0 and found <= _MAX_REPEATS:
                j, step = theirs + entry // _REACH, entry % _REACH + 1
                if content[j] == one and content[j + step] == other:
                    repeats[found] = entry // _REACH
                    found += 1
                entry = follows[entry]
            if found > _MAX_REPEATS:
                continue
            for k in range(found):
                row, column = i >> shift, repeats[k] >> shift
                for y in range(max(0, row - 1), min(height, row + 2)):
                    for x in range(max(0, column - 1), min(width, column + 2)):
                        counts[y * width + x] += counts[y * width + x] < 255
    return counts


@inlined
def _table_of_pairs(content: Hashes, first: int, size: int) -> tuple[Indices, Indices]:
    """Return a hash table with chaining of the pairs of neighbouring words of a document.

    Its entries are numbered: ``_REACH`` for each word.
    """
    slots = 64
    while slots < 2 * _REACH * size:
        slots *= 2
    heads, follows = np.full(slots, -1, dtype=np.int32), np.empty(_REACH * size, dtype=np.int32)
    mask = np.uint64(slots - 1)
    for j in range(size - 2, -1, -1):
        for distance in range(min(_REACH, size - 1 - j), 0, -1):
            slot = _pair_hash(content[first + j], content[first + j + distance]) & mask
            entry = _REACH * j + distance - 1
            follows[entry] = heads[slot]
            heads[slot] = entry
    return heads, follows


@inlined
def _pair_hash(one: np.uint32, other: np.uint32) -> np.uint64:
    """Return a hash of two words in order (multiplicative hashing, Knuth 1973)."""
    both = np.uint64(one) << np.uint64(32) | np.uint64(other)
    return (both * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
