"""Measure recall, precision and span error in many languages, on natural text with planted reuse.

    python benchmarks/languages.py FOLDER [--only th,vi] [--pairs 100] [--words 40] [--json]

FOLDER has a file for each language, `th.txt` and the like, with a paragraph of natural text a line
(`benchmarks/language_texts.py` collects them from Debian packages). Documents of about 120 words
are made of lines that occur nowhere else; into each pair of them the same passage is put, also of
lines that occur nowhere else: verbatim in every other pair, in the rest with every tenth word
replaced by another one of the language. All documents are ingested, and the clear passages of all
documents listed, at the default settings. Words are those of the Unicode rules with dictionaries
(UAX #29, ICU), in Vietnamese syllables.

- recall: share of the planted characters that a clear passage of the right pair covers.
- precision: share of the characters of clear passages that are planted. What happens to be equal
  right before or behind a passage on both sides counts as planted.
- span error: of the planted passages that were found, by how many characters their start and end
  are off, as a share of the length; the median.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from icu4py.breakers import WordBreaker

from palimpsest.evidence.passages import PassageFilter, all_passages
from palimpsest.pipeline.run import run_ingest
from palimpsest.records.settings import parse_settings
from palimpsest.store.archive import Snapshot, StoredArchive

DOCUMENT_WORDS = 120
EDITED_EVERY = 10

Span = tuple[int, int]


class Planted(NamedTuple):
    """A passage in two documents.

    Attributes:
        names: of the files.
        spans: where it is in each, in characters.
        shared: the same with what is equal on both sides right before and behind it.
        is_edited: one side was edited.
    """

    names: tuple[str, str]
    spans: tuple[Span, Span]
    shared: tuple[Span, Span]
    is_edited: bool


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", metavar="CODES")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--words", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else None
    paths = sorted(path for path in given.folder.glob("*.txt") if not chosen or path.stem in chosen)
    rows = {path.stem: measure(path, given.pairs, given.words, given.seed) for path in paths}
    if given.json:
        print(json.dumps(rows))
        return 0
    print(f"{'':8}{'pairs':>6}{'verbatim':>10}{'edited':>8}{'precision':>11}{'span error':>12}")
    for language, row in rows.items():
        print(
            f"{language:8}{row['pairs']:6}{row['verbatim']:10.3f}{row['edited']:8.3f}"
            f"{row['precision']:11.3f}{row['span_error']:12.3f}"
        )
    return 0


def measure(path: Path, pairs: int, words: int, seed: int) -> dict[str, float]:
    """Return the figures of one language."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    with tempfile.TemporaryDirectory() as name:
        corpus, archive = Path(name) / "corpus", Path(name) / "archive"
        corpus.mkdir()
        planted = plant(lines, corpus, pairs, words, random.Random(seed))
        run_ingest([str(corpus)], archive, parse_settings({}))
        return judge(StoredArchive(archive).snapshot(), planted)


def plant(
    lines: list[str], corpus: Path, pairs: int, words: int, chance: random.Random
) -> list[Planted]:
    """Write documents with passages in them to ``corpus``, while there is text; return these."""
    lines = lines.copy()
    chance.shuffle(lines)
    vocabulary = sorted({word for line in lines for word in _words(line)})
    planted: list[Planted] = []
    while len(planted) < pairs:
        passage = _cut(_take(lines, words), words)
        sides = [_take(lines, DOCUMENT_WORDS) for _ in range(2)]
        if not passage or not all(sides):
            break
        is_edited = len(planted) % 2 == 1
        texts = passage, _edited(passage, vocabulary, chance) if is_edited else passage
        around = [_around(side, chance) for side in sides]
        ahead = _equal_chars(*(before[::-1] for before, _ in around))
        behind = _equal_chars(*(after for _, after in around))
        names, spans, shared = [], [], []
        for number, (text, (before, after)) in enumerate(zip(texts, around, strict=True)):
            names.append(f"{len(planted):04d}-{number}.txt")
            first, last = len(before), len(before) + len(text)
            spans.append((first, last))
            shared.append((first - ahead, last + behind))
            (corpus / names[-1]).write_text(before + text + after, encoding="utf-8")
        planted.append(
            Planted((names[0], names[1]), (spans[0], spans[1]), (shared[0], shared[1]), is_edited)
        )
    return planted


def _equal_chars(one: str, other: str) -> int:
    """Return how many characters two strings have in common at the beginning."""
    shorter = min(len(one), len(other))
    return next((at for at in range(shorter) if one[at] != other[at]), shorter)


def _around(lines: list[str], chance: random.Random) -> tuple[str, str]:
    """Return the text before and after a passage that is put between two lines."""
    at = chance.randrange(1, len(lines)) if len(lines) > 1 else 1
    return " ".join(lines[:at]) + " ", "".join(f" {line}" for line in lines[at:])


def _take(lines: list[str], words: int) -> list[str]:
    """Take lines with at least this number of words off the end; empty if there are too few."""
    taken: list[str] = []
    while lines and sum(len(_words(line)) for line in taken) < words:
        taken.append(lines.pop())
    return taken if lines else []


def _cut(lines: list[str], words: int) -> str:
    """Return the first words of lines, as one string."""
    text = " ".join(lines)
    spans = _word_spans(text)
    return text[: spans[words - 1][1]] if len(spans) >= words else ""


def _edited(text: str, vocabulary: list[str], chance: random.Random) -> str:
    pieces, done = [], 0
    for first, last in _word_spans(text)[EDITED_EVERY // 2 :: EDITED_EVERY]:
        pieces += [text[done:first], chance.choice(vocabulary)]
        done = last
    return "".join((*pieces, text[done:]))


def _words(text: str) -> list[str]:
    return [text[first:last] for first, last in _word_spans(text)]


def _word_spans(text: str) -> list[Span]:
    return [
        (first, last)
        for first, last in WordBreaker(text, "en").segments()
        if any(map(str.isalnum, text[first:last]))
    ]


def judge(snapshot: Snapshot, planted: list[Planted]) -> dict[str, float]:
    """Return the figures for the passages that an archive lists as clear."""
    sources = snapshot.read("sources", ["document_id", "uri"]).to_pylist()
    names = {row["document_id"]: row["uri"].rpartition("/")[2] for row in sources}
    truth = {one.names: one for one in planted}
    shown: dict[tuple[str, str], list[tuple[Span, Span]]] = {}
    shown_chars = right_chars = 0
    for row in all_passages(snapshot, PassageFilter(clear=True)).to_pylist():
        sides = sorted(_side(row, side, names) for side in ("left", "right"))
        pair = sides[0][0], sides[1][0]
        spans = sides[0][1], sides[1][1]
        shown.setdefault(pair, []).append(spans)
        shown_chars += sum(last - first for first, last in spans)
        if pair in truth:
            right_chars += sum(map(_common, spans, truth[pair].shared))
    covered = {False: [0, 0], True: [0, 0]}
    errors = []
    for one in planted:
        for side, span in enumerate(one.spans):
            overlaps = [_common(spans[side], span) for spans in shown.get(one.names, ())]
            inside = min(span[1] - span[0], sum(overlaps))
            covered[one.is_edited][0] += inside
            covered[one.is_edited][1] += span[1] - span[0]
            if inside:
                best = shown[one.names][overlaps.index(max(overlaps))][side]
                off = abs(best[0] - span[0]) + abs(best[1] - span[1])
                errors.append(off / (span[1] - span[0]))
    return {
        "pairs": len(planted),
        "verbatim": covered[False][0] / max(1, covered[False][1]),
        "edited": covered[True][0] / max(1, covered[True][1]),
        "precision": right_chars / max(1, shown_chars),
        "span_error": statistics.median(errors) if errors else 1.0,
    }


def _side(row: dict[str, Any], side: str, names: dict[str, str]) -> tuple[str, Span]:
    span = row[f"{side}_start_char"], row[f"{side}_end_char"]
    return names[row[f"{side}_document_id"]], span


def _common(one: Span, other: Span) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


if __name__ == "__main__":
    sys.exit(main())
