"""How Prefect is run where the user has set up none: offline, quiet, its state in one folder.

``prepare`` must be called before Prefect is imported. A server given by ``PREFECT_API_URL``, or a
``PREFECT_HOME``, is used as it is; what the user has set is never changed.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from records.errors import SettingsError, TransientError
from records.files import state_folder

_OFFLINE = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
}
_QUIET = _OFFLINE | {
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "DASK_LOGGING__DISTRIBUTED": "error",
}
_STANDING = _OFFLINE | {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
_ON_TERMINAL = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""With a server of the user's own: logs are for its pages, not for the command line."""
_PRIVATE = {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_LOGGING_TO_API_ENABLED": "false"}
"""With a private server, whose pages nobody sees, there are no logs."""
_START_SECONDS = 120.0


def _is_loopback(cluster: str) -> bool:
    """Tell whether a cluster's address, such as ``tcp://10.0.0.5:8786``, is of this machine."""
    host = urlsplit(f"//{cluster.rpartition('//')[2]}").hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def time_limit() -> float | None:
    """Return how many seconds a flow may run: ``PALIMPSEST_TIME_LIMIT``, or None for ever.

    Deployments set it for their runs; what is started by hand takes as long as it takes.

    Raises:
        SettingsError: it is set to something else than a number above 0.
    """
    told = os.environ.get("PALIMPSEST_TIME_LIMIT", "")
    if not told:
        return None
    try:
        seconds = float(told)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise SettingsError([f"PALIMPSEST_TIME_LIMIT={told}: expected seconds, a number above 0"])
    return seconds


def _answers(url: str) -> bool:
    """Tell whether a Prefect server answers at the URL of its API."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class PrivateServer:
    """A Prefect server of one process, on loopback, which ends with it.

    Prefect can start such a server itself, but only after importing all of it into the caller; to
    start it at once, while the caller still finds its sources, saves three seconds of each run.
    """

    def __init__(self, state: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/api"
        self._log = state / "prefect-server.log"
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            "prefect.server.api.server:create_app",
        ]
        command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
        environment = {**os.environ, "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        atexit.register(self.stop)

    def wait(self) -> None:
        """Return when the server answers.

        Raises:
            TransientError: it ended, or did not answer in time; its log says why.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if _answers(self.url):
                return
            time.sleep(0.05)
        self.stop()
        raise TransientError(
            f"Prefect's server did not start within {_START_SECONDS:.0f} s; see {self._log}, "
            "or run with --no-prefect"
        )

    def stop(self) -> None:
        """End the server; what it keeps is in a database that may be left at any moment."""
        self._process.kill()
        self._process.wait()


class StandingServer:
    """A Prefect server with its pages, scheduler and other services, on loopback.

    Whoever keeps a schedule sees to it that it runs; one that answers already is shared.
    """

    def __init__(self, state: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api"
        self.page = f"http://127.0.0.1:{port}"
        self._port = port
        self._log = state / "prefect-server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def ensure(self) -> None:
        """Return when a server answers; start one if none does.

        Raises:
            SettingsError: something else has the port.
            TransientError: it ended, or did not answer in time; its log says why.
        """
        if _answers(self.url):
            return
        if self._process is None or self._process.poll() is not None:
            self._expect_free()
            command = [sys.executable, "-m", "prefect", "server", "start"]
            command += ["--host", "127.0.0.1", "--port", str(self._port)]
            own = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    command,
                    env={**own, "PREFECT_SERVER_UI_API_URL": self.url},
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if _answers(self.url):
                return
            time.sleep(0.2)
        self.stop()
        raise TransientError(
            f"Prefect's server did not start within {_START_SECONDS:.0f} s; see {self._log}"
        )

    def stop(self) -> None:
        """End the server if it was started here."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _expect_free(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self._port))
            except OSError as error:
                fault = f"--port {self._port}: something that is no Prefect server listens there"
                raise SettingsError([f"{fault}; name another port"]) from error


def _home(state: Path | None, environment: dict[str, str]) -> Path:
    """Set what the user has not set in Prefect's environment; return the folder of its state."""
    home = (state or state_folder()).absolute()
    home.mkdir(parents=True, exist_ok=True)
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(home / "prefect"))
    return home


def prepare_schedule(state: Path | None, port: int) -> StandingServer | None:
    """Set up the environment of scheduled runs; start a standing server unless the user has one.

    Raises:
        SettingsError: something else has the port.
        TransientError: the server does not start.
    """
    home = _home(state, _STANDING)
    if os.environ.get("PREFECT_API_URL"):
        return None
    server = StandingServer(home, port)
    server.ensure()
    os.environ["PREFECT_API_URL"] = server.url
    return server


def prepare(state: Path | None = None, cluster: str | None = None) -> PrivateServer | None:
    """Set up the environment of Prefect; start a private server unless the user has one.

    Args:
        state: folder of Palimpsest's state.
        cluster: address of the cluster whose workers will report to the server.

    Raises:
        SettingsError: its workers could not reach a private server.
    """
    if cluster and not _is_loopback(cluster) and not os.environ.get("PREFECT_API_URL"):
        told = "its workers report to Prefect's server; found none but a private one on loopback"
        raise SettingsError(
            [f"run.cluster = {cluster}: {told}; set PREFECT_API_URL to one that they can reach"]
        )
    quiet = _ON_TERMINAL if os.environ.get("PREFECT_API_URL") else _PRIVATE
    home = _home(state, _QUIET | quiet)
    if os.environ.get("PREFECT_API_URL"):
        return None
    server = PrivateServer(home)
    os.environ["PREFECT_API_URL"] = server.url
    return server
