"""The catalogue of the version that readers see now; a newer one is made meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from inspector.catalogue import Catalogue, find_catalogue
from inspector.pages import views
from records.errors import ArchiveError
from records.progress import Report, silent
from store.archive import Archive

_LOG = logging.getLogger("palimpsest.inspector")
LOOK_AGAIN_SECONDS = 2.0


class Shelf:
    """Gives the catalogue of an archive, which may come later, or be published anew.

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
        self._looked = 0.0
        self._lock = threading.Lock()
        self._maker: threading.Thread | None = None

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
        if self._held is None:
            return self._told
        return f"version {self._held.snapshot.manifest.version} is shown"

    def wait(self) -> None:
        """Wait until the catalogue that is being made is there, or cannot be made.

        Raises:
            ArchiveError: it cannot be made.
        """
        self._look()
        if self._maker:
            self._maker.join()
        if self._held is None:
            raise ArchiveError(self._told)

    def _look(self) -> None:
        """Look whether there is a version to show, and have its catalogue made if it is new."""
        with self._lock:
            is_early = time.monotonic() - self._looked < LOOK_AGAIN_SECONDS
            if is_early or (self._maker and self._maker.is_alive()):
                return
            self._looked = time.monotonic()
            if self._held and self._version is not None:
                return
            try:
                if not self._archive.exists():
                    self._told = f"archive {self._archive.name}: there is none yet"
                    return
                version = self._archive.manifest(self._version).version
            except ArchiveError as error:
                self._told = str(error)
                return
            if self._held and self._held.snapshot.manifest.version == version:
                return
            self._newer = version
            self._maker = threading.Thread(target=self._make, args=(version,), daemon=True)
            self._maker.start()

    def _make(self, version: int) -> None:
        try:
            snapshot = self._archive.snapshot(version)
            path = find_catalogue(self._archive, version, self._tell(version))
            catalogue = Catalogue(path, snapshot)
            views.warm_up(catalogue)
            self._held, self._newer = catalogue, None
        except ArchiveError as error:
            self._told = f"version {version} cannot be shown: {error}"
            _LOG.warning("%s", self._told)

    def _tell(self, version: int) -> Callable[[str, int, int], None]:
        def told(step: str, done: int, total: int) -> None:
            self._told = f"the catalogue of version {version} is being made: {done} of {total}"
            self._report(step, done, total)

        return told
