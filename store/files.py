"""Write files and folders completely or not at all, durably; and find the folder of our state."""

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
"""Errors of file systems that have no hard links, or no more of them."""
_SYNCED_AT_ONCE = 8
"""Files that a disk is asked to keep at a time: it takes hardly longer than for one."""


def state_folder() -> Path:
    """Return the folder of Palimpsest's state: ``PALIMPSEST_STATE``, or the XDG state folder."""
    named = os.environ.get("PALIMPSEST_STATE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "palimpsest"


def expect_ending(path: Path, endings: Sequence[str]) -> str:
    """Return which of some endings a file's name has, in lower case.

    Raises:
        SettingsError: it has none of them.
    """
    for ending in endings:
        if path.name.lower().endswith(ending):
            return ending
    fault = f"--output {path}: ends in none of {', '.join(endings)}"
    raise SettingsError([f"{fault}; the ending chooses the format"])


@contextmanager
def new_file(path: Path, *, replace: bool = False) -> Iterator[BinaryIO]:
    """Give a file to write to; it appears at ``path`` once it is complete.

    Until then it has another name in the same folder, and is removed if writing fails.

    Args:
        path: of the file.
        replace: replace a file that exists.

    Raises:
        SettingsError: ``path`` exists and may not be replaced, or nothing can be written there.
    """
    _refuse_existing(path, "file", replace=replace)
    beside = _beside(path)
    try:
        file = beside.open("xb")
    except OSError as error:
        raise SettingsError([f"--output {path}: {error.strerror}; name another file"]) from error
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
    """Give a folder to be filled that stands at a path once it is whole, and was not there before.

    Until then it is beside it, under another name, and is removed if filling it fails.

    Raises:
        SettingsError: something is there already, or nothing can be written there.
    """
    _refuse_existing(path, "folder")
    beside = _beside(path)
    try:
        beside.mkdir()
    except OSError as error:
        raise SettingsError([f"--output {path}: {error.strerror}; name another folder"]) from error
    try:
        yield beside
        with ThreadPoolExecutor(_SYNCED_AT_ONCE) as pool:
            for _ in pool.map(sync, _all_in(beside)):
                pass
        _refuse_existing(path, "folder")
        beside.rename(path)  # fails if a folder with something in it has come meanwhile
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync(path.absolute().parent)


def _all_in(folder: Path) -> Iterator[Path]:
    """Give a folder and all that is in it."""
    for inside, _, names in os.walk(folder):
        yield from (Path(inside, name) for name in (*names, "."))


def _beside(path: Path) -> Path:
    """Return an unused name in the folder of ``path``."""
    return path.with_name(f".palimpsest-{secrets.token_hex(8)}")


def _refuse_existing(path: Path, kind: str, *, replace: bool = False) -> None:
    if not path.name or path.is_dir() or (os.path.lexists(path) and not replace):
        can_replace = kind == "file" and path.name and not path.is_dir()
        advice = ", or replace it with --force" if can_replace else ""
        raise SettingsError([f"--output {path}: is there already; name a new {kind}{advice}"])


def _show_file(beside: Path, path: Path) -> None:
    """Let a file stand at a path, if nothing does."""
    try:
        os.link(beside, path)  # unlike a rename, never in the place of what has come meanwhile
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
    """Make sure that a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, text: str) -> None:
    """Write a new file and make sure that it is on the disk."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def link_file(source: Path, target: Path) -> None:
    """Link a file, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(source, target)
        sync(target)
