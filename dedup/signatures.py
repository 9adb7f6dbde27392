"""Sign windows of texts with MinHash, bit for bit as ``datasketch.MinHash`` (affine32) does.

The only file that imports datasketch. That takes longer than reading a small archive, so the
permutations of the sensitivity levels are stored in a file, which ``python -m
palimpsest.dedup.signatures`` writes. Sources: Broder, On the resemblance and containment of
documents, 1997; for affine32, datasketch 2.0: the input hash goes through the 32-bit finaliser of
MurmurHash3, then ``a * h + b`` modulo 2**32 with odd ``a`` for each permutation; the signature is
the minimum of each.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from palimpsest.dedup.words import CHARACTER, CONTENT, NUMBER, Words
from palimpsest.kernels.arrays import Bytes, Flags, Hashes, Positions, TextPositions
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.records.settings import SENSITIVITIES, Settings, SignSettings

SCHEME = "affine32"
_PERMUTATIONS_FILE = "permutations.npz"
BAND_HASH_BITS = 26
"""Bits of a band's hash, which leave room for the window number in an index entry."""
MIN_WINDOW_SHINGLES = 5
"""A text of fewer shingles is not signed, since it cannot reach the score of a passage."""
NEAR_BYTES = 3
"""Most bytes between two characters or syllables that make a shingle: a blank, or one mark."""
_EMPTY = 0xFFFFFFFF


class Windows(NamedTuple):
    """The windows of many texts, text after text.

    Attributes:
        shingles: uint32, shape (shingles,), hashes of all shingles, text after text.
        texts: int64, shape (windows,), ascending: the number of the text that a window is of.
        starts, ends: int64, shape (windows,): the span of a window in ``shingles``.
    """

    shingles: Hashes
    texts: Positions
    starts: Positions
    ends: Positions


@cache
def permutations_of(count: int, seed: int) -> tuple[Hashes, Hashes]:
    """Return datasketch's ``a`` and ``b``: uint32, shape (count,) each."""
    with (resources.files("palimpsest.dedup") / _PERMUTATIONS_FILE).open("rb") as file:
        stored = np.load(file)
        name = f"{count}-{seed}"
        a, b = stored[name] if name in stored else _datasketch_permutations(count, seed)
    return a, b


def _datasketch_permutations(count: int, seed: int) -> Hashes:
    from datasketch import MinHash

    permutations = MinHash(num_perm=count, seed=seed, scheme=SCHEME).permutations
    return np.ascontiguousarray(permutations, dtype=np.uint32)


def sign_sets(shingles: Hashes, offsets: Positions, count: int, seed: int) -> Hashes:
    """Return the signatures of sets of hashed shingles: uint32, shape (sets, count).

    Args:
        shingles: uint32, shape (shingles,), set after set; repeats make no difference.
        offsets: int64, shape (sets + 1,).
        count: number of permutations.
        seed: seed of the permutations.
    """
    signatures = np.empty((len(offsets) - 1, count), dtype=np.uint32)  # numpy asks for huge pages
    _sign_sets(shingles, offsets, *permutations_of(count, seed), signatures)
    return signatures


def estimate_resemblance(left: Hashes, right: Hashes) -> float:
    """Estimate the resemblance of two sets from their signatures.

    Args:
        left: uint32, shape (permutations,).
        right: same shape, seed and scheme as ``left``.

    Returns:
        Share of equal components, in [0, 1]. Standard error: sqrt(J * (1 - J) / permutations).

    Source:
        Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, ch. 3.

    Example:
        >>> estimate_resemblance(np.array([7, 3, 9, 1]), np.array([7, 3, 8, 1]))
        0.75
    """
    return float(np.mean(left == right))


def content_of(words: Words) -> tuple[Hashes, Flags]:
    """Return what counts as a content word where the order of words does not.

    A content word or number counts by itself, and one of the kind ``CHARACTER`` together with its
    neighbour before it: alone it is in too many texts.

    Returns:
        uint32 and bool, shape (words,): a hash of each word, and whether it counts.
    """
    return _content_of(words.offsets, words.hashes, words.ends, words.starts, words.kinds)


def shingle(words: Words) -> tuple[Hashes, Positions]:
    """Return the shingles of texts, and where those of each text begin.

    A shingle is a content word, or two adjacent words that are less than that, namely single
    characters of a script without spaces or syllables (kind ``CHARACTER``). Function
    words are left out because nearly every window has them, and numbers because they change where
    all else is the same.

    Returns:
        uint32, shape (shingles,), and int64 offsets, shape (texts + 1,).
    """
    content, counts = content_of(words)
    counts &= words.kinds != NUMBER
    before = np.concatenate(([0], np.cumsum(counts)))
    return content[counts], before[words.offsets]


def shingle_words(words: Words) -> tuple[Positions, Positions]:
    """Return the words of each shingle, in the order of ``shingle``.

    Returns:
        int64, shape (shingles,) each: half-open spans of ``words``.
    """
    _, counts = content_of(words)
    last = np.flatnonzero(counts & (words.kinds != NUMBER))
    return last - (words.kinds[last] == CHARACTER), last + 1


def cut_windows(words: Words, settings: SignSettings) -> Windows:
    """Cut the shingles of each text into windows.

    Windows begin at multiples of the stride, and the last one extends to the end of the text. A
    text shorter than a window is one window, and one of fewer than ``MIN_WINDOW_SHINGLES`` has
    none.
    """
    shingles, offsets = shingle(words)
    counts = np.diff(offsets)
    strides = -(-counts // settings.stride_words)
    beyond_first = strides - settings.window_words // settings.stride_words
    windows = np.where(counts < MIN_WINDOW_SHINGLES, 0, np.maximum(0, beyond_first) + 1)
    texts = np.repeat(np.arange(len(windows)), windows)
    first_of_text = np.cumsum(windows) - windows
    number_in_text = np.arange(len(texts)) - first_of_text[texts]
    starts = offsets[texts] + number_in_text * settings.stride_words
    ends = np.minimum(starts + settings.window_words, offsets[texts + 1])
    return Windows(shingles, texts, starts, ends)


def hash_bands(windows: Windows, settings: SignSettings) -> Hashes:
    """Sign windows and hash the bands of each signature.

    Returns:
        uint32, shape (windows, bands), below ``2**BAND_HASH_BITS``.
    """
    a, b = permutations_of(settings.permutations, settings.seed)
    return _hash_bands(
        *windows,
        settings.stride_words,
        settings.window_words // settings.stride_words,
        _by_row(a, settings),
        _by_row(b, settings),
        settings.bands,
        settings.rows,
    )


def _by_row(components: Hashes, settings: SignSettings) -> Hashes:
    """Return the first rows of all bands, then the second rows: bands are hashed side by side."""
    by_band = components[: settings.bands * settings.rows].reshape(settings.bands, settings.rows)
    return np.ascontiguousarray(by_band.T).reshape(-1)


@inlined
def _make_pair(word: int, starts: TextPositions, ends: TextPositions, kinds: Bytes) -> bool:
    """Return whether a word of the kind ``CHARACTER`` stands next to another one before it.

    Positions begin anew with each text of a document, so the gap may be negative.
    """
    gap = np.int64(starts[word]) - np.int64(ends[word - 1])
    return bool(kinds[word - 1] == CHARACTER and gap <= NEAR_BYTES)


@inlined
def _hash_pair(hashes: Hashes, word: int) -> np.uint32:
    """Return the hash of a word together with the one before it."""
    return np.uint32(hashes[word] ^ np.uint32(hashes[word - 1] * np.uint32(0x9E3779B1)))


@kernel
def _content_of(
    offsets: Positions,
    hashes: Hashes,
    ends: TextPositions,
    starts: TextPositions,
    kinds: Bytes,
) -> tuple[Hashes, Flags]:
    content, counts = hashes.copy(), np.zeros(len(hashes), dtype=np.bool_)
    for text in range(len(offsets) - 1):
        for word in range(offsets[text], offsets[text + 1]):
            counts[word] = kinds[word] == CONTENT or kinds[word] == NUMBER
            if kinds[word] == CHARACTER and word > offsets[text]:
                counts[word] = _make_pair(word, starts, ends, kinds)
                if counts[word]:
                    content[word] = _hash_pair(hashes, word)
    return content, counts


@inlined
def _finalised(value: np.uint32) -> np.uint32:
    """Apply MurmurHash3's 32-bit finaliser to a value."""
    value ^= value >> np.uint32(16)
    value = np.uint32(value * np.uint32(0x85EBCA6B))
    value ^= value >> np.uint32(13)
    value = np.uint32(value * np.uint32(0xC2B2AE35))
    value ^= value >> np.uint32(16)
    return value


@inlined
def _lower(least: Hashes, shingles: Hashes, begin: int, end: int, a: Hashes, b: Hashes) -> None:
    """Lower a signature by shingles, eight at a time, so that it is loaded less often."""
    at = begin
    while at + 8 <= end:
        one, two = _finalised(shingles[at]), _finalised(shingles[at + 1])
        three, four = _finalised(shingles[at + 2]), _finalised(shingles[at + 3])
        five, six = _finalised(shingles[at + 4]), _finalised(shingles[at + 5])
        seven, eight = _finalised(shingles[at + 6]), _finalised(shingles[at + 7])
        for k in range(len(a)):
            lowest = min(_least_of(one, two, a[k], b[k]), _least_of(three, four, a[k], b[k]))
            lowest = min(lowest, _least_of(five, six, a[k], b[k]))
            least[k] = min(least[k], lowest, _least_of(seven, eight, a[k], b[k]))
        at += 8
    while at < end:
        one, two = _finalised(shingles[at]), _finalised(shingles[min(at + 1, end - 1)])
        for k in range(len(a)):
            least[k] = min(least[k], _least_of(one, two, a[k], b[k]))
        at += 2


@inlined
def _least_of(left: np.uint32, right: np.uint32, a: np.uint32, b: np.uint32) -> np.uint32:
    """Return the lower of two permuted values."""
    return min(np.uint32(np.uint32(a * left) + b), np.uint32(np.uint32(a * right) + b))


@kernel
def _sign_sets(
    shingles: Hashes, offsets: Positions, a: Hashes, b: Hashes, signatures: Hashes
) -> None:
    for row in range(len(offsets) - 1):
        signatures[row, :] = np.uint32(_EMPTY)
        _lower(signatures[row], shingles, offsets[row], offsets[row + 1], a, b)


@kernel
def _hash_bands(
    shingles: Hashes,
    texts: Positions,
    starts: Positions,
    ends: Positions,
    stride: int,
    in_window: int,
    a: Hashes,
    b: Hashes,
    bands: int,
    rows: int,
) -> Hashes:
    """Sign stride by stride: the signature of a union is the minimum of the signatures.

    ``a``, ``b`` and signatures are in the order of ``_by_row``. The last ``in_window`` strides are
    in a ring.
    """
    buckets = np.empty((len(texts), bands), dtype=np.uint32)
    ring = np.empty((in_window, len(a)), dtype=np.uint32)
    signature = np.empty(len(a), dtype=np.uint32)
    first, signed = 0, 0
    for window in range(len(texts)):
        if window == 0 or texts[window] != texts[window - 1]:
            first, signed = starts[window], 0
        while first + signed * stride < ends[window]:
            least = ring[signed % in_window]
            least[:] = np.uint32(_EMPTY)
            begin = first + signed * stride
            _lower(least, shingles, begin, min(ends[window], begin + stride), a, b)
            signed += 1
        signature[:] = np.uint32(_EMPTY)
        for stride_in_ring in range(min(in_window, signed)):
            for k in range(len(a)):
                signature[k] = min(signature[k], ring[stride_in_ring, k])
        _put_band_hashes(signature, rows, buckets[window])
    return buckets


@inlined
def _put_band_hashes(signature: Hashes, rows: int, hashes: Hashes) -> None:
    """Hash the components of each band (FNV-1a over 32-bit words, each mixed by the finaliser)."""
    bands = len(hashes)
    hashes[:] = np.uint32(0x811C9DC5)
    for row in range(rows):
        components = signature[row * bands : (row + 1) * bands]
        for band in range(bands):
            mixed = np.uint32(np.uint32(hashes[band] ^ components[band]) * np.uint32(0x01000193))
            hashes[band] = _finalised(mixed)
    for band in range(bands):
        hashes[band] >>= np.uint32(32 - BAND_HASH_BITS)


def _write(path: Path) -> None:
    """Write the permutations of the sensitivity levels."""
    levels = [Settings.model_validate({"sensitivity": level}).sign for level in SENSITIVITIES]
    permutations = {
        f"{count}-{seed}": _datasketch_permutations(count, seed)
        for count, seed in sorted({(level.permutations, level.seed) for level in levels})
    }
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **permutations)


if __name__ == "__main__":
    _write(Path(__file__).with_name(_PERMUTATIONS_FILE))
