"""Find sources: expand files, folders and patterns to a sorted list of files and rejects."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote_from_bytes, unquote_to_bytes

from palimpsest.ingest.finding.found import FoundFile, FoundReject
from palimpsest.ingest.finding.remote import find_remote, is_url
from palimpsest.ingest.metadata.facts import sidecars_among
from palimpsest.records.errors import SettingsError, SourceError

_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_.~/:@!$&'()*+,;=-]*")
"""A path that needs no quoting."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_TIME, _LAST_TIME = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Years 1 to 9999, in microseconds since 1970."""
_WEB = ("http://", "https://")


@dataclass(slots=True)
class Discovery:
    """The files and rejects under the arguments of a run, each path once, sorted by path."""

    files: list[FoundFile] = field(default_factory=list)
    rejects: list[FoundReject] = field(default_factory=list)


def uri_of(path: str) -> str:
    """Return a ``file:`` URI (RFC 8089) for an absolute path, whatever bytes its name has.

    A URL keeps its scheme; one of the web is unchanged.

    Example:
        >>> uri_of("/archive/a b.txt")
        'file:///archive/a%20b.txt'
        >>> uri_of("s3://bucket/a b.txt")
        's3://bucket/a%20b.txt'
    """
    if _PLAIN_PATH.fullmatch(path):
        return "file://" + path
    if path.startswith(_WEB):
        return path
    scheme, separator, rest = path.partition("://")
    if not separator or path.startswith("/"):
        scheme, rest = "file", path
    return f"{scheme}://" + quote_from_bytes(os.fsencode(rest), safe="/:@!$&'()*+,;=~-._")


def path_of(uri: str) -> str:
    """Return the path or URL of a URI: the inverse of ``uri_of``.

    Raises:
        SourceError: no file can have such a name.

    Example:
        >>> path_of("file:///archive/a%20b.txt")
        '/archive/a b.txt'
    """
    if uri.startswith(_WEB):
        return uri
    scheme, _, rest = uri.partition("://")
    path = os.fsdecode(unquote_to_bytes(rest))
    if "\0" in path:
        raise SourceError("not-a-file", "found a zero byte in the path; no file name contains one")
    return path if scheme == "file" else f"{scheme}://{path}"


def status_of(path: str) -> FoundFile:
    """Return a file as it is now.

    Raises:
        SourceError: it does not exist, or is inaccessible.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise SourceError(*reject_of(path, error)) from error
    return FoundFile(path, status.st_size, status.st_mtime_ns)


def timestamp_of(modified_ns: int) -> datetime:
    """Return a time in UTC, in whole microseconds and clipped to the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=microseconds_of(modified_ns))


def microseconds_of(modified_ns: int) -> int:
    """Return nanoseconds since 1970 in microseconds, clipped to the years 1 to 9999."""
    return min(max(modified_ns // 1000, _FIRST_TIME), _LAST_TIME)


def discover(arguments: Sequence[str]) -> Discovery:
    """Find every file under files, folders, patterns and URLs.

    Symbolic links to folders are followed; a link into a folder that contains it is a reject.
    Sidecars are not sources (``facts.sidecars_among``).

    Raises:
        SettingsError: arguments that match nothing; lists all of them.
    """
    roots = expand_sources(arguments)
    found: dict[str, FoundFile | FoundReject] = {}
    for root in roots:
        entries = find_remote(root) if is_url(root) else _walk(os.path.abspath(root), ())
        found |= {entry.path: entry for entry in entries}
    order = None if all(map(str.isascii, found)) else os.fsencode  # the same order, but faster
    ordered = [found[path] for path in sorted(found, key=order)]
    files = [entry for entry in ordered if isinstance(entry, FoundFile)]
    sidecars = sidecars_among([entry.path for entry in files])
    return Discovery(
        [entry for entry in files if entry.path not in sidecars],
        [entry for entry in ordered if isinstance(entry, FoundReject)],
    )


def expand_sources(arguments: Sequence[str]) -> list[str]:
    """Return the paths that arguments name, with patterns expanded and URLs unchanged.

    Raises:
        SettingsError: arguments that match nothing; lists all of them.
    """
    matched = {argument: _expand(argument) for argument in arguments}
    faults = [
        f"source {argument!r}: no such file or folder, and as a pattern it matches nothing; "
        f"looked in {os.getcwd()!r}"
        for argument, paths in matched.items()
        if not paths
    ]
    if not arguments:
        faults.append("no source was given; name at least one file, folder or pattern")
    if faults:
        raise SettingsError(faults)
    return [path for paths in matched.values() for path in paths]


def absolute_source(argument: str) -> str:
    """Return an absolute path or pattern; URLs are unchanged."""
    return argument if is_url(argument) else os.path.join(os.getcwd(), argument)


def _expand(argument: str) -> list[str]:
    if is_url(argument):
        return [argument]
    if os.path.lexists(argument):
        return [argument]
    return sorted(glob.glob(argument, recursive=True, include_hidden=True))


def _walk(path: str, above: tuple[tuple[int, int], ...]) -> Iterator[FoundFile | FoundReject]:
    """Yield the files under ``path``; ``above``: device and inode of the folders above it."""
    pending = [(path, above)]
    while pending:
        path, above = pending.pop()
        try:
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode):
                yield FoundFile(path, status.st_size, status.st_mtime_ns)
                continue
            if not stat.S_ISDIR(status.st_mode):
                detail = "found a pipe, socket or device; expected a file or folder"
                yield FoundReject(path, "not-a-file", detail)
                continue
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                detail = "found a link into a folder that contains it; it is not followed"
                yield FoundReject(path, "link-loop", detail)
                continue
            with os.scandir(path) as entries:
                for entry in entries:
                    file = _file_at(entry)
                    if file is not None:
                        yield file
                    else:
                        pending.append((entry.path, (*above, identity)))
        except OSError as error:
            yield FoundReject(path, *reject_of(path, error))


def _file_at(entry: os.DirEntry[str]) -> FoundFile | None:
    """Return a folder's entry if it is a regular file; None for anything else."""
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return FoundFile(entry.path, status.st_size, status.st_mtime_ns)


def reject_of(path: str, error: OSError) -> tuple[str, str]:
    """Return the reject reason and detail for an error of the operating system."""
    said = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        if os.path.islink(path):
            return "broken-link", f"the link points to {os.readlink(path)!r}, which does not exist"
        return "vanished", "it existed when sources were listed, but not when it was read"
    if isinstance(error, PermissionError):
        return "no-permission", f"{said}; give the user of this process permission to read it"
    if said == os.strerror(40):  # ELOOP: a link that leads to itself
        return "link-loop", f"{said}; it is not followed"
    return "unreadable", said
