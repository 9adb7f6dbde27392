"""The Prefect server that we start accepts no requests from web pages or other users."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from email.message import Message
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_SERVER_API_AUTH_STRING,
    temporary_settings,
)

from palimpsest.flows.local_server import LOGIN_FILE, LocalServer, login_of
from palimpsest.flows.prefect_environment import prepare_schedule
from palimpsest.flows.protected_server import protected_app
from palimpsest.flows.schedule import Timetable, keep_schedule
from palimpsest.records.errors import SettingsError
from palimpsest.records.settings import Settings
from tests.services.ports import free_port

ATTACK = {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "touch /x"}}]}


def _forget_servers(patched: pytest.MonkeyPatch) -> None:
    """Unset the variables that name a server; they are restored after the test."""
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "NO_PROXY", "no_proxy"):
        patched.setenv(name, "")
        patched.delenv(name)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def server(state: Path) -> Iterator[LocalServer]:
    """The server that ``palimpsest schedule`` starts."""
    with pytest.MonkeyPatch.context() as patched:
        _forget_servers(patched)
        running = prepare_schedule(state, free_port())
        assert running
        yield running
        running.stop()


@pytest.fixture(scope="module")
def client(server: LocalServer) -> Iterator[SyncPrefectClient]:
    with SyncPrefectClient(api=server.url, auth_string=server.login) as client:
        yield client


@pytest.fixture
def started() -> Callable[..., Any]:
    """A function that starts a browser; without Chromium the test is skipped."""
    from tests.inspector import browser

    if browser.CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    return browser.started


@pytest.fixture(scope="module")
def deployment(client: SyncPrefectClient) -> str:
    flow = client.create_flow_from_name("ingest")
    return str(client.create_deployment(flow_id=flow, name="press"))


def _request(
    server: LocalServer, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Message]:
    """Send a request; return status and headers of the response."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named["Content-Type"] = "application/json"
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request(method, path, json.dumps(body), named)
        response = connection.getresponse()
        response.read()
        return response.status, response.headers


def _authorization(server: LocalServer) -> str:
    return "Basic " + b64encode(server.login.encode()).decode()


def _assert_untouched(client: SyncPrefectClient, deployment: str) -> None:
    assert not client.read_deployment(deployment).pull_steps
    assert client.read_flow_runs() == []


def test_deployment_cannot_be_changed_or_run_without_login(
    server: LocalServer, client: SyncPrefectClient, deployment: str
) -> None:
    path = f"/api/deployments/{deployment}"
    for origin in ("https://evil.example", server.page, "null"):
        assert _request(server, "PATCH", path, ATTACK, Origin=origin)[0] == 401
        assert _request(server, "POST", f"{path}/create_flow_run", {}, Origin=origin)[0] == 401
    guess = "Basic " + b64encode(b"palimpsest:palimpsest").decode()
    assert _request(server, "PATCH", path, ATTACK, Authorization=guess)[0] == 401
    _assert_untouched(client, deployment)


def test_page_of_another_origin_gets_no_permission(server: LocalServer, deployment: str) -> None:
    path = f"/api/deployments/{deployment}"
    requested = {
        "Access_Control_Request_Method": "PATCH",
        "Access_Control_Request_Headers": "authorization",
    }
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        status, headers = _request(server, "OPTIONS", path, Origin=origin, **requested)
        assert status == 400
        assert headers["Access-Control-Allow-Origin"] is None
    for origin in (server.page, f"http://localhost:{server.port}"):
        status, headers = _request(server, "OPTIONS", path, Origin=origin, **requested)
        assert status == 200
        assert headers["Access-Control-Allow-Origin"] == origin


def test_foreign_host_is_refused_even_with_login(
    server: LocalServer, client: SyncPrefectClient, deployment: str
) -> None:
    path = f"/api/deployments/{deployment}"
    login = _authorization(server)
    for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example"):
        assert _request(server, "PATCH", path, ATTACK, Host=host, Authorization=login)[0] == 400
        assert _request(server, "GET", "/", Host=host)[0] == 400
    _assert_untouched(client, deployment)
    for host in (f"127.0.0.1:{server.port}", f"localhost:{server.port}"):
        assert _request(server, "GET", "/api/version", Host=host, Authorization=login)[0] == 200


def test_only_the_owner_can_read_the_login(server: LocalServer, state: Path) -> None:
    file = state / LOGIN_FILE
    assert file.read_text(encoding="ascii") == server.login == os.environ["PREFECT_API_AUTH_STRING"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = server.login.partition(":")[2]
    assert len(secret) >= 40
    assert server._process
    assert secret not in Path(f"/proc/{server._process.pid}/cmdline").read_text()
    assert secret not in server._log.read_text(encoding="utf-8")
    assert "127.0.0.1" in os.environ["NO_PROXY"]


def test_second_schedule_shares_the_server(server: LocalServer, state: Path) -> None:
    second = LocalServer(state, login_of(state), server.port)
    second.ensure()
    assert second._process is None
    second.stop()
    assert _request(server, "GET", "/api/health")[0] == 200


def test_server_with_another_login_is_an_error(server: LocalServer, state: Path) -> None:
    with pytest.raises(SettingsError, match=f"refuses the login in .*{LOGIN_FILE}; stop"):
        LocalServer(state, "palimpsest:other", server.port).ensure()


def test_schedule_stops_if_a_server_refuses_its_login(server: LocalServer, tmp_path: Path) -> None:
    refused = {PREFECT_API_URL: server.url, PREFECT_API_AUTH_STRING: "palimpsest:other"}
    schedule = keep_schedule(
        [str(tmp_path)], str(tmp_path / "press"), Settings(), Timetable(watch=True), None
    )
    with (
        temporary_settings(refused),
        pytest.raises(SettingsError, match="set PREFECT_API_AUTH_STRING=user:password"),
    ):
        asyncio.run(schedule)


def test_another_program_on_the_port_is_sent_no_login(tmp_path: Path) -> None:
    seen = []

    class OtherProgram(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)

    with HTTPServer(("127.0.0.1", 0), OtherProgram) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(SettingsError, match="another program"):
            LocalServer(tmp_path, login_of(tmp_path), other.server_port).ensure()
        other.shutdown()
    assert seen == []


def test_login_that_others_can_read_is_refused(tmp_path: Path) -> None:
    login = login_of(tmp_path)
    assert login_of(tmp_path) == login
    assert [path.name for path in tmp_path.iterdir()] == [LOGIN_FILE]
    (tmp_path / LOGIN_FILE).chmod(0o640)
    with pytest.raises(SettingsError, match="mode 640"):
        login_of(tmp_path)


def test_server_does_not_start_unprotected() -> None:
    with (
        temporary_settings({PREFECT_SERVER_API_AUTH_STRING: ""}),
        pytest.raises(SystemExit, match="PREFECT_SERVER_API_AUTH_STRING is not set"),
    ):
        protected_app()
    with (
        temporary_settings({PREFECT_SERVER_API_AUTH_STRING: "user:password"}),
        pytest.raises(SystemExit, match="PREFECT_SERVER_CORS_ALLOWED_ORIGINS is '\\*'"),
    ):
        protected_app()


def test_private_server_asks_for_login_and_ends_with_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import os, sys, time; from pathlib import Path;"
        "from palimpsest.flows.prefect_environment import prepare_flow_run;"
        "server = prepare_flow_run(Path(sys.argv[1])); server.wait();"
        "print(server.port, server._process.pid, os.environ['PREFECT_API_AUTH_STRING'], flush=True);"
        "time.sleep(600)"
    )
    kept = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, env=kept, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        try:
            port, pid, login = parent.stdout.readline().split()
            server = LocalServer(tmp_path, login, int(port))
            assert os.getsid(int(pid)) == int(pid)  # Ctrl-C on the terminal does not reach it
            assert _request(server, "POST", "/api/flows/filter", {})[0] == 401
            signed = {"Authorization": _authorization(server)}
            assert _request(server, "POST", "/api/flows/filter", {}, **signed)[0] == 200
            foreign = signed | {"Host": "evil.example"}
            assert _request(server, "POST", "/api/flows/filter", {}, **foreign)[0] == 400
            assert not (tmp_path / LOGIN_FILE).exists()
        finally:
            parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while _is_taken(int(port)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


EVIL_PAGE = """<script>
const [api, rebound, id, attack] = CONSTANTS;
const tries = [
  ["PATCH", `${api}/deployments/${id}`, {"Content-Type": "application/json"}, "cors"],
  ["POST", `${api}/deployments/${id}/create_flow_run`, {"Content-Type": "application/json"}, "cors"],
  ["POST", `${api}/deployments/${id}/create_flow_run`, {"Content-Type": "text/plain"}, "no-cors"],
  ["POST", `${api}/deployments/${id}/create_flow_run`, {}, "no-cors"],
  ["PATCH", `${rebound}/deployments/${id}`, {"Content-Type": "application/json"}, "cors"],
];
window.results = Promise.all(tries.map(async ([method, url, headers, mode]) => {
  const body = new Blob([method === "PATCH" ? attack : "{}"]);
  try { return (await fetch(url, {method, headers, mode, body, credentials: "include"})).type }
  catch (error) { return "refused" }
}));
</script>"""


def test_page_of_another_origin_cannot_run_code(
    server: LocalServer,
    client: SyncPrefectClient,
    deployment: str,
    started: Callable[..., Any],
) -> None:
    """A page in a browser attacks the server's address and a host name that resolves to it."""
    rebound = f"http://evil.example:{server.port}"
    constants = [server.url, f"{rebound}/api", deployment, json.dumps(ATTACK)]

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(EVIL_PAGE.replace("CONSTANTS", json.dumps(constants)).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with (
        HTTPServer(("127.0.0.1", 0), Evil) as site,
        started("--host-resolver-rules=MAP evil.example 127.0.0.1") as browser,
    ):
        threading.Thread(target=site.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://evil.example:{site.server_port}/")
        results = page.evaluate("window.results")
        assert page.goto(f"{rebound}/").status == 400
        site.shutdown()
    assert results == ["refused", "refused", "opaque", "opaque", "refused"]
    _assert_untouched(client, deployment)


def test_own_page_works_with_the_login(
    server: LocalServer,
    client: SyncPrefectClient,
    deployment: str,
    started: Callable[..., Any],
) -> None:
    assert client.read_deployment(deployment).name == "press"
    with started() as browser:
        page = browser.new_page()
        page.goto(f"{server.page}/deployments")
        page.locator("input[type=password]").fill(server.login)
        page.keyboard.press("Enter")
        page.get_by_text("press", exact=True).first.wait_for(timeout=60_000)
