"""Runs at set times, or when sources change: ``palimpsest schedule`` and its Prefect server.

The process creates a deployment at the server, starts its runs, each in a process of its own, and
restarts the server if it ends. The deployment outlives the process: its schedule stays active at
the server, and when the process is started again, missed runs are caught up by a single run.
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import (
    ConcurrencyLimitConfig,
    ConcurrencyLimitStrategy,
    FlowRun,
    StateType,
)
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.states import Crashed
from prefect.types.entrypoint import EntrypointType
from watchfiles import awatch

from palimpsest.flows.automations import TAG, ensure_automations
from palimpsest.flows.ingest import ingest
from palimpsest.flows.local_server import LocalServer
from palimpsest.flows.telemetry.messages import ArchiveLabel
from palimpsest.records.errors import SettingsError
from palimpsest.records.settings import Settings

_ANCHOR = datetime(2024, 1, 1, tzinfo=UTC)
"""A Monday midnight: intervals are counted from here, so that a restart does not shift them."""
_GLOB = re.compile(r"[*?\[]")
_QUIET_MILLISECONDS = 2_000
"""A run starts once nothing has changed for this long: files may still be being written."""
_MAX_DELAY_MILLISECONDS = 60_000
"""A run starts after this long even if changes go on."""
_POLL_SECONDS = 5.0
_UNFINISHED = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


@dataclass(frozen=True, slots=True)
class Timetable:
    """When a run is started; at least one of the first three.

    Attributes:
        cron: five fields, read in ``timezone``.
        every: counted from a Monday midnight, UTC.
        watch: when something below the sources changes.
        timezone: name of the IANA database.
    """

    cron: str | None = None
    every: timedelta | None = None
    watch: bool = False
    timezone: str = "UTC"

    def schedules(self) -> list[CronSchedule | IntervalSchedule]:
        """Return the schedules of the deployment; none if it only watches."""
        if self.cron is not None:
            return [CronSchedule(cron=self.cron, timezone=self.timezone)]
        if self.every is not None:
            return [IntervalSchedule(interval=self.every, anchor_date=_ANCHOR)]
        return []

    def __str__(self) -> str:
        parts = []
        if self.cron is not None:
            parts.append(f"at {self.cron} ({self.timezone})")
        if self.every is not None:
            parts.append(f"every {self.every}")
        if self.watch:
            parts.append("whenever something below its sources changes")
        return " and ".join(parts)


async def keep_schedule(
    sources: Sequence[str],
    archive: str,
    settings: Settings,
    timetable: Timetable,
    server: LocalServer | None,
    *,
    log: Callable[[str], Any] = print,
) -> None:
    """Start runs when they are due, until the process is interrupted.

    A run that is due while another one is running is cancelled, since the next one reads the same
    sources; changes during a run are read by one run after it.

    Args:
        sources: absolute paths, or patterns of them.
        archive: the archive's absolute path, or its address.
        settings: of each run.
        timetable: when runs are started.
        server: restarted whenever it ends; None if ``PREFECT_API_URL`` names another one.
        log: called with a line for each event.

    Raises:
        SettingsError: the server refuses the login.
    """
    while True:
        try:
            deployment: Any = await ingest_deployment(sources, archive, settings, timetable)
            await _serve(deployment, sources, timetable, server, log)
        except (httpx.HTTPError, RuntimeError, ExceptionGroup) as error:
            _raise_if_login_refused(error)
            log(f"no answer from Prefect's server: {error}; trying again")
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return


def _raise_if_login_refused(error: Exception) -> None:
    """Stop trying if the server refuses our login.

    Raises:
        SettingsError: it does.
    """
    response = getattr(error, "response", None)
    if response is not None and response.status_code == HTTPStatus.UNAUTHORIZED:
        fault = f"{response.request.url.host}: Prefect's server refuses the login"
        raise SettingsError([f"{fault}; set PREFECT_API_AUTH_STRING=user:password"]) from error


async def ingest_deployment(
    sources: Sequence[str], archive: str, settings: Settings, timetable: Timetable
) -> Any:
    """Return the deployment of the ingest flow for one archive, not yet sent to the server.

    Of the settings it stores those that were chosen; the others are the defaults of the version
    that executes the run, so they change when Palimpsest is upgraded.
    """
    strategy = (
        ConcurrencyLimitStrategy.ENQUEUE if timetable.watch else ConcurrencyLimitStrategy.CANCEL_NEW
    )
    return await ingest.ato_deployment(
        ArchiveLabel.of(archive).slug,
        schedules=timetable.schedules(),
        parameters={
            "sources": list(sources),
            "archive": archive,
            "settings": settings.overrides(),
        },
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=strategy),
        description=f"Ingests articles into the archive {archive}.",
        tags=[TAG],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


async def _serve(
    deployment: Any,
    sources: Sequence[str],
    timetable: Timetable,
    server: LocalServer | None,
    log: Callable[[str], Any],
) -> None:
    """Send the deployment to the server and start its runs, until an error or an interrupt."""
    if server:
        await asyncio.to_thread(ensure_automations)
    runner: Any = Runner(
        name=f"palimpsest {deployment.name}",
        query_seconds=_POLL_SECONDS,
        pause_on_shutdown=False,
        limit=None,
    )
    runner.handle_sigterm = signal.getsignal(signal.SIGTERM)  # the runner would replace it
    async with get_client() as client:
        was_missed = await _settle_old_runs(client, f"{ingest.name}/{deployment.name}")
        deployment_id = await runner.aadd_deployment(deployment)
        log(f"{ingest.name}/{deployment.name}: {timetable}")
        if was_missed:
            log("a run was missed; it is caught up now")
        if was_missed or timetable.watch:
            await client.create_flow_run_from_deployment(deployment_id)
        async with _in_background(
            _watch(client, deployment_id, sources, log) if timetable.watch else None,
            _keep_running(server) if server else None,
        ):
            await runner.start()


@asynccontextmanager
async def _in_background(*coroutines: Any) -> AsyncIterator[None]:
    """Run coroutines until the body ends; raise what they raised."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines if coroutine]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


async def _settle_old_runs(client: PrefectClient, name: str) -> bool:
    """Settle the runs that an earlier process left; return whether a run was missed since then.

    Unfinished runs become Crashed: their process is dead and cannot report it, and they would
    block the next run. Runs that are overdue are deleted; the caller starts one in their place.
    """
    try:
        deployment = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return False
    for run in await _read_runs(client, deployment.id, _UNFINISHED):
        state: Any = Crashed(message="The process that kept the schedule has ended.")
        await client.set_flow_run_state(run.id, state, force=True)
    now = datetime.now(UTC)
    overdue = [
        run
        for run in await _read_runs(client, deployment.id, [StateType.SCHEDULED])
        if run.next_scheduled_start_time is None or run.next_scheduled_start_time <= now
    ]
    for run in overdue:
        await client.delete_flow_run(run.id)
    return bool(overdue)


async def _read_runs(
    client: PrefectClient, deployment_id: UUID, types: Sequence[StateType]
) -> list[FlowRun]:
    run_filter = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))),
    )
    return await client.read_flow_runs(flow_run_filter=run_filter)


async def _watch(
    client: PrefectClient, deployment_id: UUID, sources: Sequence[str], log: Callable[[str], Any]
) -> None:
    """Create a run whenever something changes, unless one is already waiting to start."""
    changes = awatch(
        *watched_folders(sources), step=_QUIET_MILLISECONDS, debounce=_MAX_DELAY_MILLISECONDS
    )
    async for _ in changes:
        now = datetime.now(UTC)
        try:
            waiting = await _read_runs(client, deployment_id, [StateType.SCHEDULED])
            if not any((run.expected_start_time or now) <= now for run in waiting):
                await client.create_flow_run_from_deployment(deployment_id)
        except httpx.HTTPError as error:
            log(f"no answer from Prefect's server: {error}; the next run reads the changes")


def watched_folders(sources: Sequence[str]) -> list[str]:
    """Return the folders to watch: folders among the sources, and those that files are in."""
    folders = set()
    for source in sources:
        path = Path(source)
        while _GLOB.search(str(path)):
            path = path.parent
        folders.add(path if path.is_dir() else path.parent)
    return sorted(map(str, folders))


async def _keep_running(server: LocalServer) -> None:
    """Restart the server whenever it does not answer."""
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        with suppress(Exception):
            await asyncio.to_thread(server.ensure)
