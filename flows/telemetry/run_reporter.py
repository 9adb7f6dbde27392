"""Report a flow run: artifacts on Prefect's page, a log line for each step, and events.

Reporting never fails a run: the first failure is logged, and further reporting is disabled.
Outside of a flow nothing is reported.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed

from palimpsest.flows.telemetry.messages import (
    EXAMPLES,
    ArchiveLabel,
    one_line,
    result_markdown,
    summary_markdown,
)
from palimpsest.flows.telemetry.top_shared_pairs import find_top_shared_pairs
from palimpsest.pipeline.executors import Arguments, StepExecutor
from palimpsest.pipeline.steps import PORTION, WAIT, RunStep, percent_done
from palimpsest.pipeline.summary import RunSummary
from palimpsest.records.errors import SettingsError
from palimpsest.records.flatten import flatten
from palimpsest.records.progress import Report, Step, silent
from palimpsest.store.address import open_archive
from palimpsest.store.archive import Snapshot

if TYPE_CHECKING:
    from palimpsest.flows.telemetry.openlineage_events import Lineage

LINEAGE = "PALIMPSEST_LINEAGE"
"""Environment variable: where OpenLineage events are sent; without it, none are created."""
SECONDS_BETWEEN = 1.0
"""Interval between updates of the progress within a step; its end is reported at once."""


class _ErrorGuard:
    """Suppresses errors of reporting; the first one is logged."""

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[Any]) -> None:
        self._logger = logger
        self.has_failed = False

    def __call__(self, report: Callable[[], Any]) -> None:
        """Report something, unless that has failed before: each attempt may take long."""
        if not self.has_failed:
            with self:
                report()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.has_failed = True
        message = "the report of this run is incomplete (%s: %s); the archive is not affected"
        self._logger.warning(message, type(error).__name__, error)
        return True


class _Progress:
    """A progress artifact, written by a thread of its own: a slow server delays no step."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._condition = threading.Condition()
        self._latest: tuple[float, str] = (0.0, "")
        self._written: tuple[float, str] | None = None
        self._is_urgent = False
        self._has_ended = False
        self._thread: threading.Thread | None = None

    def update(self, percent: float, description: str, *, is_urgent: bool) -> None:
        """Have progress written soon, or at once if it is urgent."""
        with self._condition:
            self._latest = (round(min(100.0, percent), 1), description)
            self._is_urgent |= is_urgent
            self._condition.notify()
        if self._thread is None:
            target = partial(copy_context().run, self._write)
            self._thread = threading.Thread(target=target, name="progress", daemon=True)
            self._thread.start()

    def stop(self, description: str | None = None) -> None:
        """Write the last update, if there was one, and end."""
        if self._thread is None:
            return
        with self._condition:
            if description is not None and not self._has_ended:
                self._latest = (self._latest[0], description)
            self._has_ended = True
            self._condition.notify()
        self._thread.join(timeout=5 * SECONDS_BETWEEN)

    def _write(self) -> None:
        artifact: Any = None
        with suppress(Exception):  # if the server cannot be reached, the summary's error is logged
            while latest := self._next():
                if artifact is None:
                    artifact = create_progress_artifact(latest[0], self._key, latest[1])
                else:
                    update_progress_artifact(artifact, *latest)
                with self._condition:
                    self._condition.wait_for(
                        lambda: self._has_ended or self._is_urgent, SECONDS_BETWEEN
                    )

    def _next(self) -> tuple[float, str] | None:
        """Wait for an update and return it; None at the end."""
        with self._condition:
            self._condition.wait_for(lambda: self._has_ended or self._latest != self._written)
            if self._latest == self._written:
                return None
            self._written = self._latest
            self._is_urgent = False
            return self._written


@dataclass(slots=True)
class RunReporter:
    """Reports one run of the ingest flow; see ``reporting``."""

    label: ArchiveLabel
    _report: Report
    _logger: logging.Logger | logging.LoggerAdapter[Any]
    _progress: _Progress
    _lineage: Lineage | None
    _portion: tuple[int, int] = (0, 1)
    _since: dict[str, float] = field(default_factory=dict)

    def report(self, step: Step, done: int, total: int) -> None:
        """Pass on the progress of a step, and report it."""
        self._report(step, done, total)
        if step == PORTION:
            self._portion = (done, total)
            self._logger.info("portion %s of %s", f"{done + 1:,}", f"{total:,}")
        elif step == WAIT:
            waited = time.perf_counter() - self._since.setdefault("wait", time.perf_counter())
            if done:
                del self._since["wait"]
            if waited > SECONDS_BETWEEN:
                self._logger.info("waited %.0f s for another run on this archive", waited)
        elif isinstance(step, RunStep):
            self._show(step, done, total)
            if step.task_name is None and done == total:  # ``logged`` logs the others
                self._logger.info("%s: %s", step.label, step.describe([]))

    def _show(self, step: RunStep, done: int, total: int) -> None:
        """Show the progress of the whole run, of which a portion is one part."""
        portion, portions = self._portion
        share = percent_done(step, done, total) / 100
        of_portions = f"portion {portion + 1} of {portions}, " if portions > 1 else ""
        self._progress.update(
            100 * (portion + share) / portions,
            f"{of_portions}{step.label}: {done} of {total}",
            is_urgent=done == total,
        )

    def logged(self, executor: StepExecutor) -> StepExecutor:
        """Return an executor that also logs the end of each step."""

        def run_and_log(step: RunStep, arguments: Arguments, report: Report) -> list[Any]:
            if arguments:
                self._show(step, 0, len(arguments))
            started = time.perf_counter()
            results = executor(step, arguments, report)
            seconds = time.perf_counter() - started
            self._logger.info("%s: %s, %.1f s", step.label, step.describe(results), seconds)
            return results

        return run_and_log

    def done(self, summary: RunSummary, report_url: str | None = None) -> dict[str, Any]:
        """Report the result of the run; return what the flow must return.

        That is a state with a message, which Prefect shows beside the run, and with the summary as
        plain values, which Prefect passes on to the caller of the flow.

        Args:
            summary: of the run.
            report_url: address of a report of the archive, if one was written.
        """
        message = one_line(summary)
        self._logger.info("%s", message)
        self._progress.stop()
        guard, runs = _ErrorGuard(self._logger), list[str]()
        if summary.version is not None:
            with guard:
                runs = _runs_of(summary)
        guard(partial(self._create_artifacts, summary, runs, report_url))
        if self._lineage:  # another server, which may answer even if Prefect's does not
            _ErrorGuard(self._logger)(partial(self._lineage.complete, summary, runs))
        state: Any = Completed(message=message, data=summary.to_dict())
        ending: dict[str, Any] = state
        return ending

    def failed(self, error: BaseException) -> None:
        """Report that the run failed or was cancelled."""
        is_failure = isinstance(error, Exception)
        self._progress.stop("failed" if is_failure else "cancelled")
        if self._lineage:
            _ErrorGuard(self._logger)(partial(self._lineage.fail, error))

    def _create_artifacts(
        self, summary: RunSummary, runs: Sequence[str], report_url: str | None
    ) -> None:
        label = self.label
        markdown = summary_markdown(label, summary, runs)
        create_markdown_artifact(markdown, label.key("ingest-summary"), one_line(summary))
        if label.inspector:
            text = f"{label.name} in the inspector"
            create_link_artifact(label.inspector, text, label.key("ingest-inspector"))
        if summary.version is None:
            return
        snapshot = open_archive(summary.archive).snapshot(summary.version)
        reasons = _reasons(snapshot, runs)
        if reasons:
            create_table_artifact(
                [reason.row() for reason in reasons],
                label.key("ingest-rejects"),
                "Sources that this run was the first to reject, by reason. Each is a row of "
                f"`{label.path}/rejects`.",
            )
        if report_url:
            text = f"Report of {label.name}, version {summary.version}"
            create_link_artifact(report_url, text, label.key("ingest-report"))
        self._emit(summary, reasons)
        pairs = find_top_shared_pairs(snapshot, summary.run_id)
        if pairs.num_rows:
            create_table_artifact(
                _pair_rows(pairs),
                label.key("ingest-reuse"),
                "Documents that share most words with those of run "
                f"`{summary.run_id}`. `palimpsest passages {label.path}` shows them aligned.",
            )

    def _emit(self, summary: RunSummary, reasons: Sequence[_Reason]) -> None:
        of_run = {"run_id": summary.run_id, "version": summary.version}
        counts = {name: summary.to_dict()[name] for name in _COUNTS}
        emit = partial(emit_event, resource=self.label.resource())
        emit("palimpsest.version.published", payload=of_run | counts)
        for reason in reasons:
            payload = {"reason": reason.reason, "count": reason.count, "uris": reason.uris}
            emit("palimpsest.source.rejected", payload=of_run | payload)
        if summary.paragraphs_superseded:
            payload = {"count": summary.paragraphs_superseded}
            emit("palimpsest.original.superseded", payload=of_run | payload)


class _Silent(RunReporter):
    """Reports nothing but progress: there is no flow run."""

    __slots__ = ()

    def report(self, step: Step, done: int, total: int) -> None:
        self._report(step, done, total)

    def logged(self, executor: StepExecutor) -> StepExecutor:
        return executor

    def done(self, summary: RunSummary, report_url: str | None = None) -> dict[str, Any]:
        _ = report_url
        return summary.to_dict()


@contextmanager
def reporting(
    sources: Sequence[str], archive: str, report: Report = silent
) -> Iterator[RunReporter]:
    """Provide the reporter of an ingest run; errors in the ``with`` block are reported too.

    Args:
        sources: the sources of the run.
        archive: path or address of the archive.
        report: also called with the progress.

    Raises:
        SettingsError: OpenLineage events cannot be sent as configured.
    """
    label = ArchiveLabel.of(archive)
    progress = _Progress(label.key("ingest-progress"))
    if FlowRunContext.get() is None:
        yield _Silent(label, report, logging.getLogger(__name__), progress, None)
        return
    lineage = _lineage(label, sources)
    logger = get_run_logger()
    reporter = RunReporter(label, report, logger, progress, lineage)
    if lineage:
        _ErrorGuard(logger)(partial(lineage.start, flow_run.get_scheduled_start_time()))
    try:
        yield reporter
    except BaseException as error:
        reporter.failed(error)
        raise
    finally:
        progress.stop()


def _lineage(label: ArchiveLabel, sources: Sequence[str]) -> Lineage | None:
    """Return the sender of OpenLineage events, if it is configured.

    Raises:
        SettingsError: it cannot work as configured.
    """
    target = os.environ.get(LINEAGE, "").strip()
    if not target:
        return None
    if find_spec("openlineage") is None:
        missing = "openlineage-python is not installed; install palimpsest-archive[lineage]"
        raise SettingsError([f"{LINEAGE} = {target}: {missing}, or unset {LINEAGE}"])
    from palimpsest.flows.telemetry.openlineage_events import Lineage

    try:
        return Lineage(target, f"ingest.{label.slug}", sources, label.path, flow_run.get_id())
    except SettingsError as error:
        raise SettingsError([f"{LINEAGE} = {fault}" for fault in error.faults]) from error


def report_result(flow_name: str, archive: str, result: Mapping[str, Any]) -> None:
    """Report the result of a flow other than ingest, as an artifact and a log line.

    Args:
        flow_name: such as ``verify``; the artifact's key begins with it.
        archive: path or address of the archive.
        result: plain values; of lists, the first items are shown.
    """
    if FlowRunContext.get() is None:
        return
    label, logger = ArchiveLabel.of(archive), get_run_logger()
    rows = [(name.replace("_", " "), value) for name, value in flatten(result)]
    brief = ", ".join(f"{name} {value}" for name, value in rows if not isinstance(value, list))
    logger.info("%s of %s: %s", flow_name, label.name, brief)
    markdown = result_markdown(flow_name, label, rows)
    key = label.key(f"{re.sub('[^a-z0-9]+', '-', flow_name.lower())}-summary")
    _ErrorGuard(logger)(partial(create_markdown_artifact, markdown, key, brief[:200]))


_COUNTS = (
    "sources_found",
    "sources_new",
    "sources_known",
    "sources_rejected",
    "documents_new",
    "paragraphs_seen",
    "paragraphs_kept",
    "paragraphs_folded",
    "paragraphs_repeated",
    "paragraphs_superseded",
    "overlaps_found",
    "bytes_read",
    "seconds",
)


@dataclass(frozen=True, slots=True)
class _Reason:
    """The sources that a run rejected for one reason."""

    reason: str
    count: int
    uris: list[str]
    detail: str

    def row(self) -> dict[str, Any]:
        """Return a row of the artifact's table."""
        return {
            "reason": self.reason,
            "sources": self.count,
            "example": self.uris[0],
            "detail": self.detail,
        }


def _reasons(snapshot: Snapshot, runs: Sequence[str]) -> list[_Reason]:
    """Return what the runs were the first to reject, by descending frequency of the reason."""
    rows = snapshot.read("rejects", ["uri", "reason", "detail", "run_id"])
    rows = rows.filter(pc.is_in(rows.column("run_id"), value_set=pa.array(runs, pa.string())))
    reasons = []
    for reason in pc.unique(rows.column("reason")).to_pylist():
        rejects = rows.filter(pc.equal(rows.column("reason"), reason)).sort_by("uri")
        uris = rejects.column("uri").slice(0, EXAMPLES).to_pylist()
        detail = rejects.column("detail")[0].as_py()
        reasons.append(_Reason(reason, rejects.num_rows, uris, detail))
    return sorted(reasons, key=lambda reason: (-reason.count, reason.reason))


def _runs_of(summary: RunSummary) -> list[str]:
    """Return the run ids that this flow run committed, one for each part, in order."""
    flow_run_id = flow_run.get_id()
    snapshot = open_archive(summary.archive).snapshot(summary.version)
    rows = snapshot.read("runs", ["run_id", "flow_run_id"]).to_pylist()
    return sorted(row["run_id"] for row in rows if row["flow_run_id"] == flow_run_id)


def _pair_rows(pairs: pa.Table) -> list[dict[str, Any]]:
    return [
        {
            "words": row["words"],
            "document": row["left_uri"],
            "other document": row["right_uri"],
            "begins": row["text"] or "",
        }
        for row in pairs.to_pylist()
    ]
