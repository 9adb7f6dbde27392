"""Operations on an archive in other processes, which are spawned since tests have threads."""

import json
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import palimpsest.pipeline.compact
import palimpsest.pipeline.remove
import palimpsest.pipeline.run
from palimpsest.pipeline.steps import STAGE_BATCH
from palimpsest.store.archive import StoredArchive
from palimpsest.store.versions import clean
from tests.pipeline.corpora import ingest, settings_of

SPAWN = multiprocessing.get_context("spawn")
BATCH_BYTES = 700
_SECONDS = 240.0


def start(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process; the caller joins it."""
    process = SPAWN.Process(target=work, args=arguments)
    process.start()
    return process


def join_all(*processes: BaseProcess) -> None:
    """Wait for processes; expect that they succeed."""
    for process in processes:
        process.join(_SECONDS)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * len(processes)


def ingest_with(barrier: Barrier, sources: list[Path], archive: Path, summary_path: Path) -> None:
    """Ingest, and wait for the others after planning; write the summary to a file."""
    met = []

    def wait_and_stage(*arguments: Any) -> Any:
        if not met:
            met.append(barrier.wait(_SECONDS))
        return STAGE_BATCH.function(*arguments)

    palimpsest.pipeline.run.STAGE_BATCH = replace(STAGE_BATCH, function=wait_and_stage)
    summary = ingest(sources, archive, settings_of(1, BATCH_BYTES))
    assert met
    summary_path.write_text(json.dumps(summary.to_dict()))


def remove_with(barrier: Barrier, archive: Path, name: str) -> None:
    """Remove a document, and wait for the others before locking the archive."""
    _wait_before_writing(palimpsest.pipeline.remove, barrier)
    palimpsest.pipeline.remove.remove(archive, [name], "asked for")


def compact_with(barrier: Barrier, archive: Path) -> None:
    """Compact, and wait for the others before locking the archive."""
    _wait_before_writing(palimpsest.pipeline.compact, barrier)
    palimpsest.pipeline.compact.compact(archive)


def _wait_before_writing(module: Any, barrier: Barrier) -> None:
    open_writer = module.open_writer

    def wait_and_write(*arguments: Any) -> Any:
        barrier.wait(_SECONDS)
        return open_writer(*arguments)

    module.open_writer = wait_and_write


def change_until(stop: Event, sources: list[Path], archive: Path) -> None:
    """Ingest two files, remove the first, compact and clean, again and again until stopped."""
    coming = iter(sources)
    while not stop.is_set():
        first, second = next(coming), next(coming)
        ingest(first, archive)
        ingest(second, archive)
        palimpsest.pipeline.remove.remove(archive, [first.as_uri()], "asked for")
        clean(StoredArchive(archive))
        palimpsest.pipeline.compact.compact(archive)
        clean(StoredArchive(archive))
