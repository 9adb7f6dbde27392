"""Third step: the run's texts are put together, paired by shared buckets, and aligned."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from palimpsest.dedup.alignment import align_pairs
from palimpsest.dedup.candidates import (
    Candidates,
    Crowds,
    PairedTexts,
    common_buckets,
    merge_candidates,
    pack_pairs,
    pair_band,
    shared_buckets,
    sort_buckets,
    unpack_pairs,
)
from palimpsest.dedup.clusters import NEAR, Links, link_pairs
from palimpsest.dedup.index.search import Index, NewWindows
from palimpsest.dedup.signatures import Windows
from palimpsest.dedup.texts import Texts, sign_texts, split_texts, take_windows, texts_of
from palimpsest.dedup.windows import sketch_windows
from palimpsest.kernels.arrays import Bytes, Hashes, Pairs, Positions
from palimpsest.kernels.sorting import distinct, find_digests, first_of_each, halves_of
from palimpsest.pipeline.index_upkeep import enter, open_index, save_segment, sort_bands
from palimpsest.pipeline.new_rows import load_new_rows
from palimpsest.pipeline.overlaps import (
    PAIRS_IN_CHUNK,
    links_path,
    overlap_rows,
    stage_overlaps,
    staged_chunks,
)
from palimpsest.pipeline.read import StagedBatch, stage_texts, staged_batches
from palimpsest.pipeline.run_texts import RunTexts, load_digests, load_words, save_gathered
from palimpsest.pipeline.staging import load_array, load_arrays, save_arrays
from palimpsest.records.errors import ContractError
from palimpsest.records.ids import hex_strings
from palimpsest.records.settings import AlignSettings, Settings, SignSettings
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.views import connect

TEXTS_IN_GROUP = 10_000
"""The bands of fewer texts are paired in one task, which takes about a second or less."""
_PIECE_BYTES = 4 * 2**20
"""So much text of the archive is marked at a time."""


def gather_texts(
    folder: Path,
    archive: StoredArchive,
    version: int | None,
    segments: Sequence[str],
    settings: Settings,
) -> int:
    """Put together the new texts of all batches and the old ones that they may pair with.

    Writes what ``lay_out`` does, and the index segment of what is new, which counts once the run
    commits. Returns how many texts are new.

    Args:
        folder: the run's.
        archive: whose lock the run holds.
        version: that readers see, or None before the first; it is opened where the step runs,
            since a manifest of many files is no small argument.
        segments: of the index.
        settings: of the run.
    """
    base = _version_seen(archive, version)
    segment = archive.index / folder.name
    for begun in (folder / "texts", segment):  # by a worker that was lost
        if begun.exists():
            shutil.rmtree(begun)
    parts, news = staged_batches(folder), load_new_rows(folder)
    index = open_index(archive, segments, settings)
    all_digests = np.concatenate([part.texts().digests for part in parts])
    came_from = first_of_each(all_digests)
    digests = all_digests[came_from]
    is_new = ~index.contains("texts", digests)
    if news.rejects.num_rows:
        is_new &= find_digests(news.text_digests(), digests) >= 0
    came_from, digests = came_from[is_new], digests[is_new]

    def keep(entering: NewWindows) -> None:
        save_segment(segment, entering, news.document_keys, news.source_keys, settings)

    lay_out(folder, parts, digests, came_from, index, base, settings, keep)
    return len(digests)


def _version_seen(archive: StoredArchive, version: int | None) -> Snapshot | None:
    """Return the version that readers see.

    Raises:
        ContractError: it is not the one that the run was given.
    """
    if version is None:
        return None
    base = archive.snapshot()
    if base.manifest.version != version:
        raise ContractError(
            f"archive {archive.path}: readers see version {base.manifest.version}; expected "
            f"{version}, since the run holds its lock; do all workers see the same files?"
        )
    return base


def lay_out(
    folder: Path,
    parts: Sequence[StagedBatch],
    digests: Bytes,
    came_from: Positions,
    index: Index,
    base: Snapshot | None,
    settings: Settings,
    keep: Callable[[NewWindows], None],
) -> None:
    """Write what is to be known of texts that come to an archive, and old ones they may pair with.

    Writes ``texts/``: where the texts are, words, ranked words, windows, shared buckets, crowds,
    which are new.

    Args:
        folder: the run's.
        parts: that hold the texts that come, with their words and windows.
        digests: of the texts that come, sorted.
        came_from: which of all texts in ``parts`` each one is.
        index: of the texts that they may pair with.
        base: the version that those are read from.
        settings: of the archive.
        keep: takes the texts as the index looks for them, while other things are written.
    """
    target = folder / "texts"
    target.mkdir(exist_ok=True)
    is_new = np.ones(len(digests), dtype=np.bool_)
    with ThreadPoolExecutor(settings.run.workers) as pool:
        saving = []
        if base is None:
            saving += [
                pool.submit(save_gathered, folder, parts, digests, came_from, settings.align)
            ]
        marked = [part.marked() for part in parts]
        windows, bands = take_windows(marked, came_from)
        entering = enter(digests, windows, sort_bands(bands, pool))
        del bands
        saving += [pool.submit(keep, entering)]
        sharing = index.find_matches(entering, settings.sign, settings.run.workers)
        with_old: Hashes | None = None
        if base is not None:  # one after the other, so that less is held
            all_texts = sum(len(one.words.offsets) - 1 for one in marked)
            old = all_texts + np.arange(len(sharing.texts))
            parts = [*parts, *_stage_old(load_texts(base, sharing.texts), target, pool, settings)]
            digests = np.concatenate((digests, sharing.texts))
            order = first_of_each(digests)
            is_new = order < len(is_new)
            digests, came_from = digests[order], np.concatenate((came_from, old))[order]
            save_gathered(folder, parts, digests, came_from, settings.align)
            windows, with_old = take_windows([part.marked() for part in parts], came_from)
        save_arrays(windows, target / "windows")
        np.save(target / "is_new.npy", is_new)

        def save_band(band: int) -> None:
            new = entering.bands[band]
            buckets = new if with_old is None else sort_buckets(with_old[:, band])
            np.save(target / f"buckets-{band:03d}.npy", shared_buckets(buckets))
            save_arrays(Crowds(*sharing.crowds[band]), target / f"crowds-{band:03d}")

        del windows
        saving += [pool.submit(save_band, band) for band in range(settings.sign.bands)]
        for one in saving:
            one.result()


def _stage_old(
    texts: Texts, target: Path, pool: ThreadPoolExecutor, settings: Settings
) -> list[StagedBatch]:
    """Find words and windows of texts, some at a time, and stage them."""
    pieces = split_texts(texts, max(settings.run.workers, -(-len(texts.buffer) // _PIECE_BYTES)))
    places = [target / f"old-{number:05d}" for number in range(len(pieces))]

    def stage(piece: Texts, place: Path) -> StagedBatch:
        return stage_texts(piece, sign_texts(piece, settings), place)

    return list(pool.map(stage, pieces, places))


def load_texts(base: Snapshot, digests: Bytes) -> Texts:
    """Return texts of a version by their digests.

    Raises:
        ContractError: one is not there.
    """
    if not len(digests):
        return texts_of(pa.array([], pa.string()), pa.array([], pa.string()))
    with connect(base) as connection:
        connection.register("wanted", pa.table({"text_id": hex_strings(digests)}))
        rows = connection.sql(
            "SELECT text_id, text FROM folds SEMI JOIN wanted USING (text_id)"
        ).to_arrow_table()
    if rows.num_rows != len(digests):
        raise ContractError(
            f"index: {len(digests)} texts asked for, {rows.num_rows} found in the tables; "
            f"make the index again with: palimpsest reindex"
        )
    return texts_of(rows.column("text_id"), rows.column("text"))


def band_groups(folder: Path, settings: SignSettings, workers: int) -> int:
    """Return how many groups the bands are paired in: one a worker, or fewer for few texts."""
    texts = len(load_array(folder / "texts" / "is_new.npy"))
    return max(1, min(workers, settings.bands, texts // TEXTS_IN_GROUP))


def pair_bands(folder: Path, group: int, groups: int, settings: SignSettings) -> int:
    """Find the candidates of a group of bands and stage them; return the number of crowds.

    Args:
        folder: the run's.
        group: of ``groups``: every so manieth band, from this one on.
        groups: how many groups there are.
        settings: of signatures and crowds.
    """
    target = folder / "texts"
    windows = load_arrays(Windows, target / "windows")
    sketches = sketch_windows(windows)
    upper, _ = halves_of(load_digests(folder))
    texts = PairedTexts(np.array(load_array(target / "is_new.npy")), upper)

    def pair(band: int) -> Candidates:
        buckets = np.array(load_array(target / f"buckets-{band:03d}.npy"))
        crowds = Crowds(*map(np.array, load_arrays(Crowds, target / f"crowds-{band:03d}")))
        return pair_band(buckets, windows, sketches, texts, crowds, settings)

    found = merge_candidates(map(pair, range(group, settings.bands, groups)))
    save_arrays(found, folder / f"candidates-{group:03d}")
    return found.crowds


def merge_groups(folder: Path, groups: int) -> tuple[int, int]:
    """Put together the candidates of all groups; return their number and that of the crowds."""
    staged = (load_arrays(Candidates, folder / f"candidates-{n:03d}") for n in range(groups))
    found = merge_candidates(part._replace(crowds=int(part.crowds)) for part in staged)
    np.save(folder / "pairs.npy", found.pairs)
    np.save(folder / "lost.npy", found.lost)
    return len(found.pairs), found.crowds


def pairs_given_up(
    folder: Path, archive: StoredArchive, segments: Sequence[str], settings: Settings
) -> Pairs:
    """Return the pairs that crowds gave up and that no other bucket gives: packed.

    Args:
        folder: where candidates are written.
        archive: whose index is asked.
        segments: of all texts, the new ones too.
        settings: of the archive.
    """
    lost = np.array(load_array(folder / "lost.npy"))
    if not len(lost):
        return lost
    texts = RunTexts.load(folder)
    left, right = unpack_pairs(lost)
    concerned = distinct(np.concatenate((left, right)))
    marked = sign_texts(texts.take(concerned), settings)
    local = pack_pairs(np.searchsorted(concerned, left), np.searchsorted(concerned, right))
    pair, band, value = common_buckets(marked.bands, marked.windows, local, settings.sign)
    index = open_index(archive, segments, settings)
    gives = index.are_heads(band, value, texts.digests[left[pair]], settings.sign)
    is_given = np.zeros(len(lost), dtype=np.bool_)
    is_given[pair[gives]] = True
    return lost[~is_given]


def pair_ids(folder: Path, pairs: Pairs) -> pa.Table:
    """Return packed pairs of a run's texts by their ids."""
    digests = load_digests(folder)
    left, right = (hex_strings(digests[side]) for side in unpack_pairs(pairs))
    return pa.table({"left_text_id": left, "right_text_id": right})


def align_chunk(folder: Path, chunk: int, settings: AlignSettings) -> int:
    """Align a chunk of the candidates, stage the overlaps, and return how many there are."""
    words, ranked = load_words(folder)
    mine = slice(chunk * PAIRS_IN_CHUNK, (chunk + 1) * PAIRS_IN_CHUNK)
    left, right = unpack_pairs(load_array(folder / "pairs.npy")[mine])
    passages = align_pairs(words, ranked, left, right, settings)
    links, passages = link_pairs(words, left, right, passages, settings.fold_share)
    rows = overlap_rows(RunTexts.load(folder), links, passages, folder.name)
    stage_overlaps(rows, folder, chunk)
    save_arrays(links, links_path(folder, chunk))
    return len(passages.pair)


class Matched(NamedTuple):
    """The run's texts, and which of them are near-duplicates.

    Attributes:
        texts: new and old.
        is_new: bool, shape (texts,).
        left, right: int64, shape (pairs,): near-duplicates, numbers of texts.
    """

    texts: RunTexts
    is_new: npt.NDArray[np.bool_]
    left: Positions
    right: Positions


def load_matched(folder: Path) -> Matched:
    """Return what matching staged."""
    parts = [load_arrays(Links, links_path(folder, chunk)) for chunk in staged_chunks(folder)]
    near = [part.relation == NEAR for part in parts]
    none = np.empty(0, dtype=np.int64)
    return Matched(
        RunTexts.load(folder),
        np.array(load_array(folder / "texts" / "is_new.npy")),
        np.concatenate([none, *(p.left[n] for p, n in zip(parts, near, strict=True))]),
        np.concatenate([none, *(p.right[n] for p, n in zip(parts, near, strict=True))]),
    )
