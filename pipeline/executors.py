"""Executors, which call the function of a step once for each of several tuples of arguments.

They do so in order, in threads, or in forked processes. Those for Prefect are in
``flows.task_runners``.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from palimpsest.kernels.compiled import are_kernels_cached
from palimpsest.pipeline.forking import interrupts_blocked, may_fork
from palimpsest.pipeline.steps import RunStep
from palimpsest.records.progress import Report
from palimpsest.records.settings import RunSettings

_NUMBER_BYTES = 4
"""Size of the number of a call in the pipe that processes take their work from."""
_MAX_NUMBERS = 2**16 // _NUMBER_BYTES
"""At most this many fit into a pipe, whose buffer is 64 KiB on Linux; runs have far fewer."""

Arguments = Sequence[tuple[Any, ...]]


class StepExecutor(Protocol):
    """Calls the function of a step once for each tuple of arguments."""

    def __call__(self, step: RunStep, arguments: Arguments, report: Report) -> list[Any]:
        """Return the results of the calls, in the order of their arguments."""
        ...


def run_in_order(step: RunStep, arguments: Arguments, report: Report) -> list[Any]:
    """Call the function of a step once for each tuple of arguments, one after the other."""
    results = []
    for done, call_arguments in enumerate(arguments, start=1):
        results.append(step.function(*call_arguments))
        report(step, done, len(arguments))
    return results


def thread_executor(workers: int) -> StepExecutor:
    """Return an executor that makes up to ``workers`` calls at a time, in threads."""

    def run_in_threads(step: RunStep, arguments: Arguments, report: Report) -> list[Any]:
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(step.function, *one) for one in arguments]
            try:
                for done, future in enumerate(as_completed(futures), start=1):
                    future.result()
                    report(step, done, len(futures))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [future.result() for future in futures]

    return run_in_threads


def executor_for(settings: RunSettings) -> StepExecutor:
    """Return the executor for a run that has the process to itself."""
    if settings.memory:  # each process would need that much
        return thread_executor(settings.workers)
    return fork_executor(settings.workers)


def fork_executor(workers: int) -> StepExecutor:
    """Return an executor that uses processes for steps that are forkable, and threads for others.

    A third of the time of reading is spent under the interpreter's lock, so threads cannot share
    it: with two workers, forking saves 0.8 of the 9.3 seconds of the main job (9 %) and costs 0.3
    CPU seconds. A forked process starts in milliseconds with everything imported. Where forking is
    not safe (other systems than Linux, or other threads are running), threads do all of the work.
    """
    run_in_threads = thread_executor(workers)

    def run_in_processes(step: RunStep, arguments: Arguments, report: Report) -> list[Any]:
        forks = min(workers, len(arguments)) - 1
        if step.is_forkable and forks > 0 and len(arguments) <= _MAX_NUMBERS and _may_fork():
            return _run_in_forks(step, arguments, report, forks)
        return run_in_threads(step, arguments, report)

    return run_in_processes


def _may_fork() -> bool:
    """Return whether a fork needs to compile nothing and can wait for no lock for ever."""
    return sys.platform == "linux" and may_fork() and are_kernels_cached()


def _run_in_forks(step: RunStep, arguments: Arguments, report: Report, forks: int) -> list[Any]:
    """Run a forkable step in this process and in ``forks`` others.

    If a process fails, its call is repeated here, so that the error, if there is one again, is
    raised in this process.
    """
    context = multiprocessing.get_context("fork")
    call = partial(step.function, processes=1 + forks)
    # The numbers of the calls wait in a pipe: a process that is killed would never release a lock.
    waiting, filled = os.pipe()
    numbers = (number.to_bytes(_NUMBER_BYTES, "big") for number in range(len(arguments)))
    os.write(filled, b"".join(numbers))
    os.close(filled)

    def take() -> Iterator[int]:
        while number := os.read(waiting, _NUMBER_BYTES):
            yield int.from_bytes(number, "big")

    def help_parent(parent: int) -> None:
        with suppress(BaseException):  # the parent repeats the call and reports the error
            for number in take():
                if os.getppid() != parent:
                    break
                call(*arguments[number])

    helpers = []
    try:
        for _ in range(forks):
            with interrupts_blocked():  # for good in the fork: this process handles Ctrl-C for both
                helper = context.Process(target=help_parent, args=(os.getpid(),))
                helper.start()
                helpers.append(helper)
        for number in take():
            call(*arguments[number])
            report(step, max(1, number + 1 - forks), len(arguments))
        for helper in helpers:
            helper.join()
    finally:
        for helper in helpers:
            helper.kill()
            helper.join()
        os.close(waiting)
    results = [call(*one) for one in arguments]  # what is staged already is only looked up
    report(step, len(arguments), len(arguments))
    return results
