"""Find the text of an extracted article in the raw page, character by character.

The page is scanned independently: without tags, comments, scripts, styles, whitespace and invisible
characters, and with entities decoded, it is one line of visible characters, and so is each
extracted block. A block is searched for in the line after the block before it, then anywhere, then
piece by piece. Text that the extractor made up, or took from an attribute, is not found.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from palimpsest.ingest.text.decode import decode_span
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.kernels.arrays import Bytes, Flags, Positions
from palimpsest.kernels.compiled import kernel
from palimpsest.kernels.unicode import read_character

CodePoints = npt.NDArray[np.uint32]

_ENTITY = re.compile(rb"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[a-zA-Z0-9]{1,32};?)")
"""Possible character references, by the HTML standard (13.2.5.72 and on)."""
_AMPERSAND = ord("&")
_SURE_CHARS = 24
"""Blocks of this length are placed before shorter ones, which may occur in many places."""
_SEED_CHARS = 12
"""Least length of the pieces of a block that does not occur as a whole."""
_REACH_CHARS = 20_000
"""Distance from the last piece within which the next one is searched for first."""
_MAX_PIECES = 200
_MAX_ENTITIES = 200_000
"""Each costs microseconds; a page with more of them is not an article, and is not anchored."""


class Anchors(NamedTuple):
    """The spans of a text's characters in a page.

    Attributes:
        starts, ends: int64, shape (characters of the text,), in bytes of the page as UTF-8; -1
            for those not found.
        is_joined: whether only whitespace is between a character and the one before it.
        is_blank: whether it is whitespace or invisible, and so is not searched for.
    """

    starts: Positions
    ends: Positions
    is_joined: Flags
    is_blank: Flags


class _Line(NamedTuple):
    """The visible characters of a page, in one line.

    Attributes:
        chars: the characters.
        starts, ends: int64, the span of each in the page, in bytes.
        markup_before: int64, bytes of markup before each.
    """

    chars: str
    starts: Positions
    ends: Positions
    markup_before: Positions


_NO_LINE = _Line("", *[np.empty(0, np.int64)] * 3)


def anchor(page: bytes, blocks: Sequence[str]) -> tuple[str, Anchors]:
    """Find blocks in a page.

    Args:
        page: in UTF-8.
        blocks: extracted from it, in the order of the page, each on one line.

    Returns:
        The blocks joined by empty lines, and the spans of their characters.
    """
    text = "\n\n".join(blocks)
    line = _line_of(page) if page.count(b"&") <= _MAX_ENTITIES else _NO_LINE
    points = _points(text)
    is_blank = _is_blank(points)
    visible = np.flatnonzero(~is_blank)
    needles = _text(points[visible])
    lengths = [len(block) + 2 for block in blocks]
    bounds = np.searchsorted(visible, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))
    at = _place(line.chars, needles, bounds.tolist())
    starts, ends = np.full(len(text), -1, np.int64), np.full(len(text), -1, np.int64)
    is_joined = np.zeros(len(text), np.bool_)
    found = np.flatnonzero(at >= 0)
    places = at[found]
    starts[visible[found]], ends[visible[found]] = line.starts[places], line.ends[places]
    follows = np.flatnonzero((np.diff(found) == 1) & (np.diff(places) == 1)) + 1
    same = line.markup_before[places[follows]] == line.markup_before[places[follows] - 1]
    is_joined[visible[found[follows[same]]]] = True
    return text, Anchors(starts, ends, is_joined, is_blank)


def reproduces(raw: bytes, spans: Sequence[tuple[int, int]], encoding: str, text: str) -> bool:
    """Return whether fragments of a page's raw bytes, read by themselves, give a text.

    Args:
        raw: the page.
        spans: of the fragments, in bytes.
        encoding: of the page.
        text: normalised.
    """
    if not all(0 <= start < end <= len(raw) for start, end in spans):
        return False
    try:
        pieces = [html.unescape(decode_span(raw[start:end], encoding)) for start, end in spans]
    except UnicodeDecodeError:
        return False
    return _bare("".join(pieces)) == _bare(text)


def _bare(text: str) -> str:
    points = _points(normalise_text(_visible(text)))
    return _text(points[~_is_blank(points)])


def _visible(text: str) -> str:
    points = _points(text)
    return _text(points[~_is_blank(points)])


def _points(text: str) -> CodePoints:
    return np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)


def _text(points: CodePoints) -> str:
    return points.tobytes().decode("utf-32-le")


@cache
def _blank_table() -> Flags:
    """Return, for the first 65,536 code points, whether each is whitespace or invisible."""
    chars = map(chr, range(0x10000))
    return np.array([char.isspace() or not char.isprintable() for char in chars])


def _is_blank(points: CodePoints) -> Flags:
    is_blank: Flags = _blank_table()[np.minimum(points, 0xFFFF)] & (points < 0x10000)
    return is_blank


def _line_of(page: bytes) -> _Line:
    values, starts, ends, markup = _scan(np.frombuffer(page, np.uint8), _blank_table())
    entities = []
    for place in np.flatnonzero(values == _AMPERSAND).tolist():
        at = int(starts[place])
        found = _ENTITY.match(page, at)
        if found is not None:
            written = found[0].decode("ascii")
            value = html.unescape(written)
            if value != written:
                entities.append((at, found.end(), written, value))
    if not entities:
        return _Line(_text(values), starts, ends, markup)
    return _with_entities(_Line("", starts, ends, markup), values, entities)


def _with_entities(
    line: _Line, values: CodePoints, entities: list[tuple[int, int, str, str]]
) -> _Line:
    """Replace entities by the characters that they stand for."""
    is_kept = np.ones(len(values), np.bool_)
    froms, tos, chars, at = [], [], [], []
    for start, end, written, value in entities:
        while len(written) > 1 and value and value[-1] == written[-1]:
            # `&copy2020` is an entity and four characters
            end, written, value = end - 1, written[:-1], value[:-1]
        first, last = np.searchsorted(line.starts, (start, end)).tolist()
        is_kept[first:last] = False
        for char in value:
            if not char.isspace() and char.isprintable():
                froms.append(start)
                tos.append(end)
                chars.append(ord(char))
                at.append(first)
    places = np.concatenate(([0], np.cumsum(is_kept)))[np.array(at, np.int64)]
    before = line.markup_before[np.array(at, np.int64)]
    return _Line(
        _text(np.insert(values[is_kept], places, np.array(chars, np.uint32))),
        np.insert(line.starts[is_kept], places, froms),
        np.insert(line.ends[is_kept], places, tos),
        np.insert(line.markup_before[is_kept], places, before),
    )


def _place(line: str, needles: str, bounds: list[int]) -> Positions:
    """Return the positions of the blocks' characters in a line; -1 for those not found.

    Args:
        line: the page's visible characters.
        needles: those of the blocks.
        bounds: where each block begins in ``needles``, and where the last ends.
    """
    at = np.full(len(needles), -1, np.int64)
    blocks = list(pairwise(bounds))
    behind: list[int | None] = [None] * len(blocks)
    last = 0
    for number, (start, end) in enumerate(blocks):
        if end - start < _SURE_CHARS:
            continue
        place = _find(line, needles[start:end], last)
        if place >= 0:
            at[start:end] = np.arange(place, place + end - start)
            last = behind[number] = place + end - start
        else:
            last = _place_pieces(line, needles, start, end, last, at)
    last = 0
    for number, (start, end) in enumerate(blocks):
        if behind[number] is not None:
            last = behind[number] or 0
        elif start < end < start + _SURE_CHARS:
            place = _find(line, needles[start:end], last)
            if place >= 0:
                at[start:end] = np.arange(place, place + end - start)
                last = place + end - start
    return at


def _find(line: str, needle: str, last: int) -> int:
    place = line.find(needle, last)
    return place if place >= 0 or last == 0 else line.find(needle)


def _place_pieces(line: str, needles: str, start: int, end: int, last: int, at: Positions) -> int:
    """Place a block piece by piece, as far as it is found; return where the last piece ends."""
    done = start
    for _ in range(_MAX_PIECES):
        seed = min(_SEED_CHARS, end - done)
        if seed == 0:
            break
        piece = needles[done : done + seed]
        place = line.find(piece, last, last + _REACH_CHARS) if done > start else -1
        if place < 0:
            place = _find(line, piece, last)
        if place < 0:
            done += 1  # a character that is not in the page
            continue
        length = seed
        step = end - done - seed
        while step > 0:  # extend the match by bisection
            if line.startswith(needles[done + length : done + length + step], place + length):
                length += step
            step = min(step // 2, end - done - length)
        at[done : done + length] = np.arange(place, place + length)
        done, last = done + length, place + length
    return last


@kernel
def _scan(page: Bytes, is_blank: Flags) -> tuple[CodePoints, Positions, Positions, Positions]:
    """Return the visible characters of a page, their spans, and the markup before each.

    Tags follow the HTML standard: a quoted value of an attribute may contain ``>``.
    """
    n = len(page)
    values = np.empty(n, dtype=np.uint32)  # memory that is never written to is never allocated
    starts = np.empty(n, dtype=np.int64)
    ends = np.empty(n, dtype=np.int64)
    markup = np.empty(n, dtype=np.int64)
    count = 0
    seen = 0
    i = 0
    while i < n:
        c = page[i]
        if c == 60 and i + 1 < n:  # <
            stop = _markup_end(page, i)
            if stop > i:
                seen += stop - i
                i = stop
                continue
        point, size = read_character(page, i)
        if point >= 0x10000 or not is_blank[point]:
            values[count] = point
            starts[count] = i
            ends[count] = i + size
            markup[count] = seen
            count += 1
        i += size
    return values[:count].copy(), starts[:count].copy(), ends[:count].copy(), markup[:count].copy()


@kernel
def _markup_end(page: Bytes, i: int) -> int:
    """Return the end of the markup that ``<`` begins at ``i``; ``i`` if it is not markup."""
    n = len(page)
    following = page[i + 1]
    if following == 33 or following == 63:  # <! <?
        if i + 3 < n and page[i + 2] == 45 and page[i + 3] == 45:
            stop = i + 4
            while stop < n:
                if page[stop] == 62 and page[stop - 1] == 45 and page[stop - 2] == 45:
                    if stop - 2 > i + 1:
                        break
                stop += 1
        else:
            stop = i + 2
            while stop < n and page[stop] != 62:
                stop += 1
        return min(stop + 1, n)
    if 97 <= (following | 32) <= 122 or following == 47:
        stop = _tag_end(page, i + 1)
        if following != 47:
            stop = _raw_end(page, i + 1, stop)
        return min(stop, n)
    return i


@kernel
def _tag_end(page: Bytes, i: int) -> int:
    """Return the end of a tag whose name begins at ``i``."""
    n = len(page)
    while i < n:
        while i < n and page[i] != 62 and page[i] != 61:
            i += 1
        if i >= n or page[i] == 62:
            return i + 1
        i += 1  # after =
        while i < n and (page[i] == 32 or 9 <= page[i] <= 13):
            i += 1
        if i < n and (page[i] == 34 or page[i] == 39):
            quote = i
            i += 1
            while i < n and page[i] != page[quote]:
                i += 1
            i = i + 1 if i < n else quote + 1  # an unclosed quote is an ordinary character
    return n


@kernel
def _raw_end(page: Bytes, name: int, stop: int) -> int:
    """Return the end of the content of a script, style sheet or title; ``stop`` for others."""
    if _is_name(page, name, "script"):
        length = 6
    elif _is_name(page, name, "style") or _is_name(page, name, "title"):
        length = 5
    else:
        return stop
    n = len(page)
    i = stop
    while i + length + 1 < n:
        if page[i] == 60 and page[i + 1] == 47:
            is_same = True
            for k in range(length):
                if (page[i + 2 + k] | 32) != (page[name + k] | 32):
                    is_same = False
                    break
            if is_same:
                return i
        i += 1
    return n


@kernel
def _is_name(page: Bytes, at: int, name: str) -> bool:
    n = len(page)
    for k in range(len(name)):
        if at + k >= n or (page[at + k] | 32) != ord(name[k]):
            return False
    after = page[at + len(name)] if at + len(name) < n else 62
    return not (97 <= (after | 32) <= 122 or 48 <= after <= 57)
