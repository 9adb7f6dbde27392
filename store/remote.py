"""An archive on an object store: the same tables, published by a write that only one can win.

::

    s3://BUCKET/NAME/
        archive.json                      written once: the store is asked whether it keeps it
        versions/00000042/manifest.json   a version; empty once the version has been dropped
        tables/<table>/<file>.parquet     written once, under a name that is never used again
        index/<segment>/<file>            the same

A version is published when its manifest is written, on the condition that there is none of its
number; all that it names is there by then. Who comes second has nothing published, and does its
work again on what the first has brought. The manifest of a version that is dropped stays, without
content, so that a writer who was away for long cannot publish under its number.

What is used is kept in a folder of this machine. It is a copy: all of it can be removed while
nothing runs, and what it has that the store has not is never read.
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
)
from palimpsest.store.files import link_file, state_folder, sync, write_durably
from palimpsest.store.objects import STREAMS, Listed, Objects

GRACE_SECONDS = 86_400.0
"""Objects that no version names are kept for so long: somebody may be about to publish them."""
_MARK = "archive.json"
_MARKED = json.dumps({"what": "an archive of palimpsest", "layout": 1}).encode()


class RemoteArchive(StoredArchive):
    """An archive by its address; it need not exist yet."""

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
        """Its address."""
        return self._objects.address

    def exists(self) -> bool:
        """Tell whether a version has been published."""
        return self._newest() is not None

    def snapshot(self, version: int | None = None) -> Snapshot:
        """Return the version that is the newest now, or an earlier one.

        Files are brought here when they are used.

        Raises:
            SettingsError: there is no archive, or no such version.
            ContractError: it was written by another format of Palimpsest.
        """
        for _ in range(TRIES):
            manifest, text = self._told(version)
            folder = self._folder(manifest.version)
            if not _is_of(folder, text):
                self._make(folder, manifest, text)
            found = self._held(folder, manifest)
            if found:
                return found
        raise TransientError(f"archive {self.name}: its versions change too fast; try again")

    def manifest(self, version: int | None = None) -> Manifest:
        """Return what the newest version holds, or an earlier one; no file of it is brought."""
        return self._told(version)[0]

    def published(self) -> list[Manifest]:
        """Return the manifests of all versions that are still there, the first one first."""
        numbers = self.numbers()
        self.require()
        with ThreadPoolExecutor(STREAMS) as pool:
            texts = list(pool.map(self._objects.read, map(_manifest_key, numbers)))
        told = zip(numbers, texts, strict=True)
        return [self._parsed(number, text) for number, text in told if text]

    def numbers(self) -> list[int]:
        """Return the numbers of all versions that are still there, ascending."""
        return [number for number, one in self._listed() if one.size]

    def address_of(self, version: int) -> str:
        """Return the address of a version's manifest."""
        return f"{self.name}/{_manifest_key(version)}"

    def addresses(self, manifest: Manifest, name: str) -> list[str]:
        """Return the addresses of the files of a table."""
        return [f"{self.name}/{_file_key(name, file['name'])}" for file in manifest.files[name]]

    def segments(self, names: Sequence[str]) -> list[Path]:
        """Return the folders of index segments, after bringing those that are not here."""
        folders = super().segments(names)
        for folder in folders:
            if not folder.is_dir():
                self._bring_segment(folder)
        return folders

    def bring(self, manifest: Manifest, name: str) -> None:
        """Bring the files of a table that are not here.

        Raises:
            OutrunError: the version has been dropped meanwhile.
            ContractError: a file is lost, or not what the manifest tells.
        """
        folder = self._folder(manifest.version) / name
        files = manifest.files[name]
        missing = [file for file in files if _size(folder / file["name"]) != file["bytes"]]
        if not missing:
            return
        with self._fetching() as room, ThreadPoolExecutor(STREAMS) as pool:
            fetch = partial(self._bring_file, manifest.version, room, folder)
            for _ in pool.map(fetch, missing):
                pass
            sync(folder)

    def expect_writable(self) -> None:
        """Refuse a store on which two writers could publish the same version.

        Raises:
            SettingsError: it does not keep what is there when it is asked to.
        """
        if self._is_writable:
            return
        if self._objects.write_new(_MARK, _MARKED) and self._objects.write_new(_MARK, _MARKED):
            told = "ignores 'If-None-Match: *', by which only one of two writers publishes"
            raise SettingsError(
                [f"archive {self.name}: {self._objects.endpoint} {told}; use another store"]
            )
        self._is_writable = True

    def publish(self, built: Path, manifest: Manifest) -> Snapshot:
        """Upload what is new in a version, and write its manifest if there is none of its number.

        Raises:
            OutrunError: another machine has published that version; nothing of this is left.
            UnsureError: whether it has been published is not known.
        """
        text = (built / MANIFEST).read_bytes()
        started = time.time()
        sent = self._new_files(built, manifest)
        with ThreadPoolExecutor(STREAMS) as pool:
            for _ in pool.map(lambda key: self._objects.store(sent[key], key), sent):
                pass
        if time.time() - started > GRACE_SECONDS / 2:  # the machine was asleep, perhaps
            raise TransientError(f"archive {self.name}: the upload took too long; run it again")
        if not self._write_manifest(manifest.version, text):
            with suppress(TransientError):
                self._objects.drop(sent)
            raise OutrunError(
                f"archive {self.name}: another machine has published version {manifest.version} "
                "meanwhile; nothing is lost, run it again"
            )
        folder = self._folder(manifest.version)
        if not _is_of(folder, text):
            with suppress(OSError):  # a reader has just made it
                built.rename(folder)
            self._tidy(folder)
        return self._held(folder, manifest) or self.snapshot(manifest.version)

    def unpublished(self, current: int) -> list[Path]:  # noqa: ARG002
        """Return what stands among the versions and is no copy of a published one."""
        return [one for one in self.versions.iterdir() if not one.name.isdigit()]

    def drop_old(self, keep: int) -> Dropped:
        """Drop all but the last versions, and objects that belong to no version.

        What only dropped versions name goes at once; what no version ever named, when it is a day
        old, since another machine may be about to publish it.
        """
        there = self.published()
        kept, old = there[-keep:], there[:-keep]
        needed = {key for one in kept for key in _keys(one)}
        needed_segments = set(kept[-1].segments)
        given_up = {key for one in old for key in _keys(one)}
        given_up_segments = {name for one in there for name in one.segments} - needed_segments
        for one in old:  # first, so that nobody looks for what goes
            self._objects.write(_manifest_key(one.version), b"")
        gone = []
        for found in [*self._objects.list("tables/"), *self._objects.list("index/")]:
            segment = found.key.split("/")[1] if found.key.startswith("index/") else None
            if found.key in needed or segment in needed_segments:
                continue
            is_given_up = found.key in given_up or segment in given_up_segments
            if is_given_up or found.age_seconds >= GRACE_SECONDS:
                gone.append(found)
        self._objects.drop(one.key for one in gone)
        return Dropped([one.version for one in old], [], sum(one.size for one in gone))

    def _told(self, version: int | None) -> tuple[Manifest, bytes]:
        """Return the manifest of the newest version, or of an earlier one, and as it is stored."""
        for _ in range(TRIES):
            number = self._newest() if version is None else version
            if number is None:
                break
            text = self._objects.read(_manifest_key(number)) if number > 0 else None
            if text:
                return self._parsed(number, text), text
            if version is not None:
                self.require()
                found = ", ".join(map(str, self.numbers()))
                told = f"version {version} is not there; found {found}"
                raise SettingsError([f"archive {self.name}: {told}"])
        self.require()
        raise TransientError(f"archive {self.name}: its versions change too fast; try again")

    def _parsed(self, number: int, text: bytes) -> Manifest:
        return Manifest.from_json(text.decode("utf-8", "replace"), self.address_of(number))

    def _newest(self) -> int | None:
        """Return the number of the newest version; all are listed only if none is known here."""
        known = max(super().numbers(), default=0) if self.versions.is_dir() else 0
        found = list(self._listed(f"versions/{known:08d}")) if known else []
        if not found or found[0][0] != known:  # another archive has been made at this address
            found = list(self._listed())
        return max((number for number, one in found if one.size), default=None)

    def _listed(self, after: str = "") -> Iterator[tuple[int, Listed]]:
        """Return the manifests of versions, by number; those of dropped ones are empty."""
        for one in self._objects.list("versions/", after):
            number = one.key.split("/")[1]
            if one.key.endswith(f"/{MANIFEST}") and number.isdigit():
                yield int(number), one

    def _folder(self, version: int) -> Path:
        return self.versions / f"{version:08d}"

    def _held(self, folder: Path, manifest: Manifest) -> Snapshot | None:
        """Return a version that is here, or None if it is being dropped."""
        read_lock = ReadLock.of(folder / MANIFEST)
        return (
            Snapshot(folder, manifest, read_lock, partial(self.bring, manifest))
            if read_lock
            else None
        )

    def _make(self, folder: Path, manifest: Manifest, text: bytes) -> None:
        """Make the folder of a version, with those of its files that other versions have here."""
        self.versions.mkdir(parents=True, exist_ok=True)
        with self._fetching() as room:
            made = room / "made"
            for name in TABLES:
                (made / name).mkdir(parents=True)
                for file in manifest.files[name]:
                    self._copy_file(Path(name, file["name"]), file["bytes"], made)
                sync(made / name)
            write_durably(made / MANIFEST, text.decode())
            with suppress(FileNotFoundError):  # of another archive that was at this address
                folder.rename(room / "other")
            with suppress(OSError):  # somebody else has just made it
                made.rename(folder)
            sync(self.versions)
        self._tidy(folder)

    def _copy_file(self, file: Path, size: int, made: Path) -> None:
        """Link a file from the copy of another version, if there is one that has it."""
        for other in self.versions.iterdir():
            if _size(other / file) == size:
                with suppress(FileNotFoundError):  # it is just going
                    link_file(other / file, made / file)
                    return

    @contextmanager
    def _fetching(self) -> Iterator[Path]:
        """Give a folder for what is on its way, which is removed behind it."""
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
        """Remove copies of older versions that nobody uses, unless somebody fetches just now."""
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

    def _bring_file(self, version: int, room: Path, folder: Path, file: dict[str, Any]) -> None:
        name = str(file["name"])
        fetched = room / f"{folder.name}-{name}"
        key = _file_key(folder.name, name)
        try:
            self._objects.fetch(key, fetched, int(file["bytes"]))
        except FileNotFoundError as error:
            raise self._lost(version, key) from error
        fetched.replace(folder / name)

    def _lost(self, version: int, key: str) -> Exception:
        """Return what to say of an object that is not there."""
        if self._objects.read(_manifest_key(version)):
            told = f"is gone, and version {version} names it; restore it from a backup"
            return ContractError(f"{self.name}/{key}: {told}")
        told = f"version {version} has been dropped while it was read; run it again"
        return OutrunError(f"archive {self.name}: {told}")

    def _bring_segment(self, folder: Path) -> None:
        """Bring an index segment; what is not there is found out by whoever opens it."""
        with self._fetching() as room:
            segment = room / folder.name
            segment.mkdir()
            listed = list(self._objects.list(f"index/{folder.name}/"))

            def fetch(one: Listed) -> None:
                self._objects.fetch(one.key, segment / one.key.rpartition("/")[2], one.size)

            with suppress(FileNotFoundError), ThreadPoolExecutor(STREAMS) as pool:
                for _ in pool.map(fetch, listed):
                    pass
            sync(segment)
            self.index.mkdir(exist_ok=True)
            if listed:
                with suppress(OSError):  # somebody else has just brought it
                    segment.rename(folder)

    def _new_files(self, built: Path, manifest: Manifest) -> dict[str, Path]:
        """Return by key the files of a version that the one before it has not."""
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
        """Write the manifest of a version if there is none; tell whether there is this one now."""
        key = _manifest_key(version)
        try:
            return self._objects.write_new(key, text) or self._objects.read(key) == text
        except TransientError as error:
            with suppress(TransientError):
                if self._objects.read(key) == text:
                    return True
            raise UnsureError(
                f"archive {self.name}: whether version {version} has been published is not known, "
                f"since no answer came ({error}); run it again, which is right in both cases"
            ) from error


def _copies() -> Path:
    """Return the folder of what is kept here of archives that are elsewhere."""
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
    """Tell whether a folder is that of a version with this manifest."""
    try:
        return (folder / MANIFEST).read_bytes() == text
    except OSError:
        return False
