"""The vector instructions against the plain loop that they replace."""

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.dedup import lanes
from palimpsest.dedup.lanes import LANES, highest_in_loop, highest_of_lanes
from tests.strategies import max_examples

_DTYPES = (np.int16, np.int32, np.int64)


@numba.njit
def _by_vector(down, across, reached, first, here, there, gap, farthest):
    return highest_of_lanes(down, across, reached, first, here, there, gap, farthest)


@st.composite
def searches(draw):
    """Draw matches around a position, many of them within reach."""
    dtype = np.dtype(draw(st.sampled_from(_DTYPES)))
    first = draw(st.integers(0, 3))
    size = first + LANES
    some = st.lists(st.integers(0, 40), min_size=size, max_size=size)
    down, across, reached = (np.array(draw(some), dtype=dtype) for _ in range(3))
    if draw(st.booleans()):
        down[: first + draw(st.integers(0, LANES))] = np.iinfo(dtype).max  # what nothing follows
    here, there = (dtype.type(draw(st.integers(0, 50))) for _ in range(2))
    return (
        down,
        across,
        reached,
        first,
        here,
        there,
        draw(st.integers(1, 5)),
        draw(st.integers(1, 60)),
    )


@max_examples(300)
@given(searches())
def test_vector_instructions_find_what_the_loop_finds(search):
    assert _by_vector(*search) == highest_in_loop(*search)


@pytest.mark.parametrize("dtype", _DTYPES)
def test_loop_is_compiled_where_vector_instructions_cannot_be(monkeypatch, dtype):
    def fail(*_):
        raise AttributeError("as_pointer")

    monkeypatch.setattr(lanes, "_emit_vector_code", fail)
    search = numba.njit(_by_vector.py_func)
    down = np.arange(LANES, dtype=dtype)
    at = dtype(LANES)
    assert search(down, down, down, 0, at, at, 2, 9) == highest_in_loop(
        down, down, down, 0, at, at, 2, 9
    )
