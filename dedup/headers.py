"""Tell header lines, datelines and credits from the text of an article: compiled, many at once.

They say who wrote an article, where, when and for whom, and are alike in articles that share
nothing else. What counts as one follows from a paragraph's text alone, so it is the same in every
archive:

- A *header line* is marked by ``--`` and does not end as a sentence does, is nothing but an
  address, or is a byline: ``By`` (in any of some languages) and capitalised names.
- A *dateline* is what comes before the first dash of a paragraph, if it is short and is either
  followed by a source in brackets, ``Harwick (Tarn Wire) - ``, or begins in capitals,
  ``HARWICK, 3 May - ``.
- A *credit* is a bracket at the end, such as ``(Reporting by A. Name; editing by B. Name)``.

Their words are part of the text, but of the kind ``HEADER``: they are not signed, and match none.
"""

from __future__ import annotations

import numpy as np

from palimpsest.kernels.arrays import Bytes, CodePoints, Flags, Positions
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.kernels.unicode import (
    LETTER,
    LOWER,
    TABLE_SIZE,
    WORD_MASK,
    WORD_SHIFT,
    character_tables,
    is_terminal,
    property_of,
    read_character,
)

_MARKED_BYTES, _BYLINE_BYTES, _DATELINE_BYTES, _SOURCE_BYTES, _CREDIT_BYTES = 240, 140, 90, 40, 400
"""The longest of each, in bytes: header line, byline, dateline, source in brackets, credit."""
_BYLINE_WORDS, _DATELINE_WORDS = 12, 8

_BY = ("by", "von", "par", "por", "di", "door", "av", "af", "od", "autor", "от", "від", "από")
_BY_BUFFER = np.frombuffer("".join(f"{word} " for word in _BY).encode(), dtype=np.uint8)
_CREDITS = ("reporting", "additional", "writing", "editing", "compiled", "written", "edited")
_CREDIT_BUFFER = np.frombuffer("".join(f"{word} " for word in _CREDITS).encode(), dtype=np.uint8)
_BETWEEN_NAMES = ("and", "und", "et", "y", "e", "en", "och", "og", "i", "de", "da", "del", "der")
_BETWEEN_BUFFER = np.frombuffer(
    "".join(f"{word} " for word in (*_BETWEEN_NAMES, "von", "van", "la", "и")).encode(), np.uint8
)


def find_bodies(buffer: Bytes, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
    """Return where the body of each text begins and ends, without dateline and credit.

    Args:
        buffer: uint8, normalised texts as valid UTF-8.
        starts, ends: int64, shape (texts,), in bytes of ``buffer``.

    Returns:
        int64, shape (texts,), in bytes of ``buffer``; equal for header lines.
    """
    tables = character_tables()
    return _find_bodies(
        buffer, starts, ends, tables.properties, tables.folds, _BY_BUFFER, _BETWEEN_BUFFER,
        _CREDIT_BUFFER,
    )  # fmt: skip


def are_headers(buffer: Bytes, starts: Positions, ends: Positions) -> Flags:
    """Return which texts are header lines: bool, shape (texts,)."""
    first, stop = find_bodies(buffer, starts, ends)
    is_header: Flags = first >= stop
    return is_header


@kernel
def _find_bodies(
    buffer: Bytes,
    starts: Positions,
    ends: Positions,
    properties: Bytes,
    folds: CodePoints,
    by: Bytes,
    between: Bytes,
    credit_words: Bytes,
) -> tuple[Positions, Positions]:
    first, stop = starts.copy(), ends.copy()
    for text in range(len(starts)):
        begin, end = starts[text], ends[text]
        if _is_header(buffer, begin, end, properties, folds, by, between):
            stop[text] = begin
            continue
        first[text] = _dateline_end(buffer, begin, end, properties, folds)
        stop[text] = max(first[text], _credit_start(buffer, begin, end, credit_words))
    return first, stop


@inlined
def _is_header(
    buffer: Bytes,
    begin: int,
    end: int,
    properties: Bytes,
    folds: CodePoints,
    by: Bytes,
    between: Bytes,
) -> bool:
    if end - begin <= 1:
        return False
    if buffer[begin] == 0x2D and buffer[begin + 1] == 0x2D:
        at = begin
        while at < end and buffer[at] == 0x2D:
            at += 1
        is_marked = at == end or (buffer[at] == 0x20 and end - begin <= _MARKED_BYTES)
        return bool(is_marked and not _ends_sentence(buffer, begin, end))
    if _is_address(buffer, begin, end):
        return True
    if end - begin > _BYLINE_BYTES:
        return False
    at = _after_listed(buffer, begin, end, by)
    return bool(
        at > begin
        and not _ends_sentence(buffer, begin, end)
        and _are_names(buffer, at, end, properties, folds, between)
    )


@inlined
def _ends_sentence(buffer: Bytes, begin: int, end: int) -> bool:
    """Return whether a text ends as a sentence does, or with a colon, comma or semicolon.

    The dot of an abbreviation such as ``U.S.`` does not count, and a closing quotation mark only
    after a mark that ends a sentence.
    """
    last = buffer[end - 1]
    if last == 0x22:
        return bool(end - 2 > begin and buffer[end - 2] in (0x2E, 0x21, 0x2C, 0x3F))
    if last == 0x9D and buffer[end - 2] == 0x80:  # the closing mark in UTF-8
        return bool(end - 4 > begin and buffer[end - 4] in (0x2E, 0x21, 0x2C, 0x3F))
    if last == 0x2E:
        return not (end - 3 > begin and buffer[end - 3] == 0x2E)
    return bool(last in (0x21, 0x3A, 0x2C, 0x3B))


@inlined
def _is_address(buffer: Bytes, begin: int, end: int) -> bool:
    """Return whether a text is letters, ``://``, and no blank."""
    at = begin
    while at < end and 0x61 <= buffer[at] | 0x20 <= 0x7A:
        at += 1
    if at == begin or at + 2 >= end or buffer[at] != 0x3A:
        return False
    has_slashes = buffer[at + 1] == 0x2F and buffer[at + 2] == 0x2F
    return bool(has_slashes and not np.any(buffer[at:end] == 0x20))


@inlined
def _after_listed(buffer: Bytes, begin: int, end: int, listed: Bytes) -> int:
    """Return where the word after one of a list begins, or ``begin`` if the text has none there.

    Args:
        buffer, begin, end: the text.
        listed: words in lower case, each followed by a blank. ASCII case makes no difference.
    """
    word = 0
    while word < len(listed):
        at, k, is_equal = begin, word, True
        while listed[k] != 0x20:
            if is_equal:
                byte = buffer[at] if at < end else np.uint8(0)
                byte = byte | np.uint8(0x20) if 0x41 <= byte <= 0x5A else byte
                is_equal = byte == listed[k]
            at += 1
            k += 1
        if is_equal and at < end and buffer[at] == 0x3A:
            at += 1
        if is_equal and at + 1 < end and buffer[at] == 0x20:
            return at + 1
        word = k + 1
    return begin


@inlined
def _are_names(
    buffer: Bytes, at: int, end: int, properties: Bytes, folds: CodePoints, between: Bytes
) -> bool:
    """Return whether all words are capitalised, but for the few between names; and are few."""
    words, capitalised = 0, 0
    while at < end:
        stop = at
        while stop < end and buffer[stop] != 0x20:
            stop += 1
        code_point, _ = read_character(buffer, at)
        is_letter = (property_of(properties, code_point) >> WORD_SHIFT) & WORD_MASK == LETTER
        if is_letter:
            words += 1
            if _is_capital(code_point, properties, folds):
                capitalised += 1
            elif _after_listed(buffer, at, stop + 2, between) == at:
                return False
        at = stop + 1
    return bool(0 < capitalised and words <= _BYLINE_WORDS)


@inlined
def _is_capital(code_point: int, properties: Bytes, folds: CodePoints) -> bool:
    """Return whether a character is a capital letter."""
    if code_point >= TABLE_SIZE or property_of(properties, code_point) & LOWER != 0:
        return False
    return bool(folds[code_point] != np.uint32(code_point))


@inlined
def _dateline_end(buffer: Bytes, begin: int, end: int, properties: Bytes, folds: CodePoints) -> int:
    """Return where the text after a dateline begins, or ``begin`` if there is no dateline."""
    at, limit = begin, min(end, begin + _DATELINE_BYTES)
    opening, words, capitals = -1, 0, 0
    has_lower, has_comma = False, False
    while at < limit:
        code_point, size = read_character(buffer, at)
        value = property_of(properties, code_point)
        if code_point == 0x20:
            after = _after_dash(buffer, at, end)
            if after and opening < 0:
                is_short = capitals >= 3 and words < _DATELINE_WORDS
                return after if is_short and not has_lower else begin
            words += 1
            if not has_comma and opening < 0 and _starts_lower(buffer, at + 1, end, properties):
                return begin
        elif code_point == 0x28 and opening < 0:
            opening = at
        elif code_point == 0x29 and opening >= 0:
            after = _after_dash(buffer, at + 1, end)
            is_source = 2 <= at - opening <= _SOURCE_BYTES
            return after if after and is_source and words < _DATELINE_WORDS else begin
        elif is_terminal(code_point) and code_point != 0x2E:
            return begin
        elif code_point == 0x2C:
            has_comma = True
        elif not has_comma:
            capitals += _is_capital(code_point, properties, folds)
            has_lower |= value & LOWER != 0
        at += size
    return begin


@inlined
def _starts_lower(buffer: Bytes, at: int, end: int, properties: Bytes) -> bool:
    if at >= end:
        return False
    return bool(property_of(properties, read_character(buffer, at)[0]) & LOWER)


@inlined
def _after_dash(buffer: Bytes, at: int, end: int) -> int:
    """Return where the text after a blank, a dash and a blank begins, or 0."""
    if at + 2 >= end or buffer[at] != 0x20:
        return 0
    at += 1
    if buffer[at] == 0x2D:
        at += 2 if buffer[at + 1] == 0x2D else 1
    elif at + 3 < end and buffer[at] == 0xE2 and buffer[at + 1] == 0x80:
        at += 3 if buffer[at + 2] in (0x93, 0x94) else 0
    else:
        return 0
    return at + 1 if at + 1 < end and buffer[at] == 0x20 else 0


@inlined
def _credit_start(buffer: Bytes, begin: int, end: int, credit_words: Bytes) -> int:
    """Return where a credit at the end of a text begins, or ``end`` if there is none."""
    if end <= begin or buffer[end - 1] != 0x29:
        return end
    at, depth = end - 1, np.int64(0)
    while at >= begin and end - at <= _CREDIT_BYTES:
        depth += np.int64(buffer[at] == 0x29) - np.int64(buffer[at] == 0x28)
        if depth == 0:
            is_credit = _after_listed(buffer, at + 1, end, credit_words) > at + 1
            return at if is_credit and _has_by(buffer, at, end) else end
        at -= 1
    return end


@inlined
def _has_by(buffer: Bytes, begin: int, end: int) -> bool:
    for at in range(begin, end - 3):
        if (
            buffer[at] == 0x20
            and buffer[at + 1] | 0x20 == 0x62
            and buffer[at + 2] | 0x20 == 0x79
            and buffer[at + 3] == 0x20
        ):
            return True
    return False
