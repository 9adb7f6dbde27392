"""An archive on a local file system: where its versions are and which one readers see.

::

    ARCHIVE                     -> .ARCHIVE.store/versions/00000021    the path people are told
    .ARCHIVE.store/
        lock                    held by whoever is about to publish a version
        versions/00000021/      <table>/*.parquet and manifest.json; never changed once published
        staging/<run>/          what a run prepares; its own lock says that its run is alive
        index/<segment>/        derived from committed files; can be rebuilt at any time

Files that a new version keeps are hard links to those of the one before. The one commit point is
the swap of the symbolic link: a reader that opens ``ARCHIVE`` sees all tables of a run or none.
Readers never wait. They hold a shared lock on the manifest of the version that they read, so that
it is not cleaned away under them.

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
"""How often a reader follows versions that change meanwhile."""
LINK = "next"
"""The new link of the archive, in its home, until it takes the place of the old one."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version holds.

    Attributes:
        version: its number, from 1.
        run_id: the run that published it.
        operation: what that run was: ingest, remove, compact or reindex.
        published_at: when it was made, in UTC.
        sealed: settings and stage versions that all rows of the archive were made with.
        files: for each table, its file names with rows and bytes.
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
        """Return the manifest as it is stored."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        """Return a manifest as it was stored.

        Raises:
            ContractError: it cannot be read, or is of another format of Palimpsest.
        """
        try:
            found = json.loads(text)
            written_as = int(found["format"])
        except (ValueError, TypeError, LookupError) as error:
            told = f"{where}: cannot be read: {error!r}; restore it from a backup"
            raise ContractError(told) from error
        if written_as != FORMAT_VERSION:
            is_later = written_as > FORMAT_VERSION
            advice = "upgrade palimpsest" if is_later else "ingest the sources into a new archive"
            raise ContractError(
                f"{where}: format {written_as}; this version reads {FORMAT_VERSION}; {advice}"
            )
        return cls(**found)


class Dropped(NamedTuple):
    """Numbers of versions that were dropped, and of those that are in use; what that freed."""

    dropped: list[int]
    in_use: list[int]
    bytes_freed: int


class StoredArchive:
    """An archive by its path; it need not exist yet. Reading never waits."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.home = self.path.parent / f".{self.path.name}.store"

    @property
    def name(self) -> str:
        """What people call it: its path, or its address."""
        return str(self.path)

    @property
    def _link_folder(self) -> Path:
        """What the archive's link leads into, as the link tells it."""
        return self.versions.relative_to(self.path.parent)

    @property
    def versions(self) -> Path:
        """The folder of versions."""
        return self.home / "versions"

    @property
    def staging(self) -> Path:
        """The folder of what runs prepare."""
        return self.home / "staging"

    @property
    def index(self) -> Path:
        """The folder of index segments."""
        return self.home / "index"

    def exists(self) -> bool:
        """Tell whether a version has been published.

        Raises:
            SettingsError: something else stands at the path.
        """
        if self.path.is_symlink() and self.path.readlink().parent == self._link_folder:
            return self.home.is_dir()
        if os.path.lexists(self.path):
            raise SettingsError(
                [f"archive {self.name}: found something that is no archive; choose another path"]
            )
        return False

    def require(self) -> StoredArchive:
        """Return the archive itself if there is one to read.

        Raises:
            SettingsError: there is none.
        """
        if not self.exists():
            made_by = f"palimpsest ingest SOURCE --archive {self.name}"
            raise SettingsError([f"archive {self.name}: there is none; make it with: {made_by}"])
        return self

    def snapshot(self, version: int | None = None) -> Snapshot:
        """Return the version that readers see now, or an earlier one.

        It stays whole whatever is published later, and is not cleaned away while it is held.

        Raises:
            SettingsError: there is no archive, or no such version.
            ContractError: it was written by another format of Palimpsest.
        """
        self.require()
        for _ in range(TRIES):
            folder = self._folder_of(version)
            read_lock = ReadLock.of(folder / MANIFEST)
            if read_lock is not None:
                return Snapshot(folder, _read_manifest(folder), read_lock)
        if (folder / MANIFEST).exists():
            raise TransientError(f"archive {self.name}: its versions change too fast; try again")
        raise ContractError(f"{folder / MANIFEST}: is gone; restore {self.home} from a backup")

    def manifest(self, version: int | None = None) -> Manifest:
        """Return what the version that readers see now holds, or an earlier one."""
        return self.snapshot(version).manifest

    def published(self) -> list[Manifest]:
        """Return the manifests of all versions that are still there, the first one first."""
        current = int(self.require().path.readlink().name)
        manifests = []
        for number in self.numbers():
            with suppress(FileNotFoundError):  # cleaned away just now
                if number <= current:
                    manifests.append(_read_manifest(self.versions / f"{number:08d}"))
        return manifests

    def numbers(self) -> list[int]:
        """Return the numbers of all folders of versions, ascending."""
        return sorted(int(one.name) for one in self.versions.iterdir() if one.name.isdigit())

    def address_of(self, version: int) -> str:
        """Return where a version is told of."""
        return str(self.versions / f"{version:08d}")

    def addresses(self, manifest: Manifest, name: str) -> list[str]:
        """Return where the files of a table are, for any reader."""
        folder = self.versions / f"{manifest.version:08d}" / name
        return [str(folder / file["name"]) for file in manifest.files[name]]

    def segments(self, names: Sequence[str]) -> list[Path]:
        """Return the folders of index segments, wherever they may be missing."""
        return [self.index / name for name in names]

    def expect_writable(self) -> None:
        """Refuse what no version can be published to, before anything is done for it.

        Raises:
            SettingsError: something else stands at the path.
        """
        self.exists()

    def publish(self, built: Path, manifest: Manifest) -> Snapshot:
        """Make a version that is whole the one that readers see.

        Args:
            built: its folder, among the versions; it gets another name.
            manifest: what is in it; its number follows that of the version which readers see.
        """
        published = self.versions / f"{manifest.version:08d}"
        built.rename(published)
        sync(self.versions)
        self._swap(published)
        return self.snapshot()

    def unpublished(self, current: int) -> list[Path]:
        """Return what stands among the versions and was never published, or is half gone.

        Args:
            current: the number of the version that readers see, or 0.
        """
        folders = self.versions.iterdir()
        return [one for one in folders if not one.name.isdigit() or int(one.name) > current]

    def drop_old(self, keep: int) -> Dropped:
        """Drop all but the last versions; the archive's lock is held."""
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
        """Lead the archive's path to a version. This is the commit."""
        link = self.home / LINK  # leads nowhere from here, but will from where it goes
        link.symlink_to(published.relative_to(self.path.parent), target_is_directory=True)
        link.replace(self.path)
        sync(self.path.parent)

    def _folder_of(self, version: int | None) -> Path:
        if version is None:
            return self.path.resolve()  # if it is gone by now, the link leads elsewhere next time
        folder = self.versions.resolve() / f"{version:08d}"
        there = [one.version for one in self.published()]
        if version not in there:
            told = f"version {version} is not there; found {', '.join(map(str, there))}"
            raise SettingsError([f"archive {self.name}: {told}"])
        return folder


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except ValueError as error:
        told = f"{path}: cannot be read: {error!r}; restore it from a backup"
        raise ContractError(told) from error
    return Manifest.from_json(text, str(path))


def drop_folder(folder: Path, move_to: Path) -> int | None:
    """Remove a version's folder unless it is in use; return the bytes that only it had.

    Args:
        folder: of the version.
        move_to: a name beside it, by which nobody looks for it.
    """
    with (folder / MANIFEST).open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        freed = sum(
            path.stat().st_size
            for path in folder.rglob("*")
            if path.is_file() and path.stat().st_nlink == 1
        )
        folder.rename(move_to)  # gone at once, for readers
        shutil.rmtree(move_to)
    return freed


class ReadLock:
    """A shared lock on the manifest of a version, for as long as this object lives."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def of(cls, path: Path) -> ReadLock | None:
        """Return a hold, or None if the version is being cleaned away."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        read_lock = cls(path, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:
                return None  # else there are no locks here, and nothing that could be waited for
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
        folder: where its tables are.
        manifest: what it holds.
        hold: keeps it from being cleaned away.
        bring: called with the name of a table before its files are used; they may be elsewhere.
    """

    folder: Path
    manifest: Manifest
    read_lock: Any = field(default=None, repr=False, compare=False)
    bring: Callable[[str], None] | None = field(default=None, repr=False, compare=False)

    def files(self, name: str) -> list[Path]:
        """Return the files of a table."""
        if self.bring:
            self.bring(name)
        return [self.folder / name / file["name"] for file in self.manifest.files[name]]

    def rows(self, name: str) -> int:
        """Return the number of rows of a table, without reading it."""
        return sum(int(file["rows"]) for file in self.manifest.files[name])

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a table, or some of its columns."""
        return read_tables(self.files(name), name, columns)

    def settings(self) -> Settings:
        """Return the settings that the archive was made with."""
        return parse_settings(self.manifest.sealed["settings"], is_stored=True)

    def size_bytes(self) -> int:
        """Return the bytes of all files of this version."""
        return sum(int(file["bytes"]) for name in TABLES for file in self.manifest.files[name])
