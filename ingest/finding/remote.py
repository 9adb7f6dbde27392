"""Sources on a network, opened by fsspec, such as ``https://`` and ``s3://``."""

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

_MAX_MEMORY_BYTES = 32 * 2**20
_CHUNK_BYTES = 2**20
_PAUSES = (1.0, 3.0, 9.0)
"""Seconds before each retry of a request."""
_WEB = ("http", "https")
_pause = time.sleep
Answer = TypeVar("Answer")


def is_url(argument: str) -> bool:
    """Return whether an argument is a URL, not a path."""
    scheme, separator, _ = argument.partition("://")
    return bool(separator) and scheme.isalnum() and len(scheme) > 1 and scheme != "file"


def find_remote(url: str) -> Iterator[FoundFile | FoundReject]:
    """Yield the objects at a URL: itself, those in a folder, or those that match a pattern.

    Raises:
        SettingsError: the scheme is unknown, or the package for it is not installed.
    """
    scheme = url.partition("://")[0]
    files = _files_of(url)
    try:
        if scheme in _WEB:
            found = {url: _with_retries(lambda: files.info(url))}
        elif any(mark in url for mark in "*?["):
            found = _with_retries(lambda: files.glob(url, detail=True))
        else:
            _with_retries(lambda: files.info(url))  # find() ignores unreachable objects
            found = _with_retries(lambda: files.find(url, detail=True))
    except SourceError as error:
        yield FoundReject(url, error.reason, error.detail)
        return
    if not found:
        yield FoundReject(url, "vanished", "found no object at this address; expected at least one")
    for name, info in found.items():
        path = url if scheme in _WEB else f"{scheme}://{name.partition('://')[2] or name}"
        yield FoundFile(path, int(info.get("size") or 0), _modified_ns(info))


@contextmanager
def open_remote(url: str) -> Iterator[BinaryIO]:
    """Open a seekable copy of a remote object, in memory if it is small.

    Raises:
        SourceError: it does not exist, may not be read, or is unreachable after several attempts.
    """
    files = _files_of(url)

    def fetch() -> SpooledTemporaryFile[bytes]:
        copy: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(_MAX_MEMORY_BYTES)
        try:
            with files.open(url, "rb") as remote:
                while piece := remote.read(_CHUNK_BYTES):
                    copy.write(piece)
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return copy

    with _with_retries(fetch) as copy:
        yield cast(BinaryIO, copy)


def _files_of(url: str) -> Any:
    """Return the file system of a URL."""
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
            f"source {url!r}: {scheme}:// cannot be opened ({error}); install the packages for "
            "it: pip install 'palimpsest-archive[remote]'"
        )
        raise SettingsError([fault]) from error


def _s3_endpoint() -> str | None:
    """Return the endpoint that the AWS variables name; None for Amazon's own."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _with_retries(request: Callable[[], Answer]) -> Answer:
    """Return the answer to a request, which is retried after transient errors."""
    for pause in (*_PAUSES, None):
        try:
            return request()
        except Exception as error:  # each file system has errors of its own
            # fsspec reports a failed request as a missing file, caused by the real error.
            cause = error.__cause__ if isinstance(error, FileNotFoundError) else None
            fault = _fault(cause or error)
            if pause is None or fault.reason != "unreachable" or not _is_transient(cause or error):
                raise fault from error
            _pause(pause)
    raise AssertionError("unreachable code")


def _fault(error: BaseException) -> SourceError:
    status = getattr(error, "status", None)
    said = f"{type(error).__name__}: {error}"[:300]
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return SourceError("vanished", f"no object at this address: {said}")
    if isinstance(error, PermissionError) or status in (401, 403, 451):
        return SourceError("no-permission", said)
    return SourceError("unreachable", f"{said}; check the network, the next run tries again")


def _is_transient(error: BaseException) -> bool:
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status == 429 or status >= 500
    return isinstance(error, OSError) or "timeout" in type(error).__name__.lower()


def _modified_ns(info: Any) -> int:
    """Return when an object was modified, in nanoseconds since 1970; 0 if unknown."""
    found = next(
        (info[name] for name in ("mtime", "LastModified", "last_modified") if info.get(name)), 0
    )
    if isinstance(found, datetime):
        return int(found.timestamp() * 1_000_000) * 1000
    return int(float(found) * 10**9) if isinstance(found, int | float) else 0
