"""Find candidates: pairs of texts with windows that share a bucket and enough of their shingles.

Locality-sensitive hashing (Indyk and Motwani 1998), banding as in Leskovec, Rajaraman, Ullman,
Mining of Massive Datasets, section 3.4. Many pairs share a bucket by chance. Comparing the shingles
of the two windows costs a thousandth of an alignment and rules most of them out
(``dedup.windows``).

A bucket entry is one uint64: the band's hash in the upper half, the window number in the lower. In
sorted order the entries of a bucket are neighbours.

Which pairs are candidates depends on the set of texts in the archive and on nothing else, so the
order in which they were ingested makes no difference. In a bucket of more than ``crowd_texts``
texts, a crowd, only the pairs with one of its heads are candidates (``dedup.crowds``). A weather
report that occurs in 10,000 articles with other numbers costs some 100,000 alignments, not 50
million. When a bucket becomes a crowd, or grows so much that it has fewer heads, it loses pairs
that were candidates before, and their overlaps are removed.

Fingerprints (``dedup.fingerprints``) are one more band, with limits of its own: crowds without
heads, and fewer shingles that two windows must share.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from palimpsest.dedup.crowds import head_limit, is_head
from palimpsest.dedup.fingerprints import common_fingerprints, find_fingerprints
from palimpsest.dedup.signatures import Windows
from palimpsest.dedup.windows import is_enough, most_shared, share_enough
from palimpsest.kernels.arrays import Buckets, Flags, Hashes, Keys, Pairs, Positions, Sketches
from palimpsest.kernels.columns import grow
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.kernels.sorting import distinct, pack_with_positions
from palimpsest.records.settings import SignSettings

_MERGED_AT_ONCE = 2**22
"""Pairs that wait to be merged, at most; more if more have been merged already."""


class Candidates(NamedTuple):
    """Pairs of texts that share a bucket, packed: the lesser number above, the greater below.

    Attributes:
        pairs: uint64, sorted, distinct: pairs with a new text, worth aligning.
        lost: uint64, sorted, distinct: pairs of old texts that the bucket no longer gives.
        crowds: number of buckets that are crowds and have a new text.
    """

    pairs: Pairs
    lost: Pairs
    crowds: int


class PairedTexts(NamedTuple):
    """Texts to be paired, sorted by digest.

    Attributes:
        is_new: bool, shape (texts,); a pair of two texts that are not new was seen by an earlier
            run.
        upper: uint64, shape (texts,), ascending: upper halves of their digests.
    """

    is_new: Flags
    upper: Keys


class Crowds(NamedTuple):
    """Buckets of a band that are crowds.

    Attributes:
        hashes: uint32, shape (crowds,), sorted: the bucket's hash.
        texts: int64, shape (crowds,): number of texts in each.
    """

    hashes: Hashes
    texts: Positions

    @classmethod
    def none(cls) -> Crowds:
        """Return no crowds."""
        return cls(np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.int64))


class _Limits(NamedTuple):
    """Settings of signatures that decide about pairs, as kernels take them."""

    crowd_texts: int
    crowd_heads: int
    min_shared: int
    min_share: float


def pack_pairs(left: Positions, right: Positions) -> Pairs:
    """Return pairs as uint64, shape (pairs,): the left number above, the right one below."""
    return left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64)


def unpack_pairs(pairs: Pairs) -> tuple[Positions, Positions]:
    """Return both sides of packed pairs: int64, shape (pairs,) each."""
    low = np.uint64(0xFFFFFFFF)
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & low).astype(np.int64)


def sort_buckets(hashes: Hashes) -> Buckets:
    """Return the bucket entries of one band, sorted: uint64, shape (windows,).

    Args:
        hashes: uint32, shape (windows,), the band's hash of each window.
    """
    if len(hashes) >= 2**32:
        raise ValueError(f"{len(hashes)} windows in a band; expected fewer than 2**32")
    return pack_with_positions(hashes)


def buckets_of(bands: Hashes, windows: Windows, band: int, settings: SignSettings) -> Buckets:
    """Return the sorted bucket entries of a band.

    Args:
        bands: uint32, shape (windows, bands), hashes, without that of the fingerprints.
        windows: all windows.
        band: its number.
        settings: of signatures and fingerprints.
    """
    if band < settings.bands:
        return sort_buckets(bands[:, band])
    return find_fingerprints(windows, settings).buckets()


def shared_buckets(buckets: Buckets) -> Buckets:
    """Return the entries of buckets with several: a window alone in its bucket has no pair.

    Args:
        buckets: as ``sort_buckets`` returns them.
    """
    hashes = buckets >> np.uint64(32)
    is_shared = np.zeros(len(buckets), dtype=np.bool_)
    is_next = hashes[1:] == hashes[:-1]
    is_shared[1:] = is_next
    is_shared[:-1] |= is_next
    return buckets[is_shared]


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
        windows: those that ``buckets`` refer to; texts are numbered in the order of their digests.
        sketches: of the windows, as ``sketch_windows`` returns them.
        texts: the texts of the windows.
        crowds: buckets that were crowds before the new texts were added. Of such a bucket the old
            heads are enough; all of its texts are needed if its heads change.
        settings: limits of crowds, and how much two windows must share, in this band.
    """
    pairs, lost, crowd_count = _pair_band(
        buckets, windows, sketches, texts, crowds, _limits_of(settings)
    )
    return Candidates(distinct(pairs), distinct(lost), crowd_count)


def _limits_of(settings: SignSettings) -> _Limits:
    return _Limits(
        crowd_texts=settings.crowd_texts,
        crowd_heads=settings.crowd_heads,
        min_shared=settings.min_shared_shingles,
        min_share=settings.min_shared_share,
    )


def merge_candidates(parts: Iterable[Candidates]) -> Candidates:
    """Return the candidates of several bands as one; few bands are in memory at a time."""
    pairs, lost, crowds = _SortedUnion(), _SortedUnion(), 0
    for part in parts:
        pairs.add(part.pairs)
        lost.add(part.lost)
        crowds += part.crowds
    return Candidates(pairs.result(), lost.result(), crowds)


class _SortedUnion:
    """The distinct values of many arrays, merged while they arrive, so that few are in memory."""

    def __init__(self) -> None:
        self._merged = np.empty(0, dtype=np.uint64)
        self._waiting: list[Pairs] = []

    def add(self, values: Pairs) -> None:
        self._waiting.append(values)
        if sum(map(len, self._waiting)) > max(_MERGED_AT_ONCE, len(self._merged)):
            self._merged, self._waiting = self.result(), []

    def result(self) -> Pairs:
        return distinct(np.concatenate([self._merged, *self._waiting]))


def common_buckets(
    bands: Hashes, windows: Windows, pairs: Pairs, settings: SignSettings
) -> tuple[Positions, Positions, Hashes]:
    """Return every bucket that windows of a pair have in common while they share enough shingles.

    Args:
        bands: uint32, shape (windows, bands), without that of the fingerprints.
        windows: of all texts.
        pairs: packed.
        settings: how much two windows must share.

    Returns:
        the number of the pair, the band, and its hash; a bucket may be returned twice.
    """
    left, right = unpack_pairs(pairs)
    firsts = np.searchsorted(windows.texts, np.arange(max(1, int(right.max(initial=0)) + 2)))
    found = _common_buckets(bands, windows, left, right, firsts, _limits_of(settings))
    pair, band, value = found[:, 0], found[:, 1], found[:, 2].astype(np.uint32)
    if settings.all_bands == settings.bands:
        return pair, band, value
    quoted = _common_fingerprints(windows, left, right, settings)
    band = np.concatenate((band, np.full(len(quoted[0]), settings.bands)))
    return np.concatenate((pair, quoted[0])), band, np.concatenate((value, quoted[1]))


def _common_fingerprints(
    windows: Windows, left: Positions, right: Positions, settings: SignSettings
) -> tuple[Positions, Hashes]:
    """Return the pair and the hash of fingerprints in common, where windows share enough."""
    fingerprints = find_fingerprints(windows, settings)
    pair, one, other, hashes = common_fingerprints(fingerprints, windows, left, right)
    limits = _limits_of(settings.of_band(settings.bands))
    is_similar = _are_similar(windows, one, other, limits)
    return pair[is_similar], hashes[is_similar]


@kernel
def _are_similar(windows: Windows, left: Positions, right: Positions, limits: _Limits) -> Flags:
    """Return which pairs of windows share enough shingles."""
    shingles, starts, ends = windows.shingles, windows.starts, windows.ends
    is_similar = np.zeros(len(left), dtype=np.bool_)
    for k in range(len(left)):
        i, j = left[k], right[k]
        is_similar[k] = share_enough(
            shingles[starts[i] : ends[i]],
            shingles[starts[j] : ends[j]],
            limits.min_shared,
            limits.min_share,
        )
    return is_similar


@kernel
def _common_buckets(
    bands: Hashes,
    windows: Windows,
    left: Positions,
    right: Positions,
    firsts: Positions,
    limits: _Limits,
) -> Positions:
    """Return rows of pair, band and hash: int64, shape (buckets, 3).

    ``firsts``, shape (texts + 1,), is the first window of each text.
    """
    shingles, starts, ends = windows.shingles, windows.starts, windows.ends
    found = np.empty((256, 3), dtype=np.int64)
    count = 0
    for pair in range(len(left)):
        for i in range(firsts[left[pair]], firsts[left[pair] + 1]):
            for j in range(firsts[right[pair]], firsts[right[pair] + 1]):
                for band in range(bands.shape[1]):
                    if bands[i, band] != bands[j, band] or not share_enough(
                        shingles[starts[i] : ends[i]],
                        shingles[starts[j] : ends[j]],
                        limits.min_shared,
                        limits.min_share,
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
def _pair_band(
    buckets: Buckets,
    windows: Windows,
    sketches: Sketches,
    texts: PairedTexts,
    crowds: Crowds,
    limits: _Limits,
) -> tuple[Pairs, Pairs, int]:
    """Return pairs, lost pairs, and how many buckets are crowds.

    One loop, without calls that pass arrays: numba would count references to each for each bucket,
    which took a third more time.
    """
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    shingles, window_texts, starts, ends = windows
    is_new, min_shared, min_share = texts.is_new, limits.min_shared, limits.min_share
    pairs, lost = np.empty(1024, dtype=np.uint64), np.empty(16, dtype=np.uint64)
    pair_count, lost_count = 0, 0
    spans, crowd_count = _scan_buckets(buckets, window_texts, texts, crowds, limits)
    for span in range(len(spans)):
        at, stop = spans[span, 0], spans[span, 1]
        head_stop, old_head_stop = spans[span, 2], spans[span, 3]
        for i in range(at, max(head_stop, old_head_stop)):
            left_window = np.int64(buckets[i] & low)
            left = window_texts[left_window]
            is_given = i < head_stop
            if is_new[left] and not is_given:
                continue
            left_shingles = shingles[starts[left_window] : ends[left_window]]
            left_size = len(left_shingles)
            for j in range(i + 1, stop):
                right_window = np.int64(buckets[j] & low)
                most = most_shared(sketches, left_window, right_window, left_size)
                right_size = ends[right_window] - starts[right_window]
                if not is_enough(most, left_size, right_size, min_shared, min_share):
                    continue
                right = window_texts[right_window]
                has_new = is_new[left] or is_new[right]
                if left == right or has_new != is_given:
                    continue  # neither a pair with a new text, nor one that the bucket loses
                right_shingles = shingles[starts[right_window] : ends[right_window]]
                if not share_enough(left_shingles, right_shingles, min_shared, min_share):
                    continue
                packed = np.uint64(left) << half | np.uint64(right)
                if is_given:
                    if pair_count == len(pairs):
                        pairs = grow(pairs, 2 * pair_count)
                    pairs[pair_count] = packed
                    pair_count += 1
                else:
                    if lost_count == len(lost):
                        lost = grow(lost, 2 * lost_count)
                    lost[lost_count] = packed
                    lost_count += 1
    return pairs[:pair_count], lost[:lost_count], crowd_count


@inlined
def _scan_buckets(
    buckets: Buckets, window_texts: Positions, texts: PairedTexts, crowds: Crowds, limits: _Limits
) -> tuple[Positions, int]:
    """Return the buckets that have several entries and a new text, and how many are crowds.

    Returns:
        int64, shape (buckets, 4): where a bucket's entries begin and end, where those of its heads
        end, and where those of its heads before the new texts were added end.
    """
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    is_new, crowd_texts, crowd_heads = texts.is_new, limits.crowd_texts, limits.crowd_heads
    spans = np.empty((len(buckets) // 2 + 1, 4), dtype=np.int64)
    count, crowd_count, crowd, at = 0, 0, 0, 0
    while at < len(buckets):
        stop, new_texts, old_texts, last = at, 0, 0, -1
        while stop < len(buckets) and buckets[stop] >> half == buckets[at] >> half:
            text = window_texts[np.int64(buckets[stop] & low)]
            if text != last:
                new_texts += 1 if is_new[text] else 0
                old_texts += 0 if is_new[text] else 1
                last = text
            stop += 1
        if stop - at > 1 and new_texts > 0:
            value = np.uint32(buckets[at] >> half)
            while crowd < len(crowds.hashes) and crowds.hashes[crowd] < value:
                crowd += 1
            if crowd < len(crowds.hashes) and crowds.hashes[crowd] == value:
                old_texts = crowds.texts[crowd]
            spans[count, 0], spans[count, 1], spans[count, 2], spans[count, 3] = (
                at,
                stop,
                stop,
                stop,
            )
            if old_texts + new_texts > crowd_texts:
                crowd_count += 1
                limit = head_limit(old_texts + new_texts, crowd_texts, crowd_heads)
                spans[count, 2] = _head_stop(buckets, at, stop, window_texts, texts, limit, True)
            if old_texts > crowd_texts:
                limit = head_limit(old_texts, crowd_texts, crowd_heads)
                spans[count, 3] = _head_stop(buckets, at, stop, window_texts, texts, limit, False)
            count += 1
        at = stop
    return spans[:count], crowd_count


@inlined
def _head_stop(
    buckets: Buckets,
    at: int,
    stop: int,
    window_texts: Positions,
    texts: PairedTexts,
    limit: np.uint64,
    with_new: bool,
) -> int:
    """Return the end of the heads' entries in a crowd, whose entries are sorted by digest.

    Args:
        buckets, at, stop: the crowd is ``buckets[at:stop]``.
        window_texts, texts: the texts that it refers to.
        limit: of the crowd, as ``head_limit`` returns it.
        with_new: count the new texts as well as the old ones.
    """
    first = -1
    for k in range(at, stop):
        text = window_texts[np.int64(buckets[k] & np.uint64(0xFFFFFFFF))]
        if texts.is_new[text] and not with_new:
            continue
        if first < 0:
            first = text
        if not is_head(texts.upper[text], text == first, limit):
            return k
    return stop
