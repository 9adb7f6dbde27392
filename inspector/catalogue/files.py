"""Where the catalogues of versions are stored; build those that are missing."""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import secrets
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from palimpsest.inspector.catalogue.build import FORMAT, UNFINISHED, CatalogueError, build_catalogue
from palimpsest.inspector.catalogue.read import Catalogue, open_catalogue
from palimpsest.records.progress import Report, silent
from palimpsest.store.address import open_archive
from palimpsest.store.archive import Manifest, Snapshot, StoredArchive
from palimpsest.store.files import state_folder

_SUFFIX = ".sqlite"
_LOCK_NAME = "lock"


def catalogue_path(archive: StoredArchive, manifest: Manifest) -> Path:
    """Return the path of a version's catalogue in the state folder."""
    digest = hashlib.sha256(archive.name.encode("utf-8", "backslashreplace")).hexdigest()[:12]
    return state_folder() / "catalogues" / digest / f"{manifest.version:08d}{_SUFFIX}"


def ensure_catalogue(
    archive: StoredArchive, version: int | None = None, report: Report = silent
) -> Path:
    """Return the path of a version's catalogue, which is built if it does not exist.

    It is built in a separate process, which frees its memory afterwards. Catalogues of deleted
    versions are deleted.

    Args:
        archive: the archive.
        version: its number; the current version by default.
        report: called with the progress of the build.

    Raises:
        CatalogueError: it cannot be built.
    """
    manifest = archive.manifest(version)
    path = catalogue_path(archive, manifest)
    if not _is_complete(path, manifest):
        _build_in_process(archive, manifest, path, report)
    current_names = {f"{number:08d}{_SUFFIX}" for number in archive.numbers()}
    for other in path.parent.glob(f"*{_SUFFIX}"):
        if other.name not in current_names:
            other.unlink(missing_ok=True)
    return path


@contextmanager
def borrow_catalogue(
    archive: StoredArchive, snapshot: Snapshot, report: Report = silent
) -> Iterator[Catalogue]:
    """Provide the catalogue of a version for a single use.

    An existing catalogue is used. Otherwise one is built and deleted afterwards, so that daily
    reports do not leave a catalogue behind every day.

    Args:
        archive: the archive.
        snapshot: the version.
        report: called with the progress of the build.

    Raises:
        CatalogueError: it cannot be built.
    """
    path = catalogue_path(archive, snapshot.manifest)
    if _is_complete(path, snapshot.manifest):
        yield Catalogue(path, snapshot)
        return
    # Without the suffix, since another process would delete it as that of no version.
    temporary = path.with_name(f".lent-{secrets.token_hex(4)}")
    try:
        _build_in_process(archive, snapshot.manifest, temporary, report)
        yield Catalogue(temporary, snapshot)
    finally:
        temporary.unlink(missing_ok=True)


def _is_complete(path: Path, manifest: Manifest) -> bool:
    with suppress(sqlite3.Error, ValueError), closing(open_catalogue(path)) as catalogue:
        facts = {name: json.loads(value) for name, value in catalogue.execute(_FACTS_QUERY)}
        return facts == {"format": FORMAT, "run_id": manifest.run_id}
    return False


_FACTS_QUERY = "SELECT name, value FROM facts WHERE name IN ('format', 'run_id')"


def _build_in_process(
    archive: StoredArchive, manifest: Manifest, path: Path, report: Report
) -> None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (archive.name, manifest, path, sender)
    process = context.Process(target=_build, args=arguments, daemon=True)
    process.start()
    sender.close()
    fault = "its process was killed"
    with suppress(EOFError):
        while True:
            message = receiver.recv()
            if isinstance(message, str):
                fault = message
            else:
                report(*message)
    process.join()
    if process.exitcode != 0:
        raise CatalogueError(f"catalogue {path}: could not be built: {fault}")


def _build(name: str, manifest: Manifest, path: Path, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent terminates this process
    try:
        snapshot = open_archive(name).snapshot(manifest.version)
        with _lock(path.parent):
            if not _is_complete(path, manifest):  # another process may have built it meanwhile
                build_catalogue(snapshot, path, lambda *progress: sender.send(progress))
    except Exception as error:
        sender.send(str(error) or repr(error))
        raise SystemExit(1) from error


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Let one process at a time build catalogues in a folder; delete leftovers of killed ones."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK_NAME).open("wb")
    except OSError as error:
        fault = f"catalogue in {folder}: cannot be written: {error}"
        raise CatalogueError(f"{fault}; name another folder with PALIMPSEST_STATE") from error
    with lock:
        with suppress(OSError):  # on file systems without locks, two may build at the same time
            fcntl.flock(lock, fcntl.LOCK_EX)
            for leftover in folder.glob(f"{UNFINISHED}*"):
                shutil.rmtree(leftover, ignore_errors=True)
        yield
