"""Sources on a network: what fsspec opens, such as ``https://`` and ``s3://``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, TypeVar, cast

from palimpsest.ingest.finding.found import FoundFile, FoundReject
from palimpsest.records.errors import SettingsError, SourceError

_HELD_BYTES = 32 * 2**20
_CHUNK_BYTES = 2**20
_PAUSES = (1.0, 3.0, 9.0)
"""Seconds before asking again; what a network does may pass."""
_WEB = ("http", "https")
_pause = time.sleep
Answer = TypeVar("Answer")


def is_url(argument: str) -> bool:
    """Tell whether an argument is an address and no path."""
    scheme, separator, _ = argument.partition("://")
    return bool(separator) and scheme.isalnum() and len(scheme) > 1 and scheme != "file"


def find_remote(url: str) -> Iterator[FoundFile | FoundReject]:
    """Give what is at an address: the object, those under a folder, or those a pattern matches.

    Raises:
        SettingsError: what opens such addresses is not installed, or nobody knows the scheme.
    """
    scheme = url.partition("://")[0]
    files = _files_of(url)
    try:
        if scheme in _WEB:
            found = {url: _asked(lambda: files.info(url))}
        elif any(mark in url for mark in "*?["):
            found = _asked(lambda: files.glob(url, detail=True))
        else:
            _asked(lambda: files.info(url))  # looking for more passes over what cannot be reached
            found = _asked(lambda: files.find(url, detail=True))
    except SourceError as error:
        yield FoundReject(url, error.reason, error.detail)
        return
    if not found:
        yield FoundReject(url, "vanished", "nothing is there")
    for name, told in found.items():
        path = url if scheme in _WEB else f"{scheme}://{name.partition('://')[2] or name}"
        yield FoundFile(path, int(told.get("size") or 0), _modified_ns(told))


@contextmanager
def open_remote(url: str) -> Iterator[BinaryIO]:
    """Open a copy of what is at an address, in memory if it is small; it can be sought in.

    Raises:
        SourceError: it is not there, may not be read, or cannot be reached after several attempts.
    """
    files = _files_of(url)

    def fetch() -> SpooledTemporaryFile[bytes]:
        copy: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(_HELD_BYTES)
        try:
            with files.open(url, "rb") as far:
                while piece := far.read(_CHUNK_BYTES):
                    copy.write(piece)
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return copy

    with _asked(fetch) as copy:
        yield cast(BinaryIO, copy)


def _files_of(url: str) -> Any:
    """Return the file system of an address."""
    scheme = url.partition("://")[0]
    try:
        import fsspec

        if scheme == "s3":
            from fsspec.implementations.arrow import ArrowFSWrapper
            from pyarrow.fs import S3FileSystem

            return ArrowFSWrapper(S3FileSystem(endpoint_override=_s3_endpoint()))
        return fsspec.filesystem(scheme)
    except (ImportError, ValueError) as error:
        fault = (
            f"source {url!r}: addresses with {scheme}:// cannot be opened ({error}); install "
            "what opens them: pip install 'palimpsest-archive[remote]'"
        )
        raise SettingsError([fault]) from error


def _s3_endpoint() -> str | None:
    """Return the address of the object store that the usual variables name; None for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _asked(ask: Callable[[], Answer]) -> Answer:
    """Return an answer from the network; what may pass is asked again after a while."""
    for pause in (*_PAUSES, None):
        try:
            return ask()
        except Exception as error:  # each file system has errors of its own
            # What could not be asked for, fsspec calls missing, with the cause behind it.
            cause = error.__cause__ if isinstance(error, FileNotFoundError) else None
            fault = _fault(cause or error)
            if pause is None or fault.reason != "unreachable" or not _may_pass(cause or error):
                raise fault from error
            _pause(pause)
    raise AssertionError("unreachable code")


def _fault(error: BaseException) -> SourceError:
    status = getattr(error, "status", None)
    said = f"{type(error).__name__}: {error}"[:300]
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return SourceError("vanished", f"nothing is there: {said}")
    if isinstance(error, PermissionError) or status in (401, 403, 451):
        return SourceError("no-permission", said)
    return SourceError("unreachable", f"{said}; it is tried again in each run")


def _may_pass(error: BaseException) -> bool:
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status == 429 or status >= 500
    return isinstance(error, OSError) or "timeout" in type(error).__name__.lower()


def _modified_ns(told: Any) -> int:
    """Return when an object was modified, in nanoseconds; 0 where nobody says."""
    found = next(
        (told[name] for name in ("mtime", "LastModified", "last_modified") if told.get(name)), 0
    )
    if isinstance(found, datetime):
        return int(found.timestamp() * 1_000_000) * 1000
    return int(float(found) * 10**9) if isinstance(found, int | float) else 0
