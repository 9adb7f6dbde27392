"""Look up rows in a catalogue, for pages and as a ``Lookup`` for alignments and explanations."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from palimpsest.evidence.lookup import DocumentRows
from palimpsest.inspector.catalogue.words import match_expression, search_terms
from palimpsest.records.document_facts import FACT_NAMES
from palimpsest.records.errors import ContractError
from palimpsest.records.settings import MIN_EXACT_WORDS, Settings
from palimpsest.store.archive import Snapshot
from palimpsest.store.find import DOCUMENT, NameMatch

_FACTS = pa.schema(
    [
        pa.field("document_id", pa.string()),
        pa.field("published_at", pa.timestamp("us", tz="UTC")),
        pa.field("published_from", pa.string()),
        pa.field("uri", pa.string()),
    ]
)
_RECURRING = pa.schema(
    [
        pa.field("text_id", pa.string()),
        pa.field("start_char", pa.int64()),
        pa.field("end_char", pa.int64()),
    ]
)
_PLACES = pa.schema(
    [
        pa.field("document_id", pa.string()),
        pa.field("text_id", pa.string()),
        pa.field("start_char", pa.int64()),
        pa.field("shift_at", pa.list_(pa.int32())),
        pa.field("shift_by", pa.list_(pa.int32())),
    ]
)
_DOCUMENT_COLUMNS = ", ".join(
    f"d.{name}"
    for name in (
        "number", "document_id", "uri", *FACT_NAMES,
        "origin", "paragraphs", "words", "reused_words", "partners",
    )
)  # fmt: skip
_OF_CLUSTER = """
    WHERE w.text IN (
        SELECT number FROM texts
        WHERE paragraph = (SELECT paragraph FROM texts WHERE text_id = ?)
    )
"""
_ORDERS = {
    "date": "d.number",
    "latest": "d.published_us IS NULL, d.published_us DESC, d.number",
    "reuse": "d.reused_words * 1.0 / max(d.words, 1) DESC, d.number",
    "words": "d.words DESC, d.number",
    "relevance": "bodies.rank, d.number",
}
ORDERS = tuple(_ORDERS)
"""Orders of a list of documents; relevance only applies if there are search words."""


@dataclass(frozen=True, slots=True)
class DocumentQuery:
    """A search for documents; empty fields do not restrict it.

    Attributes:
        words: words and "phrases", all of which must occur.
        origin: the origin, as in the overview.
        since, until: first and last date of publication, as YYYY-MM-DD or a prefix of it.
        least_reuse: least share of words that also occur elsewhere, in [0, 1].
        order: one of ``ORDERS``.
    """

    words: str = ""
    origin: str = ""
    since: str = ""
    until: str = ""
    least_reuse: float = 0.0
    order: str = "date"


def open_catalogue(path: Path) -> sqlite3.Connection:
    """Return a connection to a catalogue, which never changes once it is built.

    Raises:
        sqlite3.Error: it does not exist.
    """
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(address, uri=True, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


class Catalogue:
    """A catalogue to read from. Thread-safe: each thread has its own connection."""

    def __init__(self, path: Path, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._settings = snapshot.settings()
        self._path = path
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = open_catalogue(self._path)
            self._local.connection = connection
        return connection

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        return self._connection().execute(query, values).fetchall()

    def _dicts(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        return [dict(row) for row in self._rows(query, values)]

    def overview(self) -> dict[str, Any]:
        """Return the values computed by ``overview.build_overview``."""
        [row] = self._rows("SELECT value FROM facts WHERE name = 'overview'")
        overview: dict[str, Any] = json.loads(row["value"])
        return overview

    def search(
        self, query: DocumentQuery, limit: int, offset: int = 0
    ) -> tuple[int, list[dict[str, Any]]]:
        """Return how many documents match a query, and one page of them."""
        source, conditions, values = "documents d", ["true"], []
        terms = search_terms(query.words)
        if terms:
            source += " JOIN bodies ON bodies.rowid = d.number"
            conditions.append("bodies MATCH ?")
            values.append(match_expression(terms))
        filters: list[tuple[str, Any]] = [
            ("d.origin = ?", query.origin),
            ("d.published_at >= ?", query.since),
            ("d.published_at < ?", query.until and query.until + "~"),
            ("d.reused_words >= ? * d.words AND d.words > 0", query.least_reuse),
        ]
        for condition, value in filters:
            if value:
                conditions.append(condition)
                values.append(value)
        matches = f"FROM {source} WHERE {' AND '.join(conditions)}"
        [total] = self._rows(f"SELECT count(*) AS documents {matches}", values)
        order = _ORDERS[query.order if terms or query.order != "relevance" else "date"]
        select = f"SELECT {_DOCUMENT_COLUMNS} {matches} ORDER BY {order} LIMIT ? OFFSET ?"
        return total["documents"], self._dicts(select, [*values, limit, offset])

    def origins(self) -> list[str]:
        """Return the origins of all documents, sorted."""
        query = "SELECT DISTINCT origin FROM documents WHERE origin IS NOT NULL ORDER BY 1"
        return [row["origin"] for row in self._rows(query)]

    def document(self, document_id: str) -> dict[str, Any] | None:
        """Return the facts of a document, or None."""
        query = f"SELECT {_DOCUMENT_COLUMNS} FROM documents d WHERE document_id = ?"
        return next(iter(self._dicts(query, [document_id])), None)

    def paragraphs_of(self, number: int, limit: int = -1) -> list[dict[str, Any]]:
        """Return the paragraphs of a document in order, each with its text and facts.

        ``shift_at`` and ``shift_by`` map positions in the text to the document. ``documents`` is
        the number of documents that have the text or share a passage with it; ``paragraph_id`` is
        the representative of the text.

        Args:
            number: the document's number in the catalogue.
            limit: at most this many; -1 for all.
        """
        query = """
            SELECT o.ordinal, t.text_id, p.text_id AS paragraph_id, t.words, t.alike AS documents,
                o.start_char, o.end_char, o.start_byte, o.end_byte, o.shift_at, o.shift_by, t.text
            FROM occurrences o JOIN texts t ON t.number = o.text
            JOIN texts p ON p.number = t.paragraph
            WHERE o.document = ? ORDER BY o.ordinal LIMIT ?
        """
        return [_parsed(row, *_SHIFTS) for row in self._dicts(query, [number, limit])]

    def partners_of(self, number: int, limit: int, offset: int = 0) -> list[dict[str, Any]]:
        """Return the documents that share passages with a document, those that share most first.

        ``matched`` counts all shared words, ``own`` only those in texts that do not recur.
        """
        query = f"""
            SELECT {_DOCUMENT_COLUMNS}, p.matched, p.own
            FROM (
                SELECT other, matched, own FROM pairs WHERE one = ?
                ORDER BY own DESC, matched DESC, other LIMIT ? OFFSET ?
            ) p
            JOIN documents d ON d.number = p.other
            ORDER BY p.own DESC, p.matched DESC, p.other
        """
        return self._dicts(query, [number, limit, offset])

    def provenance_of(self, number: int) -> dict[str, Any]:
        """Return how a document was read: its row of ``provenance``."""
        [row] = self._dicts("SELECT * FROM provenance WHERE document = ?", [number])
        return row

    def sources_of(self, number: int) -> list[dict[str, Any]]:
        """Return the sources of a document, sorted by URI."""
        query = """
            SELECT uri, bytes, modified_at, target_uri, captured_at, run_id
            FROM sources WHERE document = ? ORDER BY number
        """
        return self._dicts(query, [number])

    def place_of(self, number: int, ordinal: int) -> dict[str, Any] | None:
        """Return the position of a document's paragraph in the raw bytes, or None."""
        query = """
            SELECT start_byte, end_byte, stretch_start, stretch_end
            FROM occurrences WHERE document = ? AND ordinal = ?
        """
        rows = self._dicts(query, [number, ordinal])
        return next((_parsed(row, "stretch_start", "stretch_end") for row in rows), None)

    def cluster(self, text_id: str, limit: int) -> list[dict[str, Any]]:
        """Return the texts folded into the same paragraph as a text, the representative first."""
        query = """
            SELECT c.text_id, c.words, c.documents, c.alike, c.text
            FROM texts t JOIN texts c ON c.paragraph = t.paragraph
            WHERE t.text_id = ?
            ORDER BY c.number = c.paragraph DESC, c.documents DESC, c.text_id LIMIT ?
        """
        return self._dicts(query, [text_id, limit])

    def witnesses(self, text_id: str, limit: int) -> list[dict[str, Any]]:
        """Return the occurrences of a text's paragraph and variants, earliest document first."""
        query = f"""
            SELECT o.ordinal, o.start_char, o.end_char, o.start_byte, o.end_byte,
                t.text_id, {_DOCUMENT_COLUMNS}
            FROM (
                SELECT w.document, w.ordinal FROM occurrences w {_OF_CLUSTER}
                ORDER BY w.document, w.ordinal LIMIT ?
            ) w
            JOIN occurrences o ON o.document = w.document AND o.ordinal = w.ordinal
            JOIN documents d ON d.number = o.document
            JOIN texts t ON t.number = o.text
            ORDER BY o.document, o.ordinal
        """
        return self._dicts(query, [text_id, limit])

    def sizes(self, text_id: str) -> dict[str, int]:
        """Return how many texts are folded into a text's paragraph, and how often they occur."""
        query = f"""
            SELECT count(DISTINCT w.text) AS texts, count(*) AS places
            FROM occurrences w {_OF_CLUSTER}
        """
        [row] = self._dicts(query, [text_id])
        return row

    def neighbours(self, text_id: str, limit: int) -> list[dict[str, Any]]:
        """Return texts of other paragraphs that share a passage with a text, most words first."""
        query = """
            SELECT n.text_id, q.text_id AS paragraph_id, n.words, n.documents, n.text,
                v.matched, v.relation
            FROM texts t JOIN "overlaps" v ON v.one = t.number
            JOIN texts n ON n.number = v.other JOIN texts q ON q.number = n.paragraph
            WHERE t.text_id = ? AND n.paragraph <> t.paragraph
            ORDER BY v.matched DESC, n.text_id LIMIT ?
        """
        return self._dicts(query, [text_id, limit])

    def rejects(self, reason: str, limit: int, offset: int = 0) -> tuple[int, list[dict[str, Any]]]:
        """Return the number of sources rejected for a reason (any, if empty) and a page of them."""
        condition, values = ("WHERE reason = ?", [reason]) if reason else ("", [])
        [total] = self._rows(f"SELECT count(*) AS rejects FROM rejects {condition}", values)
        query = f"""
            SELECT uri, bytes, reason, detail, run_id FROM rejects {condition}
            ORDER BY reason, uri LIMIT ? OFFSET ?
        """
        return total["rejects"], self._dicts(query, [*values, limit, offset])

    def find_by_prefix(self, prefix: str) -> list[tuple[str, str]]:
        """Return kind and id of documents and texts whose id has this prefix or URI is this one."""
        query = """
            SELECT 'document' AS kind, document_id AS id FROM documents
            WHERE document_id >= ?1 AND document_id < ?1 || 'g' OR uri = ?1
            UNION ALL
            SELECT 'text', text_id FROM texts WHERE text_id >= ?1 AND text_id < ?1 || 'g' LIMIT 20
        """
        return [(row["kind"], row["id"]) for row in self._rows(query, [prefix])]

    # The methods of evidence.lookup.Lookup.

    def settings(self) -> Settings:
        """Return the settings that the archive was created with."""
        return self._settings

    def documents(self, ids: pa.Array, recurring_documents: int) -> DocumentRows:
        """Return documents with their texts; see ``evidence.lookup.Lookup``."""
        if recurring_documents != self._settings.passages.recurring_documents:
            raise ContractError(
                f"recurring_documents = {recurring_documents}; expected "
                f"{self._settings.passages.recurring_documents}, which the catalogue was built for"
            )
        document_ids = sorted(set(ids.to_pylist()))
        facts = self._query_many(
            "SELECT number, document_id, published_us AS published_at, published_from, uri "
            "FROM documents "
            "WHERE document_id IN ({}) ORDER BY document_id",
            document_ids,
        )
        by_number = {row["number"]: row["document_id"] for row in facts}
        places = self._query_many(
            "SELECT o.document, o.ordinal, o.text, o.start_char, o.shift_at, o.shift_by "
            "FROM occurrences o WHERE o.document IN ({})",
            list(by_number),
        )
        texts = self._query_many(
            "SELECT number, text_id, text FROM texts WHERE number IN ({})",
            sorted({row["text"] for row in places}),
        )
        text_ids = {row["number"]: row["text_id"] for row in texts}
        for row in places:
            row["document_id"] = by_number[row["document"]]
            row["text_id"] = text_ids[row["text"]]
        places.sort(key=lambda row: (row["document_id"], row["ordinal"]))
        recurring = self._query_many(
            "SELECT text, start_char, end_char FROM recurring WHERE text IN ({})", list(text_ids)
        )
        for row in recurring:
            row["text_id"] = text_ids[row["text"]]
        return DocumentRows(
            _table(facts, _FACTS),
            _table([_parsed(row, *_SHIFTS) for row in places], _PLACES),
            pa.table({name: pa.array([row[name] for row in texts], pa.string()) for name in _TEXT}),
            _table(recurring, _RECURRING),
        )

    def _query_many(self, query: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        """Return the rows of a query for many values, in batches as SQLite limits their number."""
        rows: list[dict[str, Any]] = []
        for first in range(0, len(values), _VALUES_AT_ONCE):
            batch = values[first : first + _VALUES_AT_ONCE]
            rows += self._dicts(query.format(", ".join("?" * len(batch))), batch)
        return rows

    def text_facts(self, one: str, other: str) -> pa.Table:
        """Return the facts of two texts; see ``evidence.lookup.Lookup``."""
        query = """
            SELECT t.text_id, p.text_id AS paragraph_id, t.text, t.words, t.documents,
                (SELECT min(d.uri) FROM occurrences o JOIN documents d ON d.number = o.document
                WHERE o.text = t.number) AS uri
            FROM texts t JOIN texts p ON p.number = t.paragraph WHERE t.text_id IN (?, ?)
        """
        return pa.Table.from_pylist(self._dicts(query, [one, other]))

    def has_overlap(self, one: str, other: str) -> bool:
        """Return whether an overlap of two texts is recorded."""
        query = """
            SELECT 1 FROM texts l JOIN texts r JOIN "overlaps" v
            ON v.one = l.number AND v.other = r.number WHERE l.text_id = ? AND r.text_id = ?
        """
        return bool(self._rows(query, [one, other]))

    def text_pairs(self, left: NameMatch, right: NameMatch | None) -> list[tuple[str, str]]:
        """Return pairs of texts; see ``evidence.lookup.Lookup``."""
        left_texts = self._texts_of(left)
        right_texts = None if right is None else self._texts_of(right)
        pairs = [
            (row["matched"], left_texts[row["one"]][0], row["text_id"])
            for row in self._query_many(
                'SELECT v.one, v.other, v.matched, t.text_id FROM "overlaps" v '
                "JOIN texts t ON t.number = v.other WHERE v.one IN ({})",
                list(left_texts),
            )
            if right_texts is None or row["other"] in right_texts
        ]
        if right_texts is not None:
            same = (left_texts[number] for number in left_texts.keys() & right_texts.keys())
            pairs += [(words, text, text) for text, words in same if words >= MIN_EXACT_WORDS]
        pairs.sort(key=lambda row: (-row[0], min(row[1:]), max(row[1:]), row[1]))
        return [(left_id, right_id) for _, left_id, right_id in pairs]

    def _texts_of(self, named: NameMatch) -> dict[int, tuple[str, int]]:
        """Return id and number of words of a document's texts, or of one text, by number.

        The words of a header line, which match none, are not counted.
        """
        columns = "t.number, t.text_id, iif(t.is_header, 0, t.words) AS words"
        query = f"SELECT {columns} FROM texts t WHERE t.text_id = ?"
        if named.kind == DOCUMENT:
            query = f"""
                SELECT {columns} FROM documents d
                JOIN occurrences o ON o.document = d.number JOIN texts t ON t.number = o.text
                WHERE d.document_id = ?
            """
        rows = self._rows(query, [named.id])
        return {row["number"]: (row["text_id"], row["words"]) for row in rows}


_TEXT = ("text_id", "text")
_SHIFTS = ("shift_at", "shift_by")
_VALUES_AT_ONCE = 500


def _parsed(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return a row with these columns parsed from JSON to lists; null becomes an empty list."""
    return row | {name: json.loads(row[name]) if row[name] else [] for name in names}


def _table(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    chosen = [{name: row[name] for name in schema.names} for row in rows]
    return pa.Table.from_pylist(chosen, schema)
