"""Ask an archive in this process and in another: ``python -m MODULE ARCHIVE fork``, or spawn."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from palimpsest import Archive


def ask_in_processes(address: str, method: str, root: Path) -> tuple[int, int]:
    """Return the distinct texts and the occurrences, which both processes must agree on."""
    run = subprocess.run(
        [sys.executable, "-m", __name__, address, method],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    texts, occurrences = run.stdout.split()
    return int(texts), int(occurrences)


def _ask(archive: Archive) -> tuple[int, int]:
    counted = archive.sql("SELECT count(*) AS n FROM folds").to_pylist()
    return counted[0]["n"], archive.occurrences().num_rows


def main() -> None:
    archive = Archive(sys.argv[1])
    here = _ask(archive)
    with ProcessPoolExecutor(1, multiprocessing.get_context(sys.argv[2])) as pool:
        assert pool.submit(_ask, archive).result() == here
    assert _ask(archive) == here
    print(*here)


if __name__ == "__main__":
    main()
