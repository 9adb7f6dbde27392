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

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dedup.words import CHARACTER, FUNCTION, KINDS, NUMBER, Words
from records.columns import grown
from records.compiled import inlined, kernel
from records.settings import AlignSettings

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint32]
Packed = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]

_SCALE = 100
"""Scores are added up as whole hundredths, so that the order of adding changes nothing."""

# Columns of a passage.
PAIR, LEFT_FIRST, LEFT_LAST, RIGHT_FIRST, RIGHT_LAST, MATCHED, SCORE = range(7)
_COLUMNS = 7
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


class Ranked(NamedTuple):
    """The content words of many texts, those of a text sorted by hash.

    Attributes:
        offsets: int64, shape (texts + 1,): which content words are whose.
        ranked: uint64, the hash above and the number among the text's content words below.
        places: int32, in the order of the text: the place among all words of the text.
        scores: uint8, in the order of the text: what a match earns, in hundredths.
    """

    offsets: Positions
    ranked: Packed
    places: Places
    scores: Bytes


def rank_words(words: Words, settings: AlignSettings) -> Ranked:
    """Return the content words of texts as alignment takes them."""
    by_kind = np.full(KINDS, _SCALE, dtype=np.uint8)
    by_kind[FUNCTION] = 0
    by_kind[NUMBER] = round(settings.number_score * _SCALE)
    by_kind[CHARACTER] = round(settings.character_score * _SCALE)
    return Ranked(*_rank_words(words.offsets, words.hashes, words.kinds, by_kind))


def align_pairs(
    words: Words, ranked: Ranked, left: Positions, right: Positions, settings: AlignSettings
) -> Passages:
    """Align pairs of texts.

    Args:
        words: the words of all texts concerned.
        ranked: the same, ranked.
        left, right: int64, shape (pairs,), numbers of texts.
    """
    found = _align_pairs(
        words.offsets,
        words.hashes,
        *ranked,
        left,
        right,
        round(settings.gap_cost * _SCALE),
        round(settings.min_score * _SCALE),
        settings.min_resemblance,
        settings.max_gap_words,
        settings.max_passages,
    )
    pair, left_first, left_last, right_first, right_last, matched, score = found.T.copy()
    return Passages(
        pair,
        left_first,
        left_last,
        right_first,
        right_last,
        matched,
        (score / _SCALE).astype(np.float32),
    )


@kernel
def _align_pairs(
    offsets: Positions,
    hashes: Hashes,
    ranked_offsets: Positions,
    ranked: Packed,
    places: Places,
    scores: Bytes,
    left: Positions,
    right: Positions,
    gap: int,
    min_score: int,
    min_resemblance: float,
    max_gap: int,
    max_passages: int,
) -> Positions:
    found = np.empty((1024, _COLUMNS), dtype=np.int64)
    count = 0
    longest = np.int64(0)
    for text in range(len(ranked_offsets) - 1):
        longest = max(longest, ranked_offsets[text + 1] - ranked_offsets[text])
    equal_first = np.empty(longest, dtype=np.int64)
    equal_last = np.empty(longest, dtype=np.int64)
    for pair in range(len(left)):
        a, b = left[pair], right[pair]
        first = hashes[offsets[a] : offsets[a + 1]]
        second = hashes[offsets[b] : offsets[b + 1]]
        is_swapped = comes_first(second, first)
        if is_swapped:
            a, b = b, a
            first, second = second, first
        mine = slice(ranked_offsets[a], ranked_offsets[a + 1])
        theirs = slice(ranked_offsets[b], ranked_offsets[b + 1])
        bound, pairs = _find_equal(
            ranked[mine], ranked[theirs], scores[mine], equal_first, equal_last
        )
        if bound < min_score:
            continue
        size = len(ranked[mine])
        anchors = _anchors(equal_first[:size], equal_last[:size], ranked[theirs], pairs)
        begin = count
        for _ in range(max_passages):
            chain, score = _best_chain(anchors, scores[mine], gap, max_gap, min_score)
            if score < min_score:
                break
            if count == len(found):
                found = grown(found, 2 * count)
            row = found[count]
            _measure(chain, first, second, places[mine], places[theirs], found[begin:count], row)
            row[SCORE] = score
            row[PAIR] = pair if resembles(row, min_resemblance) else _REJECTED
            count += 1
            anchors, bound = _beside(anchors, chain, scores[mine])
            if bound < min_score:
                break
        count = begin + _keep(found[begin:count])
        if is_swapped:
            swap_sides(found[begin:count])
    return found[:count].copy()


@inlined
def _keep(rows: Positions) -> int:
    """Move the passages that are not rejected to the front; return how many there are."""
    kept = 0
    for k in range(len(rows)):
        if rows[k, PAIR] != _REJECTED:
            rows[kept] = rows[k]
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
    offsets: Positions, hashes: Hashes, kinds: Bytes, by_kind: Bytes
) -> tuple[Positions, Packed, Places, Bytes]:
    ranked = np.empty(len(hashes), dtype=np.uint64)
    places = np.empty(len(hashes), dtype=np.int32)
    scores = np.empty(len(hashes), dtype=np.uint8)
    ranked_offsets = np.zeros(len(offsets), dtype=np.int64)
    count = 0
    for text in range(len(offsets) - 1):
        begin = count
        for word in range(offsets[text], offsets[text + 1]):
            if by_kind[kinds[word]] > 0:
                ranked[count] = np.uint64(hashes[word]) << np.uint64(32) | np.uint64(count - begin)
                places[count] = word - offsets[text]
                scores[count] = by_kind[kinds[word]]
                count += 1
        ranked[begin:count].sort()
        ranked_offsets[text + 1] = count
    return ranked_offsets, ranked[:count].copy(), places[:count].copy(), scores[:count].copy()


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
def _find_equal(
    left: Packed, right: Packed, scores: Bytes, first: Positions, last: Positions
) -> tuple[np.int64, int]:
    """Find where each left content word stands on the right.

    Writes for left word ``i`` the span ``first[i]:last[i]`` of equal words in ``right``. Returns
    the score of all left words that have one, which no chain can exceed, and the number of pairs.
    """
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    first[: len(left)] = 0
    last[: len(left)] = 0
    i, j, score, pairs = 0, 0, np.int64(0), 0
    while i < len(left) and j < len(right):
        value = left[i] >> half
        other = right[j] >> half
        if value == other:
            stop = j + 1
            while stop < len(right) and right[stop] >> half == value:
                stop += 1
            while i < len(left) and left[i] >> half == value:
                number = np.int64(left[i] & low)
                first[number], last[number] = j, stop
                score += np.int64(scores[number])
                pairs += stop - j
                i += 1
            j = stop
        elif value < other:
            i += 1
        else:
            j += 1
    return score, pairs


@inlined
def _anchors(first: Positions, last: Positions, right: Packed, pairs: int) -> Packed:
    """Return all pairs of equal content words, their numbers as ``left << 32 | right``, sorted."""
    anchors = np.empty(pairs, dtype=np.uint64)
    count = 0
    for i in range(len(first)):
        for k in range(first[i], last[i]):
            anchors[count] = np.uint64(i) << np.uint64(32) | (right[k] & np.uint64(0xFFFFFFFF))
            count += 1
    return anchors


@inlined
def _best_chain(
    anchors: Packed, scores: Bytes, gap: int, max_gap: int, min_score: int
) -> tuple[Packed, int]:
    """Return the anchors of the best chain, the last one first, and its score.

    Positions are held times ``gap``, so that the loop over the predecessors of an anchor has
    neither a product nor a branch, and the compiler takes several at once. Only the score is kept
    on the way; whom an anchor came from is found again for the best chain, if it is good enough.
    """
    count = len(anchors)
    across = np.empty(count, dtype=np.int64)
    down = np.empty(count, dtype=np.int64)
    reached = np.empty(count, dtype=np.int64)
    farthest = (max_gap + 1) * gap
    best, best_at = 0, -1
    first, row, row_at = 0, 0, np.int64(-1)
    for k in range(count):
        i = np.int64(anchors[k] >> np.uint64(32))
        here = i * gap
        there = np.int64(anchors[k] & np.uint64(0xFFFFFFFF)) * gap
        if here != row_at:  # anchors of the same left word do not follow one another
            row, row_at = k, here
            while first < k and here - down[first] > farthest:
                first += 1
        before = _highest(
            down[first:row], across[first:row], reached[first:row], here, there, gap, farthest
        )
        down[k] = here
        across[k] = there
        reached[k] = before + np.int64(scores[i])
        if reached[k] > best:
            best, best_at = reached[k], k
    if best < min_score:
        return anchors[:0], best
    chain = np.empty(count, dtype=np.uint64)
    length = 0
    while best_at >= 0:
        chain[length] = anchors[best_at]
        length += 1
        before = reached[best_at] - np.int64(scores[np.int64(anchors[best_at] >> np.uint64(32))])
        best_at = _predecessor(down, across, reached, best_at, before, gap, farthest)
    return chain[:length], best


@inlined
def _predecessor(
    down: Positions,
    across: Positions,
    reached: Positions,
    anchor: int,
    before: int,
    gap: int,
    farthest: int,
) -> int:
    """Return the nearest anchor from which a chain brings just this score along; -1 if it is 0."""
    if before == 0:
        return -1
    here, there = down[anchor], across[anchor]
    for p in range(anchor - 1, -1, -1):
        above, passed = here - down[p], there - across[p]
        if 0 < above <= farthest and 0 < passed <= farthest:
            if reached[p] - max(above, passed) + gap == before:
                return p
    return -1


@inlined
def _highest(
    down: Positions,
    across: Positions,
    reached: Positions,
    here: np.int64,
    there: np.int64,
    gap: int,
    farthest: int,
) -> np.int64:
    """Return the best score that a chain to one of these anchors brings along, at least 0."""
    before = np.int64(0)
    for p in range(len(down)):
        passed = there - across[p]
        value = reached[p] - max(here - down[p], passed) + gap
        value = value if (passed > 0) & (passed <= farthest) else np.int64(0)
        before = max(before, value)
    return before


@inlined
def _measure(
    chain: Packed,
    left: Hashes,
    right: Hashes,
    left_places: Places,
    right_places: Places,
    earlier: Positions,
    row: Positions,
) -> None:
    """Write the span of a chain in words of both texts, and the words that agree within.

    Words of earlier passages of the pair are not taken again.
    """
    matched = len(chain)
    for k in range(len(chain) - 1):
        i, j = _place(chain[k + 1], left_places, right_places)
        stop_i, stop_j = _place(chain[k], left_places, right_places)
        room = min(stop_i - i, stop_j - j) - 1
        forward = _agreeing(left, right, i + 1, j + 1, 1, room, earlier)
        backward = _agreeing(left, right, stop_i - 1, stop_j - 1, -1, room - forward, earlier)
        matched += forward + backward
    i, j = _place(chain[-1], left_places, right_places)
    before = _agreeing(left, right, i - 1, j - 1, -1, min(i, j), earlier)
    last_i, last_j = _place(chain[0], left_places, right_places)
    room = min(len(left) - last_i, len(right) - last_j) - 1
    behind = _agreeing(left, right, last_i + 1, last_j + 1, 1, room, earlier)
    row[LEFT_FIRST], row[LEFT_LAST] = i - before, last_i + behind + 1
    row[RIGHT_FIRST], row[RIGHT_LAST] = j - before, last_j + behind + 1
    row[MATCHED] = matched + before + behind


@inlined
def _agreeing(
    left: Hashes,
    right: Hashes,
    i: np.int64,
    j: np.int64,
    step: int,
    room: np.int64,
    earlier: Positions,
) -> int:
    """Return how many words agree from two places on (step 1) or back (-1), at most ``room``.

    Counting stops at a word of an earlier passage.
    """
    agreeing = 0
    while agreeing < room and left[i] == right[j]:
        for row in earlier:
            if row[LEFT_FIRST] <= i < row[LEFT_LAST] or row[RIGHT_FIRST] <= j < row[RIGHT_LAST]:
                return agreeing
        i, j, agreeing = i + step, j + step, agreeing + 1
    return agreeing


@inlined
def _place(
    anchor: np.uint64, left_places: Places, right_places: Places
) -> tuple[np.int64, np.int64]:
    """Return where the two words of an anchor stand among all words of their texts."""
    left = np.int64(anchor >> np.uint64(32))
    right = np.int64(anchor & np.uint64(0xFFFFFFFF))
    return np.int64(left_places[left]), np.int64(right_places[right])


@inlined
def _beside(anchors: Packed, chain: Packed, scores: Bytes) -> tuple[Packed, np.int64]:
    """Return the anchors outside a chain's span on both sides, and what they could score."""
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    first_i, first_j = chain[-1] >> half, chain[-1] & low
    last_i, last_j = chain[0] >> half, chain[0] & low
    kept = np.empty(len(anchors), dtype=np.uint64)
    count, bound = 0, np.int64(0)
    for k in range(len(anchors)):
        i, j = anchors[k] >> half, anchors[k] & low
        if (i < first_i or i > last_i) and (j < first_j or j > last_j):
            if count == 0 or kept[count - 1] >> half != i:
                bound += np.int64(scores[np.int64(i)])
            kept[count] = anchors[k]
            count += 1
    return kept[:count], bound
