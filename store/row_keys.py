"""Rows as strings, to compare rows and look them up by several columns."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_BETWEEN = "\x1f"
_NULL = "\x00"


def row_keys(rows: pa.Table) -> pa.Array:
    """Return a string for each row, equal for rows whose values are equal.

    Times are equal if they are the same moment, whatever the time zone of their column.
    Null equals null, and no string.

    Example:
        >>> utc = pa.array([0], pa.timestamp("us", tz="UTC"))
        >>> kolkata = utc.cast(pa.timestamp("us", tz="Asia/Kolkata"))
        >>> row_keys(pa.table({"at": utc})) == row_keys(pa.table({"at": kolkata}))
        True
    """
    columns = [_as_strings(column) for column in rows.columns]
    joined = columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, _BETWEEN)
    return pa.concat_arrays([*joined.chunks, pa.array([], pa.string())])


def _as_strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", tz="UTC"))
    strings = column.cast(pa.string())
    return strings.fill_null(_NULL) if strings.null_count else strings
