"""Find the documents that share most words with those of one run.

The cost depends on the run and not on the archive. ``evidence.passages`` aligns whole documents,
which takes seconds in a large archive; this adds up the words of repeated texts and of overlaps,
which the tables contain already.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from palimpsest.records.schemas import TABLES
from palimpsest.records.settings import MIN_EXACT_WORDS, RECURRING_DOCUMENTS
from palimpsest.store.archive import Snapshot
from palimpsest.store.views import connect

MAX_ROWS = 1_000_000
"""Rows of occurrences and overlaps up to which the whole archive is searched, in about 0.7 s."""

MAX_LINKS = 5_000
"""The longest repeated texts that are considered, and as many of the longest overlaps."""

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
            least(a.document_id, b.document_id) AS left_id,
            greatest(a.document_id, b.document_id) AS right_id,
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
        left_id, right_id, sum(matched)::BIGINT AS words,
        arg_max(text_id, (matched, text_id)) AS text_id
    FROM shared GROUP BY left_id, right_id ORDER BY words DESC, left_id, right_id LIMIT $limit
"""
_NAMED_PAIRS = """
    WITH uris AS (
        SELECT document_id, min(uri) AS uri FROM sources
        WHERE document_id IN (SELECT left_id FROM pairs UNION ALL SELECT right_id FROM pairs)
        GROUP BY document_id
    ),
    texts AS (
        SELECT text_id, left(text, $characters) AS text FROM folds
        WHERE text_id IN (SELECT text_id FROM pairs)
    )
    SELECT
        p.words, coalesce(l.uri, p.left_id) AS left_uri, coalesce(r.uri, p.right_id) AS right_uri,
        t.text
    FROM pairs p LEFT JOIN uris l ON l.document_id = p.left_id
    LEFT JOIN uris r ON r.document_id = p.right_id LEFT JOIN texts t USING (text_id)
    ORDER BY p.words DESC, p.left_id, p.right_id
"""


def find_top_shared_pairs(
    snapshot: Snapshot,
    run_id: str,
    limit: int = 10,
    *,
    characters: int = 120,
    max_rows: int = MAX_ROWS,
) -> pa.Table:
    """Return the pairs of documents that share most words, at least one of them new in a run.

    Texts that occur in ``RECURRING_DOCUMENTS`` or more are ignored. In an archive with more than
    ``max_rows`` rows of occurrences and overlaps, only the files that the run wrote are searched.

    Args:
        snapshot: the version that the run published, or a later one.
        run_id: the run.
        limit: maximum number of pairs.
        characters: length to which the longest shared text is cut.
        max_rows: see above.

    Returns:
        ``words``, ``left_uri``, ``right_uri`` and ``text``, by descending number of words.
    """
    if snapshot.rows("occurrences") + snapshot.rows("overlaps") > max_rows:
        snapshot = _written_by(snapshot, run_id)
    parameters = {"run": run_id, "least": MIN_EXACT_WORDS, "recurring": RECURRING_DOCUMENTS}
    parameters |= {"links": MAX_LINKS, "limit": limit}
    with connect(snapshot) as connection:
        pairs = connection.sql(_PAIRS, params=parameters).to_arrow_table()
        connection.register("pairs", pairs)
        return connection.sql(_NAMED_PAIRS, params={"characters": characters}).to_arrow_table()


def _written_by(snapshot: Snapshot, run_id: str) -> Snapshot:
    """Return a version reduced to a run's files, and one file of tables in which it has none."""
    files = snapshot.manifest.files
    own = {
        name: [file for file in files[name] if file["name"].startswith(run_id)] or files[name][:1]
        for name in TABLES
    }
    return replace(snapshot, manifest=replace(snapshot.manifest, files=own))
