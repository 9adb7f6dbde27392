"""Align texts word by word: the evidence that decides what is shared.

A passage is a chain of content words that occur in both texts in the same order. Each word earns
its score, and each content word that is skipped between two of them, on the side where more are
skipped, costs a little. The best chain is the passage; the next best is searched for in what
remains, until the score falls below the minimum. Function words neither earn nor cost. They are
counted where they agree between, before and after the words of the chain. A word is part of one
passage of a pair only.

This is local alignment (Smith and Waterman 1981) over content words, with one cost for mismatches
and gaps, computed as sparse dynamic programming over the matching cells (Eppstein, Galil, Giancarlo
and Italiano 1992): few of all cells match, so the table is never filled. ``tests/oracles.py`` fills
it and finds the same scores. Of long documents only regions that share rare pairs of words are
aligned (``dedup.regions``).

Kernels take records at the border and single arrays inside: to pass a record to a function that is
called for each pair or each match would count references to all of its arrays each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from palimpsest.dedup.lanes import LANES, highest_of_lanes
from palimpsest.dedup.regions import LONG_CELLS, cell_shift, find_regions
from palimpsest.dedup.texts import TextSpans
from palimpsest.dedup.words import (
    CHARACTER,
    FUNCTION,
    HEADER,
    HEADER_HASH,
    KINDS,
    NUMBER,
    HashedWords,
    Words,
)
from palimpsest.kernels.arrays import Bytes, Flags, Hashes, Indices, Integers, Positions, Scores
from palimpsest.kernels.columns import as_read_only, grow
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.kernels.sorting import stable_order
from palimpsest.records.settings import AlignSettings

_SCALE = 100
"""Scores are added up as whole hundredths, so that the order of addition makes no difference."""

# Columns of a passage.
PAIR, LEFT_FIRST, LEFT_LAST, RIGHT_FIRST, RIGHT_LAST, MATCHED, SCORE = range(7)
_COLUMNS = 7
_ANCHOR_COLUMNS, _INITIAL_ANCHORS = 3, 1024
"""Shape of the table of anchors, which are pairs of equal words, at first."""
_LONG_WORDS = 1024
"""Content words of the shorter of two long documents for which ``max_passages`` are found."""
# Columns of an island: anchors of a region, none of which follows one of another region.
_BEGIN, _STOP, _TOP, _TOP_AT, _FIRST_ACROSS, _LAST_ACROSS = range(6)
_ISLAND_COLUMNS = 6
_UNKNOWN = -1
"""The last anchor of an island's best chain, until it is found; its score is a bound until then."""
_REJECTED = -1
"""Pair number of a passage of too little resemblance, until all passages of its pair are found."""


class Passages(NamedTuple):
    """Passages that pairs of texts share, in the order of pairs, the best of a pair first.

    Attributes:
        pair: int64, shape (passages,), the number of the pair.
        left_first, left_last, right_first, right_last: int64, words of each text, half-open.
        matched: int64, number of words aligned with an equal word.
        score: float32; a content word that matches earns 1.
    """

    pair: Positions
    left_first: Positions
    left_last: Positions
    right_first: Positions
    right_last: Positions
    matched: Positions
    score: Scores


class ScoredWords(NamedTuple):
    """The words of many texts that earn a score, text after text: all but function words.

    Attributes:
        offsets: int64, shape (texts + 1,): where the content words of each text begin.
        hashes: uint32, shape (content words,).
        places: int32, the position of each among all words of its text.
        scores: uint8, what a match earns, in hundredths.
    """

    offsets: Positions
    hashes: Hashes
    places: Indices
    scores: Bytes


class _Costs(NamedTuple):
    """Costs and limits of chains, in units of the greatest common divisor of all of them.

    Attributes:
        unit: hundredths of a score in a unit.
        gap: cost of a skipped word.
        farthest: distance of two matches in a chain, at most, times ``gap``.
        min_score: lowest score of a chain.
    """

    unit: int
    gap: int
    farthest: int
    min_score: int


class _Limits(NamedTuple):
    """Which passages are kept, and how many of a pair."""

    min_resemblance: float
    max_passages: int


def score_words(words: Words, settings: AlignSettings) -> ScoredWords:
    """Return the content words of texts with their scores."""
    all_texts = TextSpans.of([words.offsets], np.arange(len(words.offsets) - 1))
    return score_parts([words], all_texts, settings)


def score_parts(parts: Sequence[Words], spans: TextSpans, settings: AlignSettings) -> ScoredWords:
    """Return the content words of texts whose words are in these spans of the parts."""
    by_kind = _scores_by_kind(settings)
    counts = np.empty(len(spans.part), dtype=np.int64)
    texts_of_part = [np.flatnonzero(spans.part == number) for number in range(len(parts))]
    bounds = [(spans.starts[texts], spans.ends[texts]) for texts in texts_of_part]
    for part, texts, (starts, ends) in zip(parts, texts_of_part, bounds, strict=True):
        before = np.concatenate(([0], np.cumsum(by_kind[part.kinds] > 0)))
        counts[texts] = before[ends] - before[starts]
    offsets = np.concatenate(([0], np.cumsum(counts)))
    scored = ScoredWords(
        offsets=offsets,
        hashes=np.empty(offsets[-1], dtype=np.uint32),
        places=np.empty(offsets[-1], dtype=np.int32),
        scores=np.empty(offsets[-1], dtype=np.uint8),
    )
    for part, texts, (starts, ends) in zip(parts, texts_of_part, bounds, strict=True):
        hashes, kinds = as_read_only(part.hashes), as_read_only(part.kinds)
        _write_scored(hashes, kinds, by_kind, starts, ends, offsets[texts], scored)
    return scored


def _scores_by_kind(settings: AlignSettings) -> Bytes:
    """Return what a match earns by the kind of word, in hundredths: uint8, shape (kinds,)."""
    by_kind = np.full(KINDS, _SCALE, dtype=np.uint8)
    by_kind[FUNCTION] = by_kind[HEADER] = 0
    by_kind[NUMBER] = round(settings.number_score * _SCALE)
    by_kind[CHARACTER] = round(settings.character_score * _SCALE)
    return by_kind


def align_pairs(
    words: HashedWords,
    scored: ScoredWords,
    left: Positions,
    right: Positions,
    settings: AlignSettings,
) -> Passages:
    """Align pairs of texts.

    Args:
        words: the words of all texts.
        scored: the content words among them.
        left, right: int64, shape (pairs,), numbers of texts.
        settings: scores, costs and limits.
    """
    sizes = np.diff(scored.offsets)
    longest = max(sizes[left].max(initial=1), sizes[right].max(initial=1))
    costs, dtype = _costs_of(int(longest), settings)
    offsets, hashes = as_read_only(words.offsets), as_read_only(words.hashes)
    first, second, is_swapped = _put_in_order(offsets, hashes, left, right)
    found = _align_pairs(
        offsets,
        hashes,
        ScoredWords(
            offsets=as_read_only(scored.offsets),
            hashes=as_read_only(scored.hashes),
            places=as_read_only(scored.places),
            scores=as_read_only(scored.scores // np.uint8(costs.unit)),
        ),
        first,
        second,
        stable_order(second),
        np.empty((_ANCHOR_COLUMNS, _INITIAL_ANCHORS), dtype=dtype),
        longest,
        costs,
        _Limits(min_resemblance=settings.min_resemblance, max_passages=settings.max_passages),
    )
    found = found[np.argsort(found[:, PAIR], kind="stable")]
    pair, left_first, left_last, right_first, right_last, matched, score = found.T.copy()
    swapped = is_swapped[pair]
    return Passages(
        pair=pair,
        left_first=np.where(swapped, right_first, left_first),
        left_last=np.where(swapped, right_last, left_last),
        right_first=np.where(swapped, left_first, right_first),
        right_last=np.where(swapped, left_last, right_last),
        matched=matched,
        score=(score / _SCALE).astype(np.float32),
    )


def _costs_of(longest: int, settings: AlignSettings) -> tuple[_Costs, type[np.signedinteger[Any]]]:
    """Return the costs, and the smallest dtype for all sums over texts of ``longest`` words."""
    gap = round(settings.gap_cost * _SCALE)
    gap = min(gap, longest * _SCALE + 1)  # beyond what can be earned, a higher cost changes nothing
    steps = min(settings.max_gap_words, longest) + 1
    unit = math.gcd(gap, *_scores_by_kind(settings).tolist())
    min_score = -(-round(settings.min_score * _SCALE) // unit)
    costs = _Costs(unit=unit, gap=gap // unit, farthest=steps * gap // unit, min_score=min_score)
    largest = longest * (_SCALE // unit + 1) + 2 * (longest + 1) * costs.gap + costs.farthest
    fits = (dtype for dtype in (np.int16, np.int32, np.int64) if largest < np.iinfo(dtype).max)
    return costs, next(fits)


@kernel
def _put_in_order(
    offsets: Positions, hashes: Hashes, left: Positions, right: Positions
) -> tuple[Positions, Positions, Flags]:
    """Return the pairs with their sides in the order of content, and which pairs were swapped."""
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
    scored: ScoredWords,
    left: Positions,
    right: Positions,
    order: Positions,
    anchors: Integers,
    longest: int,
    costs: _Costs,
    limits: _Limits,
) -> Positions:
    """Align pairs; return rows of the columns above, in no particular order of pairs.

    Args:
        offsets, hashes: the words of all texts.
        scored: the content words, their scores in units of ``costs``.
        left, right: int64, shape (pairs,), numbers of texts.
        order: the pairs by right text, so that the hash table of its words is made once.
        anchors: memory for anchors, of the dtype in which scores are added up.
        longest: number of content words in the longest text.
        costs, limits: which chains are passages.
    """
    content_offsets, content, places, scores = scored
    unit, gap, farthest, min_score = costs
    min_resemblance, max_passages = limits
    found = np.empty((1024, _COLUMNS), dtype=np.int64)
    count = 0
    heads = np.empty(_table_size(longest), dtype=np.int32)
    follows = np.empty(longest, dtype=np.int32)
    waiting = np.empty(longest + 1, dtype=np.int32)
    chain = np.empty(longest, dtype=np.int32)
    rows = np.empty(anchors.shape[1], dtype=np.int32)
    down, across, reached = anchors[0], anchors[1], anchors[2]
    islands = np.empty((1, _ISLAND_COLUMNS), dtype=np.int64)
    no_cells = np.empty(0, dtype=np.int32)
    table_text, slots = -1, 0
    for pair in order:
        a, b = left[pair], right[pair]
        mine, my_size = content_offsets[a], content_offsets[a + 1] - content_offsets[a]
        theirs, their_size = content_offsets[b], content_offsets[b + 1] - content_offsets[b]
        if b != table_text:
            table_text, slots = b, _table_size(their_size)
            _fill_table(content, theirs, their_size, heads, follows, slots)
        most, cells, regions = max_passages, no_cells, 1
        if my_size * their_size > LONG_CELLS:
            most *= 1 + my_size // _LONG_WORDS
            cells, regions = find_regions(content, mine, my_size, theirs, their_size)
        stop = -1
        while stop < 0:
            stop = _find_anchors(
                content, mine, my_size, theirs, their_size, heads, follows, slots, waiting, gap,
                cells, rows, down, across,
            )  # fmt: skip
            needed = 2 * len(rows) + longest if stop < 0 else stop + LANES * regions
            if needed > len(rows):
                stop = -1
                rows = np.empty(needed, dtype=np.int32)
                anchors = np.empty((_ANCHOR_COLUMNS, needed), dtype=anchors.dtype)
                down, across, reached = anchors[0], anchors[1], anchors[2]
        if len(islands) < regions:
            islands = np.empty((2 * regions, _ISLAND_COLUMNS), dtype=np.int64)
        if regions == 1:
            _put_island(islands[0], LANES, stop, down)
        else:
            _part_by_region(
                cells, regions, my_size, their_size, gap, stop, rows, down, across, islands
            )
        for k in range(regions):
            _reach_anchors(
                islands[k], rows, down, across, reached, scores, mine, gap, farthest
            )  # fmt: skip
        begin = count
        for _ in range(most):
            best = _best_island(
                islands[:regions], rows, down, across, reached, scores, mine, gap, farthest,
                min_score,
            )  # fmt: skip
            if best < 0:
                break
            length = _trace_chain(
                islands[best], rows, down, across, reached, scores, mine, gap, farthest, chain,
            )  # fmt: skip
            if count == len(found):
                found = grow(found, 2 * count)
            _measure(
                chain, length, rows, across, gap, hashes, offsets[a], offsets[a + 1], offsets[b],
                offsets[b + 1], places, mine, theirs, found, begin, count,
            )  # fmt: skip
            found[count, SCORE] = islands[best, _TOP] * unit
            is_kept = resembles(found[count], min_resemblance)
            found[count, PAIR] = pair if is_kept else _REJECTED
            count += 1
            _remove_covered(islands[:regions], chain, length, rows, down, across, reached)
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
    """Return whether enough of the words of a passage, a row of the columns above, are matched."""
    together = row[LEFT_LAST] - row[LEFT_FIRST] + row[RIGHT_LAST] - row[RIGHT_FIRST]
    return bool(row[MATCHED] >= min_resemblance * (together - row[MATCHED]))


@inlined
def swap_sides(rows: Any) -> None:
    """Swap left and right in rows of the columns above."""
    for row in rows:
        row[LEFT_FIRST], row[RIGHT_FIRST] = row[RIGHT_FIRST], row[LEFT_FIRST]
        row[LEFT_LAST], row[RIGHT_LAST] = row[RIGHT_LAST], row[LEFT_LAST]


@kernel
def _write_scored(
    hashes: Hashes,
    kinds: Bytes,
    by_kind: Bytes,
    starts: Positions,
    ends: Positions,
    firsts: Positions,
    scored: ScoredWords,
) -> None:
    """Write the content words of each text into ``scored``, from its position in ``firsts`` on."""
    content, places, scores = scored.hashes, scored.places, scored.scores
    for text in range(len(starts)):
        at = firsts[text]
        for word in range(starts[text], ends[text]):
            score = by_kind[kinds[word]]
            if score > 0:
                content[at], places[at], scores[at] = hashes[word], word - starts[text], score
                at += 1


@inlined
def comes_first(left: Hashes, right: Hashes) -> bool:
    """Return whether a text sorts before another, by length and then by its words' hashes."""
    if len(left) != len(right):
        return len(left) < len(right)
    for k in range(len(left)):
        if left[k] != right[k]:
            return bool(left[k] < right[k])
    return False


@inlined
def _table_size(size: int) -> int:
    """Return the slots of a hash table of ``size`` words: a power of two, at most a fourth full."""
    slots = 64
    while slots < 4 * size:
        slots *= 2
    return slots


@inlined
def _fill_table(
    content: Hashes, first: int, size: int, heads: Indices, follows: Indices, slots: int
) -> None:
    """Put the content words of a text into a hash table with chaining.

    ``heads`` has the first word of each slot, and ``follows`` the next one in the slot, or -1.
    """
    heads[:slots] = -1
    mask = np.int64(slots - 1)
    for j in range(size - 1, -1, -1):
        slot = np.int64(content[first + j]) & mask
        follows[j] = heads[slot]
        heads[slot] = j


@inlined
def _find_anchors(
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
    cells: Indices,
    rows: Indices,
    down: Integers,
    across: Integers,
) -> int:
    """Write all anchors: pairs of equal content words, sorted by left word, then by right word.

    Words whose slot is occupied are selected first, without a branch, into ``waiting``. If there
    are ``cells`` (``dedup.regions``), only anchors in regions are written.

    Returns:
        where the anchors end, or -1 if the arrays are too short for all of them.
    """
    mask = np.int64(slots - 1)
    found = 0
    for i in range(my_size):
        waiting[found] = i
        found += 1 if heads[np.int64(content[mine + i]) & mask] >= 0 else 0
    stop = LANES
    shift = cell_shift(my_size, their_size)
    width = (their_size >> shift) + 1
    for k in range(found):
        if stop + their_size > len(rows):
            return -1
        i = waiting[k]
        value = content[mine + i]
        j = heads[np.int64(value) & mask]
        while j >= 0:
            is_anchor = content[theirs + j] == value
            if is_anchor and len(cells):
                is_anchor = cells[(i >> shift) * width + (j >> shift)] >= 0
            if is_anchor:
                rows[stop] = i
                down[stop] = i * gap
                across[stop] = j * gap
                stop += 1
            j = follows[j]
    return stop


@inlined
def _put_island(island: Positions, begin: int, stop: int, down: Integers) -> None:
    """Make an island of anchors, with ``LANES`` values before them that no anchor can follow."""
    down[begin - LANES : begin] = np.iinfo(down.dtype).max
    island[_BEGIN], island[_STOP] = begin, stop
    island[_FIRST_ACROSS], island[_LAST_ACROSS] = 0, np.iinfo(np.int64).max


@inlined
def _part_by_region(
    cells: Indices,
    regions: int,
    my_size: int,
    their_size: int,
    gap: int,
    stop: int,
    rows: Indices,
    down: Integers,
    across: Integers,
    islands: Positions,
) -> None:
    """Make an island of the anchors of each region; their order stays the same within it."""
    shift = cell_shift(my_size, their_size)
    width = (their_size >> shift) + 1
    region = np.empty(stop, dtype=np.int32)
    sizes = np.zeros(regions, dtype=np.int64)
    for k in range(LANES, stop):
        cell = (rows[k] >> shift) * width + ((np.int64(across[k]) // gap) >> shift)
        region[k] = cells[cell]
        sizes[region[k]] += 1
    old_rows, old_across = rows[:stop].copy(), across[:stop].copy()
    end = 0
    for number in range(regions):
        _put_island(islands[number], end + LANES, end + LANES, down)
        islands[number, _FIRST_ACROSS] = np.iinfo(np.int64).max
        islands[number, _LAST_ACROSS] = 0
        end += LANES + sizes[number]
    for k in range(LANES, stop):
        island = islands[region[k]]
        at, there = island[_STOP], old_across[k]
        rows[at], across[at] = old_rows[k], there
        down[at] = old_rows[k] * gap
        island[_STOP] += 1
        island[_FIRST_ACROSS] = min(island[_FIRST_ACROSS], there)
        island[_LAST_ACROSS] = max(island[_LAST_ACROSS], there)


@inlined
def _best_island(
    islands: Positions,
    rows: Indices,
    down: Integers,
    across: Integers,
    reached: Integers,
    scores: Bytes,
    mine: int,
    gap: int,
    farthest: int,
    min_score: int,
) -> int:
    """Return the island with the best chain, which is then known; -1 if none is good enough.

    Of equal chains, the one whose last anchor comes first is the best.
    """
    while True:
        best = -1
        for k in range(len(islands)):
            if islands[k, _TOP] < min_score:
                continue
            if best < 0 or _is_ahead(islands[k], islands[best], down, across):
                best = k
        if best < 0 or islands[best, _TOP_AT] != _UNKNOWN:
            return best
        _reach_anchors(islands[best], rows, down, across, reached, scores, mine, gap, farthest)


@inlined
def _is_ahead(island: Positions, other: Positions, down: Integers, across: Integers) -> bool:
    """Return whether an island may have a better chain than another."""
    if island[_TOP] != other[_TOP]:
        return bool(island[_TOP] > other[_TOP])
    at, other_at = island[_TOP_AT], other[_TOP_AT]
    if at == _UNKNOWN or other_at == _UNKNOWN:
        return bool(other_at != _UNKNOWN)
    if down[at] != down[other_at]:
        return bool(down[at] < down[other_at])
    return bool(across[at] < across[other_at])


@inlined
def _reach_anchors(
    island: Positions,
    rows: Indices,
    down: Integers,
    across: Integers,
    reached: Integers,
    scores: Bytes,
    mine: int,
    gap: int,
    farthest: int,
) -> None:
    """Write the score with which each anchor of an island is reached, and where it is highest.

    Positions are stored times ``gap``, so that the search among the predecessors of an anchor needs
    neither a product nor a branch, and looks at ``LANES`` of them at once. Only scores are stored
    on the way; predecessors are found again for the best chain, if its score is high enough.
    """
    best, best_at = np.int64(0), _UNKNOWN
    begin = island[_BEGIN]
    row = begin
    for k in range(begin, island[_STOP]):
        here, there = down[k], across[k]
        if here != down[row]:
            row = k  # anchors of the same left word do not follow one another
        before = np.int64(0)
        end = row
        while True:
            value = highest_of_lanes(down, across, reached, end - LANES, here, there, gap, farthest)
            before = max(before, np.int64(value))
            end -= LANES
            if end <= begin or here - down[end] > farthest:
                break
        total = before + np.int64(scores[mine + rows[k]])
        reached[k] = total
        if total > best:
            best, best_at = total, k
    island[_TOP], island[_TOP_AT] = best, best_at


@inlined
def _trace_chain(
    island: Positions,
    rows: Indices,
    down: Integers,
    across: Integers,
    reached: Integers,
    scores: Bytes,
    mine: int,
    gap: int,
    farthest: int,
    chain: Indices,
) -> int:
    """Write the anchors of the best chain of an island, the last one first; return its length."""
    at, length = island[_TOP_AT], 0
    while at >= 0:
        chain[length] = at
        length += 1
        before = np.int64(reached[at]) - np.int64(scores[mine + rows[at]])
        at = _predecessor(down, across, reached, at, before, gap, farthest)
    return length


@inlined
def _predecessor(
    down: Integers,
    across: Integers,
    reached: Integers,
    anchor: int,
    before: np.int64,
    gap: int,
    farthest: int,
) -> int:
    """Return the nearest anchor whose chain arrives with the score ``before``; -1 if that is 0."""
    if before == 0:
        return -1
    here, there = np.int64(down[anchor]), np.int64(across[anchor])
    for p in range(anchor - 1, -1, -1):
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
    across: Integers,
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
    """Write the span of a chain in words of both texts, and how many words in it agree.

    Words of earlier passages of the pair, ``found[begin:number]``, are not used again.
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
            forward = _count_agreeing(
                hashes, left, right, i + 1, j + 1, 1, between, found, begin, number
            )
            matched += forward + _count_agreeing(
                hashes, left, right, stop_i - 1, stop_j - 1, -1, between - forward,
                found, begin, number,
            )  # fmt: skip
        stop_i, stop_j = i, j
    before = _count_agreeing(
        hashes, left, right, stop_i - 1, stop_j - 1, -1, min(stop_i, stop_j), found, begin, number
    )
    between = min(left_end - left - last_i, right_end - right - last_j) - 1
    behind = _count_agreeing(
        hashes, left, right, last_i + 1, last_j + 1, 1, between, found, begin, number
    )
    found[number, LEFT_FIRST], found[number, LEFT_LAST] = stop_i - before, last_i + behind + 1
    found[number, RIGHT_FIRST], found[number, RIGHT_LAST] = stop_j - before, last_j + behind + 1
    found[number, MATCHED] = matched + before + behind


@inlined
def _count_agreeing(
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
    """Return how many words agree from two positions forward (step 1) or back (-1), up to ``most``.

    Counting stops at a word of an earlier passage, ``found[begin:number]``.
    """
    agreeing = 0
    while agreeing < most and hashes[left + i] == hashes[right + j] != HEADER_HASH:
        for k in range(begin, number):
            if (
                found[k, LEFT_FIRST] <= i < found[k, LEFT_LAST]
                or found[k, RIGHT_FIRST] <= j < found[k, RIGHT_LAST]
            ):
                return agreeing
        i, j, agreeing = i + step, j + step, agreeing + 1
    return agreeing


@inlined
def _remove_covered(
    islands: Positions,
    chain: Indices,
    length: int,
    rows: Indices,
    down: Integers,
    across: Integers,
    reached: Integers,
) -> None:
    """Remove anchors within a chain's span on either side from all islands.

    The best chain of such an island has to be found again. It has no higher score than any of the
    other anchors was reached with.
    """
    first, last = chain[length - 1], chain[0]
    first_row, last_row = rows[first], rows[last]
    first_across, last_across = across[first], across[last]
    for island in islands:
        begin, stop = island[_BEGIN], island[_STOP]
        if begin == stop or (
            (rows[stop - 1] < first_row or rows[begin] > last_row)
            and (island[_LAST_ACROSS] < first_across or island[_FIRST_ACROSS] > last_across)
        ):
            continue
        kept = begin
        bound = np.int64(0)
        for k in range(begin, stop):
            i, there = rows[k], across[k]
            rows[kept], down[kept], across[kept] = i, down[k], there
            is_off_rows = (i < first_row) | (i > last_row)
            is_off = is_off_rows & ((there < first_across) | (there > last_across))
            kept += 1 if is_off else 0
            bound = max(bound, np.int64(reached[k]) if is_off else np.int64(0))
        if kept < stop:
            island[_STOP], island[_TOP], island[_TOP_AT] = kept, bound, _UNKNOWN
