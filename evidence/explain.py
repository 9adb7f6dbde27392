"""Say why two texts or documents were matched, or were not.

All figures are computed anew from the texts and the settings that the archive was made with; the
index is not asked. What is asked of the tables is whether an overlap is recorded.
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
from palimpsest.dedup.clusters import EXACT, link_pairs, relate_passages
from palimpsest.dedup.signatures import estimate_resemblance, shingle_words, sign_sets
from palimpsest.dedup.texts import SignedTexts, Texts, numbers_of, sign_texts, texts_of
from palimpsest.evidence.lookup import Lookup, TableLookup
from palimpsest.evidence.passages import align_documents
from palimpsest.kernels.arrays import Hashes
from palimpsest.kernels.columns import digests_of, take_spans
from palimpsest.records.errors import SettingsError
from palimpsest.records.settings import PassageSettings, Settings
from palimpsest.store.archive import Snapshot
from palimpsest.store.find import DOCUMENT, TEXT, Named, find_named, uris_of

SIDES = ("left", "right")

NO_BUCKET, NO_PASSAGE, CROWDS = "no-bucket", "no-passage", "crowds"
"""Why a pair is no overlap: its windows meet nowhere, nothing in it scores enough, or it meets in
crowds only, of which neither text is a head."""

SAME, LEFT, RIGHT, CHANGED = "same", "left", "right", "changed"
"""Kinds of segments: words of both sides, of one side only, and words that stand for others."""

_OF_SIGN = ("min_shared_shingles", "min_shared_share")
_OF_ALIGN = ("min_score", "min_resemblance", "fold_share")
_OF_PASSAGES = ("clear_score", "clear_share", "clear_words", "summary_share", "summary_score")


def explain(
    snapshot: Snapshot, name: str, other: str | None = None, limit: int = 3
) -> dict[str, Any]:
    """Return why two texts or documents were matched.

    Args:
        snapshot: the version to look at.
        name: a document or a text, as ``store.find.find_named`` takes them: the left side.
        other: the right side; without it, all that overlaps with the text ``name``.
        limit: at most so many pairs of texts.

    Returns:
        ``left`` and ``right``: ``kind``, ``id`` and ``uri`` of what was named, ``right`` null
        without ``other``; ``thresholds`` by the names of the settings; ``pairs_found``, and
        ``pairs`` of texts, those that share most words first, as ``explain_texts`` gives them;
        ``passages`` of two documents, else null: for each side ``start_char``, ``end_char``,
        ``words`` and ``passage``, and ``matched_words``, ``resemblance``, ``score``, ``relation``,
        ``is_clear`` and ``is_recurring``, the highest score first.

    Raises:
        SettingsError: a name is unknown or stands for several, both stand for the same, or a
            document is named alone.
    """
    names = [name] if other is None else [name, other]
    named = find_named(snapshot, names)
    _expect_two(named, name)
    told = explain_named(TableLookup(snapshot), named, limit)
    return {**told, **dict(zip(SIDES, _told(snapshot, named, names), strict=False))}


def explain_named(lookup: Lookup, named: Sequence[Named], limit: int = 3) -> dict[str, Any]:
    """Return why texts or documents were matched, as ``explain`` does; the sides have no URI.

    Args:
        lookup: what tells texts and documents.
        named: one text, or two different documents or texts, the left one first.
        limit: at most so many pairs of texts.
    """
    settings = lookup.settings()
    pairs = _pairs(lookup, named)
    are_documents = [one.kind for one in named] == [DOCUMENT, DOCUMENT]
    judged = settings.passages
    thresholds = _chosen(settings.sign, _OF_SIGN) | _chosen(settings.align, _OF_ALIGN)
    sides = [{"kind": one.kind, "id": one.id, "uri": None} for one in named]
    return {
        **dict.fromkeys(SIDES),
        **dict(zip(SIDES, sides, strict=False)),
        "thresholds": thresholds | (_chosen(judged, _OF_PASSAGES) if are_documents else {}),
        "pairs_found": len(pairs),
        "pairs": [explain_texts(lookup, *pair, settings) for pair in pairs[:limit]],
        "passages": _passages(lookup, named, judged) if are_documents else None,
    }


def _expect_two(named: list[Named], name: str) -> None:
    if len(named) == 1 and named[0].kind == DOCUMENT:
        fault = (
            f"document {name!r}: expected another document or a text beside it; "
            "palimpsest passages DIR --document ID tells which share passages with it"
        )
        raise SettingsError([fault])
    if len(set(named)) < len(named):
        kind, its_id = named[0]
        raise SettingsError([f"both sides are the {kind} {its_id}; name two different ones"])


def _chosen(stage: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(stage, name) for name in names}


def _told(
    snapshot: Snapshot, named: Sequence[Named], names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Give what each name stands for; the URI of a document is the one given, else the first."""
    for one, name in zip(named, names, strict=True):
        uris = uris_of(snapshot, one.id) if one.kind == DOCUMENT else [None]
        yield {"kind": one.kind, "id": one.id, "uri": name if name in uris else uris[0]}


def _pairs(lookup: Lookup, named: Sequence[Named]) -> list[tuple[str, str]]:
    """Return the pairs of texts to explain, those that share most words first.

    Two texts are a pair whether they share anything or not. Otherwise a pair has an overlap, or is
    one text that stands in both documents.
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
        lookup: what tells the texts.
        left_id, right_id: ids of texts, the same for a text that stands on both sides.
        settings: those that the archive was made with.

    Returns:
        ``left`` and ``right``: ``text_id``, ``paragraph_id``, ``words``, ``shingles``, ``windows``,
        ``documents`` it stands in, and the first ``uri`` of them. ``bands`` in which windows meet,
        of ``bands_signed``. ``closest_windows``, null if a text has none: the ``number`` from 0,
        ``shingles`` and ``text`` of each, ``shared_shingles``, ``shared_share`` of the shorter one,
        ``estimated_resemblance`` and ``resemblance``. ``resemblance``, ``left_containment`` and
        ``right_containment`` of all shingles. ``passages``: ``relation`` of its two sides,
        ``matched_words``, ``resemblance``, ``score`` and ``segments``, whose ``left`` and ``right``
        put together are the passage.
        ``left_share``, ``right_share`` and ``relation`` as in overlaps, null without a passage;
        ``is_overlap``, ``is_folded``: whether one paragraph stands for both; and
        ``no_overlap_because``.
    """
    rows = lookup.text_facts(left_id, right_id)
    recorded = lookup.has_overlap(left_id, right_id)
    facts = {row["text_id"]: row for row in rows.drop_columns(["text"]).to_pylist()}
    texts = texts_of(rows.column("text_id"), rows.column("text"))
    left, right = numbers_of(texts, digests_of(pa.array([left_id, right_id]))).tolist()
    pair = _Pair(texts, sign_texts(texts, settings), left, right, settings)
    bands, aligned = pair.bands(), pair.alignment()
    because = None
    if not recorded and left != right:
        because = NO_PASSAGE if bands else NO_BUCKET
        because = CROWDS if bands and aligned["passages"] else because
    return {
        "left": facts[left_id] | pair.sizes(left),
        "right": facts[right_id] | pair.sizes(right),
        "is_overlap": recorded,
        "is_folded": facts[left_id]["paragraph_id"] == facts[right_id]["paragraph_id"],
        "no_overlap_because": because,
        "bands": bands,
        "bands_signed": settings.sign.bands,
        "closest_windows": pair.closest_windows(),
        **pair.likeness(),
        **aligned,
    }


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two texts, or one on both sides; what is chosen among equals does not depend on the sides.

    Attributes:
        texts: the two, in the order of ids.
        marked: the same.
        left, right: their numbers.
        settings: those that the archive was made with.
    """

    texts: Texts
    marked: SignedTexts
    left: int
    right: int
    settings: Settings

    def sizes(self, number: int) -> dict[str, int]:
        """Return how many shingles and windows a text has."""
        windows = int(np.count_nonzero(self.marked.windows.texts == number))
        return {"shingles": len(self._shingles(number)), "windows": windows}

    def bands(self) -> list[int]:
        """Return the bands in which windows meet in a bucket and share enough shingles."""
        low, high = sorted((self.left, self.right))
        packed = pack_pairs(np.array([low]), np.array([high]))
        sign = self.settings.sign
        _, bands, _ = common_buckets(self.marked.bands, self.marked.windows, packed, sign)
        return [int(band) for band in np.unique(bands)]

    def closest_windows(self) -> dict[str, Any] | None:
        """Return the pair of windows that share most different shingles, or None."""
        windows = self.marked.windows
        low, high = sorted((self.left, self.right))
        mine, theirs = (np.flatnonzero(windows.texts == one).tolist() for one in (low, high))
        if not mine or not theirs:
            return None
        sets = {one: frozenset(self._window(one).tolist()) for one in {*mine, *theirs}}

        def closeness(pair: tuple[int, int]) -> tuple[int, float]:
            one, other = sets[pair[0]], sets[pair[1]]
            return len(one & other), _resemblance(one, other)

        first, second = max(product(mine, theirs), key=closeness)
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
            "left": self._told_window(at_left, self.left),
            "right": self._told_window(at_right, self.right),
            "shared_shingles": shared,
            "shared_share": round(shared / shorter, 4),
            "estimated_resemblance": round(estimate_resemblance(*signatures), 4),
            "resemblance": round(_resemblance(sets[first], sets[second]), 4),
        }

    def likeness(self) -> dict[str, float]:
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
        """Return the passages, what they come to, and the relation that follows."""
        align, words = self.settings.align, self.marked.words
        sides = np.array([self.left]), np.array([self.right])
        found = align_pairs(words, score_words(words, align), *sides, align)
        links, found = link_pairs(words, *sides, found, align.fold_share)
        passages = []
        for row in zip(*found[1:], strict=True):
            left_first, left_last, right_first, right_last, matched = map(int, row[:5])
            left, right = (left_first, left_last), (right_first, right_last)
            sizes = left_last - left_first, right_last - right_first
            together = sum(sizes) - matched
            agree, ours, theirs = (np.array([one]) for one in (matched, *sizes))
            [relation] = relate_passages(agree, ours, theirs, align.fold_share)
            passages.append(
                {
                    "relation": str(relation),
                    "matched_words": matched,
                    "resemblance": round(matched / together, 4),
                    "score": round(float(row[5]), 2),
                    "segments": list(self._segments(left, right)),
                }
            )
        told: dict[str, Any] = {"left_share": None, "right_share": None, "relation": None}
        if passages:
            told["left_share"] = round(float(links.left_share[0]), 4)
            told["right_share"] = round(float(links.right_share[0]), 4)
            told["relation"] = str(links.relation[0])
        if self.left == self.right:
            told["relation"] = EXACT
        return told | {"passages": passages}

    def _segments(self, left: tuple[int, int], right: tuple[int, int]) -> Iterator[dict[str, str]]:
        """Give the words of a passage, half-open on each side, in segments of one kind."""
        of_left = _Stretch(self.texts, self.marked, self.left, *left)
        of_right = _Stretch(self.texts, self.marked, self.right, *right)
        is_turned = self.left > self.right
        one, other = (of_right, of_left) if is_turned else (of_left, of_right)
        matcher = SequenceMatcher(None, one.hashes(), other.hashes(), autojunk=False)
        for tag, first, last, other_first, other_last in matcher.get_opcodes():
            spans = (first, last), (other_first, other_last)
            mine, theirs = reversed(spans) if is_turned else spans
            on_left, on_right = of_left.text(*mine), of_right.text(*theirs)
            kind = CHANGED if on_left and on_right else LEFT if on_left else RIGHT
            yield {"kind": SAME if tag == "equal" else kind, "left": on_left, "right": on_right}

    def _shingles(self, number: int) -> Hashes:
        """Return the shingles of a text, of which a window may be missing."""
        firsts, _ = shingle_words(self.marked.words)
        bounds = self.marked.words.offsets[number : number + 2]
        first, last = np.searchsorted(firsts, bounds)
        return self.marked.windows.shingles[first:last]

    def _window(self, window: int) -> Hashes:
        windows = self.marked.windows
        return windows.shingles[windows.starts[window] : windows.ends[window]]

    def _told_window(self, window: int, number: int) -> dict[str, Any]:
        windows, words = self.marked.windows, self.marked.words
        firsts, lasts = shingle_words(words)
        begin = int(words.offsets[number])
        first = int(firsts[windows.starts[window]]) - begin
        last = int(lasts[windows.ends[window] - 1]) - begin
        stretch = _Stretch(self.texts, self.marked, number, first, last)
        return {
            "number": window - int(np.searchsorted(windows.texts, number)),
            "shingles": len(self._window(window)),
            "text": stretch.text(0, last - first),
        }


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Some words of a text, ``first`` to ``last``, half-open."""

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
        """Return words by their place in the stretch, with the marks and blanks around them."""
        if first == last:
            return ""
        at = self.texts.offsets[self.number]
        span = self.texts.buffer[at + self._edge(first) : at + self._edge(last)]
        return span.tobytes().decode()

    def _edge(self, place: int) -> int:
        """Return where words part, in bytes of the text: behind the last blank before a word."""
        words = self.marked.words
        word = int(words.offsets[self.number]) + self.first + place
        if place == 0:
            return int(words.starts[word])
        behind = int(words.ends[word - 1])
        if self.first + place == self.last:
            return behind
        at = int(self.texts.offsets[self.number])
        between = self.texts.buffer[at + behind : at + words.starts[word]].tobytes()
        return behind + between.rfind(b" ") + 1 if b" " in between else int(words.starts[word])


def _resemblance(left: frozenset[int], right: frozenset[int]) -> float:
    return len(left & right) / max(1, len(left | right))


def _passages(
    lookup: Lookup, named: Sequence[Named], settings: PassageSettings
) -> list[dict[str, Any]]:
    """Return the passages of two documents with the one that was named first on the left."""
    one, other = sorted(document.id for document in named)
    pair = pa.table({"one": [one], "other": [other]})
    rows = [row for part in align_documents(lookup, pair, settings) for row in part.to_pylist()]
    told = []
    for row in rows:
        sides = SIDES if row["left_document_id"] == named[0].id else reversed(SIDES)
        told.append(
            {
                side: {
                    name: row[f"{known_as}_{name}"]
                    for name in ("start_char", "end_char", "words", "passage")
                }
                for side, known_as in zip(SIDES, sides, strict=True)
            }
            | {"matched_words": row["matched_words"]}
            | {name: round(row[name], 4) for name in ("resemblance", "score")}
            | {name: row[name] for name in ("relation", "is_clear", "is_recurring")}
        )
    return sorted(told, key=lambda row: -row["score"])
