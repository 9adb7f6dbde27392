import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from palimpsest.dedup.alignment import align_pairs, score_words
from palimpsest.dedup.words import CHARACTER, FUNCTION, NUMBER
from palimpsest.records.settings import AlignSettings
from tests import oracles
from tests.strategies import (
    invent_words,
    max_examples,
    plant_passage,
    repetitive_texts,
    varied_texts,
    words_of,
)

_heavy = max_examples(60)
_many = max_examples(300)
_UNLIMITED = 10**6
_ALL = AlignSettings(min_score=0.01, min_resemblance=1e-9, max_passages=40)
_REPEATS = (
    "market bridge bridge river of market",
    "market bridge river market bridge 1914 river market of",
)
_REPEATED = _ALL.model_copy(update={"gap_cost": 1.0, "max_gap_words": 2, "min_resemblance": 0.8})
several_passages = st.builds(
    lambda gap, share, cost: _ALL.model_copy(
        update={"max_gap_words": gap, "min_resemblance": share, "gap_cost": cost}
    ),
    st.integers(0, 12),
    st.sampled_from([1e-9, 0.35, 0.8]),
    st.sampled_from([0.01, 0.15, 1.0]),
)
"""Settings under which a pair of texts has many passages, some of them rejected."""
_SCORES = {FUNCTION: 0, NUMBER: 30, CHARACTER: 40}


def align(texts, pairs=((0, 1),), align_settings=_ALL):
    words = words_of(list(texts))
    left, right = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    return align_pairs(words, score_words(words, align_settings), left, right, align_settings)


def spans(passages):
    return list(zip(*(column.tolist() for column in passages[1:5]), strict=True))


def content_of(text):
    """Return the content words of a text, by hash, and what each scores in hundredths."""
    words = words_of([text])
    scores = [_SCORES.get(kind, 100) for kind in words.kinds.tolist()]
    earning = [k for k, score in enumerate(scores) if score]
    return [int(words.hashes[k]) for k in earning], [scores[k] for k in earning]


def best_score(left, right, **more):
    found = align((left, right), align_settings=_ALL.model_copy(update=more))
    return round(float(found.score[0]) * 100) if len(found.score) else 0


@_many
@given(repetitive_texts, repetitive_texts, st.sampled_from([0.01, 0.15, 0.5, 2.0]))
def test_best_score_is_that_of_the_full_table(left, right, gap):
    first, scores = content_of(left)
    second, _ = content_of(right)
    expected = oracles.fill_table(first, second, scores, round(100 * gap))
    assert best_score(left, right, gap_cost=gap, max_gap_words=_UNLIMITED) == expected


@_many
@given(varied_texts, varied_texts)
def test_best_score_is_that_of_the_full_table_for_words_of_all_kinds(left, right):
    first, scores = content_of(left)
    second, _ = content_of(right)
    expected = oracles.fill_table(first, second, scores, 15)
    assert best_score(left, right, max_gap_words=_UNLIMITED) == expected


@_many
@given(varied_texts, varied_texts, st.integers(0, 4))
def test_best_score_with_a_limit_is_that_of_all_chains(left, right, max_gap):
    first, scores = content_of(left)
    second, _ = content_of(right)
    expected = oracles.best_chain(first, second, scores, 15, max_gap)
    assert best_score(left, right, max_gap_words=max_gap) == expected


@_many
@given(varied_texts, varied_texts, st.integers(0, 12))
def test_swapping_sides_swaps_the_alignment(left, right, max_gap):
    limited = _ALL.model_copy(update={"max_gap_words": max_gap})
    found = align((left, right), ((0, 1), (1, 0)), limited)
    there, back = (found.pair == 0), (found.pair == 1)
    rows = np.array(spans(found)).reshape(-1, 4)
    assert rows[there].tolist() == rows[back][:, [2, 3, 0, 1]].tolist()
    assert found.matched[there].tolist() == found.matched[back].tolist()
    assert found.score[there].tolist() == found.score[back].tolist()


@_many
@given(varied_texts, varied_texts)
def test_spans_lie_within_the_texts_and_hold_the_words_counted(left, right):
    found = align((left, right))
    sizes = np.diff(words_of([left, right]).offsets)
    for (a, b, c, d), matched in zip(spans(found), found.matched, strict=True):
        assert 0 <= a < b <= sizes[0]
        assert 0 <= c < d <= sizes[1]
        assert 1 <= matched <= min(b - a, d - c)


@_many
@example(*_REPEATS, _REPEATED)
@given(varied_texts, varied_texts, several_passages)
def test_words_aligned_over_all_passages_are_no_more_than_a_text_has(left, right, several):
    found = align((left, right), align_settings=several)
    assert found.matched.sum() <= np.diff(words_of([left, right]).offsets).min()


@_many
@example(*_REPEATS, _REPEATED)
@given(varied_texts, varied_texts, several_passages)
def test_passages_of_a_pair_are_disjoint_or_nested(left, right, several):
    found = align((left, right), align_settings=several)
    rows = spans(found)
    for side in ([row[:2] for row in rows], [row[2:] for row in rows]):
        for (a, b), (c, d) in combinations(side, 2):
            assert b <= c or d <= a or a < c < d < b or c < a < b < d


def test_words_between_two_passages_are_counted_once():
    chance = random.Random(12)
    words, other = invent_words(chance, 12), invent_words(chance, 20)
    left = " ".join([*words[:6], "of", "the", *words[6:]])
    right = " ".join([*words[:6], "of", "the", *other, "of", "the", *words[6:]])
    found = align((left, right), align_settings=AlignSettings())
    assert len(found.pair) == 2
    assert found.matched.sum() == 14


@_many
@given(varied_texts, varied_texts)
def test_passages_of_a_pair_come_best_first(left, right):
    scores = align((left, right)).score.tolist()
    assert scores == sorted(scores, reverse=True)


@_heavy
@given(varied_texts)
def test_identical_texts_share_one_passage_of_full_length(text):
    content, scores = content_of(text)
    found = align((text, text))
    size = int(np.diff(words_of([text]).offsets)[0])
    assert spans(found) == ([(0, size, 0, size)] if content else [])
    assert found.matched.tolist() == [size] * len(found.pair)
    assert [round(100 * float(score)) for score in found.score] == [sum(scores)] * len(found.pair)


@_many
@given(varied_texts, varied_texts, st.sampled_from([1.0, 2.5, 4.5]), st.sampled_from([0.35, 0.8]))
def test_nothing_below_the_least_score_or_resemblance_is_reported(left, right, score, share):
    kept = AlignSettings(min_score=score, min_resemblance=share)
    found = align((left, right), align_settings=kept)
    rows = np.array(spans(found)).reshape(-1, 4)
    together = rows[:, 1] - rows[:, 0] + rows[:, 3] - rows[:, 2]
    assert np.all(found.score >= score)
    assert np.all(found.matched >= share * (together - found.matched))


@_many
@given(varied_texts, varied_texts)
def test_texts_that_share_no_five_words_share_no_passage(left, right):
    words, others = content_of(left)[0], set(content_of(right)[0])
    assume(sum(word in others for word in words) < 5)
    assert len(align((left, right), align_settings=AlignSettings()).pair) == 0


def test_four_content_words_are_too_few_and_five_are_enough():
    chance = random.Random(4)
    shared, other = invent_words(chance, 5), invent_words(chance, 40)
    for count, passages in ((4, 0), (5, 1)):
        passage = shared[:count]
        texts = (" ".join(other[:20] + passage), " ".join(passage + other[20:]))
        assert len(align(texts, align_settings=AlignSettings()).pair) == passages


def test_function_words_are_counted_between_before_and_behind():
    left = "river the bridge of the harbour and the market"
    right = "season the bridge of the harbour and the"
    found = align((left, right))
    assert spans(found) == [(1, 8, 1, 8)]
    assert found.matched.tolist() == [7]
    assert found.score.tolist() == [2.0]


def test_function_words_that_differ_are_passed_over_without_cost():
    found = align(("bridge of the harbour", "bridge and harbour"))
    assert spans(found) == [(0, 4, 0, 3)]
    assert found.matched.tolist() == [2]
    assert found.score.tolist() == [2.0]


def test_words_passed_over_cost_on_the_longer_side():
    chance = random.Random(5)
    shared, other = invent_words(chance, 10), invent_words(chance, 5)
    left = " ".join(shared[:5] + other[:2] + shared[5:])
    right = " ".join(shared[:5] + other[2:] + shared[5:])
    found = align((left, right))
    assert found.score[0] == pytest.approx(10 - 3 * 0.15)
    assert spans(found) == [(0, 12, 0, 13)]


def test_longer_gap_than_allowed_parts_passages():
    chance = random.Random(6)
    shared, other = invent_words(chance, 20), invent_words(chance, 26)
    right = " ".join(shared)
    for gap, passages in ((12, 1), (13, 2)):
        left = " ".join(shared[:10] + other[:gap] + shared[10:])
        assert len(align((left, right), align_settings=AlignSettings()).pair) == passages


def test_passage_that_moved_is_found_besides_the_best_one():
    words = invent_words(random.Random(7), 30)
    left, right = " ".join(words), " ".join(words[18:] + words[:18])
    found = align((left, right), align_settings=AlignSettings())
    assert spans(found) == [(0, 18, 12, 30), (18, 30, 0, 12)]
    assert found.score.tolist() == [18.0, 12.0]


def test_number_of_passages_is_limited():
    words = invent_words(random.Random(8), 60)
    blocks = [words[k : k + 10] for k in range(0, 60, 10)]
    left, right = " ".join(words), " ".join(" ".join(block) for block in blocks[::-1])
    assert len(align((left, right), align_settings=AlignSettings()).pair) == 6
    assert len(align((left, right), align_settings=AlignSettings(max_passages=3)).pair) == 3


def test_pairs_are_reported_by_number_in_order():
    words = invent_words(random.Random(9), 24)
    texts = (" ".join(words[:16]), " ".join(words[8:]), "river bridge", " ".join(words))
    pairs = ((0, 3), (2, 0), (1, 0), (3, 1))
    found = align(texts, pairs, AlignSettings())
    assert found.pair.tolist() == [0, 2, 3]
    assert spans(found) == [(0, 16, 0, 16), (0, 8, 8, 16), (8, 24, 0, 16)]


def test_array_of_passages_grows():
    text = " ".join(invent_words(random.Random(10), 6))
    found = align((text, text), ((0, 1),) * 3000, AlignSettings())
    assert found.pair.tolist() == list(range(3000))
    assert set(spans(found)) == {(0, 6, 0, 6)}


def test_no_pairs_give_no_passages():
    words = words_of(["river"])
    none = np.empty(0, dtype=np.int64)
    found = align_pairs(words, score_words(words, _ALL), none, none, _ALL)
    assert len(found.pair) == 0
    assert found.score.dtype == np.float32


def test_passages_about_numbers_alone_need_many():
    numbers = [str(number) for number in range(1000, 1014)]
    assert len(align((" ".join(numbers),) * 2, align_settings=AlignSettings()).pair) == 0
    numbers += ["1014"]
    assert len(align((" ".join(numbers),) * 2, align_settings=AlignSettings()).pair) == 1


def common(left, right):
    """Return the share of both spans together that lies in both."""
    inside = max(0, min(left[1], right[1]) - max(left[0], right[0]))
    return inside / (max(left[1], right[1]) - min(left[0], right[0]))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.2])
def test_planted_passages_with_edits_are_recovered(rate):
    chance = random.Random(round(100 * rate) + 3)
    for _ in range(40):
        length = chance.randrange(25, 80)
        planted = plant_passage(chance, length, round(rate * length))
        found = align((planted.left, planted.right), align_settings=AlignSettings())
        assert len(found.pair) >= 1
        a, b, c, d = spans(found)[0]
        assert common((a, b), planted.left_span) >= 0.8
        assert common((c, d), planted.right_span) >= 0.8
