"""A report as Markdown, in which nothing of an article is markup."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from palimpsest.inspector.terminal import name_of, printable

_ROWS = 10
_LONGEST_TEXT = 120


def render_markdown(told: Mapping[str, Any]) -> str:
    """Return what ``inspector.report.build_report`` tells, but for passages and plots."""
    counts = told["counts"]
    share = counts["distinct_words"] / max(1, counts["words"])
    parts = [
        f"# {_cell(told['archive'])}, version {told['version']}",
        f"Published {told['published_at'][:19]} UTC by {_cell(told['operation'])}.",
        (
            f"{counts['sources']:,} sources, {counts['documents']:,} documents, "
            f"{counts['rejects']:,} sources rejected; {counts['overlaps']:,} overlaps between "
            f"texts, {counts['pairs']:,} pairs of documents that share passages. "
            f"{share:.0%} of {counts['words']:,} words are new text."
        ),
        "\n".join(f"- {_balance(one)}" for one in told["balances"]),
        "## Last runs",
        _table(
            ["run", "started", "sources found", "new", "rejected", "paragraphs seen", "new texts"],
            ([run[name] for name in _OF_RUN] for run in told["runs"][:_ROWS]),
        ),
        "## Documents that share the most",
        _table(
            ["words", "earlier", "later"],
            (
                (pair["words"], pair["left"]["name"], pair["right"]["name"])
                for pair in told["pairs"][:_ROWS]
            ),
        ),
        "## Most reused paragraphs",
        _table(
            ["documents", "paragraph", "first in"],
            (
                (row["documents"], row["text"], name_of(row["witnesses"][0]["uri"]))
                for row in told["reused"][:_ROWS]
            ),
        ),
        "## Recurring formulas",
        _table(
            ["documents", "text"],
            ((row["documents"], row["text"]) for row in told["formulas"][:_ROWS]),
        ),
        "## Rejected sources",
        _table(
            ["reason", "sources", "example"],
            ((one["reason"], one["sources"], name_of(one["uri"])) for one in told["rejects"]),
        ),
    ]
    return "\n\n".join(parts) + "\n"


_OF_RUN = (
    *("run_id", "started_at", "sources_found", "sources_new", "sources_rejected"),
    *("paragraphs_seen", "texts_new"),
)


def _balance(one: Mapping[str, Any]) -> str:
    """Return an equation, and whether it holds."""
    parts = " + ".join(f"{part['count']:,} {part['name']}" for part in one["parts"])
    verdict = (
        f"**does not balance: {one['missing']:,}**" if one["missing"] else "nothing is missing"
    )
    return f"{one['total']:,} {one['what']} {one['verb']} = {parts}: {verdict}"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [" | ".join(map(_cell, row)) for row in rows]
    if not lines:
        return "None."
    ruler = " | ".join("---" for _ in head)
    return "\n".join(f"| {line} |" for line in (" | ".join(head), ruler, *lines))


def _cell(value: Any) -> str:
    """Return a value as one cell, in which nothing is markup."""
    if isinstance(value, int):
        return f"{value:,}"
    text = printable(" ".join(str(value).split()))
    text = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " …"
    return "".join(f"\\{one}" if one in "\\|`*_[]#~" else one for one in html.escape(text, False))
