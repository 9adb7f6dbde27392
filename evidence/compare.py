"""Compare two files without an archive: each text of one file with each text of the other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from palimpsest.dedup.alignment import align_pairs, score_words
from palimpsest.dedup.candidates import (
    Crowds,
    PairedTexts,
    buckets_of,
    merge_candidates,
    pair_band,
    unpack_pairs,
)
from palimpsest.dedup.clusters import relate_passages
from palimpsest.dedup.headers import are_headers
from palimpsest.dedup.texts import Texts, distinct_texts, numbers_of, sign_texts
from palimpsest.dedup.windows import sketch_windows
from palimpsest.dedup.words import Words, find_words
from palimpsest.ingest.batch import Batch, read_batch
from palimpsest.ingest.finding.discover import status_of
from palimpsest.ingest.pages.page import NOWHERE
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.kernels.arrays import Flags, Positions
from palimpsest.kernels.columns import count_characters, shift_positions, string_array
from palimpsest.kernels.sorting import halves_of
from palimpsest.records.errors import SettingsError, SourceError
from palimpsest.records.settings import MERGE_GAP_CHARS, MIN_EXACT_WORDS, Settings

MAX_PAIRS = 4_000_000
"""Above this number of pairs of texts, only those that share a bucket are aligned."""


@dataclass(frozen=True, slots=True)
class ComparedFile:
    """One of the two files.

    Attributes:
        path: as the caller gave it.
        batch: its contents: one document.
    """

    path: str
    batch: Batch

    def document(self) -> dict[str, Any]:
        """Return the document's row of ``documents``, without columns that need an archive."""
        rows: list[dict[str, Any]] = self.batch.documents.to_pylist()
        return rows[0]

    def facts(self) -> dict[str, Any]:
        """Return facts of the file and of its document."""
        document = self.document()
        names = ("document_id", "sha256", "encoding", "encoding_from", "title", "characters")
        uri = self.batch.sources.column("uri")[0].as_py()
        facts = {name: document[name] for name in (*names, "bytes", "paragraphs")}
        return {"path": self.path, "uri": uri, **facts}

    def paragraphs(self) -> list[dict[str, Any]]:
        """Return the paragraphs in order: their row of ``occurrences``, and ``text``."""
        texts = self.batch.texts
        strings = string_array(texts.buffer, texts.starts, texts.ends).to_pylist()
        rows = self.batch.occurrences.to_pylist()
        return [row | {"text": text} for row, text in zip(rows, strings, strict=True)]

    def document_position(self, paragraph: int, position: int) -> int:
        """Map a position in a paragraph's text to the document, both in characters."""
        row = self.batch.occurrences.slice(paragraph, 1).to_pylist()[0]
        at = np.array(row["shift_at"], dtype=np.int32)
        by = np.array(row["shift_by"], dtype=np.int32)
        return int(shift_positions(np.array([position]), at, by, row["start_char"])[0])

    def count_words(self, start_char: int, end_char: int) -> int:
        """Return the number of words in a span of the document."""
        [document] = self.batch.read
        text = normalise_text(document.text.decode()[start_char:end_char]).encode()
        starts, ends = np.zeros(1, dtype=np.int64), np.array([len(text)], dtype=np.int64)
        return len(find_words(np.frombuffer(text, dtype=np.uint8), starts, ends).hashes)

    def span(self, start_char: int, end_char: int) -> dict[str, Any]:
        """Return a span in characters and bytes, with its text normalised."""
        [document] = self.batch.read
        text = document.text.decode()
        chars = np.array([start_char, end_char], dtype=np.int64)
        utf8 = np.array([len(text[:stop].encode()) for stop in chars], dtype=np.int64)
        places = document.offset_map.places(utf8, chars)
        has_anchor = places.starts[0] != NOWHERE
        return {
            "start_char": start_char,
            "end_char": end_char,
            "start_byte": int(places.starts[0]) if has_anchor else None,
            "end_byte": int(places.ends[0]) if has_anchor else None,
            "text": normalise_text(text[start_char:end_char]),
        }


@dataclass(slots=True, kw_only=True)
class SharedPassage:
    """A passage that the two files share.

    Attributes:
        left_start, left_end, right_start, right_end: half-open, in characters of the documents.
        matched: number of words aligned with an equal word.
        left_words, right_words: number of words on each side.
    """

    left_start: int
    left_end: int
    right_start: int
    right_end: int
    matched: int
    left_words: int
    right_words: int

    @property
    def resemblance(self) -> float:
        """Matched words divided by the words of both sides, counting matched ones once."""
        return self.matched / (self.left_words + self.right_words - self.matched)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two files, and the passages that they share in the order of the left file."""

    left: ComparedFile
    right: ComparedFile
    shared: list[SharedPassage]
    fold_share: float

    def passages(self) -> list[dict[str, Any]]:
        """Return the passages in the form described in ``compare_files``."""
        counts = [[each.matched, each.left_words, each.right_words] for each in self.shared]
        matched, left, right = np.array(counts, dtype=np.int64).reshape(-1, 3).T
        relations = relate_passages(matched, left, right, self.fold_share)
        return [
            {
                "left": self.left.span(passage.left_start, passage.left_end),
                "right": self.right.span(passage.right_start, passage.right_end),
                "matched_words": passage.matched,
                "resemblance": round(passage.resemblance, 4),
                "relation": str(relation),
            }
            for passage, relation in zip(self.shared, relations, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-compatible values; see ``compare_files``."""
        left, right = self.left.facts(), self.right.facts()
        return {"left": left, "right": right, "passages": self.passages()}


def compare_files(left: str, right: str, settings: Settings | None = None) -> dict[str, Any]:
    """Return the passages that two files share, in the order of the left file.

    Returns:
        ``left`` and ``right``: facts of each file; ``passages``: for each its ``left`` and
        ``right`` span (``start_char``, ``end_char``, ``start_byte``, ``end_byte``, ``text``),
        ``matched_words``, ``resemblance`` and ``relation``.

    Raises:
        SettingsError: a file cannot be read.
    """
    return read_and_compare(left, right, settings).to_dict()


def read_and_compare(left: str, right: str, settings: Settings | None = None) -> Comparison:
    """Return two files with the passages that they share.

    Raises:
        SettingsError: a file cannot be read.
    """
    settings = settings or Settings()
    sides = ComparedFile(left, _read(left, settings)), ComparedFile(right, _read(right, settings))
    shared = _merge_neighbours(_shared_passages(*sides, settings), *sides)
    return Comparison(*sides, shared, settings.align.fold_share)


def _read(path: str, settings: Settings) -> Batch:
    try:
        file = status_of(str(Path(path).absolute()))
    except SourceError as error:
        detail = "no such file" if error.reason == "vanished" else error.detail
        raise SettingsError([f"{path}: {detail}"]) from error
    batch = read_batch([file], settings.read)
    if batch.rejects.num_rows:
        reject = batch.rejects.to_pylist()[0]
        raise SettingsError([f"{path}: {reject['reason']}: {reject['detail']}"])
    if batch.documents.num_rows != 1 or batch.containers.num_rows:
        found = f"{path}: found {batch.documents.num_rows} documents"
        raise SettingsError([f"{found}; expected a file with exactly one"])
    return batch


def _shared_passages(
    left: ComparedFile, right: ComparedFile, settings: Settings
) -> list[SharedPassage]:
    """Return the passages of all pairs of paragraphs, including identical paragraphs."""
    texts = distinct_texts(
        np.concatenate((left.batch.digests, right.batch.digests)),
        np.concatenate((left.batch.texts.buffer, right.batch.texts.buffer)),
        *_both_spans(left.batch, right.batch),
    )
    words = find_words(texts.buffer, texts.offsets[:-1], texts.offsets[1:])
    numbers = numbers_of(texts, left.batch.digests), numbers_of(texts, right.batch.digests)
    shared = _identical_paragraphs(
        left,
        right,
        numbers,
        np.diff(words.offsets),
        are_headers(texts.buffer, texts.offsets[:-1], texts.offsets[1:]),
    )
    firsts, seconds = _pairs(texts, *numbers, settings)
    passages = align_pairs(
        words, score_words(words, settings.align), firsts, seconds, settings.align
    )
    for row in zip(*passages[:6], strict=True):
        pair, left_first, left_last, right_first, right_last, matched = map(int, row)
        left_span = _char_span(texts, words, int(firsts[pair]), left_first, left_last)
        right_span = _char_span(texts, words, int(seconds[pair]), right_first, right_last)
        left_places = np.flatnonzero(numbers[0] == firsts[pair]).tolist()
        right_places = np.flatnonzero(numbers[1] == seconds[pair]).tolist()
        for left_place, right_place in product(left_places, right_places):
            shared.append(
                SharedPassage(
                    left_start=left.document_position(left_place, left_span[0]),
                    left_end=left.document_position(left_place, left_span[1]),
                    right_start=right.document_position(right_place, right_span[0]),
                    right_end=right.document_position(right_place, right_span[1]),
                    matched=matched,
                    left_words=left_last - left_first,
                    right_words=right_last - right_first,
                )
            )
    return shared


def _both_spans(left: Batch, right: Batch) -> tuple[Positions, Positions]:
    shift = len(left.texts.buffer)
    starts = np.concatenate((left.texts.starts, right.texts.starts + shift))
    return starts, np.concatenate((left.texts.ends, right.texts.ends + shift))


def _identical_paragraphs(
    left: ComparedFile,
    right: ComparedFile,
    numbers: tuple[Positions, Positions],
    sizes: Positions,
    is_header: Flags,
) -> list[SharedPassage]:
    shared = []
    left_rows = left.batch.occurrences.to_pylist()
    right_rows = right.batch.occurrences.to_pylist()
    identical = np.nonzero(numbers[0][:, None] == numbers[1][None, :])
    for left_place, right_place in zip(*identical, strict=True):
        words = int(sizes[numbers[0][left_place]])
        if words >= MIN_EXACT_WORDS and not is_header[numbers[0][left_place]]:
            shared.append(
                SharedPassage(
                    left_start=left_rows[left_place]["start_char"],
                    left_end=left_rows[left_place]["end_char"],
                    right_start=right_rows[right_place]["start_char"],
                    right_end=right_rows[right_place]["end_char"],
                    matched=words,
                    left_words=words,
                    right_words=words,
                )
            )
    return shared


def _pairs(
    texts: Texts, left: Positions, right: Positions, settings: Settings
) -> tuple[Positions, Positions]:
    """Return the pairs of different texts to align, those of the left file first."""
    left_texts, right_texts = np.unique(left), np.unique(right)
    if len(left_texts) * len(right_texts) <= MAX_PAIRS:
        firsts = np.repeat(left_texts, len(right_texts))
        seconds = np.tile(right_texts, len(left_texts))
    else:
        marked = sign_texts(texts, settings)
        everything = np.ones(len(texts.digests), dtype=np.bool_)
        sketches = sketch_windows(marked.windows)
        paired = PairedTexts(everything, halves_of(texts.digests)[0])
        candidates = merge_candidates(
            pair_band(
                buckets_of(marked.bands, marked.windows, band, settings.sign),
                marked.windows,
                sketches,
                paired,
                Crowds.none(),
                settings.sign.of_band(band),
            )
            for band in range(settings.sign.all_bands)
        )
        one, other = unpack_pairs(candidates.pairs)
        firsts, seconds = np.concatenate((one, other)), np.concatenate((other, one))
        across = np.isin(firsts, left_texts) & np.isin(seconds, right_texts)
        firsts, seconds = firsts[across], seconds[across]
    differ = firsts != seconds
    return firsts[differ], seconds[differ]


def _char_span(texts: Texts, words: Words, number: int, first: int, last: int) -> tuple[int, int]:
    """Return the span of words of a text, in characters of the text."""
    begin = texts.offsets[number]
    word = words.offsets[number]
    stops = begin + np.array([words.starts[word + first], words.ends[word + last - 1]], np.int64)
    start, end = count_characters(texts.buffer, np.array([begin, begin]), stops)
    return int(start), int(end)


def _merge_neighbours(
    shared: list[SharedPassage], left: ComparedFile, right: ComparedFile
) -> list[SharedPassage]:
    """Return the passages in order, merging those that are neighbours on both sides.

    Words between merged passages count as unmatched words.
    """
    merged: list[SharedPassage] = []
    shared = sorted(shared, key=lambda p: (p.left_start, p.right_start, p.left_end, p.right_end))
    for passage in shared:
        last = merged[-1] if merged else None
        if last and all(
            0 <= gap <= MERGE_GAP_CHARS
            for gap in (passage.left_start - last.left_end, passage.right_start - last.right_end)
        ):
            left_gap = left.count_words(last.left_end, passage.left_start)
            right_gap = right.count_words(last.right_end, passage.right_start)
            last.left_words += passage.left_words + left_gap
            last.right_words += passage.right_words + right_gap
            last.left_end, last.right_end = passage.left_end, passage.right_end
            last.matched += passage.matched
        else:
            merged.append(passage)
    return merged
