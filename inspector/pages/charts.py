"""Plots as SVG and as tables of shades, made here so that no script is needed to see them."""

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
"""Of a day, in the larger letters of small screens."""


class Bar(NamedTuple):
    """A bar: how it is called, how high it is, how much of that is shaded, and what it says."""

    label: str
    height: float
    shaded: float
    told: str


def bars(given: Sequence[Bar], named: str) -> Markup:
    """Return bars side by side, the labels of some below.

    Args:
        given: the bars, in order; heights at least 0, of which ``shaded`` is a part.
        named: what the plot shows, for who cannot see it.
    """
    highest = max((bar.height for bar in given), default=0) or 1
    step = _WIDTH / max(1, len(given))
    wide = min(step * 0.8, 60)
    every = -(-len(given) // _LABELS) or 1
    parts = []
    for number, bar in enumerate(given):
        left = number * step + (step - wide) / 2
        parts.append(Markup("<g><title>{}</title>").format(bar.told))
        for size, name in ((bar.height, "bar"), (bar.shaded, "bar shaded")):
            high = (_HEIGHT - _FOOT - 4) * size / highest
            parts.append(_rectangle(left, _HEIGHT - _FOOT - high, wide, high, name))
        parts.append(Markup("</g>"))
        if number % every == 0:
            place = number * step + step / 2
            anchor = "middle"
            if place < _LABEL_WIDTH / 2:  # or it would be cut off
                place, anchor = 0, "start"
            elif place > _WIDTH - _LABEL_WIDTH / 2:
                place, anchor = _WIDTH, "end"
            parts.append(_label(place, _HEIGHT - 6, bar.label, anchor))
    return _drawing(_HEIGHT, named, parts)


def run_bars(runs: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return the paragraphs of the last runs as bars, the first run on the left."""
    return [
        Bar(
            run["started_at"][:10],
            run["paragraphs_seen"],
            min(run["texts_new"], run["paragraphs_seen"]),
            f"{run['run_id']}: {run['paragraphs_seen']:,} paragraphs, {run['texts_new']:,} new",
        )
        for run in reversed(runs)
    ]


def date_bars(bars_told: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return documents by date as bars, shaded by the share of their words that is reused."""
    return [
        Bar(
            bar["period"],
            bar["documents"],
            bar["documents"] * bar["reused_words"] / max(1, bar["words"]),
            f"{bar['period']}: {bar['documents']:,} documents, "
            f"{bar['reused_words'] / max(1, bar['words']):.0%} reused",
        )
        for bar in bars_told
    ]


def time_line(rows: Sequence[Mapping[str, Any]], named: str) -> Markup:
    """Return dated rows as dots on a line, those of a moment one above the other.

    Args:
        rows: ``published_at`` as YYYY-MM-DDTHH:MM:SSZ or None, ``name`` and ``document_id``.
        named: what the plot shows, for who cannot see it.
    """
    dated = [(_seconds(row["published_at"]), row) for row in rows if row["published_at"]]
    if not dated:
        return Markup("")
    first, last = min(at for at, _ in dated), max(at for at, _ in dated)
    placed, stacked = [], Counter[int]()
    for at, row in dated:
        x = round(20 + (_WIDTH - 40) * ((at - first) / (last - first) if last > first else 0.5))
        placed.append((x, min(stacked[x // 9], _STACKED), row))
        stacked[x // 9] += 1
    base = 14 + 9 * max(level for _, level, _ in placed)
    parts = [_dot(x, base - 9 * level, row) for x, level, row in placed]
    parts.append(Markup('<path class="axis" d="M12 {}H{}"/>').format(base + 8, _WIDTH - 12))
    ends = [(20, first, "start"), (_WIDTH - 20, last, "end")] if last > first else []
    for x, at, anchor in ends or [(_WIDTH // 2, first, "middle")]:
        day = datetime.fromtimestamp(at, tz=UTC)
        parts.append(_label(x, base + 24, f"{day:%Y-%m-%d}", anchor))
    return _drawing(base + 30, named, parts, role="group")


def _dot(x: int, y: int, row: Mapping[str, Any]) -> Markup:
    told = f"{row['published_at'][:10]}: {row['name']}"
    return Markup(
        '<a href="/documents/{}" aria-label="{}"><title>{}</title>'
        '<circle class="dot" cx="{}" cy="{}" r="4"/></a>'
    ).format(row["document_id"], told, told, x, y)


def heat_map(names: Sequence[str], cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a map of reuse as rows of cells: words, pairs and a shade from 0 to ``SHADES``.

    Args:
        names: of origins, in the order of rows and columns.
        cells: ``earlier``, ``later``, ``pairs`` and ``words``; a cell that is not there is empty.
    """
    by_place = {(cell["earlier"], cell["later"]): cell for cell in cells}
    most = max((cell["words"] for cell in cells), default=0) or 1
    rows = []
    for earlier in names:
        row = []
        for later in names:
            cell = by_place.get((earlier, later), {"pairs": 0, "words": 0})
            # By the square root, since few origins share most of all.
            shade = -(-SHADES * (cell["words"] / most) ** 0.5 // 1)
            row.append({"later": later, **_only(cell, "pairs", "words"), "shade": int(shade)})
        rows.append({"earlier": earlier, "cells": row})
    return rows


def _only(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _seconds(told: str) -> float:
    return datetime.fromisoformat(told).timestamp()


def _rectangle(x: float, y: float, width: float, height: float, name: str) -> Markup:
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        name, x, y, width, height
    )


def _label(x: float, y: float, text: str, anchor: str = "middle") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, text
    )


def _drawing(height: int, named: str, parts: Sequence[Markup], role: str = "img") -> Markup:
    head = Markup('<svg class="plot" viewBox="0 0 {} {}" role="{}" aria-label="{}">').format(
        _WIDTH, height, role, named
    )
    return head + Markup("").join(parts) + Markup("</svg>")
