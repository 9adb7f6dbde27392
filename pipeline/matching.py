"""Third step: collect the run's texts, pair those that share buckets, and align the pairs."""

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
    buckets_of,
    common_buckets,
    merge_candidates,
    pack_pairs,
    pair_band,
    shared_buckets,
    unpack_pairs,
)
from palimpsest.dedup.clusters import NEAR, Links, link_pairs
from palimpsest.dedup.index.search import Index, NewWindows
from palimpsest.dedup.sameness import find_differences
from palimpsest.dedup.signatures import Windows
from palimpsest.dedup.texts import Texts, sign_texts, split_texts, take_windows, texts_of
from palimpsest.dedup.windows import sketch_windows
from palimpsest.dedup.words import find_words
from palimpsest.kernels.arrays import Bytes, Flags, Hashes, Pairs, Positions
from palimpsest.kernels.sorting import distinct, find_digests, first_of_each, halves_of
from palimpsest.pipeline.index_upkeep import (
    open_index,
    save_segment,
    sort_bands,
    to_new_windows,
)
from palimpsest.pipeline.new_rows import load_new_rows
from palimpsest.pipeline.overlaps import (
    PAIRS_IN_CHUNK,
    links_path,
    overlap_rows,
    stage_overlaps,
    staged_chunks,
)
from palimpsest.pipeline.read import StagedBatch, stage_texts, staged_batches
from palimpsest.pipeline.run_texts import RunTexts, load_digests, load_words, save_run_texts
from palimpsest.pipeline.staging import load_array, load_arrays, save_arrays
from palimpsest.records.errors import ContractError
from palimpsest.records.ids import hex_strings
from palimpsest.records.settings import AlignSettings, Settings, SignSettings
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.views import connect

TEXTS_IN_GROUP = 10_000
"""The bands of fewer texts are paired in one task, which takes about a second or less."""
_PIECE_BYTES = 4 * 2**20
"""Bytes of the archive's texts that are signed at a time."""


def gather_texts(
    folder: Path,
    archive: StoredArchive,
    version: int | None,
    segments: Sequence[str],
    settings: Settings,
) -> int:
    """Collect the new texts of all batches and the old ones that they may pair with.

    Reads ``batch-*/`` and ``new-rows/``; writes ``texts/`` (see ``stage_run_texts``) and the index
    segment of the new rows, which becomes part of the index when the run commits. The cost grows
    with the words of the new texts, and with the old texts that share a bucket with one. Returns
    the number of new texts.

    Args:
        folder: the run's.
        archive: locked by the run.
        version: the current one, or None before the first; the step opens it itself, since a
            manifest of many files would be a large argument for a task.
        segments: of the index.
        settings: of the run.
    """
    base = _version_seen(archive, version)
    segment = archive.index / folder.name
    for begun in (folder / "texts", segment):  # left by a worker that died
        if begun.exists():
            shutil.rmtree(begun)
    parts, new_rows = staged_batches(folder), load_new_rows(folder)
    index = open_index(archive, segments, settings)
    all_digests = np.concatenate([part.texts().digests for part in parts])
    staged_numbers = first_of_each(all_digests)
    digests = all_digests[staged_numbers]
    is_new = ~index.contains("texts", digests)
    if new_rows.rejects.num_rows:
        is_new &= find_digests(new_rows.text_digests(), digests) >= 0
    staged_numbers, digests = staged_numbers[is_new], digests[is_new]

    def save_windows(new_windows: NewWindows) -> None:
        save_segment(segment, new_windows, new_rows.document_keys, new_rows.source_keys, settings)

    stage_run_texts(
        folder,
        parts,
        digests=digests,
        staged_numbers=staged_numbers,
        index=index,
        base=base,
        settings=settings,
        save_windows=save_windows,
    )
    return len(digests)


def _version_seen(archive: StoredArchive, version: int | None) -> Snapshot | None:
    """Return the current version of an archive.

    Raises:
        ContractError: it is not the one that the run expects.
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


def stage_run_texts(
    folder: Path,
    parts: Sequence[StagedBatch],
    *,
    digests: Bytes,
    staged_numbers: Positions,
    index: Index,
    base: Snapshot | None,
    settings: Settings,
    save_windows: Callable[[NewWindows], None],
) -> None:
    """Write ``texts/``: new texts and the old ones that they may pair with, ready for matching.

    It contains the locations of the texts, their words, scored words, windows, shared buckets and
    crowds, and which of them are new.

    Args:
        folder: the run's.
        parts: the staged new texts, with their words and windows.
        digests: of the new texts, sorted.
        staged_numbers: the number of each of them among all texts in ``parts``.
        index: of the old texts.
        base: the version that old texts are read from.
        settings: of the archive.
        keep: called with the windows of the new texts, while other files are written.
    """
    target = folder / "texts"
    target.mkdir(exist_ok=True)
    is_new = np.ones(len(digests), dtype=np.bool_)
    with ThreadPoolExecutor(settings.run.workers) as pool:
        saving = []
        if base is None:
            saving += [
                pool.submit(save_run_texts, folder, parts, digests, staged_numbers, settings.align)
            ]
        marked = [part.marked() for part in parts]
        windows, bands = take_windows(marked, staged_numbers)
        new_windows = to_new_windows(
            digests, windows, sort_bands(bands, windows, settings.sign, pool)
        )
        del bands
        saving += [pool.submit(save_windows, new_windows)]
        matches = index.find_matches(new_windows, settings.sign, settings.run.workers)
        of_all: tuple[Hashes, Windows] | None = None
        if base is not None:  # one after the other, which needs less memory
            all_texts = sum(len(one.words.offsets) - 1 for one in marked)
            old = all_texts + np.arange(len(matches.texts))
            parts = [*parts, *_stage_old(load_texts(base, matches.texts), target, pool, settings)]
            digests = np.concatenate((digests, matches.texts))
            order = first_of_each(digests)
            is_new = order < len(is_new)
            digests, staged_numbers = digests[order], np.concatenate((staged_numbers, old))[order]
            save_run_texts(folder, parts, digests, staged_numbers, settings.align)
            windows, bands = take_windows([part.marked() for part in parts], staged_numbers)
            of_all = bands, windows
        save_arrays(windows, target / "windows")
        del windows
        np.save(target / "is_new.npy", is_new)

        def save_band(band: int) -> None:
            buckets = new_windows.bands[band]
            if of_all is not None:
                buckets = buckets_of(*of_all, band, settings.sign)
            np.save(target / f"buckets-{band:03d}.npy", shared_buckets(buckets))
            save_arrays(Crowds(*matches.crowds[band]), target / f"crowds-{band:03d}")

        saving += [pool.submit(save_band, band) for band in range(settings.sign.all_bands)]
        for one in saving:
            one.result()


def _stage_old(
    texts: Texts, target: Path, pool: ThreadPoolExecutor, settings: Settings
) -> list[StagedBatch]:
    """Find the words and windows of texts, some at a time, and stage them."""
    pieces = split_texts(texts, max(settings.run.workers, -(-len(texts.buffer) // _PIECE_BYTES)))
    places = [target / f"old-{number:05d}" for number in range(len(pieces))]

    def stage(piece: Texts, place: Path) -> StagedBatch:
        return stage_texts(piece, sign_texts(piece, settings), place)

    return list(pool.map(stage, pieces, places))


def load_texts(base: Snapshot, digests: Bytes) -> Texts:
    """Return texts of a version by their digests.

    Raises:
        ContractError: one is missing.
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
            f"rebuild the index with: palimpsest reindex"
        )
    return texts_of(rows.column("text_id"), rows.column("text"))


def band_groups(folder: Path, settings: SignSettings, workers: int) -> int:
    """Return the number of groups of bands: one for each worker, or fewer for few texts."""
    texts = len(load_array(folder / "texts" / "is_new.npy"))
    return max(1, min(workers, settings.all_bands, texts // TEXTS_IN_GROUP))


def pair_bands(folder: Path, group: int, groups: int, settings: SignSettings) -> int:
    """Find the candidates of a group of bands and stage them; return the number of crowds.

    Reads ``texts/``; writes ``candidates-NNN/``. The cost grows with the pairs of windows that
    share a bucket, which crowds limit.

    Args:
        folder: the run's.
        group: the group takes every ``groups``-th band, starting with this one.
        groups: number of groups.
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
        return pair_band(buckets, windows, sketches, texts, crowds, settings.of_band(band))

    found = merge_candidates(map(pair, range(group, settings.all_bands, groups)))
    save_arrays(found, folder / f"candidates-{group:03d}")
    return found.crowds


def merge_groups(folder: Path, groups: int) -> tuple[int, int]:
    """Merge the candidates of all groups; return their number and that of the crowds."""
    staged = (load_arrays(Candidates, folder / f"candidates-{n:03d}") for n in range(groups))
    found = merge_candidates(part._replace(crowds=int(part.crowds)) for part in staged)
    np.save(folder / "pairs.npy", found.pairs)
    np.save(folder / "lost.npy", found.lost)
    return len(found.pairs), found.crowds


def pairs_given_up(
    folder: Path, archive: StoredArchive, segments: Sequence[str], settings: Settings
) -> Pairs:
    """Return the pairs that a crowd no longer pairs and that share no other bucket, packed.

    Args:
        folder: the run's.
        archive: the one whose index is searched.
        segments: of all texts, including the new ones.
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
    """Align a chunk of the candidates, stage the overlaps, and return their number.

    Reads ``pairs.npy`` and ``texts/``; writes ``overlaps-NNNNN/`` and ``links-NNNNN/``. The cost
    grows with the words of the pairs.
    """
    words, ranked = load_words(folder)
    mine = slice(chunk * PAIRS_IN_CHUNK, (chunk + 1) * PAIRS_IN_CHUNK)
    left, right = unpack_pairs(load_array(folder / "pairs.npy")[mine])
    passages = align_pairs(words, ranked, left, right, settings)
    links, passages = link_pairs(words, left, right, passages, settings.fold_share)
    texts = RunTexts.load(folder)
    links = links._replace(says_same=_say_the_same(texts, links))
    rows = overlap_rows(texts, links, passages, folder.name)
    stage_overlaps(rows, folder, chunk)
    save_arrays(links, links_path(folder, chunk))
    return len(passages.pair)


def _say_the_same(texts: RunTexts, links: Links) -> Flags:
    """Return which links are near-duplicates that say the same: bool, shape (links,)."""
    near = np.flatnonzero(links.relation == NEAR)
    sides = np.concatenate((links.left[near], links.right[near]))
    concerned, numbers = np.unique(sides, return_inverse=True)
    some = texts.take(concerned)
    words = find_words(some.buffer, some.offsets[:-1], some.offsets[1:])
    left, right = np.split(numbers, 2)
    says_same = np.zeros(len(links.left), dtype=np.bool_)
    says_same[near], _ = find_differences(words, some, left, right)
    return says_same


class MatchedTexts(NamedTuple):
    """The run's texts, and which of them are near-duplicates that say the same.

    Attributes:
        texts: new and old.
        is_new: bool, shape (texts,).
        left, right: int64, shape (pairs,): numbers of texts that say the same.
    """

    texts: RunTexts
    is_new: npt.NDArray[np.bool_]
    left: Positions
    right: Positions


def load_matched(folder: Path) -> MatchedTexts:
    """Return what matching staged."""
    parts = [load_arrays(Links, links_path(folder, chunk)) for chunk in staged_chunks(folder)]
    none = np.empty(0, dtype=np.int64)
    return MatchedTexts(
        RunTexts.load(folder),
        np.array(load_array(folder / "texts" / "is_new.npy")),
        np.concatenate([none, *(part.left[part.says_same] for part in parts)]),
        np.concatenate([none, *(part.right[part.says_same] for part in parts)]),
    )
