"""Align texts word by word: the evidence that decides what is shared.

A passage is a chain of content words that stand in both texts in the same order: each earns its
score, and each content word passed over between two of them, on the side where there are more,
costs a little. The best chain is the passage; the next best is looked for in what is left, until
the score falls below the least. Function words neither earn nor cost, and are counted where they
agree between, before and behind the words of the chain, each word in one passage of a pair only.

This is local alignment (Smith and Waterman 1981) over content words with one cost for a mismatch
and for a gap, computed over the matching cells only: of all cells few match, so the table is never
filled. ``tests/oracles.py`` fills it, and finds the same scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from palimpsest.dedup.lanes import LANES, highest_of_lanes
from palimpsest.dedup.texts import TextSpans
from palimpsest.dedup.words import CHARACTER, FUNCTION, KINDS, NUMBER, HashedWords, Words
from palimpsest.kernels.arrays import Bytes, Hashes, Indices, Positions
from palimpsest.kernels.columns import as_read_only, grow
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.kernels.sorting import stable_order
from palimpsest.records.settings import AlignSettings

Scores = npt.NDArray[Any]
Room = npt.NDArray[Any]

_SCALE = 100
"""Scores are added up as whole hundredths, so that the order of adding changes nothing."""

# Columns of a passage.
PAIR, LEFT_FIRST, LEFT_LAST, RIGHT_FIRST, RIGHT_LAST, MATCHED, SCORE = range(7)
_COLUMNS = 7
_ROWS, _ROOM = 3, 1024
"""Of the arrays that anchors are written to: how many, and for how many anchors at first."""
_REJECTED = -1
"""Stands for the pair of a passage of too little resemblance, until all of its pair are found."""


class Passages(NamedTuple):
    """Passages that pairs of texts share, in the order of pairs, the best of a pair first.

    Attributes:
        pair: int64, shape (passages,), the number of the pair.
        left_first, left_last, right_first, right_last: int64, words of each text, half-open.
        matched: int64, words aligned with an equal word.
        score: float32; a content word that matches earns 1.
    """

    pair: Positions
    left_first: Positions
    left_last: Positions
    right_first: Positions
    right_last: Positions
    matched: Positions
    score: npt.NDArray[np.float32]


class ScoredWords(NamedTuple):
    """The content words of many texts, those of a text one behind the other.

    Attributes:
        offsets: int64, shape (texts + 1,): which content words are whose.
        hashes: uint32, shape (content words,).
        places: int32: the place of each among all words of its text.
        scores: uint8: what a match earns, in hundredths.
    """

    offsets: Positions
    hashes: Hashes
    places: Indices
    scores: Bytes


class _Costs(NamedTuple):
    """What decides over chains, in units of so many hundredths of a score."""

    unit: int
    gap: int
    farthest: int
    min_score: int


def score_words(words: Words, settings: AlignSettings) -> ScoredWords:
    """Return the content words of texts as alignment takes them."""
    everything = TextSpans.of([words.offsets], np.arange(len(words.offsets) - 1))
    return score_parts([words], everything, settings)


def score_parts(parts: Sequence[Words], places: TextSpans, settings: AlignSettings) -> ScoredWords:
    """Return the content words of the texts whose words are in these places of the parts."""
    by_kind = _by_kind(settings)
    counts = np.empty(len(places.part), dtype=np.int64)
    mine = [np.flatnonzero(places.part == number) for number in range(len(parts))]
    spans = [(places.starts[texts], places.ends[texts]) for texts in mine]
    for part, texts, (starts, ends) in zip(parts, mine, spans, strict=True):
        before = np.concatenate(([0], np.cumsum(by_kind[part.kinds] > 0)))
        counts[texts] = before[ends] - before[starts]
    offsets = np.concatenate(([0], np.cumsum(counts)))
    ranked = ScoredWords(
        offsets,
        np.empty(offsets[-1], dtype=np.uint32),
        np.empty(offsets[-1], dtype=np.int32),
        np.empty(offsets[-1], dtype=np.uint8),
    )
    for part, texts, (starts, ends) in zip(parts, mine, spans, strict=True):
        _rank_words(
            as_read_only(part.hashes), as_read_only(part.kinds), by_kind, starts, ends,
            offsets[texts], ranked.hashes, ranked.places, ranked.scores,
        )  # fmt: skip
    return ranked


def _by_kind(settings: AlignSettings) -> Bytes:
    """Return what a match of each kind of words earns, in hundredths: uint8, shape (kinds,)."""
    by_kind = np.full(KINDS, _SCALE, dtype=np.uint8)
    by_kind[FUNCTION] = 0
    by_kind[NUMBER] = round(settings.number_score * _SCALE)
    by_kind[CHARACTER] = round(settings.character_score * _SCALE)
    return by_kind


def align_pairs(
    words: HashedWords,
    ranked: ScoredWords,
    left: Positions,
    right: Positions,
    settings: AlignSettings,
) -> Passages:
    """Align pairs of texts.

    Args:
        words: the words of all texts concerned.
        ranked: the same, ranked.
        left, right: int64, shape (pairs,), numbers of texts.
    """
    sizes = np.diff(ranked.offsets)
    longest = max(sizes[left].max(initial=1), sizes[right].max(initial=1))
    costs, kind = _costs_of(int(longest), settings)
    read = as_read_only(words.offsets), as_read_only(words.hashes)
    first, second, is_swapped = _put_in_order(*read, left, right)
    found = _align_pairs(
        *read,
        as_read_only(ranked.offsets),
        as_read_only(ranked.hashes),
        as_read_only(ranked.places),
        as_read_only(ranked.scores // np.uint8(costs.unit)),
        first,
        second,
        stable_order(second),
        np.empty((_ROWS, _ROOM), dtype=kind),
        longest,
        *costs,
        settings.min_resemblance,
        settings.max_passages,
    )
    found = found[np.argsort(found[:, PAIR], kind="stable")]
    pair, left_first, left_last, right_first, right_last, matched, score = found.T.copy()
    swapped = is_swapped[pair]
    return Passages(
        pair,
        np.where(swapped, right_first, left_first),
        np.where(swapped, right_last, left_last),
        np.where(swapped, left_first, right_first),
        np.where(swapped, left_last, right_last),
        matched,
        (score / _SCALE).astype(np.float32),
    )


def _costs_of(longest: int, settings: AlignSettings) -> tuple[_Costs, type[np.signedinteger[Any]]]:
    """Return the costs, and the least kind of numbers that holds all sums over so many words."""
    gap = round(settings.gap_cost * _SCALE)
    gap = min(gap, longest * _SCALE + 1)  # who pays more than can be earned earns nothing
    steps = min(settings.max_gap_words, longest) + 1
    unit = math.gcd(gap, *_by_kind(settings).tolist())
    least = -(-round(settings.min_score * _SCALE) // unit)
    costs = _Costs(unit, gap // unit, steps * gap // unit, least)
    largest = longest * (_SCALE // unit + 1) + 2 * (longest + 1) * costs.gap + costs.farthest
    kind = next(one for one in (np.int16, np.int32, np.int64) if largest < np.iinfo(one).max)
    return costs, kind


@kernel
def _put_in_order(
    offsets: Positions, hashes: Hashes, left: Positions, right: Positions
) -> tuple[Positions, Positions, npt.NDArray[np.bool_]]:
    """Return the sides of pairs so that the result does not depend on which is called left."""
    first, second = left.copy(), right.copy()
    is_swapped = np.zeros(len(left), dtype=np.bool_)
    for pair in range(len(left)):
        a, b = left[pair], right[pair]
        if comes_first(hashes[offsets[b] : offsets[b + 1]], hashes[offsets[a] : offsets[a + 1]]):
            first[pair], second[pair], is_swapped[pair] = b, a, True
    return first, second, is_swapped


@kernel
def _align_pairs(
    offsets: Positions,
    hashes: Hashes,
    content_offsets: Positions,
    content: Hashes,
    places: Indices,
    scores: Bytes,
    left: Positions,
    right: Positions,
    order: Positions,
    room: Room,
    longest: int,
    unit: int,
    gap: int,
    farthest: int,
    min_score: int,
    min_resemblance: float,
    max_passages: int,
) -> Positions:
    """Align pairs in an order in which those of a right text stand side by side.

    So the table of its words is made once for all of them.
    """
    found = np.empty((1024, _COLUMNS), dtype=np.int64)
    count = 0
    heads = np.empty(_slots(longest), dtype=np.int32)
    follows = np.empty(longest, dtype=np.int32)
    waiting = np.empty(longest + 1, dtype=np.int32)
    chain = np.empty(longest, dtype=np.int32)
    rows = np.empty(room.shape[1], dtype=np.int32)
    down, across, reached = room[0], room[1], room[2]
    _begin(down)
    held, slots = -1, 0
    for pair in order:
        a, b = left[pair], right[pair]
        mine, my_size = content_offsets[a], content_offsets[a + 1] - content_offsets[a]
        theirs, their_size = content_offsets[b], content_offsets[b + 1] - content_offsets[b]
        if b != held:
            held, slots = b, _slots(their_size)
            _enter(content, theirs, their_size, heads, follows, slots)
        stop = -1
        while stop < 0:
            stop = _meet(
                content, mine, my_size, theirs, their_size, heads, follows, slots, waiting, gap,
                rows, down, across,
            )  # fmt: skip
            if stop < 0:
                rows = np.empty(2 * len(rows) + longest, dtype=np.int32)
                room = np.empty((_ROWS, len(rows)), dtype=room.dtype)
                down, across, reached = room[0], room[1], room[2]
                _begin(down)
        begin = count
        for _ in range(max_passages):
            length, score = _best_chain(
                stop, rows, down, across, reached, scores, mine, gap, farthest, min_score, chain,
            )  # fmt: skip
            if length == 0:
                break
            if count == len(found):
                found = grow(found, 2 * count)
            _measure(
                chain, length, rows, across, gap, hashes, offsets[a], offsets[a + 1], offsets[b],
                offsets[b + 1], places, mine, theirs, found, begin, count,
            )  # fmt: skip
            found[count, SCORE] = score * unit
            is_kept = resembles(found[count], min_resemblance)
            found[count, PAIR] = pair if is_kept else _REJECTED
            count += 1
            stop, bound = _beside(stop, chain, length, rows, down, across, reached)
            if bound < min_score:
                break
        count = _keep(found, begin, count)
    return found[:count].copy()


@inlined
def _keep(found: Positions, begin: int, end: int) -> int:
    """Move the passages that are not rejected to the front; return where they end."""
    kept = begin
    for k in range(begin, end):
        if found[k, PAIR] != _REJECTED:
            if k != kept:
                found[kept] = found[k]
            kept += 1
    return kept


@inlined
def resembles(row: Any, min_resemblance: float) -> bool:
    """Tell whether enough of the words of a passage, a row of such columns, are matched."""
    together = row[LEFT_LAST] - row[LEFT_FIRST] + row[RIGHT_LAST] - row[RIGHT_FIRST]
    return bool(row[MATCHED] >= min_resemblance * (together - row[MATCHED]))


@inlined
def swap_sides(rows: Any) -> None:
    """Make left right in rows of such columns."""
    for row in rows:
        row[LEFT_FIRST], row[RIGHT_FIRST] = row[RIGHT_FIRST], row[LEFT_FIRST]
        row[LEFT_LAST], row[RIGHT_LAST] = row[RIGHT_LAST], row[LEFT_LAST]


@kernel
def _rank_words(
    hashes: Hashes,
    kinds: Bytes,
    by_kind: Bytes,
    starts: Positions,
    ends: Positions,
    firsts: Positions,
    content: Hashes,
    places: Indices,
    scores: Bytes,
) -> None:
    """Write the content words of each text from its first place on."""
    for text in range(len(starts)):
        at = firsts[text]
        for word in range(starts[text], ends[text]):
            score = by_kind[kinds[word]]
            if score > 0:
                content[at], places[at], scores[at] = hashes[word], word - starts[text], score
                at += 1


@inlined
def comes_first(left: Hashes, right: Hashes) -> bool:
    """Order two texts by content, so that the result does not depend on which is called left."""
    if len(left) != len(right):
        return len(left) < len(right)
    for k in range(len(left)):
        if left[k] != right[k]:
            return bool(left[k] < right[k])
    return False


@inlined
def _slots(size: int) -> int:
    """Return how many slots a table of so many words has: a power of two, few of them taken."""
    slots = 64
    while slots < 4 * size:
        slots *= 2
    return slots


@inlined
def _enter(
    content: Hashes, first: int, size: int, heads: Indices, follows: Indices, slots: int
) -> None:
    """Enter the content words of a text into a table, by hash.

    ``heads`` tells the first word of each slot, and ``follows`` the next one in it, or -1.
    """
    heads[:slots] = -1
    mask = np.int64(slots - 1)
    for j in range(size - 1, -1, -1):
        slot = np.int64(content[first + j]) & mask
        follows[j] = heads[slot]
        heads[slot] = j


@inlined
def _meet(
    content: Hashes,
    mine: int,
    my_size: int,
    theirs: int,
    their_size: int,
    heads: Indices,
    follows: Indices,
    slots: int,
    waiting: Indices,
    gap: int,
    rows: Indices,
    down: Scores,
    across: Scores,
) -> int:
    """Write all pairs of equal content words, by their number on the left and then on the right.

    Words whose slot is taken are told from all others first, without a branch.

    Returns:
        where the pairs end, or -1 if there is no room for all of them.
    """
    mask = np.int64(slots - 1)
    found = 0
    for i in range(my_size):
        waiting[found] = i
        found += 1 if heads[np.int64(content[mine + i]) & mask] >= 0 else 0
    stop = LANES
    for k in range(found):
        if stop + their_size > len(rows):
            return -1
        i = waiting[k]
        value = content[mine + i]
        j = heads[np.int64(value) & mask]
        while j >= 0:
            if content[theirs + j] == value:
                rows[stop] = i
                down[stop] = i * gap
                across[stop] = j * gap
                stop += 1
            j = follows[j]
    return stop


@inlined
def _begin(down: Scores) -> None:
    """Write what stands before the first anchor: what no anchor can follow."""
    down[:LANES] = np.iinfo(down.dtype).max


@inlined
def _best_chain(
    stop: int,
    rows: Indices,
    down: Scores,
    across: Scores,
    reached: Scores,
    scores: Bytes,
    mine: int,
    gap: int,
    farthest: int,
    min_score: int,
    chain: Indices,
) -> tuple[int, np.int64]:
    """Write the anchors of the best chain, the last one first; return its length and score.

    Positions are held times ``gap``, so that the search among the predecessors of an anchor has
    neither a product nor a branch, and takes ``LANES`` at once. Only the score is kept on the way;
    whom an anchor came from is found again for the best chain, if it is good enough.
    """
    best, best_at = np.int64(0), -1
    row = LANES
    for k in range(LANES, stop):
        here, there = down[k], across[k]
        if here != down[row]:
            row = k  # anchors of the same left word do not follow one another
        before = np.int64(0)
        end = row
        while True:
            value = highest_of_lanes(down, across, reached, end - LANES, here, there, gap, farthest)
            before = max(before, np.int64(value))
            end -= LANES
            if end <= LANES or here - down[end] > farthest:
                break
        total = before + np.int64(scores[mine + rows[k]])
        reached[k] = total
        if total > best:
            best, best_at = total, k
    if best < min_score:
        return 0, best
    length = 0
    while best_at >= 0:
        chain[length] = best_at
        length += 1
        before = np.int64(reached[best_at]) - np.int64(scores[mine + rows[best_at]])
        best_at = _predecessor(down, across, reached, best_at, before, gap, farthest)
    return length, best


@inlined
def _predecessor(
    down: Scores,
    across: Scores,
    reached: Scores,
    anchor: int,
    before: np.int64,
    gap: int,
    farthest: int,
) -> int:
    """Return the nearest anchor from which a chain brings just this score along; -1 if it is 0."""
    if before == 0:
        return -1
    here, there = np.int64(down[anchor]), np.int64(across[anchor])
    for p in range(anchor - 1, LANES - 1, -1):
        above, passed = here - down[p], there - across[p]
        if 0 < above <= farthest and 0 < passed <= farthest:
            if reached[p] - max(above, passed) + gap == before:
                return p
    return -1


@inlined
def _measure(
    chain: Indices,
    length: int,
    rows: Indices,
    across: Scores,
    gap: int,
    hashes: Hashes,
    left: int,
    left_end: int,
    right: int,
    right_end: int,
    places: Indices,
    mine: int,
    theirs: int,
    found: Positions,
    begin: int,
    number: int,
) -> None:
    """Write the span of a chain in words of both texts, and the words that agree within.

    Words of earlier passages of the pair, ``found[begin:number]``, are not taken again.
    """
    matched = length
    k = chain[0]
    last_i = np.int64(places[mine + rows[k]])
    last_j = np.int64(places[theirs + across[k] // gap])
    stop_i, stop_j = last_i, last_j
    for at in range(1, length):
        k = chain[at]
        i, j = np.int64(places[mine + rows[k]]), np.int64(places[theirs + across[k] // gap])
        between = min(stop_i - i, stop_j - j) - 1
        if between > 0:
            forward = _agreeing(hashes, left, right, i + 1, j + 1, 1, between, found, begin, number)
            matched += forward + _agreeing(
                hashes, left, right, stop_i - 1, stop_j - 1, -1, between - forward,
                found, begin, number,
            )  # fmt: skip
        stop_i, stop_j = i, j
    before = _agreeing(
        hashes, left, right, stop_i - 1, stop_j - 1, -1, min(stop_i, stop_j), found, begin, number
    )
    between = min(left_end - left - last_i, right_end - right - last_j) - 1
    behind = _agreeing(
        hashes, left, right, last_i + 1, last_j + 1, 1, between, found, begin, number
    )
    found[number, LEFT_FIRST], found[number, LEFT_LAST] = stop_i - before, last_i + behind + 1
    found[number, RIGHT_FIRST], found[number, RIGHT_LAST] = stop_j - before, last_j + behind + 1
    found[number, MATCHED] = matched + before + behind


@inlined
def _agreeing(
    hashes: Hashes,
    left: int,
    right: int,
    i: np.int64,
    j: np.int64,
    step: int,
    most: np.int64,
    found: Positions,
    begin: int,
    number: int,
) -> int:
    """Return how many words agree from two places on (step 1) or back (-1), at most ``most``.

    Counting stops at a word of an earlier passage, ``found[begin:number]``.
    """
    agreeing = 0
    while agreeing < most and hashes[left + i] == hashes[right + j]:
        for k in range(begin, number):
            if (
                found[k, LEFT_FIRST] <= i < found[k, LEFT_LAST]
                or found[k, RIGHT_FIRST] <= j < found[k, RIGHT_LAST]
            ):
                return agreeing
        i, j, agreeing = i + step, j + step, agreeing + 1
    return agreeing


@inlined
def _beside(
    stop: int,
    chain: Indices,
    length: int,
    rows: Indices,
    down: Scores,
    across: Scores,
    reached: Scores,
) -> tuple[int, np.int64]:
    """Keep the anchors outside a chain's span on both sides; return their end and a bound.

    No chain of theirs has a higher score than the bound: the highest score that one of them was
    reached with when there were more anchors.
    """
    first, last = chain[length - 1], chain[0]
    first_row, last_row = rows[first], rows[last]
    first_across, last_across = across[first], across[last]
    kept = LANES
    bound = np.int64(0)
    for k in range(LANES, stop):
        i, there = rows[k], across[k]
        rows[kept], down[kept], across[kept] = i, down[k], there
        is_off_rows = (i < first_row) | (i > last_row)
        is_off = is_off_rows & ((there < first_across) | (there > last_across))
        kept += 1 if is_off else 0
        bound = max(bound, np.int64(reached[k]) if is_off else np.int64(0))
    return kept, bound
