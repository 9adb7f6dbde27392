"""The catalogue of the version that readers see now; that of a newer version is built meanwhile."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time

import pyarrow as pa

from palimpsest.inspector.catalogue import Catalogue, catalogue_path, ensure_catalogue
from palimpsest.inspector.pages import views
from palimpsest.records.errors import ArchiveError
from palimpsest.records.progress import Report, Step, silent
from palimpsest.store.archive import Manifest, StoredArchive

_LOG = logging.getLogger("palimpsest.inspector")
CHECK_INTERVAL_SECONDS = 2.0
RETRY_SECONDS = 60.0
"""Delay after a failed build, which may have taken long."""

READ_ERRORS = (ArchiveError, OSError, sqlite3.Error, pa.ArrowException)
"""Raised where an archive or its catalogue is not available."""


class CurrentCatalogue:
    """The catalogue of an archive that may be created, published anew or removed at any time.

    No page waits: a background thread checks the archive, which may be remote.

    Args:
        archive: the archive; it need not exist yet.
        version: the only version to show; by default always the current one.
        report: called with the progress of a build.
    """

    def __init__(
        self, archive: StoredArchive, version: int | None = None, report: Report = silent
    ) -> None:
        self._archive = archive
        self._version = version
        self._report = report
        self._shown: Catalogue | None = None
        self._status = "opening the archive"
        self._pending_version: int | None = None
        self._next_check = 0.0
        self._lock = threading.Lock()
        self._checker: threading.Thread | None = None

    def catalogue(self) -> Catalogue | None:
        """Return the catalogue to show; None while the first one is being built."""
        self._check()
        return self._shown

    def pending_version(self) -> int | None:
        """Return the version whose catalogue is being built while an older one is shown."""
        return self._pending_version if self._shown else None

    def status(self) -> str:
        """Return a sentence that says what is shown, or why nothing is shown yet."""
        self._check()
        shown = self._shown
        return self._status if shown is None else f"showing version {_version_of(shown)}"

    def wait(self) -> None:
        """Wait until the catalogue is built.

        Raises:
            ArchiveError: it cannot be built.
        """
        self._check()
        if self._checker:
            self._checker.join()
        if self._shown is None:
            raise ArchiveError(self._status)

    def discard(self, catalogue: Catalogue) -> None:
        """Delete a damaged catalogue and build it again."""
        with self._lock:
            if self._shown is catalogue:
                self._shown, self._next_check = None, 0.0
                self._status = "the catalogue was damaged and is being rebuilt"
                path = catalogue_path(self._archive, catalogue.snapshot.manifest)
                path.unlink(missing_ok=True)
        self._check()

    def _check(self) -> None:
        """Check for a new version in a background thread, unless that was done recently."""
        with self._lock:
            is_busy = self._checker is not None and self._checker.is_alive()
            is_final = self._shown is not None and self._version is not None
            if is_busy or is_final or time.monotonic() < self._next_check:
                return
            self._next_check = time.monotonic() + CHECK_INTERVAL_SECONDS
            self._checker = threading.Thread(target=self._refresh, daemon=True)
            self._checker.start()

    def _refresh(self) -> None:
        try:
            if not self._archive.exists():
                self._status = f"archive {self._archive.name}: does not exist yet"
                self._shown, self._pending_version = None, None
                return
            manifest = self._archive.manifest(self._version)
            if self._is_shown(manifest):
                return
        except READ_ERRORS as error:
            self._status = str(error)
            return
        try:
            self._build(manifest.version)
        except READ_ERRORS as error:
            self._next_check = time.monotonic() + RETRY_SECONDS
            self._status = f"version {manifest.version} cannot be shown: {error}"
            self._pending_version = None
            _LOG.warning("%s", self._status)

    def _is_shown(self, manifest: Manifest) -> bool:
        """Return whether a version is shown; versions of a recreated archive start at 1 again."""
        if self._shown is None:
            return False
        shown = self._shown.snapshot.manifest
        return (shown.version, shown.run_id) == (manifest.version, manifest.run_id)

    def _build(self, version: int) -> None:
        self._pending_version = version
        snapshot = self._archive.snapshot(version)
        path = ensure_catalogue(self._archive, version, self._progress_of(version))
        catalogue = Catalogue(path, snapshot)
        views.warm_up(catalogue)
        self._shown, self._pending_version = catalogue, None

    def _progress_of(self, version: int) -> Report:
        def report(step: Step, done: int, total: int) -> None:
            self._status = (
                f"building the catalogue of version {version}: step {done:,} of {total:,}"
            )
            self._report(step, done, total)

        return report


def _version_of(catalogue: Catalogue) -> int:
    return catalogue.snapshot.manifest.version
