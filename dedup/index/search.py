"""Search the index of an archive: known keys, and known texts that new texts may pair with.

The index is a list of segments (``dedup.index.segments``), all searched in place through the page
cache. New texts share a bucket with many old ones by chance. The index stores truncated shingle
hashes of every window, which rule most of these out, so that only texts that may share a passage
are read from the tables. Windows are compared and heads of crowds chosen by the same functions as
in ``dedup.candidates``.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from palimpsest.dedup.crowds import are_heads, head_limits
from palimpsest.dedup.index.segments import Segment, empty_keys, open_segment, size_bytes
from palimpsest.dedup.windows import may_share_enough
from palimpsest.kernels.arrays import (
    Buckets,
    Bytes,
    Flags,
    Hashes,
    Keys,
    Numbers,
    Positions,
    Sizes,
    TruncatedHashes,
)
from palimpsest.kernels.columns import grow
from palimpsest.kernels.compiled import kernel
from palimpsest.kernels.sorting import distinct, distinct_digests, find_digests, halves_of
from palimpsest.records.settings import SignSettings

_TIER_BITS = 2
"""A tier is a range of sizes in bytes, each 2**_TIER_BITS times the range below."""
_MAX_BYTES = 2**34
"""Largest segment that is made by merging: it is made in memory, and its numbers have 32 bits."""
_FAN_OUT = 1 << _TIER_BITS
"""Segments of a tier that are merged into one: segments stay few, and entries move rarely."""
_ALL = 2**62
_LOW = np.uint64(0xFFFFFFFF)
_MAX_HALF = np.uint64(2**64 - 1)


class NewWindows(NamedTuple):
    """Windows of new texts, to be searched for in the index.

    Attributes:
        texts: uint8, shape (texts, 16), digests, sorted.
        window_texts: int64, shape (windows,), ascending: the number of the window's text.
        starts, ends: int64, shape (windows,): the window's span in ``prints``.
        prints: uint16, truncated shingle hashes.
        bands: for each band its bucket entries: uint64, sorted, hash above and window below; those
            of the fingerprints are the last.
    """

    texts: Bytes
    window_texts: Positions
    starts: Positions
    ends: Positions
    prints: TruncatedHashes
    bands: Sequence[Buckets]


class IndexMatches(NamedTuple):
    """Known texts and crowds that new texts may be paired with.

    Attributes:
        texts: uint8, shape (texts, 16), digests, sorted: known texts that share a bucket with a
            new text and have a similar window there; the heads of crowds, and all of a crowd whose
            heads change.
        crowds: for each band, the buckets of new texts that were crowds before: their hashes,
            uint32, sorted, and the numbers of their texts, int64.
    """

    texts: Bytes
    crowds: list[tuple[Numbers, Positions]]


class Index:
    """The segments of an archive's index."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments = list(segments)
        self._signed = [segment for segment in segments if len(segment.window_texts)]

    @classmethod
    def open(cls, folders: Sequence[Path], made_with: Any) -> Index:
        """Return the index in these folders.

        Raises:
            ContractError: a segment is lost, damaged, or made with other settings.
        """
        return cls([open_segment(folder, made_with) for folder in folders])

    def contains(self, kind: str, keys: Bytes) -> Flags:
        """Return which keys are in the index: bool, shape (keys,).

        Args:
            kind: texts, documents or sources.
            keys: uint8, shape (keys, 16).
        """
        found = np.zeros(len(keys), dtype=np.bool_)
        for segment in self._segments:
            found |= find_digests(getattr(segment, kind), keys) >= 0
        return found

    def find_matches(
        self, new: NewWindows, settings: SignSettings, workers: int = 1
    ) -> IndexMatches:
        """Return the known texts that are needed to pair the new ones."""
        if not self._signed:
            no_crowd = np.empty(0, np.uint32), np.empty(0, np.int64)
            return IndexMatches(empty_keys(), [no_crowd for _ in new.bands])
        is_match = [np.zeros(len(segment.texts), dtype=np.bool_) for segment in self._signed]
        with ThreadPoolExecutor(workers) as pool:  # bands may set the same flag, which is harmless
            search = partial(self._search_band, new, settings=settings, is_match=is_match)
            crowds = list(pool.map(search, range(len(new.bands))))
        matches = [
            segment.texts[flags] for segment, flags in zip(self._signed, is_match, strict=True)
        ]
        return IndexMatches(distinct_digests(np.concatenate(matches)), crowds)

    def are_heads(
        self, bands: Positions, hashes: Hashes, texts: Bytes, settings: SignSettings
    ) -> Flags:
        """Return whether each bucket pairs a text with all that follow: bool, shape (buckets,).

        Args:
            bands, hashes: shape (buckets,), of the buckets.
            texts: uint8, shape (buckets, 16): the digest of a text in each.
            settings: limits of crowds.
        """
        result = np.empty(len(bands), dtype=np.bool_)
        for band in distinct(bands):
            limits_of_band = settings.of_band(int(band))
            rows = np.flatnonzero(bands == band)
            buckets = distinct(hashes[rows])
            found = self._find(int(band), buckets, _ALL)
            counts = _count_texts(found)
            crowd_texts = limits_of_band.crowd_texts
            limits = head_limits(counts, crowd_texts, limits_of_band.crowd_heads)
            firsts = _first_texts(self._signed, found, len(buckets))
            bucket = np.searchsorted(buckets, hashes[rows])
            upper, lower = halves_of(texts[rows])
            is_first = (upper == firsts.upper[bucket]) & (lower == firsts.lower[bucket])
            is_small = counts[bucket] <= crowd_texts
            result[rows] = is_small | are_heads(upper, is_first, limits[bucket])
        return result

    def _find(self, band: int, hashes: Hashes, max_texts: int) -> list[_Found]:
        """Return what each segment has in some buckets of a band, at most ``max_texts`` of each."""
        return [
            _Found(*_find(*s.band(band), s.width, hashes, s.window_texts, max_texts))
            for s in self._signed
        ]

    def _search_band(
        self, new: NewWindows, band: int, settings: SignSettings, is_match: list[Flags]
    ) -> tuple[Numbers, Positions]:
        """Set the flags of one band's matches; return its crowds and the numbers of their texts."""
        settings = settings.of_band(band)
        buckets = new.bands[band]
        hashes, bounds, new_texts = _new_buckets(buckets, new.window_texts)
        firsts, stops = bounds[:-1], bounds[1:]
        found = self._find(band, hashes, settings.crowd_texts + 1)
        old_texts = _count_texts(found)
        is_crowd = old_texts > settings.crowd_texts
        is_small = old_texts + new_texts <= settings.crowd_texts
        small_stops = np.where(is_small, stops, firsts)
        self._add_similar(new, buckets, found, (firsts, small_stops), settings, is_match)
        becomes_crowd = ~is_small & ~is_crowd
        for segment, entries, flags in zip(self._signed, found, is_match, strict=True):
            flags[segment.window_texts[entries.window[becomes_crowd[entries.bucket]]]] = True
        if not is_crowd.any() or not settings.crowd_heads:  # without heads, crowds have no pairs
            return hashes[is_crowd], old_texts[is_crowd]
        found = self._find(band, hashes[is_crowd], _ALL)
        spans = firsts[is_crowd], stops[is_crowd]
        self._add_crowds(new, buckets, found, spans, new_texts[is_crowd], settings, is_match)
        return hashes[is_crowd], _count_texts(found)

    def _add_similar(
        self,
        new: NewWindows,
        buckets: Buckets,
        found: list[_Found],
        spans: tuple[Positions, Positions],
        settings: SignSettings,
        is_match: list[Flags],
    ) -> None:
        """Flag found texts with a window similar to one of the new entries in their bucket.

        Args:
            new: the new texts.
            buckets: their entries in this band.
            found: old entries.
            spans: where the new entries to compare begin and end in ``buckets``, by bucket.
            settings: how much two windows must share.
            is_match: the flags of each segment.
        """
        for segment, entries, flags in zip(self._signed, found, is_match, strict=True):
            _flag_similar(
                entries,
                _OldWindows(
                    texts=segment.window_texts,
                    starts=segment.window_starts,
                    sizes=segment.window_sizes,
                    prints=segment.prints,
                ),
                *spans,
                buckets,
                new.starts,
                new.ends,
                new.prints,
                settings.min_shared_shingles,
                settings.min_shared_share,
                flags,
            )

    def _add_crowds(
        self,
        new: NewWindows,
        buckets: Buckets,
        found: list[_Found],
        spans: tuple[Positions, Positions],
        new_texts: Positions,
        settings: SignSettings,
        is_match: list[Flags],
    ) -> None:
        """Flag heads of crowds, texts similar to a new head, and all of a crowd that loses heads.

        Args:
            new: the new texts.
            buckets: their entries in this band.
            found: all old entries in the crowds.
            spans: where the new entries of each crowd begin and end in ``buckets``.
            new_texts: shape (crowds,): number of new texts in each.
            settings: limits of crowds.
            is_match: the flags of each segment.
        """
        counts = _count_texts(found)
        before = head_limits(counts, settings.crowd_texts, settings.crowd_heads)
        after = head_limits(counts + new_texts, settings.crowd_texts, settings.crowd_heads)
        window = (buckets & _LOW).astype(np.int64)
        new_upper, new_lower = halves_of(new.texts)
        first = new.window_texts[window[spans[0]]]
        firsts = _first_texts(self._signed, found, len(counts))
        has_new_first = _is_before(new_upper[first], new_lower[first], firsts.upper, firsts.lower)
        loses_heads = (before != after) | (has_new_first & (firsts.upper >= after))
        upper = new_upper[new.window_texts[window]]
        head_stops = [
            begin + np.searchsorted(upper[begin:end], limit)
            for begin, end, limit in zip(*spans, after, strict=True)
        ]
        stops = np.where(has_new_first & (new_upper[first] >= after), spans[1], head_stops)
        self._add_similar(new, buckets, found, (spans[0], stops), settings, is_match)
        for number, (segment, entries, flags) in enumerate(
            zip(self._signed, found, is_match, strict=True)
        ):
            bucket, text = entries.bucket, segment.window_texts[entries.window].astype(np.int64)
            is_first = (firsts.segment[bucket] == number) & (firsts.text[bucket] == text)
            is_head = are_heads(halves_of(segment.texts[text])[0], is_first, before[bucket])
            flags[text[is_head | loses_heads[bucket]]] = True


class _Found(NamedTuple):
    """Entries of a segment in some buckets.

    Attributes:
        bucket, window: int64, shape (found,), sorted by bucket and window.
        texts: int64, shape (buckets,): number of texts in each, up to the limit of the search.
    """

    bucket: Positions
    window: Positions
    texts: Positions


class _OldWindows(NamedTuple):
    """The columns of ``Segment`` that windows are compared by."""

    texts: Numbers
    starts: Numbers
    sizes: Sizes
    prints: TruncatedHashes


def _count_texts(found: Sequence[_Found]) -> Positions:
    """Return the number of texts in each bucket; no text is in two segments."""
    counts: Positions = np.sum([entries.texts for entries in found], axis=0)
    return counts


def _is_before(upper: Keys, lower: Keys, other_upper: Keys, other_lower: Keys) -> Flags:
    """Return whether digests, given by their halves, sort before others."""
    is_same = (upper == other_upper) & (lower < other_lower)
    is_before: Flags = (upper < other_upper) | is_same
    return is_before


class _FirstTexts(NamedTuple):
    """The text with the lowest digest in each bucket: its segment, number, and digest halves."""

    segment: Positions
    text: Positions
    upper: Keys
    lower: Keys


def _first_texts(segments: Sequence[Segment], found: Sequence[_Found], buckets: int) -> _FirstTexts:
    """Return the first text of each bucket; a segment's entries are in the order of digests."""
    best = _FirstTexts(
        np.full(buckets, -1),
        np.full(buckets, -1),
        np.full(buckets, _MAX_HALF),
        np.full(buckets, _MAX_HALF),
    )
    for number, (segment, entries) in enumerate(zip(segments, found, strict=True)):
        bucket, first = np.unique(entries.bucket, return_index=True)
        text = segment.window_texts[entries.window[first]].astype(np.int64)
        upper, lower = halves_of(segment.texts[text])
        is_better = _is_before(upper, lower, best.upper[bucket], best.lower[bucket])
        improved = bucket[is_better]
        best.segment[improved], best.text[improved] = number, text[is_better]
        best.upper[improved], best.lower[improved] = upper[is_better], lower[is_better]
    return best


def _new_buckets(buckets: Buckets, window_texts: Positions) -> tuple[Numbers, Positions, Positions]:
    """Return the buckets of new entries.

    Returns:
        uint32, shape (buckets,), the hash of each; int64, shape (buckets + 1,), where its entries
        begin; and int64, shape (buckets,), its number of texts.
    """
    hashes = (buckets >> np.uint64(32)).astype(np.uint32)
    texts = window_texts[(buckets & _LOW).astype(np.int64)]
    is_begin = np.ones(len(hashes), dtype=np.bool_)
    is_begin[1:] = hashes[1:] != hashes[:-1]
    is_new_text = is_begin.copy()
    is_new_text[1:] |= texts[1:] != texts[:-1]
    firsts = np.flatnonzero(is_begin)
    counts = np.add.reduceat(is_new_text, firsts, dtype=np.int64) if len(firsts) else firsts
    return hashes[firsts], np.append(firsts, len(hashes)), counts


@kernel
def _find(
    slots: Numbers,
    entries: Numbers,
    width: int,
    hashes: Hashes,
    window_texts: Numbers,
    max_texts: int,
) -> tuple[Positions, Positions, Positions]:
    """Return the windows in buckets of a band, of at most ``max_texts`` texts a bucket.

    ``width`` is that of ``Segment``.

    Returns:
        int64, shape (found,), the number of the bucket in ``hashes``, and the window; and int64,
        shape (hashes,), the number of texts in each bucket.
    """
    rest, shift = np.uint64(32 - width), np.uint64(width)
    rest_mask = (np.uint64(1) << rest) - np.uint64(1)
    window_mask = (np.uint64(1) << shift) - np.uint64(1)
    found_buckets = np.empty(1024, dtype=np.int64)
    found_windows = np.empty(1024, dtype=np.int64)
    counts = np.zeros(len(hashes), dtype=np.int64)
    count = 0
    for k in range(len(hashes)):
        value = np.uint64(hashes[k])
        slot = np.int64(value >> rest)
        rest_of_hash = value & rest_mask
        at, stop = np.int64(slots[slot]), np.int64(slots[slot + 1])
        end = stop
        while at < end:
            middle = (at + end) // 2
            if np.uint64(entries[middle]) >> shift < rest_of_hash:
                at = middle + 1
            else:
                end = middle
        last, texts = np.int64(-1), 0
        while at < stop and np.uint64(entries[at]) >> shift == rest_of_hash:
            window = np.int64(np.uint64(entries[at]) & window_mask)
            text = np.int64(window_texts[window])
            if text != last:
                if texts == max_texts:
                    break
                texts += 1
                last = text
            if count == len(found_buckets):
                found_buckets = grow(found_buckets, 2 * count)
                found_windows = grow(found_windows, 2 * count)
            found_buckets[count], found_windows[count] = k, window
            count += 1
            at += 1
        counts[k] = texts
    return found_buckets[:count], found_windows[:count], counts


@kernel
def _flag_similar(
    found: _Found,
    old: _OldWindows,
    firsts: Positions,
    stops: Positions,
    buckets: Buckets,
    starts: Positions,
    ends: Positions,
    new_prints: TruncatedHashes,
    min_shared: int,
    min_share: float,
    is_match: Flags,
) -> None:
    """Set the flags of texts of which a found window may share enough with a new one."""
    for k in range(len(found.bucket)):
        bucket, window = found.bucket[k], found.window[k]
        text = old.texts[window]
        if is_match[text]:
            continue
        begin = np.int64(old.starts[window])
        old_prints = old.prints[begin : begin + np.int64(old.sizes[window])]
        for entry in range(firsts[bucket], stops[bucket]):
            number = np.int64(buckets[entry] & np.uint64(0xFFFFFFFF))
            prints = new_prints[starts[number] : ends[number]]
            if may_share_enough(old_prints, prints, min_shared, min_share):
                is_match[text] = True
                break


def segments_to_merge(index: Path, names: Sequence[str]) -> list[str]:
    """Return the segments to merge: all up to the highest tier that has enough of them."""
    sizes = {name: size_bytes(index / name) for name in names}
    tiers = {name: (size.bit_length() - 1) // _TIER_BITS for name, size in sizes.items()}
    for tier in sorted(set(tiers.values()), reverse=True):
        merged = [name for name in names if tiers[name] <= tier]
        is_full = list(tiers.values()).count(tier) >= _FAN_OUT
        if is_full and sum(sizes[name] for name in merged) < _MAX_BYTES:
            return merged
    return []
