"""Executors of a run's steps (pipeline/executors.py); forks in a process without other threads."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from palimpsest.pipeline.executors import executor_for, fork_executor, run_in_order, thread_executor
from palimpsest.pipeline.run import run_ingest
from palimpsest.pipeline.steps import RunStep
from palimpsest.records.progress import silent
from palimpsest.records.settings import RunSettings, Settings
from palimpsest.store.archive import StoredArchive
from palimpsest.store.digest import digest_archive

_SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
import palimpsest.pipeline.read
from palimpsest.pipeline.executors import fork_executor
from palimpsest.pipeline.run import run_ingest
from palimpsest.records.settings import RunSettings, Settings

corpus, archive, pids, fault = sys.argv[1:]
read, parent = palimpsest.pipeline.read._read_batch, os.getpid()
latest = time.monotonic() + 30

def readers():
    return {path.name.partition("-")[0] for path in Path(pids).iterdir()}

def note(folder, batch, target, settings, processes):
    assert palimpsest.pipeline.read._extractors(settings, processes)._workers == 2  # five for three
    Path(pids, f"{os.getpid()}-{batch}").touch()
    is_blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert is_blocked == (os.getpid() != parent)  # a fork leaves Ctrl-C to its parent
    if fault == "killed" and os.getpid() != parent:
        os.kill(os.getpid(), 9)
    if fault == "refused" and os.getpid() != parent:
        raise OSError("not in this process")
    if fault == "disk" and batch == 2:
        raise OSError(28, "no space left for batch 2")
    while os.getpid() == parent and len(readers()) < 3 and time.monotonic() < latest:
        time.sleep(0.01)  # so that each comes to one
    read(folder, batch, target, settings, processes)

palimpsest.pipeline.read._read_batch = note
settings = Settings(run=RunSettings(workers=5, batch_bytes=600))
summary = run_ingest([corpus], archive, settings, executor=fork_executor(3))
assert palimpsest.pipeline.read._extractors(settings, 1)._workers == 5
print(json.dumps(summary.to_dict() | {"parent": parent}))
"""


def _write_corpus(folder: Path) -> Path:
    folder.mkdir()
    for number in range(12):
        text = f"The ferry of {number} o'clock did not sail, and forty people waited.\n\n" * 5
        (folder / f"{number:02d}.txt").write_text(text + f"It was day {number}.", encoding="utf-8")
    return folder


def _ingest(corpus: Path, archive: Path, fault: str = "") -> tuple[Any, set[str], list[int]]:
    """Return the process, the ids of the processes that read batches, and the batches begun."""
    pids = archive.with_name("pids")
    pids.mkdir()
    command = [sys.executable, "-c", _SCRIPT, str(corpus), str(archive), str(pids), fault]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    begun = [path.name.split("-") for path in pids.iterdir()]
    return ran, {pid for pid, _ in begun}, sorted(int(batch) for _, batch in begun)


def _digest(archive: Path) -> str:
    return digest_archive(StoredArchive(archive).snapshot())


@pytest.mark.parametrize("fault", ["", "killed", "refused"])
def test_tables_are_the_same_if_forks_read_batches_or_fail(tmp_path: Path, fault: str) -> None:
    corpus = _write_corpus(tmp_path / "corpus")
    ran, readers, batches = _ingest(corpus, tmp_path / "forked", fault)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    summary = json.loads(ran.stdout)
    assert len(readers) == 3
    assert str(summary["parent"]) in readers
    again = 2 if fault else 0  # what two forks had begun
    assert len(batches) == len(set(batches)) + again
    run_ingest([str(corpus)], tmp_path / "alone", Settings())
    assert _digest(tmp_path / "forked") == _digest(tmp_path / "alone")


def test_parent_process_reports_a_batch_that_cannot_be_read(tmp_path: Path) -> None:
    corpus = _write_corpus(tmp_path / "corpus")
    ran, _, _ = _ingest(corpus, tmp_path / "archive", "disk")
    assert ran.returncode == 1
    assert ran.stderr.count("no space left for batch 2") == 1
    assert ran.stderr.count("Traceback") == 1
    assert not StoredArchive(tmp_path / "archive").exists()


def _thread(number: int) -> tuple[int, int]:
    return number, threading.get_ident()


_STEP = RunStep(name="thread", title="threads", function=_thread)


@pytest.mark.parametrize("executor", [thread_executor(2), fork_executor(2), run_in_order])
def test_results_come_in_the_order_of_the_arguments(executor: Any) -> None:
    reports = []
    arguments = [(number,) for number in range(9)]
    results = executor(_STEP, arguments, lambda *report: reports.append(report))
    assert [number for number, _ in results] == list(range(9))
    assert reports == [(_STEP, done, 9) for done in range(1, 10)]


def test_no_process_is_forked_while_other_threads_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = _write_corpus(tmp_path / "corpus")
    monkeypatch.setattr("multiprocessing.get_context", None)
    settings = Settings(run=RunSettings(workers=2, batch_bytes=600))
    done = threading.Event()
    waiting = threading.Thread(target=done.wait)
    waiting.start()
    try:
        run_ingest([str(corpus)], tmp_path / "archive", settings, executor=fork_executor(2))
    finally:
        done.set()
        waiting.join()
    assert StoredArchive(tmp_path / "archive").exists()


def test_run_with_a_memory_limit_does_not_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palimpsest.pipeline.executors.fork_executor", None)
    step = RunStep(name="abs", title="absolute values", function=abs, is_forkable=True)
    assert executor_for(RunSettings(memory="512MB", workers=2))(step, [(-1,)], silent) == [1]
