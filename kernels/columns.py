"""Flat columns: spans of long arrays, gathered, measured, and converted to and from Arrow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from palimpsest.kernels.arrays import Bytes, Positions, Shifts
from palimpsest.kernels.compiled import inlined, kernel

Values = TypeVar("Values", bound=np.generic)

_CHUNK_BYTES = 2**29
_CHARACTERS = np.arange(256, dtype=np.uint8)
_LOW_DIGIT: Bytes = np.where(
    ord("A") > _CHARACTERS, _CHARACTERS & 15, (_CHARACTERS & 15) + 9
).astype(np.uint8)
"""Value of each ASCII character as the second hexadecimal digit of a byte."""
_HIGH_DIGIT: Bytes = (_LOW_DIGIT << 4).astype(np.uint8)
"""The same as the first digit."""


@kernel
def take_spans(
    values: npt.NDArray[Values], starts: Positions, ends: Positions
) -> tuple[npt.NDArray[Values], Positions]:
    """Return the concatenated spans of ``values``, and their offsets: int64, shape (spans + 1,)."""
    offsets = np.zeros(len(starts) + 1, dtype=np.int64)
    for k in range(len(starts)):
        offsets[k + 1] = offsets[k] + ends[k] - starts[k]
    taken = np.empty(offsets[-1], dtype=values.dtype)
    for k in range(len(starts)):
        taken[offsets[k] : offsets[k + 1]] = values[starts[k] : ends[k]]
    return taken, offsets


def gather_spans(
    parts: Sequence[npt.NDArray[Any]], part: Positions, starts: Positions, ends: Positions
) -> tuple[npt.NDArray[Any], Positions]:
    """Return concatenated spans of several arrays, and their offsets: int64, shape (spans + 1,).

    Each value is copied once; the arrays are not concatenated first.

    Args:
        parts: arrays of one or two dimensions, of equal width; spans are along the first axis.
        part: int64, shape (spans,): the number of the array that each span is in.
        starts, ends: int64, shape (spans,), in that array.
    """
    dtype = np.result_type(*parts)
    offsets = np.concatenate(([0], np.cumsum(ends - starts)))
    taken = np.empty((int(offsets[-1]), *parts[0].shape[1:]), dtype=dtype)
    width = dtype.itemsize * math.prod(taken.shape[1:])
    for number, values in enumerate(parts):
        mine = np.flatnonzero(part == number)
        source = np.ascontiguousarray(values, dtype=dtype).reshape(-1).view(np.uint8)
        source.flags.writeable = False  # always, so that the kernel is compiled once
        target = taken.reshape(-1).view(np.uint8)
        _put_spans(source, width * starts[mine], width * ends[mine], width * offsets[mine], target)
    return taken, offsets


@kernel
def _put_spans(
    values: Bytes, starts: Positions, ends: Positions, targets: Positions, taken: Bytes
) -> None:
    for k in range(len(starts)):
        size = ends[k] - starts[k]
        taken[targets[k] : targets[k] + size] = values[starts[k] : ends[k]]


@kernel
def count_characters(buffer: Bytes, starts: Positions, ends: Positions) -> Positions:
    """Return the number of characters in each span of UTF-8: int64, shape (spans,)."""
    counts = np.zeros(len(starts), dtype=np.int64)
    for k in range(len(starts)):
        continued = 0
        for at in range(starts[k], ends[k]):
            continued += (buffer[at] & 0xC0) == 0x80
        counts[k] = ends[k] - starts[k] - continued
    return counts


@inlined
def grow(values: npt.NDArray[Values], size: int) -> npt.NDArray[Values]:
    """Return an array of ``size`` values or rows that begins with ``values``; the rest is unset."""
    larger = np.empty((size, *values.shape[1:]), dtype=values.dtype)
    larger[: len(values)] = values
    return larger


def as_read_only(values: npt.NDArray[Values]) -> npt.NDArray[Values]:
    """Return a view of an array that cannot be written to.

    numba compiles, caches and loads a kernel separately for writable and for read-only arrays. What
    comes from memory is writable and what is mapped from a file is not, so kernels that only read
    are called with read-only views of both.
    """
    view = values.view()
    view.flags.writeable = False
    return view


def string_array(buffer: Bytes, starts: Positions, ends: Positions) -> pa.ChunkedArray:
    """Return spans of UTF-8 as Arrow strings, in chunks that 32-bit offsets can address."""
    return _in_chunks(ends - starts, lambda mine: take_spans(buffer, starts[mine], ends[mine]))


def gather_strings(
    parts: Sequence[Bytes], part: Positions, starts: Positions, ends: Positions
) -> pa.ChunkedArray:
    """Return spans of several UTF-8 arrays as Arrow strings; see ``gather_spans``."""
    return _in_chunks(
        ends - starts,
        lambda mine: gather_spans(parts, part[mine], starts[mine], ends[mine]),
    )


def _in_chunks(
    sizes: Positions, take: Callable[[slice], tuple[npt.NDArray[Any], Positions]]
) -> pa.ChunkedArray:
    chunk_of = np.cumsum(sizes) // _CHUNK_BYTES
    bounds = [0, *(np.flatnonzero(np.diff(chunk_of)) + 1).tolist(), len(sizes)]
    chunks = []
    for first, last in pairwise(bounds):
        taken, offsets = take(slice(first, last))
        columns = pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(taken)
        chunks.append(pa.StringArray.from_buffers(last - first, *columns))
    return pa.chunked_array(chunks, pa.string())


def bytes_of(strings: pa.Array) -> tuple[Bytes, Positions]:
    """Return strings as UTF-8: uint8, and their offsets: int64, shape (strings + 1,)."""
    flat = strings.cast(pa.large_string())
    if isinstance(flat, pa.ChunkedArray):
        flat = flat.combine_chunks()
    offsets = np.frombuffer(flat.buffers()[1], dtype=np.int64)[flat.offset :][: len(flat) + 1]
    utf8 = flat.buffers()[2]
    buffer = np.frombuffer(utf8, dtype=np.uint8) if utf8 else np.empty(0, dtype=np.uint8)
    return buffer, offsets


def digests_of(hex_ids: pa.Array) -> Bytes:
    """Return hexadecimal ids as digests: uint8, shape (ids, 16)."""
    buffer, offsets = bytes_of(hex_ids)
    characters = buffer[offsets[0] : offsets[-1]] if len(offsets) else buffer
    digests: Bytes = _HIGH_DIGIT[characters[0::2]] | _LOW_DIGIT[characters[1::2]]
    return digests.reshape(-1, 16)


def shift_positions(
    positions: Positions, shift_at: Shifts, shift_by: Shifts, start_char: int
) -> Positions:
    """Convert positions in one normalised text to positions in its document, in characters.

    Args:
        positions: int64, in the normalised text.
        shift_at: int32, ascending: positions in the normalised text at which the shift changes.
        shift_by: int32: the shift from there on.
        start_char: where the text begins in the document.
    """
    if len(shift_at) == 0:
        return positions + start_char
    shift = np.searchsorted(shift_at, positions, side="right") - 1
    return positions + start_char + np.where(shift >= 0, shift_by[shift], 0)
