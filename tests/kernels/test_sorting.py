from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.kernels.sorting import (
    KERNEL_MIN_DIGESTS,
    distinct,
    distinct_digests,
    find_digests,
    first_of_each,
    halves_of,
    pack_with_positions,
    sortable,
    stable_order,
)
from tests.strategies import max_examples

heavy = max_examples(60)

DIGESTS = st.lists(
    st.one_of(
        st.binary(min_size=16, max_size=16),
        st.sampled_from([b"\0" * 16, b"\xff" * 16, b"a" + b"\0" * 15, b"\0" * 15 + b"\x01"]),
    ),
    max_size=20,
)
_SIZE = 2 * KERNEL_MIN_DIGESTS + 1


def _rows(digests: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16)


def _many_digests(seed: int) -> np.ndarray:
    """Return digests, many of them twice; some agree in their first 4, 8 or 12 bytes."""
    chance = np.random.default_rng(seed)
    rows = chance.integers(0, 256, (_SIZE, 16), dtype=np.uint8)
    for agree in (4, 8, 12):
        alike = chance.integers(0, _SIZE, (2, 40))
        rows[alike[0], :agree] = rows[alike[1], :agree]
    return rows[chance.integers(0, _SIZE, 2 * _SIZE)]


@heavy
@given(st.lists(st.integers(-5, 5)))
def test_distinct_values_are_a_sorted_set(values):
    assert distinct(np.array(values, dtype=np.int64)).tolist() == sorted(set(values))


@heavy
@given(DIGESTS)
def test_digests_sort_and_compare_as_their_bytes(digests):
    keys = sortable(_rows(digests))
    order = np.argsort(keys, kind="stable")
    assert [digests[at] for at in order] == sorted(digests)
    assert len(distinct(keys)) == len(set(digests))


@heavy
@given(DIGESTS)
def test_distinct_digests_are_a_sorted_set(digests):
    found = distinct_digests(_rows(digests))
    assert [row.tobytes() for row in found] == sorted(set(digests))


@heavy
@given(DIGESTS)
def test_halves_are_digests_as_numbers_that_sort_alike(digests):
    upper, lower = halves_of(_rows(digests))
    whole = [
        (high << 64 | low).to_bytes(16, "big")
        for high, low in zip(upper.tolist(), lower.tolist(), strict=True)
    ]
    assert whole == digests


@heavy
@given(DIGESTS, DIGESTS)
def test_digests_are_found_where_a_linear_search_finds_them(stored, others):
    stored = sorted(set(stored))
    wanted = [*others, *stored[::-1]]
    expected = [stored.index(digest) if digest in stored else -1 for digest in wanted]
    assert find_digests(_rows(stored), _rows(wanted)).tolist() == expected


@pytest.mark.parametrize("bits", [1, 9, 10, 26, 27, 63, 64])
@pytest.mark.parametrize("shift", [0, 5])
def test_many_distinct_values_are_those_of_numpy(bits: int, shift: int) -> None:
    chance = np.random.default_rng(bits)
    values = chance.integers(0, 2**bits, _SIZE, dtype=np.uint64, endpoint=bits < 64) << shift
    assert np.array_equal(distinct(values), np.unique(values))
    assert np.array_equal(distinct(values[::2]), np.unique(values[::2]))


@pytest.mark.parametrize("kind", [np.int16, np.uint32, np.int64, np.uint64, np.float64, "S3"])
def test_distinct_values_of_every_type_are_those_of_numpy(kind: type | str) -> None:
    chance = np.random.default_rng(2)
    values = chance.integers(0, 99, _SIZE).astype(kind)
    assert np.array_equal(distinct(values), np.unique(values))


def test_distinct_negative_values_come_first() -> None:
    values = np.random.default_rng(1).integers(-(2**63), 2**63, _SIZE)
    assert np.array_equal(distinct(values), np.unique(values))


@pytest.mark.parametrize("size", [0, 1, 300, _SIZE])
@pytest.mark.parametrize("kind", [np.uint32, np.int64])
def test_equal_numbers_stay_in_their_order(size: int, kind: type) -> None:
    values = np.random.default_rng(size).integers(0, 2**8, size).astype(kind)
    values[: size // 3] = 2**32 - 1
    order = stable_order(values)
    assert np.array_equal(order, np.argsort(values, kind="stable"))
    packed = pack_with_positions(values)
    assert np.array_equal(packed >> np.uint64(32), np.sort(values))
    assert np.array_equal(packed & np.uint64(2**32 - 1), order)


@pytest.mark.parametrize("seed", range(4))
def test_first_positions_of_many_digests_are_those_of_numpy(seed: int) -> None:
    rows = _many_digests(seed)
    ordered, firsts = np.unique(sortable(rows), return_index=True)
    assert np.array_equal(first_of_each(rows), firsts)
    assert np.array_equal(sortable(distinct_digests(rows)), ordered)


@pytest.mark.parametrize("seed", range(4))
def test_many_digests_are_found_where_a_linear_search_finds_them(seed: int) -> None:
    rows = _many_digests(seed)
    stored = distinct_digests(rows[: len(rows) // 2])
    expected = {row.tobytes(): place for place, row in enumerate(stored)}
    assert find_digests(stored, rows).tolist() == [expected.get(row.tobytes(), -1) for row in rows]
