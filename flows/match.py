"""Third step: the run's texts are put together, paired by shared buckets, and aligned."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dedup.alignment import Passages, Ranked, align_pairs, rank_words
from dedup.candidates import Candidates, merge_candidates, pair_band, sort_buckets
from dedup.clusters import aligned_words
from dedup.signatures import Windows
from dedup.words import Words
from flows.read import staged_batches
from flows.staging import load_array, load_arrays, save_arrays
from flows.texts import (
    Bytes,
    Marked,
    Positions,
    Texts,
    mark,
    merge_texts,
    take_marked,
    take_texts,
    texts_of,
)
from records.ids import hex_strings
from records.settings import AlignSettings, Settings, SignSettings
from store.archive import Archive, Snapshot
from store.index import is_whole, known_texts, sharing_texts, write_segment
from store.views import connect

PAIRS_IN_CHUNK = 250_000


def gather_texts(folder: Path, archive: Archive, base: Snapshot | None, settings: Settings) -> int:
    """Put together the new texts of all batches and the old ones that share a bucket with them.

    Writes ``texts/`` (texts, words, ranked words, windows, bands, which are new) and the index
    segment of the new texts, which counts once the run commits. Returns the number of new texts.
    """
    batches = staged_batches(folder)
    texts, came_from = merge_texts([batch.texts() for batch in batches])
    segments = segment_folders(archive, base, settings)
    is_new = ~known_texts(segments, texts.digests)
    marked = take_marked([batch.marked() for batch in batches], came_from)
    if not is_new.all():
        texts, marked = _only(texts, marked, np.flatnonzero(is_new))
    sorted_bands = [sort_buckets(marked.bands[:, band]) for band in range(marked.bands.shape[1])]
    _save_segment(archive.index / folder.name, texts, marked, sorted_bands)
    old = sharing_texts(segments, iter(sorted_bands), settings.sign.max_bucket_windows)
    is_new = np.ones(len(texts.digests), dtype=np.bool_)
    if len(old) and base is not None:
        texts, marked, is_new = _with_old(texts, marked, _load_texts(base, old), settings)
    target = folder / "texts"
    save_arrays(texts, target)
    save_arrays(marked.words, target / "words")
    save_arrays(rank_words(marked.words, settings.align), target / "ranked")
    save_arrays(marked.windows, target / "windows")
    np.save(target / "bands.npy", marked.bands)
    np.save(target / "is_new.npy", is_new)
    return int(is_new.sum())


def _only(texts: Texts, marked: Marked, numbers: Positions) -> tuple[Texts, Marked]:
    return take_texts(texts, numbers), take_marked([marked], numbers)


def _with_old(
    texts: Texts, marked: Marked, old: Texts, settings: Settings
) -> tuple[Texts, Marked, npt.NDArray[np.bool_]]:
    """Return new and old texts as one, and which are new."""
    merged, came_from = merge_texts([texts, old])
    both = take_marked([marked, mark(old, settings.sign)], came_from)
    return merged, both, came_from < len(texts.digests)


def segment_folders(archive: Archive, base: Snapshot | None, settings: Settings) -> list[Path]:
    """Return the index segments that cover the archive; a lost one is made again from its texts."""
    if base is None:
        return []
    folders = [archive.index / name for name in base.manifest.segments]
    lost = [folder for folder in folders if not is_whole(folder)]
    if not lost:
        return folders
    with connect(base) as connection:
        rows = connection.execute("SELECT text_id, text FROM folds").to_arrow_table()
    texts = texts_of(rows.column("text_id"), rows.column("text"))
    held = known_texts([folder for folder in folders if folder not in lost], texts.digests)
    texts, marked = _only(texts, mark(texts, settings.sign), np.flatnonzero(~held))
    sorted_bands = [sort_buckets(marked.bands[:, band]) for band in range(marked.bands.shape[1])]
    _save_segment(lost[0], texts, marked, sorted_bands)
    for folder in lost[1:]:
        write_segment(folder, texts.digests[:0], [entries[:0] for entries in sorted_bands])
    return folders


def _save_segment(
    folder: Path, texts: Texts, marked: Marked, sorted_bands: list[npt.NDArray[np.uint64]]
) -> None:
    """Write a segment whose entries number texts, not windows."""
    low = np.uint64(0xFFFFFFFF)
    owner = marked.windows.texts.astype(np.uint64)
    entries = [(band & ~low) | owner[(band & low).astype(np.int64)] for band in sorted_bands]
    write_segment(folder, texts.digests, entries)


def _load_texts(base: Snapshot, digests: Bytes) -> Texts:
    wanted = pa.table({"text_id": hex_strings(digests)})
    with connect(base) as connection:
        connection.register("wanted", wanted)
        rows = connection.execute(
            "SELECT text_id, text FROM folds SEMI JOIN wanted USING (text_id)"
        ).to_arrow_table()
    return texts_of(rows.column("text_id"), rows.column("text"))


def pair_texts(folder: Path, settings: SignSettings, workers: int) -> tuple[int, int]:
    """Find the candidates and write them; return their number and the buckets that were capped."""
    target = folder / "texts"
    windows = load_arrays(Windows, target / "windows")
    bands = load_array(target / "bands.npy")
    is_new = np.array(load_array(target / "is_new.npy"))

    def pair(band: int) -> Candidates:
        return pair_band(sort_buckets(bands[:, band]), windows, is_new, settings)

    with ThreadPoolExecutor(workers) as pool:
        candidates = merge_candidates(list(pool.map(pair, range(bands.shape[1]))))
    np.save(folder / "left.npy", candidates.left)
    np.save(folder / "right.npy", candidates.right)
    return len(candidates.left), candidates.capped


def chunks_of(candidates: int) -> int:
    """Return how many chunks that many candidates are aligned in."""
    return -(-candidates // PAIRS_IN_CHUNK)


def align_chunk(folder: Path, chunk: int, settings: AlignSettings) -> int:
    """Align a chunk of the candidates and stage the passages; return how many there are."""
    target = folder / "texts"
    words = load_arrays(Words, target / "words")
    ranked = load_arrays(Ranked, target / "ranked")
    first = chunk * PAIRS_IN_CHUNK
    mine = slice(first, first + PAIRS_IN_CHUNK)
    left = load_array(folder / "left.npy")[mine]
    right = load_array(folder / "right.npy")[mine]
    passages = align_pairs(words, ranked, left, right, settings)
    save_arrays(passages._replace(pair=passages.pair + first), folder / f"aligned-{chunk:05d}")
    return len(passages.pair)


class Matched(NamedTuple):
    """The run's texts, and what they share.

    Attributes:
        texts, words: of all texts, new and old.
        is_new: bool, shape (texts,).
        left, right: int64, shape (pairs,): pairs with at least one passage, numbers of texts.
        left_share, right_share: float64, shape (pairs,): share of words aligned, all passages.
        passages: their ``pair`` numbers these pairs.
    """

    texts: Texts
    words: Words
    is_new: npt.NDArray[np.bool_]
    left: Positions
    right: Positions
    left_share: npt.NDArray[np.float64]
    right_share: npt.NDArray[np.float64]
    passages: Passages


def load_matched(folder: Path) -> Matched:
    """Return what matching staged, pairs without a passage left out."""
    target = folder / "texts"
    words = load_arrays(Words, target / "words")
    parts = [load_arrays(Passages, path) for path in sorted(folder.glob("aligned-*"))]
    passages = Passages(*(_joined(columns) for columns in zip(*parts, strict=True))) if parts else (
        Passages(*(np.empty(0, dtype=np.int64) for _ in range(6)), np.empty(0, dtype=np.float32))
    )
    pairs, numbers = np.unique(passages.pair, return_inverse=True)
    passages = passages._replace(pair=numbers)
    left = load_array(folder / "left.npy")[pairs]
    right = load_array(folder / "right.npy")[pairs]
    aligned = aligned_words(passages, len(pairs))
    sizes = np.diff(words.offsets)
    return Matched(
        load_arrays(Texts, target),
        words,
        np.array(load_array(target / "is_new.npy")),
        left,
        right,
        aligned / sizes[left],
        aligned / sizes[right],
        passages,
    )


def _joined(columns: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate(list(columns))
