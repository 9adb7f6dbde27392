"""Ctrl-C and SIGTERM end any command soon, with one line and their own exit codes."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import pytest
from click.testing import CliRunner

from palimpsest.cli.main import main
from palimpsest.records.errors import TransientError
from palimpsest.store.archive import StoredArchive
from palimpsest.store.commit import Writer
from tests.pipeline.corpora import contents, ingest, listing, make_paragraph, write_articles
from tests.services import needs_servers

pytestmark = pytest.mark.usefixtures("compiled_kernels")

_STUCK = 'hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)'
"""Computes for an hour, without the interpreter lock and without handling signals."""
_SLEEPING = "time.sleep(3600)"
_READING = "palimpsest.pipeline.read", "_read_batch"
_ALIGNING = "palimpsest.pipeline.matching", "link_pairs"
_COMMITTING = "palimpsest.store.commit", "Writer._build_table"
_SOON = 6.0
"""The command ends in less than two seconds, and later on a busy machine."""
_START_SECONDS = 240.0

_SCRIPT = """
import functools, hashlib, importlib, os, sys, time
from palimpsest.cli.main import main

def hang(module, name):
    *owners, name = name.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    step, calls = getattr(owner, name), []

    @functools.wraps(step)
    def hanging(*arguments, **named):
        calls.append(1)
        if len(calls) <= {calls}:
            return step(*arguments, **named)
        os.write(2, b"HANGING\\n")
        {wait}

    setattr(owner, name, hanging)

hang({module!r}, {step!r})
main(prog_name="palimpsest")
"""


def _command(step: tuple[str, str], *arguments: object, wait: str, calls: int = 0) -> list[str]:
    """Return a command that hangs in a step, after ``calls`` calls of it that do not."""
    script = _SCRIPT.format(module=step[0], step=step[1], wait=wait, calls=calls)
    return [sys.executable, "-c", script, *map(str, arguments)]


def _environment(folder: Path) -> dict[str, str]:
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PALIMPSEST_"))
    }
    return inherited | {"HOME": str(folder), "PALIMPSEST_STATE": str(folder / "state")}


def _interrupt(
    command: list[str], folder: Path, number: int = signal.SIGINT, times: int = 1
) -> tuple[int, str]:
    """Signal the process group of a command once it hangs; return its exit code and output."""
    with subprocess.Popen(
        command,
        env=_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        timeout = Timer(_START_SECONDS, process.kill)
        timeout.start()
        for line in process.stdout:
            if line == "HANGING\n":
                break
        timeout.cancel()
        began = time.monotonic()
        for _ in range(times):
            os.killpg(process.pid, number)
            time.sleep(0.1)
        printed = process.stdout.read()
        code = process.wait(_SOON)
        assert time.monotonic() - began < _SOON
    return code, printed.replace("HANGING\n", "")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    articles = {
        f"{n}.txt": [make_paragraph(1, edit=n + 1), make_paragraph(n + 2)] for n in range(4)
    }
    return write_articles(tmp_path / "in", articles)


@pytest.mark.parametrize(
    ("step", "wait"),
    [(_READING, _SLEEPING), (_READING, _STUCK), (_ALIGNING, _STUCK), (_COMMITTING, _STUCK)],
    ids=["sleeping", "reading", "aligning", "committing"],
)
def test_ctrl_c_ends_a_direct_run_soon_and_leaves_the_archive_unchanged(
    step: tuple[str, str], wait: str, corpus: Path, fresh_archive: Path, tmp_path: Path
) -> None:
    ingest(corpus / "1.txt", fresh_archive)
    before = contents(fresh_archive)
    batches = ("--set", "run.batch_bytes=1000")  # read in forks
    command = _command(step, "ingest", corpus, "--archive", fresh_archive, *batches, wait=wait)
    code, printed = _interrupt(command, tmp_path)
    state = f"archive {fresh_archive} is unchanged at version 1"
    assert (code, printed) == (130, f"interrupted: {state}; run the command again to resume\n")
    assert contents(fresh_archive) == before
    ingest(corpus, fresh_archive)
    ingest(corpus, tmp_path / "undisturbed")
    assert contents(fresh_archive) == contents(tmp_path / "undisturbed")


def _expect_a_flow_run_to_end_soon(
    step: tuple[str, str], number: signal.Signals, corpus: Path, archive: Path, folder: Path
) -> None:
    arguments = ("ingest", corpus, "--archive", archive, "--prefect")
    code, printed = _interrupt(_command(step, *arguments, wait=_STUCK), folder, number)
    state = f"archive {archive} does not exist yet"
    assert printed == f"interrupted: {state}; run the command again to resume\n"
    assert code == 128 + number
    assert not archive.exists()


def test_ctrl_c_ends_a_flow_run_soon_with_a_single_line(
    corpus: Path, fresh_archive: Path, tmp_path: Path
) -> None:
    _expect_a_flow_run_to_end_soon(_READING, signal.SIGINT, corpus, fresh_archive, tmp_path)


@needs_servers
@pytest.mark.parametrize("step", [_READING, _ALIGNING, _COMMITTING], ids=lambda step: step[1])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_flow_run_soon_in_every_phase(
    step: tuple[str, str], number: signal.Signals, corpus: Path, fresh_archive: Path, tmp_path: Path
) -> None:
    _expect_a_flow_run_to_end_soon(step, number, corpus, fresh_archive, tmp_path)


def test_sigterm_has_its_own_exit_code(corpus: Path, fresh_archive: Path, tmp_path: Path) -> None:
    command = _command(_READING, "ingest", corpus, "--archive", fresh_archive, wait=_SLEEPING)
    code, printed = _interrupt(command, tmp_path, signal.SIGTERM)
    assert code == 143
    assert "does not exist yet" in printed


def test_second_ctrl_c_ends_a_run_at_once(
    corpus: Path, fresh_archive: Path, tmp_path: Path
) -> None:
    command = _command(_READING, "ingest", corpus, "--archive", fresh_archive, wait=_STUCK)
    no_deadline = "import palimpsest.cli.interrupts as module; module._GRACE_SECONDS = 3600"
    command[2] = f"{no_deadline}\n{command[2]}"
    assert _interrupt(command, tmp_path, times=2)[0] == 130


def test_interrupted_run_reports_the_version_it_published(
    corpus: Path, fresh_archive: Path, tmp_path: Path
) -> None:
    portions = ("--set", "run.portion_bytes=1", "--set", "run.batch_bytes=1")
    arguments = ("ingest", corpus, "--archive", fresh_archive, *portions)
    step = "palimpsest.store.commit", "Writer.commit"
    code, printed = _interrupt(_command(step, *arguments, wait=_STUCK, calls=2), tmp_path)
    assert code == 130
    assert f"{fresh_archive} is now at version 2 (it did not exist before); run" in printed
    assert StoredArchive(fresh_archive).snapshot().manifest.version == 2


def test_command_without_an_archive_can_be_interrupt(corpus: Path, tmp_path: Path) -> None:
    arguments = ("compare", corpus / "1.txt", corpus / "2.txt")
    step = "palimpsest.evidence.compare", "read_and_compare"
    assert _interrupt(_command(step, *arguments, wait=_STUCK), tmp_path) == (130, "interrupted\n")


def test_ctrl_c_restores_the_cursor_of_the_terminal(
    corpus: Path, fresh_archive: Path, tmp_path: Path
) -> None:
    command = _command(_ALIGNING, "ingest", corpus, "--archive", fresh_archive, wait=_STUCK)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, _environment(tmp_path) | {"TERM": "xterm"})
    printed, deadline, is_interrupted = b"", time.monotonic() + _START_SECONDS, False
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                printed += os.read(terminal, 65536)
            except OSError:  # the process has closed its end
                break
        if b"HANGING" in printed and not is_interrupted:
            is_interrupted, deadline = True, time.monotonic() + _SOON
            os.write(terminal, b"\x03")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    assert code == 130
    hidden, shown = printed.rfind(b"\x1b[?25l"), printed.rfind(b"\x1b[?25h")
    assert 0 <= hidden < shown
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", printed).decode()
    last = re.sub(r"\s+", " ", text).rpartition("interrupted: ")[2]
    assert last.strip().endswith("does not exist yet; run the command again to resume")
    assert "Traceback" not in text


def test_error_after_a_commit_reports_the_published_version(
    corpus: Path, fresh_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Writer.commit

    def fail_later(self: Writer, *arguments: object) -> object:
        if self.base:
            raise TransientError("another run is writing")
        return commit(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Writer, "commit", fail_later)
    portions = ("--set", "run.portion_bytes=1", "--set", "run.batch_bytes=1")
    arguments = ["ingest", str(corpus), "--archive", str(fresh_archive), *portions]
    for expected in ("is now at version 1; it did not exist before", "nothing was written"):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 3
        assert expected in result.stderr
        before = listing(fresh_archive)
        assert before
