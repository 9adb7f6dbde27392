"""Tables, passages and summaries as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from rich.table import Table
from rich.text import Text

from records.schemas import TABLES
from store.archive import Snapshot

_LONGEST_CELL = 320


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


def render_overview(archive: str, snapshot: Snapshot) -> Table:
    """Show what an archive holds."""
    title = Text(f"{printable(archive)}, version {snapshot.manifest.version}")  # not as markup
    table = Table(title=title, title_justify="left")
    table.add_column("table")
    table.add_column("rows", justify="right")
    table.add_column("kB", justify="right")
    table.add_column("columns", overflow="fold")
    for row in overview(snapshot):
        kilobytes = f"{row['bytes'] / 1000:,.0f}"
        table.add_row(row["table"], f"{row['rows']:,}", kilobytes, " ".join(row["columns"]))
    return table


def render_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Show rows one below the other, a line a column, so that any terminal is wide enough."""
    width = max((len(name) for row in rows for name in row), default=0)
    blocks = [
        "\n".join(
            f"{name:{width}}  {_cell(value)}"
            for name, value in row.items()
            if value is not None and value != []
        )
        for row in rows
    ]
    return "\n\n".join(blocks) or "no rows"


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    text = printable(str(value))
    return text if len(text) <= _LONGEST_CELL else text[:_LONGEST_CELL] + " …"


def printable(text: str) -> str:
    """Return text without what could steer a terminal."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text
    )


def render_passages(passages: Sequence[Mapping[str, Any]]) -> str:
    """Show passages of an archive, the earlier document first."""
    blocks = []
    for row in passages:
        lines = [_headline(row)]
        for side in ("left", "right"):
            span = f"characters {row[f'{side}_start_char']}-{row[f'{side}_end_char']}"
            lines.append(f"{name_of(row[f'{side}_uri'])}, {span}:")
            lines.append("    " + _cell(" / ".join(row[f"{side}_passage"].split("\n\n"))))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) or "no passages"


def render_comparison(result: Mapping[str, Any]) -> str:
    """Show what two files share."""
    blocks = []
    for row in result["passages"]:
        lines = [_headline(row)]
        for side in ("left", "right"):
            span = row[side]
            lines.append(
                f"{printable(result[side]['path'])}, characters {span['start_char']}-"
                f"{span['end_char']}, bytes {span['start_byte']}-{span['end_byte']}:"
            )
            lines.append("    " + _cell(span["text"]))
        blocks.append("\n".join(lines))
    count = len(blocks)
    return "\n\n".join([*blocks, f"{count} shared passage{'' if count == 1 else 's'}"])


def _headline(row: Mapping[str, Any]) -> str:
    words, resemblance = row["matched_words"], row["resemblance"]
    return f"{row['relation']}, {words} words, resemblance {resemblance:.2f}"


def name_of(uri: str) -> str:
    """Return a URI as people write the path."""
    return printable(unquote(uri.removeprefix("file://")))


def render_summary(summary: Mapping[str, Any]) -> str:
    """Show what a run did."""
    s = summary
    sources = f"{s['sources_new']:,} new + {s['sources_known']:,} known"
    rejected = f"{s['sources_rejected']:,} rejected"
    lines = [f"sources     {s['sources_found']:,} found = {sources} + {rejected}"]
    if s["rejects_by_reason"]:
        reasons = ", ".join(f"{count:,} {name}" for name, count in s["rejects_by_reason"].items())
        lines.append(f"rejected    {reasons}")
    if s["sources_new"]:
        kept = f"{s['paragraphs_kept']:,} kept + {s['paragraphs_folded']:,} folded"
        repeated = f"{s['paragraphs_repeated']:,} repeated word for word"
        pairs = f"{s['candidates']:,} candidate pairs"
        lines += [
            f"documents   {s['documents_new']:,} new",
            f"paragraphs  {s['paragraphs_seen']:,} seen = {kept} + {repeated}",
            f"passages    {s['overlaps_found']:,} found between {pairs}",
        ]
    if s["crowds"]:
        lines.append(f"crowds      {s['crowds']:,} buckets of near-alike texts, not paired in full")
    if s["portions"] > 1:
        lines.append(f"portions    {s['portions']:,}, each a version of its own")
    if s["batches_taken_up"]:
        lines.append(f"taken up    {s['batches_taken_up']:,} batches of a run that ended too early")
    lines.append(
        f"time        {s['seconds']:.1f} s, {s['bytes_read'] / 1e6:,.1f} MB read, "
        f"{s['megabytes_per_second']:.1f} MB/s"
    )
    version = s["version"]
    lines.append(
        f"archive     {s['archive']} "
        + (f"is now at version {version}" if version else "is as it was: nothing is new")
    )
    return printable("\n".join(lines))


def render_digests(tables: Mapping[str, str], whole: str) -> str:
    """Show the digest of each table, and of all of them."""
    lines = [f"{digest}  {name}" for name, digest in tables.items()]
    return "\n".join([*lines, f"{whole}  all tables"])


def render_verification(told: Mapping[str, Any]) -> str:
    """Show the checks with their counts, why some things were not checked, then what failed."""
    lines = [f"{'check':12} {'passed':>12} {'failed':>12} {'not checked':>12}"]
    for one in told["checks"]:
        counts = " ".join(f"{one[name]:12,}" for name in ("passed", "failed", "not_checked"))
        lines.append(f"{one['name']:12} {counts}")
    for one in told["checks"]:
        for reason, count in one["not_checked_because"].items():
            lines.append(f"{one['name']}: {count:,} not checked: {reason}")
    for one in told["checks"]:
        lines += ["", *_failures(one)] if one["failed"] else []
    version = f"{told['archive']}, version {told['version']}"
    failed = sum(one["failed"] for one in told["checks"])
    verdict = f"{failed:,} failed" if failed else "nothing failed"
    return printable("\n".join([*lines, "", f"{version}: {verdict}"]))


def _failures(check: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{check['name']}: {_cell(one['what'])}, {_cell(one['where'])}: "
        f"found {_cell(one['found'])}; expected {_cell(one['expected'])}; {one['next']}"
        for one in check["failures"]
    ]
    more = check["failed"] - len(lines)
    return [*lines, f"{check['name']}: and {more:,} more"] if more else lines


def render_versions(versions: Sequence[Mapping[str, Any]]) -> str:
    """Show versions, a line each."""
    lines = [f"{'version':>7}  {'published (UTC)':19}  {'by':8}  {'documents':>11}  paragraphs"]
    for one in versions:
        time = str(one["published_at"])[:19].replace("T", " ")
        counts = f"{one['documents']:>11,}  {one['paragraphs']:>10,}"
        lines.append(f"{one['version']:>7}  {time:19}  {one['operation']:8}  {counts}")
    return "\n".join(lines)


def render_removal(removal: Mapping[str, Any]) -> str:
    """Show what was taken down."""
    lines = [f"taken down: {one}" for one in removal["documents"]]
    lines.append(
        f"version {removal['version']}: {removal['paragraphs']:,} paragraphs, "
        f"{removal['texts']:,} texts that stood nowhere else, {removal['overlaps']:,} overlaps less"
    )
    lines.append(f"earlier versions still have them: palimpsest clean {removal['archive']}")
    return "\n".join(lines)


def render_cleaning(done: Mapping[str, Any]) -> str:
    """Show what was dropped."""
    lines = [
        f"versions dropped: {len(done['dropped'])}, {done['bytes_freed'] / 1e6:,.1f} MB freed",
        f"leftovers of runs that ended too early: {done['left_by_runs']}",
    ]
    if done["in_use"]:
        numbers = ", ".join(map(str, done["in_use"]))
        lines.append(f"still read by somebody, and kept for now: {numbers}")
    return "\n".join(lines)
