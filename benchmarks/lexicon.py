"""Write dedup/lexicon.npz: which words are known in which language.

    pip download --no-deps pyspellchecker==0.9.1 && unzip pyspellchecker-*.whl -d FOLDER
    python benchmarks/lexicon.py FOLDER

The word lists are those of pyspellchecker (MIT licence), the commonest of each language: fewer of
the short ones, since nearly every group of two or three letters is a word of some kind. Only the
hashes of the words are kept, and how many words have each group of three letters. A commit that
changes the file raises ``STAGE_VERSION`` in ``dedup/__init__.py``.
"""

from __future__ import annotations

import gzip
import json
import sys
import unicodedata
from pathlib import Path

import numpy as np

from palimpsest.dedup.sameness import LANGUAGES
from palimpsest.dedup.words import hash_words
from palimpsest.kernels.arrays import Bytes, Hashes

MOST = 60_000
MOST_BY_LENGTH = {1: 100, 2: 1_000, 3: 4_000, 4: 30_000}
"""How many of the commonest words are looked at, in all and for short ones."""


def hash_of(word: str) -> Hashes:
    """Return the hash of a word, or nothing if it is not a single word."""
    try:
        return hash_words([word])
    except ValueError:
        return np.empty(0, dtype=np.uint32)


def count_trigrams(words: list[str]) -> Bytes:
    """Return in how many words three letters follow one another: uint8, shape (27, 27, 27)."""
    counts = np.zeros((27, 27, 27), dtype=np.int64)
    for word in words:
        base = unicodedata.normalize("NFD", word)
        codes = [ord(c) - 96 for c in base if not unicodedata.combining(c)]
        if all(0 < code <= 26 for code in codes):
            codes = [0, *codes, 0]
            for trigram in {tuple(codes[k : k + 3]) for k in range(len(codes) - 2)}:
                counts[trigram] += 1
    return counts.clip(max=255).astype(np.uint8)


def main(folder: Path) -> None:
    """Write the lexicon from the word lists in ``folder``."""
    hashes, languages, trigrams = [], [], []
    for number, code in enumerate(LANGUAGES):
        path = folder / "spellchecker" / "resources" / f"{code}.json.gz"
        counts = json.loads(gzip.decompress(path.read_bytes()))
        ordered = sorted(counts, key=lambda word: (-counts[word], word))[:MOST]
        common = [
            word
            for place, word in enumerate(ordered)
            if place < MOST_BY_LENGTH.get(len(word), MOST)
        ]
        trigrams.append(count_trigrams(common))
        found = np.concatenate([hash_of(word) for word in common])
        hashes.append(found)
        languages.append(np.full(len(found), 1 << number, dtype=np.uint16))
    values, place = np.unique(np.concatenate(hashes), return_inverse=True)
    bits = np.zeros(len(values), dtype=np.uint16)
    np.bitwise_or.at(bits, place, np.concatenate(languages))
    target = Path(__file__).parent.parent / "dedup" / "lexicon.npz"
    gaps = np.diff(values, prepend=np.uint32(0)).astype(np.uint32)
    np.savez_compressed(target, gaps=gaps, languages=bits, trigrams=np.stack(trigrams))
    print(f"{target}: {len(values):,} words, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
