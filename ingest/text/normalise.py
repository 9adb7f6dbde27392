"""Normalise paragraphs: one form for what reads the same, with an offset map to the document.

A normalised text is in NFC. Each run of whitespace is one space, or nothing if it contains a line
break between two characters of a script without spaces. Soft hyphens, zero-width spaces and stray
byte order marks are removed. Normalising twice changes nothing.

The offset map is a list of *shifts*: character ``i`` of the normalised text is at
``start_char + i + shift`` in the document, where ``shift`` is the one with the last position at or
before ``i``.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np

from palimpsest.kernels.arrays import Bytes, Flags, Positions, Shifts
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
"""Bytes of plain text that are checked at once."""


@dataclass(frozen=True, slots=True)
class NormalisedTexts:
    """The normalised texts of a batch's paragraphs, with ``PARAGRAPH_SEPARATOR`` between them.

    Attributes:
        buffer: uint8, UTF-8.
        starts, ends: int64, shape (paragraphs,), in bytes of ``buffer``.
        shift_offsets: int64, shape (paragraphs + 1,): where the shifts of each begin.
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
    folded = _fold_whitespace(buffer, starts, ends, tables.properties)
    texts, suspects = NormalisedTexts(*folded[:6]), folded[6]
    composed = {}
    for number in np.flatnonzero(suspects):
        text = texts.buffer[texts.starts[number] : texts.ends[number]].tobytes().decode()
        if not unicodedata.is_normalized("NFC", text):
            composed[int(number)] = text
    return _compose(texts, composed) if composed else texts


def normalise_text(text: str) -> str:
    """Return one text, normalised like the paragraphs of a batch.

    Example:
        >>> normalise_text("cafe\\u0301   au\\u00a0\\n lait")
        'café au lait'
    """
    buffer = np.frombuffer(text.encode(), dtype=np.uint8)
    ends = np.array([len(buffer)], dtype=np.int64)
    texts = normalise_paragraphs(buffer, np.zeros(1, dtype=np.int64), ends, character_tables())
    return texts.buffer[: texts.ends[0]].tobytes().decode()


@kernel
def _fold_whitespace(
    buffer: Bytes, starts: Positions, ends: Positions, properties: Bytes
) -> tuple[Bytes, Positions, Positions, Positions, Shifts, Shifts, Flags]:
    """Return the fields of ``NormalisedTexts``, and which texts may not be in NFC."""
    paragraphs = len(starts)
    out = np.empty((ends - starts).sum() + 2 * paragraphs, dtype=np.uint8)
    out_starts = np.empty(paragraphs, dtype=np.int64)
    out_ends = np.empty(paragraphs, dtype=np.int64)
    suspects = np.zeros(paragraphs, dtype=np.bool_)
    shift_offsets = np.zeros(paragraphs + 1, dtype=np.int64)
    shift_at = np.empty(1024, dtype=np.int32)
    shift_by = np.empty(1024, dtype=np.int32)
    shifts = 0
    written = 0
    for k in range(paragraphs):
        room = shifts + 2 * (ends[k] - starts[k])
        if room > len(shift_at):
            room = max(room, 2 * len(shift_at))
            shift_at, shift_by = grow(shift_at, room), grow(shift_by, room)
        out_starts[k] = written
        written, shifts, suspects[k] = _fold_paragraph(
            buffer[starts[k] : ends[k]], properties, out, written, shift_at, shift_by, shifts
        )
        out_ends[k] = written
        out[written : written + 2] = 0x0A
        written += 2
        shift_offsets[k + 1] = shifts
    return (
        out[:written],
        out_starts,
        out_ends,
        shift_offsets,
        shift_at[:shifts].copy(),
        shift_by[:shifts].copy(),
        suspects,
    )


@inlined
def _fold_paragraph(
    text: Bytes,
    properties: Bytes,
    out: Bytes,
    written: int,
    shift_at: Shifts,
    shift_by: Shifts,
    shifts: int,
) -> tuple[int, int, bool]:
    """Write one text and its shifts; return both new counts, and whether it may not be in NFC."""
    at, source_char, out_char, shift = 0, 0, 0, 0
    follows_wide, is_suspect = False, False
    while at < len(text):
        if 0x20 < text[at] < 0x7F and source_char - out_char == shift:  # the usual case
            length = _copy_plain(text[at:], out[written:])
            written += length
            at += length
            source_char += length
            out_char += length
            follows_wide = False
            continue
        at, source_char, space_char, has_break = _skip_whitespace(text, at, source_char, properties)
        if at >= len(text):
            break
        code_point, size = read_character(text, at)
        value = property_of(properties, code_point)
        is_wide = _is_wide(code_point, value)
        if space_char >= 0 and out_char > 0 and not (has_break and follows_wide and is_wide):
            shifts = _add_shift(shift_at, shift_by, shifts, shift, out_char, space_char)
            shift = space_char - out_char
            out[written] = 0x20
            written += 1
            out_char += 1
        shifts = _add_shift(shift_at, shift_by, shifts, shift, out_char, source_char)
        shift = source_char - out_char
        out[written : written + size] = text[at : at + size]
        written += size
        at += size
        source_char += 1
        out_char += 1
        if (value >> WORD_SHIFT) & WORD_MASK != MARK:
            follows_wide = is_wide
        is_suspect |= value & CHECK_NFC != 0
    return written, shifts, is_suspect


@inlined
def _skip_whitespace(
    text: Bytes, at: int, source_char: int, properties: Bytes
) -> tuple[int, int, int, bool]:
    """Skip whitespace and dropped characters.

    Returns:
        the next position in bytes and in characters, the character position of the first
        whitespace (-1 for none), and whether there was a line break.
    """
    space_char, has_break = -1, False
    while at < len(text):
        code_point, size = read_character(text, at)
        layout = property_of(properties, code_point) & LAYOUT_MASK
        if layout == 0:
            break
        if layout != DROPPED:
            space_char = source_char if space_char < 0 else space_char
            has_break |= layout == LINE_BREAK or layout == PARAGRAPH_BREAK
        at += size
        source_char += 1
    return at, source_char, space_char, has_break


@inlined
def _add_shift(
    shift_at: Shifts, shift_by: Shifts, shifts: int, shift: int, out_char: int, source_char: int
) -> int:
    """Record the shift at ``out_char`` if it differs from ``shift``; return the new count."""
    if source_char - out_char == shift:
        return shifts
    shift_at[shifts] = out_char
    shift_by[shifts] = source_char - out_char
    return shifts + 1


@inlined
def _copy_plain(source: Bytes, out: Bytes) -> int:
    """Copy the visible ASCII with single spaces that begins here; return its length.

    ``out`` is at least as long as ``source``; bytes after the copied ones may be overwritten. The
    loops of fixed length compile to a few vector instructions.
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
    """Return whether a character is of a script without spaces, or its punctuation."""
    if code_point < 0x0E00:
        return False
    if 0x2329 <= code_point <= 0x232A:  # under NFC: U+3008 and U+3009
        return True
    if (value >> WORD_SHIFT) & WORD_MASK == IDEOGRAPH:
        return True
    return 0x3001 <= code_point <= 0x303F or 0xFF01 <= code_point <= 0xFF65


def _compose(texts: NormalisedTexts, decomposed: dict[int, str]) -> NormalisedTexts:
    """Compose the given paragraphs (NFC) and adapt their shifts; copy the others."""
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
    sources: list[int] = []
    for begin, end in zip(bounds, [*bounds[1:], len(text)], strict=True):
        cluster = unicodedata.normalize("NFC", text[begin:end])
        composed.append(cluster)
        sources.extend(min(begin + step, end - 1) for step in range(len(cluster)))
    places = np.array(sources, dtype=np.int64)
    shifts = shift_positions(places, shift_at, shift_by, 0) - np.arange(len(places))
    changes = np.flatnonzero(np.diff(shifts, prepend=0))
    return "".join(composed), changes.astype(np.int32), shifts[changes].astype(np.int32)


def _may_compose(character: str, properties: Bytes) -> bool:
    """Return whether a character may combine with the one before it under normalisation."""
    if not properties[ord(character)] & CHECK_NFC:
        return False
    return unicodedata.category(character)[0] == "M" or "\u1160" <= character < "\u1200"
