"""The catalogue of the version that readers see now; a newer one is made meanwhile."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable

import pyarrow as pa

from inspector.catalogue import Catalogue, catalogue_path, find_catalogue
from inspector.pages import views
from records.errors import ArchiveError
from records.progress import Report, silent
from store.archive import Archive, Manifest

_LOG = logging.getLogger("palimpsest.inspector")
LOOK_AGAIN_SECONDS = 2.0
TRY_AGAIN_SECONDS = 60.0
"""How long to wait after a catalogue could not be made, which may have taken long."""

UNREADABLE = (ArchiveError, OSError, sqlite3.Error, pa.ArrowException)
"""What is raised where an archive or its catalogue is not to be had."""


class Shelf:
    """Gives the catalogue of an archive, which may come later, be published anew, or be gone.

    No page waits: the archive, which may be far away, is looked at by a thread.

    Args:
        archive: the archive; it need not exist yet.
        version: a version that is shown for good; the current one unless given.
        report: told how far a catalogue is.
    """

    def __init__(
        self, archive: Archive, version: int | None = None, report: Report = silent
    ) -> None:
        self._archive = archive
        self._version = version
        self._report = report
        self._held: Catalogue | None = None
        self._told = "the archive is being looked at"
        self._newer: int | None = None
        self._look_at = 0.0
        self._lock = threading.Lock()
        self._looker: threading.Thread | None = None

    def catalogue(self) -> Catalogue | None:
        """Return the catalogue to show; None while the first one is made."""
        self._look()
        return self._held

    def newer(self) -> int | None:
        """Return the number of a version whose catalogue is being made, while another is shown."""
        return self._newer if self._held else None

    def state(self) -> str:
        """Return in a sentence what is shown, or why nothing is yet."""
        self._look()
        held = self._held
        return self._told if held is None else f"version {held.snapshot.manifest.version} is shown"

    def wait(self) -> None:
        """Wait until the catalogue that is being made is there, or cannot be made.

        Raises:
            ArchiveError: it cannot be made.
        """
        self._look()
        if self._looker:
            self._looker.join()
        if self._held is None:
            raise ArchiveError(self._told)

    def give_up(self, catalogue: Catalogue) -> None:
        """Remove a catalogue that turned out to be damaged, and have it made again."""
        with self._lock:
            if self._held is catalogue:
                self._held, self._look_at = None, 0.0
                self._told = "the catalogue was damaged and is made again"
                path = catalogue_path(self._archive, catalogue.snapshot.manifest)
                path.unlink(missing_ok=True)
        self._look()

    def _look(self) -> None:
        """Have a thread look whether there is another version to show, unless one has just been."""
        with self._lock:
            is_busy = self._looker is not None and self._looker.is_alive()
            is_settled = self._held is not None and self._version is not None
            if is_busy or is_settled or time.monotonic() < self._look_at:
                return
            self._look_at = time.monotonic() + LOOK_AGAIN_SECONDS
            self._looker = threading.Thread(target=self._refresh, daemon=True)
            self._looker.start()

    def _refresh(self) -> None:
        try:
            if not self._archive.exists():
                self._told = f"archive {self._archive.name}: there is none yet"
                self._held, self._newer = None, None
                return
            manifest = self._archive.manifest(self._version)
            if self._is_held(manifest):
                return
        except UNREADABLE as error:
            self._told = str(error)
            return
        try:
            self._make(manifest.version)
        except UNREADABLE as error:
            self._look_at = time.monotonic() + TRY_AGAIN_SECONDS
            self._told = f"version {manifest.version} cannot be shown: {error}"
            self._newer = None
            _LOG.warning("%s", self._told)

    def _is_held(self, manifest: Manifest) -> bool:
        """Tell whether a version is shown; an archive that is made again begins at 1 again."""
        if self._held is None:
            return False
        held = self._held.snapshot.manifest
        return (held.version, held.run_id) == (manifest.version, manifest.run_id)

    def _make(self, version: int) -> None:
        self._newer = version
        snapshot = self._archive.snapshot(version)
        path = find_catalogue(self._archive, version, self._tell(version))
        catalogue = Catalogue(path, snapshot)
        views.warm_up(catalogue)
        self._held, self._newer = catalogue, None

    def _tell(self, version: int) -> Callable[[str, int, int], None]:
        def told(step: str, done: int, total: int) -> None:
            self._told = f"the catalogue of version {version} is being made: {done} of {total}"
            self._report(step, done, total)

        return told
