"""A progress bar for a run on a terminal."""

from __future__ import annotations

from threading import Event
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from palimpsest.cli.interrupts import interrupts
from palimpsest.pipeline.forking import QuietThread, fork_lock
from palimpsest.records.progress import Step

_SECONDS_BETWEEN = 0.1
"""How often the bar is drawn."""


class ProgressBar:
    """Shows the current step of a run, and how much of it is done, until the run ends.

    It is drawn by a thread of ours instead of rich's, beside which processes could not be forked to
    read sources.
    """

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
        )
        self._tasks: dict[Step, TaskID] = {}
        self._has_ended = Event()
        self._drawing = _Drawing(self._progress, self._has_ended)

    def __enter__(self) -> Self:
        self._progress.start()
        self._drawing.start()
        interrupts.before_leaving(self._stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        interrupts.before_leaving(None)
        self._stop()

    def __call__(self, step: Step, done: int, total: int) -> None:
        """Show how much of a step is done."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step.title, total=total)
        self._progress.update(self._tasks[step], completed=done, total=total)

    def _stop(self) -> None:
        self._has_ended.set()
        with fork_lock:  # not while the bar is being drawn
            self._progress.stop()


class _Drawing(QuietThread):
    """Draws a bar until it has ended."""

    def __init__(self, progress: Progress, has_ended: Event) -> None:
        super().__init__("progress bar")
        self._bar = progress
        self._has_ended = has_ended

    def run(self) -> None:
        while not self._has_ended.wait(_SECONDS_BETWEEN):
            with fork_lock:
                if not self._has_ended.is_set():
                    self._bar.refresh()
