"""The values of the overview page, computed once since they cover the whole archive."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from palimpsest.records.balance import Balance
from palimpsest.records.settings import RECURRING_DOCUMENTS

if TYPE_CHECKING:
    from palimpsest.store.views import Connection

ORIGINS = 24
"""Most origins on the map of reuse: those with the most documents."""
MAX_BARS = 60
_LISTED = 12
_RUNS = 200
PASSAGE_WORDS = 20
"""Recurring paragraphs with fewer words, such as credits, are formulas."""

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
_RUN_TOTALS = """
    SELECT count(*) AS runs, coalesce(sum(sources_found), 0)::BIGINT AS found,
        coalesce(sum(sources_new), 0)::BIGINT AS new,
        coalesce(sum(sources_known), 0)::BIGINT AS known,
        coalesce(sum(sources_rejected), 0)::BIGINT AS rejected
    FROM runs
"""
_LAST_RUNS = f"""
    SELECT run_id, strftime(started_at AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ') AS started_at,
        epoch(finished_at - started_at) AS seconds, flow_run_id, sources_found, sources_new,
        sources_rejected, documents_new, paragraphs_seen, texts_new, overlaps_found
    FROM runs ORDER BY run_id DESC LIMIT {_RUNS}
"""
_MOST_SPREAD = """
    SELECT p.paragraph_id AS text_id, p.words, r.documents, p.text
    FROM reach r JOIN paragraphs p USING (paragraph_id)
    WHERE p.words BETWEEN {words} AND r.documents >= {documents}
    ORDER BY r.documents DESC, p.words DESC, text_id LIMIT {listed}
"""
_REUSED = _MOST_SPREAD.format(words=f"{PASSAGE_WORDS} AND 2147483647", documents=2, listed=_LISTED)
_FORMULAS = _MOST_SPREAD.format(
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
    """Return the values of the overview page; also store the origin of each document.

    Args:
        tables: the archive, with its rows numbered by ``build_catalogue``.
        catalogue: filled and indexed, except for origins.
    """
    [counts] = _rows(tables.execute(_COUNTS))
    [run_totals] = _rows(tables.execute(_RUN_TOTALS))
    by, origins, origin_count = _store_origins(catalogue)
    cells = catalogue.execute(_MAP).fetchall()
    return {
        "counts": counts,
        "balances": _balances(counts, run_totals),
        "runs": _rows(tables.execute(_LAST_RUNS)),
        "dates": _dates(catalogue),
        "languages": _rows(catalogue.execute(_LANGUAGES)),
        "origins": {
            "by": by,
            "names": origins,
            "found": origin_count,
            "cells": _cells(cells, origins),
        },
        "reused": _rows(tables.execute(_REUSED)),
        "formulas": _rows(tables.execute(_FORMULAS)),
        "pairs": [_pair(row) for row in catalogue.execute(_TOP_PAIRS)],
        "rejects": _rows(catalogue.execute(_REJECTS)),
    }


def _balances(counts: dict[str, int], run_totals: dict[str, int]) -> list[dict[str, Any]]:
    """Return input totals and what became of them; ``missing`` is 0 unless something was lost."""
    paragraphs = {
        "kept": counts["paragraphs"],
        "folded": counts["variants"],
        "repeated word for word": counts["occurrences"] - counts["texts"],
    }
    sources = {name: run_totals[name] for name in ("new", "known", "rejected")}
    balances = (
        Balance(what="sources", verb="found", total=run_totals["found"], parts=sources),
        Balance(what="paragraphs", verb="seen", total=counts["paragraphs_seen"], parts=paragraphs),
    )
    return [balance.to_dict() for balance in balances]


def _rows(cursor: Any) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _pair(row: Sequence[Any]) -> dict[str, Any]:
    names = ("document_id", "title", "uri", "published_at")
    left, right = dict(zip(names, row[:4], strict=True)), dict(zip(names, row[4:8], strict=True))
    return {"left": left, "right": right, "words": row[8]}


def _dates(catalogue: sqlite3.Connection) -> dict[str, Any]:
    """Return the number of documents by day, month, year or decade, in at most ``MAX_BARS`` bars.

    Periods without documents are included. Only decades may exceed the limit.
    """
    query = "SELECT min(published_at), max(published_at), sum(published_at IS NULL) FROM documents"
    first, last, undated = catalogue.execute(query).fetchone()
    if first is None:
        return {"by": "day", "bars": [], "undated": undated or 0}
    by, periods = next(
        (by, periods)
        for by in _PREFIX_CHARS
        if len(periods := _periods(by, first, last)) <= MAX_BARS or by == "decade"
    )
    counted = _rows(catalogue.execute(_DATES, [_PREFIX_CHARS[by]]))
    by_period = {row["period"]: row for row in counted}
    zeros = {"documents": 0, "words": 0, "reused_words": 0}
    bars = [{"period": one, **zeros, **by_period.get(one, {})} for one in periods]
    return {"by": by, "bars": [_with_bounds(bar, by) for bar in bars], "undated": undated}


_PREFIX_CHARS = {"day": 10, "month": 7, "year": 4, "decade": 3}
"""Length of the prefix of an ISO date that identifies its period."""


def _periods(by: str, first: str, last: str) -> list[str]:
    """Return all periods from that of one date to that of another, as prefixes of ISO dates.

    Example:
        >>> _periods("month", "2023-12-31T23:59:59Z", "2024-02-01T00:00:00Z")
        ['2023-12', '2024-01', '2024-02']
        >>> _periods("decade", "1987", "2004")
        ['198', '199', '200']
    """
    if by == "day":
        days = [date.fromisoformat(day[:10]).toordinal() for day in (first, last)]
        return [date.fromordinal(day).isoformat() for day in range(days[0], days[1] + 1)]
    if by == "month":
        months = [12 * int(day[:4]) + int(day[5:7]) - 1 for day in (first, last)]
        every_month = range(months[0], months[1] + 1)
        return [f"{month // 12:04}-{month % 12 + 1:02}" for month in every_month]
    chars = _PREFIX_CHARS[by]
    years = range(int(first[:chars]), int(last[:chars]) + 1)
    return [f"{year:0{chars}}" for year in years]


def _with_bounds(bar: dict[str, Any], by: str) -> dict[str, Any]:
    """Return a bar with its first and last date of publication, ``since`` and ``until``."""
    period = bar["period"]
    if by != "decade":
        return bar | {"since": period, "until": period}
    return bar | {"period": f"{period}0s", "since": f"{period}0", "until": f"{period}9"}


def _store_origins(catalogue: sqlite3.Connection) -> tuple[str, list[str], int]:
    """Store the origin of each document.

    Origins are sites if there are several, else series, else folders. Folders with one day each are
    not useful origins; then the month or year of publication is taken.

    Returns:
        the kind of origin, the names of the largest ones, and the number of origins.
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
    by = next((by for by, labels in choices.items() if _are_useful(labels)), "folder")
    labels = choices[by]
    numbered = ((label, row[0]) for label, row in zip(labels, rows, strict=True))
    catalogue.executemany("UPDATE documents SET origin = ? WHERE number = ?", numbered)
    counts = Counter(label for label in labels if label is not None)
    return by, sorted(label for label, _ in counts.most_common(ORIGINS)), len(counts)


def _are_useful(labels: Sequence[str | None]) -> bool:
    """Return whether there are at least two origins and the largest cover half the documents."""
    counts = Counter(label for label in labels if label is not None).most_common(ORIGINS)
    return len(counts) > 1 and 2 * sum(count for _, count in counts) >= len(labels)


def _folders(uris: Iterable[str]) -> list[str]:
    """Return the folder of each URI, relative to the deepest folder that contains all of them.

    Example:
        >>> _folders(["file:///a/x/1.txt", "file:///a/y/z/2.txt"])
        ['x', 'y']
    """
    parents = [PurePosixPath(unquote(urlsplit(uri).path)).parent.parts for uri in uris]
    depth = 0
    for parts in zip(*parents, strict=False):
        if len(set(parts)) > 1:
            break
        depth += 1
    return [parts[depth] if len(parts) > depth else "." for parts in parents]


def _cells(rows: Iterable[Sequence[Any]], origins: Sequence[str]) -> list[dict[str, Any]]:
    known = set(origins)
    return [
        {"earlier": earlier, "later": later, "pairs": pairs, "words": words}
        for earlier, later, pairs, words in rows
        if earlier in known and later in known
    ]
