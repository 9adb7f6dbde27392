"""Tables as CSV on the Web: independent readers find the values and the types of the tables."""

import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from csvw import CSVW

from palimpsest.evidence.passages import PassageFilter, top_passages
from palimpsest.exports.csvw import METADATA, write_csv
from palimpsest.records.errors import SettingsError
from palimpsest.records.schemas import PASSAGES, TABLES
from tests.exports.archives import FORMULA, snapshot_of

SCHEMAS = {**TABLES, "passages": PASSAGES}


@pytest.fixture(scope="module")
def folder(hostile_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("csv") / "tables"
    write_csv(snapshot_of(hostile_archive), path, PassageFilter())
    return path


def rows_of(archive_path: Path, table: str) -> list[dict[str, Any]]:
    """Return the rows that a file must contain."""
    snapshot = snapshot_of(archive_path)
    rows = top_passages(snapshot, limit=1000) if table == "passages" else snapshot.read(table)
    return sorted(rows.to_pylist(), key=json_of)


def json_of(row: dict[str, Any]) -> str:
    return json.dumps(row, default=str, sort_keys=True)


def comparable_row(row: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """Return a row with its 32-bit floats rounded as such, and its times in UTC."""
    comparable = {}
    for field in schema:
        value = row[field.name]
        if field.type == pa.float32():
            value = pa.scalar(value, pa.float32()).as_py()
        if isinstance(value, datetime):
            value = value.astimezone(UTC)
        comparable[field.name] = value
    return comparable


def test_csvw_package_finds_the_metadata_valid_and_all_keys_resolved(folder: Path) -> None:
    group = CSVW(str(folder / METADATA), validate=True)
    assert group.is_valid, [str(warning.message) for warning in group.warnings]
    assert group.t.check_referential_integrity()
    assert [str(table.url) for table in group.t.tables] == [f"{name}.csv" for name in SCHEMAS]


@pytest.mark.parametrize("name", SCHEMAS)
def test_csvw_package_reads_the_typed_values_of_the_tables(
    name: str, folder: Path, hostile_archive: Path
) -> None:
    group = CSVW(str(folder / METADATA)).t
    [table] = [table for table in group.tables if str(table.url) == f"{name}.csv"]
    rows = [comparable_row(dict(row), SCHEMAS[name]) for row in table.iterdicts(strict=True)]
    expected = [comparable_row(row, SCHEMAS[name]) for row in rows_of(hostile_archive, name)]
    assert sorted(rows, key=json_of) == sorted(expected, key=json_of)


def test_columns_are_described_as_in_the_schemas(folder: Path) -> None:
    metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    for table in metadata["tables"]:
        schema = SCHEMAS[table["url"].removesuffix(".csv")]
        columns = table["tableSchema"]["columns"]
        assert [column["name"] for column in columns] == schema.names
        for column, field in zip(columns, schema, strict=True):
            assert column["dc:description"] == field.metadata[b"description"].decode()
            assert column.get("schema:unitText", "") == field.metadata.get(b"unit", b"").decode()


def test_files_follow_rfc_4180(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        raw = path.read_bytes()
        outside = re.sub(rb'"(?:[^"]|"")*"', b'""', raw)
        assert outside.endswith(b"\r\n")
        assert outside.count(b"\n") == outside.count(b"\r\n") == outside.count(b"\r")
        assert not raw.startswith(b"\xef\xbb\xbf")
        width = len(SCHEMAS[path.stem])
        with path.open(newline="", encoding="utf-8") as lines:
            assert {len(row) for row in csv.reader(lines, strict=True)} <= {width}


def test_texts_that_look_like_formulas_are_unchanged(folder: Path) -> None:
    with (folder / "paragraphs.csv").open(newline="", encoding="utf-8") as lines:
        texts = {row["text"] for row in csv.DictReader(lines)}
    assert {FORMULA, "=cmd|' /C calc'!A0"} <= texts


@pytest.mark.parametrize("name", ["paragraphs", "documents", "occurrences", "passages"])
def test_common_readers_read_the_same_texts(name: str, folder: Path, hostile_archive: Path) -> None:
    path = folder / f"{name}.csv"
    text_columns = [field.name for field in SCHEMAS[name] if field.type == pa.string()]
    expected = sorted(
        [tuple(row[column] for column in text_columns) for row in rows_of(hostile_archive, name)],
        key=str,
    )
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    texts = frame[text_columns].astype(object).where(frame[text_columns].notna(), None)
    assert sorted(texts.itertuples(index=False, name=None), key=str) == expected
    table = pl.read_csv(path, infer_schema=False).select(text_columns)
    assert sorted(table.iter_rows(), key=str) == expected
    columns = ", ".join(f'"{column}"' for column in text_columns)
    query = f"SELECT {columns} FROM read_csv('{path}', all_varchar = true, header = true)"
    assert sorted(duckdb.sql(query).fetchall(), key=str) == expected


def test_passages_can_be_filtered_or_omitted(hostile_archive: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(hostile_archive)
    summary = write_csv(snapshot, tmp_path / "few", PassageFilter(min_words=40))
    rows = [row for row in rows_of(hostile_archive, "passages") if row["matched_words"] >= 40]
    assert summary["rows"]["passages"] == len(rows) > 0
    assert summary["rows"]["documents"] == snapshot.rows("documents")
    assert "passages" not in write_csv(snapshot, tmp_path / "none", None)["rows"]
    assert not (tmp_path / "none" / "passages.csv").exists()
    assert CSVW(str(tmp_path / "none" / METADATA), validate=True).is_valid


def test_existing_folder_is_not_touched(hostile_archive: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(SettingsError, match="already exists; name a new folder"):
        write_csv(snapshot_of(hostile_archive), tmp_path / "mine", None)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]
