"""The index of an archive: what is known, and which known texts share a bucket with new ones.

It is a list of segments (``dedup.index.segments``), all searched in place through the page cache.
New texts share a bucket with many old ones by chance; the prints of two windows rule most of them
out, so that only texts that may share a passage are read from the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from palimpsest.dedup.crowds import head_limit
from palimpsest.dedup.index.segments import Segment, empty_keys, open_segment, size_bytes
from palimpsest.dedup.windows import count_shared
from palimpsest.kernels.arrays import (
    Buckets,
    Bytes,
    Hashes,
    Keys,
    Numbers,
    Positions,
    TruncatedHashes,
)
from palimpsest.kernels.columns import grow
from palimpsest.kernels.compiled import kernel
from palimpsest.kernels.sorting import distinct, distinct_digests, find_digests, halves_of
from palimpsest.records.settings import SignSettings

_TIER_BITS = 2
"""Segments are of a size if their bytes agree in so many bits' worth of magnitude."""
_MOST_BYTES = 2**34
"""No larger segment is made: numbers in it have 32 bits, and merging happens in memory."""
_FAN_OUT = 1 << _TIER_BITS
"""So many segments of a size become one, so that there are few, and each entry moves rarely."""
_ALL = 2**62
_LOW = np.uint64(0xFFFFFFFF)
_NO_HALF = np.uint64(2**64 - 1)


class NewWindows(NamedTuple):
    """Windows of new texts, to be looked for.

    Attributes:
        texts: uint8, shape (texts, 16), sorted.
        window_texts: int64, shape (windows,), ascending.
        starts, ends: int64, shape (windows,), in ``prints``.
        prints: uint16.
        bands: for each band uint64, sorted: the hash above, the number of the window below.
    """

    texts: Bytes
    window_texts: Positions
    starts: Positions
    ends: Positions
    prints: TruncatedHashes
    bands: Sequence[Buckets]


class IndexMatches(NamedTuple):
    """What the archive has that new texts may pair with.

    Attributes:
        texts: uint8, shape (texts, 16), sorted: known texts that share a bucket with a new one and
            whose windows there are alike; of a crowd its heads, and all of it if these change.
        crowds: for each band uint32, sorted: buckets of the new texts that were crowds before; and
            int64: how many texts were in each.
    """

    texts: Bytes
    crowds: list[tuple[Numbers, Positions]]


class Index:
    """Segments of an archive, opened to be searched."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = list(segments)
        self._signed = [one for one in segments if len(one.window_texts)]

    @classmethod
    def open(cls, folders: Sequence[Path], made_with: Any) -> Index:
        """Return the index in these folders.

        Raises:
            ContractError: a segment is lost, damaged, or made with something else.
        """
        return cls([open_segment(folder, made_with) for folder in folders])

    def contains(self, kind: str, keys: Bytes) -> npt.NDArray[np.bool_]:
        """Tell which keys are known.

        Args:
            kind: texts, documents or sources.
            keys: uint8, shape (keys, 16).
        """
        found = np.zeros(len(keys), dtype=np.bool_)
        for segment in self._segments:
            found |= find_digests(getattr(segment, kind), keys) >= 0
        return found

    def find_matches(
        self, entering: NewWindows, settings: SignSettings, workers: int = 1
    ) -> IndexMatches:
        """Return the known texts that must be at hand to pair the new ones."""
        if not self._signed:
            no_crowd = np.empty(0, np.uint32), np.empty(0, np.int64)
            return IndexMatches(empty_keys(), [no_crowd for _ in entering.bands])
        wanted = [np.zeros(len(one.texts), dtype=np.bool_) for one in self._signed]
        with ThreadPoolExecutor(workers) as pool:  # what is marked twice is marked
            share = partial(self._share_band, entering, settings=settings, wanted=wanted)
            crowds = list(pool.map(share, range(len(entering.bands))))
        held = [one.texts[flags] for one, flags in zip(self._signed, wanted, strict=True)]
        return IndexMatches(distinct_digests(np.concatenate(held)), crowds)

    def are_heads(
        self, bands: Positions, hashes: Hashes, texts: Bytes, settings: SignSettings
    ) -> npt.NDArray[np.bool_]:
        """Tell of buckets whether they pair a text with all that follow: bool, shape (buckets,).

        Args:
            bands, hashes: shape (buckets,), of buckets.
            texts: uint8, shape (buckets, 16): a text in each.
            settings: limits of crowds.
        """
        gives = np.empty(len(bands), dtype=np.bool_)
        for band in distinct(bands):
            mine = np.flatnonzero(bands == band)
            asked = distinct(hashes[mine])
            found = self._find(int(band), asked, _ALL)
            counts = _texts_in(found)
            limits = _limits_of(counts, settings.crowd_texts, settings.crowd_heads)
            firsts = _first_texts(self._signed, found, len(asked))
            place = np.searchsorted(asked, hashes[mine])
            upper, lower = halves_of(texts[mine])
            is_first = (upper == firsts.upper[place]) & (lower == firsts.lower[place])
            gives[mine] = (
                (counts[place] <= settings.crowd_texts) | (upper < limits[place]) | is_first
            )
        return gives

    def _find(self, band: int, hashes: Hashes, most: int) -> list[_Found]:
        """Return what each segment has in these buckets of a band, up to so many texts of each."""
        return [
            _Found(*_find(s.slots[band], s.entries[band], s.width, hashes, s.window_texts, most))
            for s in self._signed
        ]

    def _share_band(
        self,
        entering: NewWindows,
        band: int,
        settings: SignSettings,
        wanted: list[npt.NDArray[np.bool_]],
    ) -> tuple[Numbers, Positions]:
        """Mark what is wanted for one band, and return the crowds and how many texts they have."""
        buckets = entering.bands[band]
        hashes, firsts, new_texts = _new_buckets(buckets, entering.window_texts)
        found = self._find(band, hashes, settings.crowd_texts + 1)
        old_texts = _texts_in(found)
        is_crowd = old_texts > settings.crowd_texts
        is_plain = old_texts + new_texts <= settings.crowd_texts
        stops = np.where(is_plain, firsts[1:], firsts[:-1])
        self._mark_alike(entering, buckets, found, firsts[:-1], stops, settings, wanted)
        becomes_crowd = ~is_plain & ~is_crowd
        for segment, one, flags in zip(self._signed, found, wanted, strict=True):
            flags[segment.window_texts[one.window[becomes_crowd[one.bucket]]]] = True
        if not is_crowd.any():
            return hashes[is_crowd], old_texts[is_crowd]
        found = self._find(band, hashes[is_crowd], _ALL)
        entries = firsts[:-1][is_crowd], firsts[1:][is_crowd]
        self._mark_crowds(entering, buckets, found, entries, new_texts[is_crowd], settings, wanted)
        return hashes[is_crowd], _texts_in(found)

    def _mark_alike(
        self,
        entering: NewWindows,
        buckets: Buckets,
        found: list[_Found],
        firsts: Positions,
        stops: Positions,
        settings: SignSettings,
        wanted: list[npt.NDArray[np.bool_]],
    ) -> None:
        """Mark what was found with prints much as those of new entries from first to stop."""
        for segment, one, flags in zip(self._signed, found, wanted, strict=True):
            _mark_alike(
                one.bucket,
                one.window,
                segment.window_texts,
                segment.window_starts,
                segment.window_sizes,
                segment.prints,
                firsts,
                stops,
                buckets,
                entering.starts,
                entering.ends,
                entering.prints,
                settings.min_shared_shingles,
                settings.min_shared_share,
                flags,
            )

    def _mark_crowds(
        self,
        entering: NewWindows,
        buckets: Buckets,
        found: list[_Found],
        entries: tuple[Positions, Positions],
        new_texts: Positions,
        settings: SignSettings,
        wanted: list[npt.NDArray[np.bool_]],
    ) -> None:
        """Mark the heads of crowds, what is like a new head, and all of it if old heads go.

        Args:
            entering: the new texts.
            buckets: their entries in this band.
            found: all that is in the crowds.
            entries: where the new entries of each crowd begin and end.
            new_texts: shape (crowds,): how many new texts come to each.
            settings: limits of crowds.
            wanted: what is marked.
        """
        counts = _texts_in(found)
        before = _limits_of(counts, settings.crowd_texts, settings.crowd_heads)
        after = _limits_of(counts + new_texts, settings.crowd_texts, settings.crowd_heads)
        window = (buckets & _LOW).astype(np.int64)
        new_upper, new_lower = halves_of(entering.texts)
        first = entering.window_texts[window[entries[0]]]
        old_firsts = _first_texts(self._signed, found, len(counts))
        moves = _is_before(new_upper[first], new_lower[first], old_firsts.upper, old_firsts.lower)
        loses = (before != after) | (moves & (old_firsts.upper >= after))
        upper = new_upper[entering.window_texts[window]]
        heads = [
            begin + np.searchsorted(upper[begin:end], limit)
            for begin, end, limit in zip(*entries, after, strict=True)
        ]
        stops = np.where(moves & (new_upper[first] >= after), entries[1], heads)
        self._mark_alike(entering, buckets, found, entries[0], stops, settings, wanted)
        for number, (segment, one, flags) in enumerate(
            zip(self._signed, found, wanted, strict=True)
        ):
            text = segment.window_texts[one.window].astype(np.int64)
            is_head = halves_of(segment.texts[text])[0] < before[one.bucket]
            flags[text[is_head | loses[one.bucket]]] = True
            flags[old_firsts.text[old_firsts.segment == number]] = True


class _Found(NamedTuple):
    """What a segment has in some buckets.

    Attributes:
        bucket, window: int64, shape (found,), by bucket and window.
        texts: int64, shape (buckets,): how many texts, up to the limit of the search.
    """

    bucket: Positions
    window: Positions
    texts: Positions


def _texts_in(found: Sequence[_Found]) -> Positions:
    """Return how many texts there are in each bucket; no text is in two segments."""
    counts: Positions = np.sum([one.texts for one in found], axis=0)
    return counts


def _is_before(
    upper: Keys, lower: Keys, other_upper: Keys, other_lower: Keys
) -> npt.NDArray[np.bool_]:
    """Tell whether digests, by their halves, sort before others."""
    is_same = (upper == other_upper) & (lower < other_lower)
    is_before: npt.NDArray[np.bool_] = (upper < other_upper) | is_same
    return is_before


@kernel
def _limits_of(texts: Positions, crowd_texts: int, crowd_heads: int) -> Keys:
    """Return the limit of heads for crowds of so many texts; of no use for smaller buckets."""
    limits = np.empty(len(texts), dtype=np.uint64)
    for k in range(len(texts)):
        limits[k] = head_limit(texts[k], crowd_texts, crowd_heads)
    return limits


class _FirstTexts(NamedTuple):
    """The text of each bucket that sorts first: its segment, number, and digest in halves."""

    segment: Positions
    text: Positions
    upper: Keys
    lower: Keys


def _first_texts(segments: Sequence[Segment], found: Sequence[_Found], buckets: int) -> _FirstTexts:
    """Return the first text of each bucket; the first that a segment has is its least."""
    best = _FirstTexts(
        np.full(buckets, -1),
        np.full(buckets, -1),
        np.full(buckets, _NO_HALF),
        np.full(buckets, _NO_HALF),
    )
    for number, (segment, one) in enumerate(zip(segments, found, strict=True)):
        bucket, first = np.unique(one.bucket, return_index=True)
        text = segment.window_texts[one.window[first]].astype(np.int64)
        upper, lower = halves_of(segment.texts[text])
        better = _is_before(upper, lower, best.upper[bucket], best.lower[bucket])
        mine = bucket[better]
        best.segment[mine], best.text[mine] = number, text[better]
        best.upper[mine], best.lower[mine] = upper[better], lower[better]
    return best


def _new_buckets(buckets: Buckets, window_texts: Positions) -> tuple[Numbers, Positions, Positions]:
    """Return the hashes of new entries, where those of each begin, and how many texts it has."""
    hashes = (buckets >> np.uint64(32)).astype(np.uint32)
    texts = window_texts[(buckets & _LOW).astype(np.int64)]
    begins = np.ones(len(hashes), dtype=np.bool_)
    begins[1:] = hashes[1:] != hashes[:-1]
    is_text = begins.copy()
    is_text[1:] |= texts[1:] != texts[:-1]
    firsts = np.flatnonzero(begins)
    counts = np.add.reduceat(is_text, firsts, dtype=np.int64) if len(firsts) else firsts
    return hashes[firsts], np.append(firsts, len(hashes)), counts


@kernel
def _find(
    slots: Numbers,
    entries: Numbers,
    width: int,
    hashes: Hashes,
    window_texts: Numbers,
    most: int,
) -> tuple[Positions, Positions, Positions]:
    """Return the windows in buckets of a band, up to so many texts of each.

    Returns:
        int64, shape (found,): which bucket; its window; and shape (hashes,), how many texts.
    """
    rest, shift = np.uint64(32 - width), np.uint64(width)
    rest_mask = (np.uint64(1) << rest) - np.uint64(1)
    window_mask = (np.uint64(1) << shift) - np.uint64(1)
    which = np.empty(1024, dtype=np.int64)
    windows = np.empty(1024, dtype=np.int64)
    counts = np.zeros(len(hashes), dtype=np.int64)
    count = 0
    for k in range(len(hashes)):
        value = np.uint64(hashes[k])
        slot = np.int64(value >> rest)
        wanted = value & rest_mask
        at, stop = np.int64(slots[slot]), np.int64(slots[slot + 1])
        end = stop
        while at < end:
            middle = (at + end) // 2
            if np.uint64(entries[middle]) >> shift < wanted:
                at = middle + 1
            else:
                end = middle
        last, held = np.int64(-1), 0
        while at < stop and np.uint64(entries[at]) >> shift == wanted:
            window = np.int64(np.uint64(entries[at]) & window_mask)
            text = np.int64(window_texts[window])
            if text != last:
                if held == most:
                    break
                held += 1
                last = text
            if count == len(which):
                which, windows = grow(which, 2 * count), grow(windows, 2 * count)
            which[count], windows[count] = k, window
            count += 1
            at += 1
        counts[k] = held
    return which[:count], windows[:count], counts


@kernel
def _mark_alike(
    which: Positions,
    windows: Positions,
    window_texts: Numbers,
    window_starts: Numbers,
    window_sizes: npt.NDArray[np.uint16],
    prints: TruncatedHashes,
    firsts: Positions,
    stops: Positions,
    buckets: Buckets,
    starts: Positions,
    ends: Positions,
    new_prints: TruncatedHashes,
    min_shared: int,
    min_share: float,
    wanted: npt.NDArray[np.bool_],
) -> None:
    """Mark the texts of found windows whose prints agree enough with those of a new window."""
    for k in range(len(which)):
        bucket, window = which[k], windows[k]
        text = window_texts[window]
        if wanted[text]:
            continue
        begin = np.int64(window_starts[window])
        size = np.int64(window_sizes[window])
        old = prints[begin : begin + size]
        for entry in range(firsts[bucket], stops[bucket]):
            number = np.int64(buckets[entry] & np.uint64(0xFFFFFFFF))
            new = new_prints[starts[number] : ends[number]]
            shared = max(count_shared(old, new), count_shared(new, old))
            if shared >= min_shared and shared >= min_share * min(size, np.int64(len(new))):
                wanted[text] = True
                break


def segments_to_merge(index: Path, names: Sequence[str]) -> list[str]:
    """Return the segments that should become one: so many of a size, with all that are smaller."""
    sizes = {name: size_bytes(index / name) for name in names}
    tiers = {name: (size.bit_length() - 1) // _TIER_BITS for name, size in sizes.items()}
    for tier in sorted(set(tiers.values()), reverse=True):
        merged = [name for name in names if tiers[name] <= tier]
        is_many = sum(one == tier for one in tiers.values()) >= _FAN_OUT
        if is_many and sum(sizes[name] for name in merged) < _MOST_BYTES:
            return merged
    return []
