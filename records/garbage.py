"""When Python does not look for cyclic garbage."""

from __future__ import annotations

import gc
from threading import Lock


class _Uncollected:
    """Puts the search for cyclic garbage off while something is done, in any number of threads.

    What makes many objects, none of them in a cycle, has Python look through all that is imported
    again and again.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._doing = 0
        self._was_on = False

    def __enter__(self) -> None:
        with self._lock:
            if not self._doing:
                self._was_on = gc.isenabled()
                gc.disable()
            self._doing += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._doing -= 1
            if not self._doing and self._was_on:
                gc.enable()


uncollected = _Uncollected()
