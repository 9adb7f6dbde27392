"""The rows of documents and texts that passages and explanations need from an archive.

``Lookup`` is the interface. ``TableLookup`` scans the tables; the inspector's catalogue answers the
same queries from indexes.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import pyarrow as pa

from palimpsest.records.settings import MIN_EXACT_WORDS, Settings
from palimpsest.store.archive import Snapshot
from palimpsest.store.find import DOCUMENT, TEXT, NameMatch
from palimpsest.store.views import connect, recurring_spans_query


class DocumentRows(NamedTuple):
    """Documents with their occurrences and texts.

    Attributes:
        facts: document_id, published_at, published_from, uri; one row per document, sorted by
            document_id.
        places: document_id, text_id, start_char, shift_at, shift_by; one row per occurrence, sorted
            by document_id and ordinal.
        texts: text_id, text; one row per distinct text, in any order.
        recurring: text_id, start_char, end_char: stretches of texts that recur, in characters.
    """

    facts: pa.Table
    places: pa.Table
    texts: pa.Table
    recurring: pa.Table


class Lookup(Protocol):
    """Looks up rows of an archive."""

    def settings(self) -> Settings:
        """Return the settings that the archive was created with."""
        ...

    def documents(self, ids: pa.Array, recurring_documents: int) -> DocumentRows:
        """Return documents with their texts.

        Args:
            ids: distinct ids of documents.
            recurring_documents: a stretch recurs if at least this many documents contain the text
                or overlap with it there.
        """
        ...

    def text_facts(self, one: str, other: str) -> pa.Table:
        """Return facts of one or two texts, one row per distinct text.

        Args:
            one, other: ids of texts, which may be the same.

        Returns:
            text_id, paragraph_id, text, words, documents (how many contain it), uri (the first).
        """
        ...

    def has_overlap(self, one: str, other: str) -> bool:
        """Return whether an overlap of two texts is recorded."""
        ...

    def text_pairs(self, left: NameMatch, right: NameMatch | None) -> list[tuple[str, str]]:
        """Return pairs of a left and a right text, those that share most words first.

        The texts of a pair have an overlap, or are the same text on both sides.

        Args:
            left: a document or a text.
            right: likewise; None for all texts with which the left text overlaps.
        """
        ...


_DOCUMENTS = """
    SELECT d.document_id, d.published_at, d.published_from, min(s.uri) AS uri
    FROM documents d SEMI JOIN wanted USING (document_id) JOIN sources s USING (document_id)
    GROUP BY ALL ORDER BY d.document_id
"""
_PLACES = """
    SELECT o.document_id, o.text_id, o.start_char, o.shift_at, o.shift_by
    FROM occurrences o SEMI JOIN wanted USING (document_id)
    ORDER BY o.document_id, o.ordinal
"""
_TEXTS = """
    SELECT text_id, text, paragraph_id FROM folds SEMI JOIN placed USING (text_id)
"""
_FACTS = """
    SELECT f.text_id, f.paragraph_id, f.text, f.words,
        count(DISTINCT w.document_id) AS documents, min(w.uri) AS uri
    FROM folds f JOIN witnesses w USING (text_id)
    WHERE f.text_id IN ($one, $other)
    GROUP BY ALL
"""
_RECORDED = """
    SELECT count(*) FROM "overlaps"
    WHERE left_text_id = least($one, $other) AND right_text_id = greatest($one, $other)
"""
_TEXTS_OF = {
    DOCUMENT: "SELECT DISTINCT text_id FROM occurrences WHERE document_id = ?",
    TEXT: "SELECT ?::VARCHAR AS text_id",
}
_PAIRS = """
    SELECT one, other, sum(matched) AS matched
    FROM (
        SELECT left_text_id AS one, right_text_id AS other, matched_words AS matched
        FROM "overlaps"
        UNION ALL
        SELECT right_text_id, left_text_id, matched_words FROM "overlaps"
    )
    SEMI JOIN left_texts ON one = left_texts.text_id {of_other}
    GROUP BY ALL
"""
_SAME = """
    UNION ALL
    SELECT text_id, text_id, words
    FROM folds SEMI JOIN left_texts USING (text_id) SEMI JOIN right_texts USING (text_id)
    WHERE words >= {least} AND NOT is_header
"""
_ORDERED = """
    SELECT one, other FROM ({pairs})
    ORDER BY matched DESC, least(one, other), greatest(one, other), one
"""


class TableLookup:
    """Looks up rows in the tables of a version by scanning narrow columns."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def settings(self) -> Settings:
        """Return the settings that the archive was created with."""
        return self._snapshot.settings()

    def documents(self, ids: pa.Array, recurring_documents: int) -> DocumentRows:
        """Return documents with their texts; see ``Lookup``."""
        spans = recurring_spans_query(recurring_documents, among="document_texts")
        with connect(self._snapshot, _DOCUMENTS + _PLACES + _TEXTS + spans) as connection:
            connection.register("wanted", pa.table({"document_id": ids}))
            facts = connection.sql(_DOCUMENTS).to_arrow_table()
            places = connection.sql(_PLACES).to_arrow_table()
            connection.register("placed", places.select(["text_id"]))
            texts = connection.sql(_TEXTS).to_arrow_table()
            connection.register("document_texts", texts.select(["text_id", "text"]))
            recurring = connection.sql(spans).to_arrow_table()
        return DocumentRows(
            facts=facts,
            places=places,
            texts=texts.select(["text_id", "text"]),
            recurring=recurring,
        )

    def text_facts(self, one: str, other: str) -> pa.Table:
        """Return facts of one or two texts; see ``Lookup``."""
        with connect(self._snapshot, _FACTS) as connection:
            return connection.sql(_FACTS, params={"one": one, "other": other}).to_arrow_table()

    def has_overlap(self, one: str, other: str) -> bool:
        """Return whether an overlap of two texts is recorded."""
        with connect(self._snapshot, _RECORDED) as connection:
            ids = {"one": one, "other": other}
            return bool(connection.sql(_RECORDED, params=ids).fetchall()[0][0])

    def text_pairs(self, left: NameMatch, right: NameMatch | None) -> list[tuple[str, str]]:
        """Return pairs of texts, those that share most words first; see ``Lookup``."""
        queries = _PAIRS + _SAME + "".join(_TEXTS_OF.values())
        with connect(self._snapshot, queries) as connection:
            for table, named in (("left_texts", left), ("right_texts", right)):
                if named is not None:
                    texts = connection.sql(_TEXTS_OF[named.kind], params=[named.id])
                    connection.register(table, texts.to_arrow_table())
            if right is None:
                query = _PAIRS.format(of_other="")
            else:
                query = _PAIRS.format(
                    of_other="SEMI JOIN right_texts ON other = right_texts.text_id"
                )
                query += _SAME.format(least=MIN_EXACT_WORDS)
            rows = connection.sql(_ORDERED.format(pairs=query)).fetchall()
        return [(one, other) for one, other in rows]
