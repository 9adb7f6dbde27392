"""Plots as SVG and as tables of shades, drawn on the server so that no script is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from markupsafe import Markup

SHADES = 6
_WIDTH, _HEIGHT, _FOOT = 720, 150, 22
_LABELS = 8
_STACKED = 9
_LABEL_WIDTH = 110
"""Width of a date in the larger font of small screens."""


class Bar(NamedTuple):
    """A bar of a plot.

    Attributes:
        label: text below it.
        height: at least 0.
        shaded: the part of the height that is shaded.
        title: text shown when pointed at.
    """

    label: str
    height: float
    shaded: float
    title: str


def bar_chart(bars: Sequence[Bar], description: str) -> Markup:
    """Return a bar chart with at most ``_LABELS`` labels below.

    Args:
        bars: from left to right.
        description: what the plot shows, for screen readers.
    """
    highest = max((bar.height for bar in bars), default=0) or 1
    step = _WIDTH / max(1, len(bars))
    width = min(step * 0.8, 60)
    label_step = -(-len(bars) // _LABELS) or 1
    parts = []
    for number, bar in enumerate(bars):
        left = number * step + (step - width) / 2
        parts.append(Markup("<g><title>{}</title>").format(bar.title))
        for size, css_class in ((bar.height, "bar"), (bar.shaded, "bar shaded")):
            height = (_HEIGHT - _FOOT - 4) * size / highest
            parts.append(_rectangle(left, _HEIGHT - _FOOT - height, width, height, css_class))
        parts.append(Markup("</g>"))
        if number % label_step == 0:
            x, anchor = _label_position(number * step + step / 2)
            parts.append(_label(x, _HEIGHT - 6, bar.label, anchor))
    return _drawing(_HEIGHT, description, parts)


def _label_position(middle: float) -> tuple[float, str]:
    """Return x and text-anchor of a label such that it is not cut off at either end."""
    if middle < _LABEL_WIDTH / 2:
        return 0, "start"
    if middle > _WIDTH - _LABEL_WIDTH / 2:
        return _WIDTH, "end"
    return middle, "middle"


def run_bars(runs: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return a bar for each of the last runs, the earliest on the left."""
    return [
        Bar(
            run["started_at"][:10],
            run["paragraphs_seen"],
            min(run["texts_new"], run["paragraphs_seen"]),
            f"{run['run_id']}: {run['paragraphs_seen']:,} paragraphs, {run['texts_new']:,} new",
        )
        for run in reversed(runs)
    ]


def date_bars(periods: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return documents by date as bars, shaded by the share of their words that is reused."""
    return [
        Bar(
            period["period"],
            period["documents"],
            period["documents"] * period["reused_words"] / max(1, period["words"]),
            f"{period['period']}: {period['documents']:,} documents, "
            f"{period['reused_words'] / max(1, period['words']):.0%} reused",
        )
        for period in periods
    ]


def time_line(rows: Sequence[Mapping[str, Any]], description: str) -> Markup:
    """Return dated rows as dots on a line, stacked where they are close together.

    Args:
        rows: ``published_at`` as YYYY-MM-DDTHH:MM:SSZ or None, ``name`` and ``document_id``.
        description: what the plot shows, for screen readers.
    """
    dated = [(_seconds(row["published_at"]), row) for row in rows if row["published_at"]]
    if not dated:
        return Markup("")
    first, last = min(at for at, _ in dated), max(at for at, _ in dated)
    dots, stack_heights = [], Counter[int]()
    for at, row in dated:
        x = round(20 + (_WIDTH - 40) * ((at - first) / (last - first) if last > first else 0.5))
        dots.append((x, min(stack_heights[x // 9], _STACKED), row))
        stack_heights[x // 9] += 1
    base = 14 + 9 * max(level for _, level, _ in dots)
    parts = [_dot(x, base - 9 * level, row) for x, level, row in dots]
    parts.append(Markup('<path class="axis" d="M12 {}H{}"/>').format(base + 8, _WIDTH - 12))
    ends = [(20, first, "start"), (_WIDTH - 20, last, "end")] if last > first else []
    for x, at, anchor in ends or [(_WIDTH // 2, first, "middle")]:
        day = datetime.fromtimestamp(at, tz=UTC)
        parts.append(_label(x, base + 24, f"{day:%Y-%m-%d}", anchor))
    return _drawing(base + 30, description, parts, role="group")


def _dot(x: int, y: int, row: Mapping[str, Any]) -> Markup:
    title = f"{row['published_at'][:10]}: {row['name']}"
    return Markup(
        '<a href="/documents/{}" aria-label="{}"><title>{}</title>'
        '<circle class="dot" cx="{}" cy="{}" r="4"/></a>'
    ).format(row["document_id"], title, title, x, y)


def heat_map(names: Sequence[str], cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the map of reuse as rows of cells with words, pairs and a shade (0 to ``SHADES``).

    Args:
        names: origins, in the order of rows and columns.
        cells: ``earlier``, ``later``, ``pairs`` and ``words``; missing cells are empty.
    """
    by_origins = {(cell["earlier"], cell["later"]): cell for cell in cells}
    most = max((cell["words"] for cell in cells), default=0) or 1
    rows = []
    for earlier in names:
        row = []
        for later in names:
            cell = by_origins.get((earlier, later), {"pairs": 0, "words": 0})
            # The square root keeps small values visible, since a few origins share most words.
            shade = -(-SHADES * (cell["words"] / most) ** 0.5 // 1)
            counts = {name: cell[name] for name in ("pairs", "words")}
            row.append({"later": later, **counts, "shade": int(shade)})
        rows.append({"earlier": earlier, "cells": row})
    return rows


def _seconds(date: str) -> float:
    return datetime.fromisoformat(date).timestamp()


def _rectangle(x: float, y: float, width: float, height: float, css_class: str) -> Markup:
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        css_class, x, y, width, height
    )


def _label(x: float, y: float, text: str, anchor: str = "middle") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, text
    )


def _drawing(height: int, description: str, parts: Sequence[Markup], role: str = "img") -> Markup:
    start = Markup('<svg class="plot" viewBox="0 0 {} {}" role="{}" aria-label="{}">').format(
        _WIDTH, height, role, description
    )
    return start + Markup("").join(parts) + Markup("</svg>")
