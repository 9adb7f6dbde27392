"""Measure how many of the runs of equal words that articles share are found, by brute force.

    python benchmarks/shared_runs.py FOLDER [--per-length 200] [--seed 1] [--most-articles 12]

FOLDER contains articles as text files, some thousand of them, which are ingested as they are, at
the default level. Every run of eight equal words is looked up in all other articles, and each is
extended as far as both go on alike: these are all natural shared runs, so none is missed. A run is
found if a passage that `palimpsest passages` lists, clear or not, covers at least half of its words
on the left side. Runs that are in more than ``--most-articles`` articles are stock phrases and do
not count, and neither do those that touch a line beginning with `--`.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from palimpsest.evidence.passages import document_pairs, passages_of
from palimpsest.pipeline.run import run_ingest
from palimpsest.records.settings import parse_settings
from palimpsest.store.archive import Snapshot, StoredArchive

LEAST = 8
LENGTHS = (8, 10, 12, 15, 20, 30)
"""Lower bounds of the classes of runs, in words; longer runs are in the last."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class Run(NamedTuple):
    """A shared run: the names of both articles, and the words."""

    one: str
    other: str
    words: tuple[str, ...]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-length", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most-articles", type=int, default=12, metavar="N")
    given = parser.parse_args()
    runs = shared_runs(given.folder, given.most_articles)
    chance = random.Random(given.seed)
    chosen = []
    for number, least in enumerate(LENGTHS):
        mine = [run for run in runs if _class_of(run) == number]
        chosen += chance.sample(mine, min(given.per_length, len(mine)))
        print(f"{least:3} words and more: {len(mine)} shared runs")
    with tempfile.TemporaryDirectory() as name:
        run_ingest([str(given.folder)], Path(name) / "archive", parse_settings({}))
        found = find(StoredArchive(Path(name) / "archive").snapshot(), chosen)
    for number, least in enumerate(LENGTHS):
        mine = [run for run in chosen if _class_of(run) == number]
        share = sum(run in found for run in mine) / max(1, len(mine))
        print(f"{least:3} words and more: {share:.2f} of {len(mine)} found")
    return 0


def _class_of(run: Run) -> int:
    return sum(len(run.words) >= least for least in LENGTHS) - 1


def shared_runs(folder: Path, most_articles: int) -> list[Run]:
    """Return all runs of at least eight equal words that two articles share."""
    articles = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        lines = path.read_bytes().decode("utf-8", "replace").splitlines()
        body = " ".join("|" if line.startswith("--") else line for line in lines)
        articles[path.name] = tuple(_WORD.findall(body.casefold()))
    places: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for name, words in articles.items():
        for at in range(len(words) - LEAST + 1):
            places[words[at : at + LEAST]].append((name, at))
    runs = set()
    for spots in places.values():
        if len(spots) < 2 or len({name for name, _ in spots}) > most_articles:
            continue
        for k, (one, i) in enumerate(spots):
            for other, j in spots[k + 1 :]:
                a, b = articles[one], articles[other]
                if one == other or (i > 0 and j > 0 and a[i - 1] == b[j - 1]):
                    continue
                size = LEAST
                while i + size < len(a) and j + size < len(b) and a[i + size] == b[j + size]:
                    size += 1
                runs.add(Run(one, other, a[i : i + size]))
    return sorted(runs)


def find(snapshot: Snapshot, runs: list[Run]) -> set[Run]:
    """Return the runs that listed passages cover."""
    sources = snapshot.read("sources", ["document_id", "uri"]).to_pylist()
    ids = {row["uri"].rpartition("/")[2]: row["document_id"] for row in sources}
    pairs = document_pairs(snapshot)
    met = set(zip(pairs["one"].to_pylist(), pairs["other"].to_pylist(), strict=True))
    sides = {run: tuple(sorted((ids[run.one], ids[run.other]))) for run in runs}
    same = {run for run in runs if len(set(sides[run])) == 1}  # one document under two names
    wanted = sorted({sides[run] for run in runs} & met)
    table = pa.table({"one": [one for one, _ in wanted], "other": [other for _, other in wanted]})
    passages: dict[tuple[Any, ...], list[tuple[str, ...]]] = defaultdict(list)
    for part in passages_of(snapshot, table):
        for row in part.to_pylist():
            key = tuple(sorted((row["left_document_id"], row["right_document_id"])))
            passages[key].append(tuple(_WORD.findall(row["left_passage"].casefold())))
    return same | {run for run in runs if any(_covers(one, run) for one in passages[sides[run]])}


def _covers(passage: tuple[str, ...], run: Run) -> bool:
    """Return whether a passage contains half of a run, in one piece."""
    half = -(-len(run.words) // 2)
    pieces = {run.words[at : at + half] for at in range(len(run.words) - half + 1)}
    return any(passage[at : at + half] in pieces for at in range(len(passage) - half + 1))


if __name__ == "__main__":
    sys.exit(main())
