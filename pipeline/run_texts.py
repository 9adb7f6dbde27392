"""The distinct texts of a run, numbered in the order of their digests.

The hashes of their words are copied into one array, since alignment scans them again and again. The
texts themselves and the offsets of their words are needed only for rows that are written, so they
stay in the parts of batches where they were staged.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from palimpsest.dedup.alignment import ScoredWords, score_parts
from palimpsest.dedup.texts import Texts, TextSpans
from palimpsest.dedup.words import Words
from palimpsest.kernels.arrays import Bytes, Flags, Positions
from palimpsest.kernels.columns import count_characters, gather_strings
from palimpsest.pipeline.read import StagedBatch
from palimpsest.pipeline.staging import load_array, load_arrays, save_arrays
from palimpsest.records.settings import AlignSettings

_IS_ASCII, _PLACES, _WORD_PLACES = "is_ascii.npy", "places", "word-places"
_PARTS = "parts.json"
"""The folders that contain the texts, relative to the folder of the run."""


class WordHashes(NamedTuple):
    """The hashes of the words of all texts, one text after the other.

    Attributes:
        offsets: int64, shape (texts + 1,): the words of text i are at offsets[i]:offsets[i + 1].
        hashes: uint32, shape (words,).
    """

    offsets: Positions
    hashes: npt.NDArray[np.uint32]


def save_run_texts(
    folder: Path,
    parts: Sequence[StagedBatch],
    digests: Bytes,
    staged_numbers: Positions,
    settings: AlignSettings,
) -> None:
    """Write what ``RunTexts`` and ``load_words`` read into ``texts/`` in the folder of a run.

    Args:
        folder: the run's.
        parts: the staged texts.
        digests: uint8, shape (texts, 16), of the texts, sorted.
        staged_numbers: the number of each text among those of all parts.
        settings: the scores of matching words.
    """
    target = folder / "texts"
    texts, words = [part.texts() for part in parts], [part.words() for part in parts]
    word_places = TextSpans.of([one.offsets for one in words], staged_numbers)
    np.save(target / "digests.npy", digests)
    np.save(target / _IS_ASCII, np.concatenate([_are_ascii(one) for one in texts])[staged_numbers])
    save_arrays(TextSpans.of([one.offsets for one in texts], staged_numbers), target / _PLACES)
    save_arrays(word_places, target / _WORD_PLACES)
    names = [os.path.relpath(part.folder, folder) for part in parts]
    (target / _PARTS).write_text(json.dumps(names), encoding="utf-8")
    hashes, offsets = word_places.take([one.hashes for one in words])
    save_arrays(WordHashes(offsets, hashes), target / "words")
    save_arrays(score_parts(words, word_places, settings), target / "ranked")


def _are_ascii(texts: Texts) -> Flags:
    starts, ends = texts.offsets[:-1], texts.offsets[1:]
    is_ascii: Flags = count_characters(texts.buffer, starts, ends) == ends - starts
    return is_ascii


def load_words(folder: Path) -> tuple[WordHashes, ScoredWords]:
    """Map the words of a run's texts, and of these the content words."""
    target = folder / "texts"
    return load_arrays(WordHashes, target / "words"), load_arrays(ScoredWords, target / "ranked")


def load_digests(folder: Path) -> Bytes:
    """Map the digests of a run's texts."""
    return load_array(folder / "texts" / "digests.npy")


@dataclass(frozen=True, slots=True)
class RunTexts:
    """The distinct texts of a run, sorted by digest.

    Attributes:
        digests: uint8, shape (texts, 16).
        is_ascii: bool, shape (texts,).
        buffers: the texts of each part, as UTF-8.
        places: where each text is in these, in bytes.
        words: the words of each part.
        word_places: where those of each text are in these.
    """

    digests: Bytes
    is_ascii: Flags
    buffers: Sequence[Bytes]
    places: TextSpans
    words: Sequence[Words]
    word_places: TextSpans

    @classmethod
    def load(cls, folder: Path) -> RunTexts:
        """Open the texts that ``save_run_texts`` wrote into a run's folder."""
        target = folder / "texts"
        names = json.loads((target / _PARTS).read_text(encoding="utf-8"))
        parts = [StagedBatch(folder / name) for name in names]
        return cls(
            load_digests(folder),
            load_array(target / _IS_ASCII),
            [part.texts().buffer for part in parts],
            load_arrays(TextSpans, target / _PLACES),
            [part.words() for part in parts],
            load_arrays(TextSpans, target / _WORD_PLACES),
        )

    def strings(self, numbers: Positions) -> pa.ChunkedArray:
        """Return some texts as Arrow strings."""
        return gather_strings(self.buffers, *self.places.at(numbers))

    def passages(self, numbers: Positions, starts: Positions, ends: Positions) -> pa.ChunkedArray:
        """Return spans of texts, in bytes from the start of each, as Arrow strings."""
        part, begin, _ = self.places.at(numbers)
        return gather_strings(self.buffers, part, begin + starts, begin + ends)

    def take(self, numbers: Positions) -> Texts:
        """Return some texts, by ascending numbers."""
        return Texts(self.digests[numbers], *self.places.at(numbers).take(self.buffers))

    def sizes(self, numbers: Positions) -> Positions:
        """Return the number of words of each of some texts."""
        _, starts, ends = self.word_places.at(numbers)
        return ends - starts

    def spans(
        self, numbers: Positions, first: Positions, last: Positions
    ) -> tuple[Positions, Positions]:
        """Return where spans begin and end, in bytes from the start of their text.

        Args:
            numbers: int64, shape (spans,), of texts.
            first, last: int64, shape (spans,), words of each, half-open.
        """
        part, begin, _ = self.word_places.at(numbers)
        starts, ends = np.empty_like(begin), np.empty_like(begin)
        for number, words in enumerate(self.words):
            mine = np.flatnonzero(part == number)
            starts[mine] = words.starts[begin[mine] + first[mine]]
            ends[mine] = words.ends[begin[mine] + last[mine] - 1]
        return starts, ends

    def as_characters(self, numbers: Positions, positions: Positions) -> Positions:
        """Return positions in texts in characters, from bytes; the same where a text is ASCII."""
        characters = positions.copy()
        part, begin, _ = self.places.at(numbers)
        other = np.flatnonzero(~self.is_ascii[numbers])
        for number, buffer in enumerate(self.buffers):
            mine = other[part[other] == number]
            stops = begin[mine] + positions[mine]
            characters[mine] = count_characters(buffer, begin[mine], stops)
        return characters
