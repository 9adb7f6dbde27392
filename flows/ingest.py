"""The Prefect flow that ingests sources: the steps of ``pipeline.run``, a task for each batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from prefect import flow, get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from palimpsest.flows.prefect_environment import time_limit
from palimpsest.flows.task_runners import TaskExecutor
from palimpsest.flows.telemetry.messages import ArchiveLabel
from palimpsest.flows.telemetry.run_reporter import reporting
from palimpsest.pipeline.run import run_ingest
from palimpsest.pipeline.steps import RUN_STEPS, RunStep
from palimpsest.records.errors import TransientError
from palimpsest.records.garbage import collect_rarely
from palimpsest.records.progress import Report, silent
from palimpsest.records.settings import Settings

progress: ContextVar[Report] = ContextVar("progress", default=silent)
"""Called with the progress of a flow that runs in this process. It reaches the flow beside its
parameters, since Prefect stores those as JSON."""

_RETRY_SECONDS: list[float] = [10, 60]
"""Delays before the retries of a task."""


def _is_transient(_task: Any, _task_run: Any, state: Any) -> bool:
    """Return whether a failed task may succeed if it is run again."""
    return isinstance(state.result(raise_on_failure=False), TransientError)


def _task_of(step: RunStep) -> Any:
    """Return a step as a Prefect task, retried if an object store does not answer.

    A source on a network that does not answer is retried by the step itself and by later runs.
    Prefect caches nothing: finished batches are staged, and a later run finds them there.
    """
    return task(
        name=step.task_name,
        cache_policy=NO_CACHE,
        retries=len(_RETRY_SECONDS),
        retry_delay_seconds=_RETRY_SECONDS,
        retry_condition_fn=_is_transient,
    )(step.function)


_TASKS = {step: _task_of(step) for step in RUN_STEPS if step.task_name}


def run_name() -> str:
    """Return the name of the flow run: ``ingest press`` for an archive at ``shelves/press``."""
    return f"ingest {ArchiveLabel.of(flow_run.get_parameters()['archive']).name}"


@flow(
    name="ingest",
    flow_run_name=run_name,
    persist_result=False,
    validate_parameters=True,
    timeout_seconds=time_limit(),
)
def ingest(sources: list[str], archive: str, settings: Settings | None = None) -> dict[str, Any]:
    """Ingest articles into an archive; commit one new version, or none if nothing is new.

    Args:
        sources: files, folders or patterns of files to read.
        archive: the archive's path or address; created if it does not exist.
        settings: how to read, match and run; anything left out has its default.

    Returns:
        The run's summary as plain values: what was found, kept, folded and rejected.
    """
    summary: dict[str, Any] = _ingest(sources, archive, settings or Settings())
    return summary


def _ingest(sources: list[str], archive: str, settings: Settings) -> Any:
    """Run the flow's steps, outside the flow's function: Prefect pickles that with each task.

    With it go the globals that it uses, and a ``ContextVar`` cannot be pickled.
    """
    collect_rarely()  # as the command does, for runs that a worker starts
    with (
        reporting(sources, archive, progress.get()) as reporter,
        TaskExecutor(settings.run, _TASKS) as executor,
    ):
        summary = run_ingest(
            sources,
            archive,
            settings,
            executor=reporter.logged(executor),
            report=reporter.report,
            flow_run_id=flow_run.get_id(),
        )
        return reporter.done(summary)


def ingest_with(
    sources: Sequence[str], archive: str, settings: Settings, report: Report = silent
) -> dict[str, Any]:
    """Run the flow in this process.

    Returns:
        The summary of the run, with ``flow_run``: its id, name, state and message in Prefect.
    """
    token = progress.set(report)
    try:
        state = ingest(list(sources), archive, settings, return_state=True)
    finally:
        progress.reset(token)
    summary: dict[str, Any] = state.result()
    return summary | {"flow_run": _flow_run(state.state_details.flow_run_id)}


def _flow_run(flow_run_id: Any) -> dict[str, Any]:
    """Return how Prefect's server shows a flow run."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run_id)
    state = run.state
    return {
        "id": str(run.id),
        "name": run.name,
        "state": state.name if state else None,
        "message": state.message if state else None,
    }
