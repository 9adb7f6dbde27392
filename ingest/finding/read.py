"""Read a source whole, making sure that it does not change meanwhile."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from palimpsest.ingest.finding.discover import reject_of
from palimpsest.ingest.finding.found import FoundFile
from palimpsest.records.errors import SourceError

_ATTEMPTS = 2


def read_source(found: FoundFile, max_bytes: int) -> tuple[bytes, FoundFile]:
    """Return the raw bytes of a source, and the source as it was when they were read.

    Raises:
        SourceError: missing, unreadable, too large, or changed while it was read, twice.
    """
    for _ in range(_ATTEMPTS):
        try:
            raw, before, after = _read_once(found.path, max_bytes)
        except OSError as error:
            raise SourceError(*reject_of(found.path, error)) from error
        size, modified_ns = after.st_size, after.st_mtime_ns
        if len(raw) == size == before.st_size and before.st_mtime_ns == modified_ns:
            return raw, FoundFile(found.path, size, modified_ns)
    raise SourceError(
        "changed",
        f"read {len(raw)} bytes while its size went from {before.st_size} to {after.st_size}; "
        "ingest it again once nothing writes to it",
    )


@contextmanager
def open_source(found: FoundFile) -> Iterator[tuple[BinaryIO, FoundFile]]:
    """Open a source that is too large for memory; it must not change while it is open.

    Raises:
        SourceError: missing, unreadable, or changed meanwhile, which is noticed at the end.
    """
    descriptor = _open(found.path)
    try:
        before = _regular(descriptor)
        with open(descriptor, "rb", closefd=False) as file:
            yield file, FoundFile(found.path, before.st_size, before.st_mtime_ns)
        after = os.fstat(descriptor)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise SourceError(
                "changed",
                f"its size went from {before.st_size} to {after.st_size} while it was read; "
                "ingest it again once nothing writes to it",
            )
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def _regular(descriptor: int) -> os.stat_result:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(
            "not-a-file",
            "it was a file when sources were listed, and is not any more; expected a file",
        )
    return status


def _read_once(path: str, max_bytes: int) -> tuple[bytes, os.stat_result, os.stat_result]:
    descriptor = _open(path)
    try:
        before = _regular(descriptor)
        if before.st_size > max_bytes:
            raise SourceError(
                "too-large",
                f"{before.st_size} bytes; expected at most max_document_bytes = {max_bytes}",
            )
        raw = os.read(descriptor, before.st_size + 1)
        return raw, before, os.fstat(descriptor)
    finally:
        os.close(descriptor)
