"""Publish versions: all tables at one moment, or none."""

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
"""The most rows of a file: what is written again when one of them goes. They are one row group."""
_Files = list[dict[str, Any]]
"""Files of a table as the manifest tells them: name, rows, bytes."""
_ALIVE = "alive"
"""The file in a run's staging folder whose lock its process holds."""
_DROPPING = "dropping-"
"""How the name of a staging folder begins that is being removed: it is not whole any more."""
_POLL_SECONDS = 0.05
_OUTRUN_TRIES = 8
"""How often a run is done that others, who write from other machines, outrun each time."""
_Given = ParamSpec("_Given")
_Done = TypeVar("_Done")


def retry_if_outrun(step: Callable[_Given, _Done]) -> Callable[_Given, _Done]:
    """Return a step that is done again, on what the others brought, if it came too late to publish.

    Whoever comes too late does so because somebody else has published, so all together go on.
    """

    @functools.wraps(step)
    def persistently(*args: _Given.args, **kwargs: _Given.kwargs) -> _Done:
        for _ in range(_OUTRUN_TRIES - 1):
            with suppress(OutrunError):
                return step(*args, **kwargs)
        return step(*args, **kwargs)

    return persistently


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """What a run does to an archive.

    Attributes:
        added: rows to add, by table.
        withdrawn: by table, rows of key columns; rows that agree in all of these go, and their
            files are rewritten.
        sealed: settings and stage versions of the archive.
        segments: names of the index segments of the new version; those of the old if None.
        operation: what the run is.
        written: by table, Parquet files with more rows to add, as ``write_rows`` made them; they
            are linked.
    """

    added: Mapping[str, pa.Table]
    withdrawn: Mapping[str, pa.Table]
    sealed: dict[str, Any]
    segments: Sequence[str] | None = None
    operation: str = "ingest"
    written: Mapping[str, Sequence[Path]] = field(default_factory=dict)


@contextmanager
def open_staging(archive: StoredArchive, run_id: str) -> Iterator[Path]:
    """Give a folder for what a run prepares; it is the run's own until it ends.

    What dead runs had prepared is in its subfolder ``left``, to be taken up or dropped. The folder
    is removed when the run ends well; else it is left to the next run, unless the disk is full.
    """
    archive.expect_writable()
    folder = archive.staging / run_id
    with _locked(archive.home / "staging.lock"):
        dead = [one for one in archive.staging.glob("*") if not _is_alive(one)]
        (folder / "left").mkdir(parents=True)
        alive = (folder / _ALIVE).open("a")
        fcntl.flock(alive, fcntl.LOCK_EX)
        for one in dead:
            if one.name.startswith(_DROPPING):
                with suppress(OSError):
                    _drop_staged(one)
            else:
                one.rename(folder / "left" / one.name)
    with alive:
        try:
            yield folder
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                with suppress(OSError):
                    _drop_staged(folder)
            raise
        with suppress(OSError):  # the run is done; the next one tries again
            _drop_staged(folder)


def _drop_staged(folder: Path) -> None:
    """Remove a staging folder; who dies or fails over it leaves nothing that can be taken up."""
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
    """Remove what dead runs had prepared; return how many there were."""
    with _locked(archive.home / "staging.lock"):
        dead = [one for one in archive.staging.glob("*") if not _is_alive(one)]
        for one in dead:
            with suppress(FileNotFoundError):  # its run is just removing it
                _drop_staged(one)
    return len(dead)


@contextmanager
def _locked(path: Path, wait_seconds: float = 60.0, waiting: str = "") -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    with path.open("a") as lock:  # which leaves its time as it is
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise TransientError(waiting or f"{path}: still locked") from error
            time.sleep(_POLL_SECONDS)
        yield


@contextmanager
def open_writer(
    archive: StoredArchive, run_id: str, wait_seconds: float = 0.0, files_at_once: int | None = None
) -> Iterator[Writer]:
    """Hold the archive's lock and give a writer; unpublished versions of dead runs are cleared.

    Args:
        archive: what is written to.
        run_id: who writes.
        wait_seconds: how long to wait for another writer.
        files_at_once: how many files are written at a time, each of which is in memory; as many as
            cores, and several in any case, unless given.

    Raises:
        TransientError: another run is still writing.
        SettingsError: no version can be published there.
    """
    archive.expect_writable()
    told = f"archive {archive.name}: another run is writing to it; try again when it is done"
    with _locked(archive.home / "lock", wait_seconds, told):
        base = archive.snapshot() if archive.exists() else None
        clear_unpublished(archive, base)
        try:
            yield Writer(archive, run_id, base, files_at_once or max(4, os.cpu_count() or 1))
        finally:
            shutil.rmtree(archive.versions / _building(run_id), ignore_errors=True)


def clear_unpublished(archive: StoredArchive, base: Snapshot | None) -> None:
    """Remove versions that were never published, or half cleaned, and segments of no version."""
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
    """Whoever may publish, for as long as it holds the lock.

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
            SettingsError: there is none.
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
        with ThreadPoolExecutor(len(TABLES)) as pool:  # compressing one does not wait for another
            files = dict(zip(TABLES, pool.map(build, TABLES), strict=True))
        if segments is None:
            segments = base.segments if base else ()
        manifest = Manifest(
            number,
            self.run_id,
            operation,
            datetime.now(UTC).isoformat(timespec="microseconds"),
            sealed,
            files,
            list(segments),
        )
        write_durably(self._folder / MANIFEST, manifest.to_json())
        for name in TABLES:
            sync(self._folder / name)
        sync(self._folder)
        return self.archive.publish(self._folder, manifest)

    def _build_table(self, name: str, changes: ChangeSet, pool: ThreadPoolExecutor) -> _Files:
        """Write a table's new rows; link its files, or write them again without rows that go."""
        added = conform(changes.added.get(name, TABLES[name].empty_table()), name)
        parts = list(_cut(added))
        written = list(pool.map(lambda part: self._write(name, *part), enumerate(parts)))
        for path in changes.written.get(name, ()):
            written.append(self._take(name, len(written), path))
        old = self._old_files(name)
        full = [one for one in old if one[1]["rows"]]

        def carry(number: int, one: tuple[Path, dict[str, Any]]) -> dict[str, Any] | None:
            return self._carry(name, number, one, changes)

        carried = pool.map(carry, itertools.count(len(written)), full)
        files = [*written, *(file for file in carried if file)]
        if not files:  # an empty table has one empty file, so that globs match
            empty = next((one for one in old if not one[1]["rows"]), None)
            files = [self._link(name, *empty) if empty else self._write(name, 0, added)]
        return sorted(files, key=lambda file: str(file["name"]))

    def _carry(
        self, name: str, number: int, old: tuple[Path, dict[str, Any]], changes: ChangeSet
    ) -> dict[str, Any] | None:
        """Bring a file into the new version; return it as it is now, or None if no row is left."""
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
        """Bring a file that the run has written already into the new version."""
        path = self._new_file(name, number)
        link_file(written, path)
        return _described(path)

    def _new_file(self, name: str, number: int) -> Path:
        part = f"-{number:04d}" if number else ""
        return self._folder / name / f"{self.run_id}{part}.parquet"

    def _old_files(self, name: str) -> list[tuple[Path, dict[str, Any]]]:
        """Return the files of a table in the version before, with what its manifest tells."""
        if self.base is None:
            return []
        return list(zip(self.base.files(name), self.base.manifest.files[name], strict=True))

    def _kept_rows(self, path: Path, name: str, changes: ChangeSet) -> pa.Table | None:
        """Return the rows of a file that stay, or None if all of them do."""
        gone = changes.withdrawn.get(name)
        if gone is None or not gone.num_rows:
            return None
        held = read_tables([path], name, gone.column_names)
        goes = pc.is_in(held.column(0), value_set=gone.column(0).combine_chunks())
        if pc.any(goes, min_count=0).as_py() and len(gone.columns) > 1:
            goes = pc.is_in(row_keys(held), value_set=row_keys(gone))
        if not pc.any(goes, min_count=0).as_py():
            return None
        return read_tables([path], name).filter(pc.invert(goes))

    def _compact_table(self, name: str) -> _Files:
        """Write a table's rows into files of so many rows; a single file stays as it is."""
        old = self._old_files(name)
        if len(old) == 1:
            return [self._link(name, *old[0])]
        rows = row_groups([path for path, _ in old], name)
        return [self._write(name, *part) for part in enumerate(_in_files(rows))]


def write_rows(table: pa.Table, name: str, folder: Path) -> None:
    """Write rows to add as files of a new folder, which ``written_files`` tells."""
    folder.mkdir(parents=True)
    for number, part in enumerate(_cut(table)):
        write_table(part, name, folder / f"{number:05d}.parquet")


def written_files(folder: Path, rows: int) -> list[Path]:
    """Return the files that so many rows were written to; no listing is asked, which may be old."""
    return [folder / f"{number:05d}.parquet" for number in range(-(-rows // FILE_ROWS))]


def _cut(table: pa.Table) -> Iterator[pa.Table]:
    """Return a table in parts of as many rows as a file has at most."""
    for first in range(0, table.num_rows, FILE_ROWS):
        yield table.slice(first, FILE_ROWS)


def _in_files(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Return the rows of tables in parts of as many rows as a file has at most."""
    waiting, rows = [], 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        while rows >= FILE_ROWS:
            together = pa.concat_tables(waiting)
            yield together.slice(0, FILE_ROWS)
            waiting, rows = [together.slice(FILE_ROWS)], rows - FILE_ROWS
    if rows:
        yield pa.concat_tables(waiting)


def _building(run_id: str) -> str:
    """Return the name of a version that is not published yet."""
    return f"building-{run_id}"


def _described(path: Path) -> dict[str, Any]:
    rows = pq.read_metadata(path).num_rows
    return {"name": path.name, "rows": rows, "bytes": path.stat().st_size}
