"""Decide whether two near-duplicate texts say the same, so that one can be folded into the other.

The texts are aligned word by word (Myers, An O(ND) difference algorithm, 1986). They say the same
if each place where they differ is explained by spelling, punctuation, typography, hyphens, function
words or errors of recognition. A number, a negation or another fact word, or a content word that
differs or that only one text has, keeps them apart.

A lexicon distinguishes an error from another word: a word that is a few letters from another is an
error if the lexicon of their language has only one of them, and in names also if the other one has
letters that do not follow one another in that language. If it has both, or neither, they are taken
for an error only in a text that has one or two plain errors elsewhere for each such word.

The answer depends on the two texts alone and is symmetric.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from palimpsest.dedup.texts import Texts
from palimpsest.dedup.words import FUNCTION, NUMBER, Words, hash_words
from palimpsest.kernels.arrays import Bytes, CodePoints, Flags, Hashes, Indices, Positions, Sizes
from palimpsest.kernels.columns import as_read_only, grow
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.kernels.unicode import (
    APOSTROPHE,
    TABLE_SIZE,
    WORD_MASK,
    WORD_SHIFT,
    CharacterTables,
    character_tables,
    property_of,
    read_character,
)

LANGUAGES = ("ar", "de", "en", "es", "eu", "fa", "fr", "it", "lv", "nl", "pt", "ru")
"""Languages of the lexicon; number n has bit n."""

_MAX_EDITS = 2048
"""Texts that differ in more words, inserted or deleted, are kept apart."""
_MAX_CELLS = 4096
"""A differing place of more words of one side times words of the other keeps texts apart."""
_LONGEST = 48
"""Letters of a word, or of words joined, that are compared."""
_ANY_OTHER = 15
_SAMPLE = 200
"""Words of a text that its language is found by."""
_SPELLING, _ERROR, _LIKELY, _DOUBTFUL, _OTHER = range(5)
"""How two words are related: variants, an error of one, perhaps an error (which one or two errors
elsewhere must confirm), or another word."""
_RARE_TRIGRAM = 3
"""Letters that follow one another in fewer words of a language do not look like it."""
_DOUBT, _IMPOSSIBLE = 1 << 16, 1 << 40


class Difference(NamedTuple):
    """Places where pairs of texts say different things, in the order of pairs.

    Attributes:
        pair: int64, shape (differences,), the number of the pair.
        left_first, left_last, right_first, right_last: int64, words of each text, half-open.
    """

    pair: Positions
    left_first: Positions
    left_last: Positions
    right_first: Positions
    right_last: Positions


class _Tables(NamedTuple):
    """What the kernel looks up.

    Attributes:
        bases: uint32, shape (TABLE_SIZE,): a folded letter without its diacritics.
        facts: uint32, sorted hashes of fact words.
        fact_languages: uint16, a bit for each language that a fact word belongs to, the highest for
            any that the lexicon does not have.
        known: uint32, sorted hashes of the lexicon.
        languages: uint16, a bit for each language of a word of the lexicon.
        trigrams: uint8, shape (languages, 27, 27, 27): in how many words of the lexicon three
            letters follow one another, at most 255; 0 is the edge of a word.
        shapes: uint8, shape (128,): letters and digits that look alike have one shape.
    """

    bases: CodePoints
    facts: Hashes
    fact_languages: Sizes
    known: Hashes
    languages: Sizes
    trigrams: Bytes
    shapes: Bytes


def find_differences(
    words: Words, texts: Texts, left: Positions, right: Positions
) -> tuple[Flags, Difference]:
    """Return which pairs of texts say the same, and where the others differ.

    The cost grows with the words of a pair times the words in which they differ.

    Args:
        words: of all texts, as ``find_words`` returned them.
        texts: the texts themselves.
        left, right: int64, shape (pairs,), numbers of texts.
    """
    at = np.repeat(texts.offsets[:-1], np.diff(words.offsets))
    spans = at + words.starts, at + words.ends
    bounds = np.stack((texts.offsets[:-1], texts.offsets[1:]), axis=1)
    is_same, rows = _judge_pairs(
        as_read_only(words.offsets),
        as_read_only(words.hashes),
        as_read_only(words.kinds),
        as_read_only(spans[0]),
        as_read_only(spans[1]),
        as_read_only(bounds),
        as_read_only(texts.buffer),
        as_read_only(left.astype(np.int64)),
        as_read_only(right.astype(np.int64)),
        character_tables(),
        _tables(),
    )
    return is_same, Difference(*rows.T.copy())


@cache
def _tables() -> _Tables:
    folder = resources.files("palimpsest.dedup")
    lines = (folder / "fact_words.txt").read_text(encoding="utf-8").splitlines()
    bit = 0
    facts: dict[str, int] = {}
    for line in lines:
        if line.startswith("["):
            code = line[1:].partition("]")[0]
            bit = 1 << (LANGUAGES.index(code) if code in LANGUAGES else _ANY_OTHER)
        elif line and line[0] != "#":
            facts.update({word: facts.get(word, 0) | bit for word in line.split()})
    hashes = hash_words(list(facts))
    order = np.argsort(hashes)
    fact_languages = np.array(list(facts.values()), dtype=np.uint16)[order]
    with (folder / "lexicon.npz").open("rb") as file:
        stored = np.load(file)
        known = np.cumsum(stored["gaps"], dtype=np.uint32)
        languages, trigrams = stored["languages"], stored["trigrams"]
    return _Tables(
        bases=_bases(),
        facts=hashes[order],
        fact_languages=fact_languages,
        known=known,
        languages=languages,
        trigrams=trigrams,
        shapes=_shapes(),
    )


def _bases() -> CodePoints:
    """Return letters without diacritics: Latin and Greek, and the Russian yo.

    Decompositions never change in later versions of Unicode.
    """
    bases = np.arange(TABLE_SIZE, dtype=np.uint32)
    for first, last in ((0xC0, 0x250), (0x370, 0x400), (0x1E00, 0x1F00), (0x451, 0x452)):
        for code_point in range(first, last):
            bases[code_point] = ord(unicodedata.normalize("NFD", chr(code_point))[0])
    for letter, base in (("ø", "o"), ("ł", "l"), ("đ", "d"), ("ı", "i"), ("ħ", "h")):
        bases[ord(letter)] = ord(base)
    return bases


def _shapes() -> Bytes:
    """Return the shape of each ASCII character: those that recognition mistakes share one."""
    shapes = np.arange(128, dtype=np.uint8)
    for alike in ("lI1i|!", "oO0Q", "ce", "hb", "un", "sf5S", "gq9", "vy", "8B", "Z2", "T7"):
        for character in alike:
            shapes[ord(character)] = ord(alike[0])
    return shapes


@kernel
def _judge_pairs(
    offsets: Positions,
    hashes: Hashes,
    kinds: Bytes,
    starts: Positions,
    ends: Positions,
    bounds: Positions,
    buffer: Bytes,
    left: Positions,
    right: Positions,
    characters: CharacterTables,
    tables: _Tables,
) -> tuple[Flags, Positions]:
    is_same = np.zeros(len(left), dtype=np.bool_)
    found = np.empty((64, 5), dtype=np.int64)
    count = 0
    for pair in range(len(left)):
        a, b = left[pair], right[pair]
        language = _language(hashes, kinds, offsets[a], offsets[a + 1], tables)
        if language != _language(hashes, kinds, offsets[b], offsets[b + 1], tables):
            language = -1
        tokens = _tokens(a, offsets, hashes, kinds, starts, ends, bounds, buffer, language, tables)
        others = _tokens(b, offsets, hashes, kinds, starts, ends, bounds, buffer, language, tables)
        is_swapped = _comes_first(others, tokens)
        if is_swapped:
            a, b, tokens, others = b, a, others, tokens
        gaps = _gaps(tokens[:, 0], others[:, 0])
        marks = np.full(2, -1, dtype=np.int64)
        doubts, errors, first = 0, 0, count
        costs = np.zeros(len(gaps), dtype=np.int64)
        for k in range(len(gaps)):
            p, p_end, q, q_end = gaps[k]
            if p >= 0:
                costs[k] = _cost_of_gap(
                    tokens[p:p_end], others[q:q_end], tokens, others, marks, language, buffer,
                    characters, tables,
                )  # fmt: skip
            else:
                costs[k] = _IMPOSSIBLE
            if costs[k] < _IMPOSSIBLE:
                doubts += (costs[k] + _DOUBT // 2) // _DOUBT
                errors += (_DOUBT - costs[k] % _DOUBT) % _DOUBT
        for k in range(len(gaps)):
            in_doubt = (costs[k] + _DOUBT // 2) // _DOUBT > 0
            if costs[k] >= _IMPOSSIBLE or (in_doubt and doubts > errors):
                if count == len(found):
                    found = grow(found, 2 * count)
                p, p_end, q, q_end = gaps[k]
                if p < 0:
                    p, p_end, q, q_end = 0, len(tokens), 0, len(others)
                found[count, 0] = pair
                found[count, 1], found[count, 2] = _word_span(tokens, p, p_end, offsets[a])
                found[count, 3], found[count, 4] = _word_span(others, q, q_end, offsets[b])
                if is_swapped:
                    found[count, 1], found[count, 3] = found[count, 3], found[count, 1]
                    found[count, 2], found[count, 4] = found[count, 4], found[count, 2]
                count += 1
        is_same[pair] = count == first
    return is_same, found[:count].copy()


# Columns of a token: its value (equal for equal tokens), first word and last word (half-open),
# first and last byte (half-open), and flags.
_VALUE, _FIRST, _LAST, _START, _END, _FLAGS = range(6)
_IS_FUNCTION, _IS_FACT, _HAS_DIGIT, _BEGINS_SENTENCE = 1, 2, 4, 8


@kernel
def _tokens(
    text: int,
    offsets: Positions,
    hashes: Hashes,
    kinds: Bytes,
    starts: Positions,
    ends: Positions,
    bounds: Positions,
    buffer: Bytes,
    language: int,
    tables: _Tables,
) -> Positions:
    """Return the tokens of a text: words, and numbers with their groups and signs as one each.

    Thousands may be grouped by a comma, an apostrophe or a blank. A decimal mark, a minus sign, a
    percent sign and a currency sign are part of the number. Words of metadata are left out.
    """
    first, last = offsets[text], offsets[text + 1]
    text_start, text_end = bounds[text, 0], bounds[text, 1]
    found = np.empty((last - first, 6), dtype=np.int64)
    count = 0
    word = first
    while word < last:
        if kinds[word] > NUMBER:
            word += 1
            continue
        begin = word
        value = np.uint64(hashes[word])
        flags = 0
        begins = _begins_sentence(buffer, starts[begin], text_start)
        if kinds[word] == FUNCTION and not (
            _is_initial(buffer, starts[begin], ends[begin], text_end)
            or (_is_titled(buffer, starts[begin], ends[begin]) and not begins)
        ):
            flags |= _IS_FUNCTION
        if _is_fact(hashes[word], language, tables):
            flags |= _IS_FACT
        if _digits_in(buffer, starts[word], ends[word]) > 0:
            flags |= _HAS_DIGIT
        is_number = _is_plain_number(buffer, starts[word], ends[word])
        if is_number:
            value = _mixed_digits(np.uint64(14695981039346656037), buffer, starts[word], ends[word])
            size = ends[word] - starts[word]
            is_grouped = size <= 3
            while word + 1 < last and kinds[word + 1] == NUMBER:
                if not _is_plain_number(buffer, starts[word + 1], ends[word + 1]):
                    break
                if starts[word + 1] - ends[word] != 1:
                    break
                mark = buffer[ends[word]]
                following = ends[word + 1] - starts[word + 1]
                if mark in (0x2C, 0x27, 0x20) and is_grouped and following == 3:
                    pass
                elif mark in (0x2C, 0x2E):
                    value = (value ^ np.uint64(0x2E)) * np.uint64(0x100000001B3)
                    is_grouped = mark == 0x2E and following == 3 and is_grouped
                else:
                    break
                word += 1
                value = _mixed_digits(value, buffer, starts[word], ends[word])
            marks = _marks(buffer, starts[begin], ends[word], text_start, text_end)
            if marks:
                value = (value ^ np.uint64(marks)) * np.uint64(0x100000001B3)
            value = value | np.uint64(1 << 40)
        if begins:
            flags |= _BEGINS_SENTENCE
        found[count, _VALUE] = np.int64(value & np.uint64(0x7FFFFFFFFFFFFFFF))
        found[count, _FIRST], found[count, _LAST] = begin, word + 1
        found[count, _START], found[count, _END] = starts[begin], ends[word]
        found[count, _FLAGS] = flags
        count += 1
        word += 1
    return found[:count]


@inlined
def _is_initial(buffer: Bytes, start: int, end: int, text_end: int) -> bool:
    """Return whether a word is a capital letter and a dot, as in U.S."""
    is_dotted = end < text_end and buffer[end] == 0x2E
    return bool(is_dotted and end - start == 1 and 0x41 <= buffer[start] <= 0x5A)


@inlined
def _is_titled(buffer: Bytes, start: int, end: int) -> bool:
    """Return whether a word is a capital and small letters, as in a name."""
    if not 0x41 <= buffer[start] <= 0x5A:
        return False
    return bool(end - start > 1 and buffer[start + 1] >= 0x61)


@inlined
def _mixed_digits(value: np.uint64, buffer: Bytes, start: int, end: int) -> np.uint64:
    for at in range(start, end):
        value = (value ^ np.uint64(buffer[at])) * np.uint64(0x100000001B3)
    return value


@inlined
def _digits_in(buffer: Bytes, start: int, end: int) -> int:
    count = 0
    for at in range(start, end):
        if 0x30 <= buffer[at] <= 0x39:
            count += 1
    return count


@inlined
def _is_plain_number(buffer: Bytes, start: int, end: int) -> bool:
    return _digits_in(buffer, start, end) == end - start


@inlined
def _marks(buffer: Bytes, start: int, end: int, text_start: int, text_end: int) -> int:
    """Return a code for the minus sign, the currency and the percent sign of a number."""
    code: Any = 0
    at = start - 1
    if at >= text_start and buffer[at] == 0x24:
        code, at = 1, at - 1
    elif at > text_start and buffer[at - 1] == 0xC2 and buffer[at] in (0xA3, 0xA5):
        code, at = np.int64(buffer[at]), at - 2
    elif at > text_start + 1 and buffer[at - 2] == 0xE2 and buffer[at - 1] == 0x82:
        code, at = np.int64(buffer[at]), at - 3
    width = 0
    if at >= text_start and buffer[at] == 0x2D:
        width = 1
    elif at > text_start + 1 and buffer[at - 2] == 0xE2:
        if (buffer[at - 1] == 0x88 and buffer[at] == 0x92) or (
            buffer[at - 1] == 0x80 and buffer[at] == 0x93
        ):
            width = 3
    if width and (at - width < text_start or buffer[at - width] in (0x20, 0x28)):
        code += 512
    at = end
    if at + 1 < text_end and buffer[at] == 0x20:
        at += 1
    if at < text_end and buffer[at] == 0x25:
        code += 1024
    elif at + 2 < text_end and buffer[at] == 0xE2 and buffer[at + 1] == 0x82 and code % 512 == 0:
        code += np.int64(buffer[at + 2])
    return int(code)


@inlined
def _comes_first(left: Positions, right: Positions) -> bool:
    """Return whether a text sorts before another, by the number of tokens, then their values."""
    if len(left) != len(right):
        return len(left) < len(right)
    for k in range(len(left)):
        if left[k, _VALUE] != right[k, _VALUE]:
            return bool(left[k, _VALUE] < right[k, _VALUE])
    return False


@inlined
def _begins_sentence(buffer: Bytes, start: int, text_start: int) -> bool:
    at = start - 1
    while at >= text_start and buffer[at] in (0x20, 0x22, 0x27, 0x28):
        at -= 1
    return at < text_start or buffer[at] in (0x2E, 0x21, 0x3F)


@inlined
def _is_fact(value: np.uint32, language: int, tables: _Tables) -> bool:
    """Return whether a word is a fact word of a language, or of any if the language is unknown."""
    at = np.searchsorted(tables.facts, value)
    if at == len(tables.facts) or tables.facts[at] != value:
        return False
    return language < 0 or bool((tables.fact_languages[at] >> language) & 1)


@inlined
def _word_span(tokens: Positions, first: int, last: int, text: int) -> tuple[int, int]:
    """Return the words of tokens, counted from the first word of the text."""
    if first < last:
        return tokens[first, _FIRST] - text, tokens[last - 1, _LAST] - text
    place = tokens[first, _FIRST] - text if first < len(tokens) else 0
    if first == len(tokens) and first > 0:
        place = tokens[first - 1, _LAST] - text
    return place, place


@kernel
def _language(hashes: Hashes, kinds: Bytes, first: int, last: int, tables: _Tables) -> int:
    """Return the language that knows most content words of a text, at least half; -1 if none."""
    counts = np.zeros(16, dtype=np.int64)
    total = 0
    for word in range(first, min(last, first + _SAMPLE)):
        if kinds[word] >= NUMBER:
            continue
        total += 1
        at = np.searchsorted(tables.known, hashes[word])
        if at < len(tables.known) and tables.known[at] == hashes[word]:
            for language in range(16):
                counts[language] += (tables.languages[at] >> language) & 1
    best = int(np.argmax(counts))
    return best if 2 * counts[best] >= total > 0 else -1


@kernel
def _gaps(left: Positions, right: Positions) -> Positions:
    """Return the places between tokens that are aligned: rows of half-open spans of both sides.

    One row of -1 stands for texts that differ in too many tokens.
    """
    n, m = len(left), len(right)
    start = 0
    while start < n and start < m and left[start] == right[start]:
        start += 1
    end = 0
    while end < min(n, m) - start and left[n - 1 - end] == right[m - 1 - end]:
        end += 1
    a, b = left[start : n - end], right[start : m - end]
    n, m = len(a), len(b)
    most = min(n + m, _MAX_EDITS)
    reached = np.zeros(2 * most + 3, dtype=np.int64)
    trace = np.empty(1024, dtype=np.int32)
    last = -1
    middle = most + 1
    for edits in range(most + 1):
        size = edits * (edits + 1) // 2
        if size + edits + 1 > len(trace):
            trace = grow(trace, 2 * (size + edits + 1))
        for step in range(edits + 1):
            k = 2 * step - edits
            if k == -edits or (k != edits and reached[middle + k - 1] < reached[middle + k + 1]):
                x = reached[middle + k + 1]
            else:
                x = reached[middle + k - 1] + 1
            y = x - k
            while x < n and y < m and a[x] == b[y]:
                x += 1
                y += 1
            reached[middle + k] = x
            trace[size + step] = x
            if x >= n and y >= m:
                last = edits
                break
        if last >= 0:
            break
    if last < 0:
        return np.full((1, 4), -1, dtype=np.int64)
    rows = np.empty((last + 1, 4), dtype=np.int64)
    count = 0
    x, y = n, m
    gap_x, gap_y = -1, -1  # where the current gap ends
    for edits in range(last, 0, -1):
        k = x - y
        size = (edits - 1) * edits // 2
        lower = trace[size + (k - 1 + edits - 1) // 2] if k > -edits else -1
        upper = trace[size + (k + 1 + edits - 1) // 2] if k < edits else -1
        is_insert = k == -edits or (k != edits and lower < upper)
        before_x = upper if is_insert else lower
        before_y = before_x - (k + 1) if is_insert else before_x - (k - 1)
        stop_x = before_x if is_insert else before_x + 1
        stop_y = before_y + 1 if is_insert else before_y
        if gap_x >= 0 and x == stop_x and y == stop_y:
            pass  # the gap goes on
        else:
            if gap_x >= 0:
                rows[count] = start + x, start + gap_x, start + y, start + gap_y
                count += 1
            gap_x, gap_y = stop_x, stop_y
        x, y = before_x, before_y
    if gap_x >= 0:
        rows[count] = start + x, start + gap_x, start + y, start + gap_y
        count += 1
    return rows[:count][::-1].copy()


@kernel
def _cost_of_gap(
    left: Positions,
    right: Positions,
    all_left: Positions,
    all_right: Positions,
    marks: Positions,
    language: int,
    buffer: Bytes,
    characters: CharacterTables,
    tables: _Tables,
) -> int:
    """Return ``_DOUBT`` for each error that must confirm others, less 1 for each plain error.

    ``_IMPOSSIBLE`` stands for a fact that differs.

    It is the least over all ways to pair the tokens, of which up to three may be joined.
    """
    n, m = len(left), len(right)
    if (n + 1) * (m + 1) > _MAX_CELLS:
        return _IMPOSSIBLE
    costs = np.full((n + 1, m + 1), _IMPOSSIBLE, dtype=np.int64)
    costs[0, 0] = 0
    for i in range(n + 1):
        for j in range(m + 1):
            here = costs[i, j]
            if here >= _IMPOSSIBLE:
                continue
            if i < n and left[i, _FLAGS] & (_IS_FUNCTION | _IS_FACT) == _IS_FUNCTION:
                costs[i + 1, j] = min(costs[i + 1, j], here)
            if j < m and right[j, _FLAGS] & (_IS_FUNCTION | _IS_FACT) == _IS_FUNCTION:
                costs[i, j + 1] = min(costs[i, j + 1], here)
            for p in range(1, min(3, n - i) + 1):
                for q in range(1, min(3, m - j) + 1):
                    if (p > 1 and q > 2) or (p > 2 and q > 1):
                        continue
                    relation = _relation(
                        left[i : i + p], right[j : j + q], all_left, all_right, marks, language,
                        buffer, characters, tables,
                    )  # fmt: skip
                    if relation != _OTHER:
                        cost = 0
                        if relation == _ERROR:
                            cost = -1
                        elif relation == _LIKELY:
                            cost = _DOUBT
                        elif relation == _DOUBTFUL:
                            cost = 2 * _DOUBT
                        costs[i + p, j + q] = min(costs[i + p, j + q], here + cost)
    return int(costs[n, m])


@kernel
def _relation(
    left: Positions,
    right: Positions,
    all_left: Positions,
    all_right: Positions,
    marks: Positions,
    language: int,
    buffer: Bytes,
    characters: CharacterTables,
    tables: _Tables,
) -> int:
    """Return how tokens, joined, are related to other tokens."""
    one, other = np.empty(_LONGEST, np.int32), np.empty(_LONGEST, np.int32)
    a_size, a_own = _letters(left, one, buffer, characters, tables)
    b_size, b_own = _letters(right, other, buffer, characters, tables)
    if a_size < 0 or b_size < 0:
        return _OTHER
    a, b = one[:a_size], other[:b_size]
    is_joined = len(left) + len(right) > 2
    a_flags, b_flags = 0, 0
    for k in range(len(left)):
        a_flags |= left[k, _FLAGS]
    for k in range(len(right)):
        b_flags |= right[k, _FLAGS]
    if (a_flags | b_flags) & _HAS_DIGIT:
        if not is_joined and (a_flags & b_flags) & _HAS_DIGIT == 0:
            is_word = _is_known(
                right[0, _VALUE] if a_flags & _HAS_DIGIT else left[0, _VALUE], language, tables
            )
            mixed = left[0] if a_flags & _HAS_DIGIT else right[0]
            count = _digits_in(buffer, mixed[_START], mixed[_END])
            size = mixed[_END] - mixed[_START]
            if count <= 2 and 2 * count <= size and language >= 0:
                begins = _digits_in(buffer, mixed[_START], mixed[_START] + 1) > 0
                if _look_alike(left[0], right[0], buffer, tables.shapes):
                    if is_word or size > 2 or begins:
                        return _ERROR
                if is_word and size >= 4:
                    far = 1 if size < 8 else 2
                    if _distance_of_shapes(left[0], right[0], buffer, tables, far) <= far:
                        return _ERROR
        return _relation_of_numbers(left, right, buffer, tables)
    is_equal = _are_equal(a, b)
    if is_equal and is_joined:
        return _SPELLING
    if is_joined:
        if (a_flags | b_flags) & _IS_FACT or min(a_size, b_size) < 6:
            return _OTHER
        return _ERROR if _distance(a, b, 1) <= 1 and language >= 0 else _OTHER
    a_known = _is_known(left[0, _VALUE], language, tables)
    b_known = _is_known(right[0, _VALUE], language, tables)
    is_fact = (a_flags | b_flags) & _IS_FACT != 0
    if is_equal:
        if a_own == b_own:
            return _SPELLING
        if a_own < b_own:
            side, texts = 0, all_left
        else:
            side, texts = 1, all_right
        if marks[side] < 0:
            marks[side] = _count_marked(texts, buffer, characters, tables)
        if min(a_own, b_own) == 0 and marks[side] == 0:
            return _SPELLING
        return _ERROR if a_known != b_known else _DOUBTFUL
    shorter, longer = min(a_size, b_size), max(a_size, b_size)
    if not is_fact and shorter >= 4:
        spelled, respelled = np.empty(2 * _LONGEST, np.int32), np.empty(2 * _LONGEST, np.int32)
        if _are_equal(spelled[: _respell(a, spelled)], respelled[: _respell(b, respelled)]):
            return _SPELLING
    if not _is_alphabetic(a) or not _is_alphabetic(b):
        return _OTHER
    if _is_plural(a, b) or _is_plural(b, a):
        return _OTHER
    looks_alike = _look_alike(left[0], right[0], buffer, tables.shapes)
    if language < 0:
        return _ERROR if looks_alike and shorter >= 4 and not is_fact else _OTHER
    if a_size == b_size:
        a_odd, b_odd = _has_odd_case(left[0], buffer), _has_odd_case(right[0], buffer)
        if a_size == 1:
            a_odd, b_odd = _is_small(left[0], buffer), _is_small(right[0], buffer)
        if a_odd != b_odd and _distance(a, b, 2) == 1:
            return _ERROR
    if a_known and b_known and is_fact:
        is_close = looks_alike or (a_size == b_size and _distance(a, b, 2) == 1)
        return _LIKELY if is_close and (a_flags ^ b_flags) & _IS_FACT else _OTHER
    allowed = 0 if shorter < 2 else 1 if shorter < 8 else 2 if shorter < 12 else 3
    distance = _distance(a, b, allowed + 1)
    a_capital, b_capital = _is_name(left[0], buffer), _is_name(right[0], buffer)
    is_plain = not a_capital and not b_capital
    if not is_fact and longer <= 3 and is_plain and max(distance, longer - 1) <= 2:
        if (a_flags | b_flags) & _IS_FUNCTION and distance <= 1:
            is_content = a_known and b_known and not (a_flags & b_flags) & _IS_FUNCTION
            return _LIKELY if is_content and longer == 3 else _ERROR
    if longer < 2:
        return _OTHER
    if a_known != b_known:
        is_strange = _is_strange(b if a_known else a, language, tables.trigrams)
        is_strange |= _has_odd_case(right[0] if a_known else left[0], buffer)
        if looks_alike:
            return _ERROR
        distance = min(
            distance, _distance_of_shapes(left[0], right[0], buffer, tables, allowed + 1)
        )
        if distance <= allowed:
            if is_fact and shorter >= 4:
                return _ERROR
            if is_strange or not (a_capital and b_capital) or shorter >= 8:
                if shorter > 2 or (a_flags | b_flags) & _IS_FUNCTION:
                    return _ERROR
            return _LIKELY if a_size == b_size else _DOUBTFUL
        is_word = (a_flags if a_known else b_flags) & _IS_FUNCTION != 0
        if is_word and is_plain and a_size == b_size and distance <= 2 and shorter <= 3:
            return _LIKELY
        if distance <= allowed + 1 and shorter >= 4:
            return _ERROR if is_strange and shorter >= 5 else _LIKELY
        return _OTHER
    if not a_known:
        if distance > allowed + 1 or shorter < 3 or (distance > allowed and shorter < 4):
            return _OTHER
        is_error = _is_strange(a, language, tables.trigrams) != _is_strange(
            b, language, tables.trigrams
        )
        is_error |= _has_odd_case(left[0], buffer) != _has_odd_case(right[0], buffer)
        is_error |= a_capital != b_capital and not is_plain
        if (is_error and distance <= allowed) or (looks_alike and is_plain and shorter >= 4):
            return _ERROR
        return _LIKELY if is_error or looks_alike else _DOUBTFUL
    if is_fact or distance > 1:
        return _OTHER
    if looks_alike:
        return _LIKELY
    return _DOUBTFUL if a_size == b_size else _OTHER


@inlined
def _is_strange(letters: Indices, language: int, trigrams: Bytes) -> bool:
    """Return whether three letters of a word hardly ever follow one another in a language."""
    if trigrams[language, 0, 1, 1] == 0 and trigrams[language, 0, 5, 14] == 0:
        return False  # the language is not written in Latin letters
    before, last = 0, 0
    for k in range(len(letters) + 1):
        letter = letters[k] - 0x60 if k < len(letters) else 0
        if letter < 0 or letter > 26:
            return False
        if k > 0 and trigrams[language, before, last, letter] < _RARE_TRIGRAM:
            return True
        before, last = last, letter
    return False


@inlined
def _is_small(token: Any, buffer: Bytes) -> bool:
    """Return whether a token begins with a small ASCII letter."""
    return bool(0x61 <= buffer[token[_START]] <= 0x7A)


@inlined
def _has_odd_case(token: Any, buffer: Bytes) -> bool:
    """Return whether a capital follows a small letter, or one small letter is among capitals."""
    capitals, small, after = 0, 0, False
    for at in range(token[_START], token[_END]):
        if 0x41 <= buffer[at] <= 0x5A:
            capitals += 1
            after |= small > 0
        elif 0x61 <= buffer[at] <= 0x7A:
            small += 1
    return after or (small == 1 and capitals >= 2)


@inlined
def _is_plural(a: Indices, b: Indices) -> bool:
    """Return whether a word is another one of at least four letters and an s."""
    return len(b) >= 4 and len(a) == len(b) + 1 and a[-1] == 0x73 and _are_equal(a[:-1], b)


@inlined
def _are_equal(a: Indices, b: Indices) -> bool:
    if len(a) != len(b):
        return False
    for k in range(len(a)):
        if a[k] != b[k]:
            return False
    return True


@inlined
def _is_known(value: int, language: int, tables: _Tables) -> bool:
    if language < 0 or value >= 1 << 32:
        return False
    at = np.searchsorted(tables.known, np.uint32(value))
    if at == len(tables.known) or tables.known[at] != np.uint32(value):
        return _is_fact(np.uint32(value), language, tables)
    is_known = bool((tables.languages[at] >> language) & 1)
    return is_known or _is_fact(np.uint32(value), language, tables)


@inlined
def _is_alphabetic(a: Indices) -> bool:
    """Return whether letters are Latin or Cyrillic: in other scripts one letter is a word."""
    for k in range(len(a)):
        if a[k] >= 0x530:
            return False
    return True


@inlined
def _is_name(token: Any, buffer: Bytes) -> bool:
    """Return whether a token begins with an ASCII capital that does not begin a sentence."""
    first = buffer[token[_START]]
    if not 0x41 <= first <= 0x5A:
        return False
    if token[_FLAGS] & _BEGINS_SENTENCE:
        second = buffer[token[_START] + 1] if token[_END] > token[_START] + 1 else np.uint8(0)
        return bool(0x41 <= second <= 0x5A)
    return True


@inlined
def _letters(
    tokens: Positions, into: Indices, buffer: Bytes, characters: CharacterTables, tables: _Tables
) -> tuple[int, int]:
    """Write the folded letters of tokens without diacritics and apostrophes.

    Returns:
        their number, or -1 if they are too many; and a number that differs if diacritics differ, 0
        if there are none.
    """
    size, marked = 0, 0
    for k in range(len(tokens)):
        at, end = tokens[k, _START], tokens[k, _END]
        if end - at >= 3 and buffer[end - 1] in (0x73, 0x53) and k == len(tokens) - 1:
            if buffer[end - 2] == 0x27:
                end -= 2
            elif end - at >= 5 and buffer[end - 2] == 0x99 and buffer[end - 3] == 0x80:
                end -= 4
        while at < end:
            code_point, width = read_character(buffer, at)
            at += width
            kind = (property_of(characters.properties, code_point) >> WORD_SHIFT) & WORD_MASK
            if kind == APOSTROPHE:
                continue
            count: Any = 1
            folded = np.uint32(code_point)
            expansion: Any = -1
            if code_point < TABLE_SIZE:
                folded = characters.folds[code_point]
                if folded >= np.uint32(0x80000000):
                    expansion = np.int64(folded & np.uint32(0x7FFFFFFF))
                    count = np.int64(characters.expansions[expansion])
            for step in range(count):
                letter: Any = np.int64(folded)
                if expansion >= 0:
                    letter = np.int64(characters.expansions[expansion + 1 + step])
                if 0x300 <= letter < 0x370:
                    marked = (marked * 31 + letter + size) % 1000003
                    continue
                base = np.int64(tables.bases[letter]) if letter < TABLE_SIZE else letter
                if base != letter:
                    marked = (marked * 31 + letter + size) % 1000003
                if size + 2 > len(into):
                    return -1, 0
                if letter == 0xE6 or letter == 0x153:
                    into[size] = 0x61 if letter == 0xE6 else 0x6F
                    into[size + 1] = 0x65
                    size += 2
                    continue
                into[size] = base
                size += 1
    return size, marked


@kernel
def _count_marked(
    tokens: Positions, buffer: Bytes, characters: CharacterTables, tables: _Tables
) -> int:
    """Return how many tokens have letters with diacritics."""
    count = 0
    into = np.empty(_LONGEST, np.int32)
    for k in range(len(tokens)):
        size, marked = _letters(tokens[k : k + 1], into, buffer, characters, tables)
        if size >= 0 and marked != 0:
            count += 1
    return count


@inlined
def _relation_of_numbers(left: Positions, right: Positions, buffer: Bytes, tables: _Tables) -> int:
    """Return whether numbers are the same but for letters that look like digits."""
    a, a_end = left[0, _START], left[-1, _END]
    b, b_end = right[0, _START], right[-1, _END]
    size = a_end - a
    if size != b_end - b:
        return _OTHER
    a_digits, b_digits, a_letters, b_letters, changes = 0, 0, 0, 0, 0
    for k in range(size):
        one, other = buffer[a + k], buffer[b + k]
        if one >= 0x80 or other >= 0x80 or tables.shapes[one] != tables.shapes[other]:
            return _OTHER
        a_is_digit, b_is_digit = 0x30 <= one <= 0x39, 0x30 <= other <= 0x39
        if one != other:
            if a_is_digit and b_is_digit:
                return _OTHER
            changes += 1
        a_digits += a_is_digit
        b_digits += b_is_digit
        a_letters += one >= 0x41 and not a_is_digit
        b_letters += other >= 0x41 and not b_is_digit
    if changes == 0:
        return _OTHER  # a sign, a currency or a unit differs
    if min(a_letters, b_letters) == 0 and min(a_digits, b_digits) > 0:
        return _ERROR  # a number, and the same with letters for some digits
    if min(a_digits, b_digits) == 0 and size >= 4 and max(a_digits, b_digits) < 3:
        return _ERROR  # a word, and the same with a digit or two for letters
    return _OTHER


@inlined
def _respell(letters: Indices, into: Indices) -> int:
    """Write British and American spelling alike; return the number of letters."""
    n, size, k = len(letters), 0, 0
    while k < n:
        c = letters[k]
        d = letters[k + 1] if k + 1 < n else 0
        e = letters[k + 2] if k + 2 < n else 0
        f = letters[k + 3] if k + 3 < n else 0
        step = 1
        written = c
        second = 0
        if k > 0 and c == 0x6F and d == 0x75 and e == 0x72:  # our
            if f == 0 or f in (0x69, 0x61, 0x65, 0x66, 0x6C) or (f == 0x73 and k + 4 == n):
                second, step = 0x72, 3
        elif c in (0x69, 0x79) and d == 0x7A and e in (0x65, 0x69, 0x61) and n >= 6:  # ize, yze
            second, step = 0x73, 2
        elif c in (0x74, 0x62) and d == 0x72 and e == 0x65 and n >= 5:  # tre, bre
            if k + 3 == n or (f == 0x73 and k + 4 == n):
                into[size] = c
                size += 1
                written, second, step = 0x65, 0x72, 3
        elif c == 0x6C and d == 0x6C and k >= 4 and e in (0x65, 0x69, 0x6F):  # lled, lling
            step = 2
        elif c == 0x65 and d == 0x6E and e == 0x63 and f == 0x65 and k + 4 == n and n >= 6:
            into[size] = c
            into[size + 1] = d
            size += 2
            written, second, step = 0x73, 0x65, 4  # ence
        elif c in (0x61, 0x6F) and d == 0x65 and n >= 6:  # ae, oe
            written, step = 0x65, 2
        elif c == 0x6F and d == 0x67 and e == 0x75 and f == 0x65 and k + 4 == n and k >= 3:
            second, step = 0x67, 4  # ogue
        elif (
            c == 0x6D
            and d == 0x6D
            and e == 0x65
            and k >= 5
            and (k + 3 == n or (f == 0x73 and k + 4 == n))
        ):
            step = 3  # programme
        elif c == 0x67 and d == 0x65 and (e == 0x6D or (e == 0x69 and f == 0x6E)) and k >= 1:
            step = 2  # judgement, ageing
        elif c == 0x65 and d == 0x79 and n == 4 and k == 2:
            written = 0x61  # grey
        into[size] = written
        size += 1
        if second:
            into[size] = second
            size += 1
        k += step
    return size


@inlined
def _look_alike(one: Any, other: Any, buffer: Bytes, shapes: Bytes) -> bool:
    """Return whether two words of ASCII letters look alike: m and rn, e and c, and so on."""
    a, b = np.empty(_LONGEST, np.uint8), np.empty(_LONGEST, np.uint8)
    a_size = _shape_of(one, buffer, shapes, a)
    b_size = _shape_of(other, buffer, shapes, b)
    if a_size < 0 or a_size != b_size:
        return False
    for k in range(a_size):
        if a[k] != b[k]:
            return False
    return True


@inlined
def _distance_of_shapes(one: Any, other: Any, buffer: Bytes, tables: _Tables, most: int) -> int:
    """Return the edit distance of two words where letters that look alike are equal."""
    a, b = np.empty(_LONGEST, np.uint8), np.empty(_LONGEST, np.uint8)
    a_size = _shape_of(one, buffer, tables.shapes, a)
    b_size = _shape_of(other, buffer, tables.shapes, b)
    if a_size < 0 or b_size < 0:
        return most + 1
    return _distance(a[:a_size].astype(np.int32), b[:b_size].astype(np.int32), most)


@inlined
def _shape_of(token: Any, buffer: Bytes, shapes: Bytes, into: Bytes) -> int:
    at, end = token[_START], token[_END]
    if end - at > len(into):
        return -1
    size = 0
    while at < end:
        c = buffer[at]
        if c >= 0x80:
            return -1
        d = buffer[at + 1] if at + 1 < end else np.uint8(0)
        if c == 0x72 and d == 0x6E:  # rn
            into[size], at = 0x6D, at + 2
        elif c == 0x69 and d == 0x6E and end - token[_START] > 2:  # in, also read for m
            into[size], at = 0x6D, at + 2
        elif c == 0x63 and d == 0x6C:  # cl
            into[size], at = 0x64, at + 2
        elif c == 0x76 and d == 0x76:  # vv
            into[size], at = 0x77, at + 2
        else:
            into[size], at = shapes[c], at + 1
        size += 1
    return size


@inlined
def _distance(a: Indices, b: Indices, most: int) -> int:
    """Return the edit distance of two words, neighbours that change places counting once.

    A distance above ``most`` is returned as ``most + 1``.
    """
    n, m = len(a), len(b)
    if abs(n - m) > most:
        return most + 1
    rows = np.empty((3, _LONGEST + 1), dtype=np.int32)
    for j in range(m + 1):
        rows[0, j] = j
    for i in range(1, n + 1):
        now, before, earlier = i % 3, (i - 1) % 3, (i - 2) % 3
        rows[now, 0] = i
        for j in range(1, m + 1):
            cost = 0 if a[i - 1] == b[j - 1] else 1
            least = min(rows[before, j] + 1, rows[now, j - 1] + 1, rows[before, j - 1] + cost)
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                least = min(least, rows[earlier, j - 2] + 1)
            rows[now, j] = least
    return min(int(rows[n % 3, m]), most + 1)
