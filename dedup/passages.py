"""Passages of whole documents: what two documents share, however it was cut into paragraphs.

Two documents are aligned word by word, without regard to paragraphs, in many short chains
(``dedup.alignment``). Chains that are near one another on both sides belong together: the words of
a sentence that was turned round stand in several of them. Each group is then judged as a whole:

    score = sum of (m n)^-repeat_power over content words that stand on both sides
            - unshared_cost * content words that stand on one

counted in any order, so that reordered text counts in full, and words that agree by chance far
apart cost more than they earn; m and n are how often the word stands in each document, since words
that both repeat, those of their subject, agree by chance in m n places. A group is *clear* if its
score is at least ``clear_score`` and ``clear_share`` of the best of the pair; a chain that would be
kept as an overlap of texts is kept as well, so that short quotations are not lost. The ends of what
is clear may be moved out to those of sentences.

Where nothing strong is found, one document may sum the other up: a stretch of it in which most
content words stand somewhere in the other. It is the stretch of the highest log-likelihood ratio
(maximal segment, Bentley 1984; Karlin and Altschul 1990), a word of it being shared with the
probability ``summary_share`` against that in the document as a whole. (So a document that is
nothing but a summary is not told as one.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from palimpsest.dedup.alignment import (
    LEFT_FIRST,
    LEFT_LAST,
    MATCHED,
    PAIR,
    RIGHT_FIRST,
    RIGHT_LAST,
    SCORE,
    align_pairs,
    comes_first,
    resembles,
    score_words,
    swap_sides,
)
from palimpsest.dedup.words import FUNCTION, Words
from palimpsest.kernels.arrays import Flags, Hashes, Positions
from palimpsest.kernels.columns import grow
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.records.settings import AlignSettings, PassageSettings

Rows = npt.NDArray[np.float64]

_KIND = SCORE + 1
"""The column of a group of chains behind those of a passage."""
_COLUMNS = _KIND + 1
_UNCLEAR, _CLEAR, _SUMMARY = 0.0, 1.0, 2.0
_LEAST_SHARE = 0.1
"""The least share of a document's words taken for shared by chance; keeps ratios finite."""
_MOST_SUMMARIES = 3
_LEAST_WORDS = 5
"""Different words that a summary shares at least, however often it repeats them."""


class DocumentPassages(NamedTuple):
    """Passages that pairs of documents share, in the order of pairs, then of the left document.

    Attributes:
        pair: int64, shape (passages,), the number of the pair.
        left_first, left_last, right_first, right_last: int64, words of each document, half-open.
        matched: int64, words aligned with an equal word; of a summary, shared words.
        score: float32, as above; of a summary the log-likelihood ratio, in nats.
        is_clear: bool, more than chance gives.
        is_summary: bool, one side sums the other up.
    """

    pair: Positions
    left_first: Positions
    left_last: Positions
    right_first: Positions
    right_last: Positions
    matched: Positions
    score: npt.NDArray[np.float32]
    is_clear: Flags
    is_summary: Flags


def find_passages(
    words: Words,
    left: Positions,
    right: Positions,
    align: AlignSettings,
    settings: PassageSettings,
    is_first: Flags | None = None,
) -> DocumentPassages:
    """Find what pairs of documents share.

    Args:
        words: the words of all documents concerned, those of a document one behind the other.
        left, right: int64, shape (pairs,), numbers of documents.
        align: how an overlap of texts is kept.
        settings: how chains are found, joined and judged.
        is_first: bool, shape (words,), words that a sentence begins with; needed where passages
            are to end with sentences.
    """
    fine = align.model_copy(
        update={
            "gap_cost": settings.gap_cost,
            "max_gap_words": settings.max_gap_words,
            "min_score": settings.chain_score,
            "min_resemblance": np.finfo(np.float64).tiny,
            "max_passages": settings.max_chains,
        }
    )
    chains = align_pairs(words, score_words(words, fine), left, right, fine)
    rows = np.zeros((len(chains.pair), _COLUMNS), dtype=np.float64)
    rows[:, PAIR : MATCHED + 1] = np.column_stack(chains[:6])
    rows[:, SCORE] = chains.score
    if is_first is None:
        is_first = np.zeros(len(words.hashes), dtype=np.bool_)
    found = _judge(
        rows,
        np.searchsorted(chains.pair, np.arange(len(left) + 1)).astype(np.int64),
        words.offsets,
        words.hashes,
        words.kinds != FUNCTION,
        is_first,
        left,
        right,
        settings.merge_words,
        min(settings.sentence_words, settings.merge_words // 2),
        settings.unshared_cost,
        settings.repeat_power,
        settings.clear_score,
        settings.clear_share,
        settings.clear_words,
        settings.strong_score,
        align.min_score,
        align.min_resemblance,
        settings.summary_share,
        settings.summary_score,
    )
    order = np.lexsort((found[:, RIGHT_FIRST], found[:, LEFT_FIRST], found[:, PAIR]))
    found = found[order]
    pair, left_first, left_last, right_first, right_last, matched = (
        found[:, column].astype(np.int64) for column in range(MATCHED + 1)
    )
    return DocumentPassages(
        pair,
        left_first,
        left_last,
        right_first,
        right_last,
        matched,
        found[:, SCORE].astype(np.float32),
        found[:, _KIND] != _UNCLEAR,
        found[:, _KIND] == _SUMMARY,
    )


@kernel
def _judge(
    chains: Rows,
    bounds: Positions,
    offsets: Positions,
    hashes: Hashes,
    is_content: Flags,
    is_first: Flags,
    left: Positions,
    right: Positions,
    merge_words: int,
    sentence_words: int,
    unshared_cost: float,
    repeat_power: float,
    clear_score: float,
    clear_share: float,
    clear_words: int,
    strong_score: float,
    min_score: float,
    min_resemblance: float,
    summary_share: float,
    summary_score: float,
) -> Rows:
    found = np.empty((64, _COLUMNS), dtype=np.float64)
    count = 0
    for pair in range(len(left)):
        rows = chains[bounds[pair] : bounds[pair + 1]].copy()
        first = slice(offsets[left[pair]], offsets[left[pair] + 1])
        second = slice(offsets[right[pair]], offsets[right[pair] + 1])
        a, content_a = hashes[first], is_content[first]
        b, content_b = hashes[second], is_content[second]
        alone = np.zeros(len(rows), dtype=np.bool_)
        for k in range(len(rows)):
            alone[k] = _is_kept_alone(rows[k], min_score, min_resemblance)
        rows, alone = _joined(rows, alone, merge_words)
        best = 0.0
        all_a, all_b = np.sort(a[content_a]), np.sort(b[content_b])
        for k in range(len(rows)):
            mine = _content(a, content_a, rows[k, LEFT_FIRST], rows[k, LEFT_LAST])
            theirs = _content(b, content_b, rows[k, RIGHT_FIRST], rows[k, RIGHT_LAST])
            rows[k, SCORE] = _score(mine, theirs, all_a, all_b, unshared_cost, repeat_power)
            best = max(best, rows[k, SCORE])
        for k in range(len(rows)):
            row = rows[k]
            size = min(row[LEFT_LAST] - row[LEFT_FIRST], row[RIGHT_LAST] - row[RIGHT_FIRST])
            enough = max(clear_score, clear_share * best)
            is_clear = row[SCORE] >= enough and size >= clear_words
            row[_KIND] = _CLEAR if is_clear else _UNCLEAR
            if is_clear:
                _end_with_sentences(row, is_first[first], LEFT_FIRST, LEFT_LAST, sentence_words)
                _end_with_sentences(row, is_first[second], RIGHT_FIRST, RIGHT_LAST, sentence_words)
            elif not alone[k]:
                row[PAIR] = -1.0
        summaries = np.empty((0, _COLUMNS), dtype=np.float64)
        if best < strong_score:
            is_swapped = comes_first(b, a)
            if is_swapped:
                summaries = _summaries(b, content_b, a, content_a, summary_share, summary_score)
                swap_sides(summaries)
            else:
                summaries = _summaries(a, content_a, b, content_b, summary_share, summary_score)
        for k in range(len(rows)):
            for one in summaries:
                if _crosses(rows[k], one):
                    rows[k, PAIR] = -1.0
        for part in (rows, summaries):
            for row in part:
                if row[PAIR] < 0:
                    continue
                if count == len(found):
                    found = grow(found, 2 * count)
                found[count] = row
                found[count, PAIR] = pair
                count += 1
    return found[:count].copy()


@inlined
def _is_kept_alone(row: Rows, min_score: float, min_resemblance: float) -> bool:
    """Tell whether a chain by itself is what an overlap of texts has to be."""
    return bool(resembles(row, min_resemblance) and row[SCORE] >= min_score - 1e-6)


@inlined
def _joined(rows: Rows, alone: Flags, merge_words: int) -> tuple[Rows, Flags]:
    """Join the rows that are at most so many words apart on both sides, until there are none."""
    count = len(rows)
    again = True
    while again:
        again = False
        for k in range(count):
            other = count - 1
            while other > k:
                if (
                    _apart(rows[k], rows[other], LEFT_FIRST, LEFT_LAST) <= merge_words
                    and _apart(rows[k], rows[other], RIGHT_FIRST, RIGHT_LAST) <= merge_words
                ):
                    for column in (LEFT_FIRST, RIGHT_FIRST):
                        rows[k, column] = min(rows[k, column], rows[other, column])
                    for column in (LEFT_LAST, RIGHT_LAST):
                        rows[k, column] = max(rows[k, column], rows[other, column])
                    rows[k, MATCHED] += rows[other, MATCHED]
                    alone[k] |= alone[other]
                    count -= 1
                    rows[other] = rows[count]
                    alone[other] = alone[count]
                    again = True
                other -= 1
    return rows[:count], alone[:count]


@inlined
def _apart(one: Rows, other: Rows, first: int, last: int) -> float:
    """Return how many words stand between two spans on one side; below 0 if they cross."""
    return float(max(one[first] - other[last], other[first] - one[last]))


@inlined
def _crosses(one: Rows, other: Rows) -> bool:
    return bool(
        _apart(one, other, LEFT_FIRST, LEFT_LAST) < 0
        and _apart(one, other, RIGHT_FIRST, RIGHT_LAST) < 0
    )


@inlined
def _content(hashes: Hashes, is_content: Flags, first: float, last: float) -> Hashes:
    """Return the content words of a span, sorted."""
    span = slice(np.int64(first), np.int64(last))
    return np.sort(hashes[span][is_content[span]])


@inlined
def _score(
    mine: Hashes,
    theirs: Hashes,
    all_a: Hashes,
    all_b: Hashes,
    unshared_cost: float,
    repeat_power: float,
) -> float:
    """Return what the content words of two spans come to, given those of their documents, sorted.

    Words that are repeated within the spans count as often as they stand on both sides.
    """
    i, j, shared, score = 0, 0, 0, 0.0
    while i < len(mine) and j < len(theirs):
        if mine[i] == theirs[j]:
            score += float(_count(all_a, mine[i]) * _count(all_b, mine[i])) ** -repeat_power
            i, j, shared = i + 1, j + 1, shared + 1
        elif mine[i] < theirs[j]:
            i += 1
        else:
            j += 1
    return score - unshared_cost * (len(mine) + len(theirs) - 2 * shared)


@inlined
def _count(hashes: Hashes, value: np.uint32) -> int:
    """Return how often a word is in what is sorted."""
    first = np.searchsorted(hashes, value)
    return int(np.searchsorted(hashes, value, side="right") - first)


@inlined
def _end_with_sentences(
    row: Rows, is_first: Flags, first: int, last: int, sentence_words: int
) -> None:
    """Move the ends of a span out to those of sentences that are near."""
    begin, stop = int(row[first]), int(row[last])
    for at in range(begin, max(-1, begin - sentence_words - 1), -1):
        if is_first[at]:
            row[first] = at
            break
    for at in range(stop, min(len(is_first), stop + sentence_words) + 1):
        if at == len(is_first) or is_first[at]:
            row[last] = at
            break


@inlined
def _summaries(
    a: Hashes,
    content_a: Flags,
    b: Hashes,
    content_b: Flags,
    summary_share: float,
    summary_score: float,
) -> Rows:
    """Return the stretches of one document that sum the other up, the best first, none crossing."""
    found = np.empty((2 * _MOST_SUMMARIES, _COLUMNS), dtype=np.float64)
    count = _sum_up(a, content_a, b, content_b, summary_share, summary_score, found)
    more = _sum_up(b, content_b, a, content_a, summary_share, summary_score, found[count:])
    swap_sides(found[count : count + more])
    found = found[: count + more]
    for k in np.argsort(-found[:, SCORE], kind="mergesort"):
        is_free = True
        for other in found:
            if other[_KIND] == _SUMMARY and _crosses(found[k], other):
                is_free = False
        if is_free:
            found[k, _KIND] = _SUMMARY
    is_kept = found[:, _KIND] == _SUMMARY
    kept: Rows = found[is_kept]
    return kept


@inlined
def _sum_up(
    a: Hashes,
    content_a: Flags,
    b: Hashes,
    content_b: Flags,
    summary_share: float,
    summary_score: float,
    found: Rows,
) -> int:
    """Write the stretches of the left document that sum the right one up; return how many."""
    vocabulary = np.sort(b[content_b])
    is_shared = _are_in(a, content_a, vocabulary)
    is_free = np.ones(len(a), dtype=np.bool_)
    least = _chance(is_shared, content_a, summary_share)
    count = 0
    while count < _MOST_SUMMARIES:
        first, last, score = _stretch(is_shared, content_a, is_free, summary_share, least)
        if score < summary_score:
            break
        is_free[first:last] = False
        in_stretch = np.zeros(len(a), dtype=np.bool_)
        in_stretch[first:last] = is_shared[first:last]
        mine = np.sort(a[in_stretch])
        back = _are_in(b, content_b, mine)
        places = np.flatnonzero(back)
        if _is_local(b, content_b, back, mine, summary_share):
            continue
        row = found[count]
        row[:] = 0.0
        row[LEFT_FIRST], row[LEFT_LAST] = first, last
        row[RIGHT_FIRST], row[RIGHT_LAST] = places[0], places[-1] + 1
        row[MATCHED], row[SCORE] = len(mine), score
        count += 1
    return count


@inlined
def _is_local(b: Hashes, content_b: Flags, back: Flags, mine: Hashes, summary_share: float) -> bool:
    """Tell whether shared words are few, or half stand in one stretch, as in no summary."""
    is_free = np.ones(len(b), dtype=np.bool_)
    chance = _chance(back, content_b, summary_share)
    first, last, _ = _stretch(back, content_b, is_free, summary_share, chance)
    there = np.sort(b[first:last][back[first:last]])
    words, met = 0, 0
    for k in range(len(mine)):
        if k and mine[k] == mine[k - 1]:
            continue
        words += 1
        at = np.searchsorted(there, mine[k])
        met += at < len(there) and there[at] == mine[k]
    return bool(words < _LEAST_WORDS or 2 * met >= words)


@inlined
def _are_in(hashes: Hashes, is_content: Flags, vocabulary: Hashes) -> Flags:
    """Tell which content words are in a sorted vocabulary."""
    result = np.zeros(len(hashes), dtype=np.bool_)
    places = np.searchsorted(vocabulary, hashes)
    for k in range(len(hashes)):
        if is_content[k] and places[k] < len(vocabulary):
            result[k] = vocabulary[places[k]] == hashes[k]
    return result


@inlined
def _chance(is_shared: Flags, is_content: Flags, summary_share: float) -> float:
    """Return the share of content words that are shared, within what keeps ratios finite."""
    share = is_shared.sum() / max(1, is_content.sum())
    return float(min(summary_share - 0.02, max(_LEAST_SHARE, share)))


@inlined
def _stretch(
    is_shared: Flags, is_content: Flags, is_free: Flags, share: float, chance: float
) -> tuple[int, int, float]:
    """Return the stretch of the highest log-likelihood ratio, and that ratio in nats."""
    gain, loss = math.log(share / chance), math.log((1 - share) / (1 - chance))
    best, first, last = 0.0, 0, 0
    running, begin = 0.0, 0
    for k in range(len(is_shared)):
        if not is_free[k]:
            running, begin = 0.0, k + 1
        elif is_content[k]:
            running += gain if is_shared[k] else loss
            if running <= 0:
                running, begin = 0.0, k + 1
            elif running > best:
                best, first, last = running, begin, k + 1
    while first < last and not is_shared[first]:
        first += 1
    return first, last, best
