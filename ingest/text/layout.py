"""Lay decoded text out in paragraphs: compiled, a batch of documents at a time.

The rules, in the order in which they apply:

1. Blank lines, and U+2029, separate blocks.
2. Within a block, lines are either wrapped or whole. A line is *full* if the first word of the
   next line would not have fitted after it within the block's width; greedy wrapping fills all
   lines but the last of a paragraph. If most lines of the document's narrow blocks are full, the
   document is hard-wrapped: full lines are joined to the next, others end a paragraph. Otherwise
   each line is a paragraph.
3. In a hard-wrapped block, an indented line begins a paragraph; if most lines are indented, each
   line that is not does.
4. A paragraph longer than the limit is cut at sentence ends. Among the ends within reach, the one
   whose sentence has the smallest hash is taken (content-defined chunking), so that two reprints of
   a long block are cut at the same places although one has a sentence more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from palimpsest.kernels.arrays import Bytes, Positions
from palimpsest.kernels.columns import grow
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.kernels.unicode import (
    BLANK,
    DROPPED,
    IDEOGRAPH,
    LAYOUT_MASK,
    LINE_BREAK,
    LOWER,
    PARAGRAPH_BREAK,
    WORD_MASK,
    WORD_SHIFT,
    CharacterTables,
    is_closer,
    is_terminal,
    is_wide_terminal,
    property_of,
    read_character,
)

Lines = npt.NDArray[np.int64]

_MAX_WRAP_CHARS = 160
_FULL_SHARE = 0.6
_MIN_INDENT = 2
_TAB_COLUMNS = 4
_MIN_LONE_WRAP_CHARS = 50
_STEP = 32
"""Bytes of plain text that are checked at once."""
_SHORTEST_PIECE = 5
"""A piece of a cut block is at least a fifth of the limit long."""
_HASHED_LETTERS = 13
"""Each letter shifts a hash of 64 bits by five, so earlier letters leave no trace in it."""

# Columns of the array of lines.
_START, _END, _INDENT, _WIDTH, _FIRST_WORD, _STARTS_BLOCK, _STARTS_LOWER, _IS_CLOSED = range(8)
_LINE_COLUMNS = 8


def lay_out(
    buffer: Bytes, document_offsets: Positions, tables: CharacterTables, max_chars: int
) -> tuple[Positions, Positions, Positions]:
    """Return the paragraphs of a batch of documents.

    Args:
        buffer: uint8, decoded documents as UTF-8, one after the other.
        document_offsets: int64, shape (documents + 1,), in bytes of ``buffer``.
        max_chars: the longest paragraph, in characters.

    Returns:
        starts, ends: int64, shape (paragraphs,), in bytes of ``buffer``; first and last character
        of a paragraph are visible.
        counts: int64, shape (documents,), paragraphs of each document.
    """
    starts, ends, counts = _lay_out(buffer, document_offsets, tables.properties, max_chars)
    return starts, ends, counts


@kernel
def _lay_out(
    buffer: Bytes, document_offsets: Positions, properties: Bytes, max_chars: int
) -> tuple[Positions, Positions, Positions]:
    documents = len(document_offsets) - 1
    min_chars = max(1, max_chars // _SHORTEST_PIECE)
    counts = np.zeros(documents, dtype=np.int64)
    starts = np.empty(1024, dtype=np.int64)
    ends = np.empty(1024, dtype=np.int64)
    found = 0
    for document in range(documents):
        begin, end = document_offsets[document], document_offsets[document + 1]
        lines = _read_lines(buffer, begin, end, properties)
        heads = _paragraph_heads(lines)
        before = found
        for k in range(len(heads)):
            last = (heads[k + 1] if k + 1 < len(heads) else len(lines)) - 1
            first_byte, last_byte = lines[heads[k], _START], lines[last, _END]
            room = found + (last_byte - first_byte) // min_chars + 2
            if room > len(starts):
                room = max(room, 2 * len(starts))
                starts, ends = grow(starts, room), grow(ends, room)
            found = _cut(
                buffer, first_byte, last_byte, properties, min_chars, max_chars, starts, ends, found
            )
        counts[document] = found - before
    return starts[:found].copy(), ends[:found].copy(), counts


@inlined
def _read_lines(buffer: Bytes, begin: int, end: int, properties: Bytes) -> Lines:
    """Return the lines that contain something visible, trimmed, with the facts layout needs."""
    lines = np.empty((16, _LINE_COLUMNS), dtype=np.int64)
    count = 0
    at = begin
    while at < end:
        start, indent, breaks = _skip_indent(buffer, at, end, properties)
        if start >= end:
            break
        value = property_of(properties, read_character(buffer, start)[0])
        at, last, width, first_word, closing = _read_line(buffer, start, end, properties)
        if (value >> WORD_SHIFT) & WORD_MASK == IDEOGRAPH:
            first_word = min(first_word, 3)  # such text breaks after any character but a few
        if count == len(lines):
            lines = grow(lines, 2 * count)
        lines[count, _START] = start
        lines[count, _END] = last
        lines[count, _INDENT] = indent
        lines[count, _WIDTH] = width
        lines[count, _FIRST_WORD] = first_word
        lines[count, _STARTS_BLOCK] = 1 if count == 0 or breaks > 1 else 0
        lines[count, _STARTS_LOWER] = 1 if value & LOWER else 0
        lines[count, _IS_CLOSED] = closing
        count += 1
    return lines[:count]


@inlined
def _skip_indent(buffer: Bytes, at: int, end: int, properties: Bytes) -> tuple[int, int, int]:
    """Skip whitespace and empty lines; return the position, the indent and the line breaks.

    The indent is in columns; U+2029 counts as two breaks.
    """
    indent, breaks = 0, 0
    while at < end:
        code_point, size = read_character(buffer, at)
        layout = property_of(properties, code_point) & LAYOUT_MASK
        if layout == 0:
            break
        if layout == LINE_BREAK or layout == PARAGRAPH_BREAK:
            is_pair = code_point == 13 and at + 1 < end and buffer[at + 1] == 10
            size += 1 if is_pair else 0
            breaks += 2 if layout == PARAGRAPH_BREAK else 1
            indent = 0
        elif layout == BLANK:
            is_wide = code_point == 0x3000 or code_point == 0x2003
            indent += _TAB_COLUMNS if code_point == 9 else 2 if is_wide else 1
        at += size
    return at, indent, breaks


@inlined
def _read_line(
    buffer: Bytes, at: int, end: int, properties: Bytes
) -> tuple[int, int, int, int, int]:
    """Read a line from its first visible character.

    Returns:
        where its break begins, where its visible text ends, the width of that and of the first word
        in characters, and 1 if it closes a sentence.
    """
    last, width, seen, first_word, closing = at, 0, 0, 0, 0
    while at < end:
        length = _plain_length(buffer[at:end], False)
        if length:
            plain = buffer[at : at + length]
            if first_word == 0:
                space = _first_space(plain)
                first_word = 0 if space == length else seen + space if space else width
            visible = _visible_length(plain)
            if visible:
                last, width = at + visible, seen + visible
                closing = _is_closing(plain[:visible], closing)
            at += length
            seen += length
            continue
        code_point, size = read_character(buffer, at)
        layout = property_of(properties, code_point) & LAYOUT_MASK
        if layout == LINE_BREAK or layout == PARAGRAPH_BREAK:
            break
        at += size
        seen += 1
        if layout == 0:
            last, width = at, seen
            if is_terminal(code_point):
                closing = 1
            elif not is_closer(code_point):
                closing = 0
        elif first_word == 0 and layout == BLANK:
            first_word = width
    return at, last, width, first_word or width, closing


@inlined
def _plain_length(text: Bytes, is_open: bool) -> int:
    """Return how many leading characters are spaces and visible ASCII.

    The loops of fixed length compile to a few vector instructions.

    Args:
        text: of UTF-8.
        is_open: whether to stop at characters that end a sentence.
    """
    length = 0
    while length + _STEP <= len(text):
        step = text[length : length + _STEP]
        is_other = np.uint8(0)
        for k in range(_STEP):
            is_other |= _is_other(step[k], is_open)
        if is_other:
            first: Any = np.uint8(_STEP)
            for k in range(_STEP):
                first = min(first, np.uint8(k) if _is_other(step[k], is_open) else np.uint8(_STEP))
            return length + int(first)
        length += _STEP
    while length < len(text) and not _is_other(text[length], is_open):
        length += 1
    return length


@inlined
def _is_other(byte: np.uint8, is_open: bool) -> np.uint8:
    is_other = np.uint8(byte < 0x20) | np.uint8(byte > 0x7E)
    closes = np.uint8(byte == 0x2E) | np.uint8(byte == 0x21) | np.uint8(byte == 0x3F)
    return np.uint8(is_other | closes & np.uint8(is_open))


@inlined
def _first_space(plain: Bytes) -> int:
    at = 0
    while at < len(plain) and plain[at] != 0x20:
        at += 1
    return at


@inlined
def _visible_length(plain: Bytes) -> int:
    """Return where the last visible character ends."""
    length = len(plain)
    while length > 0 and plain[length - 1] == 0x20:
        length -= 1
    return length


@inlined
def _is_closing(plain: Bytes, before: int) -> int:
    """Return 1 if the text ends a sentence, 0 if not; ``before`` if it is inconclusive."""
    for k in range(len(plain) - 1, -1, -1):
        code_point = int(plain[k])
        if is_terminal(code_point):
            return 1
        if code_point != 0x20 and not is_closer(code_point):
            return 0
    return before


@inlined
def _paragraph_heads(lines: Lines) -> Positions:
    """Return the numbers of the lines that begin a paragraph, by rules 1 to 3."""
    count = len(lines)
    wrap = _wrap_width(lines)
    heads = np.empty(count, dtype=np.int64)
    found = 0
    at = 0
    while at < count:
        stop = _block_end(lines, at)
        widest, base, is_hanging = _block_shape(lines, at, stop)
        limit = widest if wrap == 0 or 4 * widest >= 3 * wrap else wrap
        for line in range(at, stop):
            is_head = line == at
            if not is_head:
                indented = lines[line, _INDENT] >= base + _MIN_INDENT
                joins = (
                    _continues(lines, line, limit, wrap, stop - at) and widest <= _MAX_WRAP_CHARS
                )
                is_head = not joins or indented != is_hanging
            if is_head:
                heads[found] = line
                found += 1
        at = stop
    return heads[:found]


@inlined
def _block_end(lines: Lines, at: int) -> int:
    stop = at + 1
    while stop < len(lines) and lines[stop, _STARTS_BLOCK] == 0:
        stop += 1
    return stop


@inlined
def _block_shape(lines: Lines, at: int, stop: int) -> tuple[int, int, bool]:
    """Return the width of the widest line, the least indent, and whether most are indented more."""
    widest = 0
    base = lines[at, _INDENT]
    for line in range(at, stop):
        widest = max(widest, lines[line, _INDENT] + lines[line, _WIDTH])
        base = min(base, lines[line, _INDENT])
    indented = 0
    for line in range(at, stop):
        indented += 1 if lines[line, _INDENT] >= base + _MIN_INDENT else 0
    return widest, base, 2 * indented > stop - at


@inlined
def _is_full(lines: Lines, line: int, limit: int) -> bool:
    """Return whether the first word of the next line would not have fitted after ``line``."""
    used = lines[line, _INDENT] + lines[line, _WIDTH]
    return bool(used + 1 + lines[line + 1, _FIRST_WORD] > limit)


@inlined
def _wrap_width(lines: Lines) -> int:
    """Return the width at which the document is wrapped, by blocks of at least 3 lines, or 0."""
    pairs, full, wrap = 0, 0, 0
    at = 0
    while at < len(lines):
        stop = _block_end(lines, at)
        widest, base, is_hanging = _block_shape(lines, at, stop)
        if stop - at >= 3 and widest <= _MAX_WRAP_CHARS:
            for line in range(at, stop - 1):
                indented = lines[line + 1, _INDENT] >= base + _MIN_INDENT
                if indented != is_hanging:
                    continue
                pairs += 1
                if _is_full(lines, line, widest):
                    full += 1
                    wrap = max(wrap, widest)
        at = stop
    return wrap if pairs > 0 and full >= _FULL_SHARE * pairs else 0


@inlined
def _continues(lines: Lines, line: int, limit: int, wrap: int, block_lines: int) -> bool:
    """Return whether a line continues the one before it, in a block of ``block_lines`` lines."""
    runs_on = lines[line, _STARTS_LOWER] == 1 and lines[line - 1, _IS_CLOSED] == 0
    if wrap > 0:
        return _is_full(lines, line - 1, limit) or runs_on
    is_long = lines[line - 1, _WIDTH] >= _MIN_LONE_WRAP_CHARS
    return block_lines == 2 and is_long and runs_on and _is_full(lines, line - 1, limit)


@inlined
def _cut(
    buffer: Bytes,
    begin: int,
    end: int,
    properties: Bytes,
    min_chars: int,
    max_chars: int,
    starts: Positions,
    ends: Positions,
    found: int,
) -> int:
    """Write the pieces of one paragraph by rule 4; return the new number of pieces."""
    at = begin
    while True:
        stop, next_start = _piece_end(buffer, at, end, properties, min_chars, max_chars)
        starts[found] = at
        ends[found] = stop
        found += 1
        if next_start >= end:
            return found
        at = next_start


# One pass with a dozen scalars of state: functions that return them would be longer than it.
@inlined
def _piece_end(
    buffer: Bytes, begin: int, end: int, properties: Bytes, min_chars: int, max_chars: int
) -> tuple[int, int]:
    """Return where the piece that begins at ``begin`` ends, and where the next one begins."""
    if end - begin <= max_chars:  # no more characters than bytes
        return end, end
    at, chars = begin, 0
    best, best_hash = -1, np.uint64(0)
    last_space, last_visible = -1, begin
    word_start, word_has_stop, word_is_upper = begin, False, False
    closing, closed_at = False, begin
    while at < end and chars < max_chars:
        if not closing and best != at:  # no sentence ends here or has just ended
            length = _plain_length(buffer[at : min(end, at + max_chars - chars)], True)
            if length:
                word = at + _last_word_start(buffer[at : at + length])
                if word > at:
                    visible = _visible_length(buffer[at:word])
                    last_visible = at + visible if visible else last_visible
                    last_space = last_visible
                    word_start, word_has_stop, word_is_upper = word, False, False
                at += length
                chars += length
                if word < at:
                    last_visible = at
                    word_is_upper |= word == word_start and _is_upper(properties[buffer[word]])
                continue
        code_point, size = read_character(buffer, at)
        value = property_of(properties, code_point)
        layout = value & LAYOUT_MASK
        if layout != 0 and layout != DROPPED:
            if closing and chars >= min_chars and not _begins_lower(buffer, at, end, properties):
                ending = _ending_hash(buffer, begin, closed_at, properties)
                best, best_hash = _better_end(best, best_hash, last_visible, ending)
            last_space = last_visible if chars > 0 else last_space
            closing = False
            word_start, word_has_stop, word_is_upper = at + size, False, False
        elif layout == 0:
            if is_wide_terminal(code_point):
                if chars >= min_chars:
                    ending = _ending_hash(buffer, begin, at, properties)
                    best, best_hash = _better_end(best, best_hash, at + size, ending)
            elif best == at and is_closer(code_point):
                best = at + size  # the quotation mark belongs to the sentence that it closes
            elif is_terminal(code_point):
                is_short_name = word_is_upper and at - word_start <= 3
                closing = not (code_point == 0x2E and (is_short_name or word_has_stop))
                word_has_stop = code_point == 0x2E
                closed_at = at
            elif not (closing and is_closer(code_point)):
                closing = False
            word_is_upper |= at == word_start and _is_upper(value)
            last_visible = at + size
        at += size
        chars += 1
    if at >= end:
        return end, end
    stop = best
    if stop <= 0:
        stop = last_space if last_space > begin else _unmarked(buffer, at, begin, properties)
    return stop, _skip_layout(buffer, stop, end, properties)


@inlined
def _better_end(
    best: int, best_hash: np.uint64, place: int, place_hash: np.uint64
) -> tuple[int, np.uint64]:
    """Return the sentence end with the smaller hash; the earlier one of two equal ones."""
    if best < 0 or place_hash < best_hash:
        return place, place_hash
    return best, best_hash


@inlined
def _last_word_start(plain: Bytes) -> int:
    at = len(plain)
    while at > 0 and plain[at - 1] != 0x20:
        at -= 1
    return at


@inlined
def _is_upper(value: np.uint8) -> bool:
    """Return whether a word that begins with such a character is not in lower case."""
    return bool((value >> WORD_SHIFT) & WORD_MASK != 0 and value & LOWER == 0)


@inlined
def _ending_hash(buffer: Bytes, begin: int, end: int, properties: Bytes) -> np.uint64:
    """Return a hash of the last letters before ``end``, at most ``_HASHED_LETTERS`` of them."""
    at, letters = end, 0
    while at > begin and letters < _HASHED_LETTERS:
        at -= 1
        while buffer[at] & 0xC0 == 0x80:
            at -= 1
        letters += _is_in_word(property_of(properties, read_character(buffer, at)[0]))
    value = np.uint64(0)
    while at < end:
        code_point, size = read_character(buffer, at)
        if _is_in_word(property_of(properties, code_point)):
            value = (value << np.uint64(5)) ^ np.uint64(code_point)
            value *= np.uint64(0x9E3779B97F4A7C15)
        at += size
    return value


@inlined
def _is_in_word(value: np.uint8) -> bool:
    return bool(value & LAYOUT_MASK == 0 and (value >> WORD_SHIFT) & WORD_MASK != 0)


@inlined
def _begins_lower(buffer: Bytes, at: int, end: int, properties: Bytes) -> bool:
    at = _skip_layout(buffer, at, end, properties)
    if at >= end:
        return False
    return bool(property_of(properties, read_character(buffer, at)[0]) & LOWER)


@inlined
def _skip_layout(buffer: Bytes, at: int, end: int, properties: Bytes) -> int:
    while at < end:
        code_point, size = read_character(buffer, at)
        if property_of(properties, code_point) & LAYOUT_MASK == 0:
            return at
        at += size
    return at


@inlined
def _unmarked(buffer: Bytes, at: int, begin: int, properties: Bytes) -> int:
    """Return the last place up to ``at`` where a character begins that is not a mark."""
    stop = at
    while stop > begin + 4:
        code_point, _ = read_character(buffer, stop)
        value = property_of(properties, code_point)
        if (value >> WORD_SHIFT) & WORD_MASK not in (2, 5) and value & LAYOUT_MASK == 0:
            return stop
        stop -= 1
        while buffer[stop] & 0xC0 == 0x80:
            stop -= 1
    return at
