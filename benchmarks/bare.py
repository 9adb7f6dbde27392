"""Bare loops that do the minimum of work of a stage: floors for the stages of the main job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from palimpsest.kernels.compiled import kernel

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint32]
Buckets = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]

_PAGE_BYTES = 4 * 2**20


def read_files(paths: Sequence[str], sizes: Sequence[int]) -> int:
    """Open, read and close files; return the number of bytes."""
    total = 0
    for path, size in zip(paths, sizes, strict=True):
        descriptor = os.open(path, os.O_RDONLY)
        total += len(os.read(descriptor, size))
        os.close(descriptor)
    return total


def compress(pieces: Sequence[bytes]) -> int:
    """Compress bytes with zstd, level 3, in pages; return the compressed size."""
    codec, left = pa.Codec("zstd", compression_level=3), 0
    for piece in pieces:
        view = memoryview(piece)
        for first in range(0, len(piece), _PAGE_BYTES):
            left += len(codec.compress(view[first : first + _PAGE_BYTES], asbytes=True))
    return left


def write_durably(pieces: Sequence[bytes], folder: Path) -> None:
    """Write each piece to a file of its own and sync it to the disk."""
    folder.mkdir()
    for number, piece in enumerate(pieces):
        with (folder / str(number)).open("xb") as file:
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())


def touch(size: int) -> None:
    """Allocate memory and write to it."""
    np.empty(size, dtype=np.uint8).fill(1)


def copy(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Read and write memory once."""
    return values.copy()


@kernel
def through_table(buffer: Bytes, table: Bytes) -> int:
    """Look each byte up in a table of 256 entries; return the sum."""
    total = 0
    for position in range(len(buffer)):
        total += table[buffer[position]]
    return total


@kernel
def sign(shingles: Hashes, a: Hashes, b: Hashes) -> Hashes:
    """Apply every permutation to every shingle; return the minimum for each permutation.

    All shingles are one set, so only multiplications, additions and minima remain.
    """
    least = np.empty(len(a), dtype=np.uint32)
    for k in range(len(a)):
        lowest = np.uint32(0xFFFFFFFF)
        for position in range(len(shingles)):
            lowest = min(lowest, np.uint32(np.uint32(a[k] * shingles[position]) + b[k]))
        least[k] = lowest
    return least


@kernel
def meet(buckets: Buckets, sketches: Buckets, most: int) -> int:
    """Compare the sketches of all windows that share a bucket; return how many pairs share a bit.

    Args:
        buckets: sorted entries of one band: hash in the upper half, window number in the lower.
        sketches: one for each window.
        most: number of windows of a bucket that are compared at most.
    """
    low, shift, alike, first = np.uint64(0xFFFFFFFF), np.uint64(32), 0, 0
    for end in range(1, len(buckets) + 1):
        if end < len(buckets) and buckets[end] >> shift == buckets[first] >> shift:
            continue
        last = min(end, first + most)
        for left in range(first, last):
            sketch = sketches[buckets[left] & low]
            for right in range(left + 1, last):
                alike += 1 if sketch & sketches[buckets[right] & low] != 0 else 0
        first = end
    return alike


@kernel
def look_up_words(
    offsets: Positions, hashes: Hashes, left: Positions, right: Positions, table: Bytes
) -> int:
    """Look each word of both sides of each pair up in a table of 2**16 entries; return the sum."""
    total = 0
    for pair in range(len(left)):
        for text in (left[pair], right[pair]):
            for word in range(offsets[text], offsets[text + 1]):
                total += table[hashes[word] & np.uint32(0xFFFF)]
    return total
