"""Second step, a batch at a time: files become documents, occurrences and marked texts."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from dedup.alignment import Ranked
from dedup.signatures import Windows
from dedup.words import Words
from flows.plan import FILES, batch_folder, files_of, planned_batches, planned_files
from flows.staging import load_array, load_arrays, load_table, save_arrays, save_table
from flows.texts import Marked, Texts, distinct_texts, mark, numbers_of
from ingest.batch import Batch, read_batch
from records.settings import Settings

_BYTES_READ = "bytes_read.txt"


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What a batch held."""

    sources: int
    rejects: int
    paragraphs: int
    bytes_read: int


@dataclass(frozen=True, slots=True)
class StagedBatch:
    """A batch in a run's folder; what it holds is mapped when it is asked for."""

    folder: Path

    def texts(self) -> Texts:
        """Return the batch's distinct texts."""
        return load_arrays(Texts, self.folder / "texts")

    def marked(self) -> Marked:
        """Return the words and windows of its texts."""
        words = load_arrays(Words, self.folder / "words")
        windows = load_arrays(Windows, self.folder / "windows")
        ranked = load_arrays(Ranked, self.folder / "ranked")
        return Marked(words, ranked, windows, load_array(self.folder / "bands.npy"))


def stage_batch(folder: Path, batch: int, settings: Settings) -> BatchCounts:
    """Read a batch of the plan and stage what came out; it is there whole or not at all."""
    target = batch_folder(folder, batch)
    if target.is_dir():  # taken up from a run that ended too early
        return _counts_of(target)
    planned = planned_files(folder, batch)
    read = read_batch(files_of(planned), settings.read)
    texts = distinct_texts(read.digests, read.texts.buffer, read.texts.starts, read.texts.ends)
    marked = mark(texts, settings)
    # Of this attempt alone: what a cluster takes for dead, and does again elsewhere, may go on.
    building = target.with_suffix(f".{secrets.token_hex(3)}.part")
    save_table(planned, building / FILES)
    save_table(read.sources, building / "sources.arrow")
    save_table(read.rejects, building / "rejects.arrow")
    save_table(_with_words(read, texts, marked.words), building / "documents.arrow")
    save_table(read.occurrences, building / "occurrences.arrow")
    save_arrays(texts, building / "texts")
    save_arrays(marked.words, building / "words")
    save_arrays(marked.ranked, building / "ranked")
    save_arrays(marked.windows, building / "windows")
    np.save(building / "bands.npy", marked.bands)
    (building / _BYTES_READ).write_text(str(read.bytes_read), encoding="ascii")
    try:
        building.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(building)  # another attempt was first
    return _counts_of(target)


def _counts_of(folder: Path) -> BatchCounts:
    return BatchCounts(
        load_table(folder / "sources.arrow").num_rows,
        load_table(folder / "rejects.arrow").num_rows,
        load_table(folder / "occurrences.arrow").num_rows,
        int((folder / _BYTES_READ).read_text(encoding="ascii")),
    )


def _with_words(read: Batch, texts: Texts, words: Words) -> pa.Table:
    """Return the documents with the number of words of each."""
    in_text = np.diff(words.offsets)[numbers_of(texts, read.digests)]
    owner = np.repeat(
        np.arange(read.documents.num_rows), read.documents.column("paragraphs").to_numpy()
    )
    counts = np.bincount(owner, weights=in_text, minlength=read.documents.num_rows)
    return read.documents.append_column("words", [counts.astype(np.int64)])


def staged_batches(folder: Path) -> list[StagedBatch]:
    """Return all batches that a run has staged, in order."""
    return [StagedBatch(batch_folder(folder, batch)) for batch in range(planned_batches(folder))]


def staged_tables(folder: Path, name: str) -> list[pa.Table]:
    """Return a table of each batch, in order."""
    return [load_table(batch.folder / f"{name}.arrow") for batch in staged_batches(folder)]
