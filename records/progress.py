"""Callbacks with which a long step reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, int, int], None]
"""Called with the name of a step, the amount done and the total."""


def silent(step: str, done: int, total: int) -> None:
    """Ignore the progress."""
