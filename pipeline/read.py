"""Second step, a batch at a time: files become documents, occurrences and signed texts."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from palimpsest.dedup.signatures import Windows
from palimpsest.dedup.texts import SignedTexts, Texts, distinct_texts, numbers_of, sign_texts
from palimpsest.dedup.words import Words
from palimpsest.ingest.batch import Batch, read_parts
from palimpsest.ingest.pages.extract_pool import Extractors
from palimpsest.pipeline.plan import FILES, batch_folder, files_of, planned_batches, planned_files
from palimpsest.pipeline.staging import (
    load_array,
    load_arrays,
    load_table,
    put_in_place,
    save_arrays,
    save_table,
)
from palimpsest.records.settings import Settings

_COUNTS = "counts.json"
"""The counts of each part of a batch; the list is as long as there are parts."""


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """The contents of a batch: ``found`` sources, of which ``rejects`` could not be read."""

    files: int
    found: int
    sources: int
    rejects: int
    containers: int
    paragraphs: int
    bytes_read: int


@dataclass(frozen=True, slots=True)
class StagedBatch:
    """A part of a batch in a run's folder; its arrays are mapped on each call."""

    folder: Path

    def texts(self) -> Texts:
        """Return the batch's distinct texts."""
        return load_arrays(Texts, self.folder / "texts")

    def words(self) -> Words:
        """Return the words of its texts."""
        return load_arrays(Words, self.folder / "words")

    def marked(self) -> SignedTexts:
        """Return the words and windows of its texts."""
        windows = load_arrays(Windows, self.folder / "windows")
        return SignedTexts(self.words(), windows, load_array(self.folder / "bands.npy"))


def stage_batch(folder: Path, batch: int, settings: Settings, processes: int = 1) -> BatchCounts:
    """Read a batch of the plan and stage its documents and texts, all of them or nothing.

    Reads ``plan.arrow`` and the raw files of the batch; writes ``batch-NNNNN/``. Most of a run's
    CPU time goes here, in proportion to the bytes read. A batch that is staged already costs
    nothing.

    Args:
        folder: the run's.
        batch: its number.
        settings: of the run.
        processes: how many processes of this run read batches; they share the workers that extract
            text from pages.
    """
    target = batch_folder(folder, batch)
    if not target.is_dir():
        _read_batch(folder, batch, target, settings, processes)
    return _counts_of(target)


def _read_batch(folder: Path, batch: int, target: Path, settings: Settings, processes: int) -> None:
    planned = planned_files(folder, batch)
    # Its name is unique: a task that a cluster believes dead and repeats may still be running.
    building = target.with_suffix(f".{secrets.token_hex(3)}.part")
    save_table(planned, building / FILES)
    counts = []
    parts = read_parts(files_of(planned), settings.read, _extractors(settings, processes))
    for number, part in enumerate(parts):
        counts.append(_stage_part(part, _part_folder(building, number), settings))
    (building / _COUNTS).write_text(json.dumps(counts), encoding="ascii")
    put_in_place(building, target)


def _extractors(settings: Settings, processes: int) -> Extractors:
    """Return the page extractors of this process: its share of the run's workers, rounded up."""
    workers = settings.run.workers if settings.run.runner == "threads" else 1
    return _shared_extractors(-(-workers // processes), settings.read.page_seconds, os.getpid())


@cache
def _shared_extractors(workers: int, page_seconds: float, _process_id: int) -> Extractors:
    """Return the extractors of a process; a fork has its own."""
    return Extractors(workers, page_seconds)


def _part_folder(batch: Path, number: int) -> Path:
    return batch / f"part-{number:05d}"


def _stage_part(read: Batch, folder: Path, settings: Settings) -> dict[str, int]:
    """Stage a part of a batch; return its counts."""
    texts = distinct_texts(read.digests, read.texts.buffer, read.texts.starts, read.texts.ends)
    marked = sign_texts(texts, settings)
    save_table(read.sources, folder / "sources.arrow")
    save_table(read.rejects, folder / "rejects.arrow")
    save_table(read.containers, folder / "containers.arrow")
    save_table(_with_words(read, texts, marked.words), folder / "documents.arrow")
    save_table(read.occurrences, folder / "occurrences.arrow")
    stage_texts(texts, marked, folder)
    return {
        "found": read.found,
        "sources": read.sources.num_rows,
        "rejects": read.rejects.num_rows,
        "containers": read.containers.num_rows,
        "paragraphs": read.occurrences.num_rows,
        "bytes_read": read.bytes_read,
    }


def stage_texts(texts: Texts, marked: SignedTexts, folder: Path) -> StagedBatch:
    """Write texts with their words and windows, as in a part of a batch."""
    save_arrays(texts, folder / "texts")
    save_arrays(marked.words, folder / "words")
    save_arrays(marked.windows, folder / "windows")
    np.save(folder / "bands.npy", marked.bands)
    return StagedBatch(folder)


def _counts_of(folder: Path) -> BatchCounts:
    parts = json.loads((folder / _COUNTS).read_text(encoding="ascii"))
    files = load_table(folder / FILES).num_rows
    return BatchCounts(files, **{name: sum(one[name] for one in parts) for name in parts[0]})


def _with_words(read: Batch, texts: Texts, words: Words) -> pa.Table:
    """Return the documents with the number of words of each."""
    in_text = np.diff(words.offsets)[numbers_of(texts, read.digests)]
    owner = np.repeat(
        np.arange(read.documents.num_rows), read.documents.column("paragraphs").to_numpy()
    )
    counts = np.bincount(owner, weights=in_text, minlength=read.documents.num_rows)
    return read.documents.append_column("words", [counts.astype(np.int64)])


def staged_batches(folder: Path) -> list[StagedBatch]:
    """Return all parts of all batches that a run has staged, in order."""
    staged = []
    for batch in range(planned_batches(folder)):
        place = batch_folder(folder, batch)
        parts = len(json.loads((place / _COUNTS).read_text(encoding="ascii")))
        staged += [StagedBatch(_part_folder(place, number)) for number in range(parts)]
    return staged


def staged_tables(folder: Path, name: str) -> list[pa.Table]:
    """Return a table of each part of each batch, in order."""
    return [load_table(batch.folder / f"{name}.arrow") for batch in staged_batches(folder)]
