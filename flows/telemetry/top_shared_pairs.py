"""What the documents of one run share most, at a cost that follows the run and not the archive.

``evidence.passages`` aligns documents as a whole, which takes seconds in a large archive. Here the
words are counted that texts of two documents share, as the tables have them.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from palimpsest.records.schemas import TABLES
from palimpsest.records.settings import MIN_EXACT_WORDS, RECURRING_DOCUMENTS
from palimpsest.store.archive import Snapshot
from palimpsest.store.views import connect

ROWS_LOOKED_AT = 1_000_000
"""Rows of occurrences and overlaps up to which all of an archive is looked at: some 0.7 s."""

LINKS_LOOKED_AT = 5_000
"""Repeated texts, and as many pairs of texts, that are looked at, the longest ones."""

_PAIRS = """
    WITH mine AS MATERIALIZED (
        SELECT document_id FROM documents WHERE run_id = $run
    ),
    ours AS MATERIALIZED (
        SELECT DISTINCT document_id, text_id FROM occurrences SEMI JOIN mine USING (document_id)
    ),
    repeated AS (
        SELECT text_id FROM occurrences SEMI JOIN ours USING (text_id)
        GROUP BY text_id HAVING min(document_id) < max(document_id)
    ),
    links AS MATERIALIZED (
        (
            SELECT text_id AS own_id, text_id AS other_id, words AS matched
            FROM folds SEMI JOIN repeated USING (text_id)
            WHERE words >= $least ORDER BY matched DESC, own_id LIMIT $links
        )
        UNION ALL
        (
            SELECT left_text_id, right_text_id, sum(matched_words) AS matched
            FROM "overlaps" WHERE run_id = $run
            GROUP BY ALL ORDER BY matched DESC, left_text_id, right_text_id LIMIT $links
        )
    ),
    both_ways AS (
        SELECT * FROM links
        UNION ALL SELECT other_id, own_id, matched FROM links WHERE own_id <> other_id
    ),
    places AS MATERIALIZED (
        SELECT DISTINCT text_id, document_id FROM occurrences
        SEMI JOIN both_ways ON text_id = other_id
    ),
    rare AS (SELECT text_id FROM places GROUP BY text_id HAVING count(*) < $recurring),
    shared AS (
        SELECT DISTINCT
            least(a.document_id, b.document_id) AS one,
            greatest(a.document_id, b.document_id) AS other,
            least(l.own_id, l.other_id) AS text_id, greatest(l.own_id, l.other_id) AS other_text_id,
            l.matched
        FROM both_ways l
        SEMI JOIN rare own ON own.text_id = l.own_id
        SEMI JOIN rare ON rare.text_id = l.other_id
        JOIN ours a ON a.text_id = l.own_id
        JOIN places b ON b.text_id = l.other_id
        WHERE a.document_id <> b.document_id
    )
    SELECT
        one, other, sum(matched)::BIGINT AS words,
        arg_max(text_id, (matched, text_id)) AS text_id
    FROM shared GROUP BY one, other ORDER BY words DESC, one, other LIMIT $limit
"""
_TOLD = """
    WITH uris AS (
        SELECT document_id, min(uri) AS uri FROM sources
        WHERE document_id IN (SELECT one FROM pairs UNION ALL SELECT other FROM pairs)
        GROUP BY document_id
    ),
    texts AS (
        SELECT text_id, left(text, $characters) AS text FROM folds
        WHERE text_id IN (SELECT text_id FROM pairs)
    )
    SELECT p.words, coalesce(l.uri, p.one) AS one_uri, coalesce(r.uri, p.other) AS other_uri, t.text
    FROM pairs p LEFT JOIN uris l ON l.document_id = p.one
    LEFT JOIN uris r ON r.document_id = p.other LEFT JOIN texts t USING (text_id)
    ORDER BY p.words DESC, p.one, p.other
"""


def most_reused(
    snapshot: Snapshot,
    run_id: str,
    limit: int = 10,
    *,
    characters: int = 120,
    rows_looked_at: int = ROWS_LOOKED_AT,
) -> pa.Table:
    """Return the pairs of documents that share most words, of which a run brought at least one.

    Texts that stand in ``RECURRING_DOCUMENTS`` and more are left out. In an archive of more than
    ``rows_looked_at`` rows only the files that the run has written are looked at.

    Args:
        snapshot: the version that the run published, or a later one.
        run_id: the run.
        limit: at most so many pairs.
        characters: of the longest text that they share, so many from its start.
        rows_looked_at: rows of occurrences and overlaps.

    Returns:
        ``words``, ``one_uri``, ``other_uri`` and ``text``, those with most words first.
    """
    if snapshot.rows("occurrences") + snapshot.rows("overlaps") > rows_looked_at:
        snapshot = _written_by(snapshot, run_id)
    facts = {"run": run_id, "least": MIN_EXACT_WORDS, "recurring": RECURRING_DOCUMENTS}
    facts |= {"links": LINKS_LOOKED_AT, "limit": limit}
    with connect(snapshot) as connection:
        pairs = connection.sql(_PAIRS, params=facts).to_arrow_table()
        connection.register("pairs", pairs)
        return connection.sql(_TOLD, params={"characters": characters}).to_arrow_table()


def _written_by(snapshot: Snapshot, run_id: str) -> Snapshot:
    """Return a version with those files only that a run has written, or one file if it has none."""
    files = snapshot.manifest.files
    own = {
        name: [file for file in files[name] if file["name"].startswith(run_id)] or files[name][:1]
        for name in TABLES
    }
    return replace(snapshot, manifest=replace(snapshot.manifest, files=own))
