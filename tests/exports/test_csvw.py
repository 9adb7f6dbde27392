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
def folder(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("csv") / "tables"
    write_csv(snapshot_of(hostile), path, PassageFilter())
    return path


def rows_of(archive: Path, name: str) -> list[dict[str, Any]]:
    """Return what a file has to hold."""
    snapshot = snapshot_of(archive)
    found = top_passages(snapshot, limit=1000) if name == "passages" else snapshot.read(name)
    return sorted(found.to_pylist(), key=json_of)


def json_of(row: dict[str, Any]) -> str:
    return json.dumps(row, default=str, sort_keys=True)


def as_float32(row: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """Return a row with its shares as the 32 bits that they are, and moments in one zone."""
    told = {}
    for field in schema:
        value = row[field.name]
        if field.type == pa.float32():
            value = pa.scalar(value, pa.float32()).as_py()
        if isinstance(value, datetime):
            value = value.astimezone(UTC)
        told[field.name] = value
    return told


def test_csvw_finds_the_metadata_valid_and_all_keys_resolved(folder: Path) -> None:
    read = CSVW(str(folder / METADATA), validate=True)
    assert read.is_valid, [str(one.message) for one in read.warnings]
    assert read.t.check_referential_integrity()
    assert [str(table.url) for table in read.t.tables] == [f"{name}.csv" for name in SCHEMAS]


@pytest.mark.parametrize("name", SCHEMAS)
def test_csvw_reads_the_values_of_the_tables_by_their_types(
    name: str, folder: Path, hostile: Path
) -> None:
    group = CSVW(str(folder / METADATA)).t
    [table] = [one for one in group.tables if str(one.url) == f"{name}.csv"]
    found = [as_float32(dict(row), SCHEMAS[name]) for row in table.iterdicts(strict=True)]
    expected = [as_float32(row, SCHEMAS[name]) for row in rows_of(hostile, name)]
    assert sorted(found, key=json_of) == sorted(expected, key=json_of)


def test_each_column_is_described_as_in_the_schemas(folder: Path) -> None:
    told = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    for table in told["tables"]:
        schema = SCHEMAS[table["url"].removesuffix(".csv")]
        columns = table["tableSchema"]["columns"]
        assert [column["name"] for column in columns] == schema.names
        for column, field in zip(columns, schema, strict=True):
            assert column["dc:description"] == field.metadata[b"description"].decode()
            assert column.get("schema:unitText", "") == field.metadata.get(b"unit", b"").decode()


def test_files_are_what_rfc_4180_says(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        raw = path.read_bytes()
        outside = re.sub(rb'"(?:[^"]|"")*"', b'""', raw)
        assert outside.endswith(b"\r\n")
        assert outside.count(b"\n") == outside.count(b"\r\n") == outside.count(b"\r")
        assert not raw.startswith(b"\xef\xbb\xbf")
        width = len(SCHEMAS[path.stem])
        with path.open(newline="", encoding="utf-8") as lines:
            assert {len(row) for row in csv.reader(lines, strict=True)} <= {width}


def test_texts_that_look_like_formulas_stay_as_they_are(folder: Path) -> None:
    with (folder / "paragraphs.csv").open(newline="", encoding="utf-8") as lines:
        texts = {row["text"] for row in csv.DictReader(lines)}
    assert {FORMULA, "=cmd|' /C calc'!A0"} <= texts


@pytest.mark.parametrize("name", ["paragraphs", "documents", "occurrences", "passages"])
def test_common_readers_find_the_texts(name: str, folder: Path, hostile: Path) -> None:
    path = folder / f"{name}.csv"
    names = [field.name for field in SCHEMAS[name] if field.type == pa.string()]
    expected = sorted([tuple(row[one] for one in names) for row in rows_of(hostile, name)], key=str)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    found = frame[names].astype(object).where(frame[names].notna(), None)
    assert sorted(found.itertuples(index=False, name=None), key=str) == expected
    table = pl.read_csv(path, infer_schema=False).select(names)
    assert sorted(table.iter_rows(), key=str) == expected
    told = ", ".join(f'"{one}"' for one in names)
    query = f"SELECT {told} FROM read_csv('{path}', all_varchar = true, header = true)"
    assert sorted(duckdb.sql(query).fetchall(), key=str) == expected


def test_passages_can_be_filtered_or_left_out(hostile: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(hostile)
    told = write_csv(snapshot, tmp_path / "few", PassageFilter(min_words=40))
    rows = [row for row in rows_of(hostile, "passages") if row["matched_words"] >= 40]
    assert told["rows"]["passages"] == len(rows) > 0
    assert told["rows"]["documents"] == snapshot.rows("documents")
    assert "passages" not in write_csv(snapshot, tmp_path / "none", None)["rows"]
    assert not (tmp_path / "none" / "passages.csv").exists()
    assert CSVW(str(tmp_path / "none" / METADATA), validate=True).is_valid


def test_folder_that_is_there_is_not_touched(hostile: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(SettingsError, match="already exists; name a new folder"):
        write_csv(snapshot_of(hostile), tmp_path / "mine", None)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]
