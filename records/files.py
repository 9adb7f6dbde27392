"""Files that are written for people, where they say; and the folder of our own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from records.errors import SettingsError


def state_folder() -> Path:
    """Return the folder of Palimpsest's state: ``PALIMPSEST_STATE``, or the XDG state folder."""
    named = os.environ.get("PALIMPSEST_STATE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "palimpsest"


@contextmanager
def new_file(path: Path, option: str = "--output") -> Iterator[BinaryIO]:
    """Give a file that was not there, to be written; it is removed if writing fails.

    Args:
        path: of the file.
        option: how it was named, for the message.

    Raises:
        SettingsError: something is there already, or nothing can be written there.
    """
    try:
        file = path.open("xb")
    except FileExistsError as error:
        raise SettingsError([f"{option} {path}: is there already; name a new file"]) from error
    except OSError as error:
        raise SettingsError([f"{option} {path}: {error.strerror}; name another file"]) from error
    try:
        with file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)  # half a file looks like a whole one
        raise
