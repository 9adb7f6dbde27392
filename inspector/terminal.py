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
    """Show what an archive holds."""
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


def render_passages(passages: Sequence[Mapping[str, Any]], width: int | None = None) -> str:
    """Show passages of an archive, the earlier document first.

    Args:
        passages: rows of ``PASSAGES``.
        width: of the terminal, for text to be wrapped; None leaves each on a line.
    """
    blocks = []
    for row in passages:
        lines = [_headline(row)]
        for side in ("left", "right"):
            date = row.get(f"{side}_published_at")
            dated = f", {date:%Y-%m-%d}" if date else ""
            span = f"characters {row[f'{side}_start_char']}-{row[f'{side}_end_char']}"
            lines.append(f"{name_of(row[f'{side}_uri'])}, {span}{dated}:")
            lines += _quoted(" / ".join(row[f"{side}_passage"].split("\n\n")), width)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) or "no passages"


def _quoted(text: str, width: int | None) -> list[str]:
    """Return a text in indented lines: one, or as many as it takes at a width."""
    indent, shown = " " * 4, _cell(text)
    if width is None:
        return [indent + shown]
    return textwrap.wrap(shown, width, initial_indent=indent, subsequent_indent=indent)


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
    "no-bucket": "no window of one meets a window of the other in a bucket with enough shingles",
    "no-passage": "windows meet, but nothing in the two texts scores enough",
    "crowds": "windows meet in crowds only, of which neither text is a head",
}


def render_explanation(told: Mapping[str, Any]) -> str:
    """Show why two texts or documents were matched; [-words-] left only, {+words+} right only."""
    lines = [
        f"{side:5}  {told[side]['kind']} {told[side]['id']}"
        + (f", {name_of(told[side]['uri'])}" if told[side]["uri"] else "")
        for side in ("left", "right")
        if told[side]
    ]
    found, shown = told["pairs_found"], len(told["pairs"])
    if not found:
        nothing = "no text of one has an overlap with a text of the other"
        lines.append(nothing if told["right"] else "no text has an overlap with it")
    elif shown < found:
        lines.append(f"{found:,} pairs of texts; shown: {shown:,}, those that share most words")
    blocks = ["\n".join(lines)]
    blocks += ["\n".join(_pair_lines(pair, told["thresholds"])) for pair in told["pairs"]]
    if told["passages"] is not None:
        blocks.append("\n".join(_passage_lines(told["passages"], told["thresholds"])))
    return printable("\n\n".join(blocks))


def _pair_lines(pair: Mapping[str, Any], least: Mapping[str, Any]) -> list[str]:
    left, right, passages = pair["left"], pair["right"], pair["passages"]
    matched = sum(one["matched_words"] for one in passages)
    told = f"texts: {pair['relation'] or 'nothing shared'}, {matched} words: "
    if left["text_id"] == right["text_id"]:
        told += "one text that stands on both sides"
    elif pair["is_overlap"]:
        told += "an overlap" + (", folded into one paragraph" if pair["is_folded"] else "")
    else:
        told += f"no overlap: {_NO_OVERLAP[pair['no_overlap_because']]}"
    lines = [told]
    for side in ("left", "right"):
        one = pair[side]
        sizes = ", ".join(_counted(one[f"{name}s"], name) for name in ("word", "shingle", "window"))
        place = f"in {_counted(one['documents'], 'document')}: {name_of(one['uri'])}"
        place += ", …" if one["documents"] > 1 else ""
        lines.append(f"{side:11}  text {one['text_id']}, {sizes}, {place}")
    bands = f": {' '.join(map(str, pair['bands']))}" if pair["bands"] else ""
    lines.append(
        f"buckets      shared in {len(pair['bands'])} of {pair['bands_signed']} bands{bands}"
    )
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
        f"the left stand on the right, {pair['right_containment']:.2f} of the right on the left"
    )
    if passages:
        fold = f"near if both reach {least['fold_share']:.2f}, contained if one does"
        shares = f"{pair['left_share']:.2f} of the left, {pair['right_share']:.2f} of the right"
        lines.append(f"aligned      {shares}; {fold}")
    else:
        lines.append(f"aligned      nothing that scores {least['min_score']:g}")
    for one in passages:
        lines.append(
            f"passage      {one['relation']}, {one['matched_words']} words, "
            f"score {one['score']:.2f} "
            f"(least {least['min_score']:.2f}), resemblance {one['resemblance']:.2f} "
            f"(least {least['min_resemblance']:.2f})"
        )
        lines.append("    " + "".join(map(_segment, one["segments"])))
    return lines


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _segment(segment: Mapping[str, str]) -> str:
    """Return words of a passage, marked where they stand on one side only."""
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
        f"clear: score {least['clear_score']:g}, {least['clear_share']:.2f} of the best score, "
        f"{least['clear_words']} words on each side; a summary: score {least['summary_score']:g}"
    )
    lines = [f"{_counted(len(passages), 'passage')} of the two documents; {limits}"]
    for one in passages:
        clear = "clear" if one["is_clear"] else "not clear"
        recurring = ", recurring" if one["is_recurring"] else ""
        lines.append(f"{_headline(one)}, score {one['score']:.2f}: {clear}{recurring}")
        for side in ("left", "right"):
            span = f"characters {one[side]['start_char']}-{one[side]['end_char']}"
            lines.append(f"    {side}, {span}: {_cell(one[side]['passage'])}")
    return lines


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
    lines = [f"sources     {s['sources_found']:,} found = {sources} + {_rejected(s)}"]
    if s["rejects_by_reason"]:
        reasons = ", ".join(f"{count:,} {name}" for name, count in s["rejects_by_reason"].items())
        lines.append(f"rejected    {reasons}")
    for one in s["first_rejects"]:
        lines.append(f"  {name_of(one['uri'])}: {one['reason']}: {_cell(one['detail'])}")
    if s["first_rejects"]:
        lines.append(f"  see them all: palimpsest show {shlex.quote(s['archive'])} rejects")
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


def _rejected(summary: Mapping[str, Any]) -> str:
    """Return how many sources were rejected, and how many of them earlier runs had rejected."""
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


def render_preview(told: Mapping[str, Any], limit: int = 20) -> str:
    """Show what a run would read: counts, the first sources, and why some are refused."""
    rows, rejects = told["sources"], told["rejects"]
    lines = [
        (
            f"sources     {len(rows):,} would be read, {told['known']:,} known, "
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
        lines.append(f"  and {len(rows) - limit:,} more; --json tells them all")
    for reason, count in Counter(row["reason"] for row in rejects).most_common():
        lines.append(f"{reason}: {_counted(count, 'source')}")
        of_reason = [row for row in rejects if row["reason"] == reason]
        lines += [f"  {name_of(row['uri'])}: {_cell(row['detail'])}" for row in of_reason[:3]]
        if count > 3:
            lines.append(f"  and {count - 3:,} more; --json tells them all")
    lines.append("nothing was changed")
    return printable("\n".join(lines))


_PREVIEWED = {
    "read as": "media_type",
    "encodings": "encoding",
    "dates from": "published_from",
    "languages": "language",
}
"""By what is shown, the column that is counted."""


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
