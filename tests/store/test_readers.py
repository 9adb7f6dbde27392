"""Any Parquet reader gets exactly the committed rows and the documented schema from a glob."""

import glob
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import StoredArchive
from tests.store.rows import make_rows, publish, sorted_rows


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with rows added to some tables, and removed from some."""
    archive = StoredArchive(tmp_path_factory.mktemp("grown") / "press")
    publish(archive, "r1", {name: make_rows(name, 0, 6) for name in list(TABLES)[:5]})
    withdrawn = {"paragraphs": pa.table({"paragraph_id": ["paragraph_id-000003"]})}
    publish(archive, "r2", {name: make_rows(name, 6, 9) for name in list(TABLES)[:6]}, withdrawn)
    return archive.path


@pytest.fixture(params=["grown", "examples"])
def archive(request: pytest.FixtureRequest, grown: Path, examples_archive: Path) -> Path:
    return grown if request.param == "grown" else examples_archive


def _by_pyarrow(pattern: str) -> pa.Table:
    return ds.dataset(sorted(glob.glob(pattern)), format="parquet").to_table()


def _by_duckdb(pattern: str) -> pa.Table:
    with duckdb.connect() as connection:
        return connection.sql(f"FROM read_parquet('{pattern}')").to_arrow_table()


def _by_polars(pattern: str) -> pa.Table:
    return pl.read_parquet(pattern).to_arrow()


def _by_pandas(pattern: str) -> pa.Table:
    parts = [pd.read_parquet(path, dtype_backend="pyarrow") for path in glob.glob(pattern)]
    return pa.concat_tables(pa.Table.from_pandas(part, preserve_index=False) for part in parts)


@pytest.mark.parametrize("read", [_by_pyarrow, _by_duckdb, _by_polars, _by_pandas])
@pytest.mark.parametrize("name", TABLES)
def test_glob_reads_exactly_the_committed_rows(archive: Path, name: str, read: object) -> None:
    expected = StoredArchive(archive).snapshot().read(name)
    table = read(f"{archive}/{name}/*.parquet")  # type: ignore[operator]
    assert table.column_names == TABLES[name].names
    assert sorted_rows(table.cast(TABLES[name])) == sorted_rows(expected)


def test_every_table_but_two_has_rows_somewhere(grown: Path, examples_archive: Path) -> None:
    counts = {
        name: max(StoredArchive(path).snapshot().rows(name) for path in (grown, examples_archive))
        for name in TABLES
    }
    assert [name for name, rows in counts.items() if rows == 0] == ["containers", "removals"]


@pytest.mark.parametrize("name", TABLES)
def test_schema_on_disk_is_the_schema_of_the_records(archive: Path, name: str) -> None:
    for path in StoredArchive(archive).snapshot().files(name):
        stored = pq.read_schema(path)
        assert stored.names == TABLES[name].names
        for field in TABLES[name]:
            found = stored.field(field.name)
            assert (found.type, found.nullable) == (field.type, field.nullable)
            column_metadata = {
                k: v for k, v in found.metadata.items() if not k.startswith(b"PARQUET:")
            }
            assert column_metadata == field.metadata
            assert column_metadata[b"description"]


def test_every_file_of_an_archive_is_in_a_manifest(archive: Path) -> None:
    snapshot = StoredArchive(archive).snapshot()
    named = {path for name in TABLES for path in snapshot.files(name)}
    found = {path for path in snapshot.folder.rglob("*") if path.is_file()}
    assert found == named | {snapshot.folder / "manifest.json"}
