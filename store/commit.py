"""Publish a run's rows: all of them at one moment, or none."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from records.errors import TransientError
from records.schemas import TABLES, conform
from store.archive import MANIFEST, Archive, Manifest, Snapshot
from store.parquet import read_tables, write_table

_LINK = "next"
"""The new link of the archive, in its home, until it takes the place of the old one."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a run does to an archive.

    Attributes:
        added: rows to add, by table.
        withdrawn: by table, a key column and the keys whose rows go; their files are rewritten.
        sealed: settings and stage versions of the archive.
        segment: name of a new index segment, if there is one.
    """

    added: Mapping[str, pa.Table]
    withdrawn: Mapping[str, tuple[str, pa.Array]]
    sealed: dict[str, Any]
    segment: str | None = None


@contextmanager
def writing(archive: Archive, run_id: str) -> Iterator[Writer]:
    """Hold the archive's lock and give a writer; leftovers of dead runs are cleared first.

    Raises:
        TransientError: another run is writing.
    """
    archive.exists()
    archive.home.mkdir(parents=True, exist_ok=True)
    with (archive.home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TransientError(
                f"archive {archive.path}: another run is writing to it; try again when it is done"
            ) from error
        base = archive.snapshot() if archive.exists() else None
        _clear_leftovers(archive, base)
        folder = archive.staging / run_id
        folder.mkdir(parents=True)
        try:
            yield Writer(archive, run_id, base, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(archive.versions / _building(run_id), ignore_errors=True)


def _clear_leftovers(archive: Archive, base: Snapshot | None) -> None:
    """Remove what killed runs left: their staging, unpublished versions, segments of no version."""
    current = base.manifest.version if base else 0
    segments = set(base.manifest.segments) if base else set()
    archive.versions.mkdir(exist_ok=True)
    archive.index.mkdir(exist_ok=True)
    (archive.home / _LINK).unlink(missing_ok=True)
    shutil.rmtree(archive.staging, ignore_errors=True)
    for folder in archive.versions.iterdir():
        if not folder.name.isdigit() or int(folder.name) > current:
            shutil.rmtree(folder)
    for folder in archive.index.iterdir():
        if folder.name not in segments:
            shutil.rmtree(folder)


class Writer:
    """The one run that may publish, for as long as it holds the lock.

    Attributes:
        base: the version that readers see, or None before the first.
        folder: where the run may keep what it prepares; gone when the run ends.
    """

    def __init__(self, archive: Archive, run_id: str, base: Snapshot | None, folder: Path) -> None:
        self.archive = archive
        self.run_id = run_id
        self.base = base
        self.folder = folder

    def commit(self, changes: Changes) -> Snapshot:
        """Publish the next version and return it."""
        number = self.base.manifest.version + 1 if self.base else 1
        building = self.archive.versions / _building(self.run_id)
        with ThreadPoolExecutor(len(TABLES)) as pool:  # compressing one does not wait for another
            built = pool.map(lambda name: self._build_table(building / name, name, changes), TABLES)
            files = dict(zip(TABLES, built, strict=True))
        segments = [*self.base.manifest.segments] if self.base else []
        if changes.segment:
            segments.append(changes.segment)
        manifest = Manifest(number, self.run_id, changes.sealed, files, segments)
        _write_durably(building / MANIFEST, manifest.to_json())
        for name in TABLES:
            sync_folder(building / name)
        sync_folder(building)
        published = self.archive.versions / f"{number:08d}"
        building.rename(published)
        sync_folder(self.archive.versions)
        self._swap(published)
        return self.archive.snapshot()

    def _build_table(self, folder: Path, name: str, changes: Changes) -> list[dict[str, Any]]:
        folder.mkdir(parents=True)
        added = [conform(changes.added[name], name)] if name in changes.added else []
        old = self.base.files(name) if self.base else []
        for path in old:
            kept = self._kept_rows(path, name, changes)
            if kept is None:
                _link(path, folder / path.name)
            else:
                added.append(kept)
        rows = pa.concat_tables([*added, TABLES[name].empty_table()])
        linked = list(folder.iterdir())
        if rows.num_rows or not linked:  # an empty table has one empty file, so that globs match
            write_table(rows, name, folder / f"{self.run_id}.parquet")
        for path in linked:
            if not rows.num_rows or pq.read_metadata(path).num_rows:
                continue
            path.unlink()  # the empty file of an earlier version
        return [_described(path) for path in sorted(folder.iterdir())]

    def _kept_rows(self, path: Path, name: str, changes: Changes) -> pa.Table | None:
        """Return the rows of a file that stay, or None if all of them do."""
        if name not in changes.withdrawn:
            return None
        column, keys = changes.withdrawn[name]
        held = read_tables([path], name, [column]).column(column)
        goes = pc.is_in(held, value_set=keys)
        if not pc.any(goes, min_count=0).as_py():
            return None
        return read_tables([path], name).filter(pc.invert(goes))

    def _swap(self, published: Path) -> None:
        """Lead the archive's path to a version. This is the commit."""
        link = self.archive.home / _LINK  # leads nowhere from here, but will from where it goes
        link.symlink_to(published.relative_to(self.archive.path.parent), target_is_directory=True)
        link.replace(self.archive.path)
        sync_folder(self.archive.path.parent)


def _building(run_id: str) -> str:
    """Return the name of a version that is not published yet."""
    return f"building-{run_id}"


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_durably(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _link(source: Path, target: Path) -> None:
    """Link a file, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _described(path: Path) -> dict[str, Any]:
    rows = pq.read_metadata(path).num_rows
    return {"name": path.name, "rows": rows, "bytes": path.stat().st_size}
