"""Run the tasks of a flow in threads, in processes, or on the workers of Dask or Ray.

The choice is a setting of the run, so it applies however the flow is started, from a shell or from
Prefect's page. Tasks receive paths, numbers and settings, never the contents of files, so all
workers must see the files under the same paths.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from prefect.futures import as_completed
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from palimpsest.pipeline.executors import Arguments
from palimpsest.pipeline.steps import RunStep
from palimpsest.records.errors import SettingsError
from palimpsest.records.progress import Report
from palimpsest.records.settings import CLUSTER_RUNNERS, RunSettings


class TaskExecutor:
    """A ``StepExecutor`` that runs steps as Prefect tasks, inside a flow.

    The workers start with the first task, so a run with nothing to do starts none, and end with the
    ``with`` block. A flow can also be defined with a runner, but no parameter could change that,
    and each worker of a cluster would create another one for the flow.
    """

    def __init__(self, settings: RunSettings, tasks: Mapping[RunStep, Any]) -> None:
        """Choose the runner.

        Args:
            settings: of the run.
            tasks: the Prefect task of each step.

        Raises:
            SettingsError: a package that the runner needs is not installed.
        """
        self._runner = task_runner_of(settings)
        self._tasks = tasks
        self._is_started = False
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, traceback)

    def __call__(self, step: RunStep, arguments: Arguments, report: Report) -> list[Any]:
        """Return the step's result for each tuple of arguments, in their order."""
        if arguments and not self._is_started:
            self._open.enter_context(self._runner)
            self._is_started = True
        bind = inspect.signature(step.function).bind
        futures = [
            self._runner.submit(self._tasks[step], bind(*call_arguments).arguments)
            for call_arguments in arguments
        ]
        for done, _ in enumerate(as_completed(futures), start=1):
            report(step, done, len(futures))
        return [future.result() for future in futures]


def task_runner_of(settings: RunSettings) -> Any:
    """Return the Prefect task runner that the settings name, not started yet.

    Raises:
        SettingsError: a package that it needs is not installed.
    """
    if settings.runner in CLUSTER_RUNNERS and find_spec(f"prefect_{settings.runner}") is None:
        name = settings.runner
        fault = f"prefect-{name} is not installed here; all machines need the extra {name!r}"
        raise SettingsError(
            [f"run.runner = {name}: {fault}; pip install 'palimpsest-archive[{name}]'"]
        )
    runners = {"threads": _threads, "processes": _processes, "dask": _dask, "ray": _ray}
    return runners[settings.runner](settings)


def _threads(settings: RunSettings) -> Any:
    return ThreadPoolTaskRunner(max_workers=settings.workers)


def _processes(settings: RunSettings) -> Any:
    """Return a pool of processes. Prefect spawns them, so they inherit no threads and no locks."""
    return ProcessPoolTaskRunner(max_workers=settings.workers)


def _dask(settings: RunSettings) -> Any:
    from prefect_dask.task_runners import DaskTaskRunner

    if settings.cluster is not None:
        return DaskTaskRunner(address=settings.cluster)
    local = {
        "n_workers": settings.workers,
        "threads_per_worker": 1,
        "dashboard_address": "127.0.0.1:0",
        "scheduler_kwargs": {"dashboard": False},
        # Otherwise each worker is killed above its share of memory, and mapped files count.
        "memory_limit": 0,
    }
    return DaskTaskRunner(cluster_kwargs=local)


def _ray(settings: RunSettings) -> Any:
    from prefect_ray import RayTaskRunner

    if settings.cluster is not None:
        return RayTaskRunner(address=settings.cluster)
    return RayTaskRunner(
        init_kwargs={
            "num_cpus": settings.workers,
            "include_dashboard": False,
            "log_to_driver": False,
        }
    )
