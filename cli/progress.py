"""A progress bar for a run on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

_TITLES = {
    "prefect": "starting Prefect",
    "plan": "finding sources",
    "stage_batch": "reading",
    "wait": "waiting for another run",
    "gather_texts": "gathering texts",
    "pair_bands": "finding candidates",
    "align_chunk": "aligning",
    "fold": "folding",
    "commit": "committing",
    "portion": "portions",
    "tables": "going through tables",
    "raw": "reading raw files",
    "passages": "aligning documents",
    "documents": "writing documents",
    "records": "writing records",
}


class ProgressBar:
    """Shows the step that a run is at, and how much of it is done; gone when the run ends."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show how much of a step is done."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(_TITLES.get(step, step), total=total)
        self._progress.update(self._tasks[step], completed=done, total=total)
