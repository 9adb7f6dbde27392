"""The views over handmade tables: direction, merging, omissions."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from palimpsest.records.schemas import TABLES
from palimpsest.records.settings import MERGE_GAP_CHARS, MIN_EXACT_WORDS, RECURRING_DOCUMENTS
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.views import VIEWS, connect, connect_tables, find_unreadable, recurring_query
from tests.store.damage import copy_archive
from tests.store.rows import make_row, publish, view_passages

_EARLY, _LATE = datetime(1999, 5, 1, tzinfo=UTC), datetime(2001, 5, 1, tzinfo=UTC)


class _Shelf:
    """Tables that are written row by row."""

    def __init__(self, path: Path) -> None:
        self._archive = StoredArchive(path)
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}

    def add(self, name: str, **given: Any) -> None:
        self._rows[name].append(make_row(name, 2 * len(self._rows[name]), **given))

    def document(self, one: str, published_at: datetime | None, *uris: str) -> None:
        self.add("documents", document_id=one, published_at=published_at)
        for uri in uris or (f"file:///{one}",):
            self.add("sources", document_id=one, uri=uri)

    def place(self, document: str, text: str, start: int, length: int = 100, **given: Any) -> None:
        ordinal = sum(row["document_id"] == document for row in self._rows["occurrences"])
        self.add(
            "occurrences", document_id=document, text_id=text, ordinal=ordinal,
            start_char=start, end_char=start + length, **given,
        )  # fmt: skip

    def text(self, text: str, words: int) -> None:
        self.add("paragraphs", paragraph_id=text, text=f"words of {text}", words=words)

    def overlap(self, left: str, right: str, start: int, end: int, **given: Any) -> None:
        facts = {"left_words": 10, "right_words": 12, "matched_words": 8, "relation": "near"}
        facts |= {"says_same": False}
        spans = dict.fromkeys(("left_start_char", "right_start_char"), start)
        spans |= dict.fromkeys(("left_end_char", "right_end_char"), end)
        passage = {"left_passage": f"from {left}", "right_passage": f"from {right}"}
        row = facts | spans | passage | given
        self.add("overlaps", left_text_id=left, right_text_id=right, **row)

    def publish(self) -> Snapshot:
        tables = {
            name: pa.Table.from_pylist(rows, schema=TABLES[name])
            for name, rows in self._rows.items()
        }
        return publish(self._archive, "r1", tables)


@pytest.fixture
def shelf(tmp_path: Path) -> _Shelf:
    return _Shelf(tmp_path / "press")


@pytest.mark.parametrize(
    ("date_of_a", "date_of_b", "left"),
    [
        (_EARLY, _LATE, "a"),
        (_LATE, _EARLY, "b"),
        (None, _LATE, "b"),
        (_LATE, None, "a"),
        (None, None, "a"),
        (_EARLY, _EARLY, "a"),
    ],
)
@pytest.mark.parametrize("kind", ["exact", "near"])
def test_left_side_is_the_earlier_then_the_dated_then_the_first_uri(
    shelf: _Shelf, date_of_a: datetime | None, date_of_b: datetime | None, left: str, kind: str
) -> None:
    # the ids sort the other way round than the URIs, so that they cannot decide
    ids = {"a": "9", "b": "1"}
    shelf.document(ids["a"], date_of_a, "file:///z-later", "file:///a")
    shelf.document(ids["b"], date_of_b, "file:///b")
    texts = ("t", "t") if kind == "exact" else ("t", "u")
    shelf.place(ids["a"], texts[0], 1000)
    shelf.place(ids["b"], texts[1], 2000)
    shelf.text("t", 30)
    shelf.text("u", 30)
    if kind == "near":
        shelf.overlap("t", "u", 10, 90)
    [row] = view_passages(shelf.publish()).to_pylist()
    assert row["left_uri"] == f"file:///{left}"
    assert row["left_document_id"] == ids[left]
    shift, length = (0, 100) if kind == "exact" else (10, 80)
    start = (1000 if left == "a" else 2000) + shift
    assert (row["left_start_char"], row["left_end_char"]) == (start, start + length)
    if kind == "near":
        assert row["left_passage"] == ("from t" if left == "a" else "from u")
    assert row["relation"] == kind


@pytest.mark.parametrize(("gap", "count"), [(0, 1), (MERGE_GAP_CHARS, 1), (MERGE_GAP_CHARS + 1, 2)])
@pytest.mark.parametrize("side", ["left", "right"])
def test_neighbours_are_merged_up_to_a_gap(shelf: _Shelf, gap: int, count: int, side: str) -> None:
    for number, one in enumerate("ab"):
        shelf.document(one, _EARLY)
        wide = gap if (side == "left") == (number == 0) else 2
        shelf.place(one, "t", 0)
        shelf.place(one, "u", 100 + wide)
    shelf.text("t", 10)
    shelf.text("u", 30)
    rows = view_passages(shelf.publish()).to_pylist()
    assert len(rows) == count
    if count == 1:
        [row] = rows
        spans = {row["left_end_char"], row["right_end_char"]}
        assert spans == {200 + gap, 202}
        assert row["left_passage"] == "words of t words of u"
        assert row["matched_words"] == 40
        assert row["resemblance"] == 1.0
        assert row["relation"] == "exact"
    else:
        assert [row["matched_words"] for row in rows] == [30, 10]


def test_paragraphs_in_another_order_are_not_merged(shelf: _Shelf) -> None:
    for one, order in (("a", "tu"), ("b", "ut")):
        shelf.document(one, _EARLY)
        for number, text in enumerate(order):
            shelf.place(one, text, 102 * number)
    shelf.text("t", 10)
    shelf.text("u", 10)
    assert view_passages(shelf.publish()).num_rows == 2


@pytest.mark.parametrize(
    ("relations", "expected"),
    [
        (("exact", "near"), "near"),
        (("exact", "contained"), "contained"),
        (("near", "partial"), "partial"),
    ],
)
def test_merged_passage_has_the_weakest_relation(
    shelf: _Shelf, relations: tuple[str, str], expected: str
) -> None:
    shelf.document("a", _EARLY)
    shelf.document("b", _LATE)
    for number, relation in enumerate(relations):
        other = f"t{number}" if relation == "exact" else f"u{number}"
        shelf.place("a", f"t{number}", 102 * number)
        shelf.place("b", other, 102 * number)
        shelf.text(f"t{number}", 20)
        if relation != "exact":
            shelf.overlap(f"t{number}", other, 0, 100, relation=relation)
    [row] = view_passages(shelf.publish()).to_pylist()
    assert row["relation"] == expected
    both = [(20, 20) if relation == "exact" else (8, 14) for relation in relations]
    matched, union = (sum(column) for column in zip(*both, strict=True))
    assert row["matched_words"] == matched
    assert row["resemblance"] == pytest.approx(matched / union)


def test_identical_short_texts_are_not_a_passage(shelf: _Shelf) -> None:
    for one in "ab":
        shelf.document(one, _EARLY)
        shelf.place(one, "short", 0)
        shelf.place(one, "long", 1000)
    shelf.text("short", MIN_EXACT_WORDS - 1)
    shelf.text("long", MIN_EXACT_WORDS)
    [row] = view_passages(shelf.publish()).to_pylist()
    assert row["left_passage"] == "words of long"


def test_repeats_inside_one_document_are_not_a_passage(shelf: _Shelf) -> None:
    shelf.document("a", _EARLY)
    shelf.place("a", "t", 0)
    shelf.place("a", "t", 500)
    shelf.place("a", "u", 900)
    shelf.text("t", 50)
    shelf.overlap("t", "u", 0, 50)
    assert view_passages(shelf.publish()).num_rows == 0


def test_texts_in_many_documents_recur_and_so_do_similar_ones(shelf: _Shelf) -> None:
    for number in range(RECURRING_DOCUMENTS):
        shelf.document(f"d{number}", _EARLY)
        shelf.place(f"d{number}", "often" if number else "alike", 0)
        shelf.place(f"d{number}", f"own-{number}", 200)
        shelf.text(f"own-{number}", 50)
    shelf.place("d0", "own-1", 400)
    shelf.text("often", 50)
    shelf.text("alike", 50)
    shelf.overlap("alike", "often", 0, 50)
    with connect(shelf.publish()) as connection:
        rows = connection.sql("FROM recurring ORDER BY text_id").fetchall()
        [fewer] = connection.sql(f"{recurring_query(2)} AND a.text_id = 'own-1'").fetchall()
    assert rows == [("alike", RECURRING_DOCUMENTS), ("often", RECURRING_DOCUMENTS)]
    assert fewer == ("own-1", 2)


@pytest.mark.parametrize(
    ("position", "place"), [(0, 500), (3, 503), (4, 506), (9, 511), (10, 517), (99, 606)]
)
def test_position_is_shifted_into_the_document(
    examples_archive: Path, position: int, place: int
) -> None:
    with connect(StoredArchive(examples_archive).snapshot()) as connection:
        query = "SELECT in_document(?, 500, [4, 10]::INTEGER[], [2, 7]::INTEGER[])"
        assert connection.execute(query, [position]).fetchall() == [(place,)]
        query = "SELECT in_document(?, 500, []::INTEGER[], []::INTEGER[])"
        assert connection.execute(query, [position]).fetchall() == [(500 + position,)]


@pytest.mark.parametrize(
    ("query", "there"),
    [
        ("FROM documents", {"documents"}),
        ('SELECT count(*) FROM "overlaps" o, Sources', {"overlaps", "sources"}),
        ("FROM folds", {"folds", "paragraphs", "variants"}),
        ("FROM witnesses", {"witnesses", "occurrences", "documents", "sources"}),
        (
            "FROM passages",
            {
                *("passages", "pieces", "folds", "overlaps", "occurrences", "paragraphs"),
                *("variants", "documents", "sources"),
            },
        ),
        ("SHOW TABLES", {*TABLES, *VIEWS}),
        (None, {*TABLES, *VIEWS}),
    ],
)
def test_only_tables_that_a_query_names_are_connected(
    examples_archive: Path, query: str | None, there: set[str]
) -> None:
    with connect(StoredArchive(examples_archive).snapshot(), query) as connection:
        assert {row[0] for row in connection.sql("SHOW TABLES").fetchall()} == there
        if query:
            connection.sql(query).fetchall()


def test_tables_can_be_queried_although_a_file_of_another_is_missing(
    examples_archive: Path, tmp_path: Path
) -> None:
    snapshot = StoredArchive(copy_archive(examples_archive, tmp_path / "press")).snapshot()
    [torn], [lost] = snapshot.files("overlaps"), snapshot.files("runs")
    torn.write_bytes(torn.read_bytes()[:-9])
    lost.unlink()
    with connect_tables(snapshot, ["documents", "sources"]) as connection:
        query = "SELECT count(*) FROM sources SEMI JOIN documents USING (document_id)"
        assert connection.execute(query).fetchall() == [(18,)]
    paths = [path for name in TABLES for path in snapshot.files(name)]
    assert set(find_unreadable(paths)) == {torn, lost}
