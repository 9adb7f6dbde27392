"""Threads beside which a process may still be forked."""

from __future__ import annotations

import os
import threading
from threading import Thread, current_thread

fork_lock = threading.Lock()
"""Taken while this process forks. What a ``QuietThread`` does under this lock is never interrupted
by a fork, so no fork starts with a lock that such a thread had taken."""

os.register_at_fork(
    before=fork_lock.acquire,
    after_in_parent=fork_lock.release,
    after_in_child=fork_lock.release,
)


class QuietThread(Thread):
    """A daemon thread that takes locks only while it has ``fork_lock``; else it waits."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)


def may_fork() -> bool:
    """Return whether no other thread can have taken a lock that a fork would wait for."""
    mine = current_thread()
    return all(one is mine or isinstance(one, QuietThread) for one in threading.enumerate())
