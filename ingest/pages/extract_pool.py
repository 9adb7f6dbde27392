"""Processes that extract the articles of pages, each page bounded in time and memory.

They are started by their command line, not by ``multiprocessing``: runs also happen inside of
daemonic processes and in scripts without a main guard.
"""

from __future__ import annotations

import fcntl
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from palimpsest.ingest.pages.extract_worker import MEMORY_FAULT, receive, send
from palimpsest.records.errors import SourceError

MEMORY_BYTES = 3 * 2**30
"""Address space of a process; its libraries alone take some 300 MiB of it."""
_START_SECONDS = 120.0
_PAGES_PER_PROCESS = 5_000
"""After so many a process is replaced, so that what a parser leaks does not add up."""
_HANDOVER_SECONDS = 1e-4
"""A thread that gives a process back rests so long, so that the one that waits for it can run."""
Item = TypeVar("Item")
Result = TypeVar("Result")
_PIPE_BYTES = 2**20
"""Most pages fit, so that writing one does not wait for its being read."""
_ROOT = str(Path(__file__).parents[3])
"""The folder that `palimpsest` is imported from."""


class _Process:
    """One process, used by one thread at a time."""

    def __init__(self, memory_bytes: int) -> None:
        paths = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "palimpsest.ingest.pages.extract_worker", str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # an interrupt from the keyboard is for the run to deal with
        )
        self._requests: IO[bytes] = self._process.stdin  # type: ignore[assignment]
        self._replies: IO[bytes] = self._process.stdout  # type: ignore[assignment]
        self._room = _widened(self._requests)
        self.pages = 0
        self._is_ready = False

    def extract(self, html: bytes, url: str | None, seconds: float) -> dict[str, Any] | SourceError:
        """Return what ``extract.extract`` says; after an error the process is gone."""
        try:
            if not self._is_ready:
                self._receive(_START_SECONDS)
                self._is_ready = True
            self.pages += 1
            return self._ask(html, url, seconds)
        except TimeoutError:
            self.close()
            return SourceError(
                "parser-timeout",
                f"the page was not read within page_seconds = {seconds:g}; raise the setting to "
                "wait longer",
            )
        except (EOFError, OSError):
            status = self.close()
            if status == MEMORY_FAULT:
                return SourceError(
                    "parser-memory",
                    f"the page took more than {MEMORY_BYTES // 2**20} MiB to read",
                )
            return SourceError("parser-crashed", f"the parser ended with status {status}")

    def _ask(self, html: bytes, url: str | None, seconds: float) -> dict[str, Any]:
        began = time.monotonic()
        if len(html) < self._room // 2:  # it is written at once
            send(self._requests, url, html)
        else:  # for a process that does not read, somebody has to end the waiting
            guard = threading.Timer(seconds, self._process.kill)
            guard.start()
            try:
                send(self._requests, url, html)
            finally:
                guard.cancel()
        return self._receive(seconds - (time.monotonic() - began))

    def _receive(self, seconds: float) -> dict[str, Any]:
        ready, _, _ = select.select([self._replies], [], [], max(seconds, 0))
        if not ready:
            raise TimeoutError
        head, _ = receive(self._replies)
        told: dict[str, Any] = head
        return told

    def is_gone(self) -> bool:
        """Tell whether the process ended by itself, or was ended by the system."""
        return self._process.poll() is not None

    def close(self) -> int:
        """End the process and return its exit status."""
        try:
            self._process.wait(0.2 if self._process.poll() is None and self.pages else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._replies.close()
        with suppress(OSError):  # what was not written yet has nobody to read it
            self._requests.close()
        return self._process.wait()


def _widened(pipe: IO[bytes]) -> int:
    """Make room in a pipe for most pages; return how many bytes there are, 0 if nobody knows."""
    try:
        return fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (AttributeError, OSError):  # not on every system, nor for every user
        return 0


class Extractors:
    """A pool of processes that extract pages.

    Args:
        workers: how many at most; they start when pages come.
        seconds: how long one page may take.
        memory_bytes: address space of each.
    """

    def __init__(self, workers: int, seconds: float, memory_bytes: int = MEMORY_BYTES) -> None:
        self._seconds, self._memory_bytes = seconds, memory_bytes
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._workers = workers
        # Twice as many threads: while one deals with what came out, its process has the next page.
        self._pool = ThreadPoolExecutor(2 * workers, "extractor")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes; none may be busy."""
        self._pool.shutdown()
        for _ in range(self._workers):
            process = self._idle.get()
            if process is not None:
                process.close()

    def each(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Apply a function that calls ``extract`` to items, several at once; keep their order."""
        return list(self._pool.map(function, items))

    def extract(self, html: bytes, url: str | None) -> dict[str, Any] | SourceError:
        """Return what ``extract.extract`` says of a page, once a process is free.

        Args:
            html: the page, in UTF-8.
            url: the address that it came from.
        """
        process = self._idle.get()
        try:
            if process is not None and process.is_gone():
                process.close()
                process = None
            process = process or _Process(self._memory_bytes)
            told = process.extract(html, url, self._seconds)
            if isinstance(told, SourceError):
                process = None
            elif process.pages >= _PAGES_PER_PROCESS:
                process.close()
                process = None
            elif "fault" in told:
                told = SourceError("parser-crashed", told["fault"])
            return told
        finally:
            self._idle.put(process)
            time.sleep(_HANDOVER_SECONDS)
