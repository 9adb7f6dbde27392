"""Render a report as Markdown, with all markup in articles escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from palimpsest.inspector.terminal import name_of, printable
from palimpsest.records.balance import Balance

_ROWS = 10
_LONGEST_TEXT = 120


def render_markdown(report: Mapping[str, Any]) -> str:
    """Return the values of ``inspector.report.build_report`` without passages and plots."""
    parts = [
        f"# {_cell(report['archive'])}, version {report['version']}",
        f"Published {report['published_at'][:19]} UTC by {_cell(report['operation'])}.",
        _totals(report["counts"]),
        "\n".join(f"- {_balance_line(Balance.from_dict(values))}" for values in report["balances"]),
        "## Last runs",
        _table(
            ["run", "started", "sources found", "new", "rejected", "paragraphs seen", "new texts"],
            ([run[name] for name in _RUN_COLUMNS] for run in report["runs"][:_ROWS]),
        ),
        "## Documents that share the most",
        _table(
            ["words", "earlier", "later"],
            (
                (pair["words"], pair["left"]["name"], pair["right"]["name"])
                for pair in report["pairs"][:_ROWS]
            ),
        ),
        "## Most reused paragraphs",
        _table(
            ["documents", "paragraph", "first in"],
            (
                (row["documents"], row["text"], name_of(row["witnesses"][0]["uri"]))
                for row in report["reused"][:_ROWS]
            ),
        ),
        "## Recurring formulas",
        _table(
            ["documents", "text"],
            ((row["documents"], row["text"]) for row in report["formulas"][:_ROWS]),
        ),
        "## Rejected sources",
        _table(
            ["reason", "sources", "example"],
            ((row["reason"], row["sources"], name_of(row["uri"])) for row in report["rejects"]),
        ),
    ]
    return "\n\n".join(parts) + "\n"


_RUN_COLUMNS = (
    *("run_id", "started_at", "sources_found", "sources_new", "sources_rejected"),
    *("paragraphs_seen", "texts_new"),
)


def _totals(counts: Mapping[str, int]) -> str:
    share = counts["distinct_words"] / max(1, counts["words"])
    return (
        f"{counts['sources']:,} sources, {counts['documents']:,} documents, "
        f"{counts['rejects']:,} sources rejected; {counts['overlaps']:,} overlaps between "
        f"texts, {counts['pairs']:,} pairs of documents that share passages. "
        f"{share:.0%} of {counts['words']:,} words are new text."
    )


def _balance_line(balance: Balance) -> str:
    """Return an equation, and whether it holds."""
    return f"{balance.total_text} = {balance.parts_text}: {balance.verdict}"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [" | ".join(map(_cell, row)) for row in rows]
    if not lines:
        return "None."
    ruler = " | ".join("---" for _ in head)
    return "\n".join(f"| {line} |" for line in (" | ".join(head), ruler, *lines))


def _cell(value: Any) -> str:
    """Return a value as a table cell, with markup escaped and long text shortened."""
    if isinstance(value, int):
        return f"{value:,}"
    text = printable(" ".join(str(value).split()))
    text = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " …"
    escaped = html.escape(text, quote=False)
    return "".join(f"\\{char}" if char in "\\|`*_[]#~" else char for char in escaped)
