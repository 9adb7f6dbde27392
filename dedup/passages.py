"""Passages of whole documents: what two documents share, however it was cut into paragraphs.

Two documents are aligned word by word, without regard to paragraphs, in many short chains
(``dedup.alignment``). Chains that are near one another on both sides belong together: the words of
a reordered sentence are in several of them. Each group of chains is then judged as a whole. The
formula of its score is ours; docs/PASSAGES.md says how its settings were chosen:

    score = sum of (m n)^-repeat_power over content words that both sides have
            - unshared_cost * content words that one side has

counted in any order, so that reordered text counts in full, while words that agree by chance far
apart cost more than they earn; m and n are how often the word occurs in each document, in a long
one per 4,000 content words. Words that both repeat, those of their subject, agree by chance in m n
places. A group is *clear* if its score
is at least ``clear_score``, and ``clear_share`` of the best of the pair. A chain that would be kept
as an overlap of texts is kept as well, so that short quotations are not lost. The ends of a clear
group may be moved out to the ends of sentences.

If nothing strong is found, one document may summarise the other: a fragment of it has content
words most of which occur somewhere in the other. It is the fragment of the highest log-likelihood
ratio (maximal segment, Bentley 1984; Karlin and Altschul 1990), where a word of it is shared with
probability ``summary_share``, against the probability in the document as a whole. (So a document
that is a summary from end to end is not recognised as one.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

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
from palimpsest.dedup.fingerprints import hash_run
from palimpsest.dedup.signatures import content_of
from palimpsest.dedup.words import NUMBER, Numbers, Words
from palimpsest.kernels.arrays import Flags, Hashes, Keys, Positions, Rows, Scores, Shares
from palimpsest.kernels.columns import grow
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.records.settings import AlignSettings, PassageSettings

_KIND = SCORE + 1
"""The column of a group of chains behind those of a passage."""
_COLUMNS = _KIND + 1
_UNCLEAR, _CLEAR, _SUMMARY = 0.0, 1.0, 2.0
_MIN_CHANCE = 0.1
"""Smallest share of words that is taken to be shared by chance; keeps ratios finite."""
_MAX_SUMMARIES = 3
_LONG_WORDS = 4_000
"""Content words of a long document; repeats in one of more words are counted per this number."""
_RUN_WORDS, _CORE_WORDS = 8, 30
"""Fewest words of a run of equal words, and of the longest run of a passage that is a copy."""
_EXACT_WORDS = 15
"""A passage of at least as many words, all of them equal, is clear."""
_NUMBER_EVERY = 40
"""Words for each number, at most, of a form that is filled in again and again."""
_MIN_WORDS = 5
"""Fewest distinct words that a summary shares, however often it repeats them."""


class DocumentPassages(NamedTuple):
    """Passages that pairs of documents share, in the order of pairs, then of the left document.

    Attributes:
        pair: int64, shape (passages,), the number of the pair.
        left_first, left_last, right_first, right_last: int64, words of each document, half-open.
        matched: int64, words aligned with an equal word; of a summary, shared words.
        score: float32, as defined above; of a summary the log-likelihood ratio, in nats.
        is_clear: bool, more than chance would give.
        is_summary: bool, one side summarises the other.
    """

    pair: Positions
    left_first: Positions
    left_last: Positions
    right_first: Positions
    right_last: Positions
    matched: Positions
    score: Scores
    is_clear: Flags
    is_summary: Flags


class _Documents(NamedTuple):
    """The words of all documents.

    Attributes:
        offsets: int64, shape (documents + 1,), in words.
        hashes: uint32, shape (words,).
        content: uint32, shape (words,), by which content words are compared in any order, and
        is_content: bool, shape (words,), which these are; see ``signatures.content_of``.
        numbers: the numbers among the words.
        is_first: bool, shape (words,), the first word of a sentence.
    """

    offsets: Positions
    hashes: Hashes
    content: Hashes
    is_content: Flags
    numbers: Numbers
    is_first: Flags


class _Rules(NamedTuple):
    """Settings by which groups of chains are joined and judged, as kernels take them."""

    merge_words: int
    merge_reach: float
    sentence_words: int
    unshared_cost: float
    repeat_power: float
    clear_score: float
    clear_share: float
    clear_words: int
    enough_score: float
    clear_strength: float
    clear_resemblance: float
    clear_numbers: float
    strong_score: float
    min_score: float
    min_resemblance: float
    summary_share: float
    summary_score: float
    summary_numbers: float
    condensed_words: int
    condensed_ratio: float
    condensed_share: float
    condensed_most: int


def find_passages(
    words: Words,
    left: Positions,
    right: Positions,
    align: AlignSettings,
    settings: PassageSettings,
    is_first: Flags | None = None,
    numbers: Numbers | None = None,
) -> DocumentPassages:
    """Find the passages that pairs of documents share.

    Args:
        words: the words of all documents, one document after the other.
        left, right: int64, shape (pairs,), numbers of documents.
        align: which overlaps of texts are kept.
        settings: how chains are found, joined and judged.
        is_first: bool, shape (words,), the first word of a sentence; needed if passages are to
            end with sentences.
        numbers: the numbers among the words, as ``dedup.words.find_numbers`` returned them; by
            default each word that begins with a digit.
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
    if numbers is None:
        numbers = Numbers(words.hashes, words.kinds == NUMBER)
    documents = _Documents(words.offsets, words.hashes, *content_of(words), numbers, is_first)
    bounds = np.searchsorted(chains.pair, np.arange(len(left) + 1)).astype(np.int64)
    found = _judge_pairs(rows, bounds, documents, left, right, _rules_of(align, settings))
    return _as_passages(found)


def _rules_of(align: AlignSettings, settings: PassageSettings) -> _Rules:
    return _Rules(
        merge_words=settings.merge_words,
        merge_reach=settings.merge_reach,
        sentence_words=min(settings.sentence_words, settings.merge_words // 2),
        unshared_cost=settings.unshared_cost,
        repeat_power=settings.repeat_power,
        clear_score=settings.clear_score,
        clear_share=settings.clear_share,
        clear_words=settings.clear_words,
        enough_score=settings.enough_score,
        clear_strength=settings.clear_strength,
        clear_resemblance=settings.clear_resemblance,
        clear_numbers=settings.clear_numbers,
        strong_score=settings.strong_score,
        min_score=align.min_score,
        min_resemblance=align.min_resemblance,
        summary_share=settings.summary_share,
        summary_score=settings.summary_score,
        summary_numbers=settings.summary_numbers,
        condensed_words=settings.condensed_words,
        condensed_ratio=settings.condensed_ratio,
        condensed_share=settings.condensed_share,
        condensed_most=settings.condensed_most,
    )


def _as_passages(found: Rows) -> DocumentPassages:
    """Return rows as passages, sorted by pair, then by their position on the left and right."""
    found = found[np.lexsort((found[:, RIGHT_FIRST], found[:, LEFT_FIRST], found[:, PAIR]))]
    pair, left_first, left_last, right_first, right_last, matched = (
        found[:, column].astype(np.int64) for column in range(MATCHED + 1)
    )
    return DocumentPassages(
        pair=pair,
        left_first=left_first,
        left_last=left_last,
        right_first=right_first,
        right_last=right_last,
        matched=matched,
        score=found[:, SCORE].astype(np.float32),
        is_clear=found[:, _KIND] != _UNCLEAR,
        is_summary=found[:, _KIND] == _SUMMARY,
    )


@kernel
def _judge_pairs(
    chains: Rows,
    bounds: Positions,
    documents: _Documents,
    left: Positions,
    right: Positions,
    rules: _Rules,
) -> Rows:
    """Return the passages of all pairs, in rows of the columns above.

    Args:
        chains: float64, shape (chains, columns), sorted by pair.
        bounds: int64, shape (pairs + 1,): which chains belong to each pair.
        documents: the words that pairs refer to.
        left, right: int64, shape (pairs,), numbers of documents.
        rules: how chains are joined and judged.
    """
    found = np.empty((64, _COLUMNS), dtype=np.float64)
    count = 0
    for pair in range(len(left)):
        first = slice(documents.offsets[left[pair]], documents.offsets[left[pair] + 1])
        second = slice(documents.offsets[right[pair]], documents.offsets[right[pair] + 1])
        a, b = documents.hashes[first], documents.hashes[second]
        words_a, content_a = documents.content[first], documents.is_content[first]
        words_b, content_b = documents.content[second], documents.is_content[second]
        groups, is_kept = _joined(chains[bounds[pair] : bounds[pair + 1]].copy(), rules)
        _cut_tails(groups, a, b)
        best, density = _score_groups(groups, words_a, content_a, words_b, content_b, rules)
        agree = _numbers_agree(
            groups,
            documents.numbers.hashes[first],
            documents.numbers.is_number[first],
            documents.numbers.hashes[second],
            documents.numbers.is_number[second],
            rules.clear_numbers,
        )
        starts_a, starts_b = documents.is_first[first], documents.is_first[second]
        _classify_groups(groups, is_kept, density, agree, best, starts_a, starts_b, rules)
        if rules.condensed_words > 0:
            _join_condensed(
                groups,
                _numbers_agree(
                    groups,
                    documents.numbers.hashes[first],
                    documents.numbers.is_number[first],
                    documents.numbers.hashes[second],
                    documents.numbers.is_number[second],
                    rules.summary_numbers,
                ),
                rules,
            )
        summaries = np.empty((0, _COLUMNS), dtype=np.float64)
        if best < rules.strong_score:
            if comes_first(b, a):
                summaries = _summaries(words_b, content_b, words_a, content_a, rules)
                swap_sides(summaries)
            else:
                summaries = _summaries(words_a, content_a, words_b, content_b, rules)
        for k in range(len(groups)):
            for summary in summaries:
                if _crosses(groups[k], summary):
                    groups[k, PAIR] = -1.0
        for rows in (groups, summaries):
            for row in rows:
                if row[PAIR] < 0:
                    continue
                if count == len(found):
                    found = grow(found, 2 * count)
                found[count] = row
                found[count, PAIR] = pair
                count += 1
    return found[:count].copy()


@inlined
def _cut_tails(groups: Rows, a: Hashes, b: Hashes) -> None:
    """Cut what is loosely joined to a copied core off the ends of each group."""
    for row in groups:
        left, right = np.int64(row[LEFT_FIRST]), np.int64(row[RIGHT_FIRST])
        left_stop, right_stop = np.int64(row[LEFT_LAST]), np.int64(row[RIGHT_LAST])
        if min(left_stop - left, right_stop - right) < _CORE_WORDS or row[MATCHED] == max(
            left_stop - left, right_stop - right
        ):
            continue
        longest, in_a, in_b = _core_of(a[left:left_stop], b[right:right_stop])
        if longest < _CORE_WORDS or 2 * longest < row[MATCHED]:
            continue
        core_a, core_a_stop = left + in_a[0], left + in_a[1]
        core_b, core_b_stop = right + in_b[0], right + in_b[1]
        if _is_loose(a[left:core_a], b[right:core_b]):
            left, right = core_a, core_b
        if _is_loose(a[core_a_stop:left_stop], b[core_b_stop:right_stop]):
            left_stop, right_stop = core_a_stop, core_b_stop
        row[LEFT_FIRST], row[LEFT_LAST] = left, left_stop
        row[RIGHT_FIRST], row[RIGHT_LAST] = right, right_stop
        inside = _count_common(np.sort(a[left:left_stop]), np.sort(b[right:right_stop]))
        row[MATCHED] = min(row[MATCHED], inside)


@inlined
def _is_loose(a: Hashes, b: Hashes) -> bool:
    """Return whether two tails have something, and fewer than half of their words in common."""
    together = len(a) + len(b)
    return bool(together > 0 and 4 * _count_common(np.sort(a), np.sort(b)) < together)


@inlined
def _count_common(a: Hashes, b: Hashes) -> int:
    """Return how many words two sorted arrays have in common, repeated ones as often as both."""
    i, j, common = 0, 0, 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            i, j, common = i + 1, j + 1, common + 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return common


@inlined
def _core_of(a: Hashes, b: Hashes) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """Return the words of the longest run of equal words, and the spans from the first to the last.

    Runs are of at least ``_RUN_WORDS`` words; the spans are half-open, in a and in b.
    """
    longest, first_a, stop_a, first_b, stop_b = 0, len(a), 0, len(b), 0
    grams_a, grams_b = _grams(a), _grams(b)
    order = np.argsort(grams_b, kind="mergesort")
    ordered = grams_b[order]
    for i in range(len(grams_a)):
        at = np.searchsorted(ordered, grams_a[i])
        while at < len(ordered) and ordered[at] == grams_a[i]:
            j = order[at]
            at += 1
            if i > 0 and j > 0 and a[i - 1] == b[j - 1]:
                continue  # inside a run
            size = 0
            while i + size < len(a) and j + size < len(b) and a[i + size] == b[j + size]:
                size += 1
            if size >= _RUN_WORDS:
                first_a, stop_a = min(first_a, i), max(stop_a, i + size)
                first_b, stop_b = min(first_b, j), max(stop_b, j + size)
                longest = max(longest, size)
    return longest, (first_a, stop_a), (first_b, stop_b)


@inlined
def _grams(hashes: Hashes) -> Keys:
    """Return a hash of each ``_RUN_WORDS`` consecutive words: uint64."""
    count = max(0, len(hashes) - _RUN_WORDS + 1)
    grams = np.empty(count, dtype=np.uint64)
    for k in range(count):
        grams[k] = hash_run(hashes, k, _RUN_WORDS)
    return grams


@inlined
def _score_groups(
    groups: Rows, a: Hashes, content_a: Flags, b: Hashes, content_b: Flags, rules: _Rules
) -> tuple[float, Shares]:
    """Set the score of each group of a pair.

    Returns:
        the best score, at least 0; and the resemblance of the content words of each group, in any
        order.
    """
    best, density = 0.0, np.zeros(len(groups))
    all_a, all_b = np.sort(a[content_a]), np.sort(b[content_b])
    for k in range(len(groups)):
        words_a = _content(a, content_a, groups[k, LEFT_FIRST], groups[k, LEFT_LAST])
        words_b = _content(b, content_b, groups[k, RIGHT_FIRST], groups[k, RIGHT_LAST])
        groups[k, SCORE], shared = _score(words_a, words_b, all_a, all_b, rules)
        best = max(best, groups[k, SCORE])
        density[k] = shared / max(1, len(words_a) + len(words_b) - shared)
    return best, density


@inlined
def _numbers_agree(
    groups: Rows,
    numbers_a: Hashes,
    is_number_a: Flags,
    numbers_b: Hashes,
    is_number_b: Flags,
    least: float,
) -> Flags:
    """Return whether enough numbers of each group are on both sides: bool, shape (groups,).

    A form that is filled in again and again keeps its words and changes its numbers.
    """
    agree = np.ones(len(groups), dtype=np.bool_)
    for k in range(len(groups)):
        row = groups[k]
        in_a = _content(numbers_a, is_number_a, row[LEFT_FIRST], row[LEFT_LAST])
        in_b = _content(numbers_b, is_number_b, row[RIGHT_FIRST], row[RIGHT_LAST])
        fewer = min(len(in_a), len(in_b))
        size = min(row[LEFT_LAST] - row[LEFT_FIRST], row[RIGHT_LAST] - row[RIGHT_FIRST])
        if fewer > 0 and fewer * _NUMBER_EVERY >= size:
            agree[k] = _count_common(in_a, in_b) >= least * fewer
    return agree


@inlined
def _classify_groups(
    groups: Rows,
    is_kept: Flags,
    density: Shares,
    agree: Flags,
    best: float,
    starts_a: Flags,
    starts_b: Flags,
    rules: _Rules,
) -> None:
    """Mark clear groups and move their ends to sentence ends; set PAIR to -1 in those to drop.

    Args:
        groups: with their scores.
        is_kept: bool, shape (groups,): kept even if they are not clear.
        density: float64, shape (groups,): the resemblance of their content words, in any order.
        agree: bool, shape (groups,): enough of their numbers are on both sides.
        best: the best score of the pair.
        starts_a, starts_b: bool: the words of each document that a sentence begins with.
        rules: what a clear group is.
    """
    for k in range(len(groups)):
        row = groups[k]
        size = min(row[LEFT_LAST] - row[LEFT_FIRST], row[RIGHT_LAST] - row[RIGHT_FIRST])
        enough = max(rules.clear_score, min(rules.enough_score, rules.clear_share * best))
        resemblance = _resemblance(row)
        is_dense = density[k] >= rules.clear_resemblance
        is_strong = row[SCORE] >= enough and row[SCORE] * resemblance >= rules.clear_strength
        is_long = size >= rules.clear_words
        is_copy = resemblance == 1 and size >= min(_EXACT_WORDS, rules.clear_words)
        is_clear = is_copy or (is_long and is_dense and is_strong and agree[k])
        row[_KIND] = _CLEAR if is_clear else _UNCLEAR
        if is_clear:
            _end_with_sentences(row, starts_a, LEFT_FIRST, LEFT_LAST, rules.sentence_words)
            _end_with_sentences(row, starts_b, RIGHT_FIRST, RIGHT_LAST, rules.sentence_words)
        elif not is_kept[k]:
            row[PAIR] = -1.0


@inlined
def _join_condensed(groups: Rows, agree: Flags, rules: _Rules) -> None:
    """Join clear passages that follow one another in one document and are far apart in the other.

    One document then says in few words what the other says at length: a summary. A form that both
    fill in with other numbers is none.

    Args:
        groups: with their kinds.
        agree: bool, shape (groups,): enough of their numbers are on both sides.
        rules: how near and how short they are.
    """
    for first, last, far_first, far_last in (
        (LEFT_FIRST, LEFT_LAST, RIGHT_FIRST, RIGHT_LAST),
        (RIGHT_FIRST, RIGHT_LAST, LEFT_FIRST, LEFT_LAST),
    ):
        has_joined = True
        while has_joined:
            has_joined = False
            for k in range(len(groups)):
                for other in range(len(groups)):
                    row, more = groups[k], groups[other]
                    if k == other or not (agree[k] and agree[other]):
                        continue
                    if not _may_condense(row, more, first, last, rules):
                        continue
                    begin = min(row[far_first], more[far_first])
                    end = max(row[far_last], more[far_last])
                    size = more[last] - row[first]
                    if end - begin < rules.condensed_ratio * size:
                        continue
                    if row[MATCHED] + more[MATCHED] < rules.condensed_share * size:
                        continue
                    row[last], row[far_first], row[far_last] = more[last], begin, end
                    row[MATCHED] += more[MATCHED]
                    row[SCORE] += more[SCORE]
                    row[_KIND] = _SUMMARY
                    more[PAIR] = -1.0
                    has_joined = True


@inlined
def _may_condense(row: Rows, more: Rows, first: int, last: int, rules: _Rules) -> bool:
    """Return whether a short clear passage follows another, or a summary, on one side."""
    is_clear = row[_KIND] != _UNCLEAR and more[_KIND] != _UNCLEAR
    if row[PAIR] < 0 or more[PAIR] < 0 or not is_clear:
        return False
    is_short = row[_KIND] == _SUMMARY or row[MATCHED] <= rules.condensed_most
    is_near = 0 <= more[first] - row[last] <= rules.condensed_words
    return bool(is_near and is_short and more[MATCHED] <= rules.condensed_most)


@inlined
def _resemblance(row: Rows) -> float:
    """Return matched words over the words of both sides less the matched ones, at most 1."""
    words = row[LEFT_LAST] - row[LEFT_FIRST] + row[RIGHT_LAST] - row[RIGHT_FIRST]
    return float(row[MATCHED] / max(1.0, words - row[MATCHED]))


@inlined
def _is_overlap(row: Rows, min_score: float, min_resemblance: float) -> bool:
    """Return whether a chain by itself would be kept as an overlap of texts."""
    return bool(resembles(row, min_resemblance) and row[SCORE] >= min_score - 1e-6)


@inlined
def _joined(rows: Rows, rules: _Rules) -> tuple[Rows, Flags]:
    """Join chains at most ``merge_words`` apart on both sides, repeatedly, until none are left.

    Returns:
        the groups, and of each whether one of its chains is kept in any case.
    """
    count, merge_words = len(rows), rules.merge_words
    is_kept = np.zeros(count, dtype=np.bool_)
    for k in range(count):
        is_kept[k] = _is_overlap(rows[k], rules.min_score, rules.min_resemblance)
    has_joined = True
    while has_joined:
        has_joined = False
        for k in range(count):
            other = count - 1
            while other > k:
                most = min(merge_words, rules.merge_reach * min(rows[k, SCORE], rows[other, SCORE]))
                if (
                    _apart(rows[k], rows[other], LEFT_FIRST, LEFT_LAST) <= most
                    and _apart(rows[k], rows[other], RIGHT_FIRST, RIGHT_LAST) <= most
                ):
                    rows[k, SCORE] += rows[other, SCORE]
                    for column in (LEFT_FIRST, RIGHT_FIRST):
                        rows[k, column] = min(rows[k, column], rows[other, column])
                    for column in (LEFT_LAST, RIGHT_LAST):
                        rows[k, column] = max(rows[k, column], rows[other, column])
                    rows[k, MATCHED] += rows[other, MATCHED]
                    is_kept[k] |= is_kept[other]
                    count -= 1
                    rows[other] = rows[count]
                    is_kept[other] = is_kept[count]
                    has_joined = True
                other -= 1
    return rows[:count], is_kept[:count]


@inlined
def _apart(row: Rows, other: Rows, first: int, last: int) -> float:
    """Return how many words are between two spans on one side; negative if they overlap."""
    return float(max(row[first] - other[last], other[first] - row[last]))


@inlined
def _crosses(row: Rows, other: Rows) -> bool:
    """Return whether two passages overlap on both sides."""
    return bool(
        _apart(row, other, LEFT_FIRST, LEFT_LAST) < 0
        and _apart(row, other, RIGHT_FIRST, RIGHT_LAST) < 0
    )


@inlined
def _content(hashes: Hashes, is_content: Flags, first: float, last: float) -> Hashes:
    """Return the content words of a span, sorted."""
    span = slice(np.int64(first), np.int64(last))
    return np.sort(hashes[span][is_content[span]])


@inlined
def _score(
    words_a: Hashes, words_b: Hashes, all_a: Hashes, all_b: Hashes, rules: _Rules
) -> tuple[float, int]:
    """Return the score of two spans by the formula above, and how many words they share.

    A word that is repeated within the spans counts as often as it occurs in both.

    Args:
        words_a, words_b: content words of the spans, sorted.
        all_a, all_b: those of their documents, sorted.
        rules: costs and the power.
    """
    i, j, shared, score = 0, 0, 0, 0.0
    lengths = max(1.0, len(all_a) / _LONG_WORDS) * max(1.0, len(all_b) / _LONG_WORDS)
    while i < len(words_a) and j < len(words_b):
        if words_a[i] == words_b[j]:
            occurrences = _count(all_a, words_a[i]) * _count(all_b, words_a[i])
            score += max(1.0, occurrences / lengths) ** -rules.repeat_power
            i, j, shared = i + 1, j + 1, shared + 1
        elif words_a[i] < words_b[j]:
            i += 1
        else:
            j += 1
    unshared = len(words_a) + len(words_b) - 2 * shared
    return score - rules.unshared_cost * unshared, shared


@inlined
def _count(hashes: Hashes, value: np.uint32) -> int:
    """Return how often a value occurs in a sorted array."""
    first = np.searchsorted(hashes, value)
    return int(np.searchsorted(hashes, value, side="right") - first)


@inlined
def _end_with_sentences(
    row: Rows, is_first: Flags, first: int, last: int, sentence_words: int
) -> None:
    """Move the ends of a span out to the ends of sentences, by at most ``sentence_words``."""
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
def _summaries(a: Hashes, content_a: Flags, b: Hashes, content_b: Flags, rules: _Rules) -> Rows:
    """Return fragments of one document that summarise the other, best first, without crossings."""
    found = np.empty((2 * _MAX_SUMMARIES, _COLUMNS), dtype=np.float64)
    count = _summarise(a, content_a, b, content_b, rules, found)
    more = _summarise(b, content_b, a, content_a, rules, found[count:])
    swap_sides(found[count : count + more])
    found = found[: count + more]
    for k in np.argsort(-found[:, SCORE], kind="mergesort"):
        is_free = True
        for other in found:
            if other[_KIND] == _SUMMARY and _crosses(found[k], other):
                is_free = False
        if is_free:
            found[k, _KIND] = _SUMMARY
    is_summary = found[:, _KIND] == _SUMMARY
    summaries: Rows = found[is_summary]
    return summaries


@inlined
def _summarise(
    a: Hashes, content_a: Flags, b: Hashes, content_b: Flags, rules: _Rules, found: Rows
) -> int:
    """Write the fragments of document a that summarise document b; return how many there are."""
    vocabulary = np.sort(b[content_b])
    is_shared = _are_in(a, content_a, vocabulary)
    is_free = np.ones(len(a), dtype=np.bool_)
    chance = _chance(is_shared, content_a, rules.summary_share)
    count = 0
    while count < _MAX_SUMMARIES:
        first, last, score = _fragment(is_shared, content_a, is_free, rules.summary_share, chance)
        if score < rules.summary_score:
            break
        is_free[first:last] = False
        in_fragment = np.zeros(len(a), dtype=np.bool_)
        in_fragment[first:last] = is_shared[first:last]
        shared_words = np.sort(a[in_fragment])
        is_met = _are_in(b, content_b, shared_words)
        positions = np.flatnonzero(is_met)
        if _is_local(b, content_b, is_met, shared_words, rules.summary_share):
            continue
        row = found[count]
        row[:] = 0.0
        row[LEFT_FIRST], row[LEFT_LAST] = first, last
        row[RIGHT_FIRST], row[RIGHT_LAST] = positions[0], positions[-1] + 1
        row[MATCHED], row[SCORE] = len(shared_words), score
        count += 1
    return count


@inlined
def _is_local(
    b: Hashes, content_b: Flags, is_met: Flags, shared_words: Hashes, summary_share: float
) -> bool:
    """Return whether shared words are few, or half of them in one fragment, so no summary.

    Args:
        b, content_b: the words of the document, and which are content words.
        is_met: bool: which of its words are shared.
        shared_words: the shared words, sorted.
        summary_share: as in the rules.
    """
    is_free = np.ones(len(b), dtype=np.bool_)
    chance = _chance(is_met, content_b, summary_share)
    first, last, _ = _fragment(is_met, content_b, is_free, summary_share, chance)
    in_fragment = np.sort(b[first:last][is_met[first:last]])
    words, met = 0, 0
    for k in range(len(shared_words)):
        if k and shared_words[k] == shared_words[k - 1]:
            continue
        words += 1
        at = np.searchsorted(in_fragment, shared_words[k])
        met += at < len(in_fragment) and in_fragment[at] == shared_words[k]
    return bool(words < _MIN_WORDS or 2 * met >= words)


@inlined
def _are_in(hashes: Hashes, is_content: Flags, vocabulary: Hashes) -> Flags:
    """Return which words are content words in a sorted vocabulary: bool, shape (words,)."""
    result = np.zeros(len(hashes), dtype=np.bool_)
    positions = np.searchsorted(vocabulary, hashes)
    for k in range(len(hashes)):
        if is_content[k] and positions[k] < len(vocabulary):
            result[k] = vocabulary[positions[k]] == hashes[k]
    return result


@inlined
def _chance(is_shared: Flags, is_content: Flags, summary_share: float) -> float:
    """Return the share of content words that are shared, limited so that ratios stay finite."""
    share = is_shared.sum() / max(1, is_content.sum())
    return float(min(summary_share - 0.02, max(_MIN_CHANCE, share)))


@inlined
def _fragment(
    is_shared: Flags, is_content: Flags, is_free: Flags, share: float, chance: float
) -> tuple[int, int, float]:
    """Return the fragment with the highest log-likelihood ratio, and that ratio in nats.

    Args:
        is_shared, is_content: bool, shape (words,).
        is_free: bool, shape (words,): words that may be part of it.
        share, chance: probability that a content word is shared, in a summary and by chance.
    """
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
