"""Normalise paragraphs: one form for what reads the same, with the way back to the document.

A normalised text is in NFC; each run of blanks and line breaks is one blank, or nothing between two
characters of a script that has no blanks; soft hyphens, zero-width blanks and stray byte order
marks are gone. Normalising twice changes nothing.

The way back is a list of *shifts*: character ``i`` of the normalised text stands in the document at
``start_char + i + shift``, where ``shift`` is the one whose position is the last at or
before ``i``.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from palimpsest.kernels.arrays import Bytes, Positions, Shifts
from palimpsest.kernels.columns import grow, shift_positions
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.kernels.unicode import (
    CHECK_NFC,
    DROPPED,
    IDEOGRAPH,
    LAYOUT_MASK,
    LINE_BREAK,
    MARK,
    PARAGRAPH_BREAK,
    WORD_MASK,
    WORD_SHIFT,
    CharacterTables,
    character_tables,
    property_of,
    read_character,
)
from palimpsest.records.schemas import PARAGRAPH_SEPARATOR

_STEP = 32
"""So many bytes of plain text are looked at at once."""


@dataclass(frozen=True, slots=True)
class NormalisedTexts:
    """The normalised texts of a batch's paragraphs, with ``PARAGRAPH_SEPARATOR`` between them.

    Attributes:
        buffer: uint8, UTF-8.
        starts, ends: int64, shape (paragraphs,), in bytes of ``buffer``.
        shift_offsets: int64, shape (paragraphs + 1,): which shifts are whose.
        shift_at, shift_by: int32, in characters; ``shift_at`` ascends within a paragraph.
    """

    buffer: Bytes
    starts: Positions
    ends: Positions
    shift_offsets: Positions
    shift_at: Shifts
    shift_by: Shifts


def normalise_paragraphs(
    buffer: Bytes, starts: Positions, ends: Positions, tables: CharacterTables
) -> NormalisedTexts:
    """Normalise spans of decoded text.

    Args:
        buffer: uint8, decoded text as UTF-8.
        starts, ends: int64, shape (paragraphs,), in bytes of ``buffer``.
    """
    folded = _fold_blanks(buffer, starts, ends, tables.properties)
    texts, suspects = NormalisedTexts(*folded[:6]), folded[6]
    composed = {}
    for number in np.flatnonzero(suspects):
        text = texts.buffer[texts.starts[number] : texts.ends[number]].tobytes().decode()
        if not unicodedata.is_normalized("NFC", text):
            composed[int(number)] = text
    return _compose(texts, composed) if composed else texts


def normalise_text(text: str) -> str:
    """Return one text normalised as the paragraphs of a batch are.

    Example:
        >>> normalise_text("cafe\\u0301   au\\u00a0\\n lait")
        'café au lait'
    """
    buffer = np.frombuffer(text.encode(), dtype=np.uint8)
    ends = np.array([len(buffer)], dtype=np.int64)
    texts = normalise_paragraphs(buffer, np.zeros(1, dtype=np.int64), ends, character_tables())
    return texts.buffer[: texts.ends[0]].tobytes().decode()


@kernel
def _fold_blanks(
    buffer: Bytes, starts: Positions, ends: Positions, properties: Bytes
) -> tuple[Bytes, Positions, Positions, Positions, Shifts, Shifts, npt.NDArray[np.bool_]]:
    paragraphs = len(starts)
    room = 0
    for k in range(paragraphs):
        room += ends[k] - starts[k] + 2
    out = np.empty(room, dtype=np.uint8)
    out_starts = np.empty(paragraphs, dtype=np.int64)
    out_ends = np.empty(paragraphs, dtype=np.int64)
    suspects = np.zeros(paragraphs, dtype=np.bool_)
    shift_offsets = np.zeros(paragraphs + 1, dtype=np.int64)
    shift_at = np.empty(1024, dtype=np.int32)
    shift_by = np.empty(1024, dtype=np.int32)
    shifts = 0
    o = 0
    for k in range(paragraphs):
        out_starts[k] = o
        at, end = starts[k], ends[k]
        source_char, out_char, shift = 0, 0, 0
        blank_char, has_break, wide_before = -1, False, False
        while at < end:
            byte = buffer[at]
            if 0x20 < byte < 0x7F and blank_char < 0 and source_char - out_char == shift:
                length = _copy_plain(buffer[at:end], out[o:])  # the usual case
                o += length
                at += length
                source_char += length
                out_char += length
                wide_before = False
                continue
            is_lone_blank = byte == 0x20 and at + 1 < end and 0x20 < buffer[at + 1] < 0x7F
            if is_lone_blank and blank_char < 0 and 0 < out_char == source_char - shift:
                out[o] = byte
                o += 1
                at += 1
                source_char += 1
                out_char += 1
                continue
            code_point, size = read_character(buffer, at)
            value = property_of(properties, code_point)
            layout = value & LAYOUT_MASK
            if layout != 0:
                if layout != DROPPED:
                    blank_char = source_char if blank_char < 0 else blank_char
                    has_break |= layout == LINE_BREAK or layout == PARAGRAPH_BREAK
                at += size
                source_char += 1
                continue
            is_wide = _is_wide(code_point, value)
            if shifts + 2 > len(shift_at):
                shift_at = grow(shift_at, 2 * len(shift_at))
                shift_by = grow(shift_by, 2 * len(shift_by))
            if blank_char >= 0 and out_char > 0 and not (has_break and wide_before and is_wide):
                if blank_char - out_char != shift:
                    shift = blank_char - out_char
                    shift_at[shifts] = out_char
                    shift_by[shifts] = shift
                    shifts += 1
                out[o] = 32
                o += 1
                out_char += 1
            blank_char, has_break = -1, False
            if source_char - out_char != shift:
                shift = source_char - out_char
                shift_at[shifts] = out_char
                shift_by[shifts] = shift
                shifts += 1
            for step in range(size):
                out[o + step] = buffer[at + step]
            o += size
            at += size
            source_char += 1
            out_char += 1
            if (value >> WORD_SHIFT) & WORD_MASK != MARK:
                wide_before = is_wide
            if value & CHECK_NFC:
                suspects[k] = True
        out_ends[k] = o
        out[o] = 10
        out[o + 1] = 10
        o += 2
        shift_offsets[k + 1] = shifts
    return (
        out[:o],
        out_starts,
        out_ends,
        shift_offsets,
        shift_at[:shifts].copy(),
        shift_by[:shifts].copy(),
        suspects,
    )


@inlined
def _copy_plain(source: Bytes, out: Bytes) -> int:
    """Copy visible ASCII with single blanks between, which begins here; return how much there is.

    ``out`` is as long as ``source``; what stands behind the copied bytes in it may be anything. The
    loops of fixed length become a few instructions over all of their bytes.
    """
    length = 0
    while length + _STEP < len(source):
        step, into = source[length : length + _STEP + 1], out[length : length + _STEP]
        is_other = np.uint8(0)
        for k in range(_STEP):
            byte, following = step[k], step[k + 1]
            into[k] = byte
            is_other |= np.uint8(byte < 0x20) | np.uint8(byte > 0x7E)
            is_other |= np.uint8(byte == 0x20) & np.uint8(following == 0x20)
        if is_other:
            break
        length += _STEP
    while length < len(source):
        byte = source[length]
        if byte < 0x20 or byte > 0x7E or (byte == 0x20 and source[length - 1] == 0x20):
            break
        out[length] = byte
        length += 1
    return length - 1 if source[length - 1] == 0x20 else length


@inlined
def _is_wide(code_point: int, value: np.uint8) -> bool:
    """Tell whether a character belongs to text without blanks: such a script or its punctuation."""
    if code_point < 0x0E00:
        return False
    if 0x2329 <= code_point <= 0x232A:  # under NFC: U+3008 and U+3009
        return True
    if (value >> WORD_SHIFT) & WORD_MASK == IDEOGRAPH:
        return True
    return 0x3001 <= code_point <= 0x303F or 0xFF01 <= code_point <= 0xFF65


def _compose(texts: NormalisedTexts, decomposed: dict[int, str]) -> NormalisedTexts:
    """Put the given paragraphs in NFC, and their shifts with them; copy the others."""
    pieces, shifts_at, shifts_by = [], [], []
    lengths = texts.ends - texts.starts
    counts = np.diff(texts.shift_offsets)
    done = done_shifts = 0
    for number, text in decomposed.items():
        first, last = texts.shift_offsets[number], texts.shift_offsets[number + 1]
        composed, at, by = _compose_one(
            text, texts.shift_at[first:last], texts.shift_by[first:last]
        )
        encoded = composed.encode()
        pieces += [texts.buffer[done : texts.starts[number]], np.frombuffer(encoded, np.uint8)]
        shifts_at += [texts.shift_at[done_shifts:first], at]
        shifts_by += [texts.shift_by[done_shifts:first], by]
        done, done_shifts = texts.ends[number], last
        lengths[number], counts[number] = len(encoded), len(at)
    starts = np.concatenate(([0], np.cumsum(lengths + len(PARAGRAPH_SEPARATOR))[:-1]))
    return NormalisedTexts(
        np.concatenate([*pieces, texts.buffer[done:]]),
        starts,
        starts + lengths,
        np.concatenate(([0], np.cumsum(counts))),
        np.concatenate([*shifts_at, texts.shift_at[done_shifts:]]),
        np.concatenate([*shifts_by, texts.shift_by[done_shifts:]]),
    )


def _compose_one(text: str, shift_at: Shifts, shift_by: Shifts) -> tuple[str, Shifts, Shifts]:
    """Return a text in NFC with its shifts, composed cluster by cluster (UAX #15, section 9.1)."""
    properties = character_tables().properties
    bounds = [
        place
        for place, character in enumerate(text)
        if place == 0
        or ord(character) >= len(properties)
        or not _may_compose(character, properties)
    ]
    composed: list[str] = []
    came_from: list[int] = []
    for begin, end in zip(bounds, [*bounds[1:], len(text)], strict=True):
        cluster = unicodedata.normalize("NFC", text[begin:end])
        composed.append(cluster)
        came_from.extend(min(begin + step, end - 1) for step in range(len(cluster)))
    places = np.array(came_from, dtype=np.int64)
    shifts = shift_positions(places, shift_at, shift_by, 0) - np.arange(len(places))
    changes = np.flatnonzero(np.diff(shifts, prepend=0))
    return "".join(composed), changes.astype(np.int32), shifts[changes].astype(np.int32)


def _may_compose(character: str, properties: Bytes) -> bool:
    """Tell whether a character may join the one before it under normalisation."""
    if not properties[ord(character)] & CHECK_NFC:
        return False
    return unicodedata.category(character)[0] == "M" or "\u1160" <= character < "\u1200"
