"""Carry out one main job and print, as JSON, what it and each of its steps took.

    python benchmarks/job.py SOURCES.json ARCHIVE [--workers N] [--batch-bytes N] [--memory SIZE]

``speed.py`` starts it as a process of its own. The product knows nothing of this: the functions
that ``flows.run`` calls are replaced in this process by ones that look at the clock first. A name
that is not there any more is passed over, and its time is part of the rest.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import flows.run
import store.commit
from flows.each import Each, each_with, in_order
from flows.run import run_ingest
from records.progress import Report
from records.settings import RunSettings, Settings

from processes import memory_of  # isort: skip

REST = "rest"
_STEPS = {
    "known_keys": "survey, plan",
    "survey_sources": "survey, plan",
    "plan_run": "survey, plan",
    "find_news": "news",
    "save_news": "news",
    "load_news": "news",
    "mend_index": "index",
    "merged_names": "index",
    "band_groups": "pair_bands",
    "merge_groups": "pair_bands",
    "pairs_given_up": "pair_bands",
    "load_matched": "fold",
    "fold": "fold",
    "clear_unpublished": "commit",
}
"""Functions that ``flows.run`` calls, and the step that each is counted with."""
_MEASURES = ("seconds", "cpu_seconds", "read_mb", "written_mb")


class Clock:
    """Tells the steps of a run apart: each moment is of the innermost step that is open.

    CPU time is that of the whole process, threads and forks included, so a step is told right as
    long as the run carries out one after the other. What other threads call is not told apart.
    """

    def __init__(self) -> None:
        self.taken: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(_MEASURES)))
        self.mapped: dict[str, dict[str, int]] = defaultdict(dict)
        self._open = [REST]
        self._thread = threading.get_ident()
        self._last = _reading()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what is done within as a step."""
        if threading.get_ident() != self._thread:
            yield
            return
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is counted as a step."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.step(name):
                return function(*args, **kwargs)

        return call

    def noting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that maps a file, and notes that it did."""

        @functools.wraps(function)
        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            if function is not _np_load or kwargs.get("mmap_mode"):
                self.mapped[self._open[-1]][str(path)] = Path(path).stat().st_size
            return function(path, *args, **kwargs)

        return call

    def told(self) -> dict[str, dict[str, float]]:
        """Return by step what it took; ``mapped_mb`` are the whole of the files that it mapped."""
        self._charge()
        names = [*(name for name in self.taken if name != REST), REST]
        return {
            name: dict(zip(_MEASURES, self.taken[name].tolist(), strict=True))
            | {"mapped_mb": sum(self.mapped[name].values()) / 1e6}
            for name in names
        }

    def _charge(self) -> None:
        now = _reading()
        self.taken[self._open[-1]] += now - self._last
        self._last = now


_np_load = np.load


def _reading() -> np.ndarray:
    """Return the time, the CPU time, and the MB that were read and written by calls so far.

    What children took is in it once they have been waited for.
    """
    moved = {"rchar": 0, "wchar": 0}
    try:
        for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            moved[name] = int(value)
    except OSError:
        pass
    calls = moved["rchar"] / 1e6, moved["wchar"] / 1e6
    return np.array([time.perf_counter(), sum(os.times()[:4]), *calls])


def _each(clock: Clock, settings: RunSettings) -> Each:
    carry_out = in_order if settings.workers == 1 else each_with(settings)

    def timed(
        step: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], report: Report
    ) -> list[Any]:
        with clock.step(step.__name__):
            return carry_out(step, arguments, report)

    return timed


def watch(clock: Clock) -> None:
    """Have the clock told of the functions that a run calls and the files that it maps."""
    for name, step in _STEPS.items():
        if hasattr(flows.run, name):
            setattr(flows.run, name, clock.timed(step, getattr(flows.run, name)))
    store.commit.Writer.commit = clock.timed("commit", store.commit.Writer.commit)  # type: ignore[method-assign]
    np.load = clock.noting(np.load)
    pa.memory_map = clock.noting(pa.memory_map)


def main() -> None:
    """Carry out the job."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, help="JSON list of what is to be read")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch-bytes", type=int)
    parser.add_argument("--memory")
    options = parser.parse_args()
    run: dict[str, Any] = {"workers": options.workers, "memory": options.memory}
    if options.batch_bytes:
        run["batch_bytes"] = options.batch_bytes
    settings = Settings(run=RunSettings(**run))
    sources = json.loads(options.sources.read_text(encoding="utf-8"))
    clock = Clock()
    watch(clock)
    each = _each(clock, settings.run)
    summary = run_ingest(sources, options.archive, settings, each=each)
    steps = clock.told()
    peak = memory_of().get("VmHWM", 0.0)
    print(json.dumps({"summary": summary.to_dict(), "steps": steps, "peak_mb": peak}))


if __name__ == "__main__":
    main()
