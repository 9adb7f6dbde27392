"""What the first page tells of an archive, made with the catalogue since it looks at all of it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from records.settings import RECURRING_DOCUMENTS

if TYPE_CHECKING:
    from store.views import Connection

ORIGINS = 24
"""So many origins are told apart on the map of reuse, those with most documents."""
MAX_BARS = 60
_LISTED = 12
_RUNS = 200
PASSAGE_WORDS = 20
"""Paragraphs of fewer words are formulas, such as credits, if they recur."""

_COUNTS = """
    SELECT (SELECT count(*) FROM sources) AS sources, (SELECT count(*) FROM d) AS documents,
        (SELECT count(*) FROM o) AS occurrences,
        (SELECT count(*) FROM paragraphs) AS paragraphs,
        (SELECT count(*) FROM variants) AS variants,
        (SELECT count(*) FROM "overlaps") AS overlaps,
        (SELECT count(*) FROM rejects) AS rejects,
        (SELECT count(*) FROM removals) AS removals,
        (SELECT count(*) FROM p) AS pairs,
        (SELECT coalesce(sum(words), 0) FROM d)::BIGINT AS words,
        (SELECT coalesce(sum(words), 0) FROM t)::BIGINT AS distinct_words,
        (SELECT coalesce(sum(words), 0) FROM paragraphs)::BIGINT AS kept_words,
        (SELECT coalesce(sum(bytes), 0) FROM d)::BIGINT AS bytes,
        (SELECT coalesce(sum(paragraphs), 0) FROM d)::BIGINT AS paragraphs_seen,
        (SELECT count(DISTINCT text) FROM o) AS texts
"""
_OF_RUNS = """
    SELECT count(*) AS runs, coalesce(sum(sources_found), 0)::BIGINT AS found,
        coalesce(sum(sources_new), 0)::BIGINT AS new,
        coalesce(sum(sources_known), 0)::BIGINT AS known,
        coalesce(sum(sources_rejected), 0)::BIGINT AS rejected
    FROM runs
"""
_RUNS_TOLD = f"""
    SELECT run_id, strftime(started_at AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS started_at,
        epoch(finished_at - started_at) AS seconds, flow_run_id, sources_found, sources_new,
        sources_rejected, documents_new, paragraphs_seen, texts_new, overlaps_found
    FROM runs ORDER BY run_id DESC LIMIT {_RUNS}
"""
_REACHING = """
    SELECT p.paragraph_id AS text_id, p.words, r.documents, p.text
    FROM reach r JOIN paragraphs p USING (paragraph_id)
    WHERE p.words BETWEEN {words} AND r.documents >= {documents}
    ORDER BY r.documents DESC, p.words DESC, text_id LIMIT {listed}
"""
_REUSED = _REACHING.format(words=f"{PASSAGE_WORDS} AND 2147483647", documents=2, listed=_LISTED)
_FORMULAS = _REACHING.format(
    words=f"2 AND {PASSAGE_WORDS - 1}", documents=RECURRING_DOCUMENTS, listed=_LISTED
)
_REJECTS = "SELECT reason, count(*) AS sources, min(uri) AS uri FROM rejects GROUP BY 1 ORDER BY 1"
_LANGUAGES = """
    SELECT language, count(*) AS documents FROM documents GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 12
"""
_DATES = """
    SELECT substr(published_at, 1, ?) AS period, count(*) AS documents,
        sum(words) AS words, sum(reused_words) AS reused_words
    FROM documents WHERE published_at IS NOT NULL GROUP BY 1 ORDER BY 1
"""
_TOP_PAIRS = f"""
    SELECT a.document_id, a.title, a.uri, a.published_at,
        b.document_id, b.title, b.uri, b.published_at, p.own
    FROM pairs p JOIN documents a ON a.number = p.one JOIN documents b ON b.number = p.other
    WHERE p.own > 0 AND p.one < p.other
    ORDER BY p.own DESC, p.one, p.other LIMIT {_LISTED}
"""
_MAP = """
    SELECT a.origin, b.origin, count(*), sum(p.own)
    FROM pairs p JOIN documents a ON a.number = p.one JOIN documents b ON b.number = p.other
    WHERE p.own > 0 AND p.one < p.other GROUP BY 1, 2
"""


def build_overview(tables: Connection, catalogue: sqlite3.Connection) -> dict[str, Any]:
    """Return what the first page tells; on the way each document is told its origin.

    Args:
        tables: the archive, with its rows numbered as ``build`` does.
        catalogue: filled and indexed, but for origins.
    """
    [counts] = _told(tables.execute(_COUNTS))
    [of_runs] = _told(tables.execute(_OF_RUNS))
    by, origins, found = _tell_origins(catalogue)
    cells = catalogue.execute(_MAP).fetchall()
    return {
        "counts": counts,
        "balances": _balances(counts, of_runs),
        "runs": _told(tables.execute(_RUNS_TOLD)),
        "dates": _dates(catalogue),
        "languages": _told(catalogue.execute(_LANGUAGES)),
        "origins": {
            "by": by,
            "names": origins,
            "found": found,
            "cells": _cells(cells, origins),
        },
        "reused": _told(tables.execute(_REUSED)),
        "formulas": _told(tables.execute(_FORMULAS)),
        "pairs": [_pair(row) for row in catalogue.execute(_TOP_PAIRS)],
        "rejects": _told(catalogue.execute(_REJECTS)),
    }


def _balances(counts: dict[str, int], of_runs: dict[str, int]) -> list[dict[str, Any]]:
    """Return what came in, and what became of it; ``missing`` is 0 unless something was lost."""
    paragraphs = {
        "kept": counts["paragraphs"],
        "folded": counts["variants"],
        "repeated word for word": counts["occurrences"] - counts["texts"],
    }
    sources = {name: of_runs[name] for name in ("new", "known", "rejected")}
    told = (
        ("sources", "found", of_runs["found"], sources),
        ("paragraphs", "seen", counts["paragraphs_seen"], paragraphs),
    )
    return [
        {
            "what": what,
            "verb": verb,
            "total": total,
            "parts": [{"name": name, "count": count} for name, count in parts.items()],
            "missing": total - sum(parts.values()),
        }
        for what, verb, total, parts in told
    ]


def _told(cursor: Any) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _pair(row: Sequence[Any]) -> dict[str, Any]:
    names = ("document_id", "title", "uri", "published_at")
    left, right = dict(zip(names, row[:4], strict=True)), dict(zip(names, row[4:8], strict=True))
    return {"left": left, "right": right, "words": row[8]}


def _dates(catalogue: sqlite3.Connection) -> dict[str, Any]:
    """Return documents by day, month, year or decade, in not too many bars; none is left out."""
    query = "SELECT min(published_at), max(published_at), sum(published_at IS NULL) FROM documents"
    first, last, undated = catalogue.execute(query).fetchone()
    if first is None:
        return {"by": "day", "bars": [], "undated": undated or 0}
    by, periods = next(
        (by, periods)
        for by in _LETTERS
        if len(periods := _periods(by, first, last)) <= MAX_BARS or by == "decade"
    )
    found = {row["period"]: row for row in _told(catalogue.execute(_DATES, [_LETTERS[by]]))}
    nothing = {"documents": 0, "words": 0, "reused_words": 0}
    bars = [{"period": one, **nothing, **found.get(one, {})} for one in periods]
    return {"by": by, "bars": [_between(bar, by) for bar in bars], "undated": undated}


_LETTERS = {"day": 10, "month": 7, "year": 4, "decade": 3}
"""How many letters of a date tell its period."""


def _periods(by: str, first: str, last: str) -> list[str]:
    """Return all periods from that of one date to that of another, as their dates begin.

    Example:
        >>> _periods("month", "2023-12-31T23:59:59Z", "2024-02-01T00:00:00Z")
        ['2023-12', '2024-01', '2024-02']
        >>> _periods("decade", "1987", "2004")
        ['198', '199', '200']
    """
    if by == "day":
        days = [date.fromisoformat(one[:10]).toordinal() for one in (first, last)]
        return [date.fromordinal(one).isoformat() for one in range(days[0], days[1] + 1)]
    if by == "month":
        months = [12 * int(one[:4]) + int(one[5:7]) - 1 for one in (first, last)]
        counted = range(months[0], months[1] + 1)
        return [f"{one // 12:04}-{one % 12 + 1:02}" for one in counted]
    letters = _LETTERS[by]
    years = range(int(first[:letters]), int(last[:letters]) + 1)
    return [f"{one:0{letters}}" for one in years]


def _between(bar: dict[str, Any], by: str) -> dict[str, Any]:
    """Return a bar with the dates between which its documents were published."""
    period = bar["period"]
    if by != "decade":
        return bar | {"since": period, "until": period}
    return bar | {"period": f"{period}0s", "since": f"{period}0", "until": f"{period}9"}


def _tell_origins(catalogue: sqlite3.Connection) -> tuple[str, list[str], int]:
    """Write where each document comes from.

    Sites are told apart if there are several, else series, else folders; folders of a day each
    tell nothing, so then it is the month or year of publication.

    Returns:
        by what that is told, the largest origins, and how many there are.
    """
    query = "SELECT number, site, series, uri, published_at FROM documents ORDER BY number"
    rows = catalogue.execute(query).fetchall()
    folders = _folders([row[3] for row in rows])
    choices = {
        "site": [row[1] for row in rows],
        "series": [row[2] for row in rows],
        "folder": folders,
        "month": [row[4] and row[4][:7] for row in rows],
        "year": [row[4] and row[4][:4] for row in rows],
    }
    by = next((by for by, labels in choices.items() if _tells(labels)), "folder")
    labels = choices[by]
    numbered = ((label, row[0]) for label, row in zip(labels, rows, strict=True))
    catalogue.executemany("UPDATE documents SET origin = ? WHERE number = ?", numbered)
    counts = Counter(label for label in labels if label is not None)
    return by, sorted(label for label, _ in counts.most_common(ORIGINS)), len(counts)


def _tells(labels: Sequence[str | None]) -> bool:
    """Tell whether there are at least two origins, and the largest have half of the documents."""
    counts = Counter(label for label in labels if label is not None).most_common(ORIGINS)
    return len(counts) > 1 and 2 * sum(count for _, count in counts) >= len(labels)


def _folders(uris: Iterable[str]) -> list[str]:
    """Return the folder of each URI below the one that all are in.

    Example:
        >>> _folders(["file:///a/x/1.txt", "file:///a/y/z/2.txt"])
        ['x', 'y']
    """
    parents = [PurePosixPath(unquote(urlsplit(uri).path)).parent.parts for uri in uris]
    shared = 0
    for parts in zip(*parents, strict=False):
        if len(set(parts)) > 1:
            break
        shared += 1
    return [parts[shared] if len(parts) > shared else "." for parts in parents]


def _cells(rows: Iterable[Sequence[Any]], origins: Sequence[str]) -> list[dict[str, Any]]:
    known = set(origins)
    return [
        {"earlier": earlier, "later": later, "pairs": pairs, "words": words}
        for earlier, later, pairs, words in rows
        if earlier in known and later in known
    ]
