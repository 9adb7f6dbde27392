"""The index of an archive's texts: which are known, and which share a bucket with new ones.

A segment is written by each run that brings new texts, and never changed:

- ``texts.npy``: uint8, shape (texts, 16): their digests, sorted.
- ``buckets.npy``: uint64, shape (bands, entries): the band's hash above, the number of the text
  below, sorted by band; searched in place, through the page cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from records.columns import distinct, places_of

Bytes = npt.NDArray[np.uint8]
Buckets = npt.NDArray[np.uint64]

_TEXTS, _BUCKETS = "texts.npy", "buckets.npy"


def write_segment(
    folder: Path, digests: Bytes, buckets: Iterable[Buckets], shape: tuple[int, int]
) -> None:
    """Write a segment.

    Args:
        folder: must not exist.
        digests: uint8, shape (texts, 16), sorted.
        buckets: an array a band, each sorted; their lower halves number ``digests``.
        shape: how many bands there are, and how many entries each has.
    """
    folder.mkdir(parents=True)
    np.save(folder / _TEXTS, digests)
    with (folder / _BUCKETS).open("wb") as file:
        header = {"descr": "<u8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for entries in buckets:
            file.write(entries.tobytes())


def is_whole(folder: Path) -> bool:
    """Tell whether a segment is there."""
    return (folder / _TEXTS).is_file() and (folder / _BUCKETS).is_file()


def known_texts(segments: Sequence[Path], digests: Bytes) -> npt.NDArray[np.bool_]:
    """Tell which digests are in some segment: bool, shape (digests,)."""
    known = np.zeros(len(digests), dtype=np.bool_)
    for folder in segments:
        known |= places_of(np.load(folder / _TEXTS, mmap_mode="r"), digests) >= 0
    return known


def sharing_texts(segments: Sequence[Path], buckets: Sequence[Buckets], max_entries: int) -> Bytes:
    """Return the digests of known texts that share a bucket with one of the given entries.

    Args:
        segments: folders of segments.
        buckets: an array a band, as in a segment; only the hashes are looked at.
        max_entries: how many texts of one bucket of one segment are taken, in the order stored.

    Returns:
        uint8, shape (texts, 16), sorted, no repeats.
    """
    if not segments:
        return np.empty((0, 16), dtype=np.uint8)
    held = [np.load(folder / _BUCKETS, mmap_mode="r") for folder in segments]
    found: list[list[npt.NDArray[np.int64]]] = [[] for _ in segments]
    for band, entries in enumerate(buckets):
        hashes = distinct(entries >> np.uint64(32)) << np.uint64(32)
        for number, segment in enumerate(held):
            found[number].append(_entries_of(segment[band], hashes, max_entries))
    digests = [
        np.load(folder / _TEXTS, mmap_mode="r")[distinct(np.concatenate(texts))]
        for folder, texts in zip(segments, found, strict=True)
    ]
    return np.unique(np.concatenate(digests), axis=0)


def _entries_of(stored: Buckets, hashes: Buckets, most: int) -> npt.NDArray[np.int64]:
    """Return the numbers of the texts in the buckets of these hashes, at most so many of each."""
    first = np.searchsorted(stored, hashes)
    last = np.searchsorted(stored, hashes | np.uint64(0xFFFFFFFF), side="right")
    counts = np.minimum(last - first, most)
    places = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    texts: npt.NDArray[np.int64] = (stored[places] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return texts
