"""Segments of the index: what one run adds to it, as sorted arrays that are searched on disk.

A segment is a folder that is written once and never changed; several of similar size are merged
into one. Everything in it is derived from committed tables. Its files are numpy's, one for each
field of ``Segment``, and ``segment.json`` with the settings of its signatures and the size and
checksum of each file.

A bucket entry takes four bytes. A band's hash has 26 bits: its upper bits choose a slot, and the
entry has the rest of the hash above the window number. With ``width`` bits for the window number
there are ``2**(width - 6)`` slots, of at most 64 entries on average.

*Prints* are truncated shingle hashes (``dedup.windows``): the lower 16 of 32 bits.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from palimpsest.dedup.signatures import BAND_HASH_BITS
from palimpsest.kernels.arrays import Buckets, Bytes, Numbers, Positions, Sizes, TruncatedHashes
from palimpsest.kernels.columns import take_spans
from palimpsest.kernels.sorting import sortable, stable_order
from palimpsest.records.errors import ContractError

_FACTS = "segment.json"
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class Segment(NamedTuple):
    """Keys and windows of some texts, documents and sources of the archive.

    Attributes:
        texts: uint8, shape (texts, 16), digests, sorted.
        documents: uint8, shape (documents, 16), ids, sorted.
        sources: uint8, shape (sources, 16), keys of URI, size and time, sorted.
        window_texts: uint32, shape (windows,), ascending: the number of the window's text.
        window_starts: uint32, shape (windows,): where it begins in ``prints``.
        window_sizes: uint16, shape (windows,), in shingles.
        prints: uint16, truncated shingle hashes, enough to rule out nearly all windows.
        slots: uint32, shape (bands, slots + 1): where the entries of a slot begin.
        entries: uint32, shape (bands, windows), sorted by hash and by window.
        fingerprint_slots: uint32, shape (slots + 1,), the same of the last band, that of the
            fingerprints, of which a window may have several or none; empty without fingerprints.
        fingerprint_entries: uint32, shape (fingerprints,).
    """

    texts: Bytes
    documents: Bytes
    sources: Bytes
    window_texts: Numbers
    window_starts: Numbers
    window_sizes: Sizes
    prints: TruncatedHashes
    slots: Numbers
    entries: Numbers
    fingerprint_slots: Numbers
    fingerprint_entries: Numbers

    @property
    def width(self) -> int:
        """Bits of a window number in an entry."""
        return _width(len(self.window_texts))

    def band(self, band: int) -> tuple[Numbers, Numbers]:
        """Return the slots and the entries of a band."""
        if band < len(self.entries):
            return self.slots[band], self.entries[band]
        return self.fingerprint_slots, self.fingerprint_entries

    def buckets(self, band: int) -> Buckets:
        """Return the sorted entries of a band: uint64, the hash above and the window below."""
        slots, packed = self.band(band)
        width, entries = self.width, packed.astype(np.uint64)
        slot = np.repeat(np.arange(len(slots) - 1), np.diff(slots))
        hashes = slot.astype(np.uint64) << np.uint64(32 - width) | entries >> np.uint64(width)
        buckets: Buckets = hashes << _HALF | entries & np.uint64((1 << width) - 1)
        return buckets


def _width(windows: int) -> int:
    return max(32 - BAND_HASH_BITS, (max(1, windows) - 1).bit_length())


def empty_keys() -> Bytes:
    """Return no digests: uint8, shape (0, 16)."""
    return np.empty((0, 16), dtype=np.uint8)


def keys_only(documents: Bytes, sources: Bytes) -> Segment:
    """Return a segment of documents and sources, without texts."""
    no_numbers, no_bands = np.empty(0, np.uint32), np.empty((0, 0), np.uint32)
    return Segment(
        texts=empty_keys(),
        documents=documents,
        sources=sources,
        window_texts=no_numbers,
        window_starts=no_numbers,
        window_sizes=np.empty(0, np.uint16),
        prints=np.empty(0, np.uint16),
        slots=no_bands,
        entries=no_bands,
        fingerprint_slots=no_numbers,
        fingerprint_entries=no_numbers,
    )


def pack_band(buckets: Buckets, windows: int | None = None) -> tuple[Numbers, Numbers]:
    """Return the slots and entries of a band, as they are in ``Segment``.

    Args:
        buckets: uint64, sorted: the hash above, the window number below.
        windows: number of windows; by default each has one entry.
    """
    width = _width(len(buckets) if windows is None else windows)
    rest = np.uint64(32 - width)
    edges = np.arange((1 << (width - (32 - BAND_HASH_BITS))) + 1, dtype=np.uint64) << (rest + _HALF)
    slots = np.searchsorted(buckets, edges).astype(np.uint32)
    rests = buckets >> _HALF & ((np.uint64(1) << rest) - np.uint64(1))
    return slots, (rests << np.uint64(width) | buckets & _LOW).astype(np.uint32)


def write_segment(
    folder: Path,
    segment: Segment,
    bands: Iterable[Buckets],
    count: int,
    made_with: Any,
    *,
    fingerprints: Buckets | None = None,
) -> None:
    """Write a segment and flush it to disk.

    Args:
        folder: must not exist.
        segment: its slots and entries are ignored; ``bands`` has the entries.
        bands: the bucket entries of each band, as ``pack_band`` takes them; one band is in memory
            at a time.
        count: number of bands.
        made_with: JSON values that all segments of an index must agree on.
        fingerprints: the entries of the band of the fingerprints, if it has one.

    Raises:
        ContractError: it has more shingles than 32-bit numbers can count.
    """
    if len(segment.prints) >= 2**32:
        raise ContractError(
            f"index: {len(segment.prints)} shingles in a segment; expected fewer than 2**32"
        )
    folder.mkdir(parents=True)
    slots: list[Numbers] = []

    def entries() -> Iterator[Numbers]:
        for band in bands:
            of_band, packed = pack_band(band)
            slots.append(of_band)
            yield packed

    windows = len(segment.window_texts) if count else 0
    files = {"entries": _save(folder, "entries", np.uint32, (count, windows), entries())}
    whole = segment._replace(slots=np.stack(slots) if slots else np.empty((0, 0), np.uint32))
    if fingerprints is not None:
        packed = pack_band(fingerprints, len(segment.window_texts))
        whole = whole._replace(fingerprint_slots=packed[0], fingerprint_entries=packed[1])
    for name in Segment._fields:
        if name != "entries":
            values = np.ascontiguousarray(getattr(whole, name))
            files[name] = _save(folder, name, values.dtype, values.shape, [values])
    with (folder / _FACTS).open("x", encoding="utf-8") as file:
        json.dump({"made_with": made_with, "files": files}, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())


def _save(
    folder: Path,
    name: str,
    kind: npt.DTypeLike,
    shape: tuple[int, ...],
    parts: Iterable[npt.NDArray[Any]],
) -> dict[str, int]:
    """Write an array as ``numpy.save`` does, part by part along its first axis."""
    checksum = 0
    with (folder / f"{name}.npy").open("xb") as file:
        described = np.lib.format.dtype_to_descr(np.dtype(kind))
        header = {"descr": described, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            part.tofile(file)
            checksum = _checksum(part, checksum)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    return {"bytes": size, "crc32": checksum}


def _checksum(values: npt.NDArray[Any], before: int = 0) -> int:
    flat = np.ascontiguousarray(values).reshape(-1)
    return zlib.crc32(flat.view(np.uint8).data, before)


def open_segment(folder: Path, made_with: Any) -> Segment:
    """Map a segment into memory; its pages are read on demand.

    Raises:
        ContractError: it is lost or damaged, or was made with other settings.
    """
    facts = _facts_of(folder)
    if facts.made_with != made_with:
        raise ContractError(
            f"index segment {folder.name}: made with {facts.made_with}; "
            f"expected {made_with}; make it again with: palimpsest reindex"
        )
    for name, expected in facts.sizes.items():
        path = folder / f"{name}.npy"
        size = path.stat().st_size if path.is_file() else None
        if size != expected:
            raise _damaged(folder, f"{path.name} has {size} bytes; expected {expected}")
    return Segment(*(_load(folder / f"{name}.npy") for name in Segment._fields))


def check_segment(folder: Path, made_with: Any) -> Segment:
    """Map a segment, read it completely and compare its checksums.

    Raises:
        ContractError: as ``open_segment``, or a checksum differs.
    """
    segment = open_segment(folder, made_with)
    for name, expected in _facts_of(folder).checksums.items():
        found = _checksum(getattr(segment, name))
        if found != expected:
            raise _damaged(folder, f"{name}.npy has the checksum {found}; expected {expected}")
    return segment


class _Facts(NamedTuple):
    """The contents of ``segment.json``: settings, and the size in bytes and CRC-32 of each file."""

    made_with: Any
    sizes: dict[str, int]
    checksums: dict[str, int]


def _facts_of(folder: Path) -> _Facts:
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        files = {name: facts["files"][name] for name in Segment._fields}
        return _Facts(
            facts["made_with"],
            {name: file["bytes"] for name, file in files.items()},
            {name: file["crc32"] for name, file in files.items()},
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _damaged(folder, f"{_FACTS} cannot be read: {error!r}") from error


def _damaged(folder: Path, what: str) -> ContractError:
    return ContractError(
        f"index segment {folder.name}: {what}; make the index again with: palimpsest reindex"
    )


def _load(path: Path) -> npt.NDArray[Any]:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as error:  # numpy parses the header, which can fail in any way if damaged
        raise _damaged(path.parent, f"{path.name} cannot be read: {error!r}") from error


def size_bytes(folder: Path) -> int:
    """Return the bytes of all files of a segment."""
    return sum(path.stat().st_size for path in folder.iterdir())


def merge_segments(
    folder: Path,
    segments: Sequence[Segment],
    made_with: Any,
    removed: Mapping[str, Bytes] | None = None,
) -> None:
    """Write one segment with the contents of several.

    Args:
        folder: must not exist.
        segments: no text, document or source may be in two of them.
        made_with: as ``write_segment`` takes it.
        removed: sorted digests of ``texts``, ``documents`` and ``sources`` to leave out.
    """
    removed = removed or {}
    keys = {
        name: _merged_keys([getattr(segment, name) for segment in segments], removed.get(name))
        for name in ("texts", "documents", "sources")
    }
    texts, numbers = keys["texts"]
    owners = [
        new_number[segment.window_texts]
        for segment, new_number in zip(segments, numbers, strict=True)
    ]
    owner = np.concatenate([np.empty(0, np.int64), *owners])
    order = stable_order(owner + 1)[np.count_nonzero(owner < 0) :]
    renumbered = np.full(len(owner), -1, dtype=np.int64)
    renumbered[order] = np.arange(len(order))
    starts, sizes, prints = _merged_prints(segments, owner, order)
    bounds = np.cumsum([0, *map(len, owners)])
    merged = keys_only(keys["documents"][0], keys["sources"][0])._replace(
        texts=texts,
        window_texts=owner[order].astype(np.uint32),
        window_starts=starts,
        window_sizes=sizes,
        prints=prints,
    )
    count = max((segment.entries.shape[0] for segment in segments), default=0)
    bands = _merged_bands(segments, renumbered, bounds, count)
    fingerprints = None
    if any(len(segment.fingerprint_slots) for segment in segments):
        fingerprints = _merged_band(segments, renumbered, bounds, count)
    write_segment(folder, merged, bands, count, made_with, fingerprints=fingerprints)


def _merged_keys(parts: Sequence[Bytes], removed: Bytes | None) -> tuple[Bytes, list[Positions]]:
    """Return all keys except removed ones, sorted, and the new number of each part's keys or -1."""
    keys = np.concatenate([empty_keys(), *parts])
    order = np.argsort(sortable(keys), kind="stable")
    if removed is not None and len(removed):
        order = order[~np.isin(sortable(keys)[order], sortable(removed))]
    number = np.full(len(keys), -1, dtype=np.int64)
    number[order] = np.arange(len(order))
    bounds = np.cumsum([0, *map(len, parts)])
    return keys[order], [number[first:last] for first, last in pairwise(bounds)]


def _merged_prints(
    segments: Sequence[Segment], owner: Positions, order: Positions
) -> tuple[Numbers, Sizes, TruncatedHashes]:
    """Return the starts and sizes of windows, and the prints, in the new order of texts.

    Args:
        segments: to be merged.
        owner: int64, the new number of each window's text, -1 if it is removed.
        order: int64, the remaining windows in their new order.
    """
    shifts = np.cumsum([0, *(len(segment.prints) for segment in segments)])
    shifted = (
        segment.window_starts + shift for segment, shift in zip(segments, shifts, strict=False)
    )
    starts = np.concatenate([np.empty(0, np.int64), *shifted])[order]
    sizes = np.concatenate([np.empty(0, np.uint16), *(one.window_sizes for one in segments)])[order]
    texts = owner[order]
    is_first = np.ones(len(texts), dtype=np.bool_)
    is_first[1:] = texts[1:] != texts[:-1]
    firsts = np.flatnonzero(is_first)
    lasts = np.append(firsts[1:], len(texts))[: len(firsts)] - 1
    prints, offsets = take_spans(
        np.concatenate([np.empty(0, np.uint16), *(one.prints for one in segments)]),
        starts[firsts],
        starts[lasts] + sizes[lasts],
    )
    text_number = np.cumsum(is_first) - 1
    moved = starts - starts[firsts][text_number] + offsets[:-1][text_number]
    return moved.astype(np.uint32), sizes, prints


def _merged_bands(
    segments: Sequence[Segment], renumbered: Positions, bounds: Positions, count: int
) -> Iterator[Buckets]:
    """Yield the bucket entries of each band with the new numbers of windows, -1 if removed."""
    for band in range(count):
        yield _merged_band(segments, renumbered, bounds, band)


def _merged_band(
    segments: Sequence[Segment], renumbered: Positions, bounds: Positions, band: int
) -> Buckets:
    parts = [np.empty(0, np.uint64)]
    for segment, shift in zip(segments, bounds, strict=False):
        if not len(segment.window_texts):
            continue
        buckets = segment.buckets(band)
        window = renumbered[(buckets & _LOW).astype(np.int64) + shift]
        kept = (buckets & ~_LOW) | window.astype(np.uint64)
        parts.append(kept[window >= 0])
    return np.sort(np.concatenate(parts))
