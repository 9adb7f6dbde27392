"""Tables, passages and summaries as text for a terminal."""

from __future__ import annotations

import shlex
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from palimpsest.records.schemas import TABLES
from palimpsest.records.settings_reference import value_text

if TYPE_CHECKING:
    from rich.table import Table

    from palimpsest.store.archive import Snapshot

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
    """Show the tables of an archive."""
    from rich.table import Table
    from rich.text import Text

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
    """Show rows below one another with one line per column, to fit a terminal of any width."""
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
    """Return text with control characters replaced, so that it cannot control a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def render_passages(passages: Sequence[Mapping[str, Any]], width: int | None = None) -> str:
    """Show passages of an archive, the earlier document first.

    Args:
        passages: rows of ``PASSAGES``.
        width: of the terminal, at which text is wrapped; None for no wrapping.
    """
    blocks = []
    for row in passages:
        lines = [f"{_headline(row)}; of the documents {row['document_resemblance']:.2f}"]
        for side in ("left", "right"):
            date = row.get(f"{side}_published_at")
            dated = f", {date:%Y-%m-%d}" if date else ""
            span = f"characters {row[f'{side}_start_char']}-{row[f'{side}_end_char']}"
            lines.append(f"{name_of(row[f'{side}_uri'])}, {span}{dated}:")
            lines += _quoted(" / ".join(row[f"{side}_passage"].split("\n\n")), width)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) or "no passages"


def _quoted(text: str, width: int | None) -> list[str]:
    """Return a text as indented lines, wrapped if there is a width."""
    indent, cell = " " * 4, _cell(text)
    if width is None:
        return [indent + cell]
    return textwrap.wrap(cell, width, initial_indent=indent, subsequent_indent=indent)


def render_comparison(result: Mapping[str, Any], width: int | None = None) -> str:
    """Show what two files share; see ``render_passages``."""
    blocks = []
    for row in result["passages"]:
        lines = [_headline(row)]
        for side in ("left", "right"):
            span = row[side]
            lines.append(
                f"{printable(result[side]['path'])}, characters {span['start_char']}-"
                f"{span['end_char']}, bytes {span['start_byte']}-{span['end_byte']}:"
            )
            lines += _quoted(span["text"], width)
        blocks.append("\n".join(lines))
    count = len(blocks)
    return "\n\n".join([*blocks, f"{count} shared passage{'' if count == 1 else 's'}"])


_NO_OVERLAP = {
    "no-bucket": "no window of one shares both a bucket and enough shingles with one of the other",
    "no-passage": "windows share buckets, but no passage of the two texts scores high enough",
    "crowds": "windows share only crowded buckets, and neither text is a head of the crowd",
}


def render_explanation(explanation: Mapping[str, Any]) -> str:
    """Show why two texts or documents were matched; [-words-] left only, {+words+} right only."""
    sides = [(side, explanation[side]) for side in ("left", "right") if explanation[side]]
    lines = [
        f"{side:5}  {named['kind']} {named['id']}"
        + (f", {name_of(named['uri'])}" if named["uri"] else "")
        for side, named in sides
    ]
    thresholds = explanation["thresholds"]
    total, shown = explanation["pairs_found"], len(explanation["pairs"])
    if not total:
        no_pair = "no text of one has an overlap with a text of the other"
        lines.append(no_pair if explanation["right"] else "no text has an overlap with it")
        if explanation["passages"]:
            lines.append(
                "so the archive has not recorded this pair: the passages below were found just "
                "now, and 'palimpsest passages' lists none of them"
            )
    elif shown < total:
        lines.append(f"{total:,} pairs of texts; showing {shown:,} that share the most words")
    blocks = ["\n".join(lines)]
    blocks += ["\n".join(_pair_lines(pair, thresholds)) for pair in explanation["pairs"]]
    if explanation["passages"] is not None:
        blocks.append("\n".join(_passage_lines(explanation["passages"], thresholds)))
    return printable("\n\n".join(blocks))


_DIFFERENCES = 10
"""Differences of two near texts that are shown."""


def _pair_lines(pair: Mapping[str, Any], least: Mapping[str, Any]) -> list[str]:
    """Return the lines that explain a pair of texts, each figure with its threshold."""
    return [
        _verdict_line(pair),
        *_difference_lines(pair),
        *(_text_line(side, pair[side]) for side in ("left", "right")),
        *_window_lines(pair, least),
        *_alignment_lines(pair, least),
    ]


def _verdict_line(pair: Mapping[str, Any]) -> str:
    matched = sum(passage["matched_words"] for passage in pair["passages"])
    if pair["left"]["text_id"] == pair["right"]["text_id"]:
        verdict = "the same text on both sides"
    elif pair["is_overlap"]:
        verdict = "an overlap" + (", folded into one paragraph" if pair["is_folded"] else "")
    else:
        verdict = f"no overlap: {_NO_OVERLAP[pair['no_overlap_because']]}"
    return f"texts: {pair['relation'] or 'nothing shared'}, {matched} words: {verdict}"


def _difference_lines(pair: Mapping[str, Any]) -> list[str]:
    """Return the line with the differences that kept two near texts apart, if there are any."""
    differences = pair["differences"]
    if not differences:
        return []
    named = [
        " / ".join(one[side].strip() or "nothing" for side in ("left", "right"))
        for one in differences[:_DIFFERENCES]
    ]
    more = len(differences) - len(named)
    named += [f"and {more} more"] if more else []
    return [f"kept apart   {'; '.join(named)}"]


def _text_line(side: str, text: Mapping[str, Any]) -> str:
    sizes = ", ".join(_counted(text[f"{name}s"], name) for name in ("word", "shingle", "window"))
    place = f"in {_counted(text['documents'], 'document')}: {name_of(text['uri'])}"
    place += ", …" if text["documents"] > 1 else ""
    return f"{side:11}  text {text['text_id']}, {sizes}, {place}"


def _window_lines(pair: Mapping[str, Any], least: Mapping[str, Any]) -> list[str]:
    bands = f": {' '.join(map(str, pair['bands']))}" if pair["bands"] else ""
    lines = [f"buckets      shared in {len(pair['bands'])} of {pair['bands_signed']} bands{bands}"]
    closest = pair["closest_windows"]
    if closest:
        lines.append(
            f"windows      {closest['left']['number']} and {closest['right']['number']} share "
            f"{closest['shared_shingles']} shingles (least {least['min_shared_shingles']}), "
            f"{closest['shared_share']:.2f} of the shorter (least {least['min_shared_share']:.2f})"
            f"; resemblance {closest['estimated_resemblance']:.2f} estimated, "
            f"{closest['resemblance']:.2f} exact"
        )
        lines += [f"    {side}: {closest[side]['text'].strip()}" for side in ("left", "right")]
    else:
        lines.append("windows      none on one side: too few content words to be signed")
    lines.append(
        f"shingles     resemblance {pair['resemblance']:.2f}; {pair['left_containment']:.2f} of "
        f"the left are on the right, {pair['right_containment']:.2f} of the right on the left"
    )
    return lines


def _alignment_lines(pair: Mapping[str, Any], least: Mapping[str, Any]) -> list[str]:
    if not pair["passages"]:
        return [f"aligned      no passage scores at least {least['min_score']:g}"]
    fold = f"near if both reach {least['fold_share']:.2f}, contained if only one does"
    shares = f"{pair['left_share']:.2f} of the left, {pair['right_share']:.2f} of the right"
    lines = [f"aligned      {shares}; {fold}"]
    for passage in pair["passages"]:
        lines.append(
            f"passage      {passage['relation']}, {passage['matched_words']} words, "
            f"score {passage['score']:.2f} (least {least['min_score']:.2f}), "
            f"resemblance {passage['resemblance']:.2f} (least {least['min_resemblance']:.2f})"
        )
        lines.append("    " + "".join(map(_segment, passage["segments"])))
    return lines


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _segment(segment: Mapping[str, str]) -> str:
    """Return words of a passage, marked if they occur on one side only."""
    if segment["kind"] == "same":
        return segment["left"]
    marked = [
        before + segment[side].rstrip() + after
        for side, before, after in (("left", "[-", "-]"), ("right", "{+", "+}"))
        if segment[side]
    ]
    is_spaced = any(segment[side][-1:].isspace() for side in ("left", "right"))
    return " ".join(marked) + (" " if is_spaced else "")


def _passage_lines(passages: Sequence[Mapping[str, Any]], least: Mapping[str, Any]) -> list[str]:
    limits = (
        f"clear: score {least['clear_score']:g}, {least['clear_share']:.2f} of the best score or "
        f"{least['enough_score']:g}, score times resemblance {least['clear_strength']:g}, "
        f"{least['clear_resemblance']:.2f} of the content words, "
        f"{least['clear_numbers']:.2f} of the numbers, "
        f"{least['clear_words']} words on each side; a summary: score {least['summary_score']:g}"
    )
    lines = [f"{_counted(len(passages), 'passage')} of the two documents; {limits}"]
    for passage in passages:
        clear = "clear" if passage["is_clear"] else "not clear"
        recurring = ", recurring" if passage["is_recurring"] else ""
        lines.append(f"{_headline(passage)}, score {passage['score']:.2f}: {clear}{recurring}")
        for side in ("left", "right"):
            part = passage[side]
            span = f"characters {part['start_char']}-{part['end_char']}"
            lines.append(f"    {side}, {span}: {_cell(part['passage'])}")
    return lines


def _headline(row: Mapping[str, Any]) -> str:
    words, resemblance = row["matched_words"], row["resemblance"]
    return f"{row['relation']}, {words} words, resemblance {resemblance:.2f}"


def name_of(uri: str) -> str:
    """Return a ``file:`` URI as a path, and any other URI decoded."""
    return printable(unquote(uri.removeprefix("file://")))


def render_summary(summary: Mapping[str, Any]) -> str:
    """Show what a run did."""
    s = summary
    sources = f"{s['sources_new']:,} new + {s['sources_known']:,} known"
    lines = [f"sources     {s['sources_found']:,} found = {sources} + {_rejected(s)}"]
    if s["rejects_by_reason"]:
        reasons = ", ".join(f"{count:,} {name}" for name, count in s["rejects_by_reason"].items())
        lines.append(f"rejected    {reasons}")
    for one in s["first_rejects"]:
        lines.append(f"  {name_of(one['uri'])}: {one['reason']}: {_cell(one['detail'])}")
    if s["first_rejects"]:
        lines.append(f"  list all: palimpsest show {shlex.quote(s['archive'])} rejects")
    if s["sources_new"]:
        kept = f"{s['paragraphs_kept']:,} kept + {s['paragraphs_folded']:,} folded"
        repeated = f"{s['paragraphs_repeated']:,} repeated word for word"
        pairs = f"{s['candidates']:,} candidate pairs"
        lines += [
            f"documents   {s['documents_new']:,} new",
            f"paragraphs  {s['paragraphs_seen']:,} seen = {kept} + {repeated}",
            f"passages    {s['overlaps_found']:,} found between {pairs}",
        ]
    if s["paragraphs_unanchored"]:
        unanchored = f"{s['paragraphs_unanchored']:,} paragraphs"
        lines.append(f"unanchored  {unanchored} of pages without an anchor in the raw bytes")
    if s["crowds"]:
        lines.append(f"crowds      {s['crowds']:,} buckets of near-alike texts, not paired in full")
    if s["portions"] > 1:
        lines.append(f"portions    {s['portions']:,}, each published as its own version")
    if s["batches_taken_up"]:
        lines.append(f"resumed     {s['batches_taken_up']:,} batches of an interrupted run")
    lines.append(
        f"time        {s['seconds']:.1f} s, {s['bytes_read'] / 1e6:,.1f} MB read, "
        f"{s['megabytes_per_second']:.1f} MB/s"
    )
    version = s["version"]
    lines.append(
        f"archive     {s['archive']} "
        + (f"is now at version {version}" if version else "is unchanged: nothing is new")
    )
    return printable("\n".join(lines))


def _rejected(summary: Mapping[str, Any]) -> str:
    """Return how many sources were rejected, and how many of those by earlier runs already."""
    rejected, new = summary["sources_rejected"], summary["sources_rejected_new"]
    if rejected == new:
        return f"{rejected:,} rejected"
    known = f"{rejected - new:,} known" if new else "known"
    return f"{rejected:,} rejected ({known})"


def render_settings(rows: Sequence[Mapping[str, Any]]) -> str:
    """Show settings, each with its default or an archive's value, what it takes and means."""
    lines = ["* fixed when an archive is created"]
    stage = ""
    for row in rows:
        if row["name"].partition(".")[0] != stage:
            stage = row["name"].partition(".")[0]
            lines.append("")
        default, value = row["default_text"], row["value"]
        shown = default if value is None else value_text(value)
        mark = "*" if row["is_fixed"] else " "
        note = f"  (default {default})" if shown != default else ""
        lines.append(f"{mark} {row['name']} = {shown}{note}")
        for text in (row["meaning"], f"expected: {row['expected']}"):
            lines += textwrap.wrap(text, 78, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return printable("\n".join(lines))


def render_preview(preview: Mapping[str, Any], limit: int = 20) -> str:
    """Show what a run would read: counts, the first sources, and why some would be rejected."""
    rows, rejects = preview["sources"], preview["rejects"]
    lines = [
        (
            f"sources     {len(rows):,} would be read, {preview['known']:,} known, "
            f"{len(rejects):,} would be rejected"
        ),
    ]
    for name, column in _PREVIEWED.items():
        counts = Counter(str(row[column] or "unknown") for row in rows)
        if counts:
            shown = ", ".join(f"{count:,} {value}" for value, count in counts.most_common(6))
            lines.append(f"{name:11} {shown}" + (", ..." if len(counts) > 6 else ""))
    unanchored = sum(row["unanchored"] for row in rows)
    if unanchored:
        lines.append(f"unanchored  {unanchored:,} paragraphs without an anchor in the raw bytes")
    for row in rows[:limit]:
        date = f"{row['published_at']:%Y-%m-%d}" if row["published_at"] else "no date"
        paragraphs = _counted(row["paragraphs"], "paragraph")
        lines.append(f"  {name_of(row['uri'])}: {row['media_type']}, {date}, {paragraphs}")
    if len(rows) > limit:
        lines.append(f"  and {len(rows) - limit:,} more; --json lists all")
    for reason, count in Counter(row["reason"] for row in rejects).most_common():
        lines.append(f"{reason}: {_counted(count, 'source')}")
        of_reason = [row for row in rejects if row["reason"] == reason]
        lines += [f"  {name_of(row['uri'])}: {_cell(row['detail'])}" for row in of_reason[:3]]
        if count > 3:
            lines.append(f"  and {count - 3:,} more; --json lists all")
    lines.append("nothing was changed")
    return printable("\n".join(lines))


_PREVIEWED = {
    "read as": "media_type",
    "encodings": "encoding",
    "dates from": "published_from",
    "languages": "language",
}
"""Columns whose values are counted, by label."""


def render_digests(tables: Mapping[str, str], total: str) -> str:
    """Show the digest of each table, and of all tables together."""
    lines = [f"{digest}  {name}" for name, digest in tables.items()]
    return "\n".join([*lines, f"{total}  all tables"])


def render_verification(result: Mapping[str, Any]) -> str:
    """Show the checks with their counts, reasons for what was not checked, and failures."""
    lines = [f"{'check':12} {'passed':>12} {'failed':>12} {'not checked':>12}"]
    for check in result["checks"]:
        counts = " ".join(f"{check[name]:12,}" for name in ("passed", "failed", "not_checked"))
        lines.append(f"{check['name']:12} {counts}")
    for check in result["checks"]:
        for reason, count in check["not_checked_because"].items():
            lines.append(f"{check['name']}: {count:,} not checked: {reason}")
    for check in result["checks"]:
        lines += ["", *_failures(check)] if check["failed"] else []
    version = f"{result['archive']}, version {result['version']}"
    failed = sum(check["failed"] for check in result["checks"])
    verdict = f"{failed:,} failed" if failed else "nothing failed"
    return printable("\n".join([*lines, "", f"{version}: {verdict}"]))


def _failures(check: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{check['name']}: {_cell(failure['what'])}, {_cell(failure['where'])}: found "
        f"{_cell(failure['found'])}; expected {_cell(failure['expected'])}; {failure['next']}"
        for failure in check["failures"]
    ]
    more = check["failed"] - len(lines)
    return [*lines, f"{check['name']}: and {more:,} more"] if more else lines


def render_versions(versions: Sequence[Mapping[str, Any]]) -> str:
    """Show versions, one per line."""
    lines = [f"{'version':>7}  {'published (UTC)':19}  {'by':8}  {'documents':>11}  paragraphs"]
    for version in versions:
        time = str(version["published_at"])[:19].replace("T", " ")
        counts = f"{version['documents']:>11,}  {version['paragraphs']:>10,}"
        lines.append(f"{version['version']:>7}  {time:19}  {version['operation']:8}  {counts}")
    return "\n".join(lines)


def render_removal(removal: Mapping[str, Any]) -> str:
    """Show which documents and rows were removed."""
    lines = [f"removed: {document_id}" for document_id in removal["documents"]]
    lines.append(
        f"version {removal['version']}: removed {removal['paragraphs']:,} paragraphs, "
        f"{removal['texts']:,} texts that occur nowhere else, {removal['overlaps']:,} overlaps"
    )
    lines.append(
        f"earlier versions still contain them; delete those: palimpsest clean {removal['archive']}"
    )
    return "\n".join(lines)


def render_cleaning(cleaning: Mapping[str, Any]) -> str:
    """Show what was deleted."""
    megabytes = f"{cleaning['bytes_freed'] / 1e6:,.1f} MB"
    lines = [
        f"versions deleted: {len(cleaning['dropped'])}, {megabytes} freed",
        f"leftovers of interrupted runs deleted: {cleaning['left_by_runs']}",
    ]
    if cleaning["in_use"]:
        numbers = ", ".join(map(str, cleaning["in_use"]))
        lines.append(f"still in use, and kept for now: versions {numbers}")
    return "\n".join(lines)
