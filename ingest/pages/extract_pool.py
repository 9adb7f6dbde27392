"""Processes that extract the articles of pages, with limits of time and memory per page.

They are started by command line, not by ``multiprocessing``: runs also happen inside daemonic
processes and in scripts without a main guard.
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
"""Address space of a process, of which its libraries take some 300 MiB."""
_START_SECONDS = 120.0
_PAGES_PER_PROCESS = 5_000
"""After that many pages a process is replaced, so that leaks of the parser do not add up."""
_HANDOVER_SECONDS = 1e-4
"""A thread that returns a process sleeps this long, to let a waiting thread run."""
Item = TypeVar("Item")
Result = TypeVar("Result")
_PIPE_BYTES = 2**20
"""Most pages fit, so that writing one does not wait for the reader."""
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
            start_new_session=True,  # the run handles keyboard interrupts
        )
        self._requests: IO[bytes] = self._process.stdin  # type: ignore[assignment]
        self._replies: IO[bytes] = self._process.stdout  # type: ignore[assignment]
        self._room = _widened(self._requests)
        self.pages = 0
        self._is_ready = False

    def extract(self, html: bytes, url: str | None, seconds: float) -> dict[str, Any] | SourceError:
        """Return the result of ``extract_worker.extract``; an error ends the process."""
        try:
            if not self._is_ready:
                self._receive(_START_SECONDS)
                self._is_ready = True
            self.pages += 1
            return self._request(html, url, seconds)
        except TimeoutError:
            self.close()
            return SourceError(
                "parser-timeout",
                f"the page was not extracted within page_seconds = {seconds:g}; to allow more, use "
                "--set read.page_seconds=SECONDS",
            )
        except (EOFError, OSError):
            status = self.close()
            if status == MEMORY_FAULT:
                return SourceError(
                    "parser-memory",
                    f"extracting the page took more than the limit of {MEMORY_BYTES // 2**20} MiB",
                )
            return SourceError("parser-crashed", f"the parser exited with status {status}")

    def _request(self, html: bytes, url: str | None, seconds: float) -> dict[str, Any]:
        began = time.monotonic()
        if len(html) < self._room // 2:  # it fits into the pipe
            send(self._requests, url, html)
        else:  # a process that does not read would block the write for ever
            guard = threading.Timer(seconds, self._process.kill)
            guard.start()
            try:
                send(self._requests, url, html)
            finally:
                guard.cancel()
        return self._receive(seconds - (time.monotonic() - began))

    def _receive(self, seconds: float) -> dict[str, Any]:
        waiting = select.poll()  # select() takes no descriptor above 1,023
        waiting.register(self._replies, select.POLLIN)
        if not waiting.poll(1000 * max(seconds, 0)):
            raise TimeoutError
        head, _ = receive(self._replies)
        article: dict[str, Any] = head
        return article

    def has_exited(self) -> bool:
        """Return whether the process has ended, or was killed."""
        return self._process.poll() is not None

    def close(self) -> int:
        """End the process and return its exit status."""
        try:
            self._process.wait(0.2 if self._process.poll() is None and self.pages else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._replies.close()
        with suppress(OSError):  # unwritten data has no reader any more
            self._requests.close()
        return self._process.wait()


def _widened(pipe: IO[bytes]) -> int:
    """Enlarge a pipe so that most pages fit; return its size in bytes, 0 if unknown."""
    try:
        return fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (AttributeError, OSError):  # not supported, or not permitted
        return 0


class Extractors:
    """A pool of processes that extract pages.

    Args:
        workers: the number of processes, which start as needed.
        seconds: time limit for one page.
        memory_bytes: address space of each.
    """

    def __init__(self, workers: int, seconds: float, memory_bytes: int = MEMORY_BYTES) -> None:
        self._seconds, self._memory_bytes = seconds, memory_bytes
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._workers = workers
        # Twice as many threads: while one handles a result, its process extracts the next page.
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

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Apply a function that calls ``extract`` to items concurrently, keeping their order."""
        return list(self._pool.map(function, items))

    def extract(self, html: bytes, url: str | None) -> dict[str, Any] | SourceError:
        """Return the result of ``extract_worker.extract`` for a page, once a process is free.

        Args:
            html: the page, in UTF-8.
            url: the address that it came from.
        """
        process = self._idle.get()
        try:
            if process is not None and process.has_exited():
                process.close()
                process = None
            process = process or _Process(self._memory_bytes)
            article = process.extract(html, url, self._seconds)
            if isinstance(article, SourceError):
                process = None
            elif process.pages >= _PAGES_PER_PROCESS:
                process.close()
                process = None
            elif "fault" in article:
                article = SourceError("parser-crashed", article["fault"])
            return article
        finally:
            self._idle.put(process)
            time.sleep(_HANDOVER_SECONDS)
