"""How a command ends at Ctrl-C or SIGTERM: soon, with one line, and exit code 130 or 143.

The signal raises KeyboardInterrupt in the main thread, so that files are closed and Prefect learns
of it. A command that is still running a second later, or at a second signal, is ended by force: a
killed run leaves no trace in an archive, so nothing is lost. Commands that run until they are
stopped end with exit code 0 after SIGTERM, which is how service managers stop them.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from palimpsest.pipeline.forking import QuietThread

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 plus the number of the signal, as in shells."""
TERMINATED = 128 + signal.SIGTERM
_GRACE_SECONDS = 1.0
"""Time that a command has to end by itself."""
_REPORT_SECONDS = 0.5
"""Time limit for reading the version of the archive before the process ends."""
_SIGNALS = signal.SIGINT, signal.SIGTERM


class Interrupts:
    """Ends the process after a signal, while its ``with`` block runs.

    Attributes:
        code: the exit code for the signal received; 0 if there was none.
    """

    def __init__(self) -> None:
        self.code = 0
        self._has_raised = False
        self._archive: tuple[str, int | None] | None = None
        self._when_stopped = ""
        self._before_leaving: Callable[[], Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._is_leaving = threading.Lock()
        os.register_at_fork(after_in_child=self._ignore_in_child)

    def __enter__(self) -> Self:
        self.code, self._has_raised, self._archive, self._before_leaving = 0, False, None, None
        self._when_stopped = ""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._receive) for number in _SIGNALS}
            self._pipe = read_end, write_end = os.pipe()
            os.set_blocking(write_end, False)
            signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
            _Watch(read_end, self._leave_for).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.code:
            self.leave()
        self.release()

    def release(self) -> None:
        """Restore the signal handlers that were installed before."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
        if self._pipe:
            signal.set_wakeup_fd(-1)
            os.close(self._pipe[1])  # ends the watching thread
            self._pipe = None

    def writes_to(self, archive: str) -> None:
        """Remember which archive the command writes to, and its current version."""
        self._archive = (archive, _version_of(archive))

    def serves(self, when_stopped: str) -> None:
        """Remember that the command runs until it is stopped, and the line to print then.

        Its exit code after SIGTERM is 0, since service managers treat any other as a failure.
        """
        self._when_stopped = when_stopped

    def before_leaving(self, function: Callable[[], Any] | None) -> None:
        """Register a function to call before the process ends, such as to clear a progress bar."""
        self._before_leaving = function

    def outcome(self) -> str:
        """Return a phrase for what the command has written, after an error."""
        with suppress(Exception):
            if self._archive:
                archive, before = self._archive
                now = _version_of(archive)
                if now != before:
                    return f"archive {archive} is now at version {now}; {_was(before)}"
        return "nothing was written"

    def leave(self) -> NoReturn:
        """End the process now, with one line on standard error; only the first caller does it."""
        self._is_leaving.acquire()  # never released: other threads wait here until the process ends
        _kill_descendants()
        lines: list[str] = []
        reporter = Thread(target=lambda: lines.append(self._last_line()), daemon=True)
        reporter.start()
        reporter.join(_REPORT_SECONDS)
        line = lines[0] if lines else "interrupted; run the command again to resume"
        printable = "".join(letter if letter.isprintable() else "?" for letter in line)
        with suppress(OSError):
            os.write(2, f"{printable}\n".encode(errors="backslashreplace"))
        is_stopped = bool(self._when_stopped) and self.code == TERMINATED
        os._exit(0 if is_stopped else self.code or INTERRUPTED)

    def _receive(self, number: int, _: FrameType | None) -> None:
        """Handle a signal, in the main thread."""
        if self._has_raised:
            self.leave()
        self._has_raised, self.code = True, 128 + number
        logging.disable()  # from now on, only the last line is shown
        warnings.simplefilter("ignore")
        raise KeyboardInterrupt

    def _leave_for(self, number: int) -> None:
        """End the process because of a signal, from the watching thread."""
        self.code = 128 + number
        self.leave()

    def _last_line(self) -> str:
        with suppress(Exception):
            if self._before_leaving:
                self._before_leaving()
        if self._when_stopped:
            return self._when_stopped
        if self._archive is None:
            return "interrupted"
        archive, before = self._archive
        state = f"archive {archive} is as `palimpsest versions` shows it"
        with suppress(Exception):  # the archive cannot be reached
            state = _state(archive, before, _version_of(archive))
        return f"interrupted: {state}; run the command again to resume"

    def _ignore_in_child(self) -> None:
        """Leave it to the parent of a forked process to end this process."""
        if self._handlers:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Watch(QuietThread):
    """Waits for a signal, then for a second one or the end of the grace period."""

    def __init__(self, pipe: int, leave: Callable[[int], None]) -> None:
        super().__init__("interrupts")
        self._pipe = pipe
        self._leave = leave

    def run(self) -> None:
        """Read the numbers of signals, which Python writes even if the main thread is busy."""
        received = os.read(self._pipe, 1)
        if received:
            select.select([self._pipe], [], [], _GRACE_SECONDS)
            self._leave(received[0])
        os.close(self._pipe)


def _version_of(archive: str) -> int | None:
    """Return the current version of an archive; None if it does not exist."""
    from palimpsest.store.address import open_archive

    stored = open_archive(archive)
    return stored.manifest().version if stored.exists() else None


def _state(archive: str, before: int | None, now: int | None) -> str:
    if now is None:
        return f"archive {archive} does not exist yet"
    if now == before:
        return f"archive {archive} is unchanged at version {now}"
    return f"archive {archive} is now at version {now} ({_was(before)})"


def _was(before: int | None) -> str:
    return "it did not exist before" if before is None else f"it was at version {before}"


def _kill_descendants() -> None:
    """Kill all descendants of this process."""
    loaded = sys.modules.get("multiprocessing")  # importing it would slow every command down
    for process in loaded.active_children() if loaded else []:  # all that is known without /proc
        with suppress(OSError):
            process.kill()
    children = _children()
    waiting = [os.getpid()]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            waiting.append(pid)
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _children() -> dict[int, list[int]]:
    """Return the ids of the children of each process."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat") if sys.platform == "linux" else ():
        with suppress(OSError, ValueError):
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    return children


interrupts = Interrupts()
