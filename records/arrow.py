"""Arrow columns from Python values and numpy arrays, built from their buffers.

``pyarrow.array`` builds the same ones, but imports pandas first if it is installed, and ``cast``
imports ``pyarrow.compute``. That takes longer than comparing two short articles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from palimpsest.records.errors import ContractError
from palimpsest.records.schemas import TIMESTAMP

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def strings(values: Iterable[str | None]) -> pa.Array:
    """Return a column of strings.

    Raises:
        UnicodeEncodeError: a value has half of a surrogate pair.

    Example:
        >>> strings(["à", None, ""]).to_pylist()
        ['à', None, '']
    """
    rows = list(values)
    joined = "".join(filter(None, rows))
    encoded = joined.encode()
    if len(encoded) == len(joined):  # ASCII: as many bytes as characters
        sizes = np.array([-1 if row is None else len(row) for row in rows], dtype=np.int64)
    else:
        sizes = np.array([-1 if row is None else len(row.encode()) for row in rows], dtype=np.int64)
    is_null = sizes < 0
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(np.maximum(sizes, 0), out=offsets[1:])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ContractError(
            f"a column of strings has {offsets[-1]} bytes; expected less than 2**31"
        )
    buffers = pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(encoded)
    return pa.Array.from_buffers(pa.string(), len(rows), [_validity(is_null), *buffers])


def numbers(values: npt.NDArray[Any], is_null: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Return a column of numbers of the array's own type; it shares the array's memory.

    Example:
        >>> numbers(np.array([3, 4]), np.array([False, True])).to_pylist()
        [3, None]
    """
    kind, flat = pa.from_numpy_dtype(values.dtype), np.ascontiguousarray(values)
    validity = None if is_null is None else _validity(is_null)
    return pa.Array.from_buffers(kind, len(flat), [validity, pa.py_buffer(flat)])


def integers(values: Iterable[int | None], kind: type[np.signedinteger[Any]]) -> pa.Array:
    """Return a column of integers of a numpy type, some of which may be null.

    Raises:
        OverflowError: a value is out of range.
    """
    rows = list(values)
    is_null = np.array([row is None for row in rows], dtype=np.bool_)
    return numbers(np.array([row or 0 for row in rows], dtype=kind), is_null)


def times(values: Iterable[datetime | None]) -> pa.Array:
    """Return a column of times, in microseconds since 1970; without a time zone, UTC is assumed.

    Example:
        >>> times([datetime(1970, 1, 2, tzinfo=UTC)]).view(pa.int64()).to_pylist()
        [86400000000]
    """
    return times_at(map(_microseconds, values))


def times_at(microseconds: Iterable[int | None]) -> pa.Array:
    """Return a column of times from microseconds since 1970."""
    return integers(microseconds, np.int64).view(TIMESTAMP)


def lists(offsets: npt.NDArray[np.int32], values: npt.NDArray[Any]) -> pa.ListArray:
    """Return a column of lists of numbers.

    Args:
        offsets: shape (lists + 1,), the start of each list among the values.
        values: values of all lists, in order.
    """
    return pa.ListArray.from_arrays(numbers(offsets), numbers(values))


def table_of(columns: Mapping[str, pa.Array], schema: pa.Schema) -> pa.Table:
    """Return columns as a table with a schema, in the order of its fields.

    Raises:
        ContractError: a column has another type than in the schema, or nulls that it forbids.
    """
    for field in schema:
        column = columns[field.name]
        if column.type != field.type or (column.null_count and not field.nullable):
            found = f"{column.type} with {column.null_count} nulls"
            raise ContractError(f"column {field.name}: found {found}; expected {field}")
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _validity(is_null: npt.NDArray[np.bool_]) -> pa.Buffer | None:
    """Return the validity bitmap of a column, or None if it has no nulls."""
    return pa.py_buffer(np.packbits(~is_null, bitorder="little")) if is_null.any() else None


def _microseconds(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND
