"""Find the words of scripts that are written without spaces: Han, kana, Thai, Lao, Khmer, Myanmar.

ICU cuts each run of such characters into words with its dictionaries (UAX #29, section 4). Another
version of ICU may cut differently, and an archive must be cut by one throughout: a commit that
raises ``ICU_VERSION`` also raises ``STAGE_VERSION``.
"""

from __future__ import annotations

import numpy as np

from palimpsest.kernels.arrays import Bytes, Positions
from palimpsest.kernels.columns import grow, take_spans
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.kernels.unicode import (
    IDEOGRAPH,
    JOINER,
    MARK,
    WORD_MASK,
    WORD_SHIFT,
    character_tables,
    property_of,
    read_character,
)

ICU_VERSION = "78"
"""Major version of the ICU whose dictionaries are used."""
_FIRST_BYTE = 0xE0
"""No character of these scripts begins with a lower byte."""
_PORTION_BYTES = 1 << 22
"""Bytes that ICU takes at once; it needs some ten bytes of memory for each."""


def find_breaks(buffer: Bytes, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
    """Return where words begin within runs of characters that are written without spaces.

    Args:
        buffer: uint8, normalised texts as valid UTF-8.
        starts, ends: int64, shape (texts,), in bytes of ``buffer``.

    Returns:
        int64, in bytes of ``buffer``, text after text, without the beginnings of runs; and the
        offsets of each text among them, int64, shape (texts + 1,).
    """
    texts, first, last = _find_runs(buffer, starts, ends, character_tables().properties)
    found = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))]
    portions = np.cumsum(last - first) // _PORTION_BYTES
    for portion in np.unique(portions):
        chosen = slice(*np.searchsorted(portions, [portion, portion + 1]))
        breaks, runs = _breaks_within(buffer, first[chosen], last[chosen])
        found.append((breaks, texts[chosen][runs]))
    breaks, text_of = (np.concatenate(column) for column in zip(*found, strict=True))
    return breaks, np.searchsorted(text_of, np.arange(len(starts) + 1))


def _breaks_within(
    buffer: Bytes, starts: Positions, ends: Positions
) -> tuple[Positions, Positions]:
    """Return where words begin within runs, in bytes of ``buffer``, and in which run each does."""
    from icu4py.breakers import WordBreaker

    pieces, offsets = take_spans(buffer, starts, ends)
    separated = np.insert(pieces, offsets[1:], ord("\n"))  # ICU never joins words across it
    breaker = WordBreaker(separated.tobytes().decode(), "en")
    begins = np.fromiter((first for first, _ in breaker.segments()), dtype=np.int64)
    characters = np.flatnonzero((separated & 0xC0) != 0x80)
    units = np.repeat(characters, 1 + (separated[characters] >= 0xF0))  # of UTF-16
    at = units[begins]
    firsts = offsets[:-1] + np.arange(len(starts))
    runs = np.searchsorted(firsts, at, side="right") - 1
    is_within = (at > firsts[runs]) & (separated[at] != ord("\n"))
    at, runs = at[is_within], runs[is_within]
    return starts[runs] + at - firsts[runs], runs


@kernel
def _find_runs(
    buffer: Bytes, starts: Positions, ends: Positions, properties: Bytes
) -> tuple[Positions, Positions, Positions]:
    """Return the text of each run of characters written without spaces, its start and its end."""
    rows = np.empty((16, 3), dtype=np.int64)
    count = 0
    for text in range(len(starts)):
        at, end = starts[text], ends[text]
        while at < end:
            if buffer[at] < _FIRST_BYTE:
                at += 1
                continue
            begin = at
            kind, size = _read_class(buffer, at, properties)
            at += size
            if kind != IDEOGRAPH:
                continue
            while at < end:
                kind, size = _read_class(buffer, at, properties)
                if kind != IDEOGRAPH and kind != MARK and kind != JOINER:
                    break
                at += size
            if count == len(rows):
                rows = grow(rows, 2 * count)
            rows[count, 0], rows[count, 1], rows[count, 2] = text, begin, at
            count += 1
    return rows[:count, 0].copy(), rows[:count, 1].copy(), rows[:count, 2].copy()


@inlined
def _read_class(buffer: Bytes, at: int, properties: Bytes) -> tuple[int, int]:
    """Return the word class of the character at a byte, and its length in bytes."""
    code_point, size = read_character(buffer, at)
    return int((property_of(properties, code_point) >> WORD_SHIFT) & WORD_MASK), size
