"""Measure the main job, from raw files to a committed archive: speed, memory, invariants.

    python benchmarks/main_job.py FOLDER-OR-TAR [--workers N] [--no-prefect] [--json]

Runs ``palimpsest ingest`` as a process of its own and samples its memory and that of its children.
Then checks conservation, rebuilds every document's text from the tables and compares digests, and
checks that every pair of articles with the same body was found. Prints the figures; exits 1 if a
check fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from palimpsest.ingest.finding.discover import uri_of
from palimpsest.ingest.text.decode import decode
from palimpsest.records.errors import SourceError
from palimpsest.records.schemas import PARAGRAPH_SEPARATOR
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.views import connect

from processes import Ran, expect, run  # isort: skip

HEADER = "-- "
"""Lines at the top of a newswire file with this beginning are its header, not its body."""


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-prefect", action="store_true")
    options = options_of(parser)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        with unpacked(options.corpus, scratch) as corpus:
            figures = measure(corpus, scratch, options)
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        for name, value in figures.items():
            print(f"{name:32} {value}")
    return 0 if all(figures[name] in (0, True) for name in figures if name.endswith("?")) else 1


def options_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return a benchmark's options, with ``corpus`` and ``json``; exit if there is no corpus."""
    parser.add_argument("corpus", type=Path, help="folder of the corpus, or a tar of one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.corpus.exists():
        print(f"{options.corpus}: no such corpus; nothing was measured")
        sys.exit(0)
    return options


@contextmanager
def unpacked(corpus: Path, scratch: Path) -> Iterator[Path]:
    """Yield the corpus as a folder."""
    if corpus.is_dir():
        yield corpus
        return
    target = scratch / "corpus"
    with tarfile.open(corpus) as archive:
        archive.extractall(target, filter="data")
    yield target


def measure(corpus: Path, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run the main job, twice, and check what came out of it."""
    archive = scratch / "archive"
    command = [str(Path(sys.executable).with_name("palimpsest")), "ingest", str(corpus)]
    command += ["--archive", str(archive), "--json", "--workers", str(options.workers)]
    command += ["--no-prefect" if options.no_prefect else "--prefect"]
    environment = {**os.environ, "PALIMPSEST_STATE": str(scratch / "state")}
    warm = [str(scratch / "warm.txt"), "--archive", str(scratch / "warm")]
    Path(warm[0]).write_text("Prefect makes its database at its first start: not measured.")
    warm = [command[0], "ingest", "--prefect", *warm]
    subprocess.run(warm, env=environment, check=True, capture_output=True)

    summary, ran = ingested(command, environment)
    again, ran_again = ingested(command, environment)
    snapshot = StoredArchive(archive).snapshot()
    megabytes = summary["bytes_read"] / 1e6
    balance = summary["sources_new"] + summary["sources_known"] + summary["sources_rejected"]
    missed, bodies = missed_pairs(corpus, snapshot)
    return {
        "sources": summary["sources_found"],
        "megabytes": round(megabytes, 1),
        "seconds of the run": round(summary["seconds"], 1),
        "MB/s of the run": round(summary["megabytes_per_second"], 2),
        "seconds of the process": round(ran.seconds, 1),
        "MB/s of the process": round(megabytes / ran.seconds, 2),
        "peak memory MB": round(ran.peak_mb),
        "peak memory MB with server": round(ran.with_children_mb),
        "seconds of a second run": round(ran_again.seconds, 1),
        "second run commits?": again["version"] is not None,
        "paragraphs seen": summary["paragraphs_seen"],
        "paragraphs kept": summary["paragraphs_kept"],
        "paragraphs folded": summary["paragraphs_folded"],
        "passages": summary["overlaps_found"],
        "archive megabytes": round(snapshot.size_bytes() / 1e6, 1),
        "sources unaccounted for?": summary["sources_found"] - balance,
        "documents not rebuilt?": documents_not_rebuilt(snapshot),
        "pairs with the same body": bodies,
        "of these missed?": missed,
    }


def ingested(command: list[str], environment: dict[str, str]) -> tuple[dict[str, Any], Ran]:
    """Return the summary of an ingest, and the measures of its process."""
    ran = expect(run(command, environment), 0, 1)
    return json.loads(ran.output), ran


def documents_not_rebuilt(snapshot: Snapshot) -> int:
    """Return the number of documents whose text, rebuilt from the tables, has another digest."""
    wrong = 0
    with connect(snapshot) as connection:
        rows = connection.sql(
            """SELECT document_id, any_value(d.text_sha256) AS text_sha256,
                   string_agg(f.text, $separator ORDER BY o.ordinal) AS text
               FROM occurrences o JOIN folds f USING (text_id) JOIN documents d USING (document_id)
               GROUP BY document_id""",
            params={"separator": PARAGRAPH_SEPARATOR},
        ).to_arrow_table()
    for batch in rows.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            wrong += hashlib.sha256(row["text"].encode()).hexdigest() != row["text_sha256"]
    return wrong + snapshot.rows("documents") - rows.num_rows


def missed_pairs(corpus: Path, snapshot: Snapshot) -> tuple[int, int]:
    """Return how many pairs of articles with the same body share no passage, and all such pairs.

    The body is the text below the header, whitespace folded. Articles are found in the archive by
    their URI; articles with the same bytes are one document and count as found.
    """
    by_body: dict[bytes, list[str]] = defaultdict(list)
    for path in sorted(corpus.rglob("*")):
        body = body_of(path) if path.is_file() else ""
        if len(body.split()) >= 5:
            by_body[hashlib.sha256(body.encode()).digest()].append(uri_of(str(path)))
    pairs = [(a, b) for uris in by_body.values() for k, a in enumerate(uris) for b in uris[k + 1 :]]
    wanted = pa.table({"a": [a for a, _ in pairs], "b": [b for _, b in pairs]})
    with connect(snapshot) as connection:
        connection.register("wanted", wanted)
        connection.execute(
            """CREATE TEMP TABLE ids AS SELECT l.document_id AS a, r.document_id AS b
               FROM wanted w JOIN sources l ON l.uri = w.a JOIN sources r ON r.uri = w.b"""
        )
        joined = count(connection, "FROM ids")
        unshared = count(
            connection,
            """FROM ids WHERE a <> b AND (least(a, b), greatest(a, b)) NOT IN (
                   SELECT (least(left_document_id, right_document_id),
                           greatest(left_document_id, right_document_id)) FROM passages)""",
        )
    return unshared + len(pairs) - joined, len(pairs)


def count(connection: Any, what: str) -> int:
    """Return the number of rows of a query."""
    return int(connection.execute(f"SELECT count(*) FROM ({what})").fetchone()[0])


def body_of(path: Path) -> str:
    """Return an article below its header, whitespace folded; empty if it cannot be read."""
    try:
        text = decode(path.read_bytes()).utf8.decode() if path.stat().st_size else ""
    except SourceError:
        return ""
    lines = text.splitlines()
    first = next((k for k, line in enumerate(lines) if not line.startswith(HEADER)), len(lines))
    return " ".join(" ".join(lines[first:]).split())


if __name__ == "__main__":
    sys.exit(main())
