"""A schedule on one machine: due runs are started once, and runs of a dead process are settled."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Running, Scheduled
from prefect.types.entrypoint import EntrypointType

from palimpsest.flows.ingest import ingest
from palimpsest.flows.prefect_environment import prepare_schedule
from palimpsest.flows.schedule import (
    Timetable,
    _read_runs,
    _settle_old_runs,
    ingest_deployment,
    watched_folders,
)
from palimpsest.records.settings import SENSITIVITIES, parse_settings
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import make_paragraph, write_articles
from tests.services import needs_servers
from tests.services.ports import free_port


def test_intervals_count_from_midnight_whenever_the_schedule_starts() -> None:
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


def test_folders_of_all_sources_are_watched(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("A", encoding="utf-8")
    sources = [tmp_path / "in" / "a.txt", tmp_path / "in" / "deep", tmp_path / "in/d*p/**/*.txt"]
    assert watched_folders([str(one) for one in sources]) == [
        str(tmp_path / "in"),
        str(tmp_path / "in" / "deep"),
    ]


@pytest.mark.usefixtures("prefect_harness")
def test_ten_missed_runs_are_caught_up_by_one_and_orphans_are_crashed() -> None:
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
            missed = await _settle_old_runs(client, "ingest/press-missed")
            left = len(await _read_runs(client, deployment_id, [StateType.SCHEDULED]))
            crashed = (await client.read_flow_run(orphan.id)).state_type
            return missed, left, crashed, await _settle_old_runs(client, "ingest/press-missed")

    assert asyncio.run(settle()) == (True, 1, StateType.CRASHED, False)


@pytest.mark.usefixtures("prefect_harness")
def test_archive_without_a_schedule_has_missed_no_run() -> None:
    async def settle() -> bool:
        async with get_client() as client:
            return await _settle_old_runs(client, "ingest/never")

    assert asyncio.run(settle()) is False


@pytest.mark.usefixtures("prefect_harness")
def test_deployment_stores_only_the_settings_that_were_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"sensitivity": "reworded", "run": {"workers": 2}}

    async def deploy() -> dict[str, Any]:
        deployment = await ingest_deployment(
            [str(corpus)], str(archive), parse_settings(chosen), Timetable(watch=True)
        )
        async with get_client() as client:
            return (await client.read_deployment(await deployment.apply())).parameters

    corpus = write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1)]})
    archive = tmp_path / "press"
    parameters = asyncio.run(deploy())
    assert parameters["settings"] == chosen
    newer = SENSITIVITIES["reworded"] | {"align": {"min_score": 2.75}}
    monkeypatch.setitem(SENSITIVITIES, "reworded", newer)  # the defaults of a later version
    ingest(**parameters)
    assert StoredArchive(archive).snapshot().settings().align.min_score == 2.75


def test_schedule_uses_the_server_of_the_active_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        if name.startswith("PREFECT_"):
            monkeypatch.delenv(name)
    profiles = '[profiles.office]\nPREFECT_API_URL = "http://office:4200/api"\n'
    (tmp_path / "profiles.toml").write_text(f'active = "office"\n{profiles}', encoding="utf-8")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ["PREFECT_PROFILES_PATH"] = str(tmp_path / "profiles.toml")
    assert prepare_schedule(tmp_path / "state", free_port()) is None
    assert os.environ["PREFECT_API_URL"] == "http://office:4200/api"


def _wait_until(is_true: Callable[[], bool], seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.2)


def _command_lines() -> str:
    """Return what every user of the machine can read of all processes."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # the process has just ended
            lines.append(path.read_text(errors="replace"))
    return "\n".join(lines)


@contextmanager
def _schedule(folder: Path, *options: object) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start ``palimpsest schedule`` on ``in`` and ``press``; give the process and its output."""
    log = folder / "log"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PALIMPSEST_"))}
    script = "from palimpsest.cli.main import main; main(prog_name='palimpsest')"
    arguments = ["schedule", folder / "in", "--archive", folder / "press", *options]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            env=kept | {"PALIMPSEST_STATE": str(folder / "state"), "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


_STOPPED = "stopped: the server keeps the schedule; to resume it, run the command again"


def _assert_stops(process: subprocess.Popen[bytes], log: Path, number: int, code: int) -> None:
    """Signal the process group of a schedule: it ends soon, with a code and one more line."""
    began, before = time.monotonic(), log.read_text(encoding="utf-8")
    os.killpg(process.pid, number)
    assert process.wait(6) == code, log.read_text(encoding="utf-8")
    print(f"ended after {time.monotonic() - began:.1f} s")
    assert log.read_text(encoding="utf-8").removeprefix(before) == f"{_STOPPED}\n"


@needs_servers
def test_watched_folder_is_read_at_once_and_again_when_it_changes(tmp_path: Path) -> None:
    corpus = write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1)]})
    archive, port = StoredArchive(tmp_path / "press"), free_port()
    login = tmp_path / "state" / "prefect-login"

    def has_documents(count: int) -> bool:
        if login.exists():
            assert login.read_text(encoding="ascii") not in _command_lines()
        return archive.exists() and archive.snapshot().rows("documents") == count

    with _schedule(tmp_path, "--watch", "--port", port) as (process, log):
        _wait_until(lambda: has_documents(1), 180, log)
        write_articles(corpus, {"b.txt": [make_paragraph(2)]})
        _wait_until(lambda: has_documents(2), 120, log)
        _assert_stops(process, log, signal.SIGTERM, 0)
    [first, *_] = log.read_text(encoding="utf-8").splitlines()
    assert first == f"Prefect's page: http://127.0.0.1:{port}; its login is in {login}"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@needs_servers
@pytest.mark.parametrize("is_running", [False, True], ids=["idle", "running"])
def test_ctrl_c_ends_a_schedule_soon_with_one_line(is_running: bool, tmp_path: Path) -> None:
    write_articles(tmp_path / "in", {f"{n}.txt": [make_paragraph(n)] for n in range(3)})
    timetable = ("--watch",) if is_running else ("--every", "1d")
    with _schedule(tmp_path, *timetable, "--port", free_port()) as (process, log):
        expected = "Beginning flow run" if is_running else "ingest/press"
        _wait_until(lambda: expected in log.read_text(encoding="utf-8"), 180, log)
        _assert_stops(process, log, signal.SIGINT, 130)
