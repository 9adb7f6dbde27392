"""What is written for people, where they say, whole or not at all; and the folder of our own."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from records.errors import SettingsError

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}
"""How file systems tell that they have no hard links."""
_SYNCED_AT_ONCE = 8
"""Files that a disk is asked to keep at a time: it takes hardly longer than for one."""


def state_folder() -> Path:
    """Return the folder of Palimpsest's state: ``PALIMPSEST_STATE``, or the XDG state folder."""
    named = os.environ.get("PALIMPSEST_STATE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "palimpsest"


@contextmanager
def new_file(path: Path, option: str = "--output") -> Iterator[BinaryIO]:
    """Give a file to be written that stands at a path once it is whole, and was not there before.

    Until then it is beside it, under another name, and is removed if writing fails.

    Args:
        path: of the file.
        option: how it was named, for the message.

    Raises:
        SettingsError: something is there already, or nothing can be written there.
    """
    beside = _beside(path, "file", option)
    try:
        file = beside.open("xb")
    except OSError as error:
        raise SettingsError([f"{option} {path}: {error.strerror}; name another file"]) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _show_file(beside, path, option)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to be filled that stands at a path once it is whole, and was not there before.

    Until then it is beside it, under another name, and is removed if filling it fails.

    Raises:
        SettingsError: something is there already, or nothing can be written there.
    """
    beside = _beside(path, "folder")
    try:
        beside.mkdir()
    except OSError as error:
        raise SettingsError([f"--output {path}: {error.strerror}; name another folder"]) from error
    try:
        yield beside
        with ThreadPoolExecutor(_SYNCED_AT_ONCE) as pool:
            for _ in pool.map(_sync, _all_in(beside)):
                pass
        _refuse_existing(path, "folder")
        beside.rename(path)  # fails if a folder with something in it has come meanwhile
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    _sync(path.absolute().parent)


def _all_in(folder: Path) -> Iterator[Path]:
    """Give a folder and all that is in it."""
    for inside, _, names in os.walk(folder):
        yield from (Path(inside, name) for name in (*names, "."))


def _beside(path: Path, kind: str, option: str = "--output") -> Path:
    """Return a name of nothing yet, in the folder of a path at which there is nothing yet."""
    _refuse_existing(path, kind, option)
    return path.with_name(f".palimpsest-{secrets.token_hex(8)}")


def _refuse_existing(path: Path, kind: str, option: str = "--output") -> None:
    if not path.name or os.path.lexists(path):
        raise SettingsError([f"{option} {path}: is there already; name a new {kind}"])


def _show_file(beside: Path, path: Path, option: str) -> None:
    """Let a file stand at a path, if nothing does."""
    try:
        os.link(beside, path)  # unlike a rename, never in the place of what has come meanwhile
    except FileExistsError:
        _refuse_existing(path, "file", option)
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _refuse_existing(path, "file", option)
        beside.rename(path)
    _sync(path.absolute().parent)


def _sync(path: Path) -> None:
    """Make sure that a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
