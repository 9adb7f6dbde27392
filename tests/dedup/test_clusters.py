import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.dedup.alignment import Passages
from palimpsest.dedup.clusters import (
    aligned_words,
    choose_representatives,
    first_occurrences,
    relate,
)
from tests import oracles
from tests.oracles import Occurrence
from tests.strategies import max_examples

_UNDATED = np.iinfo(np.int64).max


def chosen_for(rank, links):
    ends = np.array(links, dtype=np.int64).reshape(-1, 2)
    into = choose_representatives(np.array(rank, dtype=np.int64), ends[:, 0], ends[:, 1])
    return into.tolist()


@st.composite
def some_links(draw):
    count = draw(st.integers(1, 12))
    rank = draw(st.permutations(range(count)))
    member = st.integers(0, count - 1)
    pairs = st.tuples(member, member).filter(lambda pair: pair[0] != pair[1])
    return rank, draw(st.lists(pairs, max_size=20)) if count > 1 else []


@max_examples(300)
@given(some_links(), st.randoms(use_true_random=False))
def test_representatives_follow_the_rule_in_any_order_of_links(drawn, chance):
    rank, links = drawn
    expected = oracles.choose_representatives(rank, links)
    assert chosen_for(rank, links) == expected
    assert chosen_for(rank, [(b, a) for a, b in links]) == expected
    chance.shuffle(links)
    assert chosen_for(rank, links) == expected


@max_examples(300)
@given(some_links())
def test_each_cluster_is_a_star(drawn):
    rank, links = drawn
    into = chosen_for(rank, links)
    for member, representative in enumerate(into):
        if representative != member:
            assert {(member, representative), (representative, member)} & set(links)
            assert rank[representative] < rank[member]
            assert into[representative] == representative


@max_examples(200)
@given(some_links(), st.data())
def test_a_link_changes_only_what_is_within_two_links_of_it(drawn, data):
    rank, links = drawn
    if not links:
        return
    lost = data.draw(st.sampled_from(links))
    rest = [link for link in links if set(link) != set(lost)]
    graph = nx.Graph(links)
    near = {m for end in lost for m in nx.single_source_shortest_path_length(graph, end, 2)}
    before, after = chosen_for(rank, links), chosen_for(rank, rest)
    assert {m for m in range(len(rank)) if before[m] != after[m]} <= near


def test_chain_is_not_one_cluster():
    assert chosen_for([0, 1, 2, 3], [(0, 1), (1, 2), (2, 3)]) == [0, 0, 2, 3]


def test_earliest_representative_is_taken_if_two_are_linked():
    assert chosen_for([2, 0, 1], [(0, 1), (0, 2)]) == [1, 1, 2]


def test_members_without_links_represent_themselves():
    assert chosen_for([1, 0, 2], []) == [0, 1, 2]
    assert chosen_for([], []) == []


@pytest.mark.parametrize(
    ("left", "right", "relation"),
    [
        (0.8, 0.8, "near"),
        (1.0, 0.9, "near"),
        (0.79, 0.8, "contained"),
        (0.8, 0.1, "contained"),
        (0.79, 0.79, "partial"),
    ],
)
def test_relation_follows_from_the_shares(left, right, relation):
    assert relate(np.array([left]), np.array([right]), 0.8).tolist() == [relation]
    assert relate(np.array([right]), np.array([left]), 0.8).tolist() == [relation]


def test_aligned_words_are_added_up_over_the_passages_of_a_pair():
    spans = [np.zeros(3, dtype=np.int64)] * 4
    passages = Passages(
        np.array([2, 0, 2]), *spans, np.array([5, 7, 6]), np.ones(3, dtype=np.float32)
    )
    aligned = aligned_words(passages, 4)
    assert aligned.tolist() == [7, 0, 11, 0]
    assert aligned.dtype == np.int64


def chosen(occurrences):
    columns = (
        [o.text for o in occurrences],
        [_UNDATED if o.published is None else o.published for o in occurrences],
        [o.rank for o in occurrences],
    )
    rows = first_occurrences(*(np.array(column, dtype=np.int64) for column in columns))
    return [occurrences[row] for row in rows]


@st.composite
def some_occurrences(draw):
    rows = st.tuples(st.integers(0, 4), st.none() | st.integers(-2, 2) | st.just(2**62))
    drawn = draw(st.lists(rows, max_size=20))
    ranks = draw(st.permutations(range(len(drawn))))
    return [Occurrence(*row, rank) for row, rank in zip(drawn, ranks, strict=True)]


@max_examples(200)
@given(some_occurrences(), st.randoms(use_true_random=False))
def test_first_occurrences_follow_the_rule_in_any_order_of_rows(occurrences, chance):
    texts = sorted({o.text for o in occurrences})
    expected = [
        oracles.first_occurrence(o for o in occurrences if o.text == text) for text in texts
    ]
    assert chosen(occurrences) == expected
    chance.shuffle(occurrences)
    assert chosen(occurrences) == expected


def test_dated_occurrence_comes_before_undated_one_of_lower_rank():
    dated = Occurrence(0, 900, rank=9)
    assert chosen([Occurrence(0, None, rank=0), dated]) == [dated]


def test_lower_rank_comes_first_among_equal_dates():
    first = Occurrence(0, 900, rank=1)
    assert chosen([Occurrence(0, 900, rank=2), first]) == [first]


def test_lower_rank_comes_first_without_dates():
    first = Occurrence(0, None, rank=1)
    assert chosen([Occurrence(0, None, rank=2), first]) == [first]
