"""Threads that do not prevent a process from being forked."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread, current_thread

fork_lock = threading.Lock()
"""Locked while this process forks. Whatever a ``QuietThread`` does under this lock is not
interrupted by a fork, so no child process starts with a lock that such a thread has locked."""

os.register_at_fork(
    before=fork_lock.acquire,
    after_in_parent=fork_lock.release,
    after_in_child=fork_lock.release,
)


class QuietThread(Thread):
    """A daemon thread that acquires locks only while it has ``fork_lock``, and otherwise waits."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)


def may_fork() -> bool:
    """Return whether forking is safe: no other thread can have a lock that the child needs."""
    current = current_thread()
    return all(
        thread is current or isinstance(thread, QuietThread) for thread in threading.enumerate()
    )


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread; a process forked in this block starts with it blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
