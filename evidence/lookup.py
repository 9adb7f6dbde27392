"""What passages and explanations ask of an archive: the rows of some documents and texts.

Whoever holds these rows otherwise, such as in a catalogue with indexes, answers the same questions.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import pyarrow as pa

from palimpsest.records.settings import MIN_EXACT_WORDS, Settings
from palimpsest.store.archive import Snapshot
from palimpsest.store.find import DOCUMENT, TEXT, Named
from palimpsest.store.views import connect, recurring_query


class DocumentRows(NamedTuple):
    """Some documents with their texts.

    Attributes:
        facts: document_id, published_at, published_from, uri; a row a document, by document_id.
        places: document_id, text_id, start_char, shift_at, shift_by; a row an occurrence, by
            document_id and ordinal.
        texts: text_id, text; a row a distinct text of theirs, in any order.
        recurring: ids of those texts that recur.
    """

    facts: pa.Table
    places: pa.Table
    texts: pa.Table
    recurring: pa.ChunkedArray


class Lookup(Protocol):
    """Answers what is asked of an archive."""

    def settings(self) -> Settings:
        """Return the settings that the archive was made with."""
        ...

    def documents(self, ids: pa.Array, recurring_documents: int) -> DocumentRows:
        """Return documents with their texts.

        Args:
            ids: of the documents, each once.
            recurring_documents: a text recurs that stands, or shares a passage, in so many.
        """
        ...

    def text_facts(self, one: str, other: str) -> pa.Table:
        """Return text_id, paragraph_id, text, words, documents it stands in, and their first uri.

        Args:
            one, other: ids of texts, the same or not; a row for each different one.
        """
        ...

    def has_overlap(self, one: str, other: str) -> bool:
        """Tell whether an overlap of two texts is recorded."""
        ...

    def text_pairs(self, left: Named, right: Named | None) -> list[tuple[str, str]]:
        """Return pairs of a text of the left and a text of the right, most shared words first.

        They have an overlap, or are one text that stands on both sides.

        Args:
            left: a document or a text.
            right: the same; None for whatever the left text overlaps with.
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
    SEMI JOIN mine ON one = mine.text_id {of_other}
    GROUP BY ALL
"""
_SAME = """
    UNION ALL
    SELECT text_id, text_id, words
    FROM folds SEMI JOIN mine USING (text_id) SEMI JOIN theirs USING (text_id)
    WHERE words >= {least}
"""
_ORDERED = """
    SELECT one, other FROM ({pairs})
    ORDER BY matched DESC, least(one, other), greatest(one, other), one
"""


class TableLookup:
    """Answers from the tables of a version, by scans of narrow columns."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def settings(self) -> Settings:
        """Return the settings that the archive was made with."""
        return self._snapshot.settings()

    def documents(self, ids: pa.Array, recurring_documents: int) -> DocumentRows:
        """Return documents with their texts; see ``Lookup``."""
        common = recurring_query(recurring_documents, among="held")
        with connect(self._snapshot, _DOCUMENTS + _PLACES + _TEXTS + common) as connection:
            connection.register("wanted", pa.table({"document_id": ids}))
            facts = connection.sql(_DOCUMENTS).to_arrow_table()
            places = connection.sql(_PLACES).to_arrow_table()
            connection.register("placed", places.select(["text_id"]))
            held = connection.sql(_TEXTS).to_arrow_table()
            connection.register("held", held.select(["text_id", "paragraph_id"]))
            recurring = connection.sql(common).to_arrow_table().column("text_id")
        return DocumentRows(facts, places, held.select(["text_id", "text"]), recurring)

    def text_facts(self, one: str, other: str) -> pa.Table:
        """Return what is known of two texts; see ``Lookup``."""
        with connect(self._snapshot, _FACTS) as connection:
            return connection.sql(_FACTS, params={"one": one, "other": other}).to_arrow_table()

    def has_overlap(self, one: str, other: str) -> bool:
        """Tell whether an overlap of two texts is recorded."""
        with connect(self._snapshot, _RECORDED) as connection:
            told = {"one": one, "other": other}
            return bool(connection.sql(_RECORDED, params=told).fetchall()[0][0])

    def text_pairs(self, left: Named, right: Named | None) -> list[tuple[str, str]]:
        """Return pairs of texts, those that share most words first; see ``Lookup``."""
        asked = _PAIRS + _SAME + "".join(_TEXTS_OF.values())
        with connect(self._snapshot, asked) as connection:
            for table, one in (("mine", left), ("theirs", right)):
                if one is not None:
                    texts = connection.sql(_TEXTS_OF[one.kind], params=[one.id]).to_arrow_table()
                    connection.register(table, texts)
            if right is None:
                query = _PAIRS.format(of_other="")
            else:
                query = _PAIRS.format(of_other="SEMI JOIN theirs ON other = theirs.text_id")
                query += _SAME.format(least=MIN_EXACT_WORDS)
            rows = connection.sql(_ORDERED.format(pairs=query)).fetchall()
        return [(one, other) for one, other in rows]
