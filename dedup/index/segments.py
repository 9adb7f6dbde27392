"""Segments of the index: what a run brings to it, as sorted arrays that are searched on disk.

A segment is a folder, written once and never changed; several of a size become one.
All of it is derived from committed tables. Its files are numpy's, one for each field of
``Segment``, and ``segment.json`` says with which signatures it was made, and how long each file is.

The entries of a band are held in four bytes each. A band's hash has 26 bits: its upper bits choose
a slot, and an entry holds the rest of the hash above the number of the window. With ``width`` bits
for that number there are ``2**(width - 6)`` slots, of at most 64 entries on average.
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
from palimpsest.kernels.arrays import Buckets, Bytes, Numbers, Positions, TruncatedHashes
from palimpsest.kernels.columns import take_spans
from palimpsest.kernels.sorting import sortable, stable_order
from palimpsest.records.errors import ContractError

_FACTS = "segment.json"
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class Segment(NamedTuple):
    """What is known of some texts, documents and sources of the archive.

    Attributes:
        texts: uint8, shape (texts, 16), digests, sorted.
        documents: uint8, shape (documents, 16), ids, sorted.
        sources: uint8, shape (sources, 16), keys of URI, size and time, sorted.
        window_texts: uint32, shape (windows,), ascending: the text that a window is of.
        window_starts: uint32, shape (windows,): where it begins in ``prints``.
        window_sizes: uint16, shape (windows,), in shingles.
        prints: uint16, the lower half of each shingle: enough to rule nearly all windows out.
        slots: uint32, shape (bands, slots + 1): where the entries of a slot begin.
        entries: uint32, shape (bands, windows), sorted by hash and by window.
    """

    texts: Bytes
    documents: Bytes
    sources: Bytes
    window_texts: Numbers
    window_starts: Numbers
    window_sizes: npt.NDArray[np.uint16]
    prints: TruncatedHashes
    slots: Numbers
    entries: Numbers

    @property
    def width(self) -> int:
        """Bits of a window's number in an entry."""
        return _width(len(self.window_texts))

    def buckets(self, band: int) -> Buckets:
        """Return a band as uint64, shape (windows,): the hash above, the window below; sorted."""
        width, entries = self.width, self.entries[band].astype(np.uint64)
        slot = np.repeat(np.arange(self.slots.shape[1] - 1), np.diff(self.slots[band]))
        hashes = slot.astype(np.uint64) << np.uint64(32 - width) | entries >> np.uint64(width)
        buckets: Buckets = hashes << _HALF | entries & np.uint64((1 << width) - 1)
        return buckets


def _width(windows: int) -> int:
    return max(32 - BAND_HASH_BITS, (max(1, windows) - 1).bit_length())


def empty_keys() -> Bytes:
    """Return no digest: uint8, shape (0, 16)."""
    return np.empty((0, 16), dtype=np.uint8)


def keys_only(documents: Bytes, sources: Bytes) -> Segment:
    """Return a segment of documents and sources, without texts."""
    numbers = np.empty(0, np.uint32)
    prints, packed = np.empty(0, np.uint16), np.empty((0, 0), np.uint32)
    sizes = np.empty(0, np.uint16)
    return Segment(
        empty_keys(), documents, sources, numbers, numbers, sizes, prints, packed, packed
    )


def pack_band(buckets: Buckets) -> tuple[Numbers, Numbers]:
    """Return a band's slots and entries.

    Args:
        buckets: uint64, sorted: the hash above, the number of the window below.
    """
    width = _width(len(buckets))
    rest = np.uint64(32 - width)
    edges = np.arange((1 << (width - (32 - BAND_HASH_BITS))) + 1, dtype=np.uint64) << (rest + _HALF)
    slots = np.searchsorted(buckets, edges).astype(np.uint32)
    rests = buckets >> _HALF & ((np.uint64(1) << rest) - np.uint64(1))
    return slots, (rests << np.uint64(width) | buckets & _LOW).astype(np.uint32)


def write_segment(
    folder: Path, segment: Segment, bands: Iterable[Buckets], count: int, made_with: Any
) -> None:
    """Write a segment and make sure that it is on the disk.

    Args:
        folder: must not exist.
        segment: its slots and entries are not looked at, since they come from ``bands``.
        bands: the buckets of each band, as ``pack_band`` takes them; one is held at a time.
        count: how many bands there are.
        made_with: plain values that all segments of an index must agree on.
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


def _checksum(values: npt.NDArray[Any], of_before: int = 0) -> int:
    flat = np.ascontiguousarray(values).reshape(-1)
    return zlib.crc32(flat.view(np.uint8).data, of_before)


def open_segment(folder: Path, made_with: Any) -> Segment:
    """Map a segment; its pages are read when they are needed.

    Raises:
        ContractError: it is lost or damaged, or was made with something else.
    """
    facts = _facts_of(folder)
    if facts.made_with != made_with:
        raise ContractError(
            f"index segment {folder.name}: made with {facts.made_with}; "
            f"expected {made_with}; make it again with: palimpsest reindex"
        )
    for name, told in facts.sizes.items():
        path = folder / f"{name}.npy"
        size = path.stat().st_size if path.is_file() else None
        if size != told:
            raise _damaged(folder, f"{path.name} has {size} bytes; expected {told}")
    return Segment(*(_load(folder / f"{name}.npy") for name in Segment._fields))


def check_segment(folder: Path, made_with: Any) -> Segment:
    """Return a segment after reading it whole and comparing its checksums.

    Raises:
        ContractError: as ``open_segment``, and if a byte of it has changed.
    """
    segment = open_segment(folder, made_with)
    for name, told in _facts_of(folder).checksums.items():
        found = _checksum(getattr(segment, name))
        if found != told:
            raise _damaged(folder, f"{name}.npy has the checksum {found}; expected {told}")
    return segment


class _Facts(NamedTuple):
    """What a segment tells of itself: what it was made with; and of each file bytes and CRC-32."""

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
    gone: Mapping[str, Bytes] | None = None,
) -> None:
    """Write one segment that holds what several hold.

    Args:
        folder: must not exist.
        segments: no text, document or source may be in two of them.
        made_with: as ``write_segment`` takes it.
        gone: sorted digests of ``texts``, ``documents`` and ``sources`` that are left out.
    """
    gone = gone or {}
    keys = {
        name: _merged_keys([getattr(one, name) for one in segments], gone.get(name))
        for name in ("texts", "documents", "sources")
    }
    texts, numbers = keys["texts"]
    owners = [number[one.window_texts] for one, number in zip(segments, numbers, strict=True)]
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
    count = max((one.entries.shape[0] for one in segments), default=0)
    bands = _merged_bands(segments, renumbered, bounds, count)
    write_segment(folder, merged, bands, count, made_with)


def _merged_keys(parts: Sequence[Bytes], gone: Bytes | None) -> tuple[Bytes, list[Positions]]:
    """Return all keys but those gone, sorted; and the number of each part's keys, -1 if gone."""
    held = np.concatenate([empty_keys(), *parts])
    order = np.argsort(sortable(held), kind="stable")
    if gone is not None and len(gone):
        order = order[~np.isin(sortable(held)[order], sortable(gone))]
    number = np.full(len(held), -1, dtype=np.int64)
    number[order] = np.arange(len(order))
    bounds = np.cumsum([0, *map(len, parts)])
    return held[order], [number[first:last] for first, last in pairwise(bounds)]


def _merged_prints(
    segments: Sequence[Segment], owner: Positions, order: Positions
) -> tuple[Numbers, npt.NDArray[np.uint16], TruncatedHashes]:
    """Return where windows begin, their sizes, and the prints of the texts in their new order."""
    shifts = np.cumsum([0, *(len(one.prints) for one in segments)])
    none = np.empty(0, np.int64)
    starts = np.concatenate(
        [none, *(one.window_starts + shift for one, shift in zip(segments, shifts, strict=False))]
    )[order]
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
    place = np.cumsum(is_first) - 1
    moved = starts - starts[firsts][place] + offsets[:-1][place]
    return moved.astype(np.uint32), sizes, prints


def _merged_bands(
    segments: Sequence[Segment], renumbered: Positions, bounds: Positions, count: int
) -> Iterator[Buckets]:
    for band in range(count):
        parts = []
        for one, shift in zip(segments, bounds, strict=False):
            if not len(one.window_texts):
                continue
            buckets = one.buckets(band)
            window = renumbered[(buckets & _LOW).astype(np.int64) + shift]
            kept = (buckets & ~_LOW) | window.astype(np.uint64)
            parts.append(kept[window >= 0])
        yield np.sort(np.concatenate([np.empty(0, np.uint64), *parts]))
