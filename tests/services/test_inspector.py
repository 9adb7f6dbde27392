"""The inspector of docker-compose.yml as a process: it waits for the archive and checks the token."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.corpora import ingest, make_paragraph, write_articles
from tests.services import compose
from tests.services.ports import free_port
from tests.services.stack import wait_for

pytestmark = pytest.mark.usefixtures("compiled_kernels")


class Inspector:
    """The service's process, with other folders and another port."""

    def __init__(self, folder: Path) -> None:
        self.archive = folder / "archive" / "press"
        self.port = free_port()
        self._service = compose.as_run()["services"]["inspector"]
        self.token = self._service["environment"]["PALIMPSEST_TOKEN"]
        replacements = {"/archive/press": str(self.archive), "8470": str(self.port)}
        command = [replacements.get(one, one) for one in compose.command_of(self._service)]
        state = {"PALIMPSEST_STATE": str(folder / "state")}
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name(command[0])), *command[1:]],
                env=os.environ | self._service["environment"] | state,
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def is_healthy(self) -> bool:
        """Return whether the check of the service passes."""
        command = [one.replace("8470", str(self.port)) for one in compose.check_of(self._service)]
        run = subprocess.run(
            [sys.executable, *command[1:]], capture_output=True, timeout=10, check=False
        )
        return run.returncode == 0

    def page(self, path: str, token: str = "") -> tuple[int, str]:
        """Return the status and the text of a page."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture
def inspector(tmp_path: Path) -> Iterator[Inspector]:
    service = Inspector(tmp_path)
    yield service
    service.process.terminate()
    assert service.process.wait(20) == 0


def test_inspector_of_the_compose_file_waits_for_the_archive_and_requires_the_token(
    inspector: Inspector, tmp_path: Path
) -> None:
    wait_for(inspector.is_healthy, "healthy inspector", 60)
    assert inspector.page("/")[0] == 401
    assert inspector.page("/", "something else")[0] == 401
    status, page = inspector.page("/", inspector.token)
    assert status == 503
    assert "does not exist yet" in page

    articles = {"a.txt": ["First", make_paragraph(1)], "b.txt": ["Second", make_paragraph(1)]}
    ingest(write_articles(tmp_path / "in", articles), inspector.archive)
    wait_for(lambda: inspector.page("/", inspector.token)[0] == 200, "page of the archive", 60)
    assert "2 documents" in inspector.page("/", inspector.token)[1]
