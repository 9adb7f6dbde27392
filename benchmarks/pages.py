"""Measure articles of web pages: against gold, by anchors, and against trafilatura alone.

    python benchmarks/pages.py FOLDER-OR-TAR [--workers N] [--rounds N] [--json]

The corpus has ``html/ID.html.gz``, ``ground-truth.json`` with the article of each page, and
``score.py``, which scores a prediction. Pages are ingested and the archive is verified; then their
reading (files to paragraphs with anchors, languages and digests) and trafilatura alone (files to
text with metadata, by the same number of processes) take turns, and the ratio is computed for each
turn. Prints the figures; exits 1 if one is below its floor.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from main_job import options_of, unpacked  # isort: skip
from trafilatura import bare_extraction

from palimpsest.ingest.batch import read_batch
from palimpsest.ingest.finding.discover import discover
from palimpsest.ingest.pages.extract_pool import Extractors
from palimpsest.pipeline.run import run_ingest
from palimpsest.pipeline.verify import verify
from palimpsest.records.settings import ReadSettings, Settings
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.views import connect

FLOORS = {"F1 against trafilatura": -0.005, "paragraphs anchored": 0.97, "speed": 0.95}
_BATCHES = 6


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=9)
    options = options_of(parser)
    with tempfile.TemporaryDirectory() as name, unpacked(options.corpus, Path(name)) as corpus:
        figures = measure(corpus, Path(name), options)
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        for what, value in figures.items():
            print(f"{what:36} {value}")
    return int(any(figures[name] < floor for name, floor in FLOORS.items()))


def measure(corpus: Path, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    pages = scratch / "pages"
    pages.mkdir()
    [html] = corpus.rglob("html")
    for packed in html.glob("*.html.gz"):
        (pages / packed.name.removesuffix(".gz")).write_bytes(gzip.decompress(packed.read_bytes()))
    score = _scorer(html.parent / "score.py")
    run_ingest([str(pages)], scratch / "archive", Settings())
    archive = StoredArchive(scratch / "archive")
    snapshot = archive.snapshot()
    ours = score(_texts(snapshot))
    with (
        ProcessPoolExecutor(options.workers) as pool,
        Extractors(options.workers, 60.0) as extractors,
    ):
        theirs = score(_alone(pages, pool)[1])
        _read(pages, extractors, options.workers)  # both have read each page once
        seconds = [
            (_read(pages, extractors, options.workers), _alone(pages, pool)[0])
            for _ in range(options.rounds)
        ]
    [run] = snapshot.read("runs").to_pylist()
    spans = next(check for check in verify(archive, snapshot).checks if check.name == "spans")
    anchored = run["paragraphs_seen"] - run["paragraphs_unanchored"]
    return {
        "pages": len(list(pages.iterdir())),
        "MB": round(sum(path.stat().st_size for path in pages.iterdir()) / 1e6, 1),
        "pages refused": run["sources_rejected"],
        "F1": round(ours["f1"], 4),
        "F1 of trafilatura alone": round(theirs["f1"], 4),
        "F1 against trafilatura": round(ours["f1"] - theirs["f1"], 4),
        "paragraphs": run["paragraphs_seen"],
        "paragraphs anchored": round(anchored / run["paragraphs_seen"], 4),
        "anchors verified": spans.passed,
        "anchors that failed": spans.failed,
        "workers": options.workers,
        "seconds (median)": round(statistics.median(mine for mine, _ in seconds), 2),
        "seconds of trafilatura (median)": round(
            statistics.median(theirs for _, theirs in seconds), 2
        ),
        "speed": round(statistics.median(alone / mine for mine, alone in seconds), 3),
        "speed, by turn": sorted(round(alone / mine, 2) for mine, alone in seconds),
    }


def _scorer(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("score", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: there is no scorer")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.score


def _texts(snapshot: Snapshot) -> dict[str, str]:
    """Return the text of each page by name, rebuilt from the tables."""
    found: dict[str, list[str]] = defaultdict(list)
    with connect(snapshot) as connection:
        rows = connection.sql("""
            SELECT s.uri, f.text FROM occurrences o JOIN folds f USING (text_id)
            JOIN sources s USING (document_id) ORDER BY s.uri, o.ordinal
        """).fetchall()
    for uri, text in rows:
        found[Path(uri).stem].append(text)
    return {name: "\n\n".join(texts) for name, texts in found.items()}


def _read(pages: Path, extractors: Extractors, workers: int) -> float:
    """Return the seconds that reading takes, in batches and threads as in a run."""
    files = discover([str(pages)]).files
    batches = [files[first::_BATCHES] for first in range(_BATCHES)]
    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as threads:
        for _ in threads.map(lambda one: read_batch(one, ReadSettings(), extractors), batches):
            pass
    return time.perf_counter() - began


def _alone(pages: Path, pool: Executor) -> tuple[float, dict[str, str]]:
    """Return the seconds that trafilatura takes, and the texts."""
    paths = sorted(pages.iterdir())
    began = time.perf_counter()
    texts = dict(pool.map(_extract, paths))
    return time.perf_counter() - began, texts


def _extract(path: Path) -> tuple[str, str]:
    found: Any = bare_extraction(path.read_bytes(), include_comments=False, with_metadata=True)
    return path.stem, found.text if found is not None else ""


if __name__ == "__main__":
    sys.exit(main())
