"""Measure how an archive grows: many runs against one, in order and shuffled, and small runs.

    python benchmarks/growth.py FOLDER-OR-TAR [--runs N] [--json]

The corpus is ingested in N runs of about equal size, in the order of names; then shuffled; then at
once. Prints the time of each run, the digests (which must agree; exits 1 if not), the size
of the index and of the normalised text, and the time of a process that adds ten articles.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from palimpsest.dedup.index.segments import size_bytes
from palimpsest.pipeline.executors import thread_executor
from palimpsest.pipeline.run import run_ingest
from palimpsest.pipeline.warm_up import warm_up
from palimpsest.store.archive import StoredArchive
from palimpsest.store.digest import digest_archive
from palimpsest.store.views import connect

from main_job import options_of, unpacked  # isort: skip


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    options = options_of(parser)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        with unpacked(options.corpus, scratch) as corpus:
            figures = measure(corpus, scratch, options.runs)
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        for name, value in figures.items():
            print(f"{name:28}{value}")
    return 0 if figures["digests_agree"] else 1


def measure(corpus: Path, scratch: Path, runs: int) -> dict[str, Any]:
    """Return the figures."""
    warm_up()
    files = sorted(str(path) for path in corpus.rglob("*") if path.is_file())
    shuffled = random.Random(5).sample(files, len(files))
    run_in_order = _feed(files, scratch / "in-order" / "press", runs)
    in_disorder = _feed(shuffled, scratch / "shuffled" / "press", runs)
    at_once = _feed(files, scratch / "at-once" / "press", 1)
    archives = [
        StoredArchive(scratch / name / "press") for name in ("at-once", "in-order", "shuffled")
    ]
    digests = [digest_archive(archive.snapshot()) for archive in archives]
    tenth = statistics.median(run_in_order[7:12])
    last = statistics.median(run_in_order[-5:])
    small = _add_ten(files, scratch, archives[0])
    return {
        "runs": runs,
        "seconds_at_once": round(at_once[0], 2),
        "seconds_of_runs": [round(one, 2) for one in run_in_order],
        "seconds_of_runs_shuffled": [round(one, 2) for one in in_disorder],
        "seconds_around_tenth": round(tenth, 2),
        "seconds_of_last": round(last, 2),
        "last_to_tenth": round(last / tenth, 2),
        "digests": digests,
        "digests_agree": len(set(digests)) == 1,
        **_index_size(archives[0]),
        **small,
    }


def _feed(files: list[str], archive: Path, runs: int) -> list[float]:
    """Ingest files in ``runs`` runs; return the seconds of each."""
    seconds = []
    for number in range(runs):
        mine = files[len(files) * number // runs : len(files) * (number + 1) // runs]
        seconds.append(run_ingest(mine, archive, executor=thread_executor(2)).seconds)
    return seconds


def _index_size(archive: StoredArchive) -> dict[str, Any]:
    snapshot = archive.snapshot()
    index = sum(size_bytes(archive.index / name) for name in snapshot.manifest.segments)
    with connect(snapshot) as connection:
        rows = connection.sql("SELECT sum(strlen(text)) AS n FROM folds").to_arrow_table()
    text = rows["n"][0].as_py()
    return {"index_mb": round(index / 1e6, 1), "distinct_text_mb": round(int(text) / 1e6, 1)}


def _add_ten(files: list[str], scratch: Path, archive: StoredArchive) -> dict[str, Any]:
    """Add ten changed articles, three times with and without Prefect; return the medians."""
    figures: dict[str, Any] = {}
    for name, extra in (("no_prefect", ["--no-prefect"]), ("private_server", ["--prefect"])):
        whole, pipeline = [], []
        for attempt in range(3):
            folder = scratch / f"ten-{name}-{attempt}"
            folder.mkdir()
            for number, path in enumerate(files[-1000:-900:10]):
                text = Path(path).read_bytes().replace(b"said", b"stated %d" % attempt)
                (folder / f"{number}-{name}.txt").write_bytes(text + b"\n\nSome closing words.\n")
            command = [str(Path(sys.executable).with_name("palimpsest")), "ingest", str(folder)]
            command += ["--archive", str(archive.path), "--json", *extra]
            command += ["--state", str(scratch / "state")]
            started = time.perf_counter()
            done = subprocess.run(command, capture_output=True, check=False)
            whole.append(time.perf_counter() - started)
            pipeline.append(json.loads(done.stdout)["seconds"])
        figures[f"ten_articles_{name}"] = round(statistics.median(whole), 2)
        figures[f"ten_articles_{name}_pipeline"] = round(statistics.median(pipeline), 2)
    return figures


if __name__ == "__main__":
    sys.exit(main())
