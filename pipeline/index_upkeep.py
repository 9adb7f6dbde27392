"""The index of an archive in runs: open it, add a segment, merge segments, or rebuild it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from palimpsest.dedup import STAGE_VERSION as DEDUP_VERSION
from palimpsest.dedup.candidates import buckets_of
from palimpsest.dedup.index.search import Index, NewWindows, segments_to_merge
from palimpsest.dedup.index.segments import (
    Segment,
    empty_keys,
    keys_only,
    merge_segments,
    open_segment,
    write_segment,
)
from palimpsest.dedup.signatures import BAND_HASH_BITS, SCHEME, Windows
from palimpsest.dedup.texts import Texts, sign_texts, texts_of
from palimpsest.kernels.arrays import Buckets, Bytes, Hashes
from palimpsest.kernels.columns import bytes_of, digests_of
from palimpsest.kernels.digest import digest_spans
from palimpsest.kernels.sorting import distinct_digests
from palimpsest.pipeline.publish import publish
from palimpsest.records.errors import ContractError
from palimpsest.records.ids import run_id_of
from palimpsest.records.settings import Settings, SignSettings
from palimpsest.store.address import open_archive
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.commit import ChangeSet, open_writer, retry_if_outrun
from palimpsest.store.parquet import row_groups


def index_parameters(settings: Settings) -> dict[str, Any]:
    """Return the parameters that all segments of an index must have been built with."""
    sign = settings.sign
    return {
        "scheme": SCHEME,
        "seed": sign.seed,
        "permutations": sign.permutations,
        "bands": sign.bands,
        "rows": sign.rows,
        "window_words": sign.window_words,
        "stride_words": sign.stride_words,
        "fingerprint_shingles": sign.fingerprint_shingles,
        "fingerprint_window": sign.fingerprint_window,
        "hash_bits": BAND_HASH_BITS,
        "words": DEDUP_VERSION,
    }


def open_index(archive: StoredArchive, segments: Sequence[str], settings: Settings) -> Index:
    """Return the index of these segments.

    Raises:
        ContractError: a segment is missing, damaged, or built with other parameters.
    """
    return Index.open(archive.segments(segments), index_parameters(settings))


def repair_index(
    archive: StoredArchive, base: Snapshot | None, name: str, settings: Settings
) -> list[str]:
    """Return the segments of a version; rebuild them first if one is missing or damaged.

    Args:
        archive: locked by the caller.
        base: the version.
        name: of the segment that then replaces all others.
        settings: of the archive.
    """
    if base is None:
        return []
    try:
        open_index(archive, base.manifest.segments, settings)
    except ContractError:
        write_index(archive.index, name, base, settings)
        return [name]
    return list(base.manifest.segments)


def known_keys(archive: StoredArchive, base: Snapshot | None, settings: Settings) -> Index:
    """Return an index of the known sources and documents, without locking the archive."""
    if base is None:
        return Index([])
    try:
        return open_index(archive, base.manifest.segments, settings)
    except ContractError:  # damaged, or merged away just now
        return Index([_keys_of(base)])


def to_new_windows(digests: Bytes, windows: Windows, bands: Sequence[Buckets]) -> NewWindows:
    """Return new texts in the form that the index searches for."""
    prints = windows.shingles.astype(np.uint16)
    return NewWindows(digests, windows.texts, windows.starts, windows.ends, prints, bands)


def save_segment(
    folder: Path, new_windows: NewWindows, documents: Bytes, sources: Bytes, settings: Settings
) -> None:
    """Write a segment of new texts, documents and sources, each sorted."""
    segment = keys_only(documents, sources)._replace(
        texts=new_windows.texts,
        window_texts=new_windows.window_texts.astype(np.uint32),
        window_starts=new_windows.starts.astype(np.uint32),
        window_sizes=(new_windows.ends - new_windows.starts).astype(np.uint16),
        prints=new_windows.prints,
    )
    count = settings.sign.bands
    bands, last = new_windows.bands[:count], new_windows.bands[count:]
    fingerprints = last[0] if last else None
    write_segment(
        folder, segment, bands, count, index_parameters(settings), fingerprints=fingerprints
    )


def merge_if_many(
    archive: StoredArchive, names: Sequence[str], name: str, settings: Settings
) -> list[str]:
    """Merge segments if there are many of one size; return the names of the current segments."""
    merged = segments_to_merge(archive.index, names)
    if not merged:
        return list(names)
    return [
        *(one for one in names if one not in merged),
        *merge_all(archive, merged, name, settings),
    ]


def merge_all(
    archive: StoredArchive, names: Sequence[str], name: str, settings: Settings
) -> list[str]:
    """Merge segments into one, if there are several; return its name in a list."""
    if len(names) < 2:
        return list(names)
    parts = [open_segment(archive.index / one, index_parameters(settings)) for one in names]
    merge_segments(archive.index / name, parts, index_parameters(settings))
    return [name]


def sort_bands(
    bands: Hashes, windows: Windows, settings: SignSettings, pool: ThreadPoolExecutor
) -> list[Buckets]:
    """Return the bucket entries of each band in order, those of the fingerprints last."""
    numbers = range(settings.all_bands)
    return list(pool.map(lambda band: buckets_of(bands, windows, band, settings), numbers))


def write_index(index: Path, name: str, base: Snapshot, settings: Settings) -> None:
    """Write one segment with everything in a version, reading some texts at a time."""
    segments, folders = [_keys_of(base)], []
    with ThreadPoolExecutor(settings.run.workers) as pool:
        for number, texts in enumerate(_all_texts(base)):
            marked = sign_texts(texts, settings)
            new_windows = to_new_windows(
                texts.digests,
                marked.windows,
                sort_bands(marked.bands, marked.windows, settings.sign, pool),
            )
            folders.append(index / f"{name}-part-{number:05d}")
            save_segment(folders[-1], new_windows, empty_keys(), empty_keys(), settings)
            segments.append(open_segment(folders[-1], index_parameters(settings)))
    merge_segments(index / name, segments, index_parameters(settings))
    for folder in folders:
        shutil.rmtree(folder)


def _all_texts(base: Snapshot) -> Iterator[Texts]:
    """Return all texts of a version, some at a time."""
    for name, key in (("paragraphs", "paragraph_id"), ("variants", "text_id")):
        for rows in row_groups(base.files(name), name, [key, "text"]):
            yield texts_of(rows.column(key), rows.column("text"))


def _keys_of(base: Snapshot) -> Segment:
    """Return the keys of all documents and sources of a version."""
    documents = distinct_digests(
        digests_of(base.read("documents", ["document_id"]).column("document_id"))
    )
    sources = source_keys(base.read("sources", SOURCE_KEY))
    containers = file_keys(base.read("containers", FILE_KEY))
    return keys_only(documents, distinct_digests(np.concatenate((sources, containers))))


SOURCE_KEY = ["uri", "bytes", "modified_at", "document_id"]
FILE_KEY = SOURCE_KEY[:3]


def source_keys(sources: pa.Table) -> Bytes:
    """Return the keys of sources: uint8, shape (sources, 16).

    The key of a file is what can be known without reading it; that of a member of a container is
    its content, since the container may have grown.
    """
    uris = sources.column("uri")
    members = pc.binary_join_element_wise(sources.column("document_id"), uris, " ")
    is_member = pc.match_substring(uris, "#")
    return _digests(pc.if_else(is_member, members, _as_found(sources)))


def file_keys(files: pa.Table) -> Bytes:
    """Return the keys of files; containers have such keys too."""
    return _digests(_as_found(files))


def _as_found(files: pa.Table) -> pa.ChunkedArray:
    """Return size, time in ISO 8601, and URI of files, separated by spaces."""
    size = files.column("bytes").cast(pa.string())
    time = files.column("modified_at").cast(pa.timestamp("us")).cast(pa.string())
    second = pc.replace_substring(pc.utf8_slice_codeunits(time, 0, 19), " ", "T")
    part = pc.utf8_slice_codeunits(time, 19)
    part = pc.if_else(pc.equal(part, ".000000"), "", part)
    time = pc.binary_join_element_wise(second, part, "+00:00", "")
    return pc.binary_join_element_wise(size, time, files.column("uri"), " ")


def _digests(names: pa.ChunkedArray) -> Bytes:
    buffer, offsets = bytes_of(names)
    return digest_spans(buffer, offsets[:-1], offsets[1:])


@retry_if_outrun
def reindex(archive_path: str | Path, wait_seconds: float = 3600.0) -> dict[str, Any]:
    """Rebuild the index of an archive from its tables, as a new version with the same rows.

    Raises:
        SettingsError: there is no archive.
        TransientError: a run has been writing to it for too long.
    """
    archive = open_archive(archive_path).require()
    run_id = run_id_of(datetime.now(UTC), secrets.token_hex(3))
    with open_writer(archive, run_id, wait_seconds) as writer:
        base = writer.current_snapshot()
        write_index(archive.index, run_id, base, base.settings())
        changes = ChangeSet(sealed=base.manifest.sealed, segments=[run_id], operation="reindex")
        published = publish(writer, changes)
    texts = published.rows("paragraphs") + published.rows("variants")
    return {"version": published.manifest.version, "texts": texts}
