"""Sweep: ``python -m tests.sweep [--every K | --short] [--operations NAME ...]``."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from palimpsest.pipeline.warm_up import warm_up
from tests.sweep.attempts import prepared, sweep
from tests.sweep.calls import KINDS
from tests.sweep.operations import OPERATIONS, warm_up_all, write_corpus

_FAULTS_HELP = "of these, refuse every so-many-th; 3: each once, for the three reasons in turn"
_IN_MEMORY = Path("/dev/shm")


def main() -> int:
    """Print a line for each operation; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    names = [operation.name for operation in OPERATIONS]
    parser.add_argument("--every", type=int, default=1, help="stop at every so-many-th call")
    parser.add_argument("--again-every", type=int, default=1, help="of these, run again after")
    parser.add_argument("--faults-every", type=int, default=3, help=_FAULTS_HELP)
    parser.add_argument("--short", action="store_true", help="some calls of each operation")
    parser.add_argument("--operations", nargs="+", choices=names, default=names)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    given = parser.parse_args()
    room = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None  # nothing waits for a disk there
    folder = Path(tempfile.mkdtemp(prefix="palimpsest-sweep-", dir=room))
    wrong = 0
    try:
        warm_up()
        write_corpus(folder / "corpus")
        warm_up_all(folder / "corpus", folder / "warm")
        for operation in OPERATIONS:
            if operation.name not in given.operations:
                continue
            started = time.monotonic()
            ground = prepared(operation, folder / operation.name, folder / "corpus")
            kinds = tuple(given.kinds)
            every = operation.short_every if given.short else given.every
            steps = every, given.faults_every, given.again_every
            tally = sweep(ground, folder / "corpus", kinds, *steps)
            for fault in tally.wrong:
                print(f"wrong: {fault}")
            wrong += len(tally.wrong)
            print(
                f"{operation.name}: points: {tally.points}, stopped: {tally.attempts}, "
                f"run again: {tally.run_again}, torn: {len(tally.wrong)}, "
                f"seconds: {time.monotonic() - started:.0f}",
                flush=True,
            )
            wrong += tally.points < operation.least_points
            shutil.rmtree(folder / operation.name, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
