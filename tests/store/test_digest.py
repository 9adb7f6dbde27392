"""Digests of tables: equal for the same rows, different for any others."""

import hashlib
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from palimpsest.records.errors import ContractError
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Manifest, Snapshot, StoredArchive
from palimpsest.store.digest import digest_archive, digest_tables
from palimpsest.store.parquet import write_table
from tests.store.damage import copy_archive, put
from tests.store.rows import make_row, make_rows

DIGESTED = sorted(set(TABLES) - {"runs"})
RUN_COLUMNS = {"run_id", "removed_at"}
COLUMNS = [
    (name, column)
    for name in DIGESTED
    for column in TABLES[name].names
    if column not in RUN_COLUMNS
]


def snapshot_of(folder: Path, name: str, *parts: pa.Table) -> Snapshot:
    """Return a version with one table, with a file for each part."""
    files: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
    for number, part in enumerate(parts):
        write_table(part, name, folder / name / f"{number}.parquet")
        files[name].append({"name": f"{number}.parquet", "rows": part.num_rows, "bytes": 0})
    return Snapshot(
        folder,
        Manifest(
            version=1,
            run_id="r1",
            operation="ingest",
            published_at="2024-01-01T00:00:00+00:00",
            sealed={},
            files=files,
        ),
    )


def digest_of(folder: Path, name: str, *parts: pa.Table) -> str:
    return digest_tables(snapshot_of(folder, name, *parts))[name]


def rows_of(name: str) -> pa.Table:
    """Return rows in which every list has values, and optional values exist or are null in turn."""
    given = [
        {field.name: [number, -number] for field in TABLES[name] if pa.types.is_list(field.type)}
        for number in range(4)
    ]
    rows = [make_row(name, number, **given[number]) for number in range(4)]
    return pa.Table.from_pylist(rows, schema=TABLES[name])


def _as_defined(name: str, rows: list[dict[str, Any]]) -> str:
    """Return the digest computed row by row, with hashlib and struct only."""
    fields = [field for field in TABLES[name] if field.name not in RUN_COLUMNS]
    digests = sorted(
        _short(b"".join(_value(row[field.name], field.type) for field in fields)) for row in rows
    )
    head = "".join(f"{one}\n" for one in (name, *(field.name for field in fields)))
    return hashlib.blake2b(head.encode() + b"".join(digests), digest_size=32).hexdigest()


def _short(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=16).digest()


def _value(value: Any, kind: pa.DataType) -> bytes:
    width = 16 if kind == pa.string() or pa.types.is_list(kind) else kind.bit_width // 8
    width = 8 if kind in (pa.int32(), pa.bool_()) else width
    if value is None:
        return bytes(1 + width)
    if kind == pa.string():
        encoded = _short(value.encode())
    elif pa.types.is_list(kind):
        encoded = _short(struct.pack(f"<{len(value)}i", *value))
    elif kind == pa.float32():
        encoded = struct.pack("<f", value)
    elif pa.types.is_timestamp(kind):
        since = value - datetime(1970, 1, 1, tzinfo=UTC)
        encoded = struct.pack(
            "<q", (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds
        )
    else:
        encoded = struct.pack("<q", value)
    return b"\1" + encoded


@pytest.mark.parametrize("name", DIGESTED)
def test_digest_follows_its_definition(tmp_path: Path, name: str) -> None:
    rows = rows_of(name)
    assert digest_of(tmp_path, name, rows) == _as_defined(name, rows.to_pylist())


def test_digest_of_the_examples_follows_its_definition(examples_archive: Path) -> None:
    snapshot = StoredArchive(examples_archive).snapshot()
    found = digest_tables(snapshot)
    assert list(found) == [name for name in TABLES if name != "runs"]
    for name, digest in found.items():
        assert digest == _as_defined(name, snapshot.read(name).to_pylist())
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("name", DIGESTED)
def test_digest_ignores_order_files_and_run(tmp_path: Path, name: str) -> None:
    rows = rows_of(name)
    expected = digest_of(tmp_path / "one", name, rows)
    permuted = rows.take([2, 0, 3, 1])
    assert digest_of(tmp_path / "two", name, permuted) == expected
    split = [permuted.slice(0, 1), permuted.slice(1, 0), permuted.slice(1)]
    assert digest_of(tmp_path / "three", name, *split) == expected
    for column in RUN_COLUMNS & set(rows.column_names):
        value = "another" if column == "run_id" else datetime(1999, 1, 1, tzinfo=UTC)
        assert digest_of(tmp_path / column, name, put(column, value)(rows)) == expected


def test_digest_ignores_how_parquet_is_written(tmp_path: Path) -> None:
    rows = rows_of("overlaps")
    expected = digest_of(tmp_path / "one", "overlaps", rows)
    snapshot = snapshot_of(tmp_path / "two", "overlaps", rows)
    [path] = snapshot.files("overlaps")
    pq.write_table(rows, path, compression="none", version="1.0", row_group_size=1)
    assert digest_tables(snapshot)["overlaps"] == expected


@pytest.mark.parametrize(("name", "column"), COLUMNS, ids=".".join)
def test_digest_changes_with_any_value(tmp_path: Path, name: str, column: str) -> None:
    rows = rows_of(name)
    expected = digest_of(tmp_path / "as-it-was", name, rows)
    field = TABLES[name].field(column)
    others: list[Any]
    if field.type == pa.string():
        others = ["another", "", f"{column}-000000 "]
    elif pa.types.is_list(field.type):
        others = [[], [1], [0], [0, 0, 0]]
    elif pa.types.is_timestamp(field.type):
        others = [datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]
    elif pa.types.is_boolean(field.type):
        others = [True]
    else:
        others = [1, -1]
    if field.nullable:
        others.append(None)
    found = [
        digest_of(tmp_path / str(number), name, put(column, other)(rows))
        for number, other in enumerate(others)
    ]
    assert expected not in found
    assert len(set(found)) == len(others)


def test_null_differs_from_zero_and_from_an_empty_text(tmp_path: Path) -> None:
    rows = make_rows("paragraphs", 0, 1)
    for column, nothing in (("start_byte", 0), ("title", "")):
        digests = {
            digest_of(tmp_path / f"{column}-{value!r}", "paragraphs", put(column, value)(rows))
            for value in (None, nothing)
        }
        assert len(digests) == 2


def test_positive_and_negative_zero_have_the_same_digest(tmp_path: Path) -> None:
    rows = make_rows("variants", 0, 1)
    digests = {
        digest_of(tmp_path / repr(value), "variants", put("resemblance", value)(rows))
        for value in (0.0, -0.0)
    }
    assert len(digests) == 1


@pytest.mark.parametrize("name", DIGESTED)
def test_repeated_rows_change_the_digest(tmp_path: Path, name: str) -> None:
    rows = rows_of(name)
    repeated = [pa.concat_tables([rows] + [rows.slice(0, 1)] * times) for times in range(3)]
    digests = {
        digest_of(tmp_path / str(times), name, table) for times, table in enumerate(repeated)
    }
    assert len(digests) == 3


def test_same_rows_in_another_table_have_another_digest(tmp_path: Path) -> None:
    found = digest_tables(snapshot_of(tmp_path, "rejects"))
    assert len(set(found.values())) == len(found)


def test_digest_of_the_archive_depends_on_those_of_its_tables(tmp_path: Path) -> None:
    rows = make_rows("rejects", 0, 2)
    digests = {
        digest_archive(snapshot_of(tmp_path / str(number), "rejects", rows.slice(0, number)))
        for number in range(3)
    }
    assert len(digests) == 3


def test_torn_file_is_reported_by_its_path(tmp_path: Path, examples_archive: Path) -> None:
    snapshot = StoredArchive(copy_archive(examples_archive, tmp_path / "press")).snapshot()
    [path] = snapshot.files("overlaps")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ContractError, match=path.name):
        digest_tables(snapshot)
    path.unlink()
    with pytest.raises(ContractError, match="palimpsest verify"):
        digest_archive(snapshot)
