"""Tables and selected rows equal what other readers find in the Parquet files."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from palimpsest import Archive, ContractError, SettingsError
from palimpsest._repr import VERSIONS
from palimpsest.evidence.passages import PASSAGES
from palimpsest.records.schemas import TABLES
from tests.api.two_papers import read_rows
from tests.pipeline.corpora import make_paragraph
from tests.store.damage import copy_archive, put, rewrite
from tests.store.rows import sorted_rows

Rows = list[dict[str, Any]]


def assert_rows(result: pa.Table, expected: Rows, table: str) -> None:
    """Check the rows, in any order, and that the columns are those of the table."""
    assert expected, "no row meets the condition, so the test proves nothing"
    assert result.schema.equals(TABLES[table])
    assert sorted_rows(result) == sorted(map(repr, expected))


def document_of(archive: Archive, stem: str) -> str:
    """Return the id of the document in a file."""
    rows = archive.sources(columns=["uri", "document_id"]).to_pylist()
    [document_id] = [row["document_id"] for row in rows if row["uri"].endswith(f"{stem}.txt")]
    return str(document_id)


@pytest.mark.parametrize("name", TABLES)
def test_each_table_method_returns_what_other_readers_read(
    archive: Archive, archive_path: Path, name: str
) -> None:
    result = getattr(archive, name)()
    assert result.schema.equals(TABLES[name], check_metadata=True)
    pd.testing.assert_frame_equal(result.to_pandas(), pd.read_parquet(archive_path / name))
    files = sorted((archive_path / name).glob("*.parquet"))
    if result.num_rows:
        assert pl.from_arrow(result).equals(pl.read_parquet(files))
    assert archive.table(name).equals(result)
    assert archive.rows[name] == result.num_rows


def test_tables_of_the_sample_archive_have_several_files(archive_path: Path) -> None:
    for name in ("documents", "occurrences", "paragraphs"):
        assert len(list((archive_path / name).glob("*.parquet"))) > 1


@pytest.mark.parametrize("table", TABLES)
def test_only_named_columns_are_returned_in_the_order_given(archive: Archive, table: str) -> None:
    columns = TABLES[table].names[:3][::-1]
    result = getattr(archive, table)(columns=columns)
    assert result.equals(archive.table(table).select(columns))
    assert archive.table(table, columns[0]).equals(result.select(columns[:1]))


def test_selected_rows_have_only_the_named_columns(archive: Archive, archive_path: Path) -> None:
    document_id = document_of(archive, "pier")
    result = archive.occurrences(document=document_id, columns=["text_id", "shift_at"])
    assert result.schema.equals(
        pa.schema([TABLES["occurrences"].field(column) for column in result.schema.names])
    )
    assert result.schema.names == ["text_id", "shift_at"]
    rows = [
        row for row in read_rows(archive_path, "occurrences") if row["document_id"] == document_id
    ]
    assert result.to_pylist() == [{"text_id": row["text_id"], "shift_at": []} for row in rows]


def test_occurrences_of_a_document_are_complete_and_in_order(
    archive: Archive, archive_path: Path
) -> None:
    document_id = document_of(archive, "pier")
    expected = [
        row for row in read_rows(archive_path, "occurrences") if row["document_id"] == document_id
    ]
    result = archive.occurrences(document=document_id)
    assert_rows(result, expected, "occurrences")
    assert result.column("ordinal").to_pylist() == [0, 1, 2, 3]


def test_occurrences_of_a_paragraph_include_those_of_its_variants(
    archive: Archive, archive_path: Path
) -> None:
    variants = read_rows(archive_path, "variants")
    [paragraph_id] = {row["paragraph_id"] for row in variants}
    texts = {row["text_id"] for row in variants}
    assert len(texts) == 2
    occurrences = read_rows(archive_path, "occurrences")
    of_all_texts = [row for row in occurrences if row["text_id"] in texts | {paragraph_id}]
    of_paragraph = [row for row in occurrences if row["text_id"] == paragraph_id]
    assert (len(of_paragraph), len(of_all_texts)) == (1, 3)
    for name in (paragraph_id, variants[0]["text_id"], paragraph_id[:8].upper()):
        assert_rows(archive.occurrences(paragraph=name), of_all_texts, "occurrences")
        assert_rows(archive.variants(paragraph=name), variants, "variants")
    assert_rows(archive.occurrences(text=paragraph_id), of_paragraph, "occurrences")
    document_id = of_paragraph[0]["document_id"]
    in_document = archive.occurrences(document=document_id, paragraph=paragraph_id)
    assert_rows(in_document, of_paragraph, "occurrences")


def test_paragraph_without_variants_has_only_its_own_occurrences(
    archive: Archive, archive_path: Path
) -> None:
    [notice] = archive.paragraphs(containing=make_paragraph(90, 30)).to_pylist()
    paragraph_id = notice["paragraph_id"]
    expected = [
        row for row in read_rows(archive_path, "occurrences") if row["text_id"] == paragraph_id
    ]
    assert len(expected) == 3
    assert_rows(archive.occurrences(paragraph=paragraph_id), expected, "occurrences")
    assert archive.variants(paragraph=paragraph_id).num_rows == 0


@pytest.mark.parametrize(
    ("conditions", "is_met"),
    [
        ({"language": "de"}, lambda row: row["language"] == "de"),
        ({"min_words": 40}, lambda row: row["words"] >= 40),
        ({"containing": "HARBOUR"}, lambda row: "harbour" in row["text"].lower()),
        ({"containing": "Glocke"}, lambda row: "glocke" in row["text"].lower()),
        ({"containing": "mu\u0308hl"}, lambda row: "mühl" in row["text"].lower()),
        (
            {"containing": "bridge", "min_words": 31},
            lambda row: "bridge" in row["text"].lower() and row["words"] >= 31,
        ),
    ],
)
def test_paragraphs_can_be_filtered(
    examples_archive: Path, conditions: dict[str, Any], is_met: Callable[[Any], bool]
) -> None:
    rows = read_rows(examples_archive, "paragraphs")
    result = Archive(examples_archive).paragraphs(**conditions)
    assert_rows(result, [row for row in rows if is_met(row)], "paragraphs")
    assert result.num_rows < len(rows)


@pytest.mark.parametrize("pattern", ["%", "_", "'", "bridge' OR true --", "brid.e"])
def test_containing_is_matched_literally(examples_archive: Path, pattern: str) -> None:
    rows = read_rows(examples_archive, "paragraphs")
    result = Archive(examples_archive).paragraphs(containing=pattern)
    assert result.num_rows == sum(pattern.lower() in row["text"].lower() for row in rows)


def test_paragraphs_of_a_document_are_those_first_seen_in_it(
    archive: Archive, archive_path: Path
) -> None:
    document_id = document_of(archive, "column")
    rows = read_rows(archive_path, "paragraphs")
    expected = [row for row in rows if row["document_id"] == document_id]
    assert_rows(archive.paragraphs(document=document_id), expected, "paragraphs")
    assert len(expected) < archive.occurrences(document=document_id).num_rows


def test_overlaps_of_a_text_include_both_sides(archive: Archive, archive_path: Path) -> None:
    rows = read_rows(archive_path, "overlaps")
    sides = {}
    for text_id in {row["left_text_id"] for row in rows} | {row["right_text_id"] for row in rows}:
        expected = [row for row in rows if text_id in (row["left_text_id"], row["right_text_id"])]
        assert_rows(archive.overlaps(text=text_id), expected, "overlaps")
        sides[text_id] = {row["left_text_id"] == text_id for row in expected}
    assert {True, False} in sides.values()


def test_overlaps_can_be_filtered(examples_archive: Path) -> None:
    archive, rows = Archive(examples_archive), read_rows(examples_archive, "overlaps")
    for relation in ("near", "contained", "partial"):
        expected = [row for row in rows if row["relation"] == relation]
        assert_rows(archive.overlaps(relation=relation), expected, "overlaps")
    expected = [row for row in rows if row["matched_words"] >= 30]
    assert len(expected) < len(rows)
    assert_rows(archive.overlaps(min_words=30), expected, "overlaps")
    text_id = expected[0]["right_text_id"]
    expected = [row for row in expected if text_id in (row["left_text_id"], row["right_text_id"])]
    assert_rows(archive.overlaps(text=text_id, min_words=30), expected, "overlaps")


def november(day: int) -> datetime:
    return datetime(2024, 11, day, tzinfo=UTC)


@pytest.mark.parametrize(
    ("conditions", "is_met"),
    [
        ({"series": "echo"}, lambda row: row["series"] == "echo"),
        ({"since": date(2024, 11, 13)}, lambda row: row["published_at"] >= november(13)),
        ({"since": "2024-11-13"}, lambda row: row["published_at"] >= november(13)),
        ({"until": "2024-11-13T00:00:00Z"}, lambda row: row["published_at"] < november(13)),
        ({"until": "2024-11-13T00:00:00.000001"}, lambda row: row["published_at"] <= november(13)),
        (
            {
                "since": november(13),
                "until": datetime(2024, 11, 15, 1, tzinfo=timezone(timedelta(hours=1))),
            },
            lambda row: november(13) <= row["published_at"] < november(15),
        ),
        (
            {"since": "2024-11-13", "series": "echo"},
            lambda row: row["published_at"] >= november(13) and row["series"] == "echo",
        ),
    ],
)
def test_documents_can_be_filtered(
    archive: Archive, archive_path: Path, conditions: dict[str, Any], is_met: Callable[[Any], bool]
) -> None:
    rows = read_rows(archive_path, "documents")
    if conditions.keys() & {"since", "until"}:
        assert None in {row["published_at"] for row in rows}
        rows = [row for row in rows if row["published_at"]]
    result = archive.documents(**conditions)
    assert_rows(result, [row for row in rows if is_met(row)], "documents")
    assert result.num_rows < len(rows)


def test_documents_can_be_filtered_by_language(examples_archive: Path) -> None:
    rows = read_rows(examples_archive, "documents")
    for language in ("de", "ar"):
        expected = [row for row in rows if row["language"] == language]
        assert_rows(Archive(examples_archive).documents(language=language), expected, "documents")


def test_sources_can_be_filtered_by_document_and_rejects_by_reason(examples_archive: Path) -> None:
    archive, rows = Archive(examples_archive), read_rows(examples_archive, "sources")
    [document_id] = {row["document_id"] for row in rows if "brackwater" in row["uri"]}
    expected = [row for row in rows if row["document_id"] == document_id]
    assert len(expected) == 2
    assert_rows(archive.sources(document=document_id), expected, "sources")
    assert_rows(archive.rejects(reason="empty"), read_rows(examples_archive, "rejects"), "rejects")
    assert archive.rejects(reason="binary").num_rows == 0


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda archive: archive.table("text"), "expected paragraphs, variants, occurrences"),
        (
            lambda archive: archive.paragraphs(columns=["txt", "uris"]),
            "'uris': unknown; the columns of paragraphs are",
        ),
        (lambda archive: archive.runs(columns=["seal", "seal"]), "'seal': named twice"),
        (lambda archive: archive.runs(columns=[]), "no column is named; expected some of run_id"),
        (lambda archive: archive.rejects(reason="emtpy"), "expected empty, no-text"),
        (lambda archive: archive.overlaps(relation="exact"), "expected near, contained, partial"),
        (lambda archive: archive.documents(since="yesterday"), "expected a date or a time"),
        (lambda archive: archive.documents(until=20241112), "expected a date or a time"),
        (lambda archive: archive.paragraphs(min_words="20"), "expected a whole number, 0 or more"),
        (lambda archive: archive.occurrences(document="nowhere.txt"), "first 8 letters or more"),
        (lambda archive: archive.occurrences(text="12345678"), "palimpsest show DIR paragraphs"),
        (lambda archive: archive.variants(paragraph="12"), "expected a text_id or paragraph_id"),
        (lambda archive: archive.sources(document="0" * 32), "not in the archive"),
    ],
)
def test_error_on_an_invalid_argument_says_what_is_expected(
    archive: Archive, read: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        read(archive)


def test_ambiguous_id_prefix_is_refused(archive: Archive, tmp_path: Path) -> None:
    damaged_path = copy_archive(Path(archive.name), tmp_path / "press")
    first, second = read_rows(damaged_path, "paragraphs")[:2]
    colliding_id = first["paragraph_id"][:8] + second["paragraph_id"][8:]
    rewrite(damaged_path, "paragraphs", put("paragraph_id", colliding_id, 1))
    with pytest.raises(SettingsError, match=f"refers to 2 texts.*{colliding_id}"):
        Archive(damaged_path).paragraph(colliding_id[:8])
    assert Archive(damaged_path).paragraph(colliding_id)["paragraph_id"] == colliding_id


def test_rows_and_columns_that_are_not_requested_are_not_read(
    archive: Archive, tmp_path: Path
) -> None:
    damaged_path = copy_archive(Path(archive.name), tmp_path / "press")
    first, last = sorted((damaged_path / "paragraphs").glob("*.parquet"))
    texts = pq.read_metadata(last).row_group(0).column(1)
    assert texts.path_in_schema == "text"
    end = texts.data_page_offset + texts.total_compressed_size
    raw = bytearray(last.read_bytes())
    raw[end - 100 : end] = bytes(100)  # keep the page header
    last.write_bytes(raw)
    damaged = Archive(damaged_path)
    ids = [
        set(pq.read_table(path, columns=["document_id"]).column(0).to_pylist())
        for path in (first, last)
    ]
    for document_id in ids[0] - ids[1]:
        result = damaged.paragraphs(document=document_id)
        assert result.equals(archive.paragraphs(document=document_id))
    assert damaged.paragraphs(columns=["uri"]).num_rows == archive.rows["paragraphs"]
    for read in (damaged.paragraphs, lambda: damaged.paragraphs(containing="a")):
        with pytest.raises(ContractError, match=r"cannot be read.*palimpsest verify"):
            read()


def test_tables_can_be_read_when_files_of_another_are_missing(
    archive: Archive, tmp_path: Path
) -> None:
    damaged_path = copy_archive(Path(archive.name), tmp_path / "press")
    for path in (damaged_path / "paragraphs").iterdir():
        path.unlink()
    damaged = Archive(damaged_path)
    document_id = document_of(archive, "pier")
    assert damaged.occurrences(document=document_id).num_rows == 4
    assert damaged.sql("SELECT count(*) AS n FROM witnesses").to_pylist() == [
        {"n": archive.rows["occurrences"]}
    ]
    for read in (damaged.paragraphs, lambda: damaged.text(document_id), damaged.passages):
        with pytest.raises(ContractError, match="cannot be read"):
            read()
    with pytest.raises(ContractError, match="cannot be read"):
        damaged.sql("FROM folds")


_TYPE_NAMES = {
    pa.string(): "string",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.float32(): "float32",
    pa.bool_(): "bool",
    pa.timestamp("us", tz="UTC"): "timestamp",
    pa.list_(pa.int32()): "list<int32>",
}


@pytest.mark.parametrize("name", [*TABLES, "passages", "versions"])
def test_docstrings_list_the_columns_with_their_types(name: str) -> None:
    schema = {**TABLES, "passages": PASSAGES, "versions": VERSIONS}[name]
    docstring = getattr(Archive, name).__doc__
    [columns] = re.findall(r"Columns:\n(.*?)\.\n", docstring, re.DOTALL)
    nullable_names = {field.name for field in schema if field.nullable and name in TABLES}
    if name == "passages":
        nullable_names = {"left_published_at", "right_published_at"}
    assert [" ".join(column.split()) for column in columns.split(",")] == [
        f"{field.name} {_TYPE_NAMES[field.type]}{'?' if field.name in nullable_names else ''}"
        for field in schema
    ]
