"""Who carries out a step once for each batch: in order, in threads, or in processes as well.

Prefect's runners are in ``flows.task_runners``.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import Any, Protocol

from palimpsest.kernels.compiled import are_kernels_cached
from palimpsest.pipeline.forking import may_fork
from palimpsest.pipeline.read import extractors_shared_by, stage_batch
from palimpsest.records.progress import Report, silent
from palimpsest.records.settings import RunSettings

_BYTES = 4
"""Of the number of a batch, where it waits for a process."""
_MOST = 2**16 // _BYTES
"""So many numbers fit into a pipe, whose room is 64 KiB (Linux); a portion has far fewer."""


class StepExecutor(Protocol):
    """Carries out a step once for each tuple of arguments; the results in the same order."""

    def __call__(
        self, step: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], report: Report
    ) -> list[Any]:
        """Return what the step gave for each tuple of arguments, in their order."""
        ...


def run_in_order(
    step: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], report: Report
) -> list[Any]:
    """Carry out a step once for each tuple of arguments, one after the other."""
    results = []
    for done, one in enumerate(arguments):
        results.append(step(*one))
        report(step.__name__, done + 1, len(arguments))
    return results


def thread_executor(workers: int) -> StepExecutor:
    """Return what carries out a step for so many tuples of arguments at a time."""

    def carry_out(
        step: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], report: Report
    ) -> list[Any]:
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(step, *one) for one in arguments]
            try:
                for done, future in enumerate(as_completed(futures), start=1):
                    future.result()
                    report(step.__name__, done, len(futures))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [future.result() for future in futures]

    return carry_out


def executor_for(settings: RunSettings) -> StepExecutor:
    """Return what carries out the steps of a run that has its process to itself."""
    if settings.memory:  # every process would hold so much
        return thread_executor(settings.workers)
    return fork_executor(settings.workers)


def fork_executor(workers: int) -> StepExecutor:
    """Return what reads batches in so many processes, and does all else in as many threads.

    A third of reading holds the interpreter's lock, so threads cannot share it: with two workers
    forks save 0.8 of 9.3 seconds of the main job, 9 %, for 0.3 CPU seconds. A forked process
    has all that is imported, and starts in milliseconds; where processes cannot be forked safely,
    on other systems and beside other threads, batches are read in threads.
    """
    threads = thread_executor(workers)

    def carry_out(
        step: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], report: Report
    ) -> list[Any]:
        forks = min(workers, len(arguments)) - 1
        if step is stage_batch and forks > 0 and len(arguments) <= _MOST and _may_fork():
            with extractors_shared_by(1 + forks):
                return _beside_forks(forks, step, arguments, report)
        return threads(step, arguments, report)

    return carry_out


def _may_fork() -> bool:
    """Tell whether a fork has all that it needs, and nobody holds a lock that it would wait for."""
    return sys.platform == "linux" and may_fork() and are_kernels_cached()  # or each compiles them


def _beside_forks(
    forks: int, step: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], report: Report
) -> list[Any]:
    """Carry out a step that leaves its results behind, here and in processes of its own.

    A process that fails leaves what it was at undone. It is done again here, as is told here why it
    cannot be.
    """
    context = multiprocessing.get_context("fork")
    # Numbers wait in a pipe, and not behind a lock, which who is killed would keep.
    waiting, filled = os.pipe()
    os.write(filled, b"".join(number.to_bytes(_BYTES, "big") for number in range(len(arguments))))
    os.close(filled)

    def take() -> Iterator[int]:
        while number := os.read(waiting, _BYTES):
            yield int.from_bytes(number, "big")

    def help_out(parent: int) -> None:
        with suppress(BaseException):  # the parent comes to it, and tells
            for number in take():
                if os.getppid() != parent:
                    break
                step(*arguments[number])

    helpers = []
    try:
        for _ in range(forks):
            helper = context.Process(target=help_out, args=(os.getpid(),))
            helper.start()
            helpers.append(helper)
        for number in take():
            step(*arguments[number])
            report(step.__name__, max(1, number + 1 - forks), len(arguments))
        for helper in helpers:
            helper.join()
    finally:
        for helper in helpers:
            helper.kill()
            helper.join()
        os.close(waiting)
    results = run_in_order(step, arguments, silent)  # what is there already is only looked up
    report(step.__name__, len(arguments), len(arguments))
    return results
