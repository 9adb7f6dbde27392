"""Third step: the run's texts are put together, paired by shared buckets, and aligned."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dedup.alignment import Ranked, align_pairs
from dedup.candidates import Buckets, Candidates, merge_candidates, pair_band, sort_buckets
from dedup.clusters import NEAR
from dedup.signatures import Windows
from dedup.words import Words
from flows.overlaps import Links, link_pairs, overlap_rows
from flows.read import staged_batches
from flows.staging import load_array, load_arrays, save_arrays, save_table
from flows.texts import (
    Bytes,
    Hashes,
    Marked,
    Positions,
    Texts,
    mark,
    merge_texts,
    take_column,
    take_texts,
    take_windows,
    texts_of,
)
from records.ids import hex_strings
from records.settings import AlignSettings, Settings, SignSettings
from store.archive import Archive, Snapshot
from store.index import is_whole, known_texts, sharing_texts, write_segment
from store.views import connect

PAIRS_IN_CHUNK = 100_000


def gather_texts(folder: Path, archive: Archive, base: Snapshot | None, settings: Settings) -> int:
    """Put together the new texts of all batches and the old ones that share a bucket with them.

    Writes ``texts/`` (texts, words, ranked words, windows, sorted buckets, which are new) and the
    index segment of the new texts, which counts once the run commits. Returns how many are new.
    """
    batches = staged_batches(folder)
    parts = [batch.marked() for batch in batches]
    segments = segment_folders(archive, base, settings)
    texts, came_from = merge_texts([batch.texts() for batch in batches])
    texts, came_from = _only(texts, came_from, ~known_texts(segments, texts.digests))
    is_new = np.ones(len(texts.digests), dtype=np.bool_)
    target = folder / "texts"
    target.mkdir()
    with ThreadPoolExecutor(settings.run.workers) as pool:
        saving = [] if segments else _save_marked(target, parts, came_from, pool)
        windows, bands = take_windows(parts, came_from)
        buckets = _sort_bands(bands, pool)
        del bands
        _save_segment(archive.index / folder.name, texts, windows, buckets)
        old = sharing_texts(segments, buckets, settings.sign.max_bucket_windows)
        if len(old) and base is not None:
            old_texts = _load_texts(base, old)
            texts, order = merge_texts([texts, old_texts])
            is_new = order < len(is_new)
            all_parts = sum(len(part.words.offsets) - 1 for part in parts)
            came_from = np.concatenate((came_from, all_parts + np.arange(len(old))))[order]
            parts.append(mark(old_texts, settings))
            windows, bands = take_windows(parts, came_from)
            buckets = _sort_bands(bands, pool)
            del bands
        saving = saving or _save_marked(target, parts, came_from, pool)
        save_arrays(texts, target)
        save_arrays(windows, target / "windows")
        np.save(target / "is_new.npy", is_new)
        for band, entries in enumerate(buckets):
            np.save(target / f"buckets-{band:03d}.npy", entries)
        for column in saving:
            column.result()
    return int(is_new.sum())


def _save_marked(
    target: Path, parts: Sequence[Marked], came_from: Positions, pool: ThreadPoolExecutor
) -> list[Future[None]]:
    """Begin to write the words and ranked words of texts, a column at a time."""
    sources: dict[str, list[Words] | list[Ranked]] = {
        "words": [part.words for part in parts],
        "ranked": [part.ranked for part in parts],
    }

    def save(kind: str, name: str) -> None:
        np.save(target / kind / f"{name}.npy", take_column(sources[kind], name, came_from))

    for kind in sources:
        (target / kind).mkdir()
    columns = [("ranked", name) for name in Ranked._fields]
    columns += [("words", name) for name in Words._fields]
    return [pool.submit(save, *column) for column in columns]


def _only(
    texts: Texts, came_from: Positions, wanted: npt.NDArray[np.bool_]
) -> tuple[Texts, Positions]:
    if wanted.all():
        return texts, came_from
    return take_texts(texts, np.flatnonzero(wanted)), came_from[wanted]


def _sort_bands(bands: Hashes, pool: ThreadPoolExecutor) -> list[Buckets]:
    """Return the buckets of each band in order."""
    return list(pool.map(lambda band: sort_buckets(bands[:, band]), range(bands.shape[1])))


def segment_folders(archive: Archive, base: Snapshot | None, settings: Settings) -> list[Path]:
    """Return the index segments that cover the archive; a lost one is made again from its texts."""
    if base is None:
        return []
    folders = [archive.index / name for name in base.manifest.segments]
    lost = [folder for folder in folders if not is_whole(folder)]
    if not lost:
        return folders
    with connect(base) as connection:
        rows = connection.sql("SELECT text_id, text FROM folds").to_arrow_table()
    texts = texts_of(rows.column("text_id"), rows.column("text"))
    held = known_texts([folder for folder in folders if folder not in lost], texts.digests)
    texts = take_texts(texts, np.flatnonzero(~held))
    marked = mark(texts, settings)
    with ThreadPoolExecutor(settings.run.workers) as pool:
        buckets = _sort_bands(marked.bands, pool)
    _save_segment(lost[0], texts, marked.windows, buckets)
    for folder in lost[1:]:
        write_segment(folder, texts.digests[:0], (), (len(buckets), 0))
    return folders


def _save_segment(folder: Path, texts: Texts, windows: Windows, buckets: list[Buckets]) -> None:
    """Write a segment, whose entries number texts instead of windows."""
    low = np.uint64(0xFFFFFFFF)
    owner = windows.texts.astype(np.uint64)
    entries = ((band & ~low) | owner[(band & low).astype(np.int64)] for band in buckets)
    write_segment(folder, texts.digests, entries, (len(buckets), len(owner)))


def _load_texts(base: Snapshot, digests: Bytes) -> Texts:
    wanted = pa.table({"text_id": hex_strings(digests)})
    with connect(base) as connection:
        connection.register("wanted", wanted)
        rows = connection.sql(
            "SELECT text_id, text FROM folds SEMI JOIN wanted USING (text_id)"
        ).to_arrow_table()
    return texts_of(rows.column("text_id"), rows.column("text"))


def pair_texts(folder: Path, settings: SignSettings, workers: int) -> tuple[int, int]:
    """Find the candidates and write them; return their number and the buckets that were capped."""
    target = folder / "texts"
    windows = load_arrays(Windows, target / "windows")
    is_new = np.array(load_array(target / "is_new.npy"))

    def pair(path: Path) -> Candidates:
        return pair_band(np.array(load_array(path)), windows, is_new, settings)

    with ThreadPoolExecutor(workers) as pool:
        candidates = merge_candidates(pool.map(pair, sorted(target.glob("buckets-*.npy"))))
    np.save(folder / "left.npy", candidates.left)
    np.save(folder / "right.npy", candidates.right)
    return len(candidates.left), candidates.capped


def chunks_of(candidates: int) -> int:
    """Return how many chunks that many candidates are aligned in."""
    return -(-candidates // PAIRS_IN_CHUNK)


def align_chunk(folder: Path, chunk: int, settings: AlignSettings) -> int:
    """Align a chunk of the candidates, stage the overlaps, and return how many there are."""
    target = folder / "texts"
    words = load_arrays(Words, target / "words")
    ranked = load_arrays(Ranked, target / "ranked")
    mine = slice(chunk * PAIRS_IN_CHUNK, (chunk + 1) * PAIRS_IN_CHUNK)
    left = load_array(folder / "left.npy")[mine]
    right = load_array(folder / "right.npy")[mine]
    passages = align_pairs(words, ranked, left, right, settings)
    links, passages = link_pairs(words, left, right, passages, settings.fold_share)
    rows = overlap_rows(load_arrays(Texts, target), words, links, passages, folder.name)
    save_table(rows, folder / f"overlaps-{chunk:05d}.arrow")
    save_arrays(links, folder / f"links-{chunk:05d}")
    return len(passages.pair)


class Matched(NamedTuple):
    """The run's texts, and which of them are near-duplicates.

    Attributes:
        texts, words: of all texts, new and old.
        is_new: bool, shape (texts,).
        left, right: int64, shape (pairs,): near-duplicates, numbers of texts.
    """

    texts: Texts
    words: Words
    is_new: npt.NDArray[np.bool_]
    left: Positions
    right: Positions


def load_matched(folder: Path) -> Matched:
    """Return what matching staged."""
    target = folder / "texts"
    parts = [load_arrays(Links, path) for path in sorted(folder.glob("links-*"))]
    near = [part.relation == NEAR for part in parts]
    none = np.empty(0, dtype=np.int64)
    return Matched(
        load_arrays(Texts, target),
        load_arrays(Words, target / "words"),
        np.array(load_array(target / "is_new.npy")),
        np.concatenate([none, *(p.left[n] for p, n in zip(parts, near, strict=True))]),
        np.concatenate([none, *(p.right[n] for p, n in zip(parts, near, strict=True))]),
    )
