"""Measure the pages of ``palimpsest inspect``: how long each takes, and the server's memory.

    python benchmarks/served.py ARCHIVE [--each 30] [--seed 1] [--json]

Starts the server as a process of its own, lets it build its catalogue in a new state folder, and
requests pages of randomly chosen documents, pairs and paragraphs, in shuffled order, each for the
first time. Prints the median and the slowest of each kind of page, in milliseconds, and the peak
memory of the server.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen

from palimpsest.inspector.catalogue.read import ORDERS

from processes import memory_of  # isort: skip

_ORDERS = [name for name in ORDERS if name != "relevance"]


class Server(NamedTuple):
    """A server that shows an archive."""

    process: subprocess.Popen[str]
    address: str
    seconds: float

    def ask(self, path: str) -> tuple[float, bytes]:
        """Return the seconds that a page takes, and its content."""
        started = time.perf_counter()
        with urlopen(self.address + path, timeout=120) as answer:
            content = answer.read()
        return time.perf_counter() - started, content

    def json_of(self, path: str) -> Any:
        """Return the content of the JSON twin of a page."""
        return json.loads(self.ask(path)[1])

    def peak_mb(self) -> float:
        """Return the peak memory of the server so far."""
        return memory_of(self.process.pid)["VmHWM"]


@contextmanager
def served(archive: Path, state: Path) -> Iterator[Server]:
    """Yield a server once it shows the archive."""
    started = time.perf_counter()
    command = [str(Path(sys.executable).with_name("palimpsest")), "inspect", str(archive)]
    with subprocess.Popen(
        [*command, "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PALIMPSEST_STATE": str(state), "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout
        try:
            for line in process.stdout:
                if found := re.search(r"is shown at (http://\S+)", line):
                    break
            else:
                raise SystemExit(f"{archive}: palimpsest inspect ended and showed nothing")
            yield Server(process, found[1], time.perf_counter() - started)
        finally:
            process.send_signal(signal.SIGINT)


def addresses(server: Server, each: int, chance: random.Random) -> dict[str, list[str]]:
    """Return addresses of each kind of page, for randomly chosen documents and texts."""
    pages = server.json_of("documents.json")["pages"]
    documents: list[dict[str, Any]] = []
    for number in chance.sample(range(1, pages + 1), min(pages, each)):
        rows = server.json_of(f"documents.json?page={number}")["documents"]
        documents.append(chance.choice(rows))
    documents += server.json_of("documents.json?order=reuse")["documents"][:5]
    asked: dict[str, list[str]] = defaultdict(list)
    asked["overview"] = [""] * 5
    asked["rejects"] = ["rejects"] * 5
    for row in documents:
        one = row["document_id"]
        document = server.json_of(f"documents/{one}.json")
        texts = [paragraph["text_id"] for paragraph in document["paragraphs"]]
        shown = " ".join(piece["text"] for piece in row["snippet"])
        words = re.findall(r"\w{4,}", shown) or ["nothing"]
        asked["documents"].append(
            "documents?" + urlencode({"words": " ".join(chance.sample(words, min(2, len(words))))})
        )
        order = chance.choice(_ORDERS)
        query = {"order": order, "page": chance.randint(1, min(pages, 99))}
        asked["documents, sorted"].append(f"documents?{urlencode(query)}")
        asked["document"].append(f"documents/{one}")
        asked["document, as JSON"].append(f"documents/{one}.json")
        asked["bytes"].append(f"documents/{one}/bytes/{chance.randrange(len(texts))}")
        asked["paragraph"].append(f"paragraphs/{chance.choice(texts)}")
        if document["partners"]:
            other = chance.choice(document["partners"])["document_id"]
            asked["compare"].append(f"compare/{one}/{other}")
            asked["explain"].append(f"explain/documents/{one}/{other}")
    overview = server.json_of("index.json")
    for row in [*overview["reused"], *overview["formulas"]]:
        asked["paragraph, most reused"].append(f"paragraphs/{row['text_id']}")
    return asked


def measure(archive: Path, each: int, seed: int) -> dict[str, Any]:
    """Return the figures of an archive's pages."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        with served(archive, state) as first:
            making, asked = first.seconds, addresses(first, each, chance)
        order = [(kind, path) for kind, paths in asked.items() for path in paths]
        chance.shuffle(order)
        with served(archive, state) as server:  # that has served none of these
            took = defaultdict(list)
            for kind, path in order:
                took[kind].append(server.ask(path)[0] * 1000)
            peak = server.peak_mb()
            again = server.seconds
        size = sum(path.stat().st_size for path in state.rglob("*") if path.is_file())
    kinds = {
        kind: {
            "pages": len(took[kind]),
            "median_ms": median(took[kind]),
            "most_ms": max(took[kind]),
        }
        for kind in asked
    }
    figures = {"first_start_s": making, "later_start_s": again}
    return {"kinds": kinds, **figures, "catalogue_mb": size / 1e6, "server_mb": peak}


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path, help="folder of the archive")
    parser.add_argument("--each", type=int, default=30, help="number of documents")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.archive.exists():
        print(f"{options.archive}: no such archive; create one with: palimpsest ingest")
        return 0
    figures = measure(options.archive, options.each, options.seed)
    if options.json:
        print(json.dumps(figures, indent=1))
        return 0
    print(f"{'page':24}{'asked':>8}{'median':>10}{'slowest':>10}")
    for kind, one in figures.pop("kinds").items():
        print(f"{kind:24}{one['pages']:8}{one['median_ms']:7.0f} ms{one['most_ms']:7.0f} ms")
    for name, value in figures.items():
        print(f"{name:24}{value:8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
