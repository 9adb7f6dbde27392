"""Watch the calls that change a file system, and end or fail the process at one of them."""

import errno
import fcntl
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

KILLED = 77
"""The exit code of a process that was killed at its call."""
KINDS = ("kill", "ENOSPC", "EROFS", "EACCES")
"""Effect on a call: the process dies, or the call is refused with this error."""
_TARGETS = {
    "open": 0, "os.mkdir": 0, "os.rmdir": 0, "os.remove": 0, "os.truncate": 0,
    "os.rename": 1, "os.link": 1, "os.symlink": 1,
}  # fmt: skip
"""By event, the index of the argument that is the path created or removed."""
_FOLDERS = {"os.mkdir": 2, "os.rmdir": 1, "os.remove": 1, "os.rename": 3, "os.link": 3,
            "os.symlink": 2}  # fmt: skip
"""By event, the index of the argument that is the folder descriptor of a relative path."""
_TAKING = {"open", "os.mkdir", "os.link", "os.symlink", "os.fsync"}
"""Events that need space on the disk."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Watch:
    """Counts the calls of this process that change a folder, and stops it at one of them.

    A full disk goes on refusing what takes room, and a disk that became read-only all changes; a
    call that is denied is denied once. The calls of threads come in any order, so that a number
    does not always stand for the same call; but there are always as many.

    Attributes:
        count: how many calls there have been.
    """

    def __init__(self, folder: Path, kind: str = "kill", fatal: int = -1) -> None:
        """Start watching, until the process ends."""
        self.count = 0
        self._folder = str(folder.resolve())
        self._kind = kind
        self._fatal = fatal
        self._lock = threading.Lock()
        self._wrap(os, "fsync", lambda *_: "os.fsync")
        self._wrap(pa, "OSFile", self._opened)  # opens files without an audit event
        sys.addaudithook(self._hear)

    def _wrap(self, module: Any, name: str, event_of: Callable[..., str | None]) -> None:
        real = getattr(module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            event = event_of(*args)
            if event:
                self._meet(event)
            return real(*args, **kwargs)

        setattr(module, name, call)

    def _opened(self, path: str, mode: str = "rb") -> str | None:
        return "open" if "w" in mode and path.startswith(self._folder + "/") else None

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "fcntl.flock":
            if args[1] & ~fcntl.LOCK_NB != fcntl.LOCK_UN:
                self._meet(event)
        elif event in _TARGETS:
            if event == "open" and not args[2] & _WRITING:
                return
            if self._path(event, args).startswith(self._folder + "/"):
                self._meet(event)

    @staticmethod
    def _path(event: str, args: tuple[Any, ...]) -> str:
        path = args[_TARGETS[event]]
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}")
        path = os.fsdecode(path)
        descriptor = args[_FOLDERS[event]] if event in _FOLDERS else -1
        if descriptor >= 0 and not os.path.isabs(path):
            path = os.path.join(os.readlink(f"/proc/self/fd/{descriptor}"), path)
        return os.path.abspath(path)

    def _meet(self, event: str) -> None:
        with self._lock:
            number, self.count = self.count, self.count + 1
            if number == self._fatal and self._kind == "kill":
                os._exit(KILLED)
        if self._is_refused(number, event):
            code = getattr(errno, self._kind)
            raise OSError(code, os.strerror(code), f"{event}, call {number}")

    def _is_refused(self, number: int, event: str) -> bool:
        if self._kind == "kill" or self._fatal < 0 or number < self._fatal:
            return False
        if number == self._fatal or self._kind == "EACCES":
            return number == self._fatal
        return event in _TAKING if self._kind == "ENOSPC" else event != "fcntl.flock"
