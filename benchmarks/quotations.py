"""Measure how many isolated verbatim quotations are found, by their length.

    python benchmarks/quotations.py FOLDER [--per-length 100] [--seed 1] [--level LEVEL] [--json]

FOLDER contains articles as text files, some thousand of them. From a random article a run of N
consecutive words is copied into a random place of another one, which it shares nothing else with;
each article takes part once. All articles are ingested together, at the default level or the one
that `--level` names. A quotation is found if a passage that `palimpsest passages` lists covers at
least half of its words on the right side; clear or not, since short passages are rarely clear. For
*rare* quotations, eight words that occur in few of the articles are put into both.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from palimpsest.evidence.passages import document_pairs, passages_of
from palimpsest.pipeline.run import run_ingest
from palimpsest.records.settings import SENSITIVITIES, parse_settings
from palimpsest.store.archive import Snapshot, StoredArchive

LENGTHS = (8, 10, 12, 15, 20, 25, 30)
RARE = 0
"""The length that stands for eight rare words."""
RARE_WORDS, RARE_ARTICLES = 8, 20
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


class Planted(NamedTuple):
    """A quotation: its length, the names of both articles, and its words."""

    length: int
    source: str
    host: str
    words: str


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-length", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--level", choices=list(SENSITIVITIES), default="edited")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.folder, given.per_length, given.seed, given.level)
    if given.json:
        print(json.dumps(found))
    else:
        for length, row in found.items():
            name = f"{RARE_WORDS} rare words" if length == RARE else f"{length} words"
            share = row["found"] / max(1, row["planted"])
            print(f"{name:14}{row['found']:5} of {row['planted']:4}  {share:.2f}")
    return 0


def measure(folder: Path, per_length: int, seed: int, level: str) -> dict[int, dict[str, int]]:
    """Return how many quotations were planted and found, by length."""
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name) / "corpus"
        corpus.mkdir()
        planted = plant(folder, corpus, per_length, seed)
        archive = Path(name) / "archive"
        run_ingest([str(corpus)], archive, parse_settings({"sensitivity": level}))
        return count_found(StoredArchive(archive).snapshot(), planted)


def plant(folder: Path, corpus: Path, per_length: int, seed: int) -> list[Planted]:
    """Write the articles with quotations in them to ``corpus``; return the quotations."""
    chance = random.Random(seed)
    texts = {}
    for number, path in enumerate(sorted(one for one in folder.rglob("*") if one.is_file())):
        text = path.read_bytes().decode("utf-8", "replace")
        texts[f"{number:06d}.txt"] = text
    spread = Counter(word for text in texts.values() for word in set(_WORD.findall(text)))
    rare = sorted(word for word, count in spread.items() if 2 <= count <= RARE_ARTICLES)
    names = [name for name, text in texts.items() if _last_paragraph(text)]
    chance.shuffle(names)
    planted = []
    for length in (*LENGTHS, RARE):
        for _ in range(per_length):
            if len(names) < 2:
                break
            source, host = names.pop(), names.pop()
            if length == RARE:
                words = " ".join(chance.sample(rare, RARE_WORDS))
                texts[source] = _inserted(texts[source], words, chance)
            else:
                words = _run_of_words(_last_paragraph(texts[source]), length, chance)
            texts[host] = _inserted(texts[host], words, chance)
            planted.append(Planted(length, source, host, words))
    for name, text in texts.items():
        (corpus / name).write_text(text, encoding="utf-8")
    return planted


def _last_paragraph(text: str) -> str:
    """Return the last paragraph of at least 60 words, without header; "" if there is none."""
    paragraphs = [one for one in re.split(r"\n\s*\n", text) if len(one.split()) >= 60]
    return paragraphs[-1] if paragraphs else ""


def _run_of_words(paragraph: str, length: int, chance: random.Random) -> str:
    words = paragraph.split()
    at = chance.randrange(20, len(words) - length)
    return " ".join(words[at : at + length])


def _inserted(text: str, words: str, chance: random.Random) -> str:
    paragraph = _last_paragraph(text)
    into = paragraph.split(" ")
    at = chance.randrange(15, len(into) - 15)
    return text.replace(paragraph, " ".join([*into[:at], words, *into[at:]]))


def count_found(snapshot: Snapshot, planted: list[Planted]) -> dict[int, dict[str, int]]:
    """Return how many quotations were planted and are listed, by length."""
    sources = snapshot.read("sources", ["document_id", "uri"]).to_pylist()
    ids = {row["uri"].rpartition("/")[2]: row["document_id"] for row in sources}
    pairs = document_pairs(snapshot)
    met = set(zip(pairs["one"].to_pylist(), pairs["other"].to_pylist(), strict=True))
    sides = {one: tuple(sorted((ids[one.source], ids[one.host]))) for one in planted}
    wanted = sorted({sides[one] for one in planted} & met)
    table = pa.table({"one": [one for one, _ in wanted], "other": [other for _, other in wanted]})
    rows: dict[tuple[str, str], list[Any]] = {}
    for part in passages_of(snapshot, table):
        for row in part.to_pylist():
            key = tuple(sorted((row["left_document_id"], row["right_document_id"])))
            rows.setdefault(key, []).append(row)
    counts = {length: {"planted": 0, "found": 0} for length in (*LENGTHS, RARE)}
    for one in planted:
        counts[one.length]["planted"] += 1
        is_found = any(_covers(row, one) for row in rows.get(sides[one], []))
        counts[one.length]["found"] += is_found
    return counts


def _covers(row: dict[str, Any], one: Planted) -> bool:
    words = one.words.split()
    shared = row["right_passage"].split()
    return sum((Counter(words) & Counter(shared)).values()) >= 0.5 * len(words)


if __name__ == "__main__":
    sys.exit(main())
