"""Mark passages in the paragraphs of documents, and the words that differ within them.

Passages are spans in characters of the document, but paragraphs are shown as stored, normalised;
this module maps one to the other. The result is paragraphs cut into segments, which a page or file
shows in sequence.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cache
from itertools import groupby, pairwise
from typing import Any
from unicodedata import category

import numpy as np
import numpy.typing as npt

from palimpsest.inspector.catalogue.words import UNSPACED_SCRIPTS
from palimpsest.kernels.columns import shift_positions

MAX_CELLS = 250_000
"""Two passages are compared word by word if the product of their word counts is at most this.

Larger ones are first split at words that occur once on each side, in the same order; parts that are
still too large are not compared.
"""

Span = tuple[int, int]
"""Half-open, in characters of a document."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A fragment of a paragraph.

    Attributes:
        text: the text as stored.
        passages: numbers of the passages that contain it, ascending.
        is_changed: whether the other side of its first passage has different words here.
        begins: the passages that begin with it.
    """

    text: str
    passages: tuple[int, ...]
    is_changed: bool
    begins: tuple[int, ...]


@dataclass(slots=True)
class _Paragraph:
    """A paragraph with the marks in it.

    Attributes:
        text: the text as stored.
        positions: the position of each character, and of the end, in the document.
        covered: start, end and passage number of each marked span of the text.
        changed: the same for spans with different words on the other side.
    """

    text: str
    positions: npt.NDArray[np.int64]
    covered: list[tuple[int, int, int]] = field(default_factory=list)
    changed: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a passage: its paragraph, its span in the paragraph's text, and its folded form."""

    paragraph: int
    start: int
    end: int
    folded: str


class MarkedDocument:
    """The paragraphs of a document with passages marked in them.

    Args:
        rows: paragraphs in the order of the document: ``text``, ``start_char``, ``shift_at`` and
            ``shift_by``.
        spans: passages in characters of the document; passages are numbered by their index here.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], spans: Sequence[Span]) -> None:
        self._paragraphs = [_Paragraph(row["text"], _positions(row)) for row in rows]
        self._starts = [int(paragraph.positions[0]) for paragraph in self._paragraphs]
        self._ends = [int(paragraph.positions[-1]) for paragraph in self._paragraphs]
        self._spans = spans
        for number, (start, end) in enumerate(spans):
            for paragraph, first, last in self._within(start, end):
                self._paragraphs[paragraph].covered.append((first, last, number))

    def segments(self) -> list[list[Segment]]:
        """Return the segments of each paragraph; joined they are its text."""
        begun: set[int] = set()
        return [list(_segments(paragraph, begun)) for paragraph in self._paragraphs]

    def passage(self, number: int) -> list[list[Segment]]:
        """Return the segments of a passage, grouped by paragraph."""
        by_paragraph = (
            [segment for segment in segments if number in segment.passages]
            for segments in self.segments()
        )
        return [segments for segments in by_paragraph if segments]

    def compare_with(self, other: MarkedDocument) -> None:
        """Mark in both documents the words of each passage that the other side does not have."""
        for number in range(len(self._spans)):
            words = list(self._words(number)), list(other._words(number))
            folded = [[word.folded for word in side] for side in words]
            is_swapped = folded[1] < folded[0]  # makes the result independent of the sides
            for spans in differences(*(reversed(folded) if is_swapped else folded)):
                own_span, other_span = reversed(spans) if is_swapped else spans
                self._mark_changed(number, words[0][slice(*own_span)])
                other._mark_changed(number, words[1][slice(*other_span)])

    def coverage(self) -> list[int]:
        """Return the number of characters of each paragraph that are in a passage."""
        return [
            sum(len(segment.text) for segment in segments if segment.passages)
            for segments in self.segments()
        ]

    def _within(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield the paragraphs of a span of the document, each with the span in its text."""
        for number in range(bisect_right(self._ends, start), bisect_left(self._starts, end)):
            paragraph = self._paragraphs[number]
            bounds = np.searchsorted(paragraph.positions, [start, end])
            first, last = (int(min(bound, len(paragraph.text))) for bound in bounds)
            if first < last:
                yield number, first, last

    def _words(self, number: int) -> Iterator[_Word]:
        for paragraph, first, last in self._within(*self._spans[number]):
            text = self._paragraphs[paragraph].text
            for word in _words_pattern().finditer(text, first, last):
                yield _Word(paragraph, word.start(), word.end(), word.group().casefold())

    def _mark_changed(self, number: int, words: Sequence[_Word]) -> None:
        """Mark consecutive words as one changed span in each paragraph."""
        for paragraph, group in groupby(words, key=lambda word: word.paragraph):
            changed = list(group)
            self._paragraphs[paragraph].changed.append((changed[0].start, changed[-1].end, number))


@cache
def _words_pattern() -> re.Pattern[str]:
    """Return the pattern of a word: letters, digits and combining marks, or a single character.

    Single characters are words in scripts without spaces.
    """
    marks = "".join(
        f"\\U{code:08x}" for code in range(0x300, 0x20000) if category(chr(code))[0] == "M"
    )
    letter = f"[^\\W_{UNSPACED_SCRIPTS}]"
    return re.compile(f"[{UNSPACED_SCRIPTS}]|{letter}+(?:[{marks}]+{letter}*)*")


def differences(left: Sequence[str], right: Sequence[str]) -> Iterator[tuple[Span, Span]]:
    """Yield where two passages differ, in order.

    Args:
        left, right: words of the two passages.

    Yields:
        spans of words of both sides that replace one another; one of them may be empty.

    Example:
        >>> list(differences("a red cat sat".split(), "a cat sat down".split()))
        [((1, 2), (1, 1)), ((4, 4), (3, 4))]
    """
    anchors = [(0, 0)]
    if len(left) * len(right) > MAX_CELLS:
        anchors += _anchors(left, right)
    for (left_first, right_first), (left_last, right_last) in pairwise(
        [*anchors, (len(left), len(right))]
    ):
        if (left_last - left_first) * (right_last - right_first) > MAX_CELLS:
            continue
        matcher = SequenceMatcher(
            None, left[left_first:left_last], right[right_first:right_last], autojunk=False
        )
        for tag, left_start, left_end, right_start, right_end in matcher.get_opcodes():
            if tag != "equal":
                left_span = left_first + left_start, left_first + left_end
                yield left_span, (right_first + right_start, right_first + right_end)


def _anchors(left: Sequence[str], right: Sequence[str]) -> list[Span]:
    """Return the longest chain of words that occur once on each side, in the same order.

    This is patience diff: the longest increasing subsequence of their positions.
    """
    unique = [{word for word, n in Counter(side).items() if n == 1} for side in (left, right)]
    shared = unique[0] & unique[1]
    positions = {word: at for at, word in enumerate(right) if word in shared}
    pairs = [(at, positions[word]) for at, word in enumerate(left) if word in shared]
    lasts: list[int] = []  # last right position of the best chain of each length
    ends: list[int] = []  # the pair at that position
    predecessors: list[int] = []
    for number, (_, right_at) in enumerate(pairs):
        length = bisect_left(lasts, right_at)
        predecessors.append(ends[length - 1] if length else -1)
        lasts[length : length + 1] = [right_at]
        ends[length : length + 1] = [number]
    chain, number = [], ends[-1] if ends else -1
    while number >= 0:
        chain.append(pairs[number])
        number = predecessors[number]
    return chain[::-1]


def _positions(row: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    shift_at, shift_by = (np.array(row[name], np.int32) for name in ("shift_at", "shift_by"))
    characters = np.arange(len(row["text"]) + 1)
    return shift_positions(characters, shift_at, shift_by, row["start_char"])


def _segments(paragraph: _Paragraph, begun: set[int]) -> Iterator[Segment]:
    """Yield the segments of a paragraph.

    Args:
        paragraph: with its marks.
        begun: numbers of the passages met in earlier segments; new ones are added.
    """
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
