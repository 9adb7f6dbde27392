"""The inspect command: what it refuses, what it prints, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.test_main import run
from tests.pipeline.corpora import ingest, make_paragraph, write_articles
from tests.services.ports import free_port

pytestmark = pytest.mark.usefixtures("compiled_kernels")

SECONDS = 90
SOON = 6.0
"""Ctrl-C takes less than two seconds, and longer on a busy machine."""


@pytest.fixture(scope="module")
def press(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspected")
    articles = {f"{name}.txt": [f"Title {name}", make_paragraph(1)] for name in "xy"}
    ingest(write_articles(folder / "in", articles), folder / "press")
    return folder / "press"


class InspectProcess:
    """A process of ``palimpsest inspect``."""

    def __init__(
        self,
        archive: Path,
        *options: str,
        state: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        command = [str(Path(sys.executable).with_name("palimpsest")), "inspect", str(archive)]
        self.process = subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"PALIMPSEST_STATE": str(state), "PYTHONUNBUFFERED": "1"}
            | (environment or {}),
            start_new_session=True,
        )

    def address(self) -> str:
        """Wait until the process prints its address; return it."""
        assert self.process.stdout
        for line in self.process.stdout:
            if found := re.search(r"is shown at (http://\S+)", line):
                return found[1]
        raise AssertionError(self.process.communicate())

    def interrupt(self, number: int = signal.SIGINT) -> tuple[int, str, float]:
        """Send a signal, as Ctrl-C does; return exit code, standard error and seconds taken."""
        started = time.monotonic()
        os.killpg(self.process.pid, number)
        _, stderr = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, stderr, time.monotonic() - started


@contextmanager
def inspecting(
    archive: Path, *options: str, state: Path, environment: Mapping[str, str] | None = None
) -> Iterator[InspectProcess]:
    server = InspectProcess(archive, *options, state=state, environment=environment)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


def test_page_is_opened_in_the_browser(press: Path, state: Path, tmp_path: Path) -> None:
    opened, script = tmp_path / "opened", tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\n')
    script.chmod(0o755)
    environment = {"BROWSER": f"{script} %s"}
    with inspecting(press, "--port", "0", "--open", state=state, environment=environment) as server:
        address = server.address()
        for _ in range(SECONDS * 10):
            if opened.exists():
                break
            time.sleep(0.1)
        assert opened.read_text().strip() == address


def test_missing_archive_is_refused_with_advice(tmp_path: Path) -> None:
    result = run("inspect", tmp_path / "none", "--port", 0)
    assert result.exit_code == 2
    assert "there is none; ingest sources into it first: palimpsest ingest" in result.stderr


def test_unknown_version_is_refused(press: Path) -> None:
    result = run("inspect", press, "--port", 0, "--version", 7)
    assert result.exit_code == 2
    assert "there is no version 7; found 1" in result.stderr


def test_folder_without_an_archive_is_refused(tmp_path: Path) -> None:
    result = run("inspect", tmp_path, "--port", 0)
    assert result.exit_code == 2
    assert "is not an archive" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--token", "  "), "--token: expected some words"),
        (("--host", "no such host"), "--host no such host"),
        (("--host", "192.0.2.1"), "choose another port"),
        (("--port", "70000"), "65535"),
    ],
)
def test_unusable_server_options_are_refused(
    press: Path, options: tuple[str, ...], message: str
) -> None:
    result = run("inspect", press, *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_port_in_use_is_refused(press: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run("inspect", press, "--port", port)
    assert result.exit_code == 2
    assert f"--port {port}: Address already in use; choose another port" in result.stderr


def test_server_prints_its_port_and_ends_at_ctrl_c(press: Path, state: Path) -> None:
    with inspecting(press, "--port", "0", state=state) as server:
        address = server.address()
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d+/", address)
        browser = HTTPConnection(urlsplit(address).netloc, timeout=SECONDS)
        with closing(browser):  # keeps its connection open
            browser.request("GET", "/")
            assert b"2 documents" in browser.getresponse().read()
            code, stderr, seconds = server.interrupt()
    assert (code, stderr) == (130, "stopped\n")
    assert seconds < SOON


def test_sigterm_is_the_normal_end_of_a_server(press: Path, state: Path) -> None:
    with inspecting(press, "--port", "0", state=state) as server:
        server.address()
        assert server.interrupt(signal.SIGTERM)[:2] == (0, "stopped\n")


def test_unfinished_request_does_not_delay_the_end(press: Path, state: Path) -> None:
    with inspecting(press, "--port", "0", state=state) as server:
        address = urlsplit(server.address())
        assert address.hostname
        assert address.port
        with socket.create_connection((address.hostname, address.port)) as unfinished:
            unfinished.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\nx")
            time.sleep(0.5)
            code, stderr, seconds = server.interrupt()
    assert (code, stderr) == (130, "stopped\n")
    assert seconds < SOON


def test_ctrl_c_ends_the_build_of_a_catalogue(press: Path, tmp_path: Path) -> None:
    with inspecting(press, "--port", "0", state=tmp_path) as server:
        deadline = time.monotonic() + SECONDS
        while not list(tmp_path.glob("catalogues/*/lock")):
            assert time.monotonic() < deadline
            assert server.process.poll() is None
            time.sleep(0.005)
        code, stderr, seconds = server.interrupt()
    assert code == 130
    assert "Traceback" not in stderr
    assert seconds < SOON


def test_other_machines_need_a_token(press: Path, state: Path) -> None:
    with inspecting(press, "--host", "0.0.0.0", "--port", "0", state=state) as server:
        address = server.address()
        plain, _, token = address.partition("?token=")
        assert len(token) >= 32
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(plain, timeout=SECONDS)
        assert refused.value.code == 401
        refused.value.close()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        with browser.open(address, timeout=SECONDS) as page:
            assert page.url == plain
            assert b"2 documents" in page.read()
        with browser.open(f"{plain}documents", timeout=SECONDS) as page:
            assert page.status == 200


def test_chosen_token_is_escaped_in_the_printed_address(press: Path, state: Path) -> None:
    port = str(free_port())
    with inspecting(
        press, "--port", port, "--token", "two wörds&", "--wait", state=state
    ) as server:
        address = server.address()
        assert address == f"http://127.0.0.1:{port}/?token=two+w%C3%B6rds%26"
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        for _ in range(200):
            try:
                with browser.open(address, timeout=SECONDS) as page:
                    assert b"2 documents" in page.read()
                    break
            except urllib.error.HTTPError as error:
                error.close()
                if error.code != 503:
                    raise
                time.sleep(0.05)
