"""How a task that takes long reports its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """A step of some work, as its progress is reported.

    Attributes:
        name: identifies the step to programs; callers of the Python API see it.
        title: what a progress bar shows people.
    """

    name: str
    title: str


Report = Callable[[Step, int, int], None]
"""Called with a step, how much of it is done, and the total."""

READING_TABLES = Step("tables", "going through tables")
READING_RAW_FILES = Step("raw", "reading raw files")


def silent(step: Step, done: int, total: int) -> None:
    """Report nothing."""


def by_name(report: Callable[[str, int, int], None] | None) -> Report:
    """Return a reporter that passes the name of each step on; a silent one for None."""
    if report is None:
        return silent
    return lambda step, done, total: report(step.name, done, total)
