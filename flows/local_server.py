"""A Prefect server on loopback for our own runs, and the login that protects it."""

from __future__ import annotations

import atexit
import base64
import fcntl
import http.client
import os
import secrets
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from http import HTTPStatus
from pathlib import Path

from palimpsest.records.errors import SettingsError, TransientError

LOGIN_FILE = "prefect-login"
"""In the state folder: the login of the server that ``palimpsest schedule`` starts."""
_START_SECONDS = 120.0
_STOP_SECONDS = 5.0
_BACKLOG = 128


def login_of(state: Path) -> str:
    """Return the login of the schedules' server, ``user:password``; create it on first use.

    It is in a file that only its owner can read. The file is complete as soon as it exists, so
    processes that start together get the same login.

    Raises:
        SettingsError: other users could have read or written the file.
    """
    path = state / LOGIN_FILE
    if not path.exists():
        descriptor, name = tempfile.mkstemp(prefix=f".{LOGIN_FILE}-", dir=state)  # mode 0600
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(new_login())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
        Path(name).unlink()
    with path.open(encoding="ascii") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            owner, mode = status.st_uid, stat.S_IMODE(status.st_mode)
            fault = f"{path}: other users may know this login (owner {owner}, mode {mode:o})"
            raise SettingsError([f"{fault}; expected your own file of mode 600; delete it"])
        return file.read().strip()


def new_login() -> str:
    """Return a random login, ``user:password``."""
    return f"palimpsest:{secrets.token_urlsafe(32)}"


class LocalServer:
    """A Prefect server on loopback that asks for a login and ends with this process.

    Without a port it is private to this process, with a port it is shared. The process that starts
    a shared server locks a file in the state folder: the lock shows others that the server on the
    port is ours, so that the login can safely be sent to it. Prefect can start a server for a run
    by itself, but without the checks of ``flows.protected_server``.
    """

    def __init__(self, state: Path, login: str, port: int | None = None) -> None:
        self.port = port or 0
        self._is_shared = port is not None
        self.login = login
        self.login_file = state / LOGIN_FILE
        self._lock = state / f"prefect-server-{port}.lock"
        self._log = state / "prefect-server.log"
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    @property
    def page(self) -> str:
        """Address of Prefect's page; a private server has none."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Address of Prefect's API."""
        return f"{self.page}/api"

    def start(self) -> None:
        """Start the server unless it runs, here or in another process that shares it.

        Raises:
            SettingsError: the port belongs to another program.
        """
        if self._process is not None and self._process.poll() is None:
            return
        with ExitStack() as opened:
            inherited = []
            if self._is_shared:
                # No other user may open the file, since they could then lock it.
                descriptor = os.open(self._lock, os.O_RDONLY | os.O_CREAT, 0o600)
                lock = opened.enter_context(os.fdopen(descriptor))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return  # another process of ours has started it
                inherited.append(lock.fileno())
            listener = opened.enter_context(self._listen())
            self.port = listener.getsockname()[1]
            inherited.append(listener.fileno())
            self._process = self._spawn(inherited)

    def _listen(self) -> socket.socket:
        """Return a socket that listens on the port, which reserves it for the server."""
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            fault = f"--port {self.port}: {error.strerror}, another program uses it"
            advice = "name another port, or set PREFECT_API_URL to use a Prefect server of your own"
            raise SettingsError([f"{fault}; {advice}"]) from error
        return listener

    def _spawn(self, inherited: list[int]) -> subprocess.Popen[bytes]:
        """Start the process; it inherits the listening socket, and the lock if there is one."""
        environment = dict(os.environ)
        environment.pop("PREFECT_API_URL", None)
        environment |= {
            "PREFECT_SERVER_API_AUTH_STRING": self.login,
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": (
                f"{self.page},http://localhost:{self.port}"
            ),
            "PREFECT_SERVER_UI_API_URL": self.url,
        }
        if not self._is_shared:
            environment["PREFECT__SERVER_EPHEMERAL"] = "1"
        # -P: modules in the current folder must not shadow installed ones.
        command = [sys.executable, "-P", "-m", f"{__package__}.protected_server"]
        command += ["--socket", str(inherited[-1]), "--parent", str(os.getpid())]
        with self._log.open("wb" if not self._is_shared else "ab") as log:
            return subprocess.Popen(
                command,
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                pass_fds=inherited,
                start_new_session=True,  # Ctrl-C on the terminal does not reach it
            )

    def wait(self) -> None:
        """Wait until the server answers.

        Raises:
            SettingsError: it has another login.
            TransientError: it ended or did not answer in time; its log says why.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._answers():
                return
            if self._process is None:
                self.start()  # the process that shared it has ended meanwhile
            elif self._process.poll() is not None:
                break
            time.sleep(0.1)
        self.stop()
        advice = "" if self._is_shared else ", or run with --no-prefect"
        raise TransientError(
            f"Prefect's server did not start within {_START_SECONDS:.0f} s; see {self._log}{advice}"
        )

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        token = base64.b64encode(self.login.encode()).decode()
        try:
            # Unlike the health check, this requires the login.
            connection.request("GET", "/api/version", headers={"Authorization": f"Basic {token}"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        if status == HTTPStatus.UNAUTHORIZED:
            fault = f"{self.page}: the server refuses the login in {self.login_file}"
            raise SettingsError([f"{fault}; stop the process that started it, and try again"])
        return status == HTTPStatus.OK

    def ensure(self) -> None:
        """Start the server unless it runs, and wait until it answers.

        Raises:
            SettingsError: the port belongs to another program, or the server has another login.
            TransientError: the server ended or did not answer in time; its log says why.
        """
        self.start()
        self.wait()

    def stop(self) -> None:
        """End the server if it was started here; its database survives a kill at any moment."""
        if self._process is None:
            return
        if self._is_shared:  # it may still have events to write
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        self._process.kill()
        self._process.wait()
        self._process = None
