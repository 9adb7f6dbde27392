"""Measure passages against a corpus with gold: plagdet, recall, precision, granularity.

    python benchmarks/passages.py FOLDER-OR-TAR [--levels LEVEL ...] [--check] [--json]

The corpus is PAN 2013 text alignment: `train/src`, `train/susp`, `train/pairs.jsonl`,
`train/gold.jsonl` and `score.py`. All documents are ingested as one archive, which has to find the
pairs itself. The passages of the listed pairs that `palimpsest passages --clear --output` writes
are scored.
The corpus is split by the number of the suspicious document: settings were chosen on the even half.
`--check` exits with 1 if a figure is below its floor in `floors.json`.

Measures: Potthast et al., An evaluation framework for plagiarism detection, COLING 2010.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
import tempfile
import time
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from palimpsest.dedup.index.segments import size_bytes
from palimpsest.evidence.passages import PassageFilter
from palimpsest.exports.passages import write_passages
from palimpsest.pipeline.run import run_ingest
from palimpsest.pipeline.warm_up import warm_up
from palimpsest.records.settings import SENSITIVITIES, parse_settings
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.views import connect

from main_job import options_of, unpacked  # isort: skip

FLOORS = Path(__file__).with_name("floors.json")
NAMES = {
    "01-no-plagiarism": "none",
    "02-no-obfuscation": "verbatim",
    "03-random-obfuscation": "shuffled",
    "04-translation-obfuscation": "translated",
    "05-summary-obfuscation": "summarised",
}


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--levels", nargs="+", choices=list(SENSITIVITIES), default=None)
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a figure is below its floor"
    )
    options = options_of(parser)
    warm_up()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        with unpacked(options.corpus, scratch) as folder:
            corpus = Corpus(next(folder.rglob("score.py")).parent)
            levels = options.levels or list(SENSITIVITIES)
            figures = {level: measure(corpus, scratch, level) for level in levels}
            digest = corpus.digest()
    if options.json:
        print(json.dumps({"corpus": digest, "levels": figures}, indent=1))
    else:
        print(f"corpus {digest}")
        for level, found in figures.items():
            print(table_of(level, found))
    wrong = below(figures, digest) if options.check else []
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


class Corpus:
    """Documents, listed pairs and gold, with the corpus's own scorer."""

    def __init__(self, folder: Path) -> None:
        spec = importlib.util.spec_from_file_location("corpus_score", folder / "score.py")
        assert spec is not None
        assert spec.loader is not None
        self.scorer = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.scorer)
        self.train = folder / "train"
        pairs = self.scorer.load(self.train / "pairs.jsonl")
        self.category = {(one["doc_a"], one["doc_b"]): NAMES[one["category"]] for one in pairs}
        self.gold = [self.scorer.ann(one) for one in self.scorer.load(self.train / "gold.jsonl")]

    def digest(self) -> str:
        """Return a digest of all files of the corpus."""
        whole = hashlib.sha256()
        for path in sorted(self.train.rglob("*.*")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{path.relative_to(self.train)} {content}\n".encode())
        return whole.hexdigest()

    def listed(
        self, rows: list[dict[str, Any]], named: dict[str, list[str]]
    ) -> list[tuple[Any, ...]]:
        """Return passages of listed pairs as the scorer takes them, once for each pair of names.

        Args:
            rows: passages.
            named: the names by document_id; files of the same bytes are one document.
        """
        found = set()
        for row in rows:
            spans = {
                f"{end}_{letter}": row[f"{side}_{end}_char"]
                for side, letter in (("left", "a"), ("right", "b"))
                for end in ("start", "end")
            }
            sides = (named[row[f"{side}_document_id"]] for side in ("left", "right"))
            for left, right in product(*sides):
                passage = self.scorer.ann({"doc_a": left, "doc_b": right, **spans})
                if passage[:2] in self.category:
                    found.add(passage)
        return sorted(found)

    def score(self, found: list[tuple[Any, ...]], half: int | None = None) -> dict[str, Any]:
        """Return the measures over all categories and for each, of a half or of the whole."""
        cases = defaultdict(list, {"all": []})
        detections = defaultdict(list, {"all": []})
        pairs = {pair for pair in self.category if half is None or int(pair[0][-5:]) % 2 == half}
        for passages, kept in ((self.gold, cases), (found, detections)):
            for one in passages:
                if one[:2] in pairs:
                    kept["all"].append(one)
                    kept[self.category[one[:2]]].append(one)
        result = {}
        for name in ("all", *NAMES.values()):
            if name != "none":
                result[name] = self.scorer.measure(cases[name], detections[name])
        none = sum(self.category[pair] == "none" for pair in pairs)
        false = len({one[:2] for one in detections["none"]})
        result["none"] = {"pairs": none, "with_passages": false, "share": false / max(1, none)}
        return result

    def anchored(self, snapshot: Snapshot) -> dict[str, float]:
        """Return the share of gold passages that contain an overlap of texts, by category."""
        with connect(snapshot) as connection:
            rows = connection.sql("""
                SELECT left_document_id, right_document_id, left_start_char, left_end_char,
                    right_start_char, right_end_char
                FROM passages
            """)
            found = defaultdict(list)
            for one in self.listed(rows.to_arrow_table().to_pylist(), names_of(snapshot)):
                found[one[:2]].append(one)
        hit, total = defaultdict(int), defaultdict(int)
        for case in self.gold:
            name = self.category[case[:2]]
            total[name] += 1
            hit[name] += any(self.scorer.hits(case, one) for one in found[case[:2]])
        return {name: hit[name] / total[name] for name in total}


def names_of(snapshot: Snapshot) -> dict[str, list[str]]:
    """Return the names in the corpus of each document, by its id."""
    names = defaultdict(list)
    for row in snapshot.read("sources", ["document_id", "uri"]).to_pylist():
        names[row["document_id"]].append(row["uri"].rpartition("/")[2].removesuffix(".txt"))
    return names


def measure(corpus: Corpus, scratch: Path, level: str) -> dict[str, Any]:
    """Return the figures of one level."""
    place = scratch / level / "archive"
    place.parent.mkdir()
    settings = parse_settings({"sensitivity": level})
    sources = [str(corpus.train / name) for name in ("src", "susp")]
    summary = run_ingest(sources, place, settings)
    archive = StoredArchive(place)
    snapshot = archive.snapshot()
    written = scratch / level / "passages.parquet"
    started = time.perf_counter()
    count = write_passages(snapshot, written, PassageFilter(clear=True), settings.passages)
    seconds = time.perf_counter() - started
    names = [
        f"{side}_{name}"
        for side in ("left", "right")
        for name in ("document_id", "start_char", "end_char")
    ]
    rows = pq.read_table(written, columns=names).to_pylist()
    found = corpus.listed(rows, names_of(snapshot))
    return {
        "whole": corpus.score(found),
        "chosen_on": corpus.score(found, 0),
        "held_out": corpus.score(found, 1),
        "anchored": corpus.anchored(snapshot),
        "candidates": summary.candidates,
        "overlaps": summary.overlaps_found,
        "passages": count,
        "ingest_seconds": round(summary.seconds, 1),
        "ingest_mb_per_second": round(summary.megabytes_per_second, 2),
        "passages_seconds": round(seconds, 1),
        "index_mb": round(
            sum(size_bytes(archive.index / one) for one in snapshot.manifest.segments) / 1e6, 1
        ),
    }


def table_of(level: str, found: dict[str, Any]) -> str:
    """Return the figures of a level as a table."""
    lines = [f"\n{level}", f"{'':24}plagdet   recall  precis.  granul.  anchored"]
    for part in ("whole", "chosen_on", "held_out"):
        for name, row in found[part].items():
            if name == "none":
                share = f"{row['with_passages']} of {row['pairs']} pairs ({row['share']:.1%})"
                lines.append(f"{part:12}{name:12}passages in {share}")
                continue
            values = (row["plagdet"], row["recall"], row["precision"], row["granularity"])
            tail = f"{found['anchored'][name]:9.3f}" if name in found["anchored"] else ""
            lines.append(f"{part:12}{name:12}" + " ".join(f"{v:8.3f}" for v in values) + f" {tail}")
    lines += [
        f"{name:24}{value}" for name, value in found.items() if isinstance(value, int | float)
    ]
    return "\n".join(lines)


def below(figures: dict[str, Any], digest: str) -> list[str]:
    """Return a message for each figure that is below its floor."""
    floors = json.loads(FLOORS.read_text(encoding="utf-8"))
    if floors["corpus"] != digest:
        return [f"corpus {digest}: the floors are for {floors['corpus']}; they do not apply"]
    wrong = []
    for level, parts in floors["plagdet"].items():
        for name, floor in parts.items():
            value = figures.get(level, {}).get("whole", {}).get(name, {}).get("plagdet")
            if value is not None and value < floor:
                wrong.append(f"{level} {name}: plagdet {value:.4f} is below its floor {floor}")
    for level, ceiling in floors["share_of_pairs_without_reuse"].items():
        share = figures.get(level, {}).get("whole", {}).get("none", {}).get("share")
        if share is not None and share > ceiling:
            wrong.append(f"{level} none: passages in {share:.2%} of pairs; at most {ceiling:.2%}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
