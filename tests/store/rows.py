"""Rows for any table, generated from its schema."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.commit import ChangeSet, open_writer
from palimpsest.store.views import connect

SEALED = {"settings": {"sign": {"bands": 32}}, "stages": {"store": 1}}


def make_row(name: str, number: int, **given: Any) -> dict[str, Any]:
    """Return a row whose values contain its number; every second optional value is null."""
    row: dict[str, Any] = {}
    for field in TABLES[name]:
        if field.nullable and number % 2 and not pa.types.is_list(field.type):
            row[field.name] = None
        elif pa.types.is_string(field.type):
            row[field.name] = f"{field.name}-{number:06d}"
        elif pa.types.is_timestamp(field.type):
            row[field.name] = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
        elif pa.types.is_list(field.type):
            row[field.name] = []
        elif pa.types.is_boolean(field.type):
            row[field.name] = False
        else:
            row[field.name] = number
    return row | given


def make_rows(name: str, first: int, last: int, **given: Any) -> pa.Table:
    """Return rows with the numbers from ``first`` up to ``last``, exclusive."""
    rows = [make_row(name, number, **given) for number in range(first, last)]
    return pa.Table.from_pylist(rows, schema=TABLES[name])


def publish(
    archive: StoredArchive,
    run_id: str,
    added: dict[str, pa.Table],
    withdrawn: dict[str, pa.Table] | None = None,
) -> Snapshot:
    """Commit a version; ``withdrawn`` contains the keys of rows to remove."""
    with open_writer(archive, run_id) as writer:
        return writer.commit(ChangeSet(added=added, withdrawn=withdrawn or {}, sealed=SEALED))


def sorted_rows(table: pa.Table) -> list[str]:
    """Return rows sorted by their values, for comparison."""
    return sorted(repr(row) for row in table.to_pylist())


def all_rows(snapshot: Snapshot) -> dict[str, list[str]]:
    """Return the rows of all tables."""
    return {name: sorted_rows(snapshot.read(name)) for name in TABLES}


def view_passages(snapshot: Snapshot) -> pa.Table:
    """Return the rows of the view ``passages``, with the first URI of both documents."""
    uris = "(SELECT document_id, min(uri) AS uri FROM sources GROUP BY 1)"
    with connect(snapshot) as connection:
        return connection.sql(f"""
            SELECT p.*, l.uri AS left_uri, r.uri AS right_uri
            FROM passages p
            JOIN {uris} l ON l.document_id = left_document_id
            JOIN {uris} r ON r.document_id = right_document_id
            ORDER BY matched_words DESC, left_document_id, right_document_id, left_start_char
        """).to_arrow_table()
