from __future__ import annotations

import io
import re
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from palimpsest.records.errors import ContractError
from palimpsest.records.schemas import REJECT_REASONS, TABLES, TIMESTAMP, conform

_PLAIN = {
    pa.string(): "words",
    pa.int32(): 7,
    pa.int64(): 2**40,
    pa.float32(): 0.5,
    pa.bool_(): True,
    TIMESTAMP: datetime(2024, 2, 29, 12, 30, 0, 5, tzinfo=UTC),
    pa.list_(pa.int32()): [1, 2],
}


def _row(name: str, *, nulls: bool = False) -> dict[str, object]:
    return {
        field.name: None if nulls and field.nullable else _PLAIN[field.type]
        for field in TABLES[name]
    }


def _table(name: str, *, nulls: bool = False) -> pa.Table:
    free = pa.schema([pa.field(field.name, field.type) for field in TABLES[name]])
    return pa.Table.from_pylist([_row(name), _row(name, nulls=nulls)], schema=free)


@pytest.mark.parametrize("name", TABLES)
def test_rows_that_fit_get_exactly_the_schema_of_their_table(name):
    shaped = conform(_table(name), name)
    assert shaped.schema.equals(TABLES[name], check_metadata=True)
    assert shaped.to_pylist() == [_row(name)] * 2


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_ordered_and_unknown_ones_left_out(name):
    table = _table(name)
    turned = table.select(table.column_names[::-1]).append_column("more", pa.array([1, 2]))
    assert conform(turned, name) == conform(table, name)


@pytest.mark.parametrize("name", TABLES)
def test_nulls_survive_parquet_in_nullable_columns(name):
    shaped = conform(_table(name, nulls=True), name)
    file = io.BytesIO()
    pq.write_table(shaped, file)
    file.seek(0)
    back = pq.read_table(file)
    assert back.to_pylist() == [_row(name), _row(name, nulls=True)]
    assert conform(back, name) == shaped


@pytest.mark.parametrize(
    ("name", "column"),
    [
        (name, field.name)
        for name, schema in TABLES.items()
        for field in schema
        if not field.nullable
    ],
)
def test_null_in_a_required_column_violates_the_contract(name, column):
    rows = [_row(name), {**_row(name), column: None}]
    free = pa.schema([pa.field(field.name, field.type) for field in TABLES[name]])
    with pytest.raises(ContractError, match=column):
        conform(pa.Table.from_pylist(rows, schema=free), name)


@pytest.mark.parametrize("name", TABLES)
def test_missing_column_violates_the_contract(name):
    for column in TABLES[name].names:
        with pytest.raises(ContractError, match=f"{name}.{column}: missing"):
            conform(_table(name).drop_columns([column]), name)


def _with(name: str, column: str, values: pa.Array) -> pa.Table:
    table = _table(name)
    return table.set_column(table.column_names.index(column), column, values)


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [
        ("documents", "bytes", pa.array(["many", "few"])),
        ("documents", "paragraphs", pa.array([1, 2**31])),
        ("occurrences", "ordinal", pa.array([0.5, 1.0])),
        ("occurrences", "ordinal", pa.array([3, 4], pa.int64())),
        ("occurrences", "start_char", pa.array(["3", "4"])),
        ("occurrences", "shift_at", pa.array([1, 2])),
        ("sources", "modified_at", pa.array(["yesterday", "today"])),
        ("sources", "modified_at", pa.array([1, 2], pa.timestamp("ns", tz="UTC"))),
        ("sources", "uri", pa.array([[1], [2]])),
    ],
)
def test_column_of_another_type_violates_the_contract(name, column, values):
    with pytest.raises(ContractError, match=f"{name}.{column}: .*expected"):
        conform(_with(name, column, values), name)


def test_large_strings_are_accepted_as_strings():
    large = pa.array(["a", "b"], pa.large_string())
    assert conform(_with("sources", "uri", large), "sources")["uri"].to_pylist() == ["a", "b"]


def test_an_empty_table_fits():
    for name, schema in TABLES.items():
        assert conform(schema.empty_table(), name).num_rows == 0


def test_only_types_that_every_reader_knows_are_used():
    assert {field.type for schema in TABLES.values() for field in schema} <= set(_PLAIN)


def test_every_column_has_a_description():
    for name, schema in TABLES.items():
        for field in schema:
            assert field.metadata[b"description"], f"{name}.{field.name}"
            assert re.fullmatch(r"[a-z][a-z0-9_]*", field.name)
            if field.name.endswith(("_char", "_byte")):
                unit = {"char": b"characters", "byte": b"bytes"}[field.name[-4:]]
                assert field.metadata[b"unit"] == unit


def test_reject_reasons_are_codes_with_explanations():
    assert all(re.fullmatch(r"[a-z0-9-]+", code) for code in REJECT_REASONS)
    assert all(REJECT_REASONS.values())
