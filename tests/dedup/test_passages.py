import random
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from palimpsest.dedup.passages import find_passages
from palimpsest.records.settings import AlignSettings, PassageSettings, parse_settings
from tests import oracles
from tests.strategies import (
    edit_words,
    invent_words,
    max_examples,
    replace_words,
    varied_texts,
    words_of,
)

_few = max_examples(40)
_many = max_examples(120)
_USUAL = (PassageSettings(), AlignSettings())
_SHORT = (PassageSettings(clear_words=15), AlignSettings())
_WITH_SUMMARIES = (PassageSettings(strong_score=30.0), AlignSettings())
_REWORDED = parse_settings({"sensitivity": "reworded"})
_LOW_PASSAGE = PassageSettings(
    clear_score=1.0, clear_share=0.01, clear_words=2, strong_score=1000.0, summary_score=0.4
)
_LOW = (_LOW_PASSAGE, AlignSettings(min_score=2.0, min_resemblance=0.1))
"""Limits so low that short texts have clear passages, unclear ones and summaries."""
_FUNCTION_WORDS = ("the", "of", "and", "in", "to", "was")

chances = st.integers(0, 2**32 - 1).map(random.Random)
limits = st.sampled_from([_USUAL, _LOW])


class Row(NamedTuple):
    """One passage; spans are half-open, in words."""

    pair: int
    left: tuple[int, int]
    right: tuple[int, int]
    matched: int
    score: float
    is_clear: bool
    is_summary: bool


def find_in(words, pairs=((0, 1),), under=_USUAL):
    """Return the passages of pairs of documents."""
    left, right = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    found = find_passages(words, left, right, under[1], under[0])
    columns = (column.tolist() for column in found)
    return [
        Row(pair, (a, b), (c, d), *facts) for pair, a, b, c, d, *facts in zip(*columns, strict=True)
    ]


def find_between(left, right, under=_USUAL):
    """Return the passages of two documents, each given by its words."""
    return find_in(words_of([" ".join(left), " ".join(right)]), under=under)


class Sides(NamedTuple):
    """Two documents by their words, and the spans at which something was planted in them."""

    left: list[str]
    right: list[str]
    spans: tuple[tuple[int, int], tuple[int, int]]


def plant(chance, passage, copy, least=0, most=200):
    """Return documents that share nothing but a passage and its copy.

    From ``least`` to ``most`` words come before and after them.
    """
    documents, spans = [], []
    for planted in (passage, copy):
        before, behind = chance.randint(least, most), chance.randint(least, most)
        other = invent_words(chance, before + behind)
        documents.append([*other[:before], *planted, *other[before:]])
        spans.append((before, before + len(planted)))
    return Sides(*documents, tuple(spans))


def covered(planted, found):
    """Return the share of the planted words that are found."""
    return max(0, min(planted[1], found[1]) - max(planted[0], found[0])) / (planted[1] - planted[0])


def speak(chance, words):
    """Return content words with function words among them, as in a sentence."""
    spoken = []
    for word in words:
        spoken += chance.choices(_FUNCTION_WORDS, k=chance.choice([0, 0, 1, 1, 2]))
        spoken.append(word)
    return spoken


def make_documents(chance):
    """Return two documents that share sentences: edited, reordered, summed up or not at all."""
    names = invent_words(chance, chance.choice([12, 60, 200]))
    names += ["1914", "23", "橋", "東"]
    sentences = [
        speak(chance, chance.choices(names, k=chance.randint(4, 15)))
        for _ in range(chance.randint(2, 8))
    ]
    left = [word for sentence in sentences for word in sentence]
    right = []
    for _ in range(chance.randint(1, 8)):
        kind = chance.choice(["same", "edited", "mixed", "other", "other"])
        sentence = chance.choice(sentences)
        if kind == "edited":
            sentence = edit_words(chance, sentence, chance.randrange(len(sentence)))
        elif kind == "mixed":
            sentence = chance.sample(left, min(len(left), chance.randint(5, 40)))
        elif kind == "other":
            sentence = speak(chance, invent_words(chance, chance.randint(5, 50)))
        right += sentence
    return left, right


documents = chances.map(make_documents) | st.tuples(
    *(text.map(str.split) for text in (varied_texts, varied_texts))
)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25])
def test_planted_passages_with_replaced_words_are_recovered(rate):
    @_few
    @given(chances)
    def assert_recovered(chance):
        length = chance.randint(60, 160)
        passage = invent_words(chance, length)
        sides = plant(chance, passage, replace_words(chance, passage, round(rate * length)))
        [row] = find_between(sides.left, sides.right)
        assert row.is_clear
        assert not row.is_summary
        assert row.matched == length - round(rate * length)
        for planted, found in zip(sides.spans, (row.left, row.right), strict=True):
            assert covered(planted, found) >= 0.9
            assert planted[0] <= found[0] <= planted[0] + 6
            assert planted[1] - 6 <= found[1] <= planted[1]

    assert_recovered()


@pytest.mark.parametrize("rate", [0.1, 0.25])
def test_planted_passages_with_words_dropped_and_put_in_are_recovered(rate):
    @_few
    @given(chances)
    def assert_recovered(chance):
        length = chance.randint(60, 160)
        passage = invent_words(chance, length)
        sides = plant(chance, passage, edit_words(chance, passage, round(rate * length)))
        [row] = find_between(sides.left, sides.right)
        assert row.is_clear
        for planted, found in zip(sides.spans, (row.left, row.right), strict=True):
            assert covered(planted, found) >= 0.9
            assert planted[0] <= found[0]
            assert found[1] <= planted[1]

    assert_recovered()


def in_any_order(chance, sentences):
    return chance.sample(sentences, len(sentences))


def turned_round(chance, sentences):
    cut = chance.randrange(1, len(sentences))
    return chance.choice([sentences[::-1], sentences[cut:] + sentences[:cut]])


def with_one_moved(chance, sentences):
    rest = list(sentences)
    rest.insert(chance.randrange(len(sentences)), rest.pop(chance.randrange(len(rest))))
    return rest


@pytest.mark.parametrize(
    ("put", "most", "least_share"),
    [(in_any_order, 5, 0.4), (with_one_moved, 9, 0.6), (turned_round, 9, 1.0)],
)
def test_passage_with_reordered_sentences_is_one_clear_passage(put, most, least_share):
    # sentences at the ends that crossed the longest chain may be left out
    @_many
    @given(chances)
    def assert_recovered(chance):
        count = chance.randint(3, most)
        sentences = [invent_words(chance, chance.randint(8, 15)) for _ in range(count)]
        passage, copy = (
            [word for sentence in order for word in sentence]
            for order in (sentences, put(chance, sentences))
        )
        sides = plant(chance, passage, copy)
        [row] = find_between(sides.left, sides.right, under=_SHORT)
        assert row.is_clear
        assert not row.is_summary
        for planted, found in zip(sides.spans, (row.left, row.right), strict=True):
            assert covered(planted, found) >= least_share
            assert planted[0] <= found[0]
            assert found[1] <= planted[1]

    assert_recovered()


@_many
@given(documents, limits)
def test_swapping_sides_swaps_the_passages(pair, under):
    words = words_of([" ".join(side) for side in pair])
    rows = find_in(words, ((0, 1), (1, 0)), under)
    there = [row._replace(pair=0) for row in rows if row.pair == 0]
    back = [row._replace(pair=0, left=row.right, right=row.left) for row in rows if row.pair == 1]
    assert there == sorted(back, key=lambda row: (row.left[0], row.right[0]))


@_many
@given(documents, limits)
def test_passages_are_in_order_and_within_the_documents(pair, under):
    words = words_of([" ".join(side) for side in pair])
    sizes = np.diff(words.offsets).tolist()
    rows = find_in(words, ((0, 1), (1, 1), (1, 0)), under)
    order = [(row.pair, row.left[0], row.right[0]) for row in rows]
    assert order == sorted(order)
    for row in rows:
        left, right = [(sizes[0], sizes[1]), (sizes[1], sizes[1]), (sizes[1], sizes[0])][row.pair]
        assert 0 <= row.left[0] < row.left[1] <= left
        assert 0 <= row.right[0] < row.right[1] <= right
        assert row.matched >= 1
        if row.is_summary:
            assert row.is_clear
        else:
            spans = (row.left, row.right)
            assert row.matched <= min(last - first for first, last in spans)


@_many
@given(chances.map(make_documents).filter(lambda pair: len(find_between(*pair, _LOW)) > 1))
def test_no_two_passages_of_a_pair_cross_on_both_sides(pair):
    rows = find_between(*pair, _LOW)
    for k, one in enumerate(rows):
        for other in rows[:k]:
            lefts, rights = (one.left, other.left), (one.right, other.right)
            assert any(a[1] <= b[0] or b[1] <= a[0] for a, b in (lefts, rights))


@_many
@given(documents, limits)
def test_score_counts_shared_content_words_in_any_order(pair, under):
    content = [oracles.content_of(oracles.find_words(" ".join(side))) for side in pair]
    documents = tuple([word for word in side if word is not None] for side in content)
    for row in find_between(*pair, under):
        if row.is_summary:
            continue
        spans = tuple(
            [word for word in side[slice(*span)] if word is not None]
            for side, span in zip(content, (row.left, row.right), strict=True)
        )
        costs = under[0].unshared_cost, under[0].repeat_power
        expected = oracles.passage_score(spans, documents, *costs)
        assert row.score == pytest.approx(expected, abs=1e-4)


def shared_words(left, right):
    """Return the number of content words in both documents, each as often as in both."""
    mine, theirs = (
        Counter(w.folded for w in oracles.find_words(" ".join(side)) if w.kind != "function")
        for side in (left, right)
    )
    return (mine & theirs).total()


@_many
@given(documents)
def test_documents_that_share_no_five_words_share_no_passage(pair):
    assume(shared_words(*pair) < 5)
    assert find_between(*pair) == []


@_many
@given(chances)
def test_four_words_repeated_in_one_document_are_no_passage(chance):
    shared, other = invent_words(chance, 4), invent_words(chance, 400)
    left = [*chance.choices(shared, k=chance.randint(10, 60)), *other[:200]]
    right = other[200:]
    for word in shared:
        right.insert(chance.randrange(len(right)), word)
    assert find_between(speak(chance, left), speak(chance, right)) == []


@_many
@given(chances)
def test_function_words_alone_are_no_passage(chance):
    left, right = (chance.choices(_FUNCTION_WORDS, k=chance.randrange(300)) for _ in range(2))
    assert find_between(left, right, _LOW) == []


@_many
@given(documents, limits, st.integers(1, 9))
def test_words_do_not_know_paragraphs(pair, under, size):
    pieces, bounds = [], [0]
    for side in pair:
        pieces += [" ".join(side[k : k + size]) for k in range(0, len(side), size)]
        bounds.append(len(pieces))
    cut = words_of(pieces)
    joined = cut._replace(offsets=cut.offsets[bounds])
    assert find_in(joined, under=under) == find_between(*pair, under)


def write_article(chance, common, length):
    """Return an article: its own words, and words that other articles share."""
    names = invent_words(chance, length)
    words = [
        name if chance.random() < 0.7 else common[int(len(common) * chance.random() ** 2)]
        for name in names
    ]
    return speak(chance, words)


@_few
@given(chances)
def test_quotation_of_seven_rare_words_in_long_articles_is_kept(chance):
    common, quotation = invent_words(chance, 400), invent_words(chance, 7)
    sides = [write_article(chance, common, chance.randint(600, 900)) for _ in range(2)]
    spans = []
    for side in sides:
        at = chance.randrange(len(side))
        side[at:at] = quotation
        spans.append((at, at + len(quotation)))
    rows = find_between(*sides)
    assert any(covered(spans[0], row.left) == covered(spans[1], row.right) == 1.0 for row in rows)


@_few
@given(chances)
def test_summary_is_found_with_the_document_it_summarises(chance):
    long = speak(chance, invent_words(chance, 800))
    summary = chance.sample([word for word in long if word not in _FUNCTION_WORDS], 60)
    sides = plant(chance, long, speak(chance, summary), least=80)
    [row] = find_between(long, sides.right, under=_WITH_SUMMARIES)
    assert row.is_summary
    assert row.is_clear
    assert row.matched == 60
    assert covered((0, len(long)), row.left) >= 0.85
    assert covered(sides.spans[1], row.right) >= 0.9
    [row] = find_between(sides.right, sides.left, under=_WITH_SUMMARIES)
    assert row.is_summary
    assert covered(sides.spans[0], row.right) >= 0.85
    assert covered(sides.spans[1], row.left) >= 0.9


@_many
@given(chances)
def test_unrelated_documents_have_no_summary(chance):
    common = invent_words(chance, 400)
    sides = [write_article(chance, common, chance.randint(50, 900)) for _ in range(2)]
    assert not any(row.is_summary for row in find_between(*sides, under=_WITH_SUMMARIES))


def test_no_summary_is_reported_beside_a_strong_passage():
    chance = random.Random(3)
    long, passage = invent_words(chance, 800), invent_words(chance, 40)
    summary = chance.sample(long, 60)
    for shared, is_summary in (([], True), (passage, False)):
        rows = find_between(
            [*long, *shared], [*summary, *invent_words(chance, 150), *shared], under=_WITH_SUMMARIES
        )
        assert [row.is_summary for row in rows] == [is_summary]


def test_passages_are_in_order_of_pairs_and_their_array_grows():
    words = words_of([" ".join(invent_words(random.Random(seed), 30)) for seed in (1, 1, 2)])
    rows = find_in(words, ((0, 1), (0, 2), (2, 2)) * 100)
    assert [row.pair for row in rows] == [k for k in range(300) if k % 3 != 1]
    assert {(row.left, row.right, row.score) for row in rows} == {((0, 30), (0, 30), 30.0)}


def test_no_pairs_give_no_passages():
    none = np.empty(0, dtype=np.int64)
    found = find_passages(words_of(["river"]), none, none, *_USUAL[::-1])
    assert [len(column) for column in found] == [0] * 9
    assert found.score.dtype == np.float32
    assert found.is_clear.dtype == np.bool_


def test_documents_without_words_share_nothing():
    assert find_in(words_of(["", "…", "river bridge"]), ((0, 1), (1, 2), (2, 0))) == []


def test_clear_passages_are_long_and_close_to_the_best_score_or_strong_enough():
    chance = random.Random(5)
    words, other = invent_words(chance, 140), invent_words(chance, 300)
    edited = [*words[100:105], *other[290:300], *words[105:108]]  # 8 of 18 words
    left = [*words[:100], *other[:100], *words[100:108], *other[100:200], *words[120:]]
    right = [*words[:100], *other[200:240], *edited, *other[240:290], *words[120:]]
    rows = find_between(left, right)
    scores = [(round(float(row.score), 2), row.is_clear) for row in rows]
    assert scores == [(100.0, True), (6.5, False), (20.0, True)]
    alone = find_between([*other[:50], *words[:15]], [*words[:15], *other[50:90]])
    assert [(row.score, row.is_clear) for row in alone] == [(15.0, True)]
    short = find_between(words[:14], words[:14])
    assert [(row.score, row.is_clear) for row in short] == [(14.0, False)]


def test_loose_ends_of_a_copy_are_cut_off():
    chance = random.Random(7)
    copied, ends, other = (invent_words(chance, size) for size in (40, 6, 90))
    left = [*other[:20], *copied, *other[20:28], *ends[:3]]  # three of eleven in common
    right = [*other[30:40], *copied, *other[40:48], *ends[:3]]
    [row] = find_between(left, right)
    assert (row.left, row.right, row.matched) == ((20, 60), (10, 50), 40)
    tight = find_between(
        [*copied, *other[:2], *ends], [*copied, *other[2:4], *ends]
    )  # six of eight
    assert [(one.left, one.matched) for one in tight] == [((0, 48), 46)]


def test_form_that_is_filled_in_with_other_numbers_is_not_clear():
    chance = random.Random(12)
    words, other = invent_words(chance, 30), invent_words(chance, 60)

    def is_clear(left, right):
        """Give both sides the same words, and after every fifth one a number."""
        sides = []
        for number, numbers in enumerate((left, right)):
            side = list(words)
            for k, value in enumerate(numbers):
                side.insert(6 * k + 5, value)
            sides.append([*other[30 * number :][:30], *side])
        [row] = find_between(*sides)
        return row.is_clear

    assert is_clear([], [])
    assert is_clear(["1", "2", "3", "4"], ["1", "2", "3", "5"])
    assert is_clear(["1", "2"], ["1", "3"])
    assert not is_clear(["1", "2", "3"], ["1", "5", "6"])
    assert not is_clear(["1"], ["2"])
    assert is_clear(["1"], [])


def test_few_other_numbers_do_not_make_a_form_of_a_long_passage():
    words = invent_words(random.Random(13), 100)
    left, right = [*words[:50], "1914", *words[50:]], [*words[:50], "1915", *words[50:]]
    [row] = find_between(left, right)
    assert row.is_clear


def test_clear_passages_are_dense_or_strong():
    chance = random.Random(11)
    words, other = invent_words(chance, 30), invent_words(chance, 100)

    def is_clear(shared, apart):
        """Put ``apart`` different words after every second shared one."""
        sides = []
        for first in (0, 50):
            side = list(words[:shared])
            for number in range(apart):
                side.insert(3 * number + 2, other[first + number])
            sides.append(side)
        [row] = find_between(*sides)
        assert row.score >= PassageSettings().clear_score
        return row.is_clear

    assert [is_clear(9, 8), is_clear(18, 6), is_clear(30, 16)] == [False, True, True]


def test_chains_reach_as_far_as_their_score_allows():
    chance = random.Random(8)
    words, other = invent_words(chance, 62), invent_words(chance, 160)

    def between(weak, apart):
        first, second = other[:apart], other[80 : 80 + apart]
        left = [*words[:20], *first, *words[40 : 40 + weak]]
        return find_between(left, [*words[:20], *second, *words[40 : 40 + weak]])[0].left[1]

    assert [between(2, 15), between(2, 17)] == [37, 20]
    assert [between(4, 31), between(4, 33)] == [55, 20]


def test_neighbours_in_one_document_from_all_over_the_other_are_a_summary():
    chance = random.Random(9)
    said, other = invent_words(chance, 75), invent_words(chance, 900)
    short = [*other[:50], *said, *other[50:100]]
    long = [*other[100:200], *said[:25], *other[200:400], *said[25:50], *other[400:600], *said[50:]]
    under = (_REWORDED.passages, _REWORDED.align)
    [row] = find_between(short, long, under)
    assert row.is_summary
    assert row.is_clear
    assert (row.left, row.right) == ((50, 125), (100, 575))
    assert row.matched == 75


@_many
@given(chances, st.integers(0, 8))
def test_clear_passages_end_with_sentences_that_are_near(chance, sentence_words):
    passage = invent_words(chance, 60)
    before, behind = chance.randint(0, 12), chance.randint(0, 12)
    sides = plant(chance, passage, passage, least=30)
    words = words_of([" ".join(sides.left), " ".join(sides.right)])
    is_first = np.zeros(len(words.hashes), dtype=np.bool_)
    expected = []
    for number, (first, last) in enumerate(sides.spans):
        offset = words.offsets[number]
        is_first[[offset, offset + first - before, offset + last + behind]] = True
        grown = (
            first - before if before <= sentence_words else first,
            last + behind if behind <= sentence_words else last,
        )
        expected.append(grown)
    none = np.zeros(1, dtype=np.int64)
    given = PassageSettings(sentence_words=sentence_words)
    found = find_passages(words, none, none + 1, AlignSettings(), given, is_first)
    assert found.is_clear.tolist() == [True]
    assert (found.left_first[0], found.left_last[0]) == expected[0]
    assert (found.right_first[0], found.right_last[0]) == expected[1]
    assert found.matched.tolist() == [60]


def test_words_that_both_documents_repeat_count_less():
    chance = random.Random(7)
    shared = invent_words(chance, 30)
    scores = []
    for repeats in (0, 4, 16):
        sides = [[*shared, *invent_words(chance, 80), *shared[:1] * repeats] for _ in range(2)]
        row = max(find_between(*sides), key=lambda row: row.matched)
        scores.append(row.score)
    assert scores == [30.0, pytest.approx(29 + 25**-0.12), pytest.approx(29 + 17**-0.24)]


def repeat_in_books(chance, words, times):
    """Return two long documents in which each of these words is repeated, far apart."""
    books = []
    for _ in range(2):
        book = invent_words(chance, 20_000)
        for word in words * times:
            book[chance.randrange(len(book))] = word
        books.append(book)
    return books


def test_long_documents_may_repeat_words_as_often_as_they_are_longer():
    chance = random.Random(12)
    words = invent_words(chance, 20)
    left, right = repeat_in_books(chance, words, 150)
    edited = [*words[:10], "changed", *words[11:]]
    left[9000:9000], right[4000:4000] = words, edited
    rows = find_between(left, right)
    [row] = [row for row in rows if covered((9000, 9020), row.left) == 1.0]
    assert row.is_clear
    assert row.score > 8 > 19 * (150 * 150) ** -PassageSettings().repeat_power


def test_exact_verse_is_clear_however_often_its_words_are_repeated():
    chance = random.Random(13)
    names = invent_words(chance, 5)
    verse = f"and in the {names[0]} of {names[1]} was with the {names[2]} in the {names[3]} of the {names[4]}"
    left, right = repeat_in_books(chance, names, 150)
    for book in (left, right):
        book[9000:9200] = invent_words(chance, 200)
        book[9100:9100] = verse.split()
    rows = find_between(left, right)
    [row] = [row for row in rows if row.left == (9100, 9100 + len(verse.split()))]
    assert row.score < PassageSettings().clear_score
    assert row.is_clear


@pytest.mark.parametrize(
    ("left", "right", "filler", "is_summary"),
    [
        (["1914", "17"], ["1914", "17"], 4, True),
        (["1914", "17"], ["1926", "33"], 4, False),  # a form that is filled in with other numbers
        (["1914", "17"], ["1914", "17"], 120, False),  # too little of the shorter side matches
    ],
)
def test_passages_that_condense_another_document_are_one_summary(left, right, filler, is_summary):
    chance = random.Random(21)
    words, short, long = (invent_words(chance, size) for size in (50, 160, 500))
    parts = [words[:25], words[25:]]

    def side(numbers, between, around):
        marked = [
            [*part[:12], number, *part[12:]] for part, number in zip(parts, numbers, strict=True)
        ]
        return [*around[:20], *marked[0], *between, *marked[1], *around[20:40]]

    reworded = parse_settings({"sensitivity": "reworded"})
    settings = reworded.passages.model_copy(update={"condensed_words": 150})
    rows = find_between(
        side(left, short[:filler], short[130:]),
        side(right, long[:400], long[410:]),
        (settings, reworded.align),
    )
    assert [row.is_summary for row in rows] == ([True] if is_summary else [False, False])
