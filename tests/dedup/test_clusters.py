import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.dedup.alignment import Passages
from palimpsest.dedup.clusters import aligned_words, first_occurrences, join_clusters, relate
from tests import oracles
from tests.oracles import Occurrence
from tests.strategies import max_examples

_UNDATED = np.iinfo(np.int64).max


def joined(count, edges):
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
    return join_clusters(count, ends[:, 0].copy(), ends[:, 1].copy()).tolist()


@pytest.mark.parametrize("seed", range(12))
def test_clusters_are_connected_components_in_any_order_of_edges(seed):
    chance = random.Random(seed)
    count = chance.randrange(1, 200)
    edges = [(chance.randrange(count), chance.randrange(count)) for _ in range(count * seed // 8)]
    expected = oracles.join_clusters(count, edges)
    assert joined(count, edges) == expected
    assert joined(count, [(b, a) for a, b in edges]) == expected
    chance.shuffle(edges)
    assert joined(count, edges) == expected


def test_long_chain_is_one_cluster_in_either_order():
    chain = [(k, k + 1) for k in range(4999)]
    assert set(joined(5000, chain)) == {0}
    assert set(joined(5000, chain[::-1])) == {0}


def test_members_without_edges_are_their_own_clusters():
    assert joined(3, []) == [0, 1, 2]
    assert joined(0, []) == []


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
        [o.cluster for o in occurrences],
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
    clusters = sorted({o.cluster for o in occurrences})
    expected = [
        oracles.first_occurrence(o for o in occurrences if o.cluster == cluster)
        for cluster in clusters
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
