"""The versions of an archive: what each one held, and dropping the old ones."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Any

from records.schemas import TABLES
from store.archive import MANIFEST, Archive, Manifest
from store.commit import clear_staging, clear_unpublished, sync_folder, writing


def list_versions(archive: Archive) -> list[dict[str, Any]]:
    """Return what is told of each version that is still there, the first one first.

    Returns:
        version, published_at, operation, run_id, path, rows of documents and paragraphs, files, and
        bytes of all its files, of which most are shared with the version before.
    """
    return [_told(archive, manifest) for manifest in archive.published()]


def _told(archive: Archive, manifest: Manifest) -> dict[str, Any]:
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
        "path": str(archive.versions / f"{manifest.version:08d}"),
    }


def clean(archive: Archive, keep: int = 1, wait_seconds: float = 3600.0) -> dict[str, Any]:
    """Drop old versions, and what runs that ended too early have left.

    A version that somebody holds a snapshot of stays, and is dropped another time.

    Args:
        archive: must be there.
        keep: how many of the last versions stay, the current one among them.
        wait_seconds: how long to wait while a run is writing.

    Returns:
        ``dropped`` and ``in_use``, numbers of versions; ``left_by_runs``; ``bytes_freed``.

    Raises:
        TransientError: a run has been writing to the archive for too long.
    """
    archive.require()
    dropped: list[int] = []
    in_use: list[int] = []
    freed = 0
    with writing(archive, f"clean-{os.getpid()}", wait_seconds) as writer:
        base = writer.require_base()
        clear_unpublished(archive, base)
        old = [number for number in archive.numbers() if number < base.manifest.version]
        for number in old[: max(0, len(old) - (keep - 1))]:
            size = _drop(archive.versions / f"{number:08d}")
            if size is None:
                in_use.append(number)
            else:
                dropped.append(number)
                freed += size
        sync_folder(archive.versions)
    left = clear_staging(archive)
    return {"dropped": dropped, "in_use": in_use, "left_by_runs": left, "bytes_freed": freed}


def _drop(folder: Path) -> int | None:
    """Remove a version unless it is in use; return the bytes that only it had."""
    manifest = folder / MANIFEST
    with manifest.open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        freed = sum(
            path.stat().st_size
            for path in folder.rglob("*")
            if path.is_file() and path.stat().st_nlink == 1
        )
        dropping = folder.with_name(f"dropping-{folder.name}")
        folder.rename(dropping)  # gone at once, for readers
        shutil.rmtree(dropping)
    return freed
