"""Query an archive with DuckDB: every table as a view, and the views that join them.

- ``witnesses``: each occurrence with its document's title, date and first URI.
- ``folds``: each text with the paragraph that represents it.
- ``recurring``: texts that occur, or share a passage with texts that occur, in many documents.
- ``pieces``: overlaps and identical texts, located in each pair of documents.
- ``passages``: passages that two documents share, text by text, in characters of each, with
  neighbours merged; ``evidence.passages`` aligns the documents themselves.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from palimpsest.records.schemas import TABLES
from palimpsest.records.settings import MERGE_GAP_CHARS, MIN_EXACT_WORDS, RECURRING_DOCUMENTS
from palimpsest.store.archive import Snapshot
from palimpsest.store.memory import duckdb_memory_options

if TYPE_CHECKING:
    import duckdb

    Connection: TypeAlias = duckdb.DuckDBPyConnection

MEMORY_LIMIT = "1GiB"
"""Memory limit of a bounded connection."""
_BOUNDED_THREADS = 4
"""Threads of a bounded connection, each of which needs a part of its memory."""

_WITNESSES = """
    SELECT o.*, d.title, d.published_at, s.uri
    FROM occurrences o
    JOIN documents d USING (document_id)
    JOIN (SELECT document_id, min(uri) AS uri FROM sources GROUP BY document_id) s
        USING (document_id)
"""

_FOLDS = """
    SELECT paragraph_id AS text_id, paragraph_id, text, words, is_header FROM paragraphs
    UNION ALL SELECT text_id, paragraph_id, text, words, false FROM variants
"""

# Position in its document of position p of a normalised text; see ``occurrences`` in the schemas.
_IN_DOCUMENT = """
    CREATE MACRO in_document(p, start_char, shift_at, shift_by) AS start_char + p
        + coalesce(shift_by[len(list_filter(shift_at, lambda x: x <= p))], 0)
"""

_RECURRING = """
    WITH alike AS (
        SELECT text_id, text_id AS other_id FROM {among}
        UNION ALL SELECT h.text_id, f.text_id FROM {among} h JOIN folds f USING (paragraph_id)
        UNION ALL SELECT left_text_id, right_text_id FROM "overlaps"
            SEMI JOIN {among} h ON left_text_id = h.text_id
        UNION ALL SELECT right_text_id, left_text_id FROM "overlaps"
            SEMI JOIN {among} h ON right_text_id = h.text_id
    )
    SELECT a.text_id, count(DISTINCT o.document_id) AS documents
    FROM alike a JOIN occurrences o ON o.text_id = a.other_id
    GROUP BY a.text_id HAVING documents >= {least}
"""

# Stretches of texts, in characters, by how many documents contain them or overlap with them there.
# A sweep over the ends of overlaps: each adds the documents of its other text where it begins and
# takes them away where it ends.
_RECURRING_SPANS = """
    WITH shared AS (
        SELECT text_id, 0::BIGINT AS first, length(text)::BIGINT AS last, text_id AS other_id
        FROM {among}
        UNION ALL SELECT left_text_id, left_start_char, left_end_char, right_text_id
        FROM "overlaps" SEMI JOIN {among} h ON left_text_id = h.text_id
        UNION ALL SELECT right_text_id, right_start_char, right_end_char, left_text_id
        FROM "overlaps" SEMI JOIN {among} h ON right_text_id = h.text_id
    ),
    spread AS (
        SELECT text_id AS other_id, count(DISTINCT document_id) AS documents
        FROM occurrences SEMI JOIN (SELECT DISTINCT other_id FROM shared) s ON text_id = other_id
        GROUP BY text_id
    ),
    ends AS (
        SELECT text_id, first AS place, documents FROM shared JOIN spread USING (other_id)
        UNION ALL SELECT text_id, last, -documents FROM shared JOIN spread USING (other_id)
    ),
    steps AS (SELECT text_id, place, sum(documents) AS step FROM ends GROUP BY ALL),
    swept AS (
        SELECT text_id, place AS start_char, lead(place) OVER by_place AS end_char,
            sum(step) OVER by_place AS documents
        FROM steps WINDOW by_place AS (PARTITION BY text_id ORDER BY place)
    )
    SELECT text_id, start_char, end_char FROM swept
    WHERE documents >= {least} AND end_char IS NOT NULL
    ORDER BY text_id, start_char
"""

_PIECES = """
    SELECT
        a.document_id AS left_id, b.document_id AS right_id, v.relation,
        in_document(v.left_start_char, a.start_char, a.shift_at, a.shift_by) AS left_start,
        in_document(v.left_end_char, a.start_char, a.shift_at, a.shift_by) AS left_end,
        in_document(v.right_start_char, b.start_char, b.shift_at, b.shift_by) AS right_start,
        in_document(v.right_end_char, b.start_char, b.shift_at, b.shift_by) AS right_end,
        v.left_passage AS left_text, v.right_passage AS right_text,
        v.matched_words, v.left_words + v.right_words - v.matched_words AS union_words
    FROM "overlaps" v
    JOIN occurrences a ON a.text_id = v.left_text_id
    JOIN occurrences b ON b.text_id = v.right_text_id
    WHERE a.document_id <> b.document_id
    UNION ALL
    SELECT
        a.document_id, b.document_id, 'exact', a.start_char, a.end_char, b.start_char, b.end_char,
        f.text, f.text, f.words, f.words
    FROM occurrences a
    JOIN occurrences b ON a.text_id = b.text_id AND a.document_id < b.document_id
    JOIN folds f ON f.text_id = a.text_id
    WHERE f.words >= {least} AND NOT f.is_header
"""

_PASSAGES = """
WITH firsts AS (
    SELECT d.document_id, d.published_at, min(s.uri) AS uri
    FROM documents d JOIN sources s USING (document_id) GROUP BY ALL
),
directed AS (
    SELECT
        p.*,
        row(l.published_at IS NULL, l.published_at, l.uri)
            <= row(r.published_at IS NULL, r.published_at, r.uri) AS is_forward
    FROM pieces p
    JOIN firsts l ON l.document_id = p.left_id
    JOIN firsts r ON r.document_id = p.right_id
),
ordered AS (
    SELECT
        if(is_forward, left_id, right_id) AS left_document_id,
        if(is_forward, right_id, left_id) AS right_document_id,
        if(is_forward, left_start, right_start) AS left_start_char,
        if(is_forward, left_end, right_end) AS left_end_char,
        if(is_forward, right_start, left_start) AS right_start_char,
        if(is_forward, right_end, left_end) AS right_end_char,
        if(is_forward, left_text, right_text) AS left_passage,
        if(is_forward, right_text, left_text) AS right_passage,
        matched_words, union_words, relation
    FROM directed
),
marked AS (
    SELECT *, coalesce(
        left_start_char - lag(left_end_char) OVER neighbours BETWEEN 0 AND {merge_gap}
        AND right_start_char - lag(right_end_char) OVER neighbours BETWEEN 0 AND {merge_gap},
        false) AS goes_on
    FROM ordered
    WINDOW neighbours AS (
        PARTITION BY left_document_id, right_document_id
        ORDER BY left_start_char, right_start_char, left_end_char, right_end_char
    )
),
numbered AS (
    SELECT *, sum(if(goes_on, 0, 1)) OVER (
        PARTITION BY left_document_id, right_document_id
        ORDER BY left_start_char, right_start_char, left_end_char, right_end_char
        ROWS UNBOUNDED PRECEDING
    ) AS passage
    FROM marked
)
SELECT
    left_document_id,
    min(left_start_char) AS left_start_char,
    max(left_end_char) AS left_end_char,
    right_document_id,
    min(right_start_char) AS right_start_char,
    max(right_end_char) AS right_end_char,
    string_agg(left_passage, ' ' ORDER BY left_start_char) AS left_passage,
    string_agg(right_passage, ' ' ORDER BY left_start_char) AS right_passage,
    sum(matched_words)::BIGINT AS matched_words,
    (sum(matched_words) / sum(union_words))::FLOAT AS resemblance,
    CASE
        WHEN bool_and(relation = 'exact') THEN 'exact'
        WHEN bool_and(relation IN ('exact', 'near')) THEN 'near'
        WHEN bool_and(relation IN ('exact', 'near', 'contained')) THEN 'contained'
        ELSE 'partial'
    END AS relation
FROM numbered
GROUP BY left_document_id, right_document_id, passage
"""


def recurring_query(least: int = RECURRING_DOCUMENTS, among: str = "folds") -> str:
    """Return a query for recurring texts: ``text_id`` and ``documents``.

    A text recurs if it occurs, or shares a passage with texts that occur, in many documents.

    Args:
        least: minimum number of these documents.
        among: a relation with ``text_id`` and ``paragraph_id``, to which texts are restricted.
    """
    return _RECURRING.format(least=int(least), among=among)


def recurring_spans_query(least: int, among: str = "folds") -> str:
    """Return a query for recurring stretches of texts: ``text_id, start_char, end_char``.

    A stretch recurs if ``least`` documents or more contain the text or overlap with it there.

    Args:
        least: minimum number of these documents.
        among: a relation with ``text_id`` and ``text``, to which texts are restricted.
    """
    return _RECURRING_SPANS.format(least=int(least), among=among)


VIEWS = {
    "witnesses": _WITNESSES,
    "folds": _FOLDS,
    "recurring": recurring_query(),
    "pieces": _PIECES.format(least=MIN_EXACT_WORDS),
    "passages": _PASSAGES.format(merge_gap=MERGE_GAP_CHARS),
}
"""The views by name, each after those that it is built from."""


def connect(snapshot: Snapshot, query: str | None = None) -> Connection:
    """Return a DuckDB connection in memory, with a view for each table and each view above.

    Args:
        snapshot: the version to read.
        query: the query to be run: tables that none of its words refer to are left out, and their
            files not touched. By default, and for a query that names none, there are all.
    """
    names = _named_in(query) if query else set()
    names = names or {*TABLES, *VIEWS}
    connection = connect_tables(snapshot, [name for name in TABLES if name in names])
    connection.execute(_IN_DOCUMENT)
    for name, definition in VIEWS.items():
        if name in names:
            connection.execute(f"CREATE VIEW {name} AS {definition}")
    return connection


@contextmanager
def connect_bounded(snapshot: Snapshot, beside: Path) -> Iterator[Connection]:
    """Open a connection as ``connect`` does, for queries that sort a whole archive.

    It uses at most ``MEMORY_LIMIT`` of memory; larger sorts spill to a temporary folder, which is
    removed when the connection is closed.

    Args:
        snapshot: the version to read.
        beside: folder in which that one is created.
    """
    with (
        tempfile.TemporaryDirectory(prefix=".palimpsest-", dir=beside) as spill,
        connect(snapshot) as connection,
    ):
        quoted = spill.replace("'", "''")
        connection.execute(f"SET temp_directory = '{quoted}'")
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        connection.execute(f"SET threads = {min(os.cpu_count() or 1, _BOUNDED_THREADS)}")
        yield connection


def _named_in(query: str) -> set[str]:
    """Return the tables and views that a query may name, and those that they are built from."""
    words = _words_of(query)
    for name in reversed(VIEWS):
        if name in words:
            words |= _words_of(VIEWS[name])
    return words & {*TABLES, *VIEWS}


def _words_of(query: str) -> set[str]:
    return set(re.findall(r"\w+", query.lower()))


def connect_tables(snapshot: Snapshot, names: Iterable[str]) -> Connection:
    """Return a DuckDB connection in memory, with a view for each of these tables only.

    Its time zone is UTC, whatever that of the machine: times are truncated to days and written in
    UTC, and columns of times have the same type as in the tables.
    """
    import duckdb  # takes a tenth of a second, which commands without a query do not need

    options = {"autoinstall_known_extensions": "false", "TimeZone": "UTC"}
    connection = duckdb.connect(config={**options, **duckdb_memory_options()})
    for name in names:
        files = ", ".join("'" + str(path).replace("'", "''") + "'" for path in snapshot.files(name))
        connection.execute(f'CREATE VIEW "{name}" AS FROM read_parquet([{files}])')
    return connection


def find_unreadable(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the Parquet files that DuckDB cannot read to their end, with its error for each."""
    import duckdb

    faults = {}
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        for path in paths:
            try:
                query = "SELECT bit_xor(hash(file)) FROM read_parquet(?) file"
                connection.execute(query, [str(path)]).fetchall()
            except duckdb.Error as error:
                faults[path] = str(error)
    return faults
