"""Queries over the tables and views of one version, with parameters and tables of the caller."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from palimpsest import Archive, SettingsError
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import StoredArchive
from palimpsest.store.views import VIEWS, connect
from tests.api.two_papers import read_rows


def test_query_returns_the_same_as_duckdb_on_the_files(
    archive: Archive, archive_path: Path
) -> None:
    query = """
        SELECT d.series, count(*) AS places, sum(p.words) AS words, max(p.published_at) AS latest
        FROM {occurrences} o JOIN {documents} d USING (document_id)
        JOIN {paragraphs} p ON p.paragraph_id = o.text_id
        GROUP BY ALL ORDER BY ALL
    """
    result = archive.sql(query.format(**{name: name for name in TABLES}))
    files = {name: f"'{archive_path}/{name}/*.parquet'" for name in TABLES}
    with duckdb.connect() as connection:
        expected = connection.sql(query.format(**files)).to_arrow_table()
    assert result.to_pylist() == expected.to_pylist()
    assert result.schema.field("words").type == pa.int64()
    assert result.schema.field("latest").type == pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize("name", [*TABLES, *VIEWS])
def test_each_table_and_view_can_be_queried(
    archive: Archive, archive_path: Path, name: str
) -> None:
    result = archive.sql(f'SELECT count(*) AS n FROM "{name}"').to_pylist()
    with connect(StoredArchive(archive_path).snapshot()) as connection:
        assert result == [{"n": connection.sql(f'SELECT count(*) FROM "{name}"').fetchall()[0][0]}]
    if name in TABLES:
        assert result == [{"n": archive.rows[name]}]


def test_table_names_may_be_quoted_qualified_or_in_any_case(archive: Archive) -> None:
    count = archive.rows["documents"]
    for name in ("Documents", '"documents"', "main.documents", "DOCUMENTS AS sources"):
        assert archive.sql(f"SELECT count(*) AS n FROM {name}").to_pylist() == [{"n": count}]


def test_show_tables_lists_all_tables_and_views(archive: Archive) -> None:
    assert set(archive.sql("SHOW TABLES").column("name").to_pylist()) == {*TABLES, *VIEWS}


def test_parameters_are_bound_by_position_or_name(archive: Archive, archive_path: Path) -> None:
    expected = [row["uri"] for row in read_rows(archive_path, "sources") if row["series"] == "echo"]
    for query, values in (
        ("SELECT uri FROM sources WHERE series = ?", ["echo"]),
        ("SELECT uri FROM sources WHERE series = $paper", {"paper": "echo"}),
    ):
        assert archive.sql(query, values).column("uri").to_pylist() == expected
    injected = archive.sql("SELECT uri FROM sources WHERE series = ?", ["' OR true --"])
    assert injected.num_rows == 0


def test_tables_of_the_caller_can_be_joined(archive: Archive) -> None:
    query = "SELECT title FROM found JOIN documents ON document_id = left_document_id ORDER BY 1"
    result = archive.passages(clear=True)
    titles = {row["document_id"]: row["title"] for row in archive.documents().to_pylist()}
    expected = sorted(
        titles[document_id] for document_id in result.column("left_document_id").to_pylist()
    )
    for table in (result, result.to_pandas(), pl.from_arrow(result)):
        assert archive.sql(query, tables={"found": table}).column("title").to_pylist() == expected


def test_sums_too_large_for_64_bits_stay_decimal(archive: Archive) -> None:
    row = archive.sql("SELECT sum(x) AS s FROM (VALUES (9223372036854775807), (1)) t(x)")
    assert row.to_pylist() == [{"s": 2**63}]


def test_times_are_in_utc_whatever_the_local_time_zone(archive: Archive) -> None:
    code = (
        "import sys; from palimpsest import Archive\n"
        "query = 'SELECT published_at, published_at::VARCHAR AS text FROM documents ORDER BY ALL'\n"
        "found = Archive(sys.argv[1]).sql(query)\n"
        "print(found.schema.field(0).type, found.column('text')[0])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, archive.name],
        env={**os.environ, "TZ": "Asia/Kathmandu"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.strip() == "timestamp[us, tz=UTC] 2024-11-12 00:00:00+00"


def test_table_created_by_a_query_is_dropped_after_it(archive: Archive) -> None:
    counted = archive.sql("CREATE TABLE mine AS FROM documents; SELECT count(*) AS n FROM mine")
    assert counted.to_pylist() == [{"n": archive.rows["documents"]}]
    with pytest.raises(SettingsError, match="mine does not exist"):
        archive.sql("FROM mine")


def test_query_can_write_its_result_to_a_file(archive: Archive, tmp_path: Path) -> None:
    file = tmp_path / "titles.parquet"
    archive.sql(f"COPY (SELECT title FROM documents) TO '{file}'")
    assert pl.read_parquet(file).height == archive.rows["documents"]


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        ("SELEC 1", {}, "syntax error"),
        ("FROM nowhere", {}, "views: witnesses, folds, recurring, pieces, passages"),
        ("SELECT txt FROM paragraphs", {}, '"txt" not found'),
        ("FROM sources WHERE uri = ?", {}, "Values were not provided"),
        ("FROM sources WHERE uri = $uri", {"parameters": {"url": ""}}, "uri"),
        ("FROM sources WHERE bytes = 'many'", {}, "Could not convert"),
        ("", {}, "found no statement"),
        ("FROM mine", {"tables": {"mine": 3}}, '"mine" of type "int"'),
        ("FROM runs", {"tables": {"runs": pa.table({"a": [1]})}}, "the archive has one"),
        ("FROM parameters", {}, "parameters does not exist"),
        ("FROM snapshot", {}, "snapshot does not exist"),
        ("FROM duckdb", {}, "duckdb does not exist"),
    ],
)
def test_invalid_query_is_refused_with_the_reason(
    archive: Archive, query: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        archive.sql(query, **options)


def test_results_convert_to_data_frames(archive: Archive) -> None:
    result = archive.sql("SELECT series, sum(words) AS words FROM documents GROUP BY 1 ORDER BY 1")
    frame = result.to_pandas()
    assert pd.api.types.is_integer_dtype(frame["words"])
    assert pl.from_arrow(result).rows() == list(frame.itertuples(index=False, name=None))
