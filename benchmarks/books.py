"""Measure how long it takes to list the passages of long documents, and what is found of them.

    python benchmarks/books.py [--books 8] [--words 80000] [--seed 1] [--json]

Books are invented: words drawn by a Zipf-Mandelbrot law, as in prose, of which some are the book's
own. Neighbours share an edited chapter, and each two books share exact verses of 17 words, each in
a chapter of its own. All passages are listed in memory, as `palimpsest passages --clear` does.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from palimpsest.evidence.passages import PassageFilter, all_passages
from palimpsest.pipeline.run import run_ingest
from palimpsest.pipeline.warm_up import warm_up
from palimpsest.records.settings import parse_settings
from palimpsest.store.archive import StoredArchive

VERSE_WORDS, VERSES_OF_PAIR = 17, 4
CHAPTER_WORDS, EDITED_SHARE = 6_000, 0.1
_COMMON, _OWN, _OWN_SHARE = 15_000, 300, 0.15
_OFFSET = 30
"""Zipf-Mandelbrot: the k-th word is drawn in proportion to 1 / (k + 30)."""
_FUNCTION_WORDS = ("the", "of", "and", "in", "to", "was", "that", "with", "for", "his")
_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "ar", "en", "ol")]


class Shared(NamedTuple):
    """Something planted in two books: its kind, the books, and its text in each."""

    kind: str
    books: tuple[int, int]
    texts: tuple[str, str]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--books", type=int, default=8)
    parser.add_argument("--words", type=int, default=80_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--level", default="edited")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    books, shared = write_books(options.books, options.words, options.seed)
    warm_up()
    with tempfile.TemporaryDirectory() as name:
        figures = measure(Path(name), books, shared, options.level)
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        for name, value in figures.items():
            print(f"{name:28}{value}")
    return 0


def measure(
    scratch: Path, books: list[str], shared: list[Shared], level: str = "edited"
) -> dict[str, Any]:
    """Return seconds, and of each kind of passage the share that is covered by a clear one."""
    folder = scratch / "books"
    folder.mkdir()
    for number, text in enumerate(books):
        (folder / f"book{number}.txt").write_text(text, encoding="utf-8")
    run_ingest([str(folder)], scratch / "archive", parse_settings({"sensitivity": level}))
    snapshot = StoredArchive(scratch / "archive").snapshot()
    began, cpu = time.perf_counter(), time.process_time()
    rows = all_passages(snapshot, PassageFilter()).to_pylist()
    figures = {
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "passages": len(rows),
        "clear": sum(row["is_clear"] for row in rows),
        "summaries": sum(row["relation"] == "summary" for row in rows),
    }
    rows = [row for row in rows if row["is_clear"]]
    expected: dict[str, list[float]] = {}
    is_hit = [False] * len(rows)
    for one in shared:
        best = 0.0
        for number, row in enumerate(rows):
            spans = spans_in(row)
            if set(spans) == set(one.books):
                share = min(
                    covered(books[book], text, spans[book])
                    for book, text in zip(one.books, one.texts, strict=True)
                )
                is_hit[number] |= share > 0
                best = max(best, share)
        expected.setdefault(one.kind, []).append(best)
    for kind, shares in expected.items():
        figures[f"{kind}s found"] = round(float(np.mean(np.array(shares) >= 0.9)), 3)
        figures[f"{kind}s covered"] = round(float(np.mean(shares)), 3)
    figures["clear passages by chance"] = is_hit.count(False)
    return figures


def spans_in(row: dict[str, Any]) -> dict[int, tuple[int, int]]:
    """Return the spans of a passage, in characters, by the number of the book."""
    return {
        int(row[f"{side}_uri"].rpartition("/book")[2].removesuffix(".txt")): (
            row[f"{side}_start_char"],
            row[f"{side}_end_char"],
        )
        for side in ("left", "right")
    }


def covered(book: str, text: str, span: tuple[int, int]) -> float:
    """Return the share of a text in a book that a span covers."""
    first = book.index(text)
    return max(0, min(first + len(text), span[1]) - max(first, span[0])) / len(text)


def write_books(count: int, words: int, seed: int) -> tuple[list[str], list[Shared]]:
    """Return the texts of books, and what is planted in them."""
    chance, numbers = random.Random(seed), np.random.default_rng(seed)
    names = sorted(
        {"".join(chance.choices(_SYLLABLES, k=chance.choice((2, 3, 3, 4)))) for _ in range(40_000)}
    )
    chance.shuffle(names)
    authors = [_Author(names, number, numbers) for number in range(count)]
    paragraphs = [[author.write(120) for _ in range(words // 120)] for author in authors]
    shared = []
    for left, right in combinations(range(count), 2):
        for _ in range(VERSES_OF_PAIR):
            verse = " ".join(authors[left].write(VERSE_WORDS))
            shared.append(Shared("verse", (left, right), (verse, verse)))
        if right == left + 1:
            chapter = authors[left].write(CHAPTER_WORDS)
            others = authors[right].write(CHAPTER_WORDS)
            edited = [
                other if chance.random() < EDITED_SHARE else word
                for word, other in zip(chapter, others, strict=True)
            ]
            shared.append(Shared("chapter", (left, right), (" ".join(chapter), " ".join(edited))))
    for one in shared:
        for book, text in zip(one.books, one.texts, strict=True):
            paragraph = chance.choice(paragraphs[book])
            paragraph.insert(chance.randrange(20, 100), text)
    return ["\n\n".join(" ".join(words) for words in book) for book in paragraphs], shared


class _Author:
    """Draws the words of one book."""

    def __init__(self, names: list[str], number: int, numbers: np.random.Generator) -> None:
        own = names[_COMMON + number * _OWN : _COMMON + (number + 1) * _OWN]
        self._words = np.array([*names[:_COMMON], *own])
        shares = [1 / (np.arange(size) + _OFFSET) for size in (_COMMON, _OWN)]
        common, mine = (share / share.sum() for share in shares)
        self._shares = np.concatenate([common * (1 - _OWN_SHARE), mine * _OWN_SHARE])
        self._numbers = numbers

    def write(self, count: int) -> list[str]:
        """Return words, about half of them function words."""
        drawn = self._numbers.choice(self._words, size=count, p=self._shares)
        is_function = self._numbers.random(count) < 0.5
        others = self._numbers.choice(_FUNCTION_WORDS, size=count)
        return [str(word) for word in np.where(is_function, others, drawn)]


if __name__ == "__main__":
    sys.exit(main())
