"""Build the catalogue of a version from its tables.

DuckDB numbers and joins the rows; SQLite stores them with indexes. Texts that occur in more than
``CROWD_DOCUMENTS`` documents produce no pairs of documents: a notice in ten thousand articles
would produce fifty million.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palimpsest.inspector.catalogue.overview import build_overview
from palimpsest.inspector.catalogue.words import TOKENIZER, as_indexed
from palimpsest.records.document_facts import DOCUMENT_FACTS
from palimpsest.records.errors import ArchiveError
from palimpsest.records.progress import Report, Step, silent
from palimpsest.records.settings import MIN_EXACT_WORDS
from palimpsest.store.archive import Snapshot
from palimpsest.store.views import connect, recurring_query, recurring_spans_query

if TYPE_CHECKING:
    from palimpsest.store.views import Connection

FORMAT = 4
"""Version of the catalogue's layout. Bump it whenever the contents or the location changes."""
UNFINISHED = ".new-"
"""Prefix of the folders in which catalogues are built."""
CROWD_DOCUMENTS = 200
_ROWS_AT_ONCE = 20_000
_BUILDING = Step("catalogue", "building the catalogue")
_MEMORY = "1GB"
_WORDS_IN_MEMORY = 64 * 2**20
"""Bytes of the full-text index buffered before a write; SQLite's default is 1 MiB."""

_NUMBERED = f"""
    CREATE TABLE d AS
        SELECT row_number() OVER (ORDER BY published_at NULLS LAST, uri, document_id) AS number, *
        FROM documents JOIN (
            SELECT document_id, min(uri) AS uri FROM sources GROUP BY document_id
        ) USING (document_id);
    CREATE TABLE t AS
        SELECT row_number() OVER (ORDER BY text_id) AS number, text_id, paragraph_id, words,
            is_header
        FROM folds;
    CREATE TABLE o AS
        SELECT d.number AS document, o.ordinal, t.number AS text
        FROM occurrences o JOIN d USING (document_id) JOIN t USING (text_id);
    CREATE TABLE v AS
        SELECT l.number AS one, r.number AS other, sum(v.matched_words)::INTEGER AS matched,
            any_value(v.relation) AS relation, max(v.left_share) AS one_share,
            max(v.right_share) AS other_share
        FROM "overlaps" v
        JOIN t l ON l.text_id = v.left_text_id JOIN t r ON r.text_id = v.right_text_id
        GROUP BY ALL;
    CREATE TABLE spread AS
        SELECT text, count(DISTINCT document) AS documents FROM o GROUP BY text;
    CREATE TABLE reach AS
        SELECT t.paragraph_id, count(DISTINCT o.document) AS documents
        FROM o JOIN t ON t.number = o.text GROUP BY t.paragraph_id;
    CREATE TABLE alike AS
        SELECT t.number AS text, a.documents
        FROM ({recurring_query(least=2)}) a JOIN t USING (text_id);
"""
_PAIRS = f"""
    CREATE TABLE few AS SELECT text FROM spread WHERE documents <= {CROWD_DOCUMENTS};
    CREATE TABLE common AS SELECT text FROM alike WHERE documents >= $recurring;
    CREATE TABLE meetings AS
        SELECT a.document AS one, b.document AS other, v.matched,
            v.one NOT IN (FROM common) AND v.other NOT IN (FROM common) AS is_own
        FROM v JOIN o a ON a.text = v.one JOIN o b ON b.text = v.other
        SEMI JOIN few l ON l.text = v.one SEMI JOIN few r ON r.text = v.other
        WHERE a.document <> b.document
        UNION ALL
        SELECT a.document, b.document, t.words, a.text NOT IN (FROM common)
        FROM o a JOIN o b ON a.text = b.text AND a.document < b.document
        JOIN t ON t.number = a.text SEMI JOIN few ON few.text = a.text
        WHERE t.words >= {MIN_EXACT_WORDS} AND NOT t.is_header;
    CREATE TABLE p AS
        SELECT least(one, other) AS one, greatest(one, other) AS other,
            sum(matched)::INTEGER AS matched, sum(if(is_own, matched, 0))::INTEGER AS own
        FROM meetings GROUP BY ALL;
"""
# A text that occurs in only one document counts with the share aligned with its closest text.
_REUSED = """
    CREATE TABLE shares AS
        SELECT text, max(share) AS share FROM (
            SELECT one AS text, one_share AS share FROM v
            UNION ALL SELECT other, other_share FROM v
            UNION ALL SELECT text, 1.0 FROM spread WHERE documents > 1
        ) GROUP BY text;
    CREATE TABLE reused AS
        SELECT o.document, round(sum(t.words * s.share))::INTEGER AS words
        FROM o JOIN shares s USING (text) JOIN t ON t.number = o.text GROUP BY o.document;
    CREATE TABLE partners AS
        SELECT document, count(*) AS documents FROM (
            SELECT one AS document FROM p UNION ALL SELECT other FROM p
        ) GROUP BY document;
"""


def _instant(column: str) -> str:
    return f"strftime({column} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ')"


def _as_json(column: str) -> str:
    return f"CASE WHEN len({column}) > 0 THEN to_json({column})::VARCHAR END"


def _facts_of(table: str) -> str:
    columns = ((fact, f"{table}.{fact.name}") for fact in DOCUMENT_FACTS)
    return ", ".join(_instant(column) if fact.is_time else column for fact, column in columns)


_COPIED = {
    "documents": f"""
        SELECT d.number, d.document_id, d.uri, {_facts_of("d")},
            epoch_us(d.published_at), NULL, d.paragraphs, d.words,
            least(d.words, coalesce(r.words, 0)), coalesce(p.documents, 0)
        FROM d LEFT JOIN reused r ON r.document = d.number
        LEFT JOIN partners p ON p.document = d.number
    """,
    "provenance": """
        SELECT number, sha256, text_sha256, media_type, encoding, encoding_from, decode_errors,
            extractor, extractor_version, bytes, characters, unanchored, run_id
        FROM d
    """,
    "sources": f"""
        SELECT row_number() OVER (ORDER BY d.number, s.uri, s.run_id), d.number, s.uri, s.bytes,
            {_instant("s.modified_at")}, s.target_uri, {_instant("s.captured_at")}, s.run_id
        FROM sources s JOIN d USING (document_id)
    """,
    "texts": """
        SELECT t.number, t.text_id, q.number, t.words, t.is_header, s.documents,
            greatest(s.documents, coalesce(a.documents, 0)), f.text
        FROM folds f JOIN t USING (text_id) JOIN t q ON q.text_id = t.paragraph_id
        JOIN spread s ON s.text = t.number LEFT JOIN alike a ON a.text = t.number
    """,
    "recurring": "SELECT number, start_char, end_char FROM recurring_spans JOIN t USING (text_id)",
    "occurrences": f"""
        SELECT d.number, o.ordinal, t.number, o.start_char, o.end_char, o.start_byte, o.end_byte,
            {_as_json("o.shift_at")}, {_as_json("o.shift_by")},
            {_as_json("o.stretch_start")}, {_as_json("o.stretch_end")}
        FROM occurrences o JOIN d USING (document_id) JOIN t USING (text_id)
        ORDER BY 1, 2
    """,
    "overlaps": """
        SELECT one, other, matched, relation FROM v
        UNION ALL SELECT other, one, matched, relation FROM v ORDER BY 1, 2
    """,
    "pairs": """
        SELECT one, other, matched, own FROM p
        UNION ALL SELECT other, one, matched, own FROM p ORDER BY 1, 2
    """,
    "rejects": """
        SELECT row_number() OVER (ORDER BY uri, reason), uri, bytes, reason, detail, run_id
        FROM rejects
    """,
}
_INDEXES = """
    CREATE UNIQUE INDEX documents_by_id ON documents (document_id);
    CREATE INDEX documents_by_date ON documents (published_at);
    CREATE INDEX documents_by_reuse ON documents (reused_words);
    CREATE INDEX sources_by_document ON sources (document);
    CREATE UNIQUE INDEX texts_by_id ON texts (text_id);
    CREATE INDEX texts_by_paragraph ON texts (paragraph);
    CREATE INDEX occurrences_by_text ON occurrences (text, document);
    CREATE INDEX rejects_by_reason ON rejects (reason, uri);
"""
_WORDS = f"CREATE VIRTUAL TABLE bodies USING fts5 (text, content='', tokenize=\"{TOKENIZER}\")"
_BODIES = """
    SELECT d.number, concat_ws(' ', d.title, d.author, string_agg(f.text, ' ' ORDER BY o.ordinal))
    FROM occurrences o JOIN d USING (document_id) JOIN folds f USING (text_id)
    GROUP BY d.number, d.title, d.author
"""


class CatalogueError(ArchiveError):
    """A catalogue could not be built; the archive is unchanged."""


def build_catalogue(snapshot: Snapshot, path: Path, report: Report = silent) -> None:
    """Write the catalogue of a version.

    Args:
        snapshot: the version.
        path: the file; it appears once complete, and replaces an older one.
        report: called after each step.

    Raises:
        CatalogueError: it cannot be written.
    """
    steps = itertools.count(1)
    total = len(_COPIED) + 4
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=UNFINISHED) as folder:
            new_path = Path(folder, "catalogue")
            with connect(snapshot) as tables, closing(sqlite3.connect(new_path)) as catalogue:
                tables.execute(f"SET memory_limit = '{_MEMORY}'")
                tables.execute(f"SET temp_directory = '{folder.replace(chr(39), chr(39) * 2)}'")
                _fill(snapshot, tables, catalogue, lambda: report(_BUILDING, next(steps), total))
            os.replace(new_path, path)  # noqa: PTH105 - replaces an older one
    except (OSError, sqlite3.Error) as error:
        fault = f"catalogue {path}: cannot be written: {error}"
        raise CatalogueError(f"{fault}; name another folder with PALIMPSEST_STATE") from error


def _schema() -> str:
    """Return the statements that create the catalogue's tables."""
    columns = (
        f"{fact.name} TEXT{'' if fact.is_nullable else ' NOT NULL'}" for fact in DOCUMENT_FACTS
    )
    schema = files("palimpsest.inspector.catalogue").joinpath("schema.sql").read_text("utf-8")
    return schema.replace("{facts}", ", ".join(columns))


def _fill(
    snapshot: Snapshot,
    tables: Connection,
    catalogue: sqlite3.Connection,
    step: Callable[[], None],
) -> None:
    recurring = {"recurring": snapshot.settings().passages.recurring_documents}
    catalogue.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
    catalogue.executescript(_schema())
    spans = recurring_spans_query(recurring["recurring"])
    tables.execute(f"CREATE TABLE recurring_spans AS {spans}")
    for script in (_NUMBERED, _PAIRS, _REUSED):
        for statement in filter(str.strip, script.split(";")):
            tables.execute(statement, recurring if "$recurring" in statement else None)
    step()
    for table, query in _COPIED.items():
        _insert(catalogue, table, _rows(tables, query))
        step()
    catalogue.executescript(_INDEXES)
    step()
    catalogue.execute(_WORDS)
    catalogue.execute(f"INSERT INTO bodies (bodies, rank) VALUES ('hashsize', {_WORDS_IN_MEMORY})")
    bodies = ((number, as_indexed(body)) for number, body in _rows(tables, _BODIES))
    catalogue.executemany("INSERT INTO bodies (rowid, text) VALUES (?, ?)", bodies)
    step()
    overview = build_overview(tables, catalogue)
    facts = {"format": FORMAT, "run_id": snapshot.manifest.run_id, "overview": overview}
    rows = ((name, json.dumps(value, ensure_ascii=False)) for name, value in facts.items())
    catalogue.executemany("INSERT INTO facts VALUES (?, ?)", rows)
    catalogue.commit()
    catalogue.execute("ANALYZE")
    catalogue.commit()
    step()


def _rows(tables: Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query, fetched in batches by a cursor of their own."""
    with tables.cursor() as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            yield from rows


def _insert(catalogue: sqlite3.Connection, table: str, rows: Iterator[tuple[Any, ...]]) -> None:
    first = next(rows, None)
    if first is None:
        return
    placeholders = ", ".join("?" * len(first))
    insert = f'INSERT INTO "{table}" VALUES ({placeholders})'
    catalogue.execute(insert, first)
    catalogue.executemany(insert, rows)
