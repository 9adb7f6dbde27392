"""Files that are written for people, where they say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from records.errors import SettingsError


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file that was not there, to be written; it is removed if writing fails.

    Raises:
        SettingsError: something is there already, or nothing can be written there.
    """
    try:
        file = path.open("xb")
    except FileExistsError as error:
        raise SettingsError([f"--output {path}: is there already; name a new file"]) from error
    except OSError as error:
        raise SettingsError([f"--output {path}: {error.strerror}; name another file"]) from error
    try:
        with file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)  # half a file looks like a whole one
        raise
