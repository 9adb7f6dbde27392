"""Compute the digest of an archive's rows, which does not depend on how they are stored.

The definition needs only Parquet's values and BLAKE2b (RFC 7693), so that other tools can compute
it too:

1. A row becomes a record: for each column, in the order of the schema, a byte that is 1 for a value
   and 0 for null, followed by the value in a fixed width, zero bytes for null.

   - integers, booleans (0 or 1) and timestamps (microseconds since 1970): 8 bytes,
     little-endian two's complement
   - float32: its 4 bytes, little-endian; -0.0 becomes 0.0, and every NaN ``0x7fc00000``
   - string: BLAKE2b of its UTF-8, 16 bytes
   - list<int32>: BLAKE2b of its values, 4 bytes each, little-endian, 16 bytes

2. A row's digest is BLAKE2b of its record, 16 bytes. The digests of a table are sorted: rows are a
   multiset, repeats count, and neither their order nor their split into files matters.
3. A table's digest is BLAKE2b, 32 bytes, of its name and its columns' names, each followed by a
   line feed, and of the sorted digests.
4. An archive's digest is BLAKE2b, 32 bytes, of a line ``<digest> <table>`` for each table.

Columns that record when and by which run a row was written are left out: the table ``runs``, every
``run_id``, and ``removals.removed_at``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from palimpsest.kernels.arrays import Bytes, Positions
from palimpsest.kernels.columns import bytes_of
from palimpsest.kernels.digest import digest_spans
from palimpsest.kernels.sorting import sortable
from palimpsest.records.errors import VERIFY_ADVICE, ContractError
from palimpsest.records.ids import DIGEST_BYTES
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Snapshot

_RUN_COLUMNS = {"run_id", "removed_at"}
_LEFT_OUT = {"runs"}
_BATCH_ROWS = 65_536
_TOTAL_BYTES = 32
_NAN = np.frombuffer(b"\x00\x00\xc0\x7f", dtype="<f4")[0]


def digest_tables(snapshot: Snapshot) -> dict[str, str]:
    """Return the digest of each table's rows in hex, by the definition above.

    Raises:
        ContractError: a file cannot be read.
    """
    return {name: _digest_table(snapshot, name) for name in TABLES if name not in _LEFT_OUT}


def digest_archive(snapshot: Snapshot) -> str:
    """Return the digest of all rows of an archive in hex."""
    return join_digests(digest_tables(snapshot))


def join_digests(tables: Mapping[str, str]) -> str:
    """Return the digest of an archive from those of its tables."""
    lines = "".join(f"{digest} {name}\n" for name, digest in tables.items())
    return hashlib.blake2b(lines.encode(), digest_size=_TOTAL_BYTES).hexdigest()


def _digest_table(snapshot: Snapshot, name: str) -> str:
    schema = pa.schema([field for field in TABLES[name] if field.name not in _RUN_COLUMNS])
    digests = [np.empty((0, DIGEST_BYTES), dtype=np.uint8)]
    digests += [_digest_rows(batch, schema) for batch in _batches(snapshot, name, schema)]
    rows = np.sort(sortable(np.concatenate(digests)))
    total = hashlib.blake2b(digest_size=_TOTAL_BYTES)
    total.update("".join(f"{line}\n" for line in (name, *schema.names)).encode())
    total.update(rows.tobytes())
    return total.hexdigest()


def _batches(snapshot: Snapshot, name: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for path in snapshot.files(name):
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_BATCH_ROWS, columns=schema.names):
                    yield batch.select(schema.names).cast(schema)
        except (OSError, KeyError, pa.ArrowException) as error:
            raise ContractError(
                f"{path}: cannot be read as a file of {name} ({error}); {VERIFY_ADVICE}"
            ) from error


def _digest_rows(batch: pa.RecordBatch, schema: pa.Schema) -> Bytes:
    """Return the digests of rows: uint8, shape (rows, 16)."""
    parts = []
    for field, column in zip(schema, batch.columns, strict=True):
        is_valid = column.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8)
        parts += [is_valid[:, None], _fixed_width(column, field.type) * is_valid[:, None]]
    records = np.concatenate(parts, axis=1)
    bounds = np.arange(len(records) + 1, dtype=np.int64) * records.shape[1]
    return digest_spans(records.reshape(-1), bounds[:-1], bounds[1:])


def _fixed_width(column: pa.Array, kind: pa.DataType) -> Bytes:
    """Return values in a fixed width: uint8, shape (rows, width). Rows of nulls are arbitrary."""
    if pa.types.is_string(kind):
        return _digest_each(*bytes_of(column))
    if pa.types.is_list(kind):
        offsets = column.offsets.to_numpy().astype(np.int64)
        values = column.values.to_numpy(zero_copy_only=False).astype("<i4")
        return _digest_each(values.view(np.uint8), offsets * values.itemsize)
    if pa.types.is_float32(kind):
        numbers = column.fill_null(0.0).to_numpy(zero_copy_only=False) + np.float32(0.0)
        numbers[np.isnan(numbers)] = _NAN
        return _bytes_of_each(numbers, "<f4")
    return _bytes_of_each(
        column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), "<i8"
    )


def _bytes_of_each(numbers: npt.NDArray[Any], kind: str) -> Bytes:
    values = np.ascontiguousarray(numbers, dtype=kind)
    return values.view(np.uint8).reshape(len(values), values.itemsize)


def _digest_each(buffer: Bytes, offsets: Positions) -> Bytes:
    """Return the digests of adjacent spans."""
    return digest_spans(buffer, offsets[:-1], offsets[1:])
