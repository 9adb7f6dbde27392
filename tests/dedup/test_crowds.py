from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.dedup.crowds import head_limit
from tests import oracles
from tests.strategies import max_examples

heavy = max_examples(60)

LIMITS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@heavy
@given(LIMITS, st.integers(1, 2**40))
def test_limit_of_heads_falls_by_steps_of_four_as_a_crowd_grows(limits, more):
    texts = limits[0] + more
    found = int(head_limit(texts, *limits))
    assert found == oracles.head_limit(texts, *limits)
    assert found >= int(head_limit(texts + 1, *limits))
    assert found / int(head_limit(4 * texts, *limits)) == pytest.approx(4)


@heavy
@given(LIMITS, st.integers(1, 2**40))
def test_crowd_has_once_to_four_times_as_many_heads_as_set(limits, more):
    texts = limits[0] + more
    heads = texts * (int(head_limit(texts, *limits)) / 2**64)
    assert limits[1] * 0.999 < heads < limits[1] * 4.001
