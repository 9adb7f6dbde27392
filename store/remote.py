"""An archive on an object store: the same tables, published by a write that only one can win.

::

    s3://BUCKET/NAME/
        archive.json                      written once, to check that the store refuses overwrites
        versions/00000042/manifest.json   a version; empty once the version has been dropped
        tables/<table>/<file>.parquet     written once, under a name that is never used again
        index/<segment>/<file>            the same

A version is published by writing its manifest, on the condition that none of its number exists;
all files that it names have been uploaded by then. A writer that comes second has published nothing
and repeats its work on the version of the first. The manifest of a dropped version is kept, without
content, so that a writer that was suspended for long cannot publish under its number.

Files that are used are cached in a folder of this machine. All of it can be removed while nothing
runs, and files that the store does not have are never read from it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from palimpsest.records.errors import (
    ContractError,
    OutrunError,
    SettingsError,
    TransientError,
    UnsureError,
)
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import (
    MANIFEST,
    TRIES,
    Dropped,
    Manifest,
    ReadLock,
    Snapshot,
    StoredArchive,
    drop_folder,
    missing_version_fault,
)
from palimpsest.store.files import link_file, state_folder, sync, write_durably
from palimpsest.store.objects import STREAMS, Listed, Objects

GRACE_SECONDS = 86_400.0
"""How long objects that no version names are kept: a writer may be about to publish them."""
_MARK = "archive.json"
_MARKED = json.dumps({"what": "an archive of palimpsest", "layout": 1}).encode()


class RemoteArchive(StoredArchive):
    """An archive at an address; it need not exist yet."""

    def __init__(self, address: str) -> None:
        self._objects = Objects(address)
        whole = f"{self._objects.endpoint} {self._objects.address}"
        key = hashlib.blake2b(whole.encode(), digest_size=6).hexdigest()
        leaf = self._objects.address.rpartition("/")[2]
        super().__init__(_copies() / f"{leaf}-{key}")
        self.home = self.path
        self._is_writable = False

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteArchive, (self._objects.address,)

    @property
    def name(self) -> str:
        """The archive's address."""
        return self._objects.address

    def exists(self) -> bool:
        """Return whether a version has been published."""
        return self._newest() is not None

    def snapshot(self, version: int | None = None) -> Snapshot:
        """Return the version that is the newest now, or an earlier one.

        Its files are downloaded when they are used.

        Raises:
            SettingsError: the archive or version does not exist.
            ContractError: it has another format version.
        """
        for _ in range(TRIES):
            manifest, text = self._read_manifest(version)
            folder = self._folder(manifest.version)
            if not _is_of(folder, text):
                self._make(folder, manifest, text)
            snapshot = self._local_snapshot(folder, manifest)
            if snapshot:
                return snapshot
        raise TransientError(f"archive {self.name}: its versions change too fast; try again")

    def manifest(self, version: int | None = None) -> Manifest:
        """Return the manifest of the newest version, or of an earlier one, without its tables."""
        return self._read_manifest(version)[0]

    def published(self) -> list[Manifest]:
        """Return the manifests of all versions that still exist, in order."""
        numbers = self.numbers()
        self.require()
        with ThreadPoolExecutor(STREAMS) as pool:
            texts = list(pool.map(self._objects.read, map(_manifest_key, numbers)))
        stored = zip(numbers, texts, strict=True)
        return [self._parsed(number, text) for number, text in stored if text]

    def numbers(self) -> list[int]:
        """Return the numbers of all versions that still exist, ascending."""
        return [number for number, listed in self._listed() if listed.size]

    def address_of(self, version: int) -> str:
        """Return the address of a version's manifest."""
        return f"{self.name}/{_manifest_key(version)}"

    def addresses(self, manifest: Manifest, name: str) -> list[str]:
        """Return the addresses of the files of a table."""
        return [f"{self.name}/{_file_key(name, file['name'])}" for file in manifest.files[name]]

    def segments(self, names: Sequence[str]) -> list[Path]:
        """Return the folders of index segments, after downloading those that are missing here."""
        folders = super().segments(names)
        for folder in folders:
            if not folder.is_dir():
                self._fetch_segment(folder)
        return folders

    def fetch_table(self, manifest: Manifest, name: str) -> None:
        """Download the files of a table that are missing here.

        Raises:
            OutrunError: the version has been dropped meanwhile.
            ContractError: a file is lost, or not as in the manifest.
        """
        folder = self._folder(manifest.version) / name
        files = manifest.files[name]
        missing = [file for file in files if _size(folder / file["name"]) != file["bytes"]]
        if not missing:
            return
        with self._download_folder() as room, ThreadPoolExecutor(STREAMS) as pool:
            fetch = partial(self._fetch_file, manifest.version, room, folder)
            for _ in pool.map(fetch, missing):
                pass
            sync(folder)

    def expect_writable(self) -> None:
        """Check that the store does not let two writers publish the same version.

        Raises:
            SettingsError: it overwrites an object although it is asked not to.
        """
        if self._is_writable:
            return
        if self._objects.write_new(_MARK, _MARKED) and self._objects.write_new(_MARK, _MARKED):
            fault = "ignores 'If-None-Match: *', which lets only one of two writers publish"
            raise SettingsError(
                [f"archive {self.name}: {self._objects.endpoint} {fault}; use another store"]
            )
        self._is_writable = True

    def publish(self, built: Path, manifest: Manifest) -> Snapshot:
        """Upload the new files of a version, and write its manifest unless its number is taken.

        Raises:
            OutrunError: another machine has published that version; nothing of this one is left.
            UnsureError: it is not known whether the version has been published.
        """
        text = (built / MANIFEST).read_bytes()
        started = time.time()
        uploads = self._new_files(built, manifest)
        with ThreadPoolExecutor(STREAMS) as pool:
            for _ in pool.map(lambda key: self._objects.store(uploads[key], key), uploads):
                pass
        if time.time() - started > GRACE_SECONDS / 2:  # the machine was suspended, perhaps
            raise TransientError(f"archive {self.name}: the upload took too long; run it again")
        if not self._write_manifest(manifest.version, text):
            with suppress(TransientError):
                self._objects.drop(uploads)
            raise OutrunError(
                f"archive {self.name}: another machine has published version {manifest.version} "
                "meanwhile; nothing is lost, run it again"
            )
        folder = self._folder(manifest.version)
        if not _is_of(folder, text):
            with suppress(OSError):  # a reader has just created it
                built.rename(folder)
            self._tidy(folder)
        return self._local_snapshot(folder, manifest) or self.snapshot(manifest.version)

    def unpublished(self, current: int) -> list[Path]:  # noqa: ARG002
        """Return folders among the versions that are not copies of published ones."""
        return [path for path in self.versions.iterdir() if not path.name.isdigit()]

    def drop_old(self, keep: int) -> Dropped:
        """Remove all but the last ``keep`` versions, and objects that belong to no version.

        Objects that only removed versions name are removed at once; those that no version ever
        named once they are a day old, since another machine may be about to publish them.
        """
        published = self.published()
        kept, old = published[-keep:], published[:-keep]
        needed = {key for manifest in kept for key in _keys(manifest)}
        needed_segments = set(kept[-1].segments)
        unneeded = {key for manifest in old for key in _keys(manifest)}
        unneeded_segments = {
            name for manifest in published for name in manifest.segments
        } - needed_segments
        for manifest in old:  # first, so that no reader looks for objects about to be removed
            self._objects.write(_manifest_key(manifest.version), b"")
        removed = []
        for found in [*self._objects.list("tables/"), *self._objects.list("index/")]:
            segment = found.key.split("/")[1] if found.key.startswith("index/") else None
            if found.key in needed or segment in needed_segments:
                continue
            is_unneeded = found.key in unneeded or segment in unneeded_segments
            if is_unneeded or found.age_seconds >= GRACE_SECONDS:
                removed.append(found)
        self._objects.drop(found.key for found in removed)
        return Dropped(
            dropped=[manifest.version for manifest in old],
            in_use=[],
            bytes_freed=sum(found.size for found in removed),
        )

    def _read_manifest(self, version: int | None) -> tuple[Manifest, bytes]:
        """Return the manifest of the newest version, or of an earlier one, parsed and as stored."""
        for _ in range(TRIES):
            number = self._newest() if version is None else version
            if number is None:
                break
            text = self._objects.read(_manifest_key(number)) if number > 0 else None
            if text:
                return self._parsed(number, text), text
            if version is not None:
                self.require()
                fault = missing_version_fault(self.name, version, self.numbers())
                raise SettingsError([fault])
        self.require()
        raise TransientError(f"archive {self.name}: its versions change too fast; try again")

    def _parsed(self, number: int, text: bytes) -> Manifest:
        return Manifest.from_json(text.decode("utf-8", "replace"), self.address_of(number))

    def _newest(self) -> int | None:
        """Return the number of the newest version; list all only if none is known here."""
        known = max(super().numbers(), default=0) if self.versions.is_dir() else 0
        found = list(self._listed(f"versions/{known:08d}")) if known else []
        if not found or found[0][0] != known:  # another archive has been created at this address
            found = list(self._listed())
        return max((number for number, listed in found if listed.size), default=None)

    def _listed(self, after: str = "") -> Iterator[tuple[int, Listed]]:
        """Iterate over the manifests of versions by number; those of dropped ones are empty."""
        for listed in self._objects.list("versions/", after):
            number = listed.key.split("/")[1]
            if listed.key.endswith(f"/{MANIFEST}") and number.isdigit():
                yield int(number), listed

    def _folder(self, version: int) -> Path:
        return self.versions / f"{version:08d}"

    def _local_snapshot(self, folder: Path, manifest: Manifest) -> Snapshot | None:
        """Return a version whose folder is here, or None if it is being removed."""
        read_lock = ReadLock.of(folder / MANIFEST)
        return (
            Snapshot(folder, manifest, read_lock, partial(self.fetch_table, manifest))
            if read_lock
            else None
        )

    def _make(self, folder: Path, manifest: Manifest, text: bytes) -> None:
        """Create the folder of a version, with those of its files that other versions have here."""
        self.versions.mkdir(parents=True, exist_ok=True)
        with self._download_folder() as room:
            made = room / "made"
            for name in TABLES:
                (made / name).mkdir(parents=True)
                for file in manifest.files[name]:
                    self._copy_file(Path(name, file["name"]), file["bytes"], made)
                sync(made / name)
            write_durably(made / MANIFEST, text.decode())
            with suppress(FileNotFoundError):  # of another archive, previously at this address
                folder.rename(room / "other")
            with suppress(OSError):  # another process has just created it
                made.rename(folder)
            sync(self.versions)
        self._tidy(folder)

    def _copy_file(self, file: Path, size: int, made: Path) -> None:
        """Link a file from the copy of another version that has it, if any."""
        for other in self.versions.iterdir():
            if _size(other / file) == size:
                with suppress(FileNotFoundError):  # it is being removed
                    link_file(other / file, made / file)
                    return

    @contextmanager
    def _download_folder(self) -> Iterator[Path]:
        """Open a folder for downloads, which is removed afterwards."""
        room = self.home / "fetching" / secrets.token_hex(8)
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "fetch.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            room.mkdir(parents=True)
            try:
                yield room
            finally:
                shutil.rmtree(room, ignore_errors=True)

    def _tidy(self, newest: Path) -> None:
        """Remove unused copies of older versions, unless a download is in progress."""
        with (self.home / "fetch.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            trash = self.home / "fetching"
            shutil.rmtree(trash, ignore_errors=True)
            trash.mkdir(exist_ok=True)
            for folder in self.versions.iterdir():
                if folder.name.isdigit() and folder.name < newest.name:
                    drop_folder(folder, trash / folder.name)

    def _fetch_file(self, version: int, room: Path, folder: Path, file: dict[str, Any]) -> None:
        name = str(file["name"])
        fetched = room / f"{folder.name}-{name}"
        key = _file_key(folder.name, name)
        try:
            self._objects.fetch(key, fetched, int(file["bytes"]))
        except FileNotFoundError as error:
            raise self._lost(version, key) from error
        fetched.replace(folder / name)

    def _lost(self, version: int, key: str) -> Exception:
        """Return the error for a missing object."""
        if self._objects.read(_manifest_key(version)):
            fault = f"is missing, and version {version} names it; restore it from a backup"
            return ContractError(f"{self.name}/{key}: {fault}")
        fault = f"version {version} has been dropped while it was read; run it again"
        return OutrunError(f"archive {self.name}: {fault}")

    def _fetch_segment(self, folder: Path) -> None:
        """Download an index segment; the caller that opens it finds out if files are missing."""
        with self._download_folder() as room:
            segment = room / folder.name
            segment.mkdir()
            listed = list(self._objects.list(f"index/{folder.name}/"))

            def fetch(file: Listed) -> None:
                self._objects.fetch(file.key, segment / file.key.rpartition("/")[2], file.size)

            with suppress(FileNotFoundError), ThreadPoolExecutor(STREAMS) as pool:
                for _ in pool.map(fetch, listed):
                    pass
            sync(segment)
            self.index.mkdir(exist_ok=True)
            if listed:
                with suppress(OSError):  # another process has just downloaded it
                    segment.rename(folder)

    def _new_files(self, built: Path, manifest: Manifest) -> dict[str, Path]:
        """Return the files of a version that the previous one does not have, by key."""
        before = self._folder(manifest.version - 1) / MANIFEST
        known: set[str] = set()
        segments: set[str] = set()
        if before.exists():
            base = self._parsed(manifest.version - 1, before.read_bytes())
            known, segments = set(_keys(base)), set(base.segments)
        files = {
            key: built / name / file["name"]
            for name in TABLES
            for file in manifest.files[name]
            if (key := _file_key(name, file["name"])) not in known
        }
        for name in manifest.segments:
            if name not in segments:
                paths = sorted((self.index / name).iterdir())
                files |= {f"index/{name}/{path.name}": path for path in paths}
        return files

    def _write_manifest(self, version: int, text: bytes) -> bool:
        """Write the manifest of a version unless it exists; return whether it is stored now."""
        key = _manifest_key(version)
        try:
            return self._objects.write_new(key, text) or self._objects.read(key) == text
        except TransientError as error:
            with suppress(TransientError):
                if self._objects.read(key) == text:
                    return True
            raise UnsureError(
                f"archive {self.name}: it is not known whether version {version} was published, "
                f"since the store did not answer ({error}); run it again, which is safe either way"
            ) from error


def _copies() -> Path:
    """Return the folder of local copies of archives on object stores."""
    named = os.environ.get("PALIMPSEST_CACHE")
    return Path(named) if named else state_folder() / "archives"


def _manifest_key(version: int) -> str:
    return f"versions/{version:08d}/{MANIFEST}"


def _file_key(table: str, file: str) -> str:
    return f"tables/{table}/{file}"


def _keys(manifest: Manifest) -> Iterator[str]:
    """Return the keys of all files of a version's tables."""
    for name, files in manifest.files.items():
        for file in files:
            yield _file_key(name, file["name"])


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _is_of(folder: Path, text: bytes) -> bool:
    """Return whether a folder is that of a version with this manifest."""
    try:
        return (folder / MANIFEST).read_bytes() == text
    except OSError:
        return False
