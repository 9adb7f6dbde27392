"""Explain why two texts or documents were matched, or were not.

All figures are recomputed from the texts and the settings of the archive, without the index. Only
whether an overlap is recorded is read from the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa

from palimpsest.dedup.alignment import align_pairs, score_words
from palimpsest.dedup.candidates import common_buckets, pack_pairs
from palimpsest.dedup.clusters import EXACT, NEAR, link_pairs, relate_passages
from palimpsest.dedup.sameness import find_differences
from palimpsest.dedup.signatures import estimate_resemblance, shingle_words, sign_sets
from palimpsest.dedup.texts import SignedTexts, Texts, numbers_of, sign_texts, texts_of
from palimpsest.evidence.lookup import Lookup, TableLookup
from palimpsest.evidence.passages import align_documents
from palimpsest.kernels.arrays import Hashes
from palimpsest.kernels.columns import digests_of, take_spans
from palimpsest.records.errors import SettingsError
from palimpsest.records.settings import PassageSettings, Settings
from palimpsest.store.archive import Snapshot
from palimpsest.store.find import DOCUMENT, TEXT, NameMatch, resolve_names, uris_of

SIDES = ("left", "right")

NO_BUCKET, NO_PASSAGE, CROWDS = "no-bucket", "no-passage", "crowds"
"""Why a pair has no overlap: no windows share a bucket, no passage scores high enough, or the
windows share only crowded buckets of which neither text is a head."""

SAME, LEFT, RIGHT, CHANGED = "same", "left", "right", "changed"
"""Kinds of segments: words of both sides, of one side only, and words that replace others."""

_SIGN_THRESHOLDS = ("min_shared_shingles", "min_shared_share")
_ALIGN_THRESHOLDS = ("min_score", "min_resemblance", "fold_share")
_PASSAGE_THRESHOLDS = (
    "clear_score",
    "clear_share",
    "enough_score",
    "clear_strength",
    "clear_resemblance",
    "clear_numbers",
    "clear_words",
    "summary_share",
    "summary_score",
)


def explain(
    snapshot: Snapshot, name: str, other: str | None = None, limit: int = 3
) -> dict[str, Any]:
    """Return why two texts or documents were matched.

    Args:
        snapshot: the version to look at.
        name: the left side, a document or a text as accepted by ``store.find.resolve_names``.
        other: the right side; without it, every text that overlaps with the text ``name``.
        limit: most pairs of texts to explain.

    Returns:
        ``left`` and ``right``: ``kind``, ``id`` and ``uri`` of each side, ``right`` null without
        ``other``; ``thresholds`` by the names of the settings; ``pairs_found``, and
        ``pairs`` of texts, those that share most words first, as ``explain_texts`` gives them;
        ``is_recorded``, whether the archive has the two documents as a pair, so that their passages
        are among those of the archive; null unless both sides are documents;
        ``passages`` of two documents, else null: for each side ``start_char``, ``end_char``,
        ``words`` and ``passage``, and ``matched_words``, ``resemblance``, ``score``, ``relation``,
        ``is_clear`` and ``is_recurring``, the highest score first.

    Raises:
        SettingsError: a name is unknown or ambiguous, both names mean the same, or a document is
            named without a second side.
    """
    names = [name] if other is None else [name, other]
    named = resolve_names(snapshot, names)
    _expect_two_sides(named, name)
    explanation = explain_named(TableLookup(snapshot), named, limit)
    sides = _sides_with_uris(snapshot, named, names)
    return {**explanation, **dict(zip(SIDES, sides, strict=False))}


def explain_named(lookup: Lookup, named: Sequence[NameMatch], limit: int = 3) -> dict[str, Any]:
    """Return why texts or documents were matched, as ``explain`` does, but with null URIs.

    Args:
        lookup: where texts and documents are read from.
        named: one text, or two different documents or texts, the left one first.
        limit: most pairs of texts to explain.
    """
    settings = lookup.settings()
    pairs = _pairs(lookup, named)
    are_documents = [side.kind for side in named] == [DOCUMENT, DOCUMENT]
    thresholds = _values(settings.sign, _SIGN_THRESHOLDS) | _values(
        settings.align, _ALIGN_THRESHOLDS
    )
    if are_documents:
        thresholds |= _values(settings.passages, _PASSAGE_THRESHOLDS)
    sides = [{"kind": side.kind, "id": side.id, "uri": None} for side in named]
    return {
        **dict.fromkeys(SIDES),
        **dict(zip(SIDES, sides, strict=False)),
        "thresholds": thresholds,
        "pairs_found": len(pairs),
        "pairs": [explain_texts(lookup, *pair, settings) for pair in pairs[:limit]],
        "is_recorded": bool(pairs) if are_documents else None,
        "passages": _passages(lookup, named, settings.passages) if are_documents else None,
    }


def _expect_two_sides(named: list[NameMatch], name: str) -> None:
    if len(named) == 1 and named[0].kind == DOCUMENT:
        fault = (
            f"document {name!r}: expected a second document or a text; to list the documents that "
            "share passages with it: palimpsest passages DIR --document ID"
        )
        raise SettingsError([fault])
    if len(set(named)) < len(named):
        kind, name_id = named[0]
        raise SettingsError([f"both sides are the {kind} {name_id}; name two different ones"])


def _values(settings: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in names}


def _sides_with_uris(
    snapshot: Snapshot, named: Sequence[NameMatch], names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield each side; the URI of a document is the one it was named by, or else its first."""
    for side, name in zip(named, names, strict=True):
        uris = uris_of(snapshot, side.id) if side.kind == DOCUMENT else [None]
        yield {"kind": side.kind, "id": side.id, "uri": name if name in uris else uris[0]}


def _pairs(lookup: Lookup, named: Sequence[NameMatch]) -> list[tuple[str, str]]:
    """Return the pairs of texts to explain, those that share most words first.

    Two named texts are always a pair. Otherwise the texts of a pair have an overlap, or are the
    same text in both documents.
    """
    left, right = named[0], named[1] if len(named) > 1 else None
    if right is not None and left.kind == right.kind == TEXT:
        return [(left.id, right.id)]
    return lookup.text_pairs(left, right)


def explain_texts(
    lookup: Lookup, left_id: str, right_id: str, settings: Settings
) -> dict[str, Any]:
    """Return how two texts of an archive are matched.

    Args:
        lookup: where the texts are read from.
        left_id, right_id: ids of texts, the same for a text that occurs on both sides.
        settings: the settings of the archive.

    Returns:
        ``left`` and ``right``: ``text_id``, ``paragraph_id``, ``words``, ``shingles``, ``windows``,
        ``documents`` that contain it, and their first ``uri``. ``bands`` in which windows share a
        bucket, of ``bands_signed``. ``closest_windows``, null if a text has none: ``number``, from
        0, ``shingles`` and ``text`` of each, ``shared_shingles``, ``shared_share`` of the shorter
        one, ``estimated_resemblance`` and ``resemblance``. ``resemblance``, ``left_containment``,
        and ``right_containment`` of all shingles. ``passages``: ``relation`` of its two sides,
        ``matched_words``, ``resemblance``, ``score`` and ``segments``, whose ``left`` and ``right``
        joined are the passage.
        ``left_share``, ``right_share`` and ``relation`` as in overlaps, null without a passage;
        ``is_overlap``, ``is_folded`` (both are folded into one paragraph) and
        ``no_overlap_because``. ``differences`` that keep two near texts apart: the words
        ``left`` and ``right``, of which one may be empty.
    """
    rows = lookup.text_facts(left_id, right_id)
    recorded = lookup.has_overlap(left_id, right_id)
    facts = {row["text_id"]: row for row in rows.drop_columns(["text"]).to_pylist()}
    texts = texts_of(rows.column("text_id"), rows.column("text"))
    left, right = numbers_of(texts, digests_of(pa.array([left_id, right_id]))).tolist()
    pair = _Pair(texts, sign_texts(texts, settings), left, right, settings)
    bands, aligned = pair.bands(), pair.alignment()
    reason = None
    if not recorded and left != right:
        reason = NO_PASSAGE if bands else NO_BUCKET
        reason = CROWDS if bands and aligned["passages"] else reason
    return {
        "left": facts[left_id] | pair.sizes(left),
        "right": facts[right_id] | pair.sizes(right),
        "is_overlap": recorded,
        "is_folded": facts[left_id]["paragraph_id"] == facts[right_id]["paragraph_id"],
        "no_overlap_because": reason,
        "differences": pair.differences() if aligned["relation"] == NEAR else [],
        "bands": bands,
        "bands_signed": settings.sign.all_bands,
        "closest_windows": pair.closest_windows(),
        **pair.similarity(),
        **aligned,
    }


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two texts, or the same one on both sides. Ties are broken independently of the sides.

    Attributes:
        texts: the two texts, sorted by id.
        marked: their words and windows.
        left, right: their numbers in ``texts``.
        settings: the settings of the archive.
    """

    texts: Texts
    marked: SignedTexts
    left: int
    right: int
    settings: Settings

    def sizes(self, number: int) -> dict[str, int]:
        """Return the number of shingles and windows of a text."""
        windows = int(np.count_nonzero(self.marked.windows.texts == number))
        return {"shingles": len(self._shingles(number)), "windows": windows}

    def bands(self) -> list[int]:
        """Return the bands in which windows share both a bucket and enough shingles."""
        low, high = sorted((self.left, self.right))
        packed = pack_pairs(np.array([low]), np.array([high]))
        sign = self.settings.sign
        _, bands, _ = common_buckets(self.marked.bands, self.marked.windows, packed, sign)
        return [int(band) for band in np.unique(bands)]

    def closest_windows(self) -> dict[str, Any] | None:
        """Return the pair of windows that share most distinct shingles, or None."""
        windows = self.marked.windows
        sides = (
            np.flatnonzero(windows.texts == text).tolist()
            for text in sorted((self.left, self.right))
        )
        low_windows, high_windows = sides
        if not low_windows or not high_windows:
            return None
        sets = {
            window: frozenset(self._window(window).tolist())
            for window in {*low_windows, *high_windows}
        }

        def closeness(pair: tuple[int, int]) -> tuple[int, float]:
            one, other = sets[pair[0]], sets[pair[1]]
            return len(one & other), _resemblance(one, other)

        first, second = max(product(low_windows, high_windows), key=closeness)
        shared = int(np.isin(self._window(first), self._window(second)).sum())
        shorter = min(len(self._window(first)), len(self._window(second)))
        flat, offsets = take_spans(
            windows.shingles,
            windows.starts[np.array([first, second])],
            windows.ends[np.array([first, second])],
        )
        sign = self.settings.sign
        signatures = sign_sets(flat, offsets, sign.permutations, sign.seed)
        at_left, at_right = (first, second) if self.left <= self.right else (second, first)
        return {
            "left": self._window_facts(at_left, self.left),
            "right": self._window_facts(at_right, self.right),
            "shared_shingles": shared,
            "shared_share": round(shared / shorter, 4),
            "estimated_resemblance": round(estimate_resemblance(*signatures), 4),
            "resemblance": round(_resemblance(sets[first], sets[second]), 4),
        }

    def similarity(self) -> dict[str, float]:
        """Return the resemblance and containment of all shingles; 0 for a text without any."""
        left = frozenset(self._shingles(self.left).tolist())
        right = frozenset(self._shingles(self.right).tolist())
        shared = len(left & right)
        return {
            "resemblance": round(_resemblance(left, right), 4),
            "left_containment": round(shared / max(1, len(left)), 4),
            "right_containment": round(shared / max(1, len(right)), 4),
        }

    def alignment(self) -> dict[str, Any]:
        """Return the passages, the aligned shares of both texts, and their relation."""
        align, words = self.settings.align, self.marked.words
        sides = np.array([self.left]), np.array([self.right])
        found = align_pairs(words, score_words(words, align), *sides, align)
        links, found = link_pairs(words, *sides, found, align.fold_share)
        passages = []
        for row in zip(*found[1:], strict=True):
            left_first, left_last, right_first, right_last, matched = map(int, row[:5])
            left, right = (left_first, left_last), (right_first, right_last)
            left_words, right_words = left_last - left_first, right_last - right_first
            together = left_words + right_words - matched
            counts = np.array([[matched], [left_words], [right_words]])
            [relation] = relate_passages(counts[0], counts[1], counts[2], align.fold_share)
            passages.append(
                {
                    "relation": str(relation),
                    "matched_words": matched,
                    "resemblance": round(matched / together, 4),
                    "score": round(float(row[5]), 2),
                    "segments": list(self._segments(left, right)),
                }
            )
        link: dict[str, Any] = {"left_share": None, "right_share": None, "relation": None}
        if passages:
            link["left_share"] = round(float(links.left_share[0]), 4)
            link["right_share"] = round(float(links.right_share[0]), 4)
            link["relation"] = str(links.relation[0])
        if self.left == self.right:
            link["relation"] = EXACT
        return link | {"passages": passages}

    def differences(self) -> list[dict[str, str]]:
        """Return the words in which the texts say different things."""
        sides = np.array([self.left]), np.array([self.right])
        _, found = find_differences(self.marked.words, self.texts, *sides)
        return [
            {
                side: _Fragment(self.texts, self.marked, number, *span).text(0, span[1] - span[0])
                for side, number, span in (
                    ("left", self.left, (left_first, left_last)),
                    ("right", self.right, (right_first, right_last)),
                )
            }
            for left_first, left_last, right_first, right_last in zip(
                *(column.tolist() for column in found[1:]), strict=True
            )
        ]

    def _segments(self, left: tuple[int, int], right: tuple[int, int]) -> Iterator[dict[str, str]]:
        """Yield the words of a passage in segments of one kind; word spans are half-open."""
        left_words = _Fragment(self.texts, self.marked, self.left, *left)
        right_words = _Fragment(self.texts, self.marked, self.right, *right)
        is_swapped = self.left > self.right
        one, other = (right_words, left_words) if is_swapped else (left_words, right_words)
        matcher = SequenceMatcher(None, one.hashes(), other.hashes(), autojunk=False)
        for tag, first, last, other_first, other_last in matcher.get_opcodes():
            spans = (first, last), (other_first, other_last)
            left_span, right_span = reversed(spans) if is_swapped else spans
            left_text, right_text = left_words.text(*left_span), right_words.text(*right_span)
            kind = CHANGED if left_text and right_text else LEFT if left_text else RIGHT
            yield {
                "kind": SAME if tag == "equal" else kind,
                "left": left_text,
                "right": right_text,
            }

    def _shingles(self, number: int) -> Hashes:
        """Return the shingles of a text, which may have no window."""
        firsts, _ = shingle_words(self.marked.words)
        bounds = self.marked.words.offsets[number : number + 2]
        first, last = np.searchsorted(firsts, bounds)
        return self.marked.windows.shingles[first:last]

    def _window(self, window: int) -> Hashes:
        windows = self.marked.windows
        return windows.shingles[windows.starts[window] : windows.ends[window]]

    def _window_facts(self, window: int, number: int) -> dict[str, Any]:
        windows, words = self.marked.windows, self.marked.words
        firsts, lasts = shingle_words(words)
        begin = int(words.offsets[number])
        first = int(firsts[windows.starts[window]]) - begin
        last = int(lasts[windows.ends[window] - 1]) - begin
        fragment = _Fragment(self.texts, self.marked, number, first, last)
        return {
            "number": window - int(np.searchsorted(windows.texts, number)),
            "shingles": len(self._window(window)),
            "text": fragment.text(0, last - first),
        }


@dataclass(frozen=True, slots=True)
class _Fragment:
    """Consecutive words of a text, ``first`` to ``last``, half-open."""

    texts: Texts
    marked: SignedTexts
    number: int
    first: int
    last: int

    def hashes(self) -> list[int]:
        """Return the hashes of the words."""
        begin = int(self.marked.words.offsets[self.number])
        hashes: list[int] = self.marked.words.hashes[
            begin + self.first : begin + self.last
        ].tolist()
        return hashes

    def text(self, first: int, last: int) -> str:
        """Return words by their index in the fragment, with punctuation and whitespace."""
        if first == last:
            return ""
        at = self.texts.offsets[self.number]
        span = self.texts.buffer[at + self._edge(first) : at + self._edge(last)]
        return span.tobytes().decode()

    def _edge(self, place: int) -> int:
        """Return the byte where words are separated: after the last space before a word."""
        words = self.marked.words
        word = int(words.offsets[self.number]) + self.first + place
        if place == 0:
            return int(words.starts[word])
        previous_end = int(words.ends[word - 1])
        if self.first + place == self.last:
            return previous_end
        at = int(self.texts.offsets[self.number])
        between = self.texts.buffer[at + previous_end : at + words.starts[word]].tobytes()
        if b" " not in between:
            return int(words.starts[word])
        return previous_end + between.rfind(b" ") + 1


def _resemblance(left: frozenset[int], right: frozenset[int]) -> float:
    return len(left & right) / max(1, len(left | right))


def _passages(
    lookup: Lookup, named: Sequence[NameMatch], settings: PassageSettings
) -> list[dict[str, Any]]:
    """Return the passages of two documents, with the one named first on the left."""
    one, other = sorted(document.id for document in named)
    pair = pa.table({"one": [one], "other": [other]})
    rows = [row for table in align_documents(lookup, pair, settings) for row in table.to_pylist()]
    passages = []
    for row in rows:
        source_sides = SIDES if row["left_document_id"] == named[0].id else reversed(SIDES)
        passages.append(
            {
                side: {
                    name: row[f"{source_side}_{name}"]
                    for name in ("start_char", "end_char", "words", "passage")
                }
                for side, source_side in zip(SIDES, source_sides, strict=True)
            }
            | {"matched_words": row["matched_words"]}
            | {name: round(row[name], 4) for name in ("resemblance", "score")}
            | {name: row[name] for name in ("relation", "is_clear", "is_recurring")}
        )
    return sorted(passages, key=lambda passage: -passage["score"])
