"""Arrow columns from Python values and numpy arrays, put together from their buffers.

``pyarrow.array`` makes the same ones, but imports pandas first, wherever that is installed, and
``cast`` imports ``pyarrow.compute``. Two short articles are compared in less time than that takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from palimpsest.records.errors import ContractError
from palimpsest.records.imports import hidden
from palimpsest.records.schemas import TIMESTAMP

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def leave_out_pandas() -> None:
    """Have pyarrow look for pandas now and not find it, for a process that hands it none of its.

    It looks once, at its first array or scalar. ``to_pandas`` looks again, and works.
    """
    with hidden("pandas"):
        pa.array([])


def strings(values: Iterable[str | None]) -> pa.Array:
    """Return a column of strings.

    Raises:
        UnicodeEncodeError: a value has half of a surrogate pair.

    Example:
        >>> strings(["à", None, ""]).to_pylist()
        ['à', None, '']
    """
    held = list(values)
    joined = "".join(filter(None, held))
    encoded = joined.encode()
    if len(encoded) == len(joined):  # as many bytes as characters
        sizes = np.array([-1 if one is None else len(one) for one in held], dtype=np.int64)
    else:
        sizes = np.array([-1 if one is None else len(one.encode()) for one in held], dtype=np.int64)
    is_null = sizes < 0
    offsets = np.zeros(len(held) + 1, dtype=np.int64)
    np.cumsum(np.maximum(sizes, 0), out=offsets[1:])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ContractError(
            f"a column of strings has {offsets[-1]} bytes; expected less than 2**31"
        )
    buffers = pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(encoded)
    return pa.Array.from_buffers(pa.string(), len(held), [_validity(is_null), *buffers])


def numbers(values: npt.NDArray[Any], is_null: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Return a column of numbers of the array's own kind; it shares the array's memory.

    Example:
        >>> numbers(np.array([3, 4]), np.array([False, True])).to_pylist()
        [3, None]
    """
    kind, flat = pa.from_numpy_dtype(values.dtype), np.ascontiguousarray(values)
    validity = None if is_null is None else _validity(is_null)
    return pa.Array.from_buffers(kind, len(flat), [validity, pa.py_buffer(flat)])


def integers(values: Iterable[int | None], kind: type[np.signedinteger[Any]]) -> pa.Array:
    """Return a column of integers of a numpy kind, some of which may be null.

    Raises:
        OverflowError: one is out of range.
    """
    held = list(values)
    is_null = np.array([value is None for value in held], dtype=np.bool_)
    return numbers(np.array([value or 0 for value in held], dtype=kind), is_null)


def times(values: Iterable[datetime | None]) -> pa.Array:
    """Return a column of times, in microseconds since 1970; one without a zone is in UTC.

    Example:
        >>> times([datetime(1970, 1, 2, tzinfo=UTC)]).view(pa.int64()).to_pylist()
        [86400000000]
    """
    return times_at(map(_microseconds, values))


def times_at(microseconds: Iterable[int | None]) -> pa.Array:
    """Return a column of times from the microseconds since 1970."""
    return integers(microseconds, np.int64).view(TIMESTAMP)


def lists(offsets: npt.NDArray[np.int32], values: npt.NDArray[Any]) -> pa.ListArray:
    """Return a column of lists of numbers.

    Args:
        offsets: shape (lists + 1,), where each begins among the values.
        values: of all lists in order.
    """
    return pa.ListArray.from_arrays(numbers(offsets), numbers(values))


def table_of(columns: Mapping[str, pa.Array], schema: pa.Schema) -> pa.Table:
    """Return columns in the order of a schema, as a table of it.

    Raises:
        ContractError: a column is not of the type that the schema says, or has nulls against it.
    """
    for field in schema:
        column = columns[field.name]
        if column.type != field.type or (column.null_count and not field.nullable):
            found = f"{column.type} with {column.null_count} nulls"
            raise ContractError(f"column {field.name}: found {found}; expected {field}")
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _validity(is_null: npt.NDArray[np.bool_]) -> pa.Buffer | None:
    """Return the bits that say which values there are; None if all are."""
    return pa.py_buffer(np.packbits(~is_null, bitorder="little")) if is_null.any() else None


def _microseconds(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    known = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (known - _EPOCH) // _MICROSECOND
