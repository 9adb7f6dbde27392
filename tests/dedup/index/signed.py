"""Texts with windows and hashes drawn at random, in the forms in which the index takes them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from palimpsest.dedup.candidates import sort_buckets
from palimpsest.dedup.fingerprints import find_fingerprints
from palimpsest.dedup.index.search import NewWindows
from palimpsest.dedup.index.segments import Segment, keys_only, pack_band
from palimpsest.dedup.signatures import BAND_HASH_BITS, Windows
from palimpsest.records.settings import SignSettings
from tests import oracles

BANDS = 2
MADE_WITH = {"seed": 1}


class Signed(NamedTuple):
    """Shingles of a text, and for each of its windows the hash of each band."""

    shingles: tuple[int, ...]
    hashes: tuple[tuple[int, ...], ...]

    def windows(self) -> list[tuple[int, int]]:
        """Return the spans of the windows."""
        return spans_of(len(self.shingles))


def spans_of(shingles: int) -> list[tuple[int, int]]:
    """Return windows of four shingles, from two to two."""
    return oracles.cut_windows(shingles, 4, 2, 1)


digests = st.one_of(
    st.binary(min_size=16, max_size=16),
    st.tuples(st.sampled_from([b"\0" * 8, b"\x10" + b"\0" * 7]), st.binary(min_size=8, max_size=8)).map(b"".join),
)  # fmt: skip
"""Digests, some of which have an upper half in common."""
key_sets = st.sets(digests, max_size=6)


@st.composite
def signed_texts(draw: st.DrawFn) -> Signed:
    """Draw a text; few shingles, some with equal truncated hashes, and few band hashes."""
    value = st.sampled_from([1, 2, 3, 2**16 + 1, 2**16 + 2, 2**31 + 1])
    shingles = tuple(draw(st.lists(value, max_size=8)))
    one_hash = st.sampled_from([0, 0, 0x1555555, 0x1555556, 2**BAND_HASH_BITS - 1])
    windows = len(spans_of(len(shingles)))
    hashes = st.tuples(*[one_hash] * BANDS)
    return Signed(shingles, tuple(draw(st.lists(hashes, min_size=windows, max_size=windows))))


late_digests = digests.map(lambda digest: bytes([digest[0] | 0x80]) + digest[1:])
"""Digests that make no head: their upper half is in the upper half of all."""


def collections(most: int) -> st.SearchStrategy[dict[bytes, Signed]]:
    """Return a strategy for texts by their digests; often there are hardly any heads among them."""
    return st.sampled_from([digests, late_digests]).flatmap(
        lambda keys: st.dictionaries(keys, signed_texts(), max_size=most)
    )


def keys_of(keys: object) -> np.ndarray:
    """Return digests as an index takes them, sorted."""
    return np.frombuffer(b"".join(sorted(keys)), dtype=np.uint8).reshape(-1, 16)


def rows_of(keys: np.ndarray) -> list[bytes]:
    """Return digests as bytes."""
    return [row.tobytes() for row in keys]


def enter(texts: Mapping[bytes, Signed], sign: SignSettings | None = None) -> NewWindows:
    """Return texts as the index looks for them, with fingerprints if ``sign`` is given."""
    in_order = [texts[digest] for digest in sorted(texts)]
    firsts = np.cumsum([0, *(len(one.shingles) for one in in_order)], dtype=np.int64)
    windows = [
        (number, firsts[number] + start, firsts[number] + end)
        for number, one in enumerate(in_order)
        for start, end in one.windows()
    ]
    columns = np.array(windows, dtype=np.int64).reshape(-1, 3)
    hashes = np.array([h for one in in_order for h in one.hashes], dtype=np.uint32).reshape(
        -1, BANDS
    )
    prints = np.array(
        [value % 2**16 for one in in_order for value in one.shingles], dtype=np.uint16
    )
    bands = [sort_buckets(hashes[:, band]) for band in range(BANDS)]
    if sign is not None:
        shingles = np.array([v for one in in_order for v in one.shingles], dtype=np.uint32)
        windows = Windows(shingles, *(columns[:, n].copy() for n in range(3)))
        bands.append(find_fingerprints(windows, sign).buckets())
    return NewWindows(keys_of(texts), *(columns[:, n].copy() for n in range(3)), prints, bands)


def segment_of(
    texts: Mapping[bytes, Signed],
    documents: object = (),
    sources: object = (),
    sign: SignSettings | None = None,
) -> Segment:
    """Return a segment of texts, as it is on disk, with fingerprints if ``sign`` is given."""
    entering = enter(texts, sign)
    packed = [pack_band(band) for band in entering.bands[:BANDS]]
    no_numbers = np.empty(0, np.uint32)
    fingerprints = no_numbers, no_numbers
    if sign is not None:
        fingerprints = pack_band(entering.bands[BANDS], len(entering.window_texts))
    return keys_only(keys_of(documents), keys_of(sources))._replace(
        texts=entering.texts,
        window_texts=entering.window_texts.astype(np.uint32),
        window_starts=entering.starts.astype(np.uint32),
        window_sizes=(entering.ends - entering.starts).astype(np.uint16),
        prints=entering.prints,
        slots=np.stack([slots for slots, _ in packed]),
        entries=np.stack([entries for _, entries in packed]),
        fingerprint_slots=fingerprints[0],
        fingerprint_entries=fingerprints[1],
    )


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder of its own to one example of a property."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
