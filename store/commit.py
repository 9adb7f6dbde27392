"""Publish versions: all tables at once, or none."""

from __future__ import annotations

import errno
import fcntl
import functools
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from palimpsest.records.errors import OutrunError, TransientError
from palimpsest.records.schemas import TABLES, conform
from palimpsest.store.archive import LINK, MANIFEST, Manifest, Snapshot, StoredArchive
from palimpsest.store.files import link_file, sync, write_durably
from palimpsest.store.parquet import read_tables, row_groups, write_table
from palimpsest.store.row_keys import row_keys

FILE_ROWS = 65_536
"""Maximum rows of a file, which is rewritten if one of them is removed. They are one row group."""
_Files = list[dict[str, Any]]
"""Files of a table as the manifest lists them: name, rows, bytes."""
_ALIVE = "alive"
"""The file in a run's staging folder that its process keeps locked."""
_DROPPING = "dropping-"
"""Prefix of staging folders that are being removed, and so are incomplete."""
_POLL_SECONDS = 0.05
_OUTRUN_TRIES = 8
"""Attempts of a run that is outrun each time by writers on other machines."""
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def retry_if_outrun(step: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Repeat a step on the newest version if another writer published first.

    A writer is too late only because another one has published, so together they make progress.
    """

    @functools.wraps(step)
    def persistently(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        for _ in range(_OUTRUN_TRIES - 1):
            with suppress(OutrunError):
                return step(*args, **kwargs)
        return step(*args, **kwargs)

    return persistently


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """The changes that a run makes to an archive.

    Attributes:
        added: rows to add, by table.
        withdrawn: by table, rows of key columns; rows that agree in all of these are removed, and
            their files are rewritten.
        sealed: settings and stage versions of the archive.
        segments: names of the index segments of the new version; None if they do not change.
        operation: the kind of run.
        written: by table, Parquet files with more rows to add, as ``write_rows`` writes them; they
            are linked.
    """

    sealed: dict[str, Any]
    added: Mapping[str, pa.Table] = field(default_factory=dict)
    withdrawn: Mapping[str, pa.Table] = field(default_factory=dict)
    segments: Sequence[str] | None = None
    operation: str = "ingest"
    written: Mapping[str, Sequence[Path]] = field(default_factory=dict)


@contextmanager
def open_staging(archive: StoredArchive, run_id: str) -> Iterator[Path]:
    """Open a staging folder that belongs to one run.

    Its subfolder ``left`` contains what dead runs staged, to be resumed or dropped. The folder is
    removed when the run succeeds; otherwise it is left to the next run, unless the disk is full.
    """
    archive.expect_writable()
    folder = archive.staging / run_id
    with _locked(archive.home / "staging.lock"):
        dead = [path for path in archive.staging.glob("*") if not _is_alive(path)]
        (folder / "left").mkdir(parents=True)
        alive = (folder / _ALIVE).open("a")
        fcntl.flock(alive, fcntl.LOCK_EX)
        for path in dead:
            if path.name.startswith(_DROPPING):
                with suppress(OSError):
                    _drop_staged(path)
            else:
                path.rename(folder / "left" / path.name)
    with alive:
        try:
            yield folder
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                with suppress(OSError):
                    _drop_staged(folder)
            raise
        with suppress(OSError):  # the run has succeeded; the next one tries again
            _drop_staged(folder)


def _drop_staged(folder: Path) -> None:
    """Remove a staging folder; a crash midway leaves nothing that could be resumed."""
    if not folder.name.startswith(_DROPPING):
        folder = folder.rename(folder.with_name(_DROPPING + folder.name))
    shutil.rmtree(folder)


def _is_alive(folder: Path) -> bool:
    try:
        with (folder / _ALIVE).open() as alive:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def clear_staging(archive: StoredArchive) -> int:
    """Remove the staging folders of dead runs; return how many there were."""
    with _locked(archive.home / "staging.lock"):
        dead = [path for path in archive.staging.glob("*") if not _is_alive(path)]
        for path in dead:
            with suppress(FileNotFoundError):  # its run is removing it just now
                _drop_staged(path)
    return len(dead)


@contextmanager
def _locked(path: Path, wait_seconds: float = 60.0, fault: str = "") -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    with path.open("a") as lock:  # append mode keeps the modification time
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise TransientError(fault or f"{path}: still locked; try again") from error
            time.sleep(_POLL_SECONDS)
        yield


@contextmanager
def open_writer(
    archive: StoredArchive, run_id: str, wait_seconds: float = 0.0, files_at_once: int | None = None
) -> Iterator[Writer]:
    """Lock the archive and open a writer; remove unpublished versions of dead runs.

    Args:
        archive: the archive to write to.
        run_id: the run that writes.
        wait_seconds: how long to wait for another writer.
        files_at_once: number of files written concurrently, each of which is in memory (default:
            the number of cores, at least 4).

    Raises:
        TransientError: another run is still writing.
        SettingsError: no version can be published there.
    """
    archive.expect_writable()
    fault = f"archive {archive.name}: another run is writing to it; try again when it is done"
    with _locked(archive.home / "lock", wait_seconds, fault):
        base = archive.snapshot() if archive.exists() else None
        clear_unpublished(archive, base)
        try:
            yield Writer(archive, run_id, base, files_at_once or max(4, os.cpu_count() or 1))
        finally:
            shutil.rmtree(archive.versions / _building(run_id), ignore_errors=True)


def clear_unpublished(archive: StoredArchive, base: Snapshot | None) -> None:
    """Remove versions never published or partly removed, and index segments of no version."""
    current = base.manifest.version if base else 0
    segments = set(base.manifest.segments) if base else set()
    archive.versions.mkdir(exist_ok=True)
    archive.index.mkdir(exist_ok=True)
    (archive.home / LINK).unlink(missing_ok=True)
    for folder in archive.unpublished(current):
        shutil.rmtree(folder)
    for folder in archive.index.iterdir():
        if folder.name not in segments:
            shutil.rmtree(folder)


class Writer:
    """Publishes versions, for as long as the archive is locked.

    Attributes:
        base: the version that readers see, or None before the first.
    """

    def __init__(
        self, archive: StoredArchive, run_id: str, base: Snapshot | None, files_at_once: int
    ) -> None:
        self.archive = archive
        self.run_id = run_id
        self.base = base
        self._files_at_once = files_at_once

    def current_snapshot(self) -> Snapshot:
        """Return the version that readers see.

        Raises:
            SettingsError: the archive does not exist.
        """
        return self.base or self.archive.require().snapshot()

    def commit(self, changes: ChangeSet) -> Snapshot:
        """Publish the next version and return it."""
        with ThreadPoolExecutor(self._files_at_once) as pool:

            def build(name: str) -> _Files:
                return self._build_table(name, changes, pool)

            return self._publish(build, changes.sealed, changes.segments, changes.operation)

    def compact(self, segments: Sequence[str]) -> Snapshot:
        """Publish a version with the same rows in few files.

        Args:
            segments: names of the index segments of the new version.
        """
        sealed = self.current_snapshot().manifest.sealed
        return self._publish(self._compact_table, sealed, segments, "compact")

    @property
    def _folder(self) -> Path:
        return self.archive.versions / _building(self.run_id)

    def _publish(
        self,
        build: Callable[[str], _Files],
        sealed: dict[str, Any],
        segments: Sequence[str] | None,
        operation: str,
    ) -> Snapshot:
        base = self.base.manifest if self.base else None
        number = base.version + 1 if base else 1
        for name in TABLES:
            (self._folder / name).mkdir(parents=True)
        with ThreadPoolExecutor(len(TABLES)) as pool:  # compresses tables concurrently
            files = dict(zip(TABLES, pool.map(build, TABLES), strict=True))
        if segments is None:
            segments = base.segments if base else ()
        manifest = Manifest(
            version=number,
            run_id=self.run_id,
            operation=operation,
            published_at=datetime.now(UTC).isoformat(timespec="microseconds"),
            sealed=sealed,
            files=files,
            segments=list(segments),
        )
        write_durably(self._folder / MANIFEST, manifest.to_json())
        for name in TABLES:
            sync(self._folder / name)
        sync(self._folder)
        return self.archive.publish(self._folder, manifest)

    def _build_table(self, name: str, changes: ChangeSet, pool: ThreadPoolExecutor) -> _Files:
        """Write a table's new rows; link its files, or rewrite those that contain removed rows."""
        added = conform(changes.added.get(name, TABLES[name].empty_table()), name)
        parts = list(_cut(added))
        written = list(pool.map(lambda part: self._write(name, *part), enumerate(parts)))
        for path in changes.written.get(name, ()):
            written.append(self._take(name, len(written), path))
        old = self._old_files(name)
        full = [file for file in old if file[1]["rows"]]

        def carry(number: int, file: tuple[Path, dict[str, Any]]) -> dict[str, Any] | None:
            return self._carry(name, number, file, changes)

        carried = pool.map(carry, itertools.count(len(written)), full)
        files = [*written, *(file for file in carried if file)]
        if not files:  # an empty table has an empty file, so that globs match
            empty = next((file for file in old if not file[1]["rows"]), None)
            files = [self._link(name, *empty) if empty else self._write(name, 0, added)]
        return sorted(files, key=lambda file: str(file["name"]))

    def _carry(
        self, name: str, number: int, old: tuple[Path, dict[str, Any]], changes: ChangeSet
    ) -> dict[str, Any] | None:
        """Carry a file over to the new version; return its entry, or None if no row is left."""
        kept = self._kept_rows(old[0], name, changes)
        if kept is None:
            return self._link(name, *old)
        return self._write(name, number, kept) if kept.num_rows else None

    def _link(self, name: str, path: Path, file: dict[str, Any]) -> dict[str, Any]:
        link_file(path, self._folder / name / path.name)
        return file

    def _write(self, name: str, number: int, rows: pa.Table) -> dict[str, Any]:
        path = self._new_file(name, number)
        write_table(rows, name, path)
        return _described(path)

    def _take(self, name: str, number: int, written: Path) -> dict[str, Any]:
        """Link a file that the run has already written into the new version."""
        path = self._new_file(name, number)
        link_file(written, path)
        return _described(path)

    def _new_file(self, name: str, number: int) -> Path:
        part = f"-{number:04d}" if number else ""
        return self._folder / name / f"{self.run_id}{part}.parquet"

    def _old_files(self, name: str) -> list[tuple[Path, dict[str, Any]]]:
        """Return the files of a table in the previous version, with their manifest entries."""
        if self.base is None:
            return []
        return list(zip(self.base.files(name), self.base.manifest.files[name], strict=True))

    def _kept_rows(self, path: Path, name: str, changes: ChangeSet) -> pa.Table | None:
        """Return the rows of a file that are not withdrawn, or None if all are kept."""
        withdrawn = changes.withdrawn.get(name)
        if withdrawn is None or not withdrawn.num_rows:
            return None
        keys = read_tables([path], name, withdrawn.column_names)
        is_withdrawn = pc.is_in(keys.column(0), value_set=withdrawn.column(0).combine_chunks())
        if pc.any(is_withdrawn, min_count=0).as_py() and len(withdrawn.columns) > 1:
            is_withdrawn = pc.is_in(row_keys(keys), value_set=row_keys(withdrawn))
        if not pc.any(is_withdrawn, min_count=0).as_py():
            return None
        return read_tables([path], name).filter(pc.invert(is_withdrawn))

    def _compact_table(self, name: str) -> _Files:
        """Write a table's rows into files of ``FILE_ROWS`` rows; a single file is kept."""
        old = self._old_files(name)
        if len(old) == 1:
            return [self._link(name, *old[0])]
        rows = row_groups([path for path, _ in old], name)
        return [self._write(name, *part) for part in enumerate(_in_files(rows))]


def write_rows(table: pa.Table, name: str, folder: Path) -> None:
    """Write rows to add as files of a new folder; ``written_files`` returns their paths."""
    folder.mkdir(parents=True)
    for number, part in enumerate(_cut(table)):
        write_table(part, name, folder / f"{number:05d}.parquet")


def written_files(folder: Path, rows: int) -> list[Path]:
    """Return the files that ``rows`` rows were written to; a listing of them might be stale."""
    return [folder / f"{number:05d}.parquet" for number in range(-(-rows // FILE_ROWS))]


def _cut(table: pa.Table) -> Iterator[pa.Table]:
    """Return a table in parts of at most ``FILE_ROWS`` rows."""
    for first in range(0, table.num_rows, FILE_ROWS):
        yield table.slice(first, FILE_ROWS)


def _in_files(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Return the rows of tables in parts of ``FILE_ROWS`` rows, the last one smaller."""
    pending, rows = [], 0
    for table in tables:
        pending.append(table)
        rows += table.num_rows
        while rows >= FILE_ROWS:
            joined = pa.concat_tables(pending)
            yield joined.slice(0, FILE_ROWS)
            pending, rows = [joined.slice(FILE_ROWS)], rows - FILE_ROWS
    if rows:
        yield pa.concat_tables(pending)


def _building(run_id: str) -> str:
    """Return the folder name of a version that is not published yet."""
    return f"building-{run_id}"


def _described(path: Path) -> dict[str, Any]:
    rows = pq.read_metadata(path).num_rows
    return {"name": path.name, "rows": rows, "bytes": path.stat().st_size}
