"""An archive on a local file system: its versions, and which one readers see.

::

    ARCHIVE                     -> .ARCHIVE.store/versions/00000021    the public path
    .ARCHIVE.store/
        lock                    locked by the writer that is about to publish a version
        versions/00000021/      <table>/*.parquet and manifest.json; never changed once published
        staging/<run>/          staged files of a run; locked for as long as the run is alive
        index/<segment>/        derived from committed files; can be rebuilt at any time

Files that a new version has in common with the previous one are hard links. Swapping the symbolic
link is the only commit point: a reader that opens ``ARCHIVE`` sees all tables of a run or none.
Readers never wait. They lock the manifest of the version that they read (a shared lock), so that
cleaning does not remove it meanwhile.

An archive on an object store (``store.remote``) is a ``StoredArchive`` too: it keeps copies in
folders as above, but overrides which version readers see and how one is published.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from palimpsest.records.errors import ContractError, SettingsError, TransientError
from palimpsest.records.schemas import TABLES
from palimpsest.records.settings import Settings, parse_settings
from palimpsest.store.files import sync
from palimpsest.store.parquet import read_tables

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
TRIES = 100
"""Attempts of a reader to open the current version while new ones are being published."""
LINK = "next"
"""Temporary name of the archive's new link, in its home, until it replaces the old one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The contents of a version.

    Attributes:
        version: its number, from 1.
        run_id: the run that published it.
        operation: the kind of run: ingest, remove, compact or reindex.
        published_at: the time in UTC.
        sealed: settings and stage versions that all rows of the archive were computed with.
        files: for each table, the name, rows and bytes of its files.
        segments: names of the index segments that cover its texts.
    """

    version: int
    run_id: str
    operation: str
    published_at: str
    sealed: dict[str, Any]
    files: dict[str, list[dict[str, Any]]]
    segments: list[str] = field(default_factory=list)
    format: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Return the manifest as stored."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        """Return a stored manifest.

        Raises:
            ContractError: it cannot be read, or has another format version.
        """
        try:
            values = json.loads(text)
            stored_format = int(values["format"])
        except (ValueError, TypeError, LookupError) as error:
            fault = f"{where}: cannot be read: {error!r}; restore it from a backup"
            raise ContractError(fault) from error
        if stored_format != FORMAT_VERSION:
            is_later = stored_format > FORMAT_VERSION
            advice = "upgrade palimpsest" if is_later else "ingest the sources into a new archive"
            raise ContractError(
                f"{where}: found format {stored_format}; expected {FORMAT_VERSION}; {advice}"
            )
        return cls(**values)


class Dropped(NamedTuple):
    """Versions that were removed, versions kept because they are in use, and the bytes freed."""

    dropped: list[int]
    in_use: list[int]
    bytes_freed: int


class StoredArchive:
    """An archive at a path; it need not exist yet. Reading never waits."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.home = self.path.parent / f".{self.path.name}.store"

    @property
    def name(self) -> str:
        """The archive's path or address, for messages."""
        return str(self.path)

    @property
    def _link_folder(self) -> Path:
        """The folder that the archive's link points into, relative to the link."""
        return self.versions.relative_to(self.path.parent)

    @property
    def versions(self) -> Path:
        """The folder of versions."""
        return self.home / "versions"

    @property
    def staging(self) -> Path:
        """The folder of staged files."""
        return self.home / "staging"

    @property
    def index(self) -> Path:
        """The folder of index segments."""
        return self.home / "index"

    def exists(self) -> bool:
        """Return whether a version has been published.

        Raises:
            SettingsError: the path is something other than an archive.
        """
        if self.path.is_symlink() and self.path.readlink().parent == self._link_folder:
            return self.home.is_dir()
        if os.path.lexists(self.path):
            raise SettingsError(
                [f"archive {self.name}: the path exists and is not an archive; choose another path"]
            )
        return False

    def require(self) -> StoredArchive:
        """Return this archive if it exists.

        Raises:
            SettingsError: it does not exist.
        """
        if not self.exists():
            advice = f"ingest sources into it first: palimpsest ingest SOURCE --archive {self.name}"
            raise SettingsError([f"archive {self.name}: there is none; {advice}"])
        return self

    def snapshot(self, version: int | None = None) -> Snapshot:
        """Return the version that readers see now, or an earlier one.

        Later versions do not change it, and it is not removed for as long as the snapshot exists.

        Raises:
            SettingsError: the archive or version does not exist.
            ContractError: it has another format version.
        """
        self.require()
        for _ in range(TRIES):
            folder = self._folder_of(version)
            read_lock = ReadLock.of(folder / MANIFEST)
            if read_lock is not None:
                return Snapshot(folder, _read_manifest(folder), read_lock)
        if (folder / MANIFEST).exists():
            raise TransientError(f"archive {self.name}: its versions change too fast; try again")
        raise ContractError(f"{folder / MANIFEST}: is missing; restore {self.home} from a backup")

    def manifest(self, version: int | None = None) -> Manifest:
        """Return the manifest of the version that readers see now, or of an earlier one."""
        return self.snapshot(version).manifest

    def published(self) -> list[Manifest]:
        """Return the manifests of all versions that still exist, in order."""
        current = int(self.require().path.readlink().name)
        manifests = []
        for number in self.numbers():
            with suppress(FileNotFoundError):  # removed just now
                if number <= current:
                    manifests.append(_read_manifest(self.versions / f"{number:08d}"))
        return manifests

    def numbers(self) -> list[int]:
        """Return the numbers of all folders of versions, ascending."""
        return sorted(int(path.name) for path in self.versions.iterdir() if path.name.isdigit())

    def address_of(self, version: int) -> str:
        """Return the path or address of a version, for messages."""
        return str(self.versions / f"{version:08d}")

    def addresses(self, manifest: Manifest, name: str) -> list[str]:
        """Return the paths or addresses of a table's files, for any reader."""
        folder = self.versions / f"{manifest.version:08d}" / name
        return [str(folder / file["name"]) for file in manifest.files[name]]

    def segments(self, names: Sequence[str]) -> list[Path]:
        """Return the folders of index segments, whether or not they exist."""
        return [self.index / name for name in names]

    def expect_writable(self) -> None:
        """Check that a version could be published, before any work is done for it.

        Raises:
            SettingsError: the path is something other than an archive.
        """
        self.exists()

    def publish(self, built: Path, manifest: Manifest) -> Snapshot:
        """Make a complete version the one that readers see.

        Args:
            built: its folder, among the versions; it is renamed.
            manifest: of the version, whose number is one more than that which readers see.
        """
        published = self.versions / f"{manifest.version:08d}"
        built.rename(published)
        sync(self.versions)
        self._swap(published)
        return self.snapshot()

    def unpublished(self, current: int) -> list[Path]:
        """Return folders among the versions that were never published or are partly removed.

        Args:
            current: the number of the version that readers see, or 0.
        """
        folders = self.versions.iterdir()
        return [path for path in folders if not path.name.isdigit() or int(path.name) > current]

    def drop_old(self, keep: int) -> Dropped:
        """Remove all but the last ``keep`` versions; the caller has the archive's lock."""
        current = self.snapshot().manifest.version
        dropped: list[int] = []
        in_use: list[int] = []
        freed = 0
        old = [number for number in self.numbers() if number < current]
        for number in old[: max(0, len(old) - (keep - 1))]:
            folder = self.versions / f"{number:08d}"
            size = drop_folder(folder, folder.with_name(f"dropping-{folder.name}"))
            if size is None:
                in_use.append(number)
            else:
                dropped.append(number)
                freed += size
        sync(self.versions)
        return Dropped(dropped, in_use, freed)

    def _swap(self, published: Path) -> None:
        """Point the archive's path to a version. This is the commit."""
        link = self.home / LINK  # dangling here, valid once moved
        link.symlink_to(published.relative_to(self.path.parent), target_is_directory=True)
        link.replace(self.path)
        sync(self.path.parent)

    def _folder_of(self, version: int | None) -> Path:
        if version is None:
            return self.path.resolve()  # if just removed, the link is followed again
        folder = self.versions.resolve() / f"{version:08d}"
        existing = [manifest.version for manifest in self.published()]
        if version not in existing:
            raise SettingsError([missing_version_fault(self.name, version, existing)])
        return folder


def missing_version_fault(name: str, version: int, existing: Sequence[int]) -> str:
    """Return the fault that an archive does not have a version."""
    found = ", ".join(map(str, existing))
    return f"archive {name}: there is no version {version}; found {found}; name one of these"


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except ValueError as error:
        fault = f"{path}: cannot be read: {error!r}; restore it from a backup"
        raise ContractError(fault) from error
    return Manifest.from_json(text, str(path))


def drop_folder(folder: Path, move_to: Path) -> int | None:
    """Remove a version's folder unless it is in use; return the bytes freed, or None.

    Args:
        folder: of the version.
        move_to: temporary name on the same file system, unknown to readers.
    """
    with (folder / MANIFEST).open("rb") as manifest:
        try:
            fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        freed = sum(
            path.stat().st_size
            for path in folder.rglob("*")
            if path.is_file() and path.stat().st_nlink == 1
        )
        folder.rename(move_to)  # removed at once, for readers
        shutil.rmtree(move_to)
    return freed


class ReadLock:
    """A shared lock on the manifest of a version, for the lifetime of this object."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def of(cls, path: Path) -> ReadLock | None:
        """Return a lock, or None if the version is being removed."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        read_lock = cls(path, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:
                return None  # any other error: a file system without locks
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return read_lock
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return ReadLock.of, (self._path,)

    def __del__(self) -> None:
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One published version of an archive.

    Attributes:
        folder: contains a folder for each table.
        manifest: lists its files.
        hold: keeps it from being cleaned away.
        fetch_table: called with the name of a table before its files are used, if they may have
            to be downloaded.
    """

    folder: Path
    manifest: Manifest
    read_lock: Any = field(default=None, repr=False, compare=False)
    fetch_table: Callable[[str], None] | None = field(default=None, repr=False, compare=False)

    def files(self, name: str) -> list[Path]:
        """Return the files of a table."""
        if self.fetch_table:
            self.fetch_table(name)
        return [self.folder / name / file["name"] for file in self.manifest.files[name]]

    def rows(self, name: str) -> int:
        """Return the number of rows of a table, without reading it."""
        return sum(int(file["rows"]) for file in self.manifest.files[name])

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a table, or some of its columns."""
        return read_tables(self.files(name), name, columns)

    def settings(self) -> Settings:
        """Return the settings that the rows of the archive were computed with."""
        return parse_settings(self.manifest.sealed["settings"], is_stored=True)

    def size_bytes(self) -> int:
        """Return the bytes of all files of this version."""
        return sum(int(file["bytes"]) for name in TABLES for file in self.manifest.files[name])
