"""An archive on a local file system: where its versions are and which one readers see.

::

    ARCHIVE                     -> .ARCHIVE.store/versions/00000021    the path people are told
    .ARCHIVE.store/
        lock                    held by the one run that writes
        versions/00000021/      <table>/*.parquet and manifest.json; never changed once published
        staging/<run>/          what a run prepares
        index/<segment>/        derived from committed files; can be rebuilt at any time

Files that a new version keeps are hard links to those of the one before. The one commit point is
the swap of the symbolic link: a reader that opens ``ARCHIVE`` sees all tables of a run or none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from records.errors import ContractError, SettingsError
from records.schemas import TABLES
from store.parquet import read_tables

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version holds.

    Attributes:
        version: its number, from 1.
        run_id: the run that published it.
        sealed: settings and stage versions that all rows of the archive were made with.
        files: for each table, its file names with rows and bytes.
        segments: names of the index segments that cover its texts.
    """

    version: int
    run_id: str
    sealed: dict[str, Any]
    files: dict[str, list[dict[str, Any]]]
    segments: list[str] = field(default_factory=list)
    format: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Return the manifest as it is stored."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)


class Archive:
    """An archive by its path; it need not exist yet. Reading never takes a lock."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.home = self.path.parent / f".{self.path.name}.store"

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
                [f"archive {self.path}: found something that is no archive; choose another path"]
            )
        return False

    def require(self) -> Archive:
        """Return the archive itself if there is one to read.

        Raises:
            SettingsError: there is none.
        """
        if not self.exists():
            made_by = f"palimpsest ingest SOURCE --archive {self.path}"
            raise SettingsError([f"archive {self.path}: there is none; make it with: {made_by}"])
        return self

    def snapshot(self) -> Snapshot:
        """Return the version that readers see now; it stays whole whatever is published later.

        Raises:
            SettingsError: there is no archive.
            ContractError: it was written by a later version of Palimpsest.
        """
        folder = self.require().path.resolve(strict=True)
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if found["format"] > FORMAT_VERSION:
            raise ContractError(
                f"{self.path}: format {found['format']}; this version reads up to "
                f"{FORMAT_VERSION}; upgrade palimpsest"
            )
        return Snapshot(folder, Manifest(**found))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One published version of an archive."""

    folder: Path
    manifest: Manifest

    def files(self, name: str) -> list[Path]:
        """Return the files of a table."""
        return [self.folder / name / file["name"] for file in self.manifest.files[name]]

    def rows(self, name: str) -> int:
        """Return the number of rows of a table, without reading it."""
        return sum(int(file["rows"]) for file in self.manifest.files[name])

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a table, or some of its columns."""
        return read_tables(self.files(name), name, columns)

    def size_bytes(self) -> int:
        """Return the bytes of all files of this version."""
        return sum(int(file["bytes"]) for name in TABLES for file in self.manifest.files[name])
