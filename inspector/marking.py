"""Mark passages in the paragraphs of documents, and the words that differ within them.

Passages are told in characters of the document, paragraphs are shown as they are kept, normalised;
here one is led to the other. What comes out are paragraphs cut into segments, which a page or a
file shows one behind the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from records.columns import shift_positions

MAX_COMPARED_WORDS = 6_000
"""Of longer passages the differing words are not told: comparing takes the square of it."""

# A word, or a character of a script without blanks.
_WORD = re.compile("[\u0e00-\u0eff\u2e80-\u31ff\u3400-\u9fff\uf900-\ufaff]|[^\\W_]+")

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
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], spans: Sequence[Span]) -> None:
        self._paragraphs = [_Paragraph(row["text"], _places(row)) for row in rows]
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
            mine, theirs = list(self._words(number)), list(other._words(number))
            if not mine or not theirs or max(len(mine), len(theirs)) > MAX_COMPARED_WORDS:
                continue
            matcher = SequenceMatcher(
                None, [one.folded for one in mine], [one.folded for one in theirs], autojunk=False
            )
            for tag, first, last, other_first, other_last in matcher.get_opcodes():
                if tag != "equal":
                    self._change(number, mine[first:last])
                    other._change(number, theirs[other_first:other_last])

    def coverage(self) -> list[int]:
        """Return how many characters of each paragraph are in a passage."""
        return [sum(len(one.text) for one in cut if one.passages) for cut in self.segments()]

    def _within(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Give the paragraphs of a span, and where in their texts it begins and ends."""
        for number, paragraph in enumerate(self._paragraphs):
            if paragraph.places[-1] > start and paragraph.places[0] < end:
                bounds = np.searchsorted(paragraph.places, [start, end])
                first, last = (int(min(bound, len(paragraph.text))) for bound in bounds)
                if first < last:
                    yield number, first, last

    def _words(self, number: int) -> Iterator[_Word]:
        for paragraph, first, last in self._within(*self._spans[number]):
            text = self._paragraphs[paragraph].text
            for word in _WORD.finditer(text, first, last):
                yield _Word(paragraph, word.start(), word.end(), word.group().casefold())

    def _change(self, number: int, words: Sequence[_Word]) -> None:
        """Mark words that stand together as one stretch in each paragraph."""
        for paragraph in sorted({word.paragraph for word in words}):
            here = [word for word in words if word.paragraph == paragraph]
            self._paragraphs[paragraph].changed.append((here[0].start, here[-1].end, number))


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
