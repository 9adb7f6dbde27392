"""Flat columns: spans of one long array, taken in another order, counted and sorted."""

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
_DIGITS = np.arange(256, dtype=np.uint8)
_LOW: Bytes = np.where(ord("A") > _DIGITS, _DIGITS & 15, (_DIGITS & 15) + 9).astype(np.uint8)
"""What a hexadecimal digit, by its byte, stands for at the end of a byte."""
_HIGH: Bytes = (_LOW << 4).astype(np.uint8)
"""And at the beginning of one."""


@kernel
def take_spans(
    values: npt.NDArray[Values], starts: Positions, ends: Positions
) -> tuple[npt.NDArray[Values], Positions]:
    """Return spans of ``values`` one behind the other, and their offsets, shape (spans + 1,)."""
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
    """Return spans of several arrays one behind the other, and their offsets, shape (spans + 1,).

    Each value is copied once; the arrays are not put together before.

    Args:
        parts: of one or two dimensions, as wide as each other; of rows, spans are of rows.
        part: int64, shape (spans,): which array each span is of.
        starts, ends: int64, shape (spans,), in that array.
    """
    kind = np.result_type(*parts)
    offsets = np.concatenate(([0], np.cumsum(ends - starts)))
    taken = np.empty((int(offsets[-1]), *parts[0].shape[1:]), dtype=kind)
    width = kind.itemsize * math.prod(taken.shape[1:])
    for number, values in enumerate(parts):
        mine = np.flatnonzero(part == number)
        held = np.ascontiguousarray(values, dtype=kind).reshape(-1).view(np.uint8)
        held.flags.writeable = False  # one kind of argument, so that it is compiled once
        put = taken.reshape(-1).view(np.uint8)
        _put_spans(held, width * starts[mine], width * ends[mine], width * offsets[mine], put)
    return taken, offsets


@kernel
def _put_spans(
    values: Bytes, starts: Positions, ends: Positions, places: Positions, taken: Bytes
) -> None:
    for k in range(len(starts)):
        size = ends[k] - starts[k]
        taken[places[k] : places[k] + size] = values[starts[k] : ends[k]]


@kernel
def count_characters(buffer: Bytes, starts: Positions, ends: Positions) -> Positions:
    """Return the characters in each span of UTF-8."""
    counts = np.zeros(len(starts), dtype=np.int64)
    for k in range(len(starts)):
        continued = 0
        for at in range(starts[k], ends[k]):
            continued += (buffer[at] & 0xC0) == 0x80
        counts[k] = ends[k] - starts[k] - continued
    return counts


@inlined
def grow(values: npt.NDArray[Values], room: int) -> npt.NDArray[Values]:
    """Return an array with room for so many values or rows, those that there are first."""
    larger = np.empty((room, *values.shape[1:]), dtype=values.dtype)
    larger[: len(values)] = values
    return larger


def as_read_only(values: npt.NDArray[Values]) -> npt.NDArray[Values]:
    """Return a view of an array that cannot be written to.

    A kernel is compiled, kept on disk and loaded once for what may be written to and once for what
    may not. Arrays from elsewhere are of either kind, so a kernel that only reads is given these.
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
    """Return spans of several arrays of UTF-8 as Arrow strings; see ``gather_spans``."""
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
    """Return an array of strings as UTF-8 and offsets, shape (strings + 1,)."""
    flat = strings.cast(pa.large_string())
    if isinstance(flat, pa.ChunkedArray):
        flat = flat.combine_chunks()
    offsets = np.frombuffer(flat.buffers()[1], dtype=np.int64)[flat.offset :][: len(flat) + 1]
    held = flat.buffers()[2]
    buffer = np.frombuffer(held, dtype=np.uint8) if held else np.empty(0, dtype=np.uint8)
    return buffer, offsets


def digests_of(hex_ids: pa.Array) -> Bytes:
    """Return ids in hex as digests: uint8, shape (ids, 16)."""
    buffer, offsets = bytes_of(hex_ids)
    letters = buffer[offsets[0] : offsets[-1]] if len(offsets) else buffer
    pairs: Bytes = _HIGH[letters[0::2]] | _LOW[letters[1::2]]
    return pairs.reshape(-1, 16)


def shift_positions(
    positions: Positions, shift_at: Shifts, shift_by: Shifts, start_char: int
) -> Positions:
    """Return where positions of one normalised text stand in the document, in characters."""
    if len(shift_at) == 0:
        return positions + start_char
    place = np.searchsorted(shift_at, positions, side="right") - 1
    return positions + start_char + np.where(place >= 0, shift_by[place], 0)
