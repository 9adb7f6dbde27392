"""Run one main job and print the time of the job and of each step as JSON.

    python benchmarks/job.py SOURCES.json ARCHIVE [--workers N] [--batch-bytes N] [--memory SIZE]

``speed.py`` starts it as a process of its own. It runs the command ``ingest --no-prefect``. Once
the command has imported its rooms, the functions that ``pipeline.run`` calls are replaced by ones
that are timed. A function that no longer exists is an error, so that no step is missed silently.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import palimpsest.cli.main

from processes import memory_of  # isort: skip

REST = "rest"
_STEPS = {
    "known_keys": "survey, plan",
    "survey_sources": "survey, plan",
    "plan_run": "survey, plan",
    "find_new_rows": "new rows",
    "save_new_rows": "new rows",
    "load_new_rows": "new rows",
    "repair_index": "index",
    "merge_if_many": "index",
    "band_groups": "pair_bands",
    "merge_groups": "pair_bands",
    "pairs_given_up": "pair_bands",
    "load_matched": "fold",
}
"""Functions that ``pipeline.run`` calls, and the step whose time includes each."""
_EXECUTORS = ("thread_executor", "fork_executor")
_MEASURES = ("seconds", "cpu_seconds", "read_mb", "written_mb")


class Clock:
    """Measures the steps of a run: each moment counts for the innermost step that is open.

    CPU time is that of the whole process, with its threads and forks, so it is right as long as
    steps run one after another. Calls in other threads are not measured separately.
    """

    def __init__(self) -> None:
        self.measured: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(_MEASURES))
        self.mapped: dict[str, dict[str, int]] = defaultdict(dict)
        self._open = [REST]
        self._thread = threading.get_ident()
        self._last = _reading()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the body of a ``with`` statement as a step."""
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
        """Return a function whose calls are measured as a step."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.step(name):
                return function(*args, **kwargs)

        return call

    def recording_maps(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that maps a file, and records its size."""

        @functools.wraps(function)
        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(path, str | Path):  # otherwise it reads an open file
                self.mapped[self._open[-1]][str(path)] = Path(path).stat().st_size
            return function(path, *args, **kwargs)

        return call

    def steps(self) -> dict[str, dict[str, float]]:
        """Return the measures of each step; ``mapped_mb`` is the total size of mapped files."""
        self._charge()
        names = [*(name for name in self.measured if name != REST), REST]
        return {
            name: dict(zip(_MEASURES, self.measured[name], strict=True))
            | {"mapped_mb": sum(self.mapped[name].values()) / 1e6}
            for name in names
        }

    def _charge(self) -> None:
        now = _reading()
        step = self.measured[self._open[-1]]
        for measure, before in enumerate(self._last):
            step[measure] += now[measure] - before
        self._last = now


def _reading() -> list[float]:
    """Return the time, the CPU time, and the MB read and written by system calls so far.

    The shares of child processes are included once they have been waited for.
    """
    moved = {"rchar": 0, "wchar": 0}
    try:
        for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            moved[name] = int(value)
    except OSError:
        pass
    calls = moved["rchar"] / 1e6, moved["wchar"] / 1e6
    return [time.perf_counter(), sum(os.times()[:4]), *calls]


def watch(clock: Clock) -> None:
    """Measure the functions that a run calls and the files that it maps.

    Raises:
        AttributeError: ``pipeline.run`` has no such function.
    """
    import numpy as np
    import pyarrow as pa

    from palimpsest.pipeline import executors, run
    from palimpsest.store.commit import Writer

    for name, step in _STEPS.items():
        setattr(run, name, clock.timed(step, getattr(run, name)))
    Writer.commit = clock.timed("commit", Writer.commit)  # type: ignore[method-assign]
    np.load = clock.recording_maps(np.load)
    pa.memory_map = clock.recording_maps(pa.memory_map)
    run.run_in_order = _timed_executor(clock, run.run_in_order)
    for name in _EXECUTORS:
        make = getattr(executors, name)
        setattr(executors, name, lambda workers, make=make: _timed_executor(clock, make(workers)))


def _timed_executor(clock: Clock, executor: Any) -> Any:
    """Return a ``StepExecutor`` whose steps are measured."""

    def run_timed(step: Any, arguments: Sequence[Any], report: Any) -> Any:
        with clock.step(step.name):
            return executor(step, arguments, report)

    return run_timed


def main() -> None:
    """Run the job."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, help="JSON list of sources")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch-bytes", type=int)
    parser.add_argument("--memory")
    options = parser.parse_args()
    sources = json.loads(options.sources.read_text(encoding="utf-8"))
    command = ["ingest", *sources, "--archive", str(options.archive), "--no-prefect", "--json"]
    command += ["--workers", str(options.workers)]
    command += ["--memory", options.memory] if options.memory else []
    if options.batch_bytes:
        command += ["--set", f"run.batch_bytes={options.batch_bytes}"]
    make_ready, clocks = palimpsest.cli.main.make_ready, []

    def begin() -> None:
        make_ready()
        clocks.append(Clock())  # the time before this is the start
        watch(clocks[0])

    palimpsest.cli.main.make_ready = begin
    printed = io.StringIO()
    with redirect_stdout(printed):
        palimpsest.cli.main.main.main(command, standalone_mode=False)
    steps = clocks[0].steps()
    peak = memory_of().get("VmHWM", 0.0)
    summary = json.loads(printed.getvalue())
    print(json.dumps({"summary": summary, "steps": steps, "peak_mb": peak}))


if __name__ == "__main__":
    main()
