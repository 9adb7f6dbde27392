"""Runs at set times, or when sources change: ``palimpsest schedule`` and its Prefect server.

The process keeps a deployment at the server, starts its runs, each in a process of its own, and
looks after the server. What it was told outlives it: the schedule stays active at the server, and
what fell due meanwhile is made up for by one run when it is back.
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Sequence
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
"""How long nothing must change before a run reads what has: files may still be being written."""
_AT_LATEST_MILLISECONDS = 60_000
_LOOK_SECONDS = 5.0
_GOING = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


@dataclass(frozen=True, slots=True)
class Timetable:
    """When a run is started; at least one of the three.

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
        """Return what Prefect's scheduler is told."""
        if self.cron is not None:
            return [CronSchedule(cron=self.cron, timezone=self.timezone)]
        if self.every is not None:
            return [IntervalSchedule(interval=self.every, anchor_date=_ANCHOR)]
        return []


async def keep_schedule(
    sources: Sequence[str],
    archive: str,
    settings: Settings,
    timetable: Timetable,
    server: LocalServer | None,
    say: Any = print,
) -> None:
    """Start runs when they are due until the process is told to stop.

    A run that falls due while one is going is cancelled, since the one after it reads the same;
    what changes while one is going is read by one run after it.

    Args:
        sources: absolute paths, or patterns of them.
        archive: the archive's absolute path, or its address.
        settings: of each run.
        timetable: when.
        server: restarted whenever it ends; None if ``PREFECT_API_URL`` names another one.
        say: told in a line what happens.

    Raises:
        SettingsError: the server refuses the login.
    """
    while True:
        try:
            await _keep(sources, archive, settings, timetable, server, say)
        except (httpx.HTTPError, RuntimeError, ExceptionGroup) as error:
            _expect_login(error)
            say(f"no answer from Prefect's server: {error}; trying again")
            await asyncio.sleep(_LOOK_SECONDS)
        else:
            return


def _expect_login(error: Exception) -> None:
    """Refuse to try again if the server refuses our login.

    Raises:
        SettingsError: it does.
    """
    response = getattr(error, "response", None)
    if response is not None and response.status_code == HTTPStatus.UNAUTHORIZED:
        fault = f"{response.request.url.host}: Prefect's server refuses the login"
        raise SettingsError([f"{fault}; set PREFECT_API_AUTH_STRING=user:password"]) from error


async def _keep(
    sources: Sequence[str],
    archive: str,
    settings: Settings,
    timetable: Timetable,
    server: LocalServer | None,
    say: Any,
) -> None:
    name = ArchiveLabel.of(archive).slug
    if server:
        await asyncio.to_thread(ensure_automations)
    runner = Runner(
        name=f"palimpsest {name}", query_seconds=_LOOK_SECONDS, pause_on_shutdown=False, limit=None
    )
    async with get_client() as client:
        was_missed = await _clear_away(client, f"{ingest.name}/{name}")
        strategy = (
            ConcurrencyLimitStrategy.ENQUEUE
            if timetable.watch
            else ConcurrencyLimitStrategy.CANCEL_NEW
        )
        deployment: Any = await ingest.ato_deployment(
            name,
            schedules=timetable.schedules(),
            parameters={
                "sources": list(sources),
                "archive": archive,
                "settings": settings.model_dump(mode="json"),
            },
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=strategy),
            description=f"Brings articles into the archive {archive}.",
            tags=[TAG],
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        deployment_id = await runner.aadd_deployment(deployment)
        say(f"{ingest.name}/{name}: {_told(timetable)}")
        if was_missed:
            say("a run was missed; it is made up for now")
        if was_missed or timetable.watch:
            await client.create_flow_run_from_deployment(deployment_id)
        async with _together(
            _end_when_told(asyncio.current_task()),
            _watch(client, deployment_id, sources, say) if timetable.watch else None,
            _look_after(server) if server else None,
        ):
            await runner.start()


def _told(timetable: Timetable) -> str:
    parts = []
    if timetable.cron is not None:
        parts.append(f"at {timetable.cron} ({timetable.timezone})")
    if timetable.every is not None:
        parts.append(f"every {timetable.every}")
    if timetable.watch:
        parts.append("whenever something below its sources changes")
    return " and ".join(parts)


@asynccontextmanager
async def _together(*others: Any) -> AsyncIterator[None]:
    """Have other things done as long as the body runs."""
    tasks = [asyncio.create_task(other) for other in others if other]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def _end_when_told(task: asyncio.Task[Any] | None) -> None:
    """Have SIGTERM end the task as Ctrl-C does; the runner's own handler cannot await its end."""
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


async def _clear_away(client: PrefectClient, name: str) -> bool:
    """Settle what an earlier process has left; tell whether a run fell due since then.

    Its runs are told as crashed if they were going: nobody would tell otherwise, and they would
    hold the place of the next run. Runs that fell due are dropped; one takes their place.
    """
    try:
        deployment = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return False
    for run in await _runs(client, deployment.id, _GOING):
        state: Any = Crashed(message="The process that kept the schedule has ended.")
        await client.set_flow_run_state(run.id, state, force=True)
    now = datetime.now(UTC)
    due = [
        run
        for run in await _runs(client, deployment.id, [StateType.SCHEDULED])
        if run.next_scheduled_start_time is None or run.next_scheduled_start_time <= now
    ]
    for run in due:
        await client.delete_flow_run(run.id)
    return bool(due)


async def _runs(
    client: PrefectClient, deployment_id: UUID, types: Sequence[StateType]
) -> list[FlowRun]:
    chosen = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))),
    )
    return await client.read_flow_runs(flow_run_filter=chosen)


async def _watch(
    client: PrefectClient, deployment_id: UUID, sources: Sequence[str], say: Any
) -> None:
    """Ask for a run whenever something changes, unless one is waiting to start already."""
    changes = awatch(
        *watched_folders(sources), step=_QUIET_MILLISECONDS, debounce=_AT_LATEST_MILLISECONDS
    )
    async for _ in changes:
        now = datetime.now(UTC)
        try:
            waiting = await _runs(client, deployment_id, [StateType.SCHEDULED])
            if not any((run.expected_start_time or now) <= now for run in waiting):
                await client.create_flow_run_from_deployment(deployment_id)
        except httpx.HTTPError as error:
            say(f"no answer from Prefect's server: {error}; what changed is read by the next run")


def watched_folders(sources: Sequence[str]) -> list[str]:
    """Return the folders below which sources may change: themselves, or those of their files."""
    folders = set()
    for source in sources:
        named = Path(source)
        while _GLOB.search(str(named)):
            named = named.parent
        folders.add(named if named.is_dir() else named.parent)
    return sorted(map(str, folders))


async def _look_after(server: LocalServer) -> None:
    """Start the server again whenever it does not answer."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        with suppress(Exception):
            await asyncio.to_thread(server.ensure)
