"""The services of docker-compose.yml as processes: their commands and environment, on loopback.

Hosts, ports and folders differ from those in containers; everything else is read from the file.
``QUICK`` has the settings that only shorten the waiting.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort

from tests.services import compose
from tests.services.ports import free_port
from tests.services.postgres import Postgres

QUICK = {
    "server": {
        "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "1",
        "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
    },
    # Shorter than the interval of heartbeats, which is at least 30 s: a living run that takes longer
    # is marked as Crashed too. So it is only for tests that kill their run.
    "setup": {"PALIMPSEST_SILENT_SECONDS": "12"},
    "worker": {"PREFECT_WORKER_QUERY_SECONDS": "1"},
}
Quick = dict[str, dict[str, str]]
_SECONDS = 120.0


def wait_for(
    find: Callable[[], Any], name: str, seconds: float = _SECONDS, pause: float = 0.1
) -> Any:
    """Call a function until its result is true, and return the result."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := find():
            return value
        time.sleep(pause)
    raise AssertionError(f"no {name} within {seconds:.0f} s")


def family(pid: int) -> list[int]:
    """Return a process and its living descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):  # the process has just ended
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    pids = [pid]
    for parent in pids:
        pids += children.get(parent, [])
    return pids


def kill(*pids: int) -> None:
    """Kill processes, as a machine without memory does."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Stack:
    """The running services, and a folder with all their data."""

    def __init__(self, folder: Path, database: Postgres | None, quick: Quick) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.project.mkdir()
        self.sources, self.archive = folder / "articles", folder / "archive" / "press"
        self.port, self._worker_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.client = SyncPrefectClient(
            api=self.url, auth_string=compose.SECRETS["PREFECT_PASSWORD"]
        )
        self._quick = quick
        self._file = compose.as_run()
        self._database = database
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._starts = 0

    def _here(self, service: str, value: str) -> str:
        """Return a value of the file as it must be outside of containers."""
        folder = self.folder / service
        replacements = {
            "http://server:4200": f"http://127.0.0.1:{self.port}",
            "127.0.0.1:4200": f"127.0.0.1:{self.port}",
            "127.0.0.1:8080": f"127.0.0.1:{self._worker_port}",
            "/state": f"{folder}/state",
            "/tmp": f"{folder}/tmp",
            "0.0.0.0": "127.0.0.1",
            "4200": str(self.port),
            "8080": str(self._worker_port),
        }
        pattern = "|".join(map(re.escape, replacements))
        return re.sub(pattern, lambda match: replacements[match[0]], value)

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment of a service's process."""
        written = self._file["services"][service]["environment"]
        own = {
            name: self._here(service, value) for name, value in written.items() if value is not None
        }
        if service == "server" and self._database is None:
            own = {name: value for name, value in own.items() if "_SERVER_DATABASE_" not in name}
        elif service == "server":
            own["PREFECT_SERVER_DATABASE_HOST"] = "127.0.0.1"
            own["PREFECT_SERVER_DATABASE_PORT"] = str(self._database.port)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "PALIMPSEST_"))
        }
        inherited["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return inherited | {"PYTHONPATH": str(compose.ROOT / "src")} | own | self._quick[service]

    def command(self, service: str, command: list[str]) -> list[str]:
        """Return the command of a service, which uses the Python of the tests."""
        return [self._here(service, argument) for argument in command]

    def start(self, service: str) -> int:
        """Start a service and return its process id."""
        command = self.command(service, compose.command_of(self._file["services"][service]))
        for name in ("state", "tmp"):
            (self.folder / service / name).mkdir(parents=True, exist_ok=True)
        self._starts += 1
        with (self.folder / f"{service}-{self._starts}.log").open("wb") as log:
            self._started[service] = subprocess.Popen(
                command,
                cwd=self.project,
                env=self.environment(service),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        return self._started[service].pid

    def is_healthy(self, service: str) -> bool:
        """Run the health check of a running service."""
        assert self._started[service].poll() is None, self.logs()
        check = self.command(service, compose.check_of(self._file["services"][service]))
        process = subprocess.run(
            check, env=self.environment(service), capture_output=True, check=False, timeout=10
        )
        return process.returncode == 0

    def await_health(self, service: str) -> None:
        wait_for(lambda: self.is_healthy(service), f"health of {service}")

    def set_up(self) -> None:
        """Run the one-shot service to its end."""
        self.start("setup")
        assert self._started["setup"].wait(_SECONDS) == 0, self.logs()

    def family(self, service: str) -> list[int]:
        return family(self._started[service].pid)

    def kill(self, service: str, *, alone: bool = False) -> None:
        """Kill a service with all its processes, like its container, or its main process alone."""
        process = self._started.pop(service)
        kill(*([process.pid] if alone else family(process.pid)))
        process.wait()

    def prefect(self, *arguments: str) -> str:
        """Run a Prefect command as its user would, and return its output."""
        process = subprocess.run(
            ["prefect", "--no-prompt", *arguments],
            cwd=self.project,
            env=self.environment("setup"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    def logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )

    def stop(self) -> None:
        for service in [*self._started]:
            self.kill(service)

    # Requests to the server.

    def runs(self, deployment: str) -> list[FlowRun]:
        """Return the flow runs of a deployment in the order of their start times."""
        by_name = DeploymentFilter(name=DeploymentFilterName(any_=[deployment]))
        return self.client.read_flow_runs(
            deployment_filter=by_name, sort=FlowRunSort.EXPECTED_START_TIME_ASC
        )

    def in_state(self, deployment: str, *names: str) -> list[FlowRun]:
        return [run for run in self.runs(deployment) if run.state and run.state.name in names]

    def state_of(self, run: UUID) -> str:
        state = self.client.read_flow_run(run).state
        return state.name if state else ""

    def await_state(self, run: UUID, *names: str, seconds: float = _SECONDS) -> float:
        """Wait until a run is in one of these states; return the seconds that it took."""
        started = time.monotonic()
        wait_for(lambda: self.state_of(run) in names, f"run in {names}", seconds)
        return time.monotonic() - started

    def run_now(
        self, deployment: str, environment: dict[str, str] | None = None, **parameters: Any
    ) -> UUID:
        """Start a run as Prefect's page does."""
        deployed = self.client.read_deployment_by_name(f"{deployment}/{deployment}")
        variables = {"env": environment} if environment else None
        return self.client.create_flow_run_from_deployment(
            deployed.id, parameters=parameters, job_variables=variables
        ).id

    def cancel(self, run: UUID) -> None:
        """Cancel a run as Prefect's page does."""
        self.client.set_flow_run_state(run, State(type=StateType.CANCELLING, name="Cancelling"))


def write_prefect_yaml(stack: Stack, every: timedelta | None, batch_bytes: int) -> None:
    """Write prefect.yaml with other paths, another schedule, and small batches."""
    text = (compose.ROOT / "prefect.yaml").read_text(encoding="utf-8")
    text = text.replace("/articles", str(stack.sources)).replace(
        "/archive/press", str(stack.archive)
    )
    content = yaml.safe_load(text)
    for deployment in content["deployments"]:
        if deployment["name"] == "ingest":
            deployment["parameters"]["settings"] = {
                "run": {"workers": 2, "batch_bytes": batch_bytes}
            }
            if every:
                deployment["schedules"] = [{"slug": "daily", "interval": every.total_seconds()}]
    (stack.project / "prefect.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


@contextmanager
def running(folder: Path, *, postgres: bool, quick: Quick = QUICK) -> Iterator[Stack]:
    """Provide a stack whose server is starting; at the end, kill everything that was started."""
    environment = compose.as_run()["services"]["postgres"]["environment"]
    database = Postgres(environment) if postgres else None
    stack = Stack(folder, database, quick)
    try:
        stack.start("server")
        with stack.client:
            yield stack
    finally:
        stack.stop()
        if database:
            database.stop()
