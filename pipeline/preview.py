"""Show what a run would read, and how, without changing or creating an archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from palimpsest.ingest.batch import Batch, read_parts
from palimpsest.ingest.pages.extract_pool import Extractors
from palimpsest.pipeline.fingerprint import check_fingerprint
from palimpsest.pipeline.index_upkeep import known_keys
from palimpsest.pipeline.new_rows import unrecorded_rejects
from palimpsest.pipeline.plan import survey_sources
from palimpsest.records.progress import Report, Step, silent
from palimpsest.records.settings import Settings
from palimpsest.store.address import open_archive

_READING = Step("read", "reading")
_SOURCE = ("uri", "document_id", "published_at", "published_from", "series", "language", "title")
_DOCUMENT = ("media_type", "encoding", "encoding_from", "paragraphs", "unanchored")
_REJECT = ("uri", "reason", "detail")


def preview(
    sources: Sequence[str], archive: str | Path, settings: Settings, report: Report = silent
) -> dict[str, Any]:
    """Read sources as a run would, and return the results.

    Returns:
        ``known``: number of sources that the archive has; ``sources``: a row for each new one, with
        its facts; ``rejects``: a row for each that would be rejected, with the reason;
        ``rejects_new``: number of these that no earlier run has recorded.

    Raises:
        SettingsError: a source names nothing, or the archive was made with other settings.
    """
    place = open_archive(archive)
    base = place.snapshot() if place.exists() else None
    check_fingerprint(settings, base)
    survey = survey_sources(sources, base, known_keys(place, base, settings), settings)
    read: list[dict[str, Any]] = []
    rejects = [survey.rejects]
    with Extractors(settings.run.workers, settings.read.page_seconds) as extractors:
        for part in read_parts(survey.fresh, settings.read, extractors):
            read += _with_documents(part)
            rejects.append(part.rejects)
            done = len(read) + sum(one.num_rows for one in rejects)
            report(_READING, done, max(survey.found, done))
    rejected = pa.concat_tables(rejects)
    return {
        "archive": place.name,
        "known": survey.known + survey.known_rejects,
        "sources": read,
        "rejects": _rows(rejected, _REJECT),
        "rejects_new": unrecorded_rejects(rejected, base).num_rows,
    }


def _rows(table: pa.Table, names: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.select(list(names)).to_pylist()
    return rows


def _with_documents(part: Batch) -> list[dict[str, Any]]:
    documents = {
        row.pop("document_id"): row for row in _rows(part.documents, ("document_id", *_DOCUMENT))
    }
    return [row | documents[row["document_id"]] for row in _rows(part.sources, _SOURCE)]
