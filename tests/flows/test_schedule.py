"""A schedule on one machine: what is due is run, once, and what a dead process left is settled."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Running, Scheduled
from prefect.types.entrypoint import EntrypointType

from palimpsest.flows.ingest import ingest
from palimpsest.flows.schedule import Timetable, _clear_away, _runs, watched_folders
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import make_paragraph, write_articles
from tests.services import needs_servers


def test_intervals_are_counted_from_midnight_whenever_one_starts() -> None:
    [schedule] = Timetable(every=timedelta(hours=6)).schedules()
    now = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    dates = asyncio.run(_dates(schedule, now))
    assert [date.hour for date in dates] == [6, 12, 18]
    [schedule] = Timetable(cron="0 5 * * *", timezone="Asia/Almaty").schedules()
    assert asyncio.run(_dates(schedule, now))[0] == datetime(2026, 3, 5, 0, 0, tzinfo=UTC)
    assert Timetable(watch=True).schedules() == []


async def _dates(schedule: Any, now: datetime) -> list[datetime]:
    from prefect.server.schemas import schedules

    served = getattr(schedules, type(schedule).__name__).model_validate(schedule.model_dump())
    return await served.get_dates(3, start=now)


def test_folders_that_are_watched_are_those_of_the_sources(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("A", encoding="utf-8")
    sources = [tmp_path / "in" / "a.txt", tmp_path / "in" / "deep", tmp_path / "in/d*p/**/*.txt"]
    assert watched_folders([str(one) for one in sources]) == [
        str(tmp_path / "in"),
        str(tmp_path / "in" / "deep"),
    ]


@pytest.mark.usefixtures("prefect_harness")
def test_ten_missed_runs_are_made_up_for_once_and_orphans_are_crashed() -> None:
    async def settle() -> tuple[bool, int, StateType | None, bool]:
        deployment: Any = await ingest.ato_deployment(
            "press-missed",
            parameters={"sources": ["in"], "archive": "press"},
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        deployment_id = await deployment.apply()
        now = datetime.now(UTC)
        async with get_client() as client:
            for hours in range(10):
                due = Scheduled(scheduled_time=now - timedelta(hours=hours, minutes=1))
                await client.create_flow_run_from_deployment(deployment_id, state=due)
            later = Scheduled(scheduled_time=now + timedelta(hours=1))
            await client.create_flow_run_from_deployment(deployment_id, state=later)
            orphan = await client.create_flow_run_from_deployment(deployment_id)
            await client.set_flow_run_state(orphan.id, Running(), force=True)
            missed = await _clear_away(client, "ingest/press-missed")
            left = len(await _runs(client, deployment_id, [StateType.SCHEDULED]))
            crashed = (await client.read_flow_run(orphan.id)).state_type
            return missed, left, crashed, await _clear_away(client, "ingest/press-missed")

    assert asyncio.run(settle()) == (True, 1, StateType.CRASHED, False)


@pytest.mark.usefixtures("prefect_harness")
def test_archive_that_never_was_scheduled_has_missed_nothing() -> None:
    async def settle() -> bool:
        async with get_client() as client:
            return await _clear_away(client, "ingest/never")

    assert asyncio.run(settle()) is False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _until(is_so: Callable[[], bool], seconds: float, told: Path) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, told.read_text(encoding="utf-8")
        time.sleep(0.2)


def _command_lines() -> str:
    """Return what each user of the machine can read of all processes."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            lines.append(path.read_text(errors="replace"))
    return "\n".join(lines)


@needs_servers
def test_watched_folder_is_read_at_once_and_again_when_it_changes(tmp_path: Path) -> None:
    corpus = write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1)]})
    archive, told, port = StoredArchive(tmp_path / "press"), tmp_path / "log", _free_port()
    login = tmp_path / "state" / "prefect-login"

    def has_documents(count: int) -> bool:
        if login.exists():
            assert login.read_text(encoding="ascii") not in _command_lines()
        return archive.exists() and archive.snapshot().rows("documents") == count

    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PALIMPSEST_"))}
    script = "from palimpsest.cli.main import main; main(prog_name='palimpsest')"
    arguments = ["schedule", corpus, "--archive", archive.path, "--watch", "--port", port]
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with told.open("w") as log:
        process = subprocess.Popen(
            command,
            env=kept | {"PALIMPSEST_STATE": str(tmp_path / "state"), "PYTHONUNBUFFERED": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _until(lambda: has_documents(1), 180, told)
        write_articles(corpus, {"b.txt": [make_paragraph(2)]})
        _until(lambda: has_documents(2), 120, told)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    lines = told.read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"Prefect's page: http://127.0.0.1:{port}; its login is in {login}"
    assert lines[-1] == "stopped"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
