"""Find candidates: pairs of texts with windows that share a bucket and enough of their shingles.

Locality-sensitive hashing (Indyk and Motwani 1998), banding as in Leskovec, Rajaraman, Ullman,
Mining of Massive Datasets, section 3.4. Many pairs share a bucket by chance; comparing the shingles
of the two windows costs a thousandth of an alignment and sorts most of them out. Of those, most are
sorted out by a sketch of each window already: a bit for each of 256 kinds of shingle. A kind that
the left window has and the right one has not is a shingle, at least, that they do not share.

A bucket is held as one uint64: the band's hash above, the number of the window below. Sorted, equal
buckets stand side by side.

Which pairs are candidates depends on all texts of the archive and on nothing else, so that the
order in which they came does not matter. In a bucket of more than ``crowd_texts`` texts, a crowd,
only pairs with one of its heads are taken: the texts whose digests are lowest, some ``crowd_heads``
to four times as many. A weather report that stands in 10,000 articles with other numbers costs some
100,000 alignments, not 50 million. Pairs that were taken before a bucket became a crowd, or one so
much larger that it has other heads, are lost then, and their overlaps go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from palimpsest.dedup.crowds import head_limit
from palimpsest.dedup.signatures import Windows
from palimpsest.dedup.windows import count_shared
from palimpsest.kernels.arrays import Buckets, Hashes, Keys, Pairs, Positions, Sketches
from palimpsest.kernels.columns import grow
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.kernels.sorting import distinct, pack_with_positions
from palimpsest.records.settings import SignSettings

_MERGED_AT_ONCE = 2**22
_SKETCH_WORDS = 4
"""Of 64 bits each."""


class Candidates(NamedTuple):
    """Pairs of texts that share a bucket, packed: the lesser number above, the greater below.

    Attributes:
        pairs: uint64, sorted, each once: pairs with a new text, worth aligning.
        lost: uint64, sorted, each once: pairs of old texts that this bucket does not give any more.
        crowds: buckets that are crowds, and have a new text.
    """

    pairs: Pairs
    lost: Pairs
    crowds: int


class PairedTexts(NamedTuple):
    """What pairing must know of texts.

    Attributes:
        is_new: shape (texts,); a pair of two texts that are not new was seen by an earlier run.
        upper: uint64, shape (texts,), ascending: upper halves of their digests.
    """

    is_new: npt.NDArray[np.bool_]
    upper: Keys


class Crowds(NamedTuple):
    """Buckets of a band that are crowds.

    Attributes:
        hashes: uint32, sorted.
        texts: int64, shape (crowds,): how many texts are in each.
    """

    hashes: Hashes
    texts: Positions

    @classmethod
    def none(cls) -> Crowds:
        """Return that there is no crowd."""
        return cls(np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.int64))


def pack_pairs(left: Positions, right: Positions) -> Pairs:
    """Return pairs with both sides in one: uint64, the left number above."""
    return left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64)


def unpack_pairs(pairs: Pairs) -> tuple[Positions, Positions]:
    """Return both sides of packed pairs: int64, shape (pairs,) each."""
    low = np.uint64(0xFFFFFFFF)
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & low).astype(np.int64)


def sort_buckets(hashes: Hashes) -> Buckets:
    """Return the buckets of one band in order: uint64, shape (windows,).

    Args:
        hashes: uint32, shape (windows,), the band's hash of each window.
    """
    if len(hashes) >= 2**32:
        raise ValueError(f"{len(hashes)} windows; a band holds fewer than 2**32")
    return pack_with_positions(hashes)


def shared_buckets(buckets: Buckets) -> Buckets:
    """Return the entries of buckets that have several: a window alone in its bucket has no pair.

    Args:
        buckets: as ``sort_buckets`` returns them.
    """
    hashes = buckets >> np.uint64(32)
    is_shared = np.zeros(len(buckets), dtype=np.bool_)
    is_next = hashes[1:] == hashes[:-1]
    is_shared[1:] = is_next
    is_shared[:-1] |= is_next
    return buckets[is_shared]


def sketch_windows(windows: Windows) -> Sketches:
    """Return which kinds of shingle each window has: uint64, shape (windows, 4), a bit a kind."""
    return _sketch_windows(windows.shingles, windows.starts, windows.ends)


def pair_band(
    buckets: Buckets,
    windows: Windows,
    sketches: Sketches,
    texts: PairedTexts,
    crowds: Crowds,
    settings: SignSettings,
) -> Candidates:
    """Return the pairs of texts whose windows share a bucket of one band and enough shingles.

    Args:
        buckets: as ``sort_buckets`` returns them, all or those of ``shared_buckets``.
        windows: what the numbers in ``buckets`` refer to; texts are numbered in the order of ids.
        sketches: of the windows, as ``sketch_windows`` returns them.
        texts: what is to be known of each.
        crowds: buckets that were crowds before the new texts came. Of a crowd, the heads are
            enough; all of it must be there if its heads change.
        settings: limits of crowds, and how much two windows must share.
    """
    pairs, lost, count = _pair_band(
        buckets,
        *windows,
        sketches,
        *texts,
        *crowds,
        settings.crowd_texts,
        settings.crowd_heads,
        settings.min_shared_shingles,
        settings.min_shared_share,
    )
    return Candidates(distinct(pairs), distinct(lost), count)


def merge_candidates(parts: Iterable[Candidates]) -> Candidates:
    """Return the candidates of several bands as one; few bands are held at a time."""
    pairs, lost, crowds = _Merged(), _Merged(), 0
    for part in parts:
        pairs.add(part.pairs)
        lost.add(part.lost)
        crowds += part.crowds
    return Candidates(pairs.result(), lost.result(), crowds)


class _Merged:
    """Sorted arrays that become one, each value once, without all being held beside it."""

    def __init__(self) -> None:
        self._held = np.empty(0, dtype=np.uint64)
        self._waiting: list[Pairs] = []

    def add(self, values: Pairs) -> None:
        self._waiting.append(values)
        if sum(map(len, self._waiting)) > max(_MERGED_AT_ONCE, len(self._held)):
            self._held, self._waiting = self.result(), []

    def result(self) -> Pairs:
        return distinct(np.concatenate([self._held, *self._waiting]))


def common_buckets(
    bands: Hashes, windows: Windows, pairs: Pairs, settings: SignSettings
) -> tuple[Positions, Positions, Hashes]:
    """Return every bucket in which the windows of a pair meet and share enough shingles.

    Args:
        bands: uint32, shape (windows, bands).
        windows: of all texts.
        pairs: packed.
        settings: how much two windows must share.

    Returns:
        the number of the pair, the band, and its hash; a bucket may be told twice.
    """
    left, right = unpack_pairs(pairs)
    first = np.searchsorted(windows.texts, np.arange(max(1, int(right.max(initial=0)) + 2)))
    found = _meeting_buckets(
        bands,
        windows.shingles,
        windows.starts,
        windows.ends,
        left,
        right,
        first,
        settings.min_shared_shingles,
        settings.min_shared_share,
    )
    return found[:, 0], found[:, 1], found[:, 2].astype(np.uint32)


@kernel
def _meeting_buckets(
    bands: Hashes,
    shingles: Hashes,
    starts: Positions,
    ends: Positions,
    left: Positions,
    right: Positions,
    first: Positions,
    min_shared: int,
    min_share: float,
) -> Positions:
    found = np.empty((256, 3), dtype=np.int64)
    count = 0
    for pair in range(len(left)):
        for i in range(first[left[pair]], first[left[pair] + 1]):
            for j in range(first[right[pair]], first[right[pair] + 1]):
                for band in range(bands.shape[1]):
                    if bands[i, band] != bands[j, band] or not _is_enough(
                        shingles[starts[i] : ends[i]],
                        shingles[starts[j] : ends[j]],
                        min_shared,
                        min_share,
                    ):
                        continue
                    if count == len(found):
                        found = grow(found, 2 * count)
                    found[count, 0] = pair
                    found[count, 1] = band
                    found[count, 2] = np.int64(bands[i, band])
                    count += 1
    return found[:count].copy()


@kernel
def _sketch_windows(shingles: Hashes, starts: Positions, ends: Positions) -> Sketches:
    sketches = np.zeros((len(starts), _SKETCH_WORDS), dtype=np.uint64)
    for window in range(len(starts)):
        for k in range(starts[window], ends[window]):
            kind = np.uint64(shingles[k] >> np.uint32(24))
            sketches[window, kind >> np.uint64(6)] |= np.uint64(1) << (kind & np.uint64(63))
    return sketches


@inlined
def _most_shared(sketches: Sketches, left: np.int64, right: np.int64, left_size: int) -> np.int64:
    """Return the most shingles of the left window that may stand in the right one."""
    missing = np.int64(0)
    for k in range(_SKETCH_WORDS):
        missing += _count_bits(sketches[left, k] & ~sketches[right, k])
    return left_size - missing


@inlined
def _count_bits(value: np.uint64) -> np.int64:
    """Return how many bits are set (Warren, Hacker's Delight, figure 5-2)."""
    pairs = value - ((value >> np.uint64(1)) & np.uint64(0x5555555555555555))
    quads = (pairs & np.uint64(0x3333333333333333)) + (
        (pairs >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    octets = (quads + (quads >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((octets * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def _pair_band(
    buckets: Buckets,
    shingles: Hashes,
    texts: Positions,
    starts: Positions,
    ends: Positions,
    sketches: Sketches,
    is_new: npt.NDArray[np.bool_],
    upper: Keys,
    crowd_hashes: Hashes,
    crowd_sizes: Positions,
    crowd_texts: int,
    crowd_heads: int,
    min_shared: int,
    min_share: float,
) -> tuple[Pairs, Pairs, int]:
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    pairs = np.empty(1024, dtype=np.uint64)
    lost = np.empty(16, dtype=np.uint64)
    count, gone, crowds, at, crowd = 0, 0, 0, 0, 0
    while at < len(buckets):
        stop = at + 1
        while stop < len(buckets) and buckets[stop] >> half == buckets[at] >> half:
            stop += 1
        if stop - at == 1:
            at = stop
            continue
        new_texts, old_texts = _count_texts(buckets[at:stop], texts, is_new)
        if new_texts == 0:
            at = stop
            continue
        value = np.uint32(buckets[at] >> half)
        while crowd < len(crowd_hashes) and crowd_hashes[crowd] < value:
            crowd += 1
        if crowd < len(crowd_hashes) and crowd_hashes[crowd] == value:
            old_texts = crowd_sizes[crowd]
        head_stop, old_stop = stop, stop
        if old_texts + new_texts > crowd_texts:
            crowds += 1
            limit = head_limit(old_texts + new_texts, crowd_texts, crowd_heads)
            head_stop = _head_stop(buckets, at, stop, texts, is_new, upper, limit, True)
        if old_texts > crowd_texts:
            limit = head_limit(old_texts, crowd_texts, crowd_heads)
            old_stop = _head_stop(buckets, at, stop, texts, is_new, upper, limit, False)
        for i in range(at, max(head_stop, old_stop)):
            left_window = np.int64(buckets[i] & low)
            left = texts[left_window]
            is_given = i < head_stop
            if is_new[left] and not is_given:
                continue
            left_shingles = shingles[starts[left_window] : ends[left_window]]
            left_size = len(left_shingles)
            for j in range(i + 1, stop):
                right_window = np.int64(buckets[j] & low)
                most = _most_shared(sketches, left_window, right_window, left_size)
                right_size = ends[right_window] - starts[right_window]
                if most < min_shared or most < min_share * min(left_size, right_size):
                    continue
                right = texts[right_window]
                has_new = is_new[left] or is_new[right]
                if left == right or has_new != is_given:
                    continue  # neither a pair with a new text, nor one that the bucket gives up
                right_shingles = shingles[starts[right_window] : ends[right_window]]
                if not _is_enough(left_shingles, right_shingles, min_shared, min_share):
                    continue
                packed = np.uint64(left) << half | np.uint64(right)
                if is_given:
                    if count == len(pairs):
                        pairs = grow(pairs, 2 * count)
                    pairs[count] = packed
                    count += 1
                else:
                    if gone == len(lost):
                        lost = grow(lost, 2 * gone)
                    lost[gone] = packed
                    gone += 1
        at = stop
    return pairs[:count], lost[:gone], crowds


@inlined
def _count_texts(
    bucket: Buckets, texts: Positions, is_new: npt.NDArray[np.bool_]
) -> tuple[int, int]:
    """Return how many texts in a bucket are new, and how many are old."""
    new_texts, old_texts, last = 0, 0, -1
    for k in range(len(bucket)):
        text = texts[np.int64(bucket[k] & np.uint64(0xFFFFFFFF))]
        if text != last:
            new_texts += 1 if is_new[text] else 0
            old_texts += 0 if is_new[text] else 1
            last = text
    return new_texts, old_texts


@inlined
def _head_stop(
    buckets: Buckets,
    at: int,
    stop: int,
    texts: Positions,
    is_new: npt.NDArray[np.bool_],
    upper: Keys,
    limit: np.uint64,
    with_new: bool,
) -> int:
    """Return where the entries of the heads end; the first text is one, whatever its digest."""
    first = -1
    for k in range(at, stop):
        text = texts[np.int64(buckets[k] & np.uint64(0xFFFFFFFF))]
        if is_new[text] and not with_new:
            continue
        if first < 0:
            first = text
        if text != first and upper[text] >= limit:
            return k
    return stop


@inlined
def _is_enough(left: Hashes, right: Hashes, min_shared: int, min_share: float) -> bool:
    """Tell whether enough shingles of the left window stand in the right one."""
    shared = count_shared(left, right)
    return bool(shared >= min_shared and shared >= min_share * min(len(left), len(right)))
