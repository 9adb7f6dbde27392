"""How an archive shows itself, on one line or in a notebook, and the warning of a slow call."""

from __future__ import annotations

import html
import logging
from functools import cache

import pyarrow as pa

from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Snapshot

VERSIONS = pa.schema(
    [
        pa.field("version", pa.int64()),
        pa.field("published_at", pa.timestamp("us", tz="UTC")),
        pa.field("operation", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("documents", pa.int64()),
        pa.field("paragraphs", pa.int64()),
        pa.field("files", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("path", pa.string()),
    ]
)
"""Columns of ``Archive.versions``; each version has a path or address of its own."""

_LOG = logging.getLogger("palimpsest")
_COUNTED_TABLES = ("documents", "paragraphs", "variants", "occurrences", "overlaps", "rejects")


def as_line(name: str, snapshot: Snapshot) -> str:
    """Return code that opens the archive at this version, with counts of rows in a comment."""
    counts = ", ".join(f"{snapshot.rows(table):,} {table}" for table in _COUNTED_TABLES)
    return f"Archive({name!r}, version={snapshot.manifest.version})  # {counts}"


def as_html(name: str, snapshot: Snapshot) -> str:
    """Return the tables with their rows and columns as HTML; names are escaped."""
    caption = html.escape(f"{name}, version {snapshot.manifest.version}")
    rows = "".join(
        f"<tr><th>{table}</th><td>{snapshot.rows(table):,}</td>"
        f"<td style='text-align: left'>{', '.join(schema.names)}</td></tr>"
        for table, schema in TABLES.items()
    )
    head = "<tr><th>table</th><th>rows</th><th style='text-align: left'>columns</th></tr>"
    body = f"<thead>{head}</thead><tbody>{rows}</tbody>"
    return f"<table><caption>{caption}</caption>{body}</table>"


@cache
def warn_if_compiling() -> None:
    """Warn, once, that the first call on a machine takes longer."""
    from palimpsest.kernels.compiled import are_kernels_cached

    if not are_kernels_cached():
        _LOG.warning(
            "kernels are compiled at their first use on a machine, which takes two or three "
            "minutes; palimpsest compile does it beforehand"
        )
