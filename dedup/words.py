"""Cut texts into words: compiled, many texts at once.

A word is a run of letters, digits and the marks on them (Unicode general categories L, N, M). An
apostrophe between two letters is part of it; characters that join invisibly (Cf) do not end it. In
scripts without spaces (Han, kana, Thai, Lao, Khmer, Myanmar) dictionaries find where a word begins
(``dedup.segmentation``). A single character of these scripts, or a syllable of Vietnamese or
Tibetan, is less than a word and has a kind of its own. An address (``scheme://`` up to the next
whitespace or non-ASCII character) is one word. Words are compared by a hash of their folded
characters (full case folding after compatibility forms), so ``Straße``, ``STRASSE`` and ``strasse``
are one word.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, NamedTuple, Protocol

import numpy as np

from palimpsest.dedup.headers import find_bodies
from palimpsest.dedup.segmentation import find_breaks
from palimpsest.kernels.arrays import Bytes, Flags, Hashes, LongHashes, Positions, TextPositions
from palimpsest.kernels.columns import as_read_only, grow
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.kernels.unicode import (
    APOSTROPHE,
    IDEOGRAPH,
    JOINER,
    LAYOUT_MASK,
    LETTER,
    MARK,
    TABLE_SIZE,
    WORD_MASK,
    WORD_SHIFT,
    character_tables,
    is_closer,
    is_terminal,
    is_wide_terminal,
    property_of,
    read_character,
)

CONTENT, FUNCTION, CHARACTER, NUMBER, HEADER = range(5)
"""Kinds of words: content word; function word; single character of a script without spaces, or
syllable of Vietnamese or Tibetan, which is less than a word; word that begins with a digit; word of
a header line, dateline or credit (``dedup.headers``)."""
KINDS = 5
HEADER_HASH = np.uint32(1)
"""The hash of all words of the kind ``HEADER``, which match no word."""

_SLOTS = 1 << 14
_BETWEEN = 128
_SEED = np.uint64(0x243F6A8885A308D3)

# Letters with two marks and with a horn, which no other language has, and those of Tibetan.
_SYLLABIC = (
    (0x01A0, 0x01A1),
    (0x01AF, 0x01B0),
    (0x0F40, 0x0FBC),
    (0x1EA4, 0x1EB7),
    (0x1EBE, 0x1EC7),
    (0x1ED0, 0x1EE3),
    (0x1EE8, 0x1EF1),
)
_YI = (0xA000, 0xA4CF)
"""Syllables of Yi, which is written without spaces, and for which ICU has no dictionary."""
_SYLLABIC_BYTE = 0xC6
"""None of them begins with a lower byte."""
_SYLLABIC_SHARE = 0.15
"""A text in which this share of the words has such letters is written in syllables."""
_LONGEST = 7
"""Most characters of a syllable of Vietnamese."""

# The digit zero of each script except Latin, ascending; one to nine follow it (Unicode 14, Nd).
# fmt: off
_ZEROS = (
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66,
    0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90,
    0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10,
    0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650,
    0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0, 0x16B50,
    0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
)
# fmt: on


class Words(NamedTuple):
    """The words of many texts, text after text.

    Attributes:
        offsets: int64, shape (texts + 1,): where the words of each text begin.
        hashes: uint32, shape (words,), never 0; ``HEADER_HASH`` for words of that kind only.
        starts, ends: shape (words,), in bytes from the start of the text: uint16, or int32 if one
            of the texts is longer than that allows.
        kinds: uint8, shape (words,): CONTENT, FUNCTION, CHARACTER, NUMBER or HEADER.
    """

    offsets: Positions
    hashes: Hashes
    starts: TextPositions
    ends: TextPositions
    kinds: Bytes


class Numbers(NamedTuple):
    """The numbers among the words of texts.

    Attributes:
        hashes: uint32, shape (words,): of the number that ends with a word.
        is_number: bool, shape (words,): a number ends with the word.
    """

    hashes: Hashes
    is_number: Flags


class HashedWords(Protocol):
    """The part of ``Words`` that is needed to compare texts word by word."""

    @property
    def offsets(self) -> Positions:
        """Return where the words of each text begin: int64, shape (texts + 1,)."""
        ...

    @property
    def hashes(self) -> Hashes:
        """Return the hashes of all words: uint32, shape (words,)."""
        ...


def find_words(buffer: Bytes, starts: Positions, ends: Positions) -> Words:
    """Return the words of texts.

    Args:
        buffer: uint8, normalised texts as valid UTF-8.
        starts, ends: int64, shape (texts,), in bytes of ``buffer``.
    """
    breaks = find_breaks(as_read_only(buffer), as_read_only(starts), as_read_only(ends))
    words = _words_with(_function_word_slots(), buffer, starts, ends, breaks)
    _mark_syllables(words, as_read_only(buffer), starts)
    _mark_headers(words, *find_bodies(as_read_only(buffer), starts, ends), starts)
    return words


@kernel
def _mark_headers(words: Words, first: Positions, stop: Positions, starts: Positions) -> None:
    """Make the words before ``first`` and from ``stop`` on of the kind ``HEADER``."""
    for text in range(len(starts)):
        for word in range(words.offsets[text], words.offsets[text + 1]):
            at = starts[text] + words.starts[word]
            if at >= first[text]:
                break
            words.kinds[word], words.hashes[word] = HEADER, HEADER_HASH
        for word in range(words.offsets[text + 1] - 1, words.offsets[text] - 1, -1):
            at = starts[text] + words.starts[word]
            if at < stop[text]:
                break
            words.kinds[word], words.hashes[word] = HEADER, HEADER_HASH


@kernel
def _mark_syllables(words: Words, buffer: Bytes, starts: Positions) -> None:
    """Make the content words of Vietnamese and Tibetan texts of the kind ``CHARACTER``."""
    for text in range(len(starts)):
        first, last = words.offsets[text], words.offsets[text + 1]
        marked = 0
        for word in range(first, last):
            begin, end = starts[text] + words.starts[word], starts[text] + words.ends[word]
            for at in range(begin, end):
                if buffer[at] >= _SYLLABIC_BYTE and _is_syllabic(buffer, at):
                    marked += 1
                    break
        if marked == 0 or marked < _SYLLABIC_SHARE * (last - first):
            continue
        for word in range(first, last):
            begin, end = starts[text] + words.starts[word], starts[text] + words.ends[word]
            if words.kinds[word] == CONTENT and _count_characters(buffer[begin:end]) <= _LONGEST:
                words.kinds[word] = CHARACTER


@inlined
def _is_syllabic(buffer: Bytes, at: int) -> bool:
    """Return whether a letter begins here that only Vietnamese has, or one of Tibetan."""
    if 0x80 <= buffer[at] < 0xC0:
        return False
    code_point, _ = read_character(buffer, at)
    for first, last in _SYLLABIC:
        if first <= code_point <= last:
            return True
    return False


@inlined
def _count_characters(text: Bytes) -> int:
    count = 0
    for byte in text:
        count += int(byte < 0x80 or byte >= 0xC0)
    return count


def _words_with(
    function_words: Hashes,
    buffer: Bytes,
    starts: Positions,
    ends: Positions,
    breaks: tuple[Positions, Positions],
) -> Words:
    texts = as_read_only(buffer), as_read_only(starts), as_read_only(ends)
    is_short = (ends - starts).max(initial=0) <= np.iinfo(np.uint16).max
    no_positions = np.empty(0, np.uint16 if is_short else np.int32)
    return Words(*_find_words(*texts, *character_tables(), function_words, *breaks, no_positions))


def hash_words(words: list[str]) -> Hashes:
    """Return the hashes of words: uint32, shape (words,).

    Raises:
        ValueError: an entry is not exactly one word.
    """
    encoded = [word.encode() for word in words]
    ends = np.cumsum([len(word) for word in encoded], dtype=np.int64)
    starts = np.concatenate((np.zeros(1, dtype=np.int64), ends[:-1]))
    buffer = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    no_breaks = np.empty(0, dtype=np.int64), np.zeros(len(words) + 1, dtype=np.int64)
    found = _words_with(np.zeros(_SLOTS, dtype=np.uint32), buffer, starts, ends, no_breaks)
    if len(found.hashes) != len(words):
        raise ValueError("each entry must be a single word")
    return found.hashes


def stem_words(words: Words, buffer: Bytes, starts: Positions, letters: int) -> Words:
    """Return the words with hashes of content words that depend on their first letters only.

    So ``translated`` and ``translation`` are one word. Truncation is the simplest stemmer, and as
    good as others across many languages (McNamee and Mayfield, Character n-gram tokenization for
    European language text retrieval, 2004). Addresses are not truncated.

    Args:
        words: as ``find_words`` returned them.
        buffer: uint8, the texts as UTF-8.
        starts: int64, shape (texts,), in bytes of ``buffer``.
        letters: letters that count, at least 1.
    """
    at = np.repeat(starts, np.diff(words.offsets))
    tables = character_tables()
    hashes = _stem_words(buffer, at + words.starts, at + words.ends, words, letters, *tables)
    return words._replace(hashes=hashes)


def find_sentences(words: Words, buffer: Bytes, starts: Positions) -> Flags:
    """Return which words are the first of a sentence, or of a text: bool, shape (words,).

    A sentence ends with ``.``, ``!``, ``?`` or their like in other scripts, any closing quotation
    marks and brackets, and whitespace. The dot of an abbreviation counts as an end.

    Args:
        words: as ``find_words`` returned them.
        buffer: uint8, the texts as UTF-8.
        starts: int64, shape (texts,), in bytes of ``buffer``.
    """
    at = np.repeat(starts, np.diff(words.offsets))
    properties = character_tables().properties
    is_first = _find_sentences(buffer, at + words.starts, at + words.ends, properties)
    is_first[words.offsets[:-1][np.diff(words.offsets) > 0]] = True
    return is_first


def find_numbers(words: Words, buffer: Bytes, starts: Positions) -> Numbers:
    """Return the numbers among words: 1,000 and 2.5 are one number each, of two words.

    Args:
        words: as ``find_words`` returned them.
        buffer: uint8, the texts as UTF-8.
        starts: int64, shape (texts,), in bytes of ``buffer``.
    """
    at = np.repeat(starts, np.diff(words.offsets))
    return Numbers(*_find_numbers(buffer, at + words.starts, at + words.ends, words))


@cache
def _function_word_slots() -> Hashes:
    """Return the hash table of function words: uint32, open addressing, 0 in empty slots."""
    text = (resources.files("palimpsest.dedup") / "function_words.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and line[0] not in "#["]
    slots = np.zeros(_SLOTS, dtype=np.uint32)
    for value in hash_words(sorted({word for line in lines for word in line.split()})):
        at = int(value) % _SLOTS
        while slots[at] not in (0, value):
            at = (at + 1) % _SLOTS
        slots[at] = value
    return slots


@kernel
def _find_words(
    buffer: Bytes,
    text_starts: Positions,
    text_ends: Positions,
    properties: Bytes,
    folds: Hashes,
    expansions: Hashes,
    function_words: Hashes,
    breaks: Positions,
    break_offsets: Positions,
    no_positions: TextPositions,
) -> tuple[Positions, Hashes, TextPositions, TextPositions, Bytes]:
    """Return the columns of ``Words``; positions have the dtype of ``no_positions``."""
    texts = len(text_starts)
    offsets = np.zeros(texts + 1, dtype=np.int64)
    total = 0
    for text in range(texts):
        total += text_ends[text] - text_starts[text]
    room = total // 4 + 64
    hashes = np.empty(room, dtype=np.uint32)
    starts = np.empty(room, dtype=no_positions.dtype)
    ends = np.empty(room, dtype=no_positions.dtype)
    kinds = np.empty(room, dtype=np.uint8)
    plain = _plain_folds(properties, folds)
    values = np.empty(0, dtype=np.uint64)
    count = 0
    for text in range(texts):
        begin, end = text_starts[text], text_ends[text]
        if count + (end - begin) + 1 > room:  # no more words than bytes
            room = max(2 * room, count + (end - begin) + 1)
            hashes = grow(hashes, room)
            starts = grow(starts, room)
            ends = grow(ends, room)
            kinds = grow(kinds, room)
        if end - begin >= len(values):
            values = np.empty(2 * (end - begin) + 1, dtype=np.uint64)
        found = _cut_words(
            buffer[begin:end],
            properties,
            folds,
            expansions,
            plain,
            breaks[break_offsets[text] : break_offsets[text + 1]] - begin,
            values,
            starts[count:],
            ends[count:],
        )
        for word in range(found):
            hashed = _finished(values[word])
            hashes[count + word] = hashed
            code_point, _ = read_character(buffer, begin + starts[count + word])
            kind = FUNCTION if _is_listed(hashed, function_words) else CONTENT
            kind = NUMBER if _is_digit(code_point) else kind
            is_wide = (property_of(properties, code_point) >> WORD_SHIFT) & WORD_MASK == IDEOGRAPH
            if is_wide and kind == CONTENT:
                whole = buffer[begin + starts[count + word] : begin + ends[count + word]]
                kind = CHARACTER if _is_single(whole, properties) else CONTENT
            kinds[count + word] = kind
        count += found
        offsets[text + 1] = count
    return offsets, hashes[:count], starts[:count], ends[:count], kinds[:count]


@inlined
def _cut_words(
    text: Bytes,
    properties: Bytes,
    folds: Hashes,
    expansions: Hashes,
    plain: Bytes,
    breaks: Positions,
    values: LongHashes,
    starts: TextPositions,
    ends: TextPositions,
) -> int:
    """Write the spans of a text's words and their hashes, not yet finished; return their number.

    Processors cannot predict where a word ends. So in plain ASCII text no branch depends on it: at
    each byte a word is written, and kept only if it has ended there. This is one function because
    all of its state changes with each character.
    """
    prime = np.uint64(0x100000001B3)
    count: Any = np.uint64(0)  # unsigned, so that numba generates no code for negative indices
    at, end, passed = 0, len(text), 0
    while at < end:
        start, value = at, _SEED
        for place in range(np.uint64(at), np.uint64(end)):
            folded = plain[text[place]]
            if folded > _BETWEEN:
                break
            is_letter = folded < _BETWEEN
            starts[count] = start
            ends[count] = at
            values[count] = value
            count += np.uint64((folded == _BETWEEN) & (start < at))
            mixed = (value ^ np.uint64(folded)) * prime
            value = mixed if is_letter else _SEED
            at += 1
            start = start if is_letter else at
        kind: Any = LETTER
        if start == at:
            if at == end:
                break
            code_point, size = read_character(text, at)
            kind = (property_of(properties, code_point) >> WORD_SHIFT) & WORD_MASK
            at += size
            if kind != LETTER and kind != IDEOGRAPH:
                continue
            value = _mixed(_SEED, code_point, folds, expansions)
            while passed < len(breaks) and breaks[passed] < at:
                passed += 1
        stop = at
        while at < end and plain[text[at]] != _BETWEEN:
            code_point, size = read_character(text, at)
            following = (property_of(properties, code_point) >> WORD_SHIFT) & WORD_MASK
            is_joined = passed == len(breaks) or at < breaks[passed]
            is_same = following == kind and (
                kind == LETTER or (is_joined and not _YI[0] <= code_point <= _YI[1])
            )
            if following == MARK or is_same:
                value = _mixed(value, code_point, folds, expansions)
                at += size
                stop = at
            elif following == JOINER:
                at += size
            elif following == APOSTROPHE and kind == LETTER and at == stop:
                if not _letter_follows(text, at + size, end, properties):
                    break
                value = _mixed(value, 0x27, folds, expansions)
                at += size
                stop = at
            elif code_point == 0x3A and kind == LETTER and _is_address(text, at, end):
                while at < end and 0x20 < text[at] < 0x7F:
                    value = (value ^ np.uint64(text[at])) * prime
                    at += 1
                stop = at
                break
            else:
                break
        starts[count] = start
        ends[count] = stop
        values[count] = value
        count += np.uint64(1)
    return int(count)


@inlined
def _plain_folds(properties: Bytes, folds: Hashes) -> Bytes:
    """Return for each byte the character it folds to, if it is an ASCII letter or digit.

    ``_BETWEEN`` marks ASCII characters that can neither begin, continue nor join a word, a larger
    value those that need a closer look.
    """
    plain = np.full(256, _BETWEEN + 1, dtype=np.uint8)
    for code_point in range(128):
        kind = (properties[code_point] >> WORD_SHIFT) & WORD_MASK
        if kind == LETTER and folds[code_point] < np.uint32(_BETWEEN):
            plain[code_point] = folds[code_point]
        elif kind == 0 and code_point != 0x3A:
            plain[code_point] = _BETWEEN
    return plain


@kernel
def _stem_words(
    buffer: Bytes,
    starts: Positions,
    ends: Positions,
    words: Words,
    letters: int,
    properties: Bytes,
    folds: Hashes,
    expansions: Hashes,
) -> Hashes:
    stems = words.hashes.copy()
    for word in range(len(starts)):
        if words.kinds[word] != CONTENT:
            continue
        at, end, count = starts[word], ends[word], 0
        if np.any(buffer[at:end] == 0x3A):  # an address
            continue
        value = _SEED
        while at < end:
            code_point, size = read_character(buffer, at)
            kind = (property_of(properties, code_point) >> WORD_SHIFT) & WORD_MASK
            if kind == LETTER:
                if count == letters:
                    stems[word] = _finished(value)
                    break
                count += 1
                value = _mixed(value, code_point, folds, expansions)
            elif kind == MARK:
                value = _mixed(value, code_point, folds, expansions)
            elif kind == APOSTROPHE:
                value = _mixed(value, 0x27, folds, expansions)
            at += size
    return stems


@kernel
def _find_sentences(buffer: Bytes, starts: Positions, ends: Positions, properties: Bytes) -> Flags:
    is_first = np.zeros(len(starts), dtype=np.bool_)
    for word in range(1, len(starts)):
        at, is_closing = ends[word - 1], False
        while at < starts[word]:
            code_point, size = read_character(buffer, at)
            if is_wide_terminal(code_point):
                is_first[word] = True
                break
            if is_terminal(code_point):
                is_closing = True
            elif property_of(properties, code_point) & LAYOUT_MASK != 0:
                if is_closing:
                    is_first[word] = True
                    break
            elif not is_closer(code_point):
                is_closing = False
            at += size
    return is_first


@kernel
def _find_numbers(
    buffer: Bytes, starts: Positions, ends: Positions, words: Words
) -> tuple[Hashes, Flags]:
    numbers, is_number = words.hashes.copy(), words.kinds == NUMBER
    for word in range(1, len(starts)):
        if not (is_number[word] and is_number[word - 1] and starts[word] == ends[word - 1] + 1):
            continue
        if buffer[ends[word - 1]] == 0x2C or buffer[ends[word - 1]] == 0x2E:  # a comma or a point
            numbers[word] ^= np.uint32(numbers[word - 1] * np.uint32(0x9E3779B1))
            is_number[word - 1] = False
    return numbers, is_number


@inlined
def _is_digit(code_point: int) -> bool:
    """Return whether a character is a decimal digit of any script."""
    if code_point < _ZEROS[0]:
        return 0x30 <= code_point <= 0x39
    for zero in _ZEROS:
        if code_point < zero + 10:
            return code_point >= zero
    return False


@inlined
def _is_single(word: Bytes, properties: Bytes) -> bool:
    """Return whether a word is one character with its marks."""
    at, count = 0, 0
    while at < len(word) and count < 2:
        code_point, size = read_character(word, at)
        kind = (property_of(properties, code_point) >> WORD_SHIFT) & WORD_MASK
        count += int(kind == IDEOGRAPH)
        at += size
    return bool(count < 2)


@inlined
def _letter_follows(buffer: Bytes, at: int, end: int, properties: Bytes) -> bool:
    if at >= end:
        return False
    code_point, _ = read_character(buffer, at)
    return bool((property_of(properties, code_point) >> WORD_SHIFT) & WORD_MASK == LETTER)


@inlined
def _is_address(buffer: Bytes, at: int, end: int) -> bool:
    """Return whether ``://`` is at this position."""
    return at + 2 < end and buffer[at + 1] == 0x2F and buffer[at + 2] == 0x2F


@inlined
def _mixed(value: np.uint64, code_point: int, folds: Hashes, expansions: Hashes) -> np.uint64:
    """Add a character, folded, to the hash of a word (FNV-1a over code points)."""
    prime = np.uint64(0x100000001B3)
    if code_point >= TABLE_SIZE:
        return (value ^ np.uint64(code_point)) * prime
    folded = folds[code_point]
    if folded < np.uint32(0x80000000):
        return (value ^ np.uint64(folded)) * prime
    at = np.int64(folded & np.uint32(0x7FFFFFFF))
    for step in range(np.int64(expansions[at])):
        value = (value ^ np.uint64(expansions[at + 1 + step])) * prime
    return value


@inlined
def _finished(value: np.uint64) -> np.uint32:
    """Return 32 well-mixed bits (finaliser of MurmurHash3, 64 bits), never 0 or 1."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    value ^= value >> np.uint64(33)
    hashed = np.uint32(value & np.uint64(0xFFFFFFFF))
    return hashed if hashed > np.uint32(1) else np.uint32(2)


@inlined
def _is_listed(value: np.uint32, slots: Hashes) -> bool:
    at = np.int64(value) & (_SLOTS - 1)
    while slots[at] != 0 and slots[at] != value:
        at = (at + 1) & (_SLOTS - 1)
    return bool(slots[at] == value)
