"""Count rows in this process and in a child: ``python -m MODULE ARCHIVE fork``, or ``spawn``."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from palimpsest import Archive


def count_in_processes(archive_name: str, method: str, root: Path) -> tuple[int, int]:
    """Return the number of texts and of occurrences, once parent and child agree on them."""
    result = subprocess.run(
        [sys.executable, "-m", __name__, archive_name, method],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    texts, occurrences = result.stdout.split()
    return int(texts), int(occurrences)


def _count_rows(archive: Archive) -> tuple[int, int]:
    folds = archive.sql("SELECT count(*) AS n FROM folds").to_pylist()
    return folds[0]["n"], archive.occurrences().num_rows


def main() -> None:
    archive = Archive(sys.argv[1])
    expected = _count_rows(archive)
    with ProcessPoolExecutor(1, multiprocessing.get_context(sys.argv[2])) as pool:
        assert pool.submit(_count_rows, archive).result() == expected
    assert _count_rows(archive) == expected
    print(*expected)


if __name__ == "__main__":
    main()
