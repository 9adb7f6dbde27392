"""Find sources: files, folders and globs become a sorted list, a reject for what is no file."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote_from_bytes

from records.errors import SettingsError


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file as it was found."""

    path: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class FoundReject:
    """A name that was found, but leads to no file that can be read."""

    path: str
    reason: str
    detail: str


@dataclass(slots=True)
class Discovery:
    """All that was found under the arguments of one run, each path once, in the order of paths."""

    files: list[FoundFile] = field(default_factory=list)
    rejects: list[FoundReject] = field(default_factory=list)


def uri_of(path: str) -> str:
    """Return a ``file:`` URI (RFC 8089) for an absolute path, whatever bytes its name holds.

    Example:
        >>> uri_of("/archive/a b.txt")
        'file:///archive/a%20b.txt'
    """
    return "file://" + quote_from_bytes(os.fsencode(path), safe="/:@!$&'()*+,;=~-._")


def timestamp_of(modified_ns: int) -> datetime:
    """Return nanoseconds since 1970 as a time in UTC, cut to microseconds; the range clips it."""
    lowest, highest = -62_135_596_800_000_000, 253_402_300_799_999_999
    microseconds = min(max(modified_ns // 1000, lowest), highest)
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def discover(arguments: Sequence[str]) -> Discovery:
    """Find every file under files, folders and globs.

    Folders are walked through symbolic links; a link into a folder that contains it is a reject.

    Raises:
        SettingsError: an argument names nothing; every such argument is told at once.
    """
    roots = expand_sources(arguments)
    found = {entry.path: entry for root in roots for entry in _walk(os.path.abspath(root), ())}
    ordered = [found[path] for path in sorted(found, key=os.fsencode)]
    return Discovery(
        [entry for entry in ordered if isinstance(entry, FoundFile)],
        [entry for entry in ordered if isinstance(entry, FoundReject)],
    )


def expand_sources(arguments: Sequence[str]) -> list[str]:
    """Return the paths that arguments name, patterns expanded; none of them is opened.

    Raises:
        SettingsError: an argument names nothing; every such argument is told at once.
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


def _expand(argument: str) -> list[str]:
    if os.path.lexists(argument):
        return [argument]
    return sorted(glob.glob(argument, recursive=True, include_hidden=True))


def _walk(path: str, above: tuple[tuple[int, int], ...]) -> Iterator[FoundFile | FoundReject]:
    """Yield what is at ``path``; ``above`` holds device and inode of the folders that led there."""
    pending = [(path, above)]
    while pending:
        path, above = pending.pop()
        try:
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode):
                yield FoundFile(path, status.st_size, status.st_mtime_ns)
                continue
            if not stat.S_ISDIR(status.st_mode):
                kind = "a pipe, socket or device"
                yield FoundReject(path, "not-a-file", f"found {kind}; expected a file or folder")
                continue
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                detail = "found a link into a folder that contains it; it is not followed"
                yield FoundReject(path, "link-loop", detail)
                continue
            with os.scandir(path) as entries:
                pending.extend((entry.path, (*above, identity)) for entry in entries)
        except OSError as error:
            yield FoundReject(path, *reject_of(path, error))


def reject_of(path: str, error: OSError) -> tuple[str, str]:
    """Return the reject reason and detail for what the operating system said about ``path``."""
    said = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        if os.path.islink(path):
            return "broken-link", f"the link leads to {os.readlink(path)!r}, which does not exist"
        return "vanished", "it was there when sources were listed and is not any more"
    if isinstance(error, PermissionError):
        return "no-permission", f"{said}; give the user who runs this the right to read it"
    if said == os.strerror(40):  # ELOOP: a link that leads to itself
        return "link-loop", f"{said}; it is not followed"
    return "unreadable", said
