"""The words of a run's reports: labels of archives, log lines and Markdown. No Prefect."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from palimpsest.pipeline.steps import counted
from palimpsest.pipeline.summary import RunSummary
from palimpsest.records import __version__
from palimpsest.records.balance import Balance

INSPECTOR_URL = "PALIMPSEST_INSPECTOR_URL"
"""Environment variable: where the inspector shows the archive, as the browser sees it."""
EXAMPLES = 10
"""Maximum number of examples in a report."""


@dataclass(frozen=True, slots=True)
class ArchiveLabel:
    """An archive as it is named on Prefect's page and in events.

    Attributes:
        name: the last part of its path.
        path: absolute, or an address.
        slug: lower-case letters, digits and dashes; unique to the archive.
    """

    name: str
    path: str
    slug: str

    @classmethod
    def of(cls, archive: str | Path) -> ArchiveLabel:
        """Return the label of an archive.

        Example:
            >>> ArchiveLabel.of("s3://bucket/Zürich, daily").slug
            'zurich-daily-9b3cda'
        """
        path = str(archive)
        if "://" not in path:
            path = str(Path(path).absolute())
        name = PurePosixPath(path).name or path
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
        letters = re.sub("[^a-z0-9]+", "-", plain).strip("-") or "archive"
        digest = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()
        return cls(name, path, f"{letters[:40]}-{digest[:6]}")

    @property
    def inspector(self) -> str | None:
        """Address of the inspector's pages, from ``PALIMPSEST_INSPECTOR_URL``; None if not set."""
        return os.environ.get(INSPECTOR_URL, "").strip() or None

    def key(self, kind: str) -> str:
        """Return an artifact's key, under which Prefect's page shows its history."""
        return f"{kind}-{self.slug}"

    def resource(self) -> dict[str, str]:
        """Return the archive as the resource of an event."""
        return {
            "prefect.resource.id": f"palimpsest.archive.{self.slug}",
            "prefect.resource.name": self.name,
            "palimpsest.archive.path": self.path,
        }


def one_line(summary: RunSummary) -> str:
    """Summarise a run in the line that Prefect shows beside its state."""
    sources = f"{counted(summary.sources_found, 'source')} found"
    rejected = f", {summary.sources_rejected:,} rejected" if summary.sources_rejected else ""
    if summary.version is None:
        return f"nothing new: {sources}, {summary.sources_known:,} known{rejected}"
    return (
        f"version {summary.version} by run {summary.run_id}: {sources}, "
        f"{summary.sources_new:,} new{rejected}; {summary.paragraphs_kept:,} paragraphs kept"
    )


def summary_markdown(label: ArchiveLabel, summary: RunSummary, runs: Sequence[str]) -> str:
    """Return a run's counts as Markdown, with the balance that shows that nothing is missing."""
    s = summary
    title = "nothing new" if s.version is None else f"version {s.version}"
    rejected = ", ".join(f"{count:,} {name}" for name, count in s.rejects_by_reason.items())
    shown = ", ".join(_code(run) for run in runs[-EXAMPLES:])
    if s.version is None:
        shown = "none was written"
    elif len(runs) > EXAMPLES:
        shown = f"{len(runs):,}, the last ones {shown}"
    command = _code(f"palimpsest inspect {shlex.quote(label.path)}")
    lines = [
        f"# {_plain(label.name)}: {title}",
        "",
        _balance_line("sources", s.sources_found, "found", {
            "new": s.sources_new, "known": s.sources_known, "rejected": s.sources_rejected,
        }),
        "",
        _balance_line("paragraphs", s.paragraphs_seen, "seen", {
            "kept": s.paragraphs_kept,
            "folded": s.paragraphs_folded,
            "repeated word for word": s.paragraphs_repeated,
        }),
        "",
        "| | |",
        "| --- | --- |",
        f"| archive | {_code(label.path)} |",
        f"| inspect | {label.inspector or command} |",
        f"| version | {'as before' if s.version is None else s.version} |",
        f"| run | {shown} |",
        f"| new documents | {s.documents_new:,} |",
        f"| rejected in this run | {rejected or 'none'} |",
        f"| overlaps found | {s.overlaps_found:,} between {s.candidates:,} candidate pairs |",
        f"| originals superseded | {s.paragraphs_superseded:,} |",
        f"| batches resumed from an earlier run | {s.batches_taken_up:,} |",
        f"| read | {s.bytes_read / 1e6:,.2f} MB |",
        f"| took | {s.seconds:,.1f} s, {s.megabytes_per_second:,.2f} MB/s |",
        f"| Palimpsest | {__version__} |",
    ]  # fmt: skip
    return "\n".join(lines)


def _balance_line(what: str, total: int, verb: str, parts: Mapping[str, int]) -> str:
    """Return an equation as Markdown, and whether it is true."""
    balance = Balance(what=what, verb=verb, total=total, parts=parts)
    return f"**{balance.total_text}** = {balance.parts_text} ({balance.verdict})"


def result_markdown(flow_name: str, label: ArchiveLabel, rows: Sequence[tuple[str, Any]]) -> str:
    """Return a flow's result as Markdown: a table of its values, and the items of its lists."""
    lines = [f"# {_plain(label.name)}: {flow_name}", "", "| | |", "| --- | --- |"]
    lines.append(f"| archive | {_code(label.path)} |")
    for name, value in rows:
        shown = f"{len(value):,}" if isinstance(value, list) else _shown(value)
        lines.append(f"| {_plain(name)} | {shown} |")
    for name, value in rows:
        if isinstance(value, list) and value:
            lines += ["", f"## {_plain(name)}", ""]
            lines += [f"- {_code(item)}" for item in value[:EXAMPLES]]
            if len(value) > EXAMPLES:
                lines.append(f"- and {len(value) - EXAMPLES:,} more")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.3f}" if isinstance(value, float) else _code(value)


def _code(value: Any) -> str:
    """Return a value as Markdown code that is also valid in a table."""
    return "`" + re.sub(r"[`|\s]+", " ", str(value)) + "`"


def _plain(text: str) -> str:
    """Return text with the special characters of Markdown escaped."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text)
