"""Scheduled runs by a real server and worker, and what happens to them when either dies."""

import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.states import Pending, Running

from palimpsest.flows.automations import HEARTBEAT_STOPPED, NEVER_STARTED, ensure_automations
from palimpsest.pipeline.run import run_ingest
from palimpsest.store.archive import StoredArchive
from palimpsest.store.digest import digest_archive
from tests.pipeline.corpora import make_paragraph, settings_of, write_articles
from tests.services import needs_servers, postgres
from tests.services.stack import QUICK, Stack, kill, running, wait_for, write_prefect_yaml

pytestmark = pytest.mark.usefixtures("compiled_kernels")

IS_LONG = "PALIMPSEST_LONG" in os.environ
needs_time = pytest.mark.skipif(not IS_LONG, reason="takes minutes: make services")
needs_postgres = pytest.mark.skipif(
    postgres.programs() is None,
    reason="PostgreSQL is not installed: no /usr/lib/postgresql/*/bin/initdb (apt-get install postgresql)",
)
DATABASES = [
    pytest.param(False, id="sqlite"),
    pytest.param(True, id="postgresql", marks=needs_postgres),
]
MANY = 250
"""Articles, and batches, of a run that takes long enough to be interrupted."""


def add_articles(folder: Path, seed: int, count: int) -> None:
    """Write articles that share every second paragraph with another one."""
    rng = random.Random(seed)
    write_articles(
        folder,
        {
            f"{seed}-{number}.txt": [
                make_paragraph(seed * 1000 + number),
                make_paragraph(rng.randrange(50)),
            ]
            for number in range(count)
        },
    )


def digest(archive: Path) -> str:
    return digest_archive(StoredArchive(archive).snapshot())


def digest_of_one_run(stack: Stack, name: str) -> str:
    """Return the digest of an archive of all sources, created in one run without Prefect."""
    place = stack.archive.with_name(name)
    run_ingest([str(stack.sources)], place, settings_of())
    return digest(place)


def version(archive: Path) -> int:
    return (
        StoredArchive(archive).snapshot().manifest.version if StoredArchive(archive).exists() else 0
    )


def staged(archive: Path) -> dict[int, str]:
    """Return the run of each staged batch by its inode, which stays when another run resumes it."""
    batches = {}
    with suppress(
        FileNotFoundError
    ):  # a folder vanished while it was listed; the caller tries again
        for path in StoredArchive(archive).staging.glob("*/batch-?????"):
            with suppress(FileNotFoundError):
                batches[path.stat().st_ino] = path.parent.name
    return batches


def runs_of(archive: Path) -> list[dict[str, Any]]:
    """Return the rows of an archive's runs."""
    return StoredArchive(archive).snapshot().read("runs").to_pylist()


def assert_rule_for_second_runs(stack: Stack) -> None:
    """Of two simultaneous runs the second waits if it ingests articles, else it is cancelled."""
    for deployment, state in (("ingest", "AwaitingConcurrencySlot"), ("verify", "Cancelled")):
        first, second = stack.run_now(deployment), stack.run_now(deployment)
        stack.client.set_flow_run_state(first, Pending())
        stack.client.set_flow_run_state(second, Pending())
        assert [stack.state_of(first), stack.state_of(second)] == ["Pending", state]
        for run in (first, second):
            stack.client.delete_flow_run(run)


@pytest.fixture
def diary(record_property):
    """Print what happens and when; shown with ``-s``, and if the test fails."""
    began = time.monotonic()

    def note(event: str, since: float | None = None) -> None:
        seconds = round(time.monotonic() - (began if since is None else since), 1)
        record_property(event, seconds)
        print(f"{seconds:6.1f} s {'' if since is None else '  '}{event}")

    return note


@needs_servers
@pytest.mark.parametrize("on_postgres", DATABASES)
@pytest.mark.parametrize(
    "is_later",
    [False, pytest.param(True, marks=needs_time)],
    ids=["the first run", "a later run"],
)
def test_killed_run_is_crashed_and_the_next_one_resumes_from_its_batches(
    on_postgres: bool, is_later: bool, tmp_path: Path, diary
) -> None:
    with running(tmp_path, postgres=on_postgres) as stack:
        add_articles(stack.sources, 1, 3)
        before = digest_of_one_run(stack, "first")
        write_prefect_yaml(stack, timedelta(seconds=6), batch_bytes=1)
        stack.await_health("server")
        diary("server is ready")
        stack.set_up()
        diary("deployments exist")
        assert_rule_for_second_runs(stack)
        if not is_later:
            add_articles(stack.sources, 2, MANY)
        stack.start("worker")
        if is_later:
            done = wait_for(lambda: stack.in_state("ingest", "Completed"), "scheduled run")[0]
            diary("first scheduled run is done")
            assert done.auto_scheduled
            assert digest(stack.archive) == before
            [row] = runs_of(stack.archive)
            assert (row["flow_run_id"], row["sources_new"]) == (str(done.id), 3)
            add_articles(stack.sources, 2, MANY)

        wait_for(lambda: len(staged(stack.archive)) > 20, "staged batches", pause=0.01)
        stack.kill("worker")
        killed_at = time.monotonic()
        diary("worker is killed")
        [interrupted] = stack.in_state("ingest", "Running")
        assert interrupted.auto_scheduled
        left = staged(stack.archive)
        assert len(left) > 20
        assert version(stack.archive) == int(is_later)
        stack.start("worker")
        expected = digest_of_one_run(stack, "second")
        stack.await_state(interrupted.id, "Crashed")
        diary("from the kill until the run is Crashed", killed_at)
        ensure_automations(client=stack.client)  # without a short limit
        resumed = wait_for(lambda: resumed_from(left, stack.archive), "resumed batch", pause=0.01)
        assert resumed <= set(left)
        wait_for(lambda: version(stack.archive) == int(is_later) + 1, "version")
        diary("next run has ingested the rest")
        assert digest(stack.archive) == expected
        [row] = [row for row in runs_of(stack.archive) if row["documents_new"] >= MANY]
        stack.await_state(UUID(row["flow_run_id"]), "Completed")
        assert stack.client.read_flow_run(UUID(row["flow_run_id"])).auto_scheduled
        assert row["flow_run_id"] != str(interrupted.id)


def resumed_from(left: dict[int, str], archive: Path) -> set[int]:
    """Return the batches of a dead run that another run has resumed."""
    return {one for one, run in staged(archive).items() if one in left and run != left[one]}


@pytest.fixture(scope="module", params=DATABASES)
def stack(request, tmp_path_factory) -> Iterator[Stack]:
    """Server, deployments and worker; each test has an archive of its own."""
    quick = {**QUICK, "setup": {}}  # runs under way must not be crashed after ten seconds
    with running(tmp_path_factory.mktemp("stack"), postgres=request.param, quick=quick) as stack:
        write_prefect_yaml(stack, None, batch_bytes=1)
        stack.await_health("server")
        stack.set_up()
        stack.start("worker")
        stack.await_health("worker")
        yield stack


@pytest.fixture
def desk(stack: Stack, tmp_path: Path) -> Stack:
    """The stack with sources and an archive of this test; the archive has one version."""
    stack.sources, stack.archive = tmp_path / "in", tmp_path / "press"
    add_articles(stack.sources, 1, 3)
    run_ingest([str(stack.sources)], stack.archive, settings_of())
    add_articles(stack.sources, 2, MANY)
    return stack


def ingest_now(desk: Stack, **environment: str) -> UUID:
    """Start a run on this test's archive."""
    return desk.run_now(
        "ingest",
        environment,
        sources=[str(desk.sources)],
        archive=str(desk.archive),
        settings={"run": {"workers": 2, "batch_bytes": 1}},
    )


def assert_next_run_completes(desk: Stack) -> None:
    """The next run ingests the rest, and the archive is the same as without an interruption."""
    expected = digest_of_one_run(desk, "expected")
    desk.await_state(ingest_now(desk), "Completed")
    assert version(desk.archive) == 2
    assert digest(desk.archive) == expected


@needs_time
def test_every_deployment_starts_with_its_documented_parameters(desk: Stack) -> None:
    parameter = f"--param=archive={json.dumps(str(desk.archive))}"
    desk.await_state(ingest_now(desk), "Completed")
    for name in ("report", "verify", "compact", "clean"):
        desk.prefect("deployment", "run", f"{name}/{name}", parameter)
        [run] = [one for one in desk.runs(name) if not one.auto_scheduled]
        desk.await_state(run.id, "Completed")
    deployment = desk.client.read_deployment_by_name("ingest/ingest")
    assert all(
        "description" in schema or "$ref" in str(schema)
        for schema in deployment.parameter_openapi_schema["properties"].values()
    )


@needs_time
def test_cancelled_run_stops_within_seconds_and_leaves_the_archive(desk: Stack, diary) -> None:
    before = digest(desk.archive)
    run = ingest_now(desk)
    wait_for(lambda: len(staged(desk.archive)) > 20, "staged batches", pause=0.01)
    cancelled_at = time.monotonic()
    desk.cancel(run)
    desk.await_state(run, "Cancelled", seconds=60)
    diary("from cancelling until the run is Cancelled", cancelled_at)
    wait_for(lambda: len(desk.family("worker")) == 1, "end of the run's processes", 60)
    diary("from cancelling until its processes have ended", cancelled_at)
    assert time.monotonic() - cancelled_at < 30
    assert (version(desk.archive), digest(desk.archive)) == (1, before)
    assert_next_run_completes(desk)


@needs_time
def test_killed_run_is_crashed_within_minutes_with_the_settings_of_the_file(
    desk: Stack, diary
) -> None:
    run = ingest_now(desk)
    wait_for(lambda: len(staged(desk.archive)) > 20, "staged batches", pause=0.01)
    desk.kill("worker")
    killed_at = time.monotonic()
    desk.start("worker")
    desk.await_state(run, "Crashed", seconds=240)
    diary("from the kill until the run is Crashed, with the settings of the file", killed_at)
    desk.await_health("worker")
    assert_next_run_completes(desk)


@needs_time
def test_server_that_is_down_for_a_while_loses_nothing(desk: Stack, diary) -> None:
    run = ingest_now(desk)
    wait_for(lambda: len(staged(desk.archive)) > 20, "staged batches", pause=0.01)
    desk.kill("server")
    down_at = time.monotonic()
    time.sleep(12)
    desk.start("server")
    desk.await_health("server")
    diary("server was down", down_at)
    final = ("Completed", "Failed", "Crashed")
    desk.await_state(run, *final, seconds=200)
    diary(f"from the server's end until the run is {desk.state_of(run)}", down_at)
    if desk.state_of(run) == "Completed":
        assert version(desk.archive) == 2
    assert_next_run_completes(desk)


@needs_time
def test_run_ends_if_only_its_worker_is_killed(desk: Stack, diary) -> None:
    run = ingest_now(desk)
    wait_for(lambda: len(staged(desk.archive)) > 20, "staged batches", pause=0.01)
    orphans = desk.family("worker")[1:]
    desk.kill("worker", alone=True)
    killed_at = time.monotonic()
    try:
        desk.await_state(run, "Completed", "Crashed", seconds=90)
        diary(f"from the worker's end until the run is {desk.state_of(run)}", killed_at)
        wait_for(lambda: not any(Path(f"/proc/{one}").exists() for one in orphans), "end", 30)
    finally:
        kill(*orphans)
        desk.start("worker")
    desk.await_health("worker")
    assert_next_run_completes(desk)


@needs_time
def test_run_over_its_time_limit_fails_and_leaves_the_archive(desk: Stack, diary) -> None:
    run = ingest_now(desk, PALIMPSEST_TIME_LIMIT="2")
    diary(f"{desk.await_state(run, 'TimedOut'):.1f} s until the run is TimedOut")
    assert version(desk.archive) == 1
    assert_next_run_completes(desk)


@needs_time
def test_run_that_was_never_started_is_crashed_and_the_next_one_starts(desk: Stack, diary) -> None:
    ensure_automations(90, 10, desk.client)
    assert sorted(one.name for one in desk.client.read_automations()) == sorted(
        [HEARTBEAT_STOPPED, NEVER_STARTED]
    )
    run = desk.run_now("compact", archive=str(desk.archive))
    desk.client.set_flow_run_state(run, Pending())
    diary(f"{desk.await_state(run, 'Crashed'):.1f} s until the run is Crashed")
    desk.await_state(desk.run_now("compact", archive=str(desk.archive)), "Completed")


@needs_time
def test_run_that_died_before_its_first_heartbeat_is_crashed(desk: Stack, diary) -> None:
    ensure_automations(10, client=desk.client)
    try:
        run = desk.run_now("compact", archive=str(desk.archive))
        desk.client.set_flow_run_state(run, Running(), force=True)
        diary(f"{desk.await_state(run, 'Crashed'):.1f} s until the run is Crashed")
    finally:
        ensure_automations(client=desk.client)


@needs_time
def test_setting_up_again_changes_nothing(desk: Stack) -> None:
    def configuration() -> list[object]:
        names = [f"{name}/{name}" for name in ("ingest", "report", "verify", "compact", "clean")]
        deployments = [desk.client.read_deployment_by_name(name) for name in names]
        automations = desk.client.request("POST", "/automations/filter", json={})
        return [
            [
                (one.id, one.parameters, [schedule.id for schedule in one.schedules])
                for one in deployments
            ],
            [(one["id"], one["updated"]) for one in automations.json()],
        ]

    ensure_automations(client=desk.client)
    before = configuration()
    desk.set_up()
    assert configuration() == before
