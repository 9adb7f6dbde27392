"""Mark passages in the paragraphs of documents, and the words that differ within them.

Passages are told in characters of the document, paragraphs are shown as they are kept, normalised;
here one is led to the other. What comes out are paragraphs cut into segments, which a page or a
file shows one behind the other.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cache
from itertools import pairwise
from typing import Any
from unicodedata import category

import numpy as np
import numpy.typing as npt

from palimpsest.inspector.catalogue.words import UNSPACED_SCRIPTS
from palimpsest.kernels.columns import shift_positions

MAX_CELLS = 250_000
"""Passages are compared word by word if the words of one times those of the other are no more.

Larger ones are first parted at the words that stand once on both sides, in the same order; what
has no such word and is too large still is not compared.
"""

Span = tuple[int, int]
"""Half-open, in characters of a document."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a paragraph.

    Attributes:
        text: as it is kept.
        passages: numbers of the passages that it is in, ascending.
        is_changed: the other side of its first passage has other words there.
        begins: of the passages, those that begin with it.
    """

    text: str
    passages: tuple[int, ...]
    is_changed: bool
    begins: tuple[int, ...]


@dataclass(slots=True)
class _Paragraph:
    """A paragraph with where each of its characters stands in the document."""

    text: str
    places: npt.NDArray[np.int64]
    covered: list[tuple[int, int, int]] = field(default_factory=list)
    changed: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a passage: its paragraph, where it stands in its text, and how it is compared."""

    paragraph: int
    start: int
    end: int
    folded: str


class MarkedDocument:
    """The paragraphs of a document with passages marked in them.

    Args:
        rows: of paragraphs in order: ``text``, ``start_char``, ``shift_at`` and ``shift_by``.
        spans: of passages, in characters of the document; their numbers are their places here.

    Paragraphs follow one another in the document.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], spans: Sequence[Span]) -> None:
        self._paragraphs = [_Paragraph(row["text"], _places(row)) for row in rows]
        self._starts = [int(one.places[0]) for one in self._paragraphs]
        self._ends = [int(one.places[-1]) for one in self._paragraphs]
        self._spans = spans
        for number, (start, end) in enumerate(spans):
            for paragraph, first, last in self._within(start, end):
                self._paragraphs[paragraph].covered.append((first, last, number))

    def segments(self) -> list[list[Segment]]:
        """Return the segments of each paragraph; joined they are its text."""
        begun: set[int] = set()
        return [list(_cut(paragraph, begun)) for paragraph in self._paragraphs]

    def passage(self, number: int) -> list[list[Segment]]:
        """Return the segments of a passage, those of each paragraph that it is in together."""
        within = ([one for one in cut if number in one.passages] for cut in self.segments())
        return [cut for cut in within if cut]

    def compare_with(self, other: MarkedDocument) -> None:
        """Mark in both documents the words of each passage that the other side does not have."""
        for number in range(len(self._spans)):
            words = list(self._words(number)), list(other._words(number))
            folded = [[one.folded for one in side] for side in words]
            is_turned = folded[1] < folded[0]  # so that it does not matter who is compared
            for spans in differences(*(reversed(folded) if is_turned else folded)):
                mine, theirs = reversed(spans) if is_turned else spans
                self._change(number, words[0][slice(*mine)])
                other._change(number, words[1][slice(*theirs)])

    def coverage(self) -> list[int]:
        """Return how many characters of each paragraph are in a passage."""
        return [sum(len(one.text) for one in cut if one.passages) for cut in self.segments()]

    def _within(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Give the paragraphs of a span, and where in their texts it begins and ends."""
        for number in range(bisect_right(self._ends, start), bisect_left(self._starts, end)):
            paragraph = self._paragraphs[number]
            bounds = np.searchsorted(paragraph.places, [start, end])
            first, last = (int(min(bound, len(paragraph.text))) for bound in bounds)
            if first < last:
                yield number, first, last

    def _words(self, number: int) -> Iterator[_Word]:
        for paragraph, first, last in self._within(*self._spans[number]):
            text = self._paragraphs[paragraph].text
            for word in _words_pattern().finditer(text, first, last):
                yield _Word(paragraph, word.start(), word.end(), word.group().casefold())

    def _change(self, number: int, words: Sequence[_Word]) -> None:
        """Mark words that stand together as one stretch in each paragraph."""
        for paragraph in sorted({word.paragraph for word in words}):
            here = [word for word in words if word.paragraph == paragraph]
            self._paragraphs[paragraph].changed.append((here[0].start, here[-1].end, number))


@cache
def _words_pattern() -> re.Pattern[str]:
    """Return what a word is: letters, digits and the signs on them, or a character by itself."""
    signs = "".join(
        f"\\U{code:08x}" for code in range(0x300, 0x20000) if category(chr(code))[0] == "M"
    )
    letter = f"[^\\W_{UNSPACED_SCRIPTS}]"
    return re.compile(f"[{UNSPACED_SCRIPTS}]|{letter}+(?:[{signs}]+{letter}*)*")


def differences(mine: Sequence[str], theirs: Sequence[str]) -> Iterator[tuple[Span, Span]]:
    """Give where two passages differ: the words of each that stand for one another.

    Args:
        mine, theirs: their words.

    Yields:
        spans in words of both, of which one may be empty; in order.

    Example:
        >>> list(differences("a red cat sat".split(), "a cat sat down".split()))
        [((1, 2), (1, 1)), ((4, 4), (3, 4))]
    """
    anchors = [(0, 0)]
    if len(mine) * len(theirs) > MAX_CELLS:
        anchors += _anchors(mine, theirs)
    for (first, other_first), (last, other_last) in pairwise([*anchors, (len(mine), len(theirs))]):
        if (last - first) * (other_last - other_first) > MAX_CELLS:
            continue
        matcher = SequenceMatcher(
            None, mine[first:last], theirs[other_first:other_last], autojunk=False
        )
        for tag, begin, end, other_begin, other_end in matcher.get_opcodes():
            if tag != "equal":
                here = first + begin, first + end
                yield here, (other_first + other_begin, other_first + other_end)


def _anchors(mine: Sequence[str], theirs: Sequence[str]) -> list[Span]:
    """Return where words stand that both sides have once: as many as follow in the same order."""
    once = [{word for word, n in Counter(side).items() if n == 1} for side in (mine, theirs)]
    shared = once[0] & once[1]
    places = {word: at for at, word in enumerate(theirs) if word in shared}
    pairs = [(at, places[word]) for at, word in enumerate(mine) if word in shared]
    lasts: list[int] = []  # of the best sequence of each length, the last place on the other side
    ends: list[int] = []  # which pair that is
    before: list[int] = []
    for number, (_, other) in enumerate(pairs):
        length = bisect_left(lasts, other)
        before.append(ends[length - 1] if length else -1)
        lasts[length : length + 1] = [other]
        ends[length : length + 1] = [number]
    chain, at = [], ends[-1] if ends else -1
    while at >= 0:
        chain.append(pairs[at])
        at = before[at]
    return chain[::-1]


def _places(row: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    shift_at, shift_by = (np.array(row[name], np.int32) for name in ("shift_at", "shift_by"))
    every = np.arange(len(row["text"]) + 1)
    return shift_positions(every, shift_at, shift_by, row["start_char"])


def _cut(paragraph: _Paragraph, begun: set[int]) -> Iterator[Segment]:
    """Give the segments of a paragraph; a passage begins where it is met for the first time."""
    marks = (*paragraph.covered, *paragraph.changed)
    edges = sorted({0, len(paragraph.text), *(edge for mark in marks for edge in mark[:2])})
    for start, end in pairwise(edges):
        passages = tuple(
            sorted(number for first, last, number in paragraph.covered if first <= start < last)
        )
        is_changed = any(
            first <= start < last and number == passages[0]
            for first, last, number in paragraph.changed
            if passages
        )
        begins = tuple(number for number in passages if number not in begun)
        begun.update(begins)
        yield Segment(paragraph.text[start:end], passages, is_changed, begins)
