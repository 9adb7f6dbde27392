"""Tables and chosen rows are those that any other reader finds in the Parquet files."""

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
from tests.api.two_papers import plain
from tests.pipeline.corpora import make_paragraph
from tests.store.damage import copy_archive, put, rewrite
from tests.store.rows import sorted_rows

Rows = list[dict[str, Any]]


def assert_rows(found: pa.Table, expected: Rows, name: str) -> None:
    """Compare rows, in any order, and the columns with those of the table."""
    assert expected, "a condition that nothing meets tells little"
    assert found.schema.equals(TABLES[name])
    assert sorted_rows(found) == sorted(map(repr, expected))


def document_of(archive: Archive, name: str) -> str:
    """Return the id of the document in a file."""
    rows = archive.sources(columns=["uri", "document_id"]).to_pylist()
    [document_id] = [row["document_id"] for row in rows if row["uri"].endswith(f"{name}.txt")]
    return str(document_id)


@pytest.mark.parametrize("name", TABLES)
def test_each_table_has_a_method_that_gives_what_other_readers_read(
    archive: Archive, shelf: Path, name: str
) -> None:
    found = getattr(archive, name)()
    assert found.schema.equals(TABLES[name], check_metadata=True)
    pd.testing.assert_frame_equal(found.to_pandas(), pd.read_parquet(shelf / name))
    files = sorted((shelf / name).glob("*.parquet"))
    if found.num_rows:
        assert pl.from_arrow(found).equals(pl.read_parquet(files))
    assert archive.table(name).equals(found)
    assert archive.rows[name] == found.num_rows


def test_the_archive_of_these_tests_has_several_files_of_a_table(shelf: Path) -> None:
    for name in ("documents", "occurrences", "paragraphs"):
        assert len(list((shelf / name).glob("*.parquet"))) > 1


@pytest.mark.parametrize("name", TABLES)
def test_only_the_columns_that_are_named_come_in_their_order(archive: Archive, name: str) -> None:
    wanted = TABLES[name].names[:3][::-1]
    found = getattr(archive, name)(columns=wanted)
    assert found.equals(archive.table(name).select(wanted))
    assert archive.table(name, wanted[0]).equals(found.select(wanted[:1]))


def test_chosen_rows_have_the_columns_that_are_named(archive: Archive, shelf: Path) -> None:
    document_id = document_of(archive, "pier")
    found = archive.occurrences(document=document_id, columns=["text_id", "shift_at"])
    assert found.schema.equals(
        pa.schema([TABLES["occurrences"].field(c) for c in found.schema.names])
    )
    assert found.schema.names == ["text_id", "shift_at"]
    rows = [row for row in plain(shelf, "occurrences") if row["document_id"] == document_id]
    assert found.to_pylist() == [{"text_id": row["text_id"], "shift_at": []} for row in rows]


def test_occurrences_of_a_document_are_all_that_it_holds_in_its_order(
    archive: Archive, shelf: Path
) -> None:
    document_id = document_of(archive, "pier")
    expected = [row for row in plain(shelf, "occurrences") if row["document_id"] == document_id]
    found = archive.occurrences(document=document_id)
    assert_rows(found, expected, "occurrences")
    assert found.column("ordinal").to_pylist() == [0, 1, 2, 3]


def test_occurrences_of_a_paragraph_are_those_of_its_variants_too(
    archive: Archive, shelf: Path
) -> None:
    folded = plain(shelf, "variants")
    [paragraph_id] = {row["paragraph_id"] for row in folded}
    texts = {row["text_id"] for row in folded}
    assert len(texts) == 2
    places = plain(shelf, "occurrences")
    of_all = [row for row in places if row["text_id"] in texts | {paragraph_id}]
    of_it = [row for row in places if row["text_id"] == paragraph_id]
    assert (len(of_it), len(of_all)) == (1, 3)
    for name in (paragraph_id, folded[0]["text_id"], paragraph_id[:8].upper()):
        assert_rows(archive.occurrences(paragraph=name), of_all, "occurrences")
        assert_rows(archive.variants(paragraph=name), folded, "variants")
    assert_rows(archive.occurrences(text=paragraph_id), of_it, "occurrences")
    document_id = of_it[0]["document_id"]
    both = archive.occurrences(document=document_id, paragraph=paragraph_id)
    assert_rows(both, of_it, "occurrences")


def test_a_paragraph_into_which_nothing_is_folded_has_its_own_places(
    archive: Archive, shelf: Path
) -> None:
    [notice] = archive.paragraphs(containing=make_paragraph(90, 30)).to_pylist()
    its_id = notice["paragraph_id"]
    expected = [row for row in plain(shelf, "occurrences") if row["text_id"] == its_id]
    assert len(expected) == 3
    assert_rows(archive.occurrences(paragraph=its_id), expected, "occurrences")
    assert archive.variants(paragraph=its_id).num_rows == 0


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
def test_paragraphs_can_be_chosen(
    examples_archive: Path, conditions: dict[str, Any], is_met: Callable[[Any], bool]
) -> None:
    rows = plain(examples_archive, "paragraphs")
    found = Archive(examples_archive).paragraphs(**conditions)
    assert_rows(found, [row for row in rows if is_met(row)], "paragraphs")
    assert found.num_rows < len(rows)


@pytest.mark.parametrize("pattern", ["%", "_", "'", "bridge' OR true --", "brid.e"])
def test_what_a_paragraph_contains_is_no_pattern(examples_archive: Path, pattern: str) -> None:
    rows = plain(examples_archive, "paragraphs")
    found = Archive(examples_archive).paragraphs(containing=pattern)
    assert found.num_rows == sum(pattern.lower() in row["text"].lower() for row in rows)


def test_paragraphs_of_a_document_are_those_first_known_from_it(
    archive: Archive, shelf: Path
) -> None:
    document_id = document_of(archive, "column")
    rows = plain(shelf, "paragraphs")
    expected = [row for row in rows if row["document_id"] == document_id]
    assert_rows(archive.paragraphs(document=document_id), expected, "paragraphs")
    assert len(expected) < archive.occurrences(document=document_id).num_rows


def test_overlaps_of_a_text_are_those_on_either_side(archive: Archive, shelf: Path) -> None:
    rows = plain(shelf, "overlaps")
    sides = {}
    for text_id in {row["left_text_id"] for row in rows} | {row["right_text_id"] for row in rows}:
        expected = [row for row in rows if text_id in (row["left_text_id"], row["right_text_id"])]
        assert_rows(archive.overlaps(text=text_id), expected, "overlaps")
        sides[text_id] = {row["left_text_id"] == text_id for row in expected}
    assert {True, False} in sides.values()


def test_overlaps_can_be_chosen(examples_archive: Path) -> None:
    archive, rows = Archive(examples_archive), plain(examples_archive, "overlaps")
    for relation in ("near", "contained", "partial"):
        expected = [row for row in rows if row["relation"] == relation]
        assert_rows(archive.overlaps(relation=relation), expected, "overlaps")
    expected = [row for row in rows if row["matched_words"] >= 30]
    assert len(expected) < len(rows)
    assert_rows(archive.overlaps(min_words=30), expected, "overlaps")
    one = expected[0]["right_text_id"]
    expected = [row for row in expected if one in (row["left_text_id"], row["right_text_id"])]
    assert_rows(archive.overlaps(text=one, min_words=30), expected, "overlaps")


def day(number: int) -> datetime:
    return datetime(2024, 11, number, tzinfo=UTC)


@pytest.mark.parametrize(
    ("conditions", "is_met"),
    [
        ({"series": "echo"}, lambda row: row["series"] == "echo"),
        ({"since": date(2024, 11, 13)}, lambda row: row["published_at"] >= day(13)),
        ({"since": "2024-11-13"}, lambda row: row["published_at"] >= day(13)),
        ({"until": "2024-11-13T00:00:00Z"}, lambda row: row["published_at"] < day(13)),
        ({"until": "2024-11-13T00:00:00.000001"}, lambda row: row["published_at"] <= day(13)),
        (
            {
                "since": day(13),
                "until": datetime(2024, 11, 15, 1, tzinfo=timezone(timedelta(hours=1))),
            },
            lambda row: day(13) <= row["published_at"] < day(15),
        ),
        (
            {"since": "2024-11-13", "series": "echo"},
            lambda row: row["published_at"] >= day(13) and row["series"] == "echo",
        ),
    ],
)
def test_documents_can_be_chosen(
    archive: Archive, shelf: Path, conditions: dict[str, Any], is_met: Callable[[Any], bool]
) -> None:
    rows = plain(shelf, "documents")
    if conditions.keys() & {"since", "until"}:
        assert None in {row["published_at"] for row in rows}
        rows = [row for row in rows if row["published_at"]]
    found = archive.documents(**conditions)
    assert_rows(found, [row for row in rows if is_met(row)], "documents")
    assert found.num_rows < len(rows)


def test_documents_of_a_language_are_chosen(examples_archive: Path) -> None:
    rows = plain(examples_archive, "documents")
    for language in ("de", "ar"):
        expected = [row for row in rows if row["language"] == language]
        assert_rows(Archive(examples_archive).documents(language=language), expected, "documents")


def test_sources_of_a_document_and_rejects_for_a_reason_are_chosen(examples_archive: Path) -> None:
    archive, rows = Archive(examples_archive), plain(examples_archive, "sources")
    [twice] = {row["document_id"] for row in rows if "brackwater" in row["uri"]}
    expected = [row for row in rows if row["document_id"] == twice]
    assert len(expected) == 2
    assert_rows(archive.sources(document=twice), expected, "sources")
    assert_rows(archive.rejects(reason="empty"), plain(examples_archive, "rejects"), "rejects")
    assert archive.rejects(reason="binary").num_rows == 0


@pytest.mark.parametrize(
    ("ask", "told"),
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
def test_what_cannot_be_is_refused_and_what_can_be_is_told(
    archive: Archive, ask: Callable[[Any], object], told: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(told)):
        ask(archive)


def test_a_beginning_that_several_texts_have_is_refused(archive: Archive, tmp_path: Path) -> None:
    press = copy_archive(Path(archive.name), tmp_path / "press")
    first, second = plain(press, "paragraphs")[:2]
    alike = first["paragraph_id"][:8] + second["paragraph_id"][8:]
    rewrite(press, "paragraphs", put("paragraph_id", alike, 1))
    with pytest.raises(SettingsError, match=f"refers to 2 texts.*{alike}"):
        Archive(press).paragraph(alike[:8])
    assert Archive(press).paragraph(alike)["paragraph_id"] == alike


def test_bytes_of_rows_and_columns_that_nobody_asks_for_are_not_read(
    archive: Archive, tmp_path: Path
) -> None:
    press = copy_archive(Path(archive.name), tmp_path / "press")
    first, last = sorted((press / "paragraphs").glob("*.parquet"))
    texts = pq.read_metadata(last).row_group(0).column(1)
    assert texts.path_in_schema == "text"
    end = texts.data_page_offset + texts.total_compressed_size
    raw = bytearray(last.read_bytes())
    raw[end - 100 : end] = bytes(100)  # the head of the page stays
    last.write_bytes(raw)
    damaged = Archive(press)
    ids = [
        set(pq.read_table(one, columns=["document_id"]).column(0).to_pylist())
        for one in (first, last)
    ]
    for document_id in ids[0] - ids[1]:
        found = damaged.paragraphs(document=document_id)
        assert found.equals(archive.paragraphs(document=document_id))
    assert damaged.paragraphs(columns=["uri"]).num_rows == archive.rows["paragraphs"]
    for ask in (damaged.paragraphs, lambda: damaged.paragraphs(containing="a")):
        with pytest.raises(ContractError, match=r"cannot be read.*palimpsest verify"):
            ask()


def test_tables_can_be_read_although_files_of_another_are_gone(
    archive: Archive, tmp_path: Path
) -> None:
    press = copy_archive(Path(archive.name), tmp_path / "press")
    for path in (press / "paragraphs").iterdir():
        path.unlink()
    damaged = Archive(press)
    document_id = document_of(archive, "pier")
    assert damaged.occurrences(document=document_id).num_rows == 4
    assert damaged.sql("SELECT count(*) AS n FROM witnesses").to_pylist() == [
        {"n": archive.rows["occurrences"]}
    ]
    for ask in (damaged.paragraphs, lambda: damaged.text(document_id), damaged.passages):
        with pytest.raises(ContractError, match="cannot be read"):
            ask()
    with pytest.raises(ContractError, match="cannot be read"):
        damaged.sql("FROM folds")


_KINDS = {
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
    [listed] = re.findall(r"Columns:\n(.*?)\.\n", docstring, re.DOTALL)
    may_be_null = {field.name for field in schema if field.nullable and name in TABLES}
    if name == "passages":
        may_be_null = {"left_published_at", "right_published_at"}
    assert [" ".join(one.split()) for one in listed.split(",")] == [
        f"{field.name} {_KINDS[field.type]}{'?' if field.name in may_be_null else ''}"
        for field in schema
    ]
