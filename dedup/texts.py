"""Texts with their words and windows, in the form that matching takes them: flat columns."""

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
        buffer: uint8, the texts as UTF-8, one behind the other.
        offsets: int64, shape (texts + 1,), in bytes of ``buffer``.
    """

    digests: Bytes
    buffer: Bytes
    offsets: Positions

    def strings(self, numbers: Positions | None = None) -> pa.ChunkedArray:
        """Return some texts, or all, as Arrow strings."""
        starts, ends = self.offsets[:-1], self.offsets[1:]
        if numbers is not None:
            starts, ends = starts[numbers], ends[numbers]
        return string_array(self.buffer, starts, ends)

    def take(self, numbers: Positions) -> Texts:
        """Return some texts, by ascending numbers."""
        starts, ends = self.offsets[:-1][numbers], self.offsets[1:][numbers]
        return Texts(self.digests[numbers], *take_spans(self.buffer, starts, ends))


def distinct_texts(digests: Bytes, buffer: Bytes, starts: Positions, ends: Positions) -> Texts:
    """Return each of many texts once.

    Args:
        digests: uint8, shape (spans, 16), of the texts in the spans.
        buffer: uint8, UTF-8.
        starts, ends: int64, shape (spans,), in bytes of ``buffer``.
    """
    firsts = first_of_each(digests)
    return Texts(digests[firsts], *take_spans(buffer, starts[firsts], ends[firsts]))


def texts_of(ids: pa.Array, strings: pa.Array) -> Texts:
    """Return texts from their ids in hex and the texts themselves."""
    buffer, offsets = bytes_of(strings)
    return distinct_texts(digests_of(ids), buffer, offsets[:-1], offsets[1:])


def merge_texts(parts: list[Texts]) -> tuple[Texts, Positions]:
    """Return the texts of several parts, each once, and which text of all parts each one is.

    Returns:
        the texts; and int64, shape (texts,), numbers into the parts one behind the other.
    """
    digests = np.concatenate([part.digests for part in parts])
    firsts = first_of_each(digests)
    places = TextSpans.of([part.offsets for part in parts], firsts)
    return Texts(digests[firsts], *places.take([part.buffer for part in parts])), firsts


def split_texts(texts: Texts, parts: int) -> list[Texts]:
    """Return texts in so many parts of about as many bytes, in the same order."""
    aims = np.arange(1, parts) * (len(texts.buffer) // parts)
    bounds = [0, *np.searchsorted(texts.offsets, aims).tolist(), len(texts.digests)]
    cut = []
    for first, last in pairwise(bounds):
        offsets = texts.offsets[first : last + 1]
        buffer = texts.buffer[offsets[0] : offsets[-1]]
        cut.append(Texts(texts.digests[first:last], buffer, offsets - offsets[0]))
    return cut


def numbers_of(texts: Texts, digests: Bytes) -> Positions:
    """Return the numbers of texts by their digests; -1 for a text that is not there."""
    return find_digests(texts.digests, digests)


class TextSpans(NamedTuple):
    """Where the spans of chosen texts are in several parts, in bytes, words or windows.

    Attributes:
        part: int64, shape (texts,): the part that each is in.
        starts, ends: int64, shape (texts,): its span in that part.
    """

    part: Positions
    starts: Positions
    ends: Positions

    @classmethod
    def of(cls, offsets: Sequence[Positions], numbers: Positions) -> TextSpans:
        """Return the places of texts by their numbers in the parts one behind the other.

        Args:
            offsets: of the texts of each part.
            numbers: of the texts that are chosen.
        """
        firsts = np.cumsum([0, *(len(one) - 1 for one in offsets)])
        part = np.searchsorted(firsts, numbers, side="right") - 1
        starts = np.concatenate([one[:-1] for one in offsets])[numbers]
        ends = np.concatenate([one[1:] for one in offsets])[numbers]
        return cls(part, starts, ends)

    def at(self, numbers: Positions) -> TextSpans:
        """Return the places of some of the texts."""
        return TextSpans(self.part[numbers], self.starts[numbers], self.ends[numbers])

    def take(self, columns: Sequence[npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], Positions]:
        """Return what the columns of the parts have there, and its offsets by text."""
        return gather_spans(columns, *self)


class SignedTexts(NamedTuple):
    """What matching needs of texts: their words, and their windows with the bands hashed.

    Attributes:
        words: of all texts.
        windows: of all texts.
        bands: uint32, shape (windows, bands).
    """

    words: Words
    windows: Windows
    bands: Hashes


def sign_texts(texts: Texts, settings: Settings) -> SignedTexts:
    """Find the words and windows of texts, and sign the windows."""
    words = find_words(texts.buffer, texts.offsets[:-1], texts.offsets[1:])
    windows = cut_windows(words, settings.sign)
    return SignedTexts(words, windows, hash_bands(windows, settings.sign))


def take_windows(parts: Sequence[SignedTexts], numbers: Positions) -> tuple[Windows, Hashes]:
    """Return windows and bands of the texts with these numbers into the parts, in that order."""
    held = [part.windows for part in parts]
    firsts = [
        np.searchsorted(one.texts, np.arange(len(part.words.offsets)))
        for one, part in zip(held, parts, strict=True)
    ]
    places = TextSpans.of(firsts, numbers)
    bands, offsets = places.take([part.bands for part in parts])
    shift = np.cumsum([0, *(len(one.shingles) for one in held)])[places.part]
    per_text = np.diff(offsets)
    starts, ends = (
        places.take([getattr(one, name) for one in held])[0] + np.repeat(shift, per_text)
        for name in ("starts", "ends")
    )
    shingles = np.concatenate([one.shingles for one in held])
    return Windows(shingles, np.repeat(np.arange(len(numbers)), per_text), starts, ends), bands
