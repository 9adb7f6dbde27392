"""Kill a commit before each call that touches the disk, in turn; run by ``test_commit``.

Each attempt is a forked process, so that what is imported once serves all of them. Prints the
number of attempts, and a line for each that left something torn.
"""

import json
import os
import shutil
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from store.archive import Archive
from store.commit import writing
from tests.store.rows import all_rows, make_rows, publish

_CALLS = ("mkdir", "fsync", "link", "rename", "replace", "symlink", "unlink", "rmdir")
KILLED = 77
_lock = threading.Lock()


def arm(fatal: int) -> None:
    """Let the process die before its call number ``fatal`` to the operating system."""
    count = 0

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            with _lock:
                if count == fatal:
                    os._exit(KILLED)
                count += 1
                return real(*args, **kwargs)

        return call

    for name in _CALLS:
        setattr(os, name, wrap(getattr(os, name)))


def forked(work: Callable[[], None]) -> int:
    """Do work in a forked process; return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # the parent has to hear of it, whatever it is
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _first(archive: Archive) -> None:
    publish(archive, "r1", {"sources": make_rows("sources", 0, 3), "runs": make_rows("runs", 0, 1)})


def _second(archive: Archive, run_id: str) -> None:
    """Add to an empty table, keep a file, rewrite a file."""
    withdrawn = {"sources": ("uri", pa.array(["uri-000001"]))}
    added = {name: make_rows(name, 5, 7) for name in ("sources", "paragraphs", "documents")}
    publish(archive, run_id, added, withdrawn)


def _save_rows(path: Path, target: Path) -> None:
    target.write_text(json.dumps(all_rows(Archive(path).snapshot())))


def _expect_whole(archive: Archive, folder: Path, is_run_again: bool) -> None:
    """Check what a reader sees; run again, check that it is complete and nothing is left."""
    before, after = (json.loads((folder / name).read_text()) for name in ("old.json", "new.json"))
    seen = all_rows(archive.snapshot())
    if seen not in (before, after):
        raise AssertionError("torn")
    if not is_run_again:
        return
    if seen == before:
        _second(archive, "r3")
        if all_rows(archive.snapshot()) != after:
            raise AssertionError("running again did not complete it")
    else:
        with writing(archive, "r3"):
            pass
    left = [path.name for path in archive.staging.iterdir()]
    left += [path.name for path in archive.versions.iterdir() if not path.name.isdigit()]
    left += [p.name for p in archive.path.parent.iterdir() if p not in (archive.path, archive.home)]
    left += [p.name for p in archive.home.iterdir() if p.is_symlink()]
    if left:
        raise AssertionError(f"left behind: {left}")


def sweep(folder: Path) -> int:
    """Kill at every point; return how many there were."""
    old, new = folder / "old" / "press", folder / "new" / "press"
    for path in (old, new):
        path.parent.mkdir()
        forked(lambda path=path: _first(Archive(path)))
    forked(lambda: _second(Archive(new), "r2"))
    forked(lambda: _save_rows(old, folder / "old.json"))
    forked(lambda: _save_rows(new, folder / "new.json"))
    for point in range(1000):
        here = folder / f"at-{point}" / "press"
        shutil.copytree(old.parent, here.parent, symlinks=True)

        def attempt(here: Path = here, point: int = point) -> None:
            arm(point)
            _second(Archive(here), "r2")

        code = forked(attempt)
        if code not in (0, KILLED):
            print(f"point {point}: failed by itself")
        again = point % 3 == 0 or code == 0  # takes most of the time
        if forked(lambda here=here, again=again: _expect_whole(Archive(here), folder, again)):
            print(f"point {point}: torn")
        if code == 0:
            return point
    raise AssertionError("the commit never came to an end")


if __name__ == "__main__":
    print(sweep(Path(sys.argv[1])), "points")
