"""List the versions of an archive, and remove old ones."""

from __future__ import annotations

import os
from typing import Any

from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Manifest, StoredArchive
from palimpsest.store.commit import clear_staging, clear_unpublished, open_writer


def list_versions(archive: StoredArchive) -> list[dict[str, Any]]:
    """Return a description of each version that still exists, in order.

    Returns:
        For each: version, published_at, operation, run_id, path, rows of documents and paragraphs,
        number of files, and bytes of all files, most of which it shares with the version before.
    """
    return [_describe(archive, manifest) for manifest in archive.published()]


def _describe(archive: StoredArchive, manifest: Manifest) -> dict[str, Any]:
    files = manifest.files
    return {
        "version": manifest.version,
        "published_at": manifest.published_at,
        "operation": manifest.operation,
        "run_id": manifest.run_id,
        "documents": sum(file["rows"] for file in files["documents"]),
        "paragraphs": sum(file["rows"] for file in files["paragraphs"]),
        "files": sum(len(files[name]) for name in TABLES),
        "bytes": sum(file["bytes"] for name in TABLES for file in files[name]),
        "path": archive.address_of(manifest.version),
    }


def clean(archive: StoredArchive, keep: int = 1, wait_seconds: float = 3600.0) -> dict[str, Any]:
    """Remove old versions, and files left behind by runs that failed.

    A version in use is kept; a later call removes it.

    Args:
        archive: must exist.
        keep: how many of the last versions are kept, including the current one.
        wait_seconds: how long to wait while a run is writing.

    Returns:
        ``dropped`` and ``in_use``, numbers of versions; ``left_by_runs``, a count; ``bytes_freed``.

    Raises:
        TransientError: a run has been writing to the archive for too long.
    """
    archive.require()
    with open_writer(archive, f"clean-{os.getpid()}", wait_seconds) as writer:
        clear_unpublished(archive, writer.current_snapshot())
        result = archive.drop_old(keep)
    return result._asdict() | {"left_by_runs": clear_staging(archive)}
