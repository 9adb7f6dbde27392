"""Remove documents: their rows, texts that occur nowhere else, and everything derived from these.

The archive is then as if they had never been ingested, but for the record of the removal. A crowd
that loses texts may get other heads; the pairs that these add are aligned.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from palimpsest.dedup.index.search import Index
from palimpsest.dedup.index.segments import Segment, merge_segments, open_segment
from palimpsest.dedup.texts import sign_texts
from palimpsest.kernels.arrays import Bytes
from palimpsest.kernels.columns import digests_of
from palimpsest.kernels.sorting import distinct_digests
from palimpsest.pipeline.fingerprint import check_fingerprint
from palimpsest.pipeline.fold import Deletions, fold
from palimpsest.pipeline.index_upkeep import (
    SOURCE_KEY,
    index_parameters,
    open_index,
    repair_index,
    source_keys,
)
from palimpsest.pipeline.matching import (
    align_chunk,
    band_groups,
    load_matched,
    load_texts,
    merge_groups,
    pair_bands,
    pair_ids,
    stage_run_texts,
)
from palimpsest.pipeline.new_rows import NewRows
from palimpsest.pipeline.overlaps import staged_chunks, staged_overlaps
from palimpsest.pipeline.publish import publish, with_run_id
from palimpsest.pipeline.read import stage_texts
from palimpsest.pipeline.staging import load_array
from palimpsest.pipeline.summary import run_row
from palimpsest.records.errors import SettingsError
from palimpsest.records.ids import run_id_of
from palimpsest.records.schemas import TABLES, schema_without
from palimpsest.records.settings import Settings
from palimpsest.store.address import open_archive
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.commit import ChangeSet, open_staging, open_writer, retry_if_outrun
from palimpsest.store.find import find_documents
from palimpsest.store.views import connect


@dataclass(frozen=True, slots=True)
class Removal:
    """The result of a removal. Counts are of removed rows."""

    run_id: str
    archive: str
    version: int
    documents: list[str]
    paragraphs: int
    texts: int
    overlaps: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@retry_if_outrun
def remove(
    archive_path: str | Path, names: Sequence[str], reason: str, wait_seconds: float = 3600.0
) -> Removal:
    """Remove documents and publish a version without them.

    Args:
        archive_path: of the archive.
        names: document ids or URIs; a URI removes every document that was found there.
        reason: stored with the removal.
        wait_seconds: how long to wait while a run is writing.

    Raises:
        SettingsError: no such archive or document, or no reason.
        TransientError: a run has been writing to the archive for too long.
    """
    archive = open_archive(archive_path).require()
    if not reason.strip():
        raise SettingsError(["reason: empty; say why, it is kept with the removal"])
    find_documents(archive.snapshot(), names)  # fails before a folder is created
    started_at = datetime.now(UTC)
    run_id = run_id_of(started_at, secrets.token_hex(3))
    with (
        open_staging(archive, run_id) as folder,
        open_writer(archive, run_id, wait_seconds) as writer,
    ):
        base = writer.current_snapshot()
        settings = base.settings()
        sealed = check_fingerprint(settings, base)
        ids = sorted(set(find_documents(base, names)))
        deletions, lost_sources, paragraphs = _deletions_of(base, ids)
        segments = repair_index(archive, base, f"{run_id}-mended", settings)
        segments = _without(
            archive, segments, deletions, lost_sources, run_id=run_id, settings=settings
        )
        gained = _stage_regained_overlaps(
            folder, archive, segments, base, deletions, settings=settings
        )
        matched = load_matched(folder)
        matched = matched._replace(is_new=np.zeros(len(matched.is_new), dtype=np.bool_))
        folded = fold(base, matched, NewRows.none(), deletions, settings.align)
        added = dict(folded.added)
        added["runs"] = run_row(run_id, settings, started_at)
        added["removals"] = _removals(ids, reason, started_at)
        changes = ChangeSet(
            added=with_run_id(added, run_id),
            withdrawn=folded.withdrawn,
            sealed=sealed,
            segments=segments,
            operation="remove",
            written={"overlaps": staged_overlaps(folder, gained)},
        )
        overlaps = base.rows("overlaps") + sum(gained)
        published = publish(writer, changes)
        return Removal(
            run_id,
            archive.name,
            published.manifest.version,
            ids,
            paragraphs,
            len(deletions.texts),
            overlaps - published.rows("overlaps"),
        )


def _deletions_of(base: Snapshot, ids: list[str]) -> tuple[Deletions, Bytes, int]:
    """Return what to remove with documents, their sources' keys, and their paragraph count."""
    documents = pa.array(ids, pa.string())
    with connect(base) as connection:
        connection.register("removed", pa.table({"document_id": documents}))
        texts = connection.sql("""
            SELECT text_id FROM occurrences SEMI JOIN removed USING (document_id)
            EXCEPT SELECT text_id FROM occurrences ANTI JOIN removed USING (document_id)
        """).to_arrow_table()
        sources = connection.sql(
            f"SELECT {', '.join(SOURCE_KEY)} FROM sources SEMI JOIN removed USING (document_id)"
        ).to_arrow_table()
        [paragraphs] = connection.sql(
            "SELECT count(*) AS n FROM occurrences SEMI JOIN removed USING (document_id)"
        ).to_arrow_table()["n"]
    digests = distinct_digests(digests_of(texts.column("text_id")))
    deletions = Deletions(documents, digests, Deletions.none().pairs)
    sources = sources.cast(pa.schema([TABLES["sources"].field(n) for n in sources.column_names]))
    return deletions, distinct_digests(source_keys(sources)), paragraphs.as_py()


def _without(
    archive: StoredArchive,
    segments: Sequence[str],
    deletions: Deletions,
    lost_sources: Bytes,
    *,
    run_id: str,
    settings: Settings,
) -> list[str]:
    """Rewrite the segments that contain removed keys; return the names of the current segments."""
    keys = {
        "texts": deletions.texts,
        "documents": distinct_digests(digests_of(deletions.documents)),
        "sources": lost_sources,
    }
    names = []
    for number, name in enumerate(segments):
        segment = open_segment(archive.index / name, index_parameters(settings))
        if _has_any(segment, keys):
            name = f"{run_id}-{number:04d}"
            merge_segments(archive.index / name, [segment], index_parameters(settings), keys)
        names.append(name)
    return names


def _has_any(segment: Segment, keys: dict[str, Bytes]) -> bool:
    return any(bool(Index([segment]).contains(kind, some).any()) for kind, some in keys.items())


def _stage_regained_overlaps(
    folder: Path,
    archive: StoredArchive,
    segments: Sequence[str],
    base: Snapshot,
    deletions: Deletions,
    *,
    settings: Settings,
) -> list[int]:
    """Stage the overlaps of pairs that crowds add when the texts are removed.

    They are the pairs that the crowds would lose if the texts were added.

    Returns:
        the number of overlaps of each chunk.
    """
    index = open_index(archive, segments, settings)
    texts = load_texts(base, deletions.texts)
    parts = [stage_texts(texts, sign_texts(texts, settings), folder / "removed")]
    everything = np.arange(len(texts.digests))
    stage_run_texts(
        folder,
        parts,
        digests=texts.digests,
        staged_numbers=everything,
        index=index,
        base=base,
        settings=settings,
        save_windows=lambda _: None,
    )
    groups = band_groups(folder, settings.sign, settings.run.workers)
    stage = partial(pair_bands, folder, groups=groups, settings=settings.sign)
    with ThreadPoolExecutor(groups) as pool:
        list(pool.map(stage, range(groups)))
    merge_groups(folder, groups)
    gained = np.array(load_array(folder / "lost.npy"))
    if len(gained):
        with connect(base) as connection:
            pairs = pair_ids(folder, gained).append_column("place", [np.arange(len(gained))])
            connection.register("pairs", pairs)
            fresh = connection.sql("""
                SELECT place FROM pairs ANTI JOIN "overlaps" USING (left_text_id, right_text_id)
                ORDER BY place
            """).to_arrow_table()
        gained = gained[fresh.column("place").to_numpy()]
    np.save(folder / "pairs.npy", gained)
    return [align_chunk(folder, chunk, settings.align) for chunk in staged_chunks(folder)]


def _removals(ids: list[str], reason: str, removed_at: datetime) -> pa.Table:
    rows = [{"document_id": one, "reason": reason, "removed_at": removed_at} for one in ids]
    return pa.Table.from_pylist(rows, schema=schema_without("removals", "run_id"))
