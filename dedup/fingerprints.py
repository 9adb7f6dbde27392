"""Fingerprints of texts: sampled runs of words that find quotations too short for a signature.

A quotation of a dozen words is a small part of a window of twenty content words, so the windows
around it seldom share a band. But it shares runs of consecutive shingles exactly. A *fingerprint*
is the hash of ``fingerprint_shingles`` consecutive shingles of a text. Of each
``fingerprint_window`` consecutive ones the lowest is kept (winnowing; Schleimer, Wilkerson and
Aiken, Winnowing: local algorithms for document fingerprinting, 2003). Which ones are kept depends
on the text near them only. So texts that share ``fingerprint_shingles + fingerprint_window - 1``
consecutive shingles have a fingerprint in common.

Fingerprints are entries of one more band of the index (the last one): a bucket contains the windows
of which a fingerprint has its hash. A bucket of more than ``fingerprint_texts`` texts, a stock
phrase, has no pairs at all. Two windows in a smaller one are compared like others, and have to
share ``fingerprint_shared`` shingles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from palimpsest.dedup.signatures import BAND_HASH_BITS, Windows
from palimpsest.kernels.arrays import Buckets, Hashes, Positions
from palimpsest.kernels.columns import grow
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.records.settings import SignSettings


class Fingerprints(NamedTuple):
    """The fingerprints of many texts, text after text.

    Attributes:
        hashes: uint32, shape (fingerprints,), below ``2**BAND_HASH_BITS``.
        windows: int64, shape (fingerprints,): the window that the shingles are in the middle of.
    """

    hashes: Hashes
    windows: Positions

    def buckets(self) -> Buckets:
        """Return them as bucket entries, sorted: uint64, the hash above, the window below."""
        return np.sort(
            self.hashes.astype(np.uint64) << np.uint64(32) | self.windows.view(np.uint64)
        )


def find_fingerprints(windows: Windows, settings: SignSettings) -> Fingerprints:
    """Return the fingerprints of the texts that windows were cut from; the cost is their length."""
    found = _find_fingerprints(
        *windows,
        settings.fingerprint_shingles,
        settings.fingerprint_window,
        settings.stride_words,
        settings.window_words,
    )
    return Fingerprints(*found)


@kernel
def _find_fingerprints(
    shingles: Hashes,
    texts: Positions,
    starts: Positions,
    ends: Positions,
    size: int,
    span: int,
    stride: int,
    window_size: int,
) -> tuple[Hashes, Positions]:
    hashes = np.empty(1024, dtype=np.uint32)
    windows = np.empty(1024, dtype=np.int64)
    count, window = 0, 0
    recent = np.zeros(span, dtype=np.uint32)
    mask = np.uint64((1 << BAND_HASH_BITS) - 1)
    while window < len(texts):
        last = window
        while last + 1 < len(texts) and texts[last + 1] == texts[window]:
            last += 1
        begin, runs = starts[window], ends[last] - starts[window] - size + 1
        if count + runs > len(hashes):
            hashes = grow(hashes, 2 * count + runs)
            windows = grow(windows, 2 * count + runs)
        kept = -1
        for run in range(runs):
            recent[run % span] = np.uint32(hash_run(shingles, begin + run, size) & mask)
            if run + 1 < span and run + 1 < runs:
                continue  # the first full sample, or the only one of a short text
            lowest = run
            for earlier in range(run - 1, max(-1, run - span), -1):
                if recent[earlier % span] < recent[lowest % span]:
                    lowest = earlier
            if lowest > kept:
                kept = lowest
                middle = (lowest + size // 2 - (window_size - stride) // 2) // stride
                hashes[count] = recent[lowest % span]
                windows[count] = window + min(max(0, middle), last - window)
                count += 1
        window = last + 1
    return hashes[:count].copy(), windows[:count].copy()


@inlined
def hash_run(shingles: Hashes, begin: int, size: int) -> np.uint64:
    """Return a hash of consecutive shingles or words."""
    value = np.uint64(0x243F6A8885A308D3)
    for k in range(size):
        value = (value ^ np.uint64(shingles[begin + k])) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(32)
    return value


def common_fingerprints(
    fingerprints: Fingerprints, windows: Windows, left: Positions, right: Positions
) -> tuple[Positions, Positions, Positions, Hashes]:
    """Return every fingerprint that the texts of a pair have in common.

    Args:
        fingerprints: of the texts.
        windows: of the texts.
        left, right: int64, shape (pairs,), numbers of texts.

    Returns:
        shape (common,) each: the number of the pair, both windows, and the hash.
    """
    texts = windows.texts[fingerprints.windows]
    most = int(max(left.max(initial=0), right.max(initial=0)))
    firsts = np.searchsorted(texts, np.arange(most + 2))
    found = _common_fingerprints(*fingerprints, left, right, firsts)
    return found[:, 0], found[:, 1], found[:, 2], found[:, 3].astype(np.uint32)


@kernel
def _common_fingerprints(
    hashes: Hashes, windows: Positions, left: Positions, right: Positions, firsts: Positions
) -> Positions:
    found = np.empty((256, 4), dtype=np.int64)
    count = 0
    for pair in range(len(left)):
        for i in range(firsts[left[pair]], firsts[left[pair] + 1]):
            for j in range(firsts[right[pair]], firsts[right[pair] + 1]):
                if hashes[i] != hashes[j]:
                    continue
                if count == len(found):
                    found = grow(found, 2 * count)
                found[count, 0], found[count, 1] = pair, windows[i]
                found[count, 2], found[count, 3] = windows[j], np.int64(hashes[i])
                count += 1
    return found[:count].copy()
