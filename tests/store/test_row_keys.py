"""Rows are compared by their values."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from palimpsest.store.row_keys import row_keys

MOMENT = datetime(2024, 3, 4, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Etc/UTC", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("unit", ["s", "us"])
def test_same_moment_has_the_same_key_in_every_time_zone(zone: str, unit: str) -> None:
    keys = [
        row_keys(pa.table({"id": ["a"], "at": pa.array([MOMENT], kind)}))
        for kind in (pa.timestamp("us", tz="UTC"), pa.timestamp(unit, tz=zone))
    ]
    assert keys[0] == keys[1]


def test_rows_that_differ_have_different_keys() -> None:
    rows = pa.table(
        {"id": ["a", "a", "a", "b", "b"], "title": ["x", "", None, "x", "y"], "n": [1, 1, 1, 1, 2]}
    )
    assert len(set(row_keys(rows).to_pylist())) == rows.num_rows


def test_no_rows_have_no_keys() -> None:
    for rows in (
        pa.table({"a": pa.array([], pa.int64())}),
        pa.schema([("a", "int64")]).empty_table(),
    ):
        assert row_keys(rows).to_pylist() == []
