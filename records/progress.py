"""How a step that takes long tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, int, int], None]
"""Called with the name of a step, how much of it is done, and of how much."""


def silent(step: str, done: int, total: int) -> None:
    """Report nothing."""
