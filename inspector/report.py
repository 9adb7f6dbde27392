"""What an archive holds and what its last runs did, as one page of Markdown."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from inspector.terminal import name_of, printable
from store.archive import Snapshot
from store.views import connect

_ROWS = 10
_LONGEST_TEXT = 120

_COUNTS = """
    SELECT (SELECT count(*) FROM sources), (SELECT count(*) FROM documents),
        (SELECT count(*) FROM occurrences), (SELECT count(*) FROM paragraphs),
        (SELECT count(*) FROM variants), (SELECT count(*) FROM "overlaps"),
        (SELECT count(*) FROM rejects)
"""
_RUNS = f"""
    SELECT run_id, finished_at, sources_found, sources_new, sources_rejected, paragraphs_seen,
        texts_new
    FROM runs ORDER BY run_id DESC LIMIT {_ROWS}
"""
_REUSED = f"""
    SELECT p.text, count(DISTINCT o.document_id) AS documents, min(p.uri) AS uri
    FROM paragraphs p
    JOIN folds f USING (paragraph_id)
    JOIN occurrences o ON o.text_id = f.text_id
    WHERE p.words >= 20
    GROUP BY p.paragraph_id, p.text HAVING documents > 1
    ORDER BY documents DESC, p.text LIMIT {_ROWS}
"""
_REJECTS = """
    SELECT reason, count(*) AS sources, min(uri) AS uri FROM rejects GROUP BY reason ORDER BY ALL
"""


def render_report(name: str, snapshot: Snapshot) -> str:
    """Return what an archive holds: counts, last runs, most reused paragraphs, rejects by reason.

    Args:
        name: how the archive is called on the page.
        snapshot: the version to tell of.
    """
    manifest = snapshot.manifest
    with connect(snapshot) as connection:
        [counts] = connection.sql(_COUNTS).fetchall()
        runs, reused, rejects = (
            connection.sql(query).fetchall() for query in (_RUNS, _REUSED, _REJECTS)
        )
    sources, documents, places, paragraphs, variants, overlaps, rejected = counts
    share = (paragraphs + variants) / max(1, places)
    parts = [
        f"# {_cell(name)}, version {manifest.version}",
        f"Published {manifest.published_at[:19]} UTC by {_cell(manifest.operation)}.",
        (
            f"{sources:,} sources, {documents:,} documents, {rejected:,} sources rejected.\n"
            f"{places:,} paragraphs seen = {paragraphs:,} kept + {variants:,} folded + "
            f"{places - paragraphs - variants:,} repeated word for word; {share:.0%} differ.\n"
            f"{overlaps:,} overlaps between texts."
        ),
        "## Last runs",
        _table(
            ["run", "finished", "sources found", "new", "rejected", "paragraphs seen", "new texts"],
            runs,
        ),
        "## Most reused paragraphs",
        _table(
            ["documents", "paragraph", "first in"],
            [(count, text, name_of(uri)) for text, count, uri in reused],
        ),
        "## Rejected sources",
        _table(
            ["reason", "sources", "for example"],
            [(reason, count, name_of(uri)) for reason, count, uri in rejects],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [" | ".join(map(_cell, row)) for row in rows]
    if not lines:
        return "None."
    ruler = " | ".join("---" for _ in head)
    return "\n".join(f"| {line} |" for line in (" | ".join(head), ruler, *lines))


def _cell(value: Any) -> str:
    """Return a value as one cell, in which nothing is markup."""
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, int):
        return f"{value:,}"
    text = printable(" ".join(str(value).split()))
    text = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " …"
    return "".join(f"\\{one}" if one in "\\|`*_[]#~" else one for one in html.escape(text, False))
