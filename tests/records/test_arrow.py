"""Columns built from buffers equal those that pyarrow builds."""

from datetime import UTC, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.records.arrow import integers, lists, numbers, strings, table_of, times
from palimpsest.records.errors import ContractError
from palimpsest.records.schemas import TIMESTAMP


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]))))
def test_strings_equal_those_of_pyarrow(values):
    column = strings(values)
    column.validate(full=True)
    assert column.equals(pa.array(values, pa.string()))


def test_half_of_a_surrogate_pair_is_refused_as_by_pyarrow():
    with pytest.raises(UnicodeEncodeError):
        strings(["\ud800"])


@given(st.lists(st.none() | st.integers(-(2**31), 2**31 - 1)))
@pytest.mark.parametrize(("kind", "type_"), [(np.int32, pa.int32()), (np.int64, pa.int64())])
def test_integers_equal_those_of_pyarrow(kind, type_, values):
    column = integers(values, kind)
    column.validate(full=True)
    assert column.equals(pa.array(values, type_))


def test_integer_out_of_range_is_refused():
    with pytest.raises(OverflowError):
        integers([2**31], np.int32)


@given(
    st.lists(
        st.none()
        | st.datetimes()
        | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9))]))
    )
)
def test_times_equal_those_of_pyarrow(values):
    assert times(values).equals(pa.array(values, TIMESTAMP))


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans())))
def test_masked_numbers_equal_those_of_pyarrow(rows):
    values = np.array([value for value, _ in rows], dtype=np.int64)
    is_null = np.array([missing for _, missing in rows], dtype=np.bool_)
    assert numbers(values, is_null).equals(pa.array(values, mask=is_null))


def test_column_of_a_strided_array_is_correct():
    assert numbers(np.arange(6, dtype=np.int64)[::2]).to_pylist() == [0, 2, 4]


def test_lists_equal_those_of_pyarrow():
    offsets, values = np.array([0, 2, 2, 3], np.int32), np.array([5, 6, 7], np.int32)
    assert lists(offsets, values).equals(pa.array([[5, 6], [], [7]], pa.list_(pa.int32())))


SCHEMA = pa.schema([pa.field("uri", pa.string(), nullable=False), pa.field("bytes", pa.int64())])


def test_table_has_columns_in_the_order_of_the_schema():
    columns = {"bytes": integers([None], np.int64), "uri": strings(["file:///a"])}
    assert table_of(columns, SCHEMA).schema.equals(SCHEMA, check_metadata=True)


@pytest.mark.parametrize(
    ("uri", "size"),
    [(strings([None]), integers([1], np.int64)), (strings(["a"]), integers([1], np.int32))],
)
def test_column_that_violates_the_schema_is_refused(uri, size):
    with pytest.raises(ContractError):
        table_of({"uri": uri, "bytes": size}, SCHEMA)
