"""Merge an archive's rows into few files, and its index into one segment."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from palimpsest.pipeline.fingerprint import check_fingerprint
from palimpsest.pipeline.index_upkeep import merge_all, repair_index
from palimpsest.records.ids import run_id_of
from palimpsest.records.schemas import TABLES
from palimpsest.store.address import open_archive
from palimpsest.store.archive import Snapshot
from palimpsest.store.commit import FILE_ROWS, clear_unpublished, open_writer, retry_if_outrun


@retry_if_outrun
def compact(archive_path: str | Path, wait_seconds: float = 3600.0) -> dict[str, Any]:
    """Publish a version with the same rows in few files, unless there are few already.

    Returns:
        ``version`` that readers see now, ``files_before`` and ``files_after``.

    Raises:
        SettingsError: there is no such archive.
        TransientError: a run has been writing to it for too long.
    """
    archive = open_archive(archive_path).require()
    run_id = run_id_of(datetime.now(UTC), secrets.token_hex(3))
    with open_writer(archive, run_id, wait_seconds) as writer:
        base = writer.current_snapshot()
        before = _files(base)
        if before <= _files_needed(base) and len(base.manifest.segments) < 2:
            return {"version": base.manifest.version, "files_before": before, "files_after": before}
        settings = base.settings()
        check_fingerprint(settings, base)
        segments = repair_index(archive, base, f"{run_id}-mended", settings)
        published = writer.compact(merge_all(archive, segments, run_id, settings))
        clear_unpublished(archive, published)
    return {
        "version": published.manifest.version,
        "files_before": before,
        "files_after": _files(published),
    }


def _files(snapshot: Snapshot) -> int:
    return sum(len(snapshot.manifest.files[name]) for name in TABLES)


def _files_needed(snapshot: Snapshot) -> int:
    return sum(max(1, -(-snapshot.rows(name) // FILE_ROWS)) for name in TABLES)
