"""Distinct texts with their words and windows as flat columns, the form that matching needs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from palimpsest.dedup.signatures import Windows, cut_windows, hash_bands
from palimpsest.dedup.words import Words, find_words
from palimpsest.kernels.arrays import Bytes, Hashes, Positions
from palimpsest.kernels.columns import bytes_of, digests_of, gather_spans, string_array, take_spans
from palimpsest.kernels.sorting import find_digests, first_of_each
from palimpsest.records.settings import Settings


class Texts(NamedTuple):
    """Distinct texts, sorted by digest.

    Attributes:
        digests: uint8, shape (texts, 16).
        buffer: uint8, the texts as UTF-8, text after text.
        offsets: int64, shape (texts + 1,), in bytes of ``buffer``.
    """

    digests: Bytes
    buffer: Bytes
    offsets: Positions

    def strings(self, numbers: Positions | None = None) -> pa.ChunkedArray:
        """Return the texts with these numbers, or all, as Arrow strings."""
        starts, ends = self.offsets[:-1], self.offsets[1:]
        if numbers is not None:
            starts, ends = starts[numbers], ends[numbers]
        return string_array(self.buffer, starts, ends)

    def take(self, numbers: Positions) -> Texts:
        """Return the texts with these numbers, which must be ascending."""
        starts, ends = self.offsets[:-1][numbers], self.offsets[1:][numbers]
        return Texts(self.digests[numbers], *take_spans(self.buffer, starts, ends))


def distinct_texts(digests: Bytes, buffer: Bytes, starts: Positions, ends: Positions) -> Texts:
    """Return the distinct texts of many spans.

    Args:
        digests: uint8, shape (spans, 16), of the text in each span.
        buffer: uint8, UTF-8.
        starts, ends: int64, shape (spans,), in bytes of ``buffer``.
    """
    firsts = first_of_each(digests)
    return Texts(digests[firsts], *take_spans(buffer, starts[firsts], ends[firsts]))


def texts_of(ids: pa.Array, strings: pa.Array) -> Texts:
    """Return distinct texts from their hexadecimal ids and the texts themselves."""
    buffer, offsets = bytes_of(strings)
    return distinct_texts(digests_of(ids), buffer, offsets[:-1], offsets[1:])


def merge_texts(parts: list[Texts]) -> tuple[Texts, Positions]:
    """Return the distinct texts of several parts, and where each came from.

    Returns:
        the texts; and int64, shape (texts,), the number of each among all texts of the parts.
    """
    digests = np.concatenate([part.digests for part in parts])
    firsts = first_of_each(digests)
    spans = TextSpans.of([part.offsets for part in parts], firsts)
    return Texts(digests[firsts], *spans.take([part.buffer for part in parts])), firsts


def split_texts(texts: Texts, parts: int) -> list[Texts]:
    """Split texts, in the same order, into ``parts`` parts of about equal size in bytes."""
    targets = np.arange(1, parts) * (len(texts.buffer) // parts)
    bounds = [0, *np.searchsorted(texts.offsets, targets).tolist(), len(texts.digests)]
    split = []
    for first, last in pairwise(bounds):
        offsets = texts.offsets[first : last + 1]
        buffer = texts.buffer[offsets[0] : offsets[-1]]
        split.append(Texts(texts.digests[first:last], buffer, offsets - offsets[0]))
    return split


def numbers_of(texts: Texts, digests: Bytes) -> Positions:
    """Return the numbers of texts by their digests, -1 for unknown ones: int64."""
    return find_digests(texts.digests, digests)


class TextSpans(NamedTuple):
    """Spans of selected texts in the columns of several parts, in bytes, words or windows.

    Attributes:
        part: int64, shape (texts,): the number of the part that each text is in.
        starts, ends: int64, shape (texts,): its span in a column of that part.
    """

    part: Positions
    starts: Positions
    ends: Positions

    @classmethod
    def of(cls, offsets: Sequence[Positions], numbers: Positions) -> TextSpans:
        """Return the spans of texts by their numbers among all texts of the parts.

        Args:
            offsets: for each part int64, shape (texts + 1,), of its texts in the column.
            numbers: int64, of the selected texts.
        """
        firsts = np.cumsum([0, *(len(of_part) - 1 for of_part in offsets)])
        part = np.searchsorted(firsts, numbers, side="right") - 1
        starts = np.concatenate([of_part[:-1] for of_part in offsets])[numbers]
        ends = np.concatenate([of_part[1:] for of_part in offsets])[numbers]
        return cls(part, starts, ends)

    def at(self, numbers: Positions) -> TextSpans:
        """Return the spans of some of the texts."""
        return TextSpans(self.part[numbers], self.starts[numbers], self.ends[numbers])

    def take(self, columns: Sequence[npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], Positions]:
        """Return the values in the spans of the parts' columns, and their offsets."""
        return gather_spans(columns, *self)


class SignedTexts(NamedTuple):
    """What matching needs of texts: their words, and their windows with the hashes of the bands.

    Attributes:
        words: of all texts.
        windows: of all texts.
        bands: uint32, shape (windows, bands), hashes.
    """

    words: Words
    windows: Windows
    bands: Hashes


def sign_texts(texts: Texts, settings: Settings) -> SignedTexts:
    """Cut texts into words and windows, and sign the windows."""
    words = find_words(texts.buffer, texts.offsets[:-1], texts.offsets[1:])
    windows = cut_windows(words, settings.sign)
    return SignedTexts(words, windows, hash_bands(windows, settings.sign))


def take_windows(parts: Sequence[SignedTexts], numbers: Positions) -> tuple[Windows, Hashes]:
    """Return the windows of texts, in the order of ``numbers``, and the hashes of their bands.

    Args:
        parts: the texts.
        numbers: int64, of the selected texts among all texts of the parts.
    """
    windows = [part.windows for part in parts]
    firsts = [
        np.searchsorted(of_part.texts, np.arange(len(part.words.offsets)))
        for of_part, part in zip(windows, parts, strict=True)
    ]
    spans = TextSpans.of(firsts, numbers)
    bands, offsets = spans.take([part.bands for part in parts])
    shift = np.cumsum([0, *(len(of_part.shingles) for of_part in windows)])[spans.part]
    per_text = np.diff(offsets)
    starts, ends = (
        spans.take([getattr(of_part, name) for of_part in windows])[0] + np.repeat(shift, per_text)
        for name in ("starts", "ends")
    )
    shingles = np.concatenate([of_part.shingles for of_part in windows])
    return Windows(shingles, np.repeat(np.arange(len(numbers)), per_text), starts, ends), bands
