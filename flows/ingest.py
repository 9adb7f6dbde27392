"""The Prefect flow that ingests sources: the steps of ``flows.run`` as tasks, one a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from flows.engine import time_limit
from flows.match import align_chunk, gather_texts, pair_texts
from flows.read import stage_batch
from flows.run import Report, run_ingest, silent
from records.settings import Settings

progress: ContextVar[Report] = ContextVar("progress", default=silent)
"""Where the flow reports its progress in this process; not a parameter, since it is no data."""

_NAMES: dict[Callable[..., Any], str] = {
    stage_batch: "read batch",
    gather_texts: "gather texts",
    pair_texts: "find candidates",
    align_chunk: "align",
}
# Batches are staged per run and a run holds the archive's lock, so there is nothing to find again.
_TASKS = {step: task(name=name, cache_policy=NO_CACHE)(step) for step, name in _NAMES.items()}


def _as_tasks(
    step: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], report: Report
) -> list[Any]:
    """Carry out a step as Prefect tasks."""
    futures = [_TASKS[step].submit(*one) for one in arguments]
    for done, _ in enumerate(as_completed(futures), start=1):
        report(step.__name__, done, len(futures))
    return [future.result() for future in futures]


@flow(name="ingest", persist_result=False, validate_parameters=True, timeout_seconds=time_limit())
def ingest(sources: list[str], archive: str, settings: Settings | None = None) -> dict[str, Any]:
    """Bring articles into an archive; commit one new version, or none if nothing is new.

    Args:
        sources: files, folders or patterns of files to read.
        archive: the archive's path; made if there is none.
        settings: how to read, match and run; what is left out has its default.

    Returns:
        The run's summary: what was found, kept, folded and rejected.
    """
    summary = run_ingest(
        sources,
        archive,
        settings,
        each=_as_tasks,
        report=progress.get(),
        flow_run_id=flow_run.get_id(),
    )
    return summary.to_dict()


def ingest_with(
    sources: Sequence[str], archive: str, settings: Settings, report: Report = silent
) -> dict[str, Any]:
    """Run the flow in this process with as many threads as the settings say."""
    runner: Any = ThreadPoolTaskRunner(max_workers=settings.run.workers)
    token = progress.set(report)
    try:
        return ingest.with_options(task_runner=runner)(list(sources), archive, settings)
    finally:
        progress.reset(token)
