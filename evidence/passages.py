"""Passages that documents share, computed on request from the documents themselves.

Overlaps of texts say which documents share anything. Such documents are then aligned as a whole
(``dedup.passages``), since passages do not end where paragraphs do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from palimpsest.dedup.clusters import relate_passages
from palimpsest.dedup.passages import DocumentPassages, find_passages
from palimpsest.dedup.texts import Texts, numbers_of, texts_of
from palimpsest.dedup.words import (
    HEADER,
    Numbers,
    Words,
    find_numbers,
    find_sentences,
    find_words,
    stem_words,
)
from palimpsest.evidence.lookup import Lookup, TableLookup
from palimpsest.kernels.arrays import Positions
from palimpsest.kernels.columns import count_characters, digests_of, shift_positions, take_spans
from palimpsest.records.progress import Report, Step, silent
from palimpsest.records.schemas import PARAGRAPH_SEPARATOR, PASSAGES, QUOTED
from palimpsest.records.settings import PassageSettings
from palimpsest.store.archive import Snapshot
from palimpsest.store.views import connect

_ALIGNING = Step("passages", "aligning documents")
SUMMARY = "summary"
BY_DATE, SAME_DATE, UNDATED = "by-date", "same-date", "undated"
"""Why a document is on the left; with the last two values it only comes first by URI."""

PAIRS_AT_ONCE = 2_000
"""Number of pairs of documents whose words are in memory at a time."""

_PAIRS = """
    SELECT least(left_id, right_id) AS one, greatest(left_id, right_id) AS other,
        sum(matched_words)::BIGINT AS matched
    FROM pieces {where} GROUP BY ALL ORDER BY matched DESC, one, other
"""
_PAIR = """
    SELECT least($document, $other) AS one, greatest($document, $other) AS other,
        0::BIGINT AS matched
"""
_ACROSS_SERIES = """
    SELECT p.* FROM ({pairs}) p
    JOIN documents a ON a.document_id = one JOIN documents b ON b.document_id = other
    WHERE coalesce(a.series <> b.series, true) ORDER BY matched DESC, one, other
"""


def document_pairs(
    snapshot: Snapshot,
    document_id: str | None = None,
    other_id: str | None = None,
    *,
    across_series: bool = False,
) -> pa.Table:
    """Return the pairs of documents whose texts overlap, those that share most first.

    Args:
        snapshot: the version to read.
        document_id: only pairs with this document.
        other_id: only the pair of the two, even if no texts overlap.
        across_series: exclude pairs of documents of the same series.

    Returns:
        ``one`` and ``other``, ids, and ``matched``, the number of words that their texts share, or
        0 if both documents were given.
    """
    named = {"document": document_id, "other": other_id}
    named = {name: one for name, one in named.items() if one is not None}
    query = _PAIRS.format(where="WHERE $document IN (left_id, right_id)" if named else "")
    query = _PAIR if other_id else query
    if across_series:
        query = _ACROSS_SERIES.format(pairs=query)
    with connect(snapshot, query) as connection:
        return connection.sql(query, params=named).to_arrow_table()


@dataclass(frozen=True, slots=True)
class PassageFilter:
    """A selection of passages; the defaults select all.

    Attributes:
        document_id: only passages of this document, on either side.
        clear: only passages that are unlikely to be chance.
        without_recurring: exclude text that occurs in many documents.
        min_words: least number of matched words.
        across_series: exclude passages shared by documents of the same series.
        other_id: only passages that ``document_id`` shares with this document.
    """

    document_id: str | None = None
    clear: bool = False
    without_recurring: bool = False
    min_words: int = 0
    across_series: bool = False
    other_id: str | None = None

    def pairs(self, snapshot: Snapshot) -> pa.Table:
        """Return the selected pairs of documents; see ``document_pairs``."""
        ids = self.document_id, self.other_id
        return document_pairs(snapshot, *ids, across_series=self.across_series)

    def select(self, rows: pa.Table) -> pa.Table:
        """Return the selected rows of passages."""
        mask = pc.greater_equal(rows.column("matched_words"), self.min_words)
        if self.clear:
            mask = pc.and_(mask, rows.column("is_clear"))
        if self.without_recurring:
            mask = pc.and_(mask, pc.invert(rows.column("is_recurring")))
        return rows.filter(mask)


def top_passages(
    snapshot: Snapshot,
    selection: PassageFilter | None = None,
    limit: int = 20,
    settings: PassageSettings | None = None,
) -> pa.Table:
    """Return passages of the documents that share most, those with most matching words first.

    Args:
        snapshot: the version to read.
        selection: which passages to return; all by default.
        limit: most passages to return.
        settings: how passages are found; by default by the level of the archive.
    """
    selection = selection or PassageFilter()
    pairs = selection.pairs(snapshot)
    found = PASSAGES.empty_table()
    step = max(limit, 1)
    for first in range(0, pairs.num_rows, step):
        parts = passages_of(snapshot, pairs.slice(first, step), settings)
        found = pa.concat_tables([found, *map(selection.select, parts)])
        if found.num_rows >= limit:
            break
    return _ordered(found).slice(0, limit)


def ranked_passages(
    snapshot: Snapshot,
    selection: PassageFilter | None = None,
    limit: int = 20,
    settings: PassageSettings | None = None,
    *,
    workers: int | None = None,
    report: Report = silent,
) -> Iterator[pa.Table]:
    """Yield passages as they are found, those of the documents that share most first.

    Args:
        snapshot: the version to read.
        selection: which passages to return; all by default.
        limit: most passages to yield. Up to ``PAIRS_AT_ONCE``, they come in one table, longest
            first, as returned by ``top_passages``.
        settings: how passages are found; by default by the level of the archive.
        workers: number of aligning threads (default: CPU count).
        report: called with the progress.

    Yields:
        the passages of some thousand pairs of documents, longest first.
    """
    if limit <= PAIRS_AT_ONCE:
        yield top_passages(snapshot, selection, limit, settings)
        return
    selection, workers = selection or PassageFilter(), workers or os.cpu_count() or 1
    pairs, left = selection.pairs(snapshot), limit
    for first in range(0, pairs.num_rows, PAIRS_AT_ONCE):
        chunk = pairs.slice(first, PAIRS_AT_ONCE)
        parts = passages_of(snapshot, chunk, settings, workers)
        found = _ordered(pa.concat_tables(map(selection.select, parts))).slice(0, left)
        yield found
        report(_ALIGNING, min(first + PAIRS_AT_ONCE, pairs.num_rows), pairs.num_rows)
        left -= found.num_rows
        if not left:
            return


def all_passages(
    snapshot: Snapshot,
    selection: PassageFilter | None = None,
    settings: PassageSettings | None = None,
    *,
    workers: int | None = None,
) -> pa.Table:
    """Return all selected passages in memory, those with most matching words first.

    Args:
        snapshot: the version to read.
        selection: which passages to return; all by default.
        settings: how passages are found; by default by the level of the archive.
        workers: number of aligning threads (default: CPU count).
    """
    selection = selection or PassageFilter()
    workers = workers or os.cpu_count() or 1
    parts = passages_of(snapshot, selection.pairs(snapshot), settings, workers)
    return _ordered(pa.concat_tables([PASSAGES.empty_table(), *map(selection.select, parts)]))


def _ordered(found: pa.Table) -> pa.Table:
    order = [("matched_words", "descending"), ("left_document_id", "ascending")]
    order += [("right_document_id", "ascending"), ("left_start_char", "ascending")]
    return found.sort_by(order)


def iterate_passages(
    snapshot: Snapshot,
    selection: PassageFilter | None = None,
    settings: PassageSettings | None = None,
    *,
    workers: int | None = None,
    around_chars: int = 0,
    report: Report = silent,
) -> Iterator[pa.Table]:
    """Yield all selected passages of an archive, some thousand pairs of documents at a time.

    Args:
        snapshot: the version to read.
        selection: which passages to return; all by default.
        settings: how passages are found; by default by the level of the archive.
        workers: number of aligning threads (default: CPU count).
        around_chars: if not 0, add the columns ``QUOTED`` with this many characters before and
            after each passage.
        report: called with the progress.
    """
    selection = selection or PassageFilter()
    pairs = selection.pairs(snapshot)
    total = -(-pairs.num_rows // PAIRS_AT_ONCE)
    workers = workers or os.cpu_count() or 1
    parts = passages_of(snapshot, pairs, settings, workers, around_chars)
    for number, rows in enumerate(parts, start=1):
        yield selection.select(rows)
        if number % workers == 0:
            report(_ALIGNING, number // workers, total)


def passages_of(
    snapshot: Snapshot,
    pairs: pa.Table,
    settings: PassageSettings | None = None,
    workers: int = 1,
    around_chars: int = 0,
) -> Iterator[pa.Table]:
    """Yield the passages of pairs of documents of a version; see ``align_documents``."""
    return align_documents(TableLookup(snapshot), pairs, settings, workers, around_chars)


def align_documents(
    lookup: Lookup,
    pairs: pa.Table,
    settings: PassageSettings | None = None,
    workers: int = 1,
    around_chars: int = 0,
) -> Iterator[pa.Table]:
    """Yield the passages of pairs of documents, some thousand pairs at a time.

    Args:
        lookup: where the documents are read from.
        pairs: ids in the columns ``one`` and ``other``.
        settings: how passages are found; by default by the level of the archive.
        workers: number of aligning threads.
        around_chars: number of characters around each passage; see ``iterate_passages``.

    Yields:
        tables of schema ``PASSAGES``; the left document is the earlier one (undated ones last),
        then the first by URI.
    """
    archive_settings = lookup.settings()
    settings, align = settings or archive_settings.passages, archive_settings.align
    pairs = pairs.sort_by([("one", "ascending"), ("other", "ascending")])  # few documents at a time
    for first in range(0, pairs.num_rows, PAIRS_AT_ONCE):
        part = pairs.slice(first, PAIRS_AT_ONCE)
        documents = _load(lookup, part, settings)
        left, right = documents.sides(part)
        bounds = np.linspace(0, len(left), workers + 1).astype(np.int64)

        def find(
            worker: int,
            documents: _Documents = documents,
            sides: tuple[Positions, Positions] = (left, right),
            bounds: Positions = bounds,
        ) -> pa.Table:
            share = slice(bounds[worker], bounds[worker + 1])
            left, right = sides[0][share], sides[1][share]
            marks = documents.starts_sentence, documents.numbers
            found = find_passages(documents.words, left, right, align, settings, *marks)
            return documents.rows(found, left, right, align.fold_share, around_chars)

        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(find, range(workers))


@dataclass(frozen=True, slots=True)
class _Documents:
    """Documents with what alignment and the rows of passages need.

    Attributes:
        facts: document_id, published_at, published_from, uri; sorted by id.
        words: words of the documents, in the same order.
        starts_sentence: bool, by word: it begins a sentence; None if not needed.
        numbers: the numbers among the words.
        places: occurrences sorted by document and ordinal: start_char, shift_at, shift_by.
        first_place: int64, shape (documents + 1,): bounds of each document's ``places``.
        text_start: int64, by occurrence: where its text begins in the rebuilt text of the document,
            in characters.
        texts: the distinct texts.
        text_words: the words of each distinct text.
        number: int64, by occurrence: the number of its text.
        first_word: int64, shape (occurrences + 1,): bounds of each occurrence's ``words``.
        recurring_before: int64, shape (words of the texts + 1,): how many words before each are in
            a recurring stretch.
    """

    facts: pa.Table
    words: Words
    starts_sentence: npt.NDArray[np.bool_] | None
    numbers: Numbers
    places: pa.Table
    first_place: Positions
    text_start: Positions
    texts: Texts
    text_words: Words
    number: Positions
    first_word: Positions
    recurring_before: Positions

    def sides(self, pairs: pa.Table) -> tuple[Positions, Positions]:
        """Return the numbers of the left (earlier) and right documents of pairs."""
        ids = self.facts.column("document_id").combine_chunks()
        one, other = (
            pc.index_in(pairs.column(name), value_set=ids).to_numpy().astype(np.int64)
            for name in ("one", "other")
        )
        rank = np.empty(len(ids), dtype=np.int64)
        rank[self._date_order()] = np.arange(len(ids))
        is_forward = rank[one] <= rank[other]
        return np.where(is_forward, one, other), np.where(is_forward, other, one)

    def _date_order(self) -> Positions:
        """Return the numbers of the documents sorted by date, undated ones last, then by URI."""
        published = self.facts.column("published_at").cast(pa.int64())
        dates = pc.fill_null(published, np.iinfo(np.int64).max)
        keys = pa.table({"date": dates, "uri": self.facts.column("uri")})
        order = pc.sort_indices(keys, [("date", "ascending"), ("uri", "ascending")])
        numbers: Positions = order.to_numpy().astype(np.int64)
        return numbers

    def rows(
        self,
        found: DocumentPassages,
        left: Positions,
        right: Positions,
        fold_share: float,
        around_chars: int,
    ) -> pa.Table:
        """Return passages as rows; those of a pair are in the order of the left document."""
        columns: dict[str, Any] = {}
        recurring = np.zeros((2, len(found.pair)))
        for number, (side, documents, first, last) in enumerate(
            (
                ("left", left[found.pair], found.left_first, found.left_last),
                ("right", right[found.pair], found.right_first, found.right_last),
            )
        ):
            facts = self.facts.take(pa.array(documents))
            for name in ("document_id", "uri", "published_at", "published_from"):
                columns[f"{side}_{name}"] = facts.column(name)
            begin = self.words.offsets[documents]
            spans = [self._span(*one) for one in zip(begin + first, begin + last, strict=True)]
            columns[f"{side}_words"] = last - first
            for at, name in enumerate(("start_char", "end_char", "passage")):
                columns[f"{side}_{name}"] = [span[at] for span in spans]
            recurring[number] = [span[3] for span in spans]
            if around_chars:
                where = zip(documents, begin + first, begin + last, strict=True)
                quoted = [self._quoted(*one, around_chars) for one in where]
                for at, name in enumerate(("text_start", "before", "after")):
                    columns[f"{side}_{name}"] = [one[at] for one in quoted]
        sizes = columns["left_words"], columns["right_words"]
        columns |= {
            "matched_words": found.matched,
            "resemblance": found.matched / np.maximum(1, sum(sizes) - found.matched),
            "score": found.score,
            "relation": _relations(found, *sizes, fold_share),
            "is_clear": found.is_clear,
            "is_recurring": recurring.sum(axis=0) >= 0.5 * sum(sizes),
            "direction": _directions(columns["left_published_at"], columns["right_published_at"]),
            "document_resemblance": self._resemblance(found, left, right)[found.pair],
        }
        schema = pa.schema([*PASSAGES, *QUOTED]) if around_chars else PASSAGES
        return pa.table({name: columns[name] for name in schema.names}).cast(schema)

    def _resemblance(
        self, found: DocumentPassages, left: Positions, right: Positions
    ) -> npt.NDArray[np.float64]:
        """Return the resemblance of pairs of documents by their clear passages: shape (pairs,)."""
        counts = self.words.kinds != HEADER
        before = np.concatenate(([0], np.cumsum(counts)))
        sizes = np.diff(before[self.words.offsets])
        clear = np.flatnonzero(found.is_clear & ~found.is_summary)
        pairs, matched = found.pair[clear], found.matched[clear]
        sides = (found.left_first, found.left_last), (found.right_first, found.right_last)
        covered = (_covered(pairs, first[clear], last[clear], len(left)) for first, last in sides)
        # Passages may share words on one side, so their matched words may count twice.
        common = np.minimum(np.bincount(pairs, matched, len(left)), np.minimum(*covered))
        shares: npt.NDArray[np.float64] = common / np.maximum(
            1, sizes[left] + sizes[right] - common
        )
        return shares

    def _span(self, first: int, last: int) -> tuple[int, int, str, int]:
        """Return start and end of words in their document, their text, and how many recur."""
        here, there = self._place(first), self._place(last - 1)
        start, end = self._byte(here, first, is_end=False), self._byte(there, last - 1, is_end=True)
        pieces, recurring = [], 0
        for place in range(here, there + 1):
            text = self._text(place)
            stop = end if place == there else len(text)
            pieces.append(text[start if place == here else 0 : stop].decode())
            shift = self.text_words.offsets[self.number[place]] - self.first_word[place]
            word_stop = min(last, int(self.first_word[place + 1])) + shift
            word_start = max(first, int(self.first_word[place])) + shift
            recurring += int(self.recurring_before[word_stop] - self.recurring_before[word_start])
        return (
            self._character(here, start),
            self._character(there, end),
            PARAGRAPH_SEPARATOR.join(pieces),
            recurring,
        )

    def _quoted(self, document: int, first: int, last: int, chars: int) -> tuple[int, str, str]:
        """Return where words begin in the rebuilt text, and the characters before and after."""
        here, there = self._place(first), self._place(last - 1)
        before = self._text(here)[: self._byte(here, first, is_end=False)].decode()
        start = int(self.text_start[here]) + len(before)
        while len(before) < chars and here > self.first_place[document]:
            here -= 1
            before = self._text(here).decode() + PARAGRAPH_SEPARATOR + before
        after = self._text(there)[self._byte(there, last - 1, is_end=True) :].decode()
        while len(after) < chars and there + 1 < self.first_place[document + 1]:
            there += 1
            after += PARAGRAPH_SEPARATOR + self._text(there).decode()
        return start, before[-chars:], after[:chars]

    def _place(self, word: int) -> int:
        """Return the number of the occurrence that contains a word."""
        return int(np.searchsorted(self.first_word, word, side="right")) - 1

    def _text(self, place: int) -> bytes:
        number = self.number[place]
        first, last = self.texts.offsets[number], self.texts.offsets[number + 1]
        return self.texts.buffer[first:last].tobytes()

    def _byte(self, place: int, word: int, *, is_end: bool) -> int:
        """Return the start or end of a word in the text of its occurrence, in bytes."""
        number = self.number[place]
        at = self.text_words.offsets[number] + word - self.first_word[place]
        return int((self.text_words.ends if is_end else self.text_words.starts)[at])

    def _character(self, place: int, position: int) -> int:
        """Map a byte position in the text of an occurrence to a character of the document."""
        begin = self.texts.offsets[self.number[place]]
        span = np.array([begin]), np.array([begin + position])
        characters = count_characters(self.texts.buffer, *span)
        row = {name: self.places.column(name)[place] for name in self.places.column_names}
        at, by = (np.array(row[name].as_py(), np.int32) for name in ("shift_at", "shift_by"))
        return int(shift_positions(characters, at, by, row["start_char"].as_py())[0])


def _covered(
    pairs: Positions, first: Positions, last: Positions, count: int
) -> npt.NDArray[np.float64]:
    """Return how many words the spans of each pair cover: shape (count,)."""
    far = last.max(initial=0) + 1  # pairs one behind the other on one line
    order = np.lexsort((first, pairs))
    begins, ends = (pairs * far + first)[order], np.maximum.accumulate((pairs * far + last)[order])
    done = np.concatenate(([0], ends[:-1]))
    added = np.maximum(0, ends - np.maximum(begins, done))
    return np.bincount(pairs[order], added, count).astype(np.float64)


def _load(lookup: Lookup, pairs: pa.Table, settings: PassageSettings) -> _Documents:
    """Return the documents of pairs with their words."""
    ids = pc.unique(
        pa.chunked_array([*pairs.column("one").chunks, *pairs.column("other").chunks], pa.string())
    )
    loaded = lookup.documents(ids, settings.recurring_documents)
    facts, places = loaded.facts.combine_chunks(), loaded.places.combine_chunks()
    texts = texts_of(loaded.texts.column("text_id"), loaded.texts.column("text"))
    words = find_words(texts.buffer, texts.offsets[:-1], texts.offsets[1:])
    if settings.stem_letters:
        words = stem_words(words, texts.buffer, texts.offsets[:-1], settings.stem_letters)
    numbers = find_numbers(words, texts.buffer, texts.offsets[:-1])
    number = numbers_of(texts, digests_of(places.column("text_id")))
    begins, ends = words.offsets[:-1][number], words.offsets[1:][number]
    chosen, first_word = take_spans(np.arange(len(words.hashes)), begins, ends)
    document = pc.index_in(
        places.column("document_id"), value_set=facts.column("document_id").combine_chunks()
    ).to_numpy()
    bounds = np.searchsorted(document, np.arange(facts.num_rows + 1))
    starts_sentence = None
    if settings.sentence_words:
        starts_sentence = find_sentences(words, texts.buffer, texts.offsets[:-1])[chosen]
    return _Documents(
        facts=facts,
        words=Words(
            offsets=first_word[bounds],
            hashes=words.hashes[chosen],
            starts=words.starts[chosen],
            ends=words.ends[chosen],
            kinds=words.kinds[chosen],
        ),
        starts_sentence=starts_sentence,
        numbers=Numbers(numbers.hashes[chosen], numbers.is_number[chosen]),
        places=places.select(["start_char", "shift_at", "shift_by"]),
        first_place=bounds,
        text_start=_text_starts(texts, number, bounds),
        texts=texts,
        text_words=words,
        number=number,
        first_word=first_word,
        recurring_before=_recurring_before(texts, words, loaded.recurring),
    )


def _recurring_before(texts: Texts, words: Words, spans: pa.Table) -> Positions:
    """Return how many words before each one are in a recurring stretch: shape (words + 1,).

    Args:
        texts: distinct texts.
        words: of these.
        spans: text_id, start_char, end_char, no two of which overlap.
    """
    number = np.repeat(np.arange(len(texts.digests)), np.diff(words.offsets))
    begin = texts.offsets[:-1][number]
    characters = count_characters(texts.buffer, begin, begin + words.starts)
    places = (number << 32) + characters  # ascending: a text has fewer than 2**32 characters
    of_span = numbers_of(texts, digests_of(spans.column("text_id"))) << 32
    first, last = (
        np.searchsorted(places, of_span + spans.column(name).to_numpy())
        for name in ("start_char", "end_char")
    )
    steps = np.bincount(first, minlength=len(places) + 1) - np.bincount(
        last, minlength=len(places) + 1
    )
    return np.concatenate(([0], np.cumsum(np.cumsum(steps)[:-1]))).astype(np.int64)


def _text_starts(texts: Texts, number: Positions, bounds: Positions) -> Positions:
    """Return the start of each occurrence in its document's joined texts, in characters."""
    sizes = count_characters(texts.buffer, texts.offsets[:-1], texts.offsets[1:])[number]
    ends = np.cumsum(sizes + len(PARAGRAPH_SEPARATOR))
    starts = ends - sizes - len(PARAGRAPH_SEPARATOR)
    starts -= np.repeat(np.append(starts, 0)[bounds[:-1]], np.diff(bounds))
    return starts.astype(np.int64)


def _relations(
    found: DocumentPassages, left: Positions, right: Positions, fold_share: float
) -> list[str]:
    """Return the relation of each passage, judged by its own words and not the documents'."""
    relations = relate_passages(found.matched, left, right, fold_share)
    relations = np.where(found.is_summary, SUMMARY, relations)
    return [str(one) for one in relations]


def _directions(left: pa.ChunkedArray, right: pa.ChunkedArray) -> list[str]:
    known = pc.and_(left.is_valid(), right.is_valid()).to_pylist()
    same = pc.equal(left, right).to_pylist()
    return [
        (SAME_DATE if equal else BY_DATE) if dated else UNDATED
        for dated, equal in zip(known, same, strict=True)
    ]
