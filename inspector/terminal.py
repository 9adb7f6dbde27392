"""Tables, passages and summaries as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from records.schemas import TABLES
from store.archive import Snapshot

_LONG_CELL = 80


def overview(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return each table's name, rows, bytes and columns."""
    files = snapshot.manifest.files
    return [
        {
            "table": name,
            "rows": snapshot.rows(name),
            "bytes": sum(int(file["bytes"]) for file in files[name]),
            "columns": schema.names,
        }
        for name, schema in TABLES.items()
    ]


def render_overview(archive: str, snapshot: Snapshot) -> RenderableType:
    """Show what an archive holds."""
    table = Table(title=f"{archive}, version {snapshot.manifest.version}", title_justify="left")
    table.add_column("table")
    table.add_column("rows", justify="right")
    table.add_column("kB", justify="right")
    table.add_column("columns", overflow="fold")
    for row in overview(snapshot):
        kilobytes = f"{row['bytes'] / 1000:,.0f}"
        table.add_row(row["table"], f"{row['rows']:,}", kilobytes, " ".join(row["columns"]))
    return table


def render_rows(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Show rows one below the other, a line a column, so that any terminal is wide enough."""
    return Group(*_rows(rows)) if rows else Text("no rows")


def _rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    for row in rows:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="cyan", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in row.items():
            if value is not None and value != []:
                grid.add_row(name, Text(_cell(value)))
        yield grid
        yield Text("")


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    text = printable(str(value))
    return text if len(text) <= 4 * _LONG_CELL else text[: 4 * _LONG_CELL] + " …"


def printable(text: str) -> str:
    """Return text without what could steer a terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)


def render_passages(passages: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Show passages of an archive, the earlier document first."""
    if not passages:
        return Text("no passages")
    parts: list[RenderableType] = []
    for row in passages:
        parts.append(_headline(row))
        for side in ("left", "right"):
            where = f"{row[f'{side}_start_char']}–{row[f'{side}_end_char']}"
            parts.append(Text(f"{name_of(row[f'{side}_uri'])} {where}", style="cyan", overflow="fold"))
            parts.append(Text("  " + _cell(row[f"{side}_passage"])))
        parts.append(Text(""))
    return Group(*parts)


def render_comparison(result: Mapping[str, Any]) -> RenderableType:
    """Show what two files share."""
    parts: list[RenderableType] = []
    for row in result["passages"]:
        parts.append(_headline(row))
        for side in ("left", "right"):
            span = row[side]
            place = (
                f"{result[side]['path']} characters {span['start_char']}–{span['end_char']}, "
                f"bytes {span['start_byte']}–{span['end_byte']}"
            )
            parts.append(Text(printable(place), style="cyan", overflow="fold"))
            parts.append(Text("  " + _cell(span["text"])))
        parts.append(Text(""))
    count = len(result["passages"])
    parts.append(Text(f"{count} shared passage{'' if count == 1 else 's'}", style="bold"))
    return Group(*parts)


def _headline(row: Mapping[str, Any]) -> Text:
    words, resemblance = row["matched_words"], row["resemblance"]
    return Text(f"{row['relation']}, {words} words, resemblance {resemblance:.2f}", style="bold")


def name_of(uri: str) -> str:
    """Return a URI as people write the path."""
    return printable(unquote(uri.removeprefix("file://")))


def render_summary(summary: Mapping[str, Any]) -> RenderableType:
    """Show what a run did."""
    s = summary
    lines = [
        f"sources     {s['sources_found']:,} found = {s['sources_new']:,} new + "
        f"{s['sources_known']:,} known + {s['sources_rejected']:,} rejected",
    ]
    if s["rejects_by_reason"]:
        reasons = ", ".join(f"{count:,} {name}" for name, count in s["rejects_by_reason"].items())
        lines.append(f"rejected    {reasons}")
    if s["sources_new"]:
        lines += [
            f"documents   {s['documents_new']:,} new",
            f"paragraphs  {s['paragraphs_seen']:,} seen = {s['paragraphs_kept']:,} kept + "
            f"{s['paragraphs_folded']:,} folded + {s['paragraphs_repeated']:,} repeated word for word",
            f"passages    {s['overlaps_found']:,} found between {s['candidates']:,} candidate pairs",
        ]
    if s["buckets_capped"]:
        lines.append(f"capped      {s['buckets_capped']:,} crowded buckets, not paired in full")
    lines.append(
        f"time        {s['seconds']:.1f} s, {s['bytes_read'] / 1e6:,.1f} MB read, "
        f"{s['megabytes_per_second']:.1f} MB/s"
    )
    version = s["version"]
    lines.append(
        f"archive     {s['archive']} "
        + (f"is now at version {version}" if version else "is as it was: nothing is new")
    )
    return Text(printable("\n".join(lines)))
