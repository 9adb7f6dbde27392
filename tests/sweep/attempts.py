"""Run an operation in processes that are stopped, and check what they leave behind."""

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palimpsest.pipeline.summary import RunSummary
from palimpsest.pipeline.verify import verify
from palimpsest.records.errors import ArchiveError, SettingsError
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import MANIFEST, StoredArchive
from palimpsest.store.versions import clean
from tests.pipeline.corpora import contents
from tests.sweep.calls import KILLED, Watch
from tests.sweep.operations import Operation

SECONDS = 120
"""Time after which a process is considered to hang."""
FAILED = 3
_JOBS = 2
Rows = dict[str, list[str]] | None


@dataclass(frozen=True, slots=True)
class Ground:
    """An operation with the archive before it and what is in it before and after.

    Attributes:
        folder: of all this, with the corpus and ``before/press``.
        points: how many calls the operation makes.
    """

    operation: Operation
    folder: Path
    before: Rows
    after: Rows
    points: int


@dataclass(slots=True)
class Tally:
    """What a sweep of one operation found."""

    points: int = 0
    attempts: int = 0
    run_again: int = 0
    wrong: list[str] = field(default_factory=list)


class TornError(AssertionError):
    """The archive is neither as before the operation nor as after it."""


def forked(work: Callable[[], Any]) -> int:
    """Return the exit code of a forked process: 0, or FAILED after an error that is reported."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    _work_and_exit(work)
    raise AssertionError


def _work_and_exit(work: Callable[[], Any]) -> None:
    signal.alarm(SECONDS)
    code = 1
    try:
        work()
        code = 0
    except (OSError, ArchiveError):
        code = FAILED
    except BaseException:  # the parent must learn of any error
        traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
    finally:
        os._exit(code)


def seen(archive: Path) -> Rows:
    """Return what readers see, except times, or None before the first version."""
    if not StoredArchive(archive).exists():
        return None
    rows = contents(archive)
    snapshot = StoredArchive(archive).snapshot()
    rows["removals"] = snapshot.read("removals", ["document_id"]).column(0).to_pylist()
    return rows


def prepared(operation: Operation, folder: Path, corpus: Path) -> Ground:
    """Return an operation with its archive, after running it undisturbed.

    The forked processes report their results in files.
    """
    before, after = folder / "before" / "press", folder / "after" / "press"
    before.parent.mkdir(parents=True)
    count_file = folder / "points.txt"

    def undisturbed() -> None:
        watch = Watch(after.parent)
        operation.run(corpus, after)
        count_file.write_text(str(watch.count))

    if forked(lambda: operation.prepare(corpus, before)):
        raise AssertionError(f"{operation.name}: its archive could not be made")
    shutil.copytree(before.parent, after.parent, symlinks=True)
    if forked(undisturbed):
        raise AssertionError(f"{operation.name}: fails undisturbed")
    return Ground(operation, folder, seen(before), seen(after), int(count_file.read_text()))


def attempt(ground: Ground, corpus: Path, kind: str, point: int, *, again: bool) -> None:
    """Stop the operation at a call and check what it leaves behind; perhaps run it again.

    Raises:
        TornError: something is not as it should be.
    """
    operation = ground.operation
    archive = ground.folder / f"at-{kind}-{point}" / "press"
    shutil.copytree(ground.folder / "before", archive.parent, symlinks=True)

    def stopped() -> None:
        Watch(archive.parent, kind, point)
        operation.run(corpus, archive)

    code = forked(stopped)
    if code not in {0, KILLED if kind == "kill" else FAILED}:
        raise TornError(f"ended with {code}")
    found = seen(archive)
    if found not in (ground.before, ground.after):
        raise TornError("neither as before nor as after")
    if code == 0 and found != ground.after:
        raise TornError("ended well, but is not as after")
    if again:
        _run_again(ground, corpus, archive, found)
        if kind == "kill":
            _assert_sound(StoredArchive(archive))
    shutil.rmtree(archive.parent)


def _run_again(ground: Ground, corpus: Path, archive: Path, found: Rows) -> None:
    operation, place = ground.operation, StoredArchive(archive)
    staged = len(list(place.staging.rglob("batch-?????")))
    is_done = found == ground.after != ground.before
    try:
        result = operation.run(corpus, archive)
    except SettingsError:
        if not (operation.is_done_once and is_done):
            raise
        result = None
    if isinstance(result, RunSummary):
        expected = 0 if is_done else staged
        if result.batches_taken_up != expected:
            raise TornError(f"{expected} batches staged, {result.batches_taken_up} resumed")
    if seen(archive) != ground.after:
        raise TornError("run again, it is not as after")
    clean(place)
    left = sorted(_left(place))
    if left:
        raise TornError(f"left behind: {left}")


def _assert_sound(place: StoredArchive) -> None:
    failed = [c for c in verify(place, place.snapshot(), tables_only=True).checks if c.failed]
    if failed:
        raise TornError(f"not sound: {failed}")


def _left(place: StoredArchive) -> Iterator[str]:
    """Return files and folders that no manifest names."""
    manifest = place.snapshot().manifest
    expected = {f"versions/{manifest.version:08d}/{MANIFEST}"}
    for name in TABLES:
        folder = f"versions/{manifest.version:08d}/{name}"
        expected |= {f"{folder}/{file['name']}" for file in manifest.files[name]}
    for path in place.home.rglob("*"):
        name = str(path.relative_to(place.home))
        if name.startswith("index/"):
            if name.split("/")[1] not in manifest.segments:
                yield name
        elif name.startswith("versions/") or path.parent == place.staging:
            if name not in expected and not any(one.startswith(name + "/") for one in expected):
                yield name
        elif name not in {"lock", "staging.lock", "versions", "index", "staging"}:
            yield name
    for path in place.path.parent.iterdir():
        if path not in (place.path, place.home):
            yield path.name


def sweep(
    ground: Ground,
    corpus: Path,
    kinds: tuple[str, ...],
    every: int,
    faults_every: int,
    again_every: int,
) -> Tally:
    """Stop an operation at every n-th call, in several processes at once.

    Args:
        ground: the operation.
        corpus: that it reads.
        kinds: what happens at each call.
        every: 1 for each call.
        faults_every: calls are refused at every so-many-th of those that it is killed at.
        again_every: after how many of these it is run again.
    """
    tally = Tally(ground.points)
    running: dict[int, str] = {}
    for kind in kinds:
        step = every if kind == "kill" else every * faults_every
        first = every * (kinds.index(kind) % faults_every)
        for number, point in enumerate(range(first, ground.points, step)):
            again = number % again_every == 0
            tally.attempts += 1
            tally.run_again += again
            if len(running) >= _JOBS:
                _reap(running, tally)
            sys.stdout.flush()
            child = os.fork()
            if child == 0:

                def work(kind: str = kind, point: int = point, again: bool = again) -> None:
                    try:
                        attempt(ground, corpus, kind, point, again=again)
                    except Exception as error:
                        print(f"{ground.operation.name}, {kind} at {point}: {error!r}")
                        raise

                _work_and_exit(work)
            running[child] = f"{ground.operation.name}, {kind} at {point}"
    while running:
        _reap(running, tally)
    return tally


def _reap(running: dict[int, str], tally: Tally) -> None:
    child, status = os.wait()
    fault = running.pop(child)
    if status:
        tally.wrong.append(fault)
