"""Stages of the main job on a sample in memory, one thread, against bare loops (``bare.py``).

The distance of a stage from its floor is the most that could be gained; its share of the main job's
CPU time is what that would be worth.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import bare  # isort: skip
import palimpsest.store.commit
from palimpsest.dedup.alignment import score_words
from palimpsest.dedup.signatures import cut_windows, hash_bands, permutations_of
from palimpsest.dedup.texts import Texts, distinct_texts
from palimpsest.dedup.words import find_words
from palimpsest.ingest.batch import read_batch
from palimpsest.ingest.finding.discover import discover
from palimpsest.ingest.finding.found import FoundFile
from palimpsest.ingest.finding.sources import Source, walk_file
from palimpsest.ingest.metadata.facts import Folders
from palimpsest.ingest.text.decode import decode
from palimpsest.ingest.text.language import SAMPLE_BYTES, languages_of
from palimpsest.ingest.text.layout import lay_out
from palimpsest.ingest.text.normalise import normalise_paragraphs
from palimpsest.kernels.digest import digest_spans
from palimpsest.kernels.unicode import character_tables
from palimpsest.pipeline.executors import run_in_order
from palimpsest.pipeline.run import run_ingest
from palimpsest.pipeline.steps import RunStep
from palimpsest.records.progress import Report
from palimpsest.records.settings import RunSettings, Settings
from palimpsest.store.parquet import write_table

_REPEATED = ("pair_bands", "align_chunk")
"""Steps that can be repeated with the same result."""


class Timed(NamedTuple):
    """A stage with its minimum time in seconds, and that of its floor, if it has one.

    Attributes:
        step: the step of a run that it belongs to, if its time does not grow with bytes alone.
    """

    name: str
    seconds: float
    floor_seconds: float | None
    floor: str
    step: str | None = None


def least(repeats: int, *functions: Callable[[], Any]) -> list[float]:
    """Return the minimum seconds of each function; the functions take turns."""
    seconds = [float("inf")] * len(functions)
    for _ in range(repeats):
        for number, function in enumerate(functions):
            started = time.perf_counter()
            function()
            seconds[number] = min(seconds[number], time.perf_counter() - started)
    return seconds


def time_stages(files: Sequence[str], repeats: int) -> tuple[float, list[Timed]]:
    """Return the megabytes of a sample, and its stages in order."""
    settings = Settings(run=RunSettings(workers=1))
    found = list(discover(files).files)
    megabytes = sum(one.size_bytes for one in found) / 1e6
    reading, texts = _reading(found, settings, repeats)
    signing = _signing(texts, settings, repeats)
    with tempfile.TemporaryDirectory() as scratch:
        matching = _matching(files, Path(scratch), settings, repeats)
    return megabytes, [*reading, *signing, *matching]


def _reading(found: list[FoundFile], settings: Settings, repeats: int) -> tuple[list[Timed], Texts]:
    """Time the stages from files to distinct texts."""

    def read() -> list[Source]:
        folders = Folders(one.path for one in found)
        walked = (one for file in found for one in walk_file(file, settings.read, folders))
        return [one for one in walked if isinstance(one, Source)]

    paths, sizes = [one.path for one in found], [one.size_bytes for one in found]
    raws = [one.member.raw for one in read()]
    joined = b"".join(raws)
    batch = read_batch(found, settings.read)
    documents = [document.text for document in batch.read]
    offsets = np.concatenate(([0], np.cumsum([len(one) for one in documents], dtype=np.int64)))
    buffer = np.frombuffer(b"".join(documents), np.uint8)
    samples = [document[:SAMPLE_BYTES] for document in documents]
    sampled = np.frombuffer(b"".join(samples), np.uint8)
    tables, table = character_tables(), np.arange(256, dtype=np.uint8)
    texts = batch.texts

    def lay_out_and_normalise() -> Any:
        starts, ends, _ = lay_out(buffer, offsets, tables, settings.read.max_paragraph_chars)
        return normalise_paragraphs(buffer, starts, ends, tables)

    def hash_each() -> list[str]:
        return [hashlib.sha256(raw).hexdigest() for raw in raws]

    def decode_each() -> list[Any]:
        return [decode(raw, settings.read.encoding) for raw in raws if raw]

    normalised = texts.buffer
    timed = [
        _timed(
            "open, read files", repeats, read, partial(bare.read_files, paths, sizes), "os.read"
        ),
        _timed("SHA-256", repeats, hash_each, partial(hashlib.sha256, joined), "one buffer"),
        _timed("decode", repeats, decode_each, partial(bare.copy, buffer), "copy"),
        _timed(
            "language",
            repeats,
            partial(languages_of, samples),
            partial(bare.through_table, sampled, table),
            "a table, by byte of the samples",
        ),
        _timed(
            "lay out, normalise",
            repeats,
            lay_out_and_normalise,
            partial(bare.copy, buffer),
            "copy",
        ),
        _timed(
            "digest paragraphs",
            repeats,
            partial(digest_spans, normalised, texts.starts, texts.ends),
            partial(hashlib.blake2b, normalised, digest_size=16),
            "BLAKE2b of one buffer",
        ),
    ]
    [whole] = least(repeats, partial(read_batch, found, settings.read))
    rest = whole - sum(one.seconds for one in timed)
    distinct = partial(distinct_texts, batch.digests, normalised, texts.starts, texts.ends)
    keys = batch.digests[:, :8].copy().view(np.uint64).reshape(-1)
    timed += [
        Timed("rows and facts of a batch", rest, None, ""),
        _timed(
            "distinct texts",
            repeats,
            distinct,
            lambda: (np.sort(keys), normalised.copy()),
            "sort, copy",
        ),
    ]
    return timed, distinct()


def _signing(texts: Texts, settings: Settings, repeats: int) -> list[Timed]:
    """Time the stages that cut and sign distinct texts."""
    starts, ends = texts.offsets[:-1], texts.offsets[1:]
    words = find_words(texts.buffer, starts, ends)
    table = np.arange(256, dtype=np.uint8)
    a, b = permutations_of(settings.sign.permutations, settings.sign.seed)
    shingles = cut_windows(words, settings.sign).shingles

    def cut_and_sign() -> Any:
        return hash_bands(cut_windows(words, settings.sign), settings.sign)

    return [
        _timed(
            "find words",
            repeats,
            partial(find_words, texts.buffer, starts, ends),
            partial(bare.through_table, texts.buffer, table),
            "a table, by byte",
        ),
        _timed(
            "rank words",
            repeats,
            partial(score_words, words, settings.align),
            partial(bare.through_table, words.kinds, table),
            "a table, by word",
        ),
        _timed(
            "cut windows, sign",
            repeats,
            cut_and_sign,
            partial(bare.sign, shingles, a, b),
            "multiply, add, min",
        ),
    ]


def _matching(files: Sequence[str], scratch: Path, settings: Settings, repeats: int) -> list[Timed]:
    """Time matching and writing, in a run whose steps are repeated."""
    seconds, floors, added = dict.fromkeys(_REPEATED, 0.0), dict[str, float](), {}

    def executor(step: RunStep, arguments: Sequence[Any], report: Report) -> list[Any]:
        if step.name not in _REPEATED:
            return run_in_order(step, arguments, report)
        carry_out = partial(run_in_order, step, arguments, report)
        [seconds[step.name]] = least(repeats, carry_out)
        if step.name == "align_chunk" and arguments:
            floors.update(_floors_of_matching(arguments[0][0], settings, repeats))
        return carry_out()

    commit = palimpsest.store.commit.Writer.commit

    def seen(writer: Any, changes: Any) -> Any:
        added.update(changes.added)
        return commit(writer, changes)

    palimpsest.store.commit.Writer.commit = seen  # type: ignore[method-assign]
    try:
        run_ingest(list(files), scratch / "archive", settings, executor=executor)
    finally:
        palimpsest.store.commit.Writer.commit = commit  # type: ignore[method-assign]
    return [
        Timed(
            "pair",
            seconds["pair_bands"],
            floors.get("pair_bands"),
            "AND of sketches of all that meet",
            "pair_bands",
        ),
        Timed(
            "align",
            seconds["align_chunk"],
            floors.get("align_chunk"),
            "a table, by word of both sides",
            "align_chunk",
        ),
        _writing(added, scratch, repeats),
    ]


def _floors_of_matching(folder: Path, settings: Settings, repeats: int) -> dict[str, float]:
    """Return the minimum seconds of bare loops over staged data; empty if there is none."""
    try:
        pairs = np.load(folder / "pairs.npy")
        ranked = folder / "texts" / "ranked"
        offsets, hashes = np.load(ranked / "offsets.npy"), np.load(ranked / "hashes.npy")
        windows = len(np.load(folder / "texts" / "windows" / "texts.npy", mmap_mode="r"))
    except OSError:
        return {}
    buckets = [np.load(path) for path in sorted((folder / "texts").glob("buckets-*.npy"))]
    sketches = np.random.default_rng(1).integers(2**63, size=windows, dtype=np.uint64)
    left, right = (
        (pairs >> np.uint64(32)).astype(np.int64),
        pairs.astype(np.uint32).astype(np.int64),
    )
    table = np.ones(2**16, dtype=np.uint8)

    def meet() -> None:
        for band in buckets:
            bare.meet(band, sketches, settings.sign.crowd_texts)

    look_up = partial(bare.look_up_words, offsets, hashes, left, right, table)
    meet()  # compiles both kernels
    look_up()
    return dict(zip(_REPEATED, least(repeats, meet, look_up), strict=True))


def _writing(added: dict[str, pa.Table], scratch: Path, repeats: int) -> Timed:
    """Time the writing of tables, against compressing and writing the same bytes."""
    plain, stored, number = [], [], count()
    for name, rows in added.items():
        path = scratch / "stored" / f"{name}.parquet"
        write_table(rows, name, path)
        stored.append(path.read_bytes())
        sink = pa.BufferOutputStream()
        with_dictionary = _columns_with_dictionary(path)
        pq.write_table(rows, sink, compression="none", use_dictionary=with_dictionary)
        plain.append(sink.getvalue().to_pybytes())

    def write() -> None:
        folder = scratch / f"written-{next(number)}"
        for name, rows in added.items():
            write_table(rows, name, folder / f"{name}.parquet")

    def write_bare() -> None:
        bare.compress(plain)
        bare.write_durably(stored, scratch / f"bare-{next(number)}")

    return _timed(
        "write Parquet", repeats, write, write_bare, "zstd 3, write, fsync", step="commit"
    )


def _columns_with_dictionary(path: Path) -> list[str]:
    """Return the columns of a Parquet file that are dictionary-encoded."""
    metadata = pq.read_metadata(path)
    if not metadata.num_row_groups:
        return []
    group = metadata.row_group(0)
    columns = map(group.column, range(group.num_columns))
    return [one.path_in_schema for one in columns if one.has_dictionary_page]


def _timed(
    name: str,
    repeats: int,
    stage: Callable[[], Any],
    floor: Callable[[], Any],
    floor_is: str,
    *,
    step: str | None = None,
) -> Timed:
    stage()  # loads the kernels, and caches the files
    floor()
    return Timed(name, *least(repeats, stage, floor), floor_is, step)
