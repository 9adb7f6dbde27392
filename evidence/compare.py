"""Compare two files without an archive: every text of one with every text of the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palimpsest.dedup.alignment import align_pairs, score_words
from palimpsest.dedup.candidates import (
    Crowds,
    PairedTexts,
    merge_candidates,
    pair_band,
    sketch_windows,
    sort_buckets,
    unpack_pairs,
)
from palimpsest.dedup.clusters import relate_passages
from palimpsest.dedup.texts import Texts, distinct_texts, numbers_of, sign_texts
from palimpsest.dedup.words import Words, find_words
from palimpsest.ingest.batch import Batch, read_batch
from palimpsest.ingest.finding.discover import status_of
from palimpsest.ingest.pages.page import NOWHERE
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.kernels.arrays import Positions
from palimpsest.kernels.columns import count_characters, shift_positions, string_array
from palimpsest.kernels.sorting import halves_of
from palimpsest.records.errors import SettingsError, SourceError
from palimpsest.records.settings import MERGE_GAP_CHARS, MIN_EXACT_WORDS, Settings

MAX_PAIRS = 4_000_000
"""Above so many pairs of texts, only those that share a bucket are aligned."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two files.

    Attributes:
        path: as it was named.
        batch: what was read of it: one document.
    """

    path: str
    batch: Batch

    def document(self) -> dict[str, Any]:
        """Return the document's row of ``documents``, as far as it is known without an archive."""
        [row] = self.batch.documents.to_pylist()
        told: dict[str, Any] = row
        return told

    def facts(self) -> dict[str, Any]:
        """Return what is known of the file and of the document in it."""
        document = self.document()
        names = ("document_id", "sha256", "encoding", "encoding_from", "title", "characters")
        source = self.batch.sources.column("uri")[0].as_py()
        facts = {name: document[name] for name in (*names, "bytes", "paragraphs")}
        return {"path": self.path, "uri": source, **facts}

    def paragraphs(self) -> list[dict[str, Any]]:
        """Return the paragraphs in order: their row of ``occurrences``, and ``text``."""
        texts = self.batch.texts
        strings = string_array(texts.buffer, texts.starts, texts.ends).to_pylist()
        rows = self.batch.occurrences.to_pylist()
        return [row | {"text": text} for row, text in zip(rows, strings, strict=True)]

    def in_document(self, paragraph: int, position: int) -> int:
        """Return where a position of a paragraph's text stands in the document, in characters."""
        row = self.batch.occurrences.slice(paragraph, 1).to_pylist()[0]
        at = np.array(row["shift_at"], dtype=np.int32)
        by = np.array(row["shift_by"], dtype=np.int32)
        return int(shift_positions(np.array([position]), at, by, row["start_char"])[0])

    def count_words(self, start_char: int, end_char: int) -> int:
        """Return how many words are in a stretch of the document."""
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
        places = document.way_back.places(utf8, chars)
        has_anchor = places.starts[0] != NOWHERE
        return {
            "start_char": start_char,
            "end_char": end_char,
            "start_byte": int(places.starts[0]) if has_anchor else None,
            "end_byte": int(places.ends[0]) if has_anchor else None,
            "text": normalise_text(text[start_char:end_char]),
        }


@dataclass(slots=True)
class Shared:
    """A passage that the two files share, in characters of both documents.

    Attributes:
        left_start, left_end, right_start, right_end: half-open, in characters.
        matched: words that are aligned with an equal one.
        left_words, right_words: words on each side.
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
        """Words matched over words of both sides less those matched."""
        return self.matched / (self.left_words + self.right_words - self.matched)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two files, and the passages that they share in the order of the left one."""

    left: Side
    right: Side
    found: list[Shared]
    fold_share: float

    def passages(self) -> list[dict[str, Any]]:
        """Return the passages as ``compare_files`` does."""
        sizes = [[one.matched, one.left_words, one.right_words] for one in self.found]
        matched, left, right = np.array(sizes, dtype=np.int64).reshape(-1, 3).T
        relations = relate_passages(matched, left, right, self.fold_share)
        return [
            {
                "left": self.left.span(one.left_start, one.left_end),
                "right": self.right.span(one.right_start, one.right_end),
                "matched_words": one.matched,
                "resemblance": round(one.resemblance, 4),
                "relation": str(relation),
            }
            for one, relation in zip(self.found, relations, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values: see ``compare_files``."""
        left, right = self.left.facts(), self.right.facts()
        return {"left": left, "right": right, "passages": self.passages()}


def compare_files(left: str, right: str, settings: Settings | None = None) -> dict[str, Any]:
    """Return what two files share, in the order of the left one.

    Returns:
        ``left`` and ``right``: facts of each file; ``passages``: for each its ``left`` and
        ``right`` span (``start_char``, ``end_char``, ``start_byte``, ``end_byte``, ``text``),
        ``matched_words``, ``resemblance`` and ``relation``.

    Raises:
        SettingsError: a file cannot be read.
    """
    return read_and_compare(left, right, settings).to_dict()


def read_and_compare(left: str, right: str, settings: Settings | None = None) -> Comparison:
    """Return two files with what they share.

    Raises:
        SettingsError: a file cannot be read.
    """
    settings = settings or Settings()
    sides = Side(left, _read(left, settings)), Side(right, _read(right, settings))
    found = _merged(_shared(*sides, settings), *sides)
    return Comparison(*sides, found, settings.align.fold_share)


def _read(path: str, settings: Settings) -> Batch:
    try:
        found = status_of(str(Path(path).absolute()))
    except SourceError as error:
        detail = "no such file" if error.reason == "vanished" else error.detail
        raise SettingsError([f"{path}: {detail}"]) from error
    batch = read_batch([found], settings.read)
    if batch.rejects.num_rows:
        reject = batch.rejects.to_pylist()[0]
        raise SettingsError([f"{path}: {reject['reason']}: {reject['detail']}"])
    if batch.documents.num_rows != 1 or batch.containers.num_rows:
        raise SettingsError(
            [f"{path}: holds {batch.documents.num_rows} documents; name a file that holds one"]
        )
    return batch


def _shared(left: Side, right: Side, settings: Settings) -> list[Shared]:
    """Return the passages of all pairs of paragraphs, whole paragraphs among them."""
    texts = distinct_texts(
        np.concatenate((left.batch.digests, right.batch.digests)),
        np.concatenate((left.batch.texts.buffer, right.batch.texts.buffer)),
        *_both_spans(left.batch, right.batch),
    )
    words = find_words(texts.buffer, texts.offsets[:-1], texts.offsets[1:])
    numbers = numbers_of(texts, left.batch.digests), numbers_of(texts, right.batch.digests)
    found = _exact(left, right, numbers, np.diff(words.offsets))
    firsts, seconds = _pairs(texts, *numbers, settings)
    passages = align_pairs(
        words, score_words(words, settings.align), firsts, seconds, settings.align
    )
    for row in zip(*passages[:6], strict=True):
        pair, left_first, left_last, right_first, right_last, agree = map(int, row)
        spans = (
            _char_span(texts, words, int(firsts[pair]), left_first, left_last),
            _char_span(texts, words, int(seconds[pair]), right_first, right_last),
        )
        sizes = left_last - left_first, right_last - right_first
        for here in np.flatnonzero(numbers[0] == firsts[pair]):
            for there in np.flatnonzero(numbers[1] == seconds[pair]):
                start, end = (left.in_document(int(here), position) for position in spans[0])
                bounds = [right.in_document(int(there), position) for position in spans[1]]
                found.append(Shared(start, end, bounds[0], bounds[1], agree, *sizes))
    return found


def _both_spans(left: Batch, right: Batch) -> tuple[Positions, Positions]:
    shift = len(left.texts.buffer)
    starts = np.concatenate((left.texts.starts, right.texts.starts + shift))
    return starts, np.concatenate((left.texts.ends, right.texts.ends + shift))


def _exact(
    left: Side, right: Side, numbers: tuple[Positions, Positions], sizes: Positions
) -> list[Shared]:
    found = []
    mine, theirs = left.batch.occurrences.to_pylist(), right.batch.occurrences.to_pylist()
    for here, there in zip(*np.nonzero(numbers[0][:, None] == numbers[1][None, :]), strict=True):
        count = int(sizes[numbers[0][here]])
        if count >= MIN_EXACT_WORDS:
            one, other = mine[here], theirs[there]
            bounds = (one["start_char"], one["end_char"], other["start_char"], other["end_char"])
            found.append(Shared(*bounds, count, count, count))
    return found


def _pairs(
    texts: Texts, left: Positions, right: Positions, settings: Settings
) -> tuple[Positions, Positions]:
    """Return the pairs of different texts to align, the first of the left file."""
    mine, theirs = np.unique(left), np.unique(right)
    if len(mine) * len(theirs) <= MAX_PAIRS:
        firsts = np.repeat(mine, len(theirs))
        seconds = np.tile(theirs, len(mine))
    else:
        marked = sign_texts(texts, settings)
        everything = np.ones(len(texts.digests), dtype=np.bool_)
        bands = (sort_buckets(marked.bands[:, band]) for band in range(settings.sign.bands))
        sketches = sketch_windows(marked.windows)
        paired = PairedTexts(everything, halves_of(texts.digests)[0])
        candidates = merge_candidates(
            pair_band(band, marked.windows, sketches, paired, Crowds.none(), settings.sign)
            for band in bands
        )
        one, other = unpack_pairs(candidates.pairs)
        firsts, seconds = np.concatenate((one, other)), np.concatenate((other, one))
        across = np.isin(firsts, mine) & np.isin(seconds, theirs)
        firsts, seconds = firsts[across], seconds[across]
    differ = firsts != seconds
    return firsts[differ], seconds[differ]


def _char_span(texts: Texts, words: Words, number: int, first: int, last: int) -> tuple[int, int]:
    """Return the span of words of a text in characters of it."""
    begin = texts.offsets[number]
    word = words.offsets[number]
    stops = begin + np.array([words.starts[word + first], words.ends[word + last - 1]], np.int64)
    start, end = count_characters(texts.buffer, np.array([begin, begin]), stops)
    return int(start), int(end)


def _merged(found: list[Shared], left: Side, right: Side) -> list[Shared]:
    """Return the passages in order, with neighbours on both sides joined.

    Words between two that are joined count as words of the passage that are not matched.
    """
    merged: list[Shared] = []
    for one in sorted(found, key=lambda f: (f.left_start, f.right_start, f.left_end, f.right_end)):
        last = merged[-1] if merged else None
        if last and all(
            0 <= gap <= MERGE_GAP_CHARS
            for gap in (one.left_start - last.left_end, one.right_start - last.right_end)
        ):
            last.left_words += one.left_words + left.count_words(last.left_end, one.left_start)
            last.right_words += one.right_words + right.count_words(last.right_end, one.right_start)
            last.left_end, last.right_end = one.left_end, one.right_end
            last.matched += one.matched
        else:
            merged.append(one)
    return merged
