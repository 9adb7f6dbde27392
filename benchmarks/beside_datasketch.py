"""Sign the same sets with the project's kernel and with datasketch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from datasketch import MinHash

from palimpsest.dedup.signatures import SCHEME, shingle, sign_sets
from palimpsest.dedup.texts import Texts, distinct_texts
from palimpsest.dedup.words import Words, find_words
from palimpsest.ingest.batch import read_batch
from palimpsest.ingest.finding.discover import discover
from palimpsest.records.settings import Settings

from stages import least  # isort: skip


def compare_with_datasketch(files: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """Sign the texts of a sample with the project's kernel and with datasketch; return both speeds.

    Both get the same hashed shingles, seed and number of permutations: the number in the settings,
    then datasketch's default of 128.
    """
    texts, words = _texts(files)
    shingles, offsets = shingle(words)
    sets = [shingles[first:end].tolist() for first, end in pairwise(offsets.tolist())]
    seed, rows = Settings().sign.seed, []
    for permutations in (Settings().sign.permutations, 128):
        sketch = MinHash(permutations, seed=seed, hashfunc=lambda value: value, scheme=SCHEME)

        def by_datasketch(sketch: MinHash = sketch) -> list[Any]:
            signatures = []
            for one in sets:
                sketch.clear()
                sketch.update_batch(one)
                signatures.append(sketch.hashvalues.copy())
            return signatures

        ours = sign_sets(shingles, offsets, permutations, seed)
        are_equal = np.array_equal(ours, np.array(by_datasketch()))
        by_kernel = partial(sign_sets, shingles, offsets, permutations, seed)
        kernel_seconds, datasketch_seconds = least(repeats, by_kernel, by_datasketch)
        rows.append(
            {
                "permutations": permutations,
                "texts": len(sets),
                "shingles": len(shingles),
                "megabytes": len(texts.buffer) / 1e6,
                "kernel_seconds": kernel_seconds,
                "datasketch_seconds": datasketch_seconds,
                "ratio": datasketch_seconds / kernel_seconds,
                "are_equal": are_equal,
            }
        )
    return rows


def _texts(files: Sequence[str]) -> tuple[Texts, Words]:
    """Return the distinct texts of files, and their words."""
    batch = read_batch(list(discover(files).files), Settings().read)
    texts = distinct_texts(batch.digests, batch.texts.buffer, batch.texts.starts, batch.texts.ends)
    return texts, find_words(texts.buffer, texts.offsets[:-1], texts.offsets[1:])
