"""What of the staged rows is new to the archive, told while its lock is held.

Another run may have committed since the sources were found, and documents may have been taken down.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.index import source_keys
from flows.read import staged_tables
from flows.staging import load_array, load_table, save_table
from records.columns import Bytes, digests_of, distinct_digests
from records.schemas import TABLES, schema_without
from store.archive import Snapshot
from store.index import Index
from store.segments import empty_keys


@dataclass(frozen=True, slots=True)
class News:
    """Rows that the archive does not have yet.

    Attributes:
        documents, occurrences, sources: staged rows, without ``run_id``.
        rejects: sources of documents that were taken down, without ``run_id``.
        known: sources that another run has brought since they were found.
        source_keys, document_keys: uint8, shape (n, 16), sorted, of what is new.
    """

    documents: pa.Table
    occurrences: pa.Table
    sources: pa.Table
    rejects: pa.Table
    known: int
    source_keys: Bytes
    document_keys: Bytes

    @classmethod
    def nothing(cls) -> News:
        """Return that nothing is new."""
        documents, occurrences, sources, rejects = (
            schema_without(name, "run_id").empty_table() for name in _TABLES
        )
        return cls(documents, occurrences, sources, rejects, 0, empty_keys(), empty_keys())

    def text_digests(self) -> Bytes:
        """Return the digests of the texts in the new documents, sorted."""
        return distinct_digests(digests_of(self.occurrences.column("text_id")))


_TABLES = ("documents", "occurrences", "sources", "rejects")
_KEYS = ("source_keys", "document_keys")
_KNOWN = "known.txt"


def save_news(news: News, folder: Path) -> None:
    """Write news into the folder ``news`` of a run's."""
    for name in _TABLES:
        save_table(getattr(news, name), folder / "news" / f"{name}.arrow")
    for name in _KEYS:
        np.save(folder / "news" / f"{name}.npy", getattr(news, name))
    (folder / "news" / _KNOWN).write_text(str(news.known), encoding="ascii")


def load_news(folder: Path) -> News:
    """Return what ``save_news`` wrote."""
    documents, occurrences, sources, rejects = (
        load_table(folder / "news" / f"{name}.arrow") for name in _TABLES
    )
    keys = (load_array(folder / "news" / f"{name}.npy") for name in _KEYS)
    known = int((folder / "news" / _KNOWN).read_text(encoding="ascii"))
    return News(documents, occurrences, sources, rejects, known, *keys)


def find_news(folder: Path, index: Index, base: Snapshot | None) -> News:
    """Return what of the staged rows is new."""
    sources = pa.concat_tables(staged_tables(folder, "sources"))
    removed = base.read("removals") if base else TABLES["removals"].empty_table()
    is_removed = pc.is_in(
        sources.column("document_id"), value_set=removed.column("document_id").combine_chunks()
    )
    rejects = _removed_rejects(sources.filter(is_removed), removed)
    sources = sources.filter(pc.invert(is_removed))
    keys = source_keys(sources)
    is_known = index.known("sources", keys)
    documents, occurrences = _new_documents(folder, index, removed)
    return News(
        documents,
        occurrences,
        sources.filter(pa.array(~is_known)),
        rejects,
        int(is_known.sum()),
        distinct_digests(keys[~is_known]),
        distinct_digests(digests_of(documents.column("document_id"))),
    )


def _removed_rejects(sources: pa.Table, removed: pa.Table) -> pa.Table:
    told = {row["document_id"]: row for row in removed.to_pylist()}
    rows = []
    for row in sources.to_pylist():
        removal = told[row.pop("document_id")]
        detail = f"taken down on {removal['removed_at']:%Y-%m-%d}: {removal['reason']}"
        rows.append(row | {"reason": "removed", "detail": detail})
    return pa.Table.from_pylist(rows, schema=schema_without("rejects", "run_id"))


def _new_documents(folder: Path, index: Index, removed: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return the documents that are not known, each once, and their occurrences."""
    documents, occurrences = [], []
    seen = removed.column("document_id").combine_chunks()
    for batch, placed in zip(
        staged_tables(folder, "documents"), staged_tables(folder, "occurrences"), strict=True
    ):
        ids = batch.column("document_id").combine_chunks()
        known = pa.array(index.known("documents", digests_of(ids)))
        repeated = pc.or_(pc.is_in(ids, value_set=seen), known)
        if pc.any(repeated, min_count=0).as_py():
            again = ids.filter(repeated)
            batch = batch.filter(pc.invert(repeated))
            placed = placed.filter(
                pc.invert(pc.is_in(placed.column("document_id"), value_set=again))
            )
        documents.append(batch)
        occurrences.append(placed)
        seen = pa.concat_arrays([seen, batch.column("document_id").combine_chunks()])
    return pa.concat_tables(documents), pa.concat_tables(occurrences)
