"""Measure speed: the main job by step, against bare loops and other tools, and as it grows.

    python benchmarks/speed.py FOLDER-OR-TAR [--only PART,...] [--json]

Parts: ``steps`` of the main job without Prefect, with 1 and 2 workers; ``prefect``, the time that
Prefect adds; ``startup`` of commands; ``floors``, finer stages against bare loops; ``signatures``
against datasketch's; ``peers``, other tools on the same articles; ``slope``, the same job on 1, 3
and 10 times the articles; ``memory``, the same job with memory limits; ``digest`` of the tables,
with different workers, batches and memory. Kernels are compiled first, which is not measured. Exits
1 if digests or signatures differ.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from palimpsest.store.archive import StoredArchive
from palimpsest.store.digest import digest_archive

import bare  # isort: skip
from beside_datasketch import compare_with_datasketch  # isort: skip
from main_job import options_of, unpacked  # isort: skip
from peers import run_peers  # isort: skip
from processes import Ran, expect, run  # isort: skip
from speed_tables import print_figures  # isort: skip
from stages import least, time_stages  # isort: skip

_HERE = Path(__file__).parent
_EXAMPLES = _HERE.parent / "examples" / "articles"
_PALIMPSEST = Path(sys.executable).with_name("palimpsest")
_WORKERS = 2
_SMALL_BATCH_BYTES = 4 * 2**20


@dataclass
class Bench:
    """State that the parts share.

    Attributes:
        files: of the corpus, in the order of their names.
        jobs: main jobs on the whole corpus that have been measured, by workers and batch bytes.
    """

    corpus: Path
    scratch: Path
    options: argparse.Namespace
    files: list[str]
    jobs: dict[tuple[int, int | None], dict[str, Any]] = field(default_factory=dict)
    _started: int = 0

    def whole_job(self, workers: int, batch_bytes: int | None = None) -> dict[str, Any]:
        """Return the main job on the whole corpus, the best of several rounds, measured once."""
        key = workers, batch_bytes
        if key not in self.jobs:
            rounds = 1 if batch_bytes else self.options.rounds  # otherwise only the tables matter
            jobs = [self.job(self.files, workers, batch_bytes) for _ in range(rounds)]
            self.jobs[key] = min(jobs, key=lambda job: job["seconds"])
        return self.jobs[key]

    def job(
        self,
        files: list[str],
        workers: int,
        batch_bytes: int | None = None,
        memory: str | None = None,
    ) -> dict[str, Any]:
        """Run a main job as a process of its own, without Prefect; return its measures."""
        self._started += 1
        archive = self.scratch / f"archive-{self._started}"
        sources = self.scratch / f"sources-{self._started}.json"
        sources.write_text(json.dumps(files), encoding="utf-8")
        command = [sys.executable, _HERE / "job.py", sources, archive, "--workers", workers]
        command += ["--batch-bytes", batch_bytes] if batch_bytes else []
        environment = {}
        if memory:  # as commands with --memory do
            command += ["--memory", memory]
            environment["ARROW_DEFAULT_MEMORY_POOL"] = "system"
        ran = expect(run(command, environment))
        report = json.loads(ran.output)
        summary = report["summary"]
        megabytes, steps = summary["bytes_read"] / 1e6, report["steps"]
        start = dict.fromkeys(steps["rest"], 0.0)
        start["seconds"] = ran.seconds - summary["seconds"]
        start["cpu_seconds"] = ran.cpu_seconds - sum(one["cpu_seconds"] for one in steps.values())
        return {
            "workers": workers,
            "portions": summary["portions"],
            "articles": len(files),
            "megabytes": megabytes,
            "seconds": ran.seconds,
            "seconds_of_run": summary["seconds"],
            "cpu_seconds": ran.cpu_seconds,
            "mb_per_second": megabytes / ran.seconds,
            "peak_mb": max(report["peak_mb"], ran.peak_mb),
            "anonymous_mb": ran.anonymous_mb,
            "with_forks_mb": ran.with_children_mb,
            "others": ran.others,
            "paragraphs": summary["paragraphs_seen"],
            "kept": summary["paragraphs_kept"],
            "candidates": summary["candidates"],
            "overlaps": summary["overlaps_found"],
            "steps": {"start, imports, end": start, **steps},
            "archive": str(archive),
        }

    def ingest(self, sources: Path, *options: str) -> Ran:
        """Run ``palimpsest ingest`` into a new archive; return its measures."""
        self._started += 1
        archive = self.scratch / f"archive-{self._started}"
        command = [_PALIMPSEST, "ingest", sources, "--archive", archive, *options]
        ran = run(command, {"PALIMPSEST_STATE": str(self.scratch / "state")})
        shutil.rmtree(archive.with_name(f".{archive.name}.store"), ignore_errors=True)
        return expect(ran, 0, 1)


def measure_steps(bench: Bench) -> list[dict[str, Any]]:
    """Return the main job with one worker and with two."""
    return [bench.whole_job(workers) for workers in (1, _WORKERS)]


def measure_prefect(bench: Bench) -> dict[str, Any]:
    """Return the best runs of the job and of a small one, with and without Prefect."""
    bench.ingest(_EXAMPLES)  # Prefect creates its database on its first start: not measured
    figures = {}
    for name, sources, rounds in (
        ("corpus", bench.corpus, bench.options.rounds),
        ("examples", _EXAMPLES, 3),
    ):
        without, with_it = [], []
        for _ in range(rounds):
            without.append(bench.ingest(sources, "--no-prefect"))
            with_it.append(bench.ingest(sources))
        kinds = {"without": without, "with": with_it}
        figures[name] = {
            kind: {
                "seconds": min(one.seconds for one in ran),
                "cpu_seconds": min(one.cpu_seconds for one in ran),
                "peak_mb": max(one.peak_mb for one in ran),
                "anonymous_mb": max(one.anonymous_mb for one in ran),
                "others": median(one.others for one in ran),
            }
            for kind, ran in kinds.items()
        }
    return figures


def measure_startup(_: Bench) -> dict[str, float]:
    """Return the median seconds of two small commands, in five runs each."""
    pair = (
        _EXAMPLES / "tarn-wire" / "2024-11-12-lantern-bridge-closed.txt",
        _EXAMPLES / "long-quay-review" / "2024-11-15-a-bridge-is-a-promise.txt",
    )
    commands: dict[str, list[Any]] = {"--help": ["--help"], "compare A B": ["compare", *pair]}
    return {
        f"palimpsest {name}": median(
            expect(run([_PALIMPSEST, *arguments])).seconds for _ in range(5)
        )
        for name, arguments in commands.items()
    }


def measure_floors(bench: Bench) -> dict[str, Any]:
    """Return finer stages of a sample, the distance of each from its floor, and its weight.

    A stage's share is its time for each MB, by the MB of the corpus, of the CPU time of the main
    job with one worker. Pairs do not grow with the bytes alone: there the step's own CPU time is
    taken, as it is of what writes, in several threads.
    """
    megabytes, timed = time_stages(bench.files[: bench.options.sample], bench.options.repeats)
    whole = bench.whole_job(1)
    rows = []
    for one in timed:
        spent = one.seconds / megabytes * whole["megabytes"]
        if one.step in whole["steps"]:
            spent = whole["steps"][one.step]["cpu_seconds"]
        share = spent / whole["cpu_seconds"]
        floor = one.floor_seconds
        distance = one.seconds / floor if floor else None
        rows.append(
            {
                "stage": one.name,
                "mb_per_second": megabytes / one.seconds,
                "floor_mb_per_second": megabytes / floor if floor else None,
                "floor": one.floor,
                "distance": distance,
                "share": share,
                "distance_times_share": distance * share if distance else None,
            }
        )
    rows.sort(key=lambda row: -(row["distance_times_share"] or 0.0))
    articles = min(bench.options.sample, len(bench.files))
    return {"articles": articles, "megabytes": megabytes, "stages": rows}


def measure_signatures(bench: Bench) -> list[dict[str, Any]]:
    """Return the speed of the project's kernel and of datasketch."""
    return compare_with_datasketch(bench.files[: bench.options.sample], 9)


def measure_peers(bench: Bench) -> dict[str, Any]:
    """Return other tools and the main job on the same articles, as processes; and on all."""
    files = bench.files[: bench.options.peers_sample]
    sample = bench.scratch / "sample"
    for file in files:
        target = sample / Path(file).relative_to(bench.corpus)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
    ours = bench.job([str(sample)], _WORKERS)
    whole = bench.whole_job(_WORKERS)
    rows = run_peers(sample, bench.options.peers_folder, bench.options.peers_seconds)
    for row in rows:
        if "seconds" in row:
            row["mb_per_second"] = speed = ours["megabytes"] / row["seconds"]
            row["ratio_same"] = ours["mb_per_second"] / speed
            row["ratio_whole"] = whole["mb_per_second"] / speed
    ours["articles"] = len(files)
    return {"ours_same": ours, "ours_whole": whole, "peers": rows}


def measure_slope(bench: Bench) -> list[dict[str, Any]]:
    """Return the main job on a tenth of the articles, three tenths, and all; the best rounds."""
    again = range(bench.options.rounds)
    sizes = [max(1, len(bench.files) * tenths // 10) for tenths in (1, 3, 10)]
    rounds = [[bench.job(bench.files[:size], _WORKERS) for size in sizes] for _ in again]
    best = [min(ran, key=lambda job: job["seconds_of_run"]) for ran in zip(*rounds, strict=True)]
    for job in best:
        job["ratio_of_run"] = job["seconds_of_run"] / best[0]["seconds_of_run"]
        job["ratio"] = job["seconds"] / best[0]["seconds"]
    return best


def measure_memory(bench: Bench) -> list[dict[str, Any]]:
    """Return the main job on a tenth of the articles and on all, by memory limit."""
    tenth = bench.files[: max(1, len(bench.files) // 10)]
    rows = []
    for memory in ("512MB", "1GB"):
        for files in (tenth, bench.files):
            job = bench.job(files, _WORKERS, memory=memory)
            digest = digest_archive(StoredArchive(job["archive"]).snapshot())
            rows.append(job | {"memory": memory, "digest": digest})
    return rows


def measure_digest(bench: Bench) -> list[dict[str, Any]]:
    """Return the digests of the tables, by workers and batch bytes."""
    return [
        {
            "workers": workers,
            "batch_bytes": batch_bytes or "default",
            "digest": digest_archive(
                StoredArchive(bench.whole_job(workers, batch_bytes)["archive"]).snapshot()
            ),
        }
        for workers, batch_bytes in ((1, None), (_WORKERS, None), (_WORKERS, _SMALL_BATCH_BYTES))
    ]


_PARTS: dict[str, Callable[[Bench], Any]] = {
    "steps": measure_steps,
    "prefect": measure_prefect,
    "startup": measure_startup,
    "floors": measure_floors,
    "signatures": measure_signatures,
    "peers": measure_peers,
    "slope": measure_slope,
    "memory": measure_memory,
    "digest": measure_digest,
}


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(_PARTS), help="parts to measure, by commas")
    parser.add_argument(
        "--rounds", type=int, default=2, help="rounds of main jobs; the best one counts"
    )
    parser.add_argument(
        "--sample", type=int, default=3000, help="number of articles for finer stages"
    )
    parser.add_argument("--repeats", type=int, default=5, help="repeats of finer stages")
    parser.add_argument(
        "--peers-sample", type=int, default=1000, help="number of articles for other tools"
    )
    parser.add_argument("--peers-seconds", type=float, default=900, help="time limit of one tool")
    parser.add_argument(
        "--peers-folder",
        type=Path,
        default=Path.home() / ".cache" / "palimpsest-peers",
        help="folder of the environments of other tools",
    )
    options = options_of(parser)
    asked = options.only.split(",")
    if unknown := [name for name in asked if name not in _PARTS]:
        parser.error(f"--only: {', '.join(unknown)}; expected some of {', '.join(_PARTS)}")
    expect(run([_PALIMPSEST, "compile"]))
    figures: dict[str, Any] = {"machine": _machine()}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        with unpacked(options.corpus, scratch) as corpus:
            files = sorted(str(path) for path in corpus.rglob("*") if path.is_file())
            bench = Bench(corpus, scratch, options, files)
            for part, measure in _PARTS.items():
                if part in asked:
                    print(f"{part} ...", file=sys.stderr, flush=True)
                    figures[part] = measure(bench)
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        print_figures(figures)
    are_equal = all(row["are_equal"] for row in figures.get("signatures", ()))
    whole = [row for row in figures.get("memory", ()) if row["articles"] == len(files)]
    digests = {row["digest"] for row in [*whole, *figures.get("digest", ())]}
    return 0 if are_equal and len(digests) <= 1 else 1


def _machine() -> dict[str, Any]:
    """Return what the figures depend on.

    A virtual machine may have to request memory that has not been used for a while, which can take
    thirty times as long as reusing memory that was freed just now.
    """
    touch = partial(bare.touch, 10**9)
    [first], [again] = least(1, touch), least(3, touch)
    return {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "a GB touched, s": f"{first:.2f}, again {again:.2f}",
    }


if __name__ == "__main__":
    sys.exit(main())
