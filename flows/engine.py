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
from contextlib import suppress
from pathlib import Path

from records.errors import TransientError

_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
}
_ON_TERMINAL = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""With a server of the user's own: logs are for its pages, not for the command line."""
_PRIVATE = {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_LOGGING_TO_API_ENABLED": "false"}
"""With a private server, whose pages nobody sees, there are no logs."""
_START_SECONDS = 120.0


def default_state() -> Path:
    """Return the folder of Palimpsest's state: ``PALIMPSEST_STATE``, or the XDG state folder."""
    named = os.environ.get("PALIMPSEST_STATE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "palimpsest"


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
        self._health = urllib.request.Request(f"{self.url}/health")
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
            with suppress(OSError), urllib.request.urlopen(self._health, timeout=5) as answer:
                if answer.status == 200:
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


def prepare(state: Path | None = None) -> PrivateServer | None:
    """Set up the environment of Prefect; start a private server unless the user has one."""
    home = (state or default_state()).absolute()
    home.mkdir(parents=True, exist_ok=True)
    quiet = _ON_TERMINAL if os.environ.get("PREFECT_API_URL") else _PRIVATE
    for name, value in (_QUIET | quiet).items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(home / "prefect"))
    if os.environ.get("PREFECT_API_URL"):
        return None
    server = PrivateServer(home)
    os.environ["PREFECT_API_URL"] = server.url
    return server
