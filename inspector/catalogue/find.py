"""Where the catalogue of a version is, and whether it is there."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from inspector.catalogue.build import FORMAT, CatalogueError, build_catalogue
from inspector.catalogue.read import Catalogue
from records.files import state_folder
from records.progress import Report, silent
from store.address import open_archive
from store.archive import Archive, Manifest, Snapshot

_SUFFIX = ".sqlite"


def catalogue_path(archive: Archive, manifest: Manifest) -> Path:
    """Return where the catalogue of a version is kept, in the state folder."""
    digest = hashlib.sha256(archive.name.encode("utf-8", "backslashreplace")).hexdigest()[:12]
    return state_folder() / "catalogues" / digest / f"{manifest.version:08d}{_SUFFIX}"


def find_catalogue(archive: Archive, version: int | None = None, report: Report = silent) -> Path:
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
def lend_catalogue(
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
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as one:
        told = {name: json.loads(value) for name, value in one.execute(_TOLD)}
        return told == {"format": FORMAT, "run_id": manifest.run_id}
    return False


_TOLD = "SELECT name, value FROM told WHERE name IN ('format', 'run_id')"


def _build_apart(archive: Archive, manifest: Manifest, path: Path, report: Report) -> None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    given = (archive.name, manifest.version, path, sender)
    process = context.Process(target=_build, args=given, daemon=True)
    process.start()
    sender.close()
    fault = "its process ended"
    with suppress(EOFError):
        while True:
            told = receiver.recv()
            if isinstance(told, str):
                fault = told
            else:
                report(*told)
    process.join()
    if process.exitcode != 0:
        raise CatalogueError(fault)


def _build(name: str, version: int, path: Path, sender: Connection) -> None:
    try:
        snapshot = open_archive(name).snapshot(version)
        build_catalogue(snapshot, path, lambda *told: sender.send(told))
    except Exception as error:
        sender.send(str(error) or repr(error))
        raise SystemExit(1) from error
