"""Print a sample of clear passages, or of folds, of an archive to be read by eye.

    python benchmarks/by_eye.py passages ARCHIVE [--seed 1] [--per-stratum 40] [--pairs 4000]
    python benchmarks/by_eye.py folds ARCHIVE [--seed 1] [--per-stratum 50]

Passages are those that `palimpsest passages --clear --without-recurring` lists for a random sample
of the pairs of documents, drawn from strata of matched words. The size of each stratum in the
sample is printed, so that shares can be weighted. Folds are drawn from strata of resemblance.

How passages are read, decided before reading:

- *reuse*: both sides go back to one wording on this matter: copied, edited, updated, quoted;
- *template*: a form that is filled in again and again: market reports, notices, surveys, credits;
- *chance*: names, titles and stock phrases that any two reports on the subject would use.

A fold *differs in a fact* if one side has a number, date, name, negation, direction or statement
that the other lacks or contradicts. Spelling, punctuation, function words, misprints, datelines and
credits do not count. Doubtful cases count as not reuse, or as differing.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np

from palimpsest.evidence.passages import PassageFilter, document_pairs, passages_of
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.views import connect

WORDS = (15, 20, 40, 80, 200)
"""Lower bounds of the strata of passages, in matched words; shorter ones are in the first."""
RESEMBLANCE = (0.0, 0.9, 0.95, 0.99)
"""Lower bounds of the strata of folds."""
_CHARS = 600


def main() -> int:
    """Print a sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["passages", "folds"])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-stratum", type=int, default=40, metavar="N")
    parser.add_argument("--pairs", type=int, default=4000, metavar="N")
    given = parser.parse_args()
    snapshot = StoredArchive(given.archive).snapshot()
    chance = random.Random(given.seed)
    if given.what == "passages":
        rows, strata = clear_passages(snapshot, given.pairs, given.seed), WORDS
    else:
        rows, strata = folds(snapshot), RESEMBLANCE
    for stratum, lower in enumerate(strata):
        mine = [row for row in rows if _stratum(row, strata) == stratum]
        print(f"=== from {lower}: {len(mine)} of {len(rows)}")
        for number, row in enumerate(chance.sample(mine, min(given.per_stratum, len(mine)))):
            print(f"--- {stratum}.{number} resemblance {row['resemblance']:.2f}, {row['about']}")
            print(f"  {row['left'][:_CHARS]!r}\n  {row['right'][:_CHARS]!r}")
    return 0


def clear_passages(snapshot: Snapshot, count: int, seed: int) -> list[dict[str, Any]]:
    """Return the clear passages that do not recur of a random sample of document pairs."""
    pairs = document_pairs(snapshot)
    chosen = np.random.default_rng(seed).permutation(pairs.num_rows)[:count]
    selection = PassageFilter(clear=True, without_recurring=True)
    return [
        {
            "left": row["left_passage"],
            "right": row["right_passage"],
            "resemblance": row["resemblance"],
            "measure": row["matched_words"],
            "about": f"{row['matched_words']} words, score {row['score']:.1f}, {row['relation']}, "
            f"{row['left_published_at']} / {row['right_published_at']}",
        }
        for part in passages_of(snapshot, pairs.take(np.sort(chosen)))
        for row in selection.select(part).to_pylist()
    ]


def folds(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return all folded texts with their paragraphs."""
    query = """
        SELECT v.text_id, v.text, p.text AS kept, v.resemblance
        FROM variants v JOIN paragraphs p USING (paragraph_id) ORDER BY v.text_id
    """
    with connect(snapshot, query) as connection:
        rows = connection.sql(query).to_arrow_table().to_pylist()
    return [
        {
            "left": row["kept"],
            "right": row["text"],
            "resemblance": row["resemblance"],
            "measure": row["resemblance"],
            "about": row["text_id"],
        }
        for row in rows
    ]


def _stratum(row: dict[str, Any], strata: tuple[float, ...]) -> int:
    return max(0, int(np.searchsorted(strata, row["measure"], side="right")) - 1)


if __name__ == "__main__":
    sys.exit(main())
