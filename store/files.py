"""Write files and folders atomically and durably, and find the state folder."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from palimpsest.records.errors import SettingsError

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EXDEV}
"""Errors of file systems without hard links, or with no more of them for a file."""
_SYNCED_AT_ONCE = 8
"""Files that are synced concurrently, which takes hardly longer than one."""


def state_folder() -> Path:
    """Return the folder of Palimpsest's state: ``PALIMPSEST_STATE``, or the XDG state folder."""
    named = os.environ.get("PALIMPSEST_STATE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "palimpsest"


def expect_ending(path: Path, endings: Sequence[str]) -> str:
    """Return which of the endings a file's name has, in lower case.

    Raises:
        SettingsError: the name has none of them.
    """
    for ending in endings:
        if path.name.lower().endswith(ending):
            return ending
    fault = f"output {path}: ends in none of {', '.join(endings)}"
    raise SettingsError([f"{fault}; the ending chooses the format"])


@contextmanager
def new_file(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that appears at ``path`` once it is complete.

    Until then it has a temporary name in the same folder, and it is removed if writing fails.

    Args:
        path: of the file.
        replace: whether an existing file may be replaced.

    Raises:
        SettingsError: ``path`` exists and may not be replaced, or cannot be written.
    """
    _refuse_existing(path, "file", replace=replace)
    beside = _beside(path)
    try:
        file = beside.open("xb")
    except OSError as error:
        raise SettingsError([f"output {path}: {error.strerror}; name another file"]) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            _refuse_existing(path, "file", replace=True)
            beside.replace(path)
            sync(path.absolute().parent)
        else:
            _show_file(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Create a folder that appears at ``path`` once it is complete.

    Until then it has a temporary name beside ``path``, and it is removed if filling it fails.

    Raises:
        SettingsError: ``path`` exists, or cannot be written.
    """
    _refuse_existing(path, "folder")
    beside = _beside(path)
    try:
        beside.mkdir()
    except OSError as error:
        raise SettingsError([f"output {path}: {error.strerror}; name another folder"]) from error
    try:
        yield beside
        with ThreadPoolExecutor(_SYNCED_AT_ONCE) as pool:
            for _ in pool.map(sync, _all_in(beside)):
                pass
        _refuse_existing(path, "folder")
        beside.rename(path)  # fails if a non-empty folder has been created meanwhile
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync(path.absolute().parent)


def _all_in(folder: Path) -> Iterator[Path]:
    """Iterate over a folder and everything in it."""
    for inside, _, names in os.walk(folder):
        yield from (Path(inside, name) for name in (*names, "."))


def _beside(path: Path) -> Path:
    """Return an unused name in the folder of ``path``."""
    return path.with_name(f".palimpsest-{secrets.token_hex(8)}")


def _refuse_existing(path: Path, kind: str, *, replace: bool = False) -> None:
    if not path.name or path.is_dir() or (os.path.lexists(path) and not replace):
        can_replace = kind == "file" and path.name and not path.is_dir()
        advice = ", or allow it to be replaced (--force)" if can_replace else ""
        raise SettingsError([f"output {path}: already exists; name a new {kind}{advice}"])


def _show_file(beside: Path, path: Path) -> None:
    """Give a complete file its final name, unless that exists."""
    try:
        os.link(beside, path)  # unlike a rename, never replaces a file created meanwhile
    except FileExistsError:
        _refuse_existing(path, "file")
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _refuse_existing(path, "file")
        beside.rename(path)
    sync(path.absolute().parent)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, text: str) -> None:
    """Write a new file and flush it to the disk."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def link_file(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it if the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(source, target)
        sync(target)
