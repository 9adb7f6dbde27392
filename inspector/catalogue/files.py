"""Where the catalogue of a version is, and whether it is there."""

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

from inspector.catalogue.build import FORMAT, UNFINISHED, CatalogueError, build_catalogue
from inspector.catalogue.read import Catalogue, open_catalogue
from records.files import state_folder
from records.progress import Report, silent
from store.address import open_archive
from store.archive import Archive, Manifest, Snapshot

_SUFFIX = ".sqlite"
_LOCK = "lock"


def catalogue_path(archive: Archive, manifest: Manifest) -> Path:
    """Return where the catalogue of a version is kept, in the state folder."""
    digest = hashlib.sha256(archive.name.encode("utf-8", "backslashreplace")).hexdigest()[:12]
    return state_folder() / "catalogues" / digest / f"{manifest.version:08d}{_SUFFIX}"


def ensure_catalogue(archive: Archive, version: int | None = None, report: Report = silent) -> Path:
    """Return the catalogue of a version, after making it if it is not there.

    It is made in a process of its own, whose memory is free afterwards. Those of versions that are
    no more are removed.

    Args:
        archive: the archive.
        version: its number; the current one unless given.
        report: told how far the making is.

    Raises:
        CatalogueError: it cannot be made.
    """
    manifest = archive.manifest(version)
    path = catalogue_path(archive, manifest)
    if not _is_whole(path, manifest):
        _build_apart(archive, manifest, path, report)
    kept = {f"{number:08d}{_SUFFIX}" for number in archive.numbers()}
    for other in path.parent.glob(f"*{_SUFFIX}"):
        if other.name not in kept:
            other.unlink(missing_ok=True)
    return path


@contextmanager
def borrow_catalogue(
    archive: Archive, snapshot: Snapshot, report: Report = silent
) -> Iterator[Catalogue]:
    """Give the catalogue of a version to somebody who looks once.

    One that is kept is given as it is. Else it is made for this time and removed afterwards, so
    that a report a day does not leave a catalogue a day behind.

    Args:
        archive: the archive.
        snapshot: the version.
        report: told how far the making is.

    Raises:
        CatalogueError: it cannot be made.
    """
    kept = catalogue_path(archive, snapshot.manifest)
    if _is_whole(kept, snapshot.manifest):
        yield Catalogue(kept, snapshot)
        return
    lent = kept.with_name(f".lent-{secrets.token_hex(4)}")  # not as those that are cleared
    try:
        _build_apart(archive, snapshot.manifest, lent, report)
        yield Catalogue(lent, snapshot)
    finally:
        lent.unlink(missing_ok=True)


def _is_whole(path: Path, manifest: Manifest) -> bool:
    with suppress(sqlite3.Error, ValueError), closing(open_catalogue(path)) as one:
        told = {name: json.loads(value) for name, value in one.execute(_FACTS_QUERY)}
        return told == {"format": FORMAT, "run_id": manifest.run_id}
    return False


_FACTS_QUERY = "SELECT name, value FROM facts WHERE name IN ('format', 'run_id')"


def _build_apart(archive: Archive, manifest: Manifest, path: Path, report: Report) -> None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    given = (archive.name, manifest, path, sender)
    process = context.Process(target=_build, args=given, daemon=True)
    process.start()
    sender.close()
    fault = "its process was killed"
    with suppress(EOFError):
        while True:
            told = receiver.recv()
            if isinstance(told, str):
                fault = told
            else:
                report(*told)
    process.join()
    if process.exitcode != 0:
        raise CatalogueError(f"catalogue {path}: could not be made: {fault}")


def _build(name: str, manifest: Manifest, path: Path, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    try:
        snapshot = open_archive(name).snapshot(manifest.version)
        with _alone(path.parent):
            if not _is_whole(path, manifest):  # another process may have made it meanwhile
                build_catalogue(snapshot, path, lambda *told: sender.send(told))
    except Exception as error:
        sender.send(str(error) or repr(error))
        raise SystemExit(1) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time make catalogues in a folder; what killed ones left is removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("wb")
    except OSError as error:
        told = f"catalogue in {folder}: cannot be written: {error}"
        raise CatalogueError(f"{told}; name another folder with PALIMPSEST_STATE") from error
    with lock:
        with suppress(OSError):  # where there are no locks, two may make one at a time
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in folder.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left, ignore_errors=True)
        yield
