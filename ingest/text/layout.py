"""Lay decoded text out in paragraphs: compiled, a batch of documents at a time.

The rules, in the order in which they apply:

1. Blank lines, and U+2029, separate blocks.
2. A document is *hard-wrapped* or not. A line is *full* at a width if it is at most as long and the
   first word of the next line would not have fitted after it; greedy wrapping fills all lines but
   the last of a paragraph. The lines that end within a sentence (without a full stop, or before a
   lower-case letter) elect the width at which most of them are full, so no single line decides. If
   most of these lines are full and few lines are longer, the document is hard-wrapped. In lines set
   in letters of different widths, *slack* is how much the ends of lines vary. In a document that is
   not hard-wrapped, each line is a paragraph.
3. An indented line begins a paragraph. Where lines after a sentence are those that are not
   indented, first lines hang out, and each line that is not indented begins one.
4. In a hard-wrapped document, a line that is not full ends a paragraph, unless a sentence goes on
   in lower case. A full line that ends a sentence also ends a paragraph where more sentences of the
   document end with a short line than within lines.
5. In a hard-wrapped document, a *gap* (two or more blanks, or a tab, within a line) is a border if
   nearly all lines with gaps are too long: the last line of a paragraph and the first of the next
   are on one line. It also is if there are few other borders and sentences mostly end without a
   gap. Otherwise gaps are those of a typist who puts two blanks after each sentence, and only one
   that parts a line that is too long is a border.
6. A paragraph longer than the limit is cut at sentence ends. Among the ends within reach, the one
   whose sentence has the smallest hash is taken (content-defined chunking), so that two reprints of
   a long block are cut at the same places although one has a sentence more.

The time is linear in bytes and lines. Documents that are hard-wrapped and have gaps or short lines
are read once more, to count the sentences that end within lines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from palimpsest.kernels.arrays import Bytes, CodePoints, Positions
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

_MIN_WRAP_CHARS = 16
_MAX_WRAP_CHARS = 160
_FULL_SHARE = 0.6
_SURELY_FULL_SHARE = 0.95
_FULL_LOWER_SHARE = 0.9
_MIN_FULL_SHARE = 0.3
_MAX_LONG_SHARE = 0.2
_MOST_SENTENCES = 6
"""Sentences of a paragraph, at most, on an average over a document."""
_MIN_LETTER_SHARE = 0.15
"""Of the full lines of wrapped text, as many at least are followed by a lower-case letter."""
_FEW_VOTES = 3
_MANY_VOTES = 12
_MIN_LONE_WRAP_CHARS = 50
_MIN_INDENT = 2
_MIN_GAP = 2
_TAB_COLUMNS = 4
_STEP = 32
"""Bytes of plain text that are checked at once."""
_SHORTEST_PIECE = 5
"""A piece of a cut block is at least a fifth of the limit long."""
_HASHED_LETTERS = 13
"""Each letter shifts a hash of 64 bits by five, so earlier letters leave no trace in it."""

# Columns of the array of lines. A line with two or more blanks inside is several rows.
_START, _END, _BREAKS, _LEFT, _RIGHT, _FIRST_WORD, _BEGINS, _IS_CLOSED = range(8)
_LINE_COLUMNS = 8
# Values of _BREAKS: what is before a row.
_GAP, _NEW_LINE, _NEW_INDENT, _NEW_BLOCK = range(4)
# Values of _BEGINS: the first character of a row.
_OTHER, _LOWER_CASE, _CASELESS, _BRACKET = range(4)

# Columns of the facts about a document or block: the width at which it is wrapped (0: it is not),
# how many characters less a full line may have, what a border may be besides a short line or an
# indent, and whether two blanks follow each sentence.
_WRAP, _SLACK, _GAPS, _CUTS_FULL_LINES, _IS_TYPED = range(5)
_FACTS = 5
# Values of _GAPS: no gap is a border, those in lines that are too long are, or all are; and then
# either the line was wrapped anew after the gap, or the text ran on.
_NO_GAPS, _LONG_LINES, _ALL_GAPS, _ALL_RUNNING_ON = range(4)


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
    starts, ends, counts = _lay_out(
        buffer, document_offsets, tables.properties, tables.folds, max_chars
    )
    return starts, ends, counts


@kernel
def _lay_out(
    buffer: Bytes,
    document_offsets: Positions,
    properties: Bytes,
    folds: CodePoints,
    max_chars: int,
) -> tuple[Positions, Positions, Positions]:
    documents = len(document_offsets) - 1
    min_chars = max(1, max_chars // _SHORTEST_PIECE)
    counts = np.zeros(documents, dtype=np.int64)
    starts = np.empty(1024, dtype=np.int64)
    ends = np.empty(1024, dtype=np.int64)
    found = 0
    for document in range(documents):
        begin, end = document_offsets[document], document_offsets[document + 1]
        lines = _read_lines(buffer, begin, end, properties, folds)
        heads = _paragraph_heads(buffer, lines, properties)
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
def _read_lines(buffer: Bytes, begin: int, end: int, properties: Bytes, folds: CodePoints) -> Lines:
    """Return the lines that contain something visible, trimmed, with the facts layout needs.

    A line with two or more blanks inside becomes several rows.
    """
    lines = np.empty((16, _LINE_COLUMNS), dtype=np.int64)
    count = 0
    at = begin
    while at < end:
        start, indent, breaks = _skip_indent(buffer, at, end, properties)
        if start >= end:
            break
        code_point = read_character(buffer, start)[0]
        at, last, width, first_word, closing = _read_line(buffer, start, end, properties)
        if count == len(lines):
            lines = grow(lines, 2 * count)
        begins = _letter_class(code_point, properties, folds)
        if (property_of(properties, code_point) >> WORD_SHIFT) & WORD_MASK == IDEOGRAPH:
            first_word = min(first_word, 3)  # such text breaks after any character but a few
        is_new_block = count == 0 or breaks > 1
        left = lines[count - 1, _RIGHT] + indent if breaks == 0 and count > 0 else indent
        lines[count, _START] = start
        lines[count, _END] = last
        lines[count, _BREAKS] = _NEW_BLOCK if is_new_block else min(breaks, _NEW_LINE)
        lines[count, _LEFT] = left
        lines[count, _RIGHT] = left + width
        lines[count, _FIRST_WORD] = first_word
        lines[count, _BEGINS] = begins
        lines[count, _IS_CLOSED] = closing
        count += 1
    return lines[:count]


@inlined
def _letter_class(code_point: int, properties: Bytes, folds: CodePoints) -> int:
    """Return whether a line begins in lower case, with a letter without case, or otherwise."""
    value = property_of(properties, code_point)
    if value & LOWER:
        return _LOWER_CASE
    if code_point == 0x28:
        return _BRACKET
    is_digit = 0x30 <= code_point <= 0x39
    if not _is_in_word(value) or is_digit:
        return _OTHER
    has_fold = code_point < len(folds) and folds[code_point] != code_point
    return _OTHER if has_fold else _CASELESS


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
            indent += _columns(code_point)
        at += size
    return at, indent, breaks


@inlined
def _read_line(
    buffer: Bytes, at: int, end: int, properties: Bytes
) -> tuple[int, int, int, int, int]:
    """Read a line, up to a gap in it, from its first visible character.

    Returns:
        where its break or gap begins, where its visible text ends, the width of that and of the
        first word in characters, and 1 if it closes a sentence.
    """
    last, width, seen, blanks, first_word, closing = at, 0, 0, 0, 0, 0
    while at < end:
        if buffer[at] == 0x20:
            first_word = first_word or width
            at += 1
            seen += 1
            blanks += 1
            continue
        length = _single_spaced_length(buffer[at:end])
        if length:
            if blanks >= _MIN_GAP:
                return last, last, width, first_word, closing
            plain = buffer[at : at + length]
            if first_word == 0:
                space = _first_space(plain)
                first_word = seen + space if space < length else 0
            last, width = at + length, seen + length
            closing = _is_closing(plain, closing)
            at, seen, blanks = last, width, 0
            continue
        code_point, size = read_character(buffer, at)
        layout = property_of(properties, code_point) & LAYOUT_MASK
        if layout == LINE_BREAK or layout == PARAGRAPH_BREAK:
            break
        if layout == 0:
            if blanks >= _MIN_GAP:
                return last, last, width, first_word, closing
            last, width, blanks = at + size, seen + 1, 0
            if is_terminal(code_point):
                closing = 1
            elif not is_closer(code_point):
                closing = 0
        elif layout == BLANK:
            first_word = first_word or width
            blanks += _columns(code_point)
        at += size
        seen += 1
    return at, last, width, first_word or width, closing


@inlined
def _columns(code_point: int) -> int:
    """Return how wide a blank is."""
    if code_point == 0x09:
        return _TAB_COLUMNS
    return 2 if code_point == 0x3000 or code_point == 0x2003 else 1


@inlined
def _single_spaced_length(text: Bytes) -> int:
    """Return the length of the leading visible ASCII with single spaces; it ends visibly.

    The loops of fixed length compile to a few vector instructions.
    """
    length = 0
    while length + _STEP < len(text):
        step = text[length : length + _STEP + 1]
        is_other = np.uint8(0)
        for k in range(_STEP):
            byte, following = step[k], step[k + 1]
            is_other |= np.uint8(byte < 0x20) | np.uint8(byte > 0x7E)
            is_other |= np.uint8(byte == 0x20) & np.uint8(following == 0x20)
        if is_other:
            break
        length += _STEP
    while length < len(text) and 0x20 <= text[length] <= 0x7E:
        if text[length] == 0x20 and length + 1 < len(text) and text[length + 1] == 0x20:
            break
        length += 1
    return _visible_length(text[:length])


@inlined
def _plain_length(text: Bytes) -> int:
    """Return how many leading characters are spaces and visible ASCII that ends no sentence.

    The loops of fixed length compile to a few vector instructions.
    """
    length = 0
    while length + _STEP <= len(text):
        step = text[length : length + _STEP]
        is_other = np.uint8(0)
        for k in range(_STEP):
            is_other |= _is_other(step[k])
        if is_other:
            first: Any = np.uint8(_STEP)
            for k in range(_STEP):
                first = min(first, np.uint8(k) if _is_other(step[k]) else np.uint8(_STEP))
            return length + int(first)
        length += _STEP
    while length < len(text) and not _is_other(text[length]):
        length += 1
    return length


@inlined
def _is_other(byte: np.uint8) -> np.uint8:
    is_other = np.uint8(byte < 0x20) | np.uint8(byte > 0x7E)
    closes = np.uint8(byte == 0x2E) | np.uint8(byte == 0x21) | np.uint8(byte == 0x3F)
    return np.uint8(is_other | closes)


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
def _paragraph_heads(buffer: Bytes, lines: Lines, properties: Bytes) -> Positions:
    """Return the numbers of the rows that begin a paragraph, by rules 1 to 5."""
    count = len(lines)
    heads = np.empty(count, dtype=np.int64)
    found = 0
    facts = np.zeros(_FACTS, dtype=np.int64)
    _judge_document(buffer, lines, properties, facts)
    block = np.empty(_FACTS, dtype=np.int64)
    at = 0
    while at < count:
        stop = _block_end(lines, at)
        if stop - at > 1:
            block[:] = facts
            _judge_block(lines, at, stop, block)
        edge = 0  # the column at which the paragraph's part of the line begins
        for row in range(at, stop):
            if lines[row, _BREAKS] >= _NEW_INDENT:
                is_head = True
            elif lines[row, _BREAKS] == _GAP:
                is_head = block[_WRAP] > 0 and _is_gap_border(lines, row, stop, edge, block)
            elif block[_WRAP] == 0:
                is_head = not _is_lone_wrap(lines, at, row, stop)
            else:
                is_head = _ends_paragraph(buffer, lines, row, edge, properties, block)
            if lines[row, _BREAKS] != _GAP:
                edge = 0
            elif is_head and block[_GAPS] != _ALL_RUNNING_ON:
                edge = lines[row, _LEFT]
            if is_head:
                heads[found] = row
                found += 1
        at = stop
    return heads[:found]


@inlined
def _block_end(lines: Lines, at: int) -> int:
    stop = at + 1
    while stop < len(lines) and lines[stop, _BREAKS] != _NEW_BLOCK:
        stop += 1
    return stop


@inlined
def _block_indents(lines: Lines, at: int, stop: int) -> tuple[int, int]:
    """Return the least indent of a block's lines, and how many lines are indented more."""
    base = lines[at, _LEFT]
    for row in range(at + 1, stop):
        if lines[row, _BREAKS] != _GAP:
            base = min(base, lines[row, _LEFT])
    indented = 0
    for row in range(at, stop):
        if lines[row, _BREAKS] != _GAP and lines[row, _LEFT] >= base + _MIN_INDENT:
            indented += 1
    return base, indented


@inlined
def _ends_sentence(lines: Lines, row: int) -> bool:
    """Return whether the row before ``row`` ends a sentence and this one may begin another."""
    return bool(lines[row - 1, _IS_CLOSED] == 1 and lines[row, _BEGINS] != _LOWER_CASE)


@inlined
def _runs_on(lines: Lines, row: int) -> bool:
    """Return whether a row begins within a sentence, by its first letter and the row before."""
    return bool(lines[row - 1, _IS_CLOSED] == 0 and lines[row, _BEGINS] == _LOWER_CASE)


@inlined
def _indent_votes(lines: Lines, at: int, stop: int, base: int) -> int:
    """Return how many more lines speak for indented first lines than for hanging ones."""
    votes = 0
    for row in range(at + 1, stop):
        if lines[row, _BREAKS] != _NEW_LINE:
            continue
        is_indented = lines[row, _LEFT] >= base + _MIN_INDENT
        if _ends_sentence(lines, row):
            votes += 1 if is_indented else -1
        elif _runs_on(lines, row) or lines[row, _BEGINS] == _CASELESS:
            votes += -1 if is_indented else 1
    return votes


@inlined
def _mark_indents(lines: Lines) -> None:
    """Mark the rows that begin a paragraph because they are indented, or hang out."""
    at, total = 0, 0
    while at < len(lines):
        stop = _block_end(lines, at)
        base, indented = _block_indents(lines, at, stop)
        if indented:
            total += _indent_votes(lines, at, stop, base)
        at = stop
    at = 0
    while at < len(lines):
        stop = _block_end(lines, at)
        base, indented = _block_indents(lines, at, stop)
        if indented:
            votes = _indent_votes(lines, at, stop, base)
            votes = total if abs(votes) < _FEW_VOTES else votes
            is_hanging = votes < 0 or (votes == 0 and 2 * indented > stop - at)
            for row in range(at + 1, stop):
                is_indented = lines[row, _LEFT] >= base + _MIN_INDENT
                if lines[row, _BREAKS] == _NEW_LINE and is_indented != is_hanging:
                    lines[row, _BREAKS] = _NEW_INDENT
        at = stop


@inlined
def _judge_document(buffer: Bytes, lines: Lines, properties: Bytes, facts: Positions) -> None:
    """Write the facts about a document."""
    _mark_indents(lines)
    votes = np.zeros((2, _MAX_WRAP_CHARS + 2), dtype=np.int64)
    if _vote(lines, 0, len(lines), votes) == 0:
        return
    whole, whole_votes = _most_votes(votes[0])
    parts, parts_votes = _most_votes(votes[1])
    is_parted = parts_votes > whole_votes
    wrap = parts if is_parted else whole
    if wrap < _MIN_WRAP_CHARS:
        return
    slack = _slack(lines, wrap, is_parted)
    if _is_wrapped(buffer, lines, wrap, slack, is_parted, properties):
        facts[_WRAP], facts[_SLACK] = wrap, slack
        _judge_borders(buffer, lines, properties, facts)


@inlined
def _vote(lines: Lines, at: int, stop: int, votes: Lines) -> int:
    """Count, for each width, the lines that are full at it; return the voters.

    A line is full from its own width to just below that with the next word. The first row of
    ``votes`` takes lines as they are, the second takes what follows the last gap of a line. The
    differences between neighbours are written, not the counts.
    """
    voters = 0
    for row in range(at + 1, stop):
        if lines[row, _BREAKS] != _NEW_LINE or _ends_sentence(lines, row):
            continue
        voters += 1
        right, left = lines[row - 1, _RIGHT], _part_left(lines, row - 1)
        for part in range(2):
            used = right - left * part
            if used <= _MAX_WRAP_CHARS:
                votes[part, used] += 1
                votes[part, min(used + lines[row, _FIRST_WORD], _MAX_WRAP_CHARS) + 1] -= 1
    return voters


@inlined
def _part_left(lines: Lines, row: int) -> int:
    """Return where a row begins if it follows a gap, or 0, so that indents count as text."""
    return int(lines[row, _LEFT]) if lines[row, _BREAKS] == _GAP else 0


@inlined
def _most_votes(votes: Positions) -> tuple[int, int]:
    """Return the least width with the most votes, and these, from differences."""
    best, most, count = 0, 0, 0
    for width in range(len(votes)):
        count += votes[width]
        if count > most:
            best, most = width, count
    return best, most


@inlined
def _used(lines: Lines, row: int, is_parted: bool) -> int:
    """Return how much of the line the row before ``row`` and those before it fill."""
    return int(lines[row - 1, _RIGHT]) - (_part_left(lines, row - 1) if is_parted else 0)


@inlined
def _is_letter(begins: int) -> bool:
    """Return whether a line begins with a letter that does not begin a sentence in most scripts."""
    return begins == _LOWER_CASE or begins == _CASELESS


@inlined
def _is_one_word(lines: Lines, row: int) -> bool:
    """Return whether a row is one word, such as an address, which may be longer than a line."""
    return bool(lines[row, _RIGHT] - lines[row, _LEFT] == lines[row, _FIRST_WORD])


@inlined
def _slack(lines: Lines, wrap: int, is_parted: bool) -> int:
    """Return how much shorter or longer full lines are than they should be.

    It is 0 for text wrapped by a machine, whose lines are as full as they can be, and more where
    lines are set in letters of different widths. Lines before a lower-case letter are surely
    within a paragraph, so one in twenty may be off by more. Without case some are titles.
    """
    limit = wrap // 4
    lacking = np.zeros((2, limit + 2), dtype=np.int64)
    known = np.zeros(2, dtype=np.int64)
    for row in range(1, len(lines)):
        begins = lines[row, _BEGINS]
        if lines[row, _BREAKS] != _NEW_LINE or lines[row - 1, _IS_CLOSED] == 1:
            continue
        if _is_letter(begins):
            used = _used(lines, row, is_parted)
            lack = max(0, used - wrap, wrap - used - lines[row, _FIRST_WORD])
            if lack <= limit:
                kind = 1 if begins == _CASELESS else 0
                known[kind] += 1
                lacking[kind, lack] += 1
    slack = 0
    if known[0] >= known[1]:
        left = known[0] - lacking[0, 0]
        while slack < limit and 20 * left > known[0]:
            slack += 1
            left -= lacking[0, slack]
        return slack
    while slack < limit:
        following = max(lacking[1, slack + 1], lacking[1, slack + 2])
        if following < 2 or 20 * following <= known[1]:
            break
        slack += 1
    return slack


@inlined
def _is_wrapped(
    buffer: Bytes, lines: Lines, wrap: int, slack: int, is_parted: bool, properties: Bytes
) -> bool:
    """Return whether enough lines that end within a sentence are full, and few are longer.

    Lists, titles and verse also end within a sentence, so fewer full lines suffice if all that go
    on in lower case are, or if no line is longer.
    """
    voters, full, with_letters, lower, full_lower, longer, breaks = 0, 0, 0, 0, 0, 0, 0
    for row in range(1, len(lines)):
        if lines[row, _BREAKS] != _NEW_LINE and lines[row, _BREAKS] != _NEW_INDENT:
            continue
        breaks += 1
        used = _used(lines, row, is_parted)
        is_long = used > wrap + slack and not _is_one_word(lines, row - 1)
        longer += is_long
        if lines[row, _BREAKS] == _NEW_INDENT:
            continue
        if _ends_sentence(lines, row):
            voters += is_long
            continue
        voters += 1
        is_lower = lines[row, _BEGINS] == _LOWER_CASE
        lower += is_lower
        if not is_long and used + lines[row, _FIRST_WORD] + slack >= wrap:
            full += 1
            full_lower += is_lower
            with_letters += _is_letter(lines[row, _BEGINS])
    if longer > _MAX_LONG_SHARE * breaks:
        return False
    if full < _FEW_VOTES and (with_letters < full or wrap < _MIN_LONE_WRAP_CHARS):
        return False
    if full < _FULL_SHARE * voters:
        is_wrapped = full > _FEW_VOTES and full >= _MIN_FULL_SHARE * voters and longer == 0
        goes_on = full_lower > _FEW_VOTES and full_lower >= _FULL_LOWER_SHARE * lower
        if not (is_wrapped or goes_on):
            return False
    is_sure = full >= _MANY_VOTES or full >= _SURELY_FULL_SHARE * voters
    share = _MIN_LETTER_SHARE if is_sure else 2 * _MIN_LETTER_SHARE
    return with_letters >= share * full or not _has_lower_case(buffer, lines, properties)


@inlined
def _has_lower_case(buffer: Bytes, lines: Lines, properties: Bytes) -> bool:
    """Return whether a tenth of the letters are in lower case."""
    lower, letters = 0, 0
    at, end = lines[0, _START], lines[len(lines) - 1, _END]
    while at < end:
        code_point, size = read_character(buffer, at)
        value = property_of(properties, code_point)
        letters += _is_in_word(value)
        lower += value & LOWER != 0
        at += size
    return 10 * lower >= letters


@inlined
def _judge_borders(buffer: Bytes, lines: Lines, properties: Bytes, facts: Positions) -> None:
    """Write what borders may be in a wrapped document besides short lines and indents.

    Sentences that end within a line, before a single space, are counted against those that end
    before a gap or with a short line.
    """
    wrap, slack = facts[_WRAP], facts[_SLACK]
    gaps, open_gaps, long_lines, fitting, short, blocks = 0, 0, 0, 0, 0, 1
    sure_gaps, has_gap = 0, False
    for row in range(1, len(lines) + 1):
        is_gap = row < len(lines) and lines[row, _BREAKS] == _GAP
        if not is_gap and has_gap:
            is_long = lines[row - 1, _RIGHT] > wrap + slack
            long_lines += is_long
            fitting += not is_long
            has_gap = False
        if row == len(lines):
            break
        is_open = lines[row - 1, _IS_CLOSED] == 0
        may_part = is_gap and _may_part(is_open, lines[row, _BEGINS])
        has_gap |= may_part
        if not _ends_sentence(lines, row):
            open_gaps += may_part
            continue
        is_sure = _is_sure_end(buffer, lines[row - 1, _START], lines[row - 1, _END], properties)
        if is_gap:
            gaps += 1
            sure_gaps += is_sure
        elif lines[row, _BREAKS] >= _NEW_INDENT:
            blocks += 1
        else:
            is_full = lines[row - 1, _RIGHT] + 1 + lines[row, _FIRST_WORD] + slack >= wrap
            short += is_sure and not is_full
    if long_lines > 3 * fitting:
        facts[_GAPS] = _ALL_GAPS
        return
    if gaps + short == 0:
        return
    within = _sentences_within(buffer, lines, properties)
    borders = blocks + short
    is_typed = 2 * within < sure_gaps and gaps <= _MOST_SENTENCES * borders
    if gaps > _FEW_VOTES * borders and open_gaps <= gaps and not is_typed:
        facts[_GAPS] = _ALL_RUNNING_ON
        facts[_CUTS_FULL_LINES] = 1 if short + sure_gaps > within else 0
        return
    facts[_GAPS] = _LONG_LINES if long_lines else _NO_GAPS
    facts[_IS_TYPED] = 1 if gaps > within else 0
    facts[_CUTS_FULL_LINES] = 1 if short > within + sure_gaps else 0


@inlined
def _may_part(is_open: bool, begins: int) -> bool:
    """Return whether a gap may be a border, by the letter after it.

    After text that ends no sentence, a bracket follows the place in the head of a dispatch.
    """
    return begins != _LOWER_CASE and not (is_open and begins == _BRACKET)


@inlined
def _is_sure_end(buffer: Bytes, begin: int, end: int, properties: Bytes) -> bool:
    """Return whether the text before ``end`` ends a sentence and not with an abbreviation."""
    at, code_point = end, 0
    while at > begin:
        at = _before(buffer, at)
        code_point = read_character(buffer, at)[0]
        if is_terminal(code_point):
            break
        if not is_closer(code_point):
            return False
    if code_point != 0x2E:
        return is_terminal(code_point)
    letters, value = 0, np.uint8(0)
    while at > begin:
        at = _before(buffer, at)
        following = property_of(properties, read_character(buffer, at)[0])
        if not _is_in_word(following):
            break
        letters += 1
        value = following
    if letters == 0:
        return at > begin and is_closer(read_character(buffer, at)[0])
    if read_character(buffer, at)[0] == 0x2E:
        return False
    return letters > 5 or (letters > 2 and value & LOWER != 0)


@inlined
def _before(buffer: Bytes, at: int) -> int:
    """Return where the character before ``at`` begins."""
    at -= 1
    while buffer[at] & 0xC0 == 0x80:
        at -= 1
    return at


@inlined
def _sentences_within(buffer: Bytes, lines: Lines, properties: Bytes) -> int:
    """Return how many sentences surely end within a row."""
    count = 0
    for row in range(len(lines)):
        begin, end = lines[row, _START], lines[row, _END]
        at = begin
        while at < end:
            at += _plain_length(buffer[at:end])
            if at >= end:
                break
            code_point, size = read_character(buffer, at)
            at += size
            if not is_terminal(code_point):
                continue
            is_wide = is_wide_terminal(code_point)
            while at < end:
                code_point, size = read_character(buffer, at)
                if not (is_closer(code_point) or is_terminal(code_point)):
                    break
                at += size
            if at >= end or _begins_lower(buffer, at, end, properties):
                continue
            is_blank = property_of(properties, code_point) & LAYOUT_MASK == BLANK
            if is_wide or is_blank:
                count += _is_sure_end(buffer, begin, at, properties)
    return count


@inlined
def _judge_block(lines: Lines, at: int, stop: int, block: Positions) -> None:
    """Correct the facts about the document for one of its blocks."""
    if block[_WRAP] == 0 or stop - at < _FEW_VOTES:
        return
    widths = np.zeros((2, _MAX_WRAP_CHARS + 2), dtype=np.int64)
    _vote(lines, at, stop, widths)
    own, most = _most_votes(widths[0])
    if most < 2 or 4 * own < 3 * block[_WRAP]:
        return
    full = 0
    for row in range(at + 1, stop):
        if lines[row, _BREAKS] == _NEW_LINE and not _ends_sentence(lines, row):
            used = lines[row - 1, _RIGHT]
            is_full = used + lines[row, _FIRST_WORD] + block[_SLACK] >= block[_WRAP]
            full += is_full and used <= block[_WRAP] + block[_SLACK]
    if 4 * most > 5 * full and block[_GAPS] == _NO_GAPS:
        block[_WRAP] = own


@inlined
def _is_gap_border(lines: Lines, row: int, stop: int, edge: int, block: Positions) -> bool:
    """Return whether a gap is a border in a wrapped document.

    Args:
        edge: the column at which the paragraph's part of the line begins.
    """
    if block[_GAPS] == _NO_GAPS:
        return False
    if block[_GAPS] != _LONG_LINES:
        return _may_part(lines[row - 1, _IS_CLOSED] == 0, lines[row, _BEGINS])
    widest = block[_WRAP] + block[_SLACK]
    last = row
    while last + 1 < stop and lines[last + 1, _BREAKS] == _GAP:
        last += 1
    right = lines[last, _RIGHT]
    fits = right - edge <= widest or right - lines[row, _LEFT] > widest
    return bool(not fits and _ends_sentence(lines, row))


@inlined
def _ends_paragraph(
    buffer: Bytes, lines: Lines, row: int, edge: int, properties: Bytes, block: Positions
) -> bool:
    """Return whether a paragraph ends before a row that begins a line of a wrapped document."""
    if _runs_on(lines, row):
        return False
    wrap, slack = block[_WRAP], block[_SLACK]
    used = lines[row - 1, _RIGHT] - edge
    if used > wrap + max(slack, wrap // 4) and not _is_one_word(lines, row - 1):
        return True
    is_end = _ends_sentence(lines, row)
    is_sure = is_end and _is_sure_end(
        buffer, lines[row - 1, _START], lines[row - 1, _END], properties
    )
    allowed = (slack if is_sure else 2 * slack) + (block[_IS_TYPED] if is_end else 0)
    if used + lines[row, _FIRST_WORD] + allowed < wrap:
        return True
    return bool(is_sure and block[_CUTS_FULL_LINES] == 1)


@inlined
def _is_lone_wrap(lines: Lines, at: int, row: int, stop: int) -> bool:
    """Return whether a block is one wrapped paragraph of two lines in a document that is not."""
    for other in range(at + 1, stop):
        if other != row and lines[other, _BREAKS] != _GAP:
            return False
    used, following = lines[row - 1, _RIGHT], lines[stop - 1, _RIGHT]
    is_full = used + lines[row, _FIRST_WORD] >= max(used, following)
    is_long = used - lines[at, _LEFT] >= _MIN_LONE_WRAP_CHARS
    fits = max(used, following) <= _MAX_WRAP_CHARS
    return bool(is_long and fits and is_full and _runs_on(lines, row))


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
    """Write the pieces of one paragraph by rule 6; return the new number of pieces."""
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
            length = _plain_length(buffer[at : min(end, at + max_chars - chars)])
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
