"""What of the staged rows is new to the archive, told while its lock is held.

Another run may have committed since the sources were found, and documents may have been taken down.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from palimpsest.dedup.index.search import Index
from palimpsest.dedup.index.segments import empty_keys
from palimpsest.kernels.arrays import Bytes
from palimpsest.kernels.columns import digests_of
from palimpsest.kernels.sorting import distinct_digests
from palimpsest.pipeline.index_upkeep import file_keys, source_keys
from palimpsest.pipeline.read import staged_tables
from palimpsest.pipeline.staging import load_array, load_table, save_table
from palimpsest.records.document_facts import FACT_NAMES
from palimpsest.records.schemas import TABLES, schema_without
from palimpsest.store.archive import Snapshot
from palimpsest.store.views import connect


@dataclass(frozen=True, slots=True)
class NewRows:
    """Rows that the archive does not have yet.

    Attributes:
        documents, occurrences, sources, containers: staged rows, without ``run_id``.
        changed: documents of the archive of which a new source tells something else, such as an
            earlier date; the rows as they are from now on, without ``run_id``.
        rejects: sources of documents that were taken down, without ``run_id``.
        known: sources that the archive has, such as members of a container that has grown.
        source_keys, document_keys: uint8, shape (n, 16), sorted, of what is new.
    """

    documents: pa.Table
    changed: pa.Table
    occurrences: pa.Table
    sources: pa.Table
    containers: pa.Table
    rejects: pa.Table
    known: int
    source_keys: Bytes
    document_keys: Bytes

    @property
    def is_empty(self) -> bool:
        """Whether the archive has every source and container already."""
        return not self.sources.num_rows and not self.containers.num_rows

    @classmethod
    def nothing(cls) -> NewRows:
        """Return that nothing is new."""
        tables = {
            name: schema_without(table, "run_id").empty_table() for name, table in _TABLES.items()
        }
        return cls(**tables, known=0, source_keys=empty_keys(), document_keys=empty_keys())

    def rows(self) -> dict[str, pa.Table]:
        """Return the rows to add by table; those that a run refuses are told elsewhere."""
        changed = self.changed.select(self.documents.column_names).cast(self.documents.schema)
        return {
            "documents": pa.concat_tables([self.documents, changed]),
            "occurrences": self.occurrences,
            "sources": self.sources,
            "containers": self.containers,
        }

    def text_digests(self) -> Bytes:
        """Return the digests of the texts in the new documents, sorted."""
        return distinct_digests(digests_of(self.occurrences.column("text_id")))


_TABLES = {
    "documents": "documents",
    "changed": "documents",
    "occurrences": "occurrences",
    "sources": "sources",
    "containers": "containers",
    "rejects": "rejects",
}
"""By name the table whose schema it has."""
_KEYS = ("source_keys", "document_keys")
_KNOWN = "known.txt"


def save_new_rows(news: NewRows, folder: Path) -> None:
    """Write news into the folder ``news`` of a run's."""
    for name in _TABLES:
        save_table(getattr(news, name), folder / "news" / f"{name}.arrow")
    for name in _KEYS:
        np.save(folder / "news" / f"{name}.npy", getattr(news, name))
    (folder / "news" / _KNOWN).write_text(str(news.known), encoding="ascii")


def load_new_rows(folder: Path) -> NewRows:
    """Return what ``save_new_rows`` wrote."""
    tables = {name: load_table(folder / "news" / f"{name}.arrow") for name in _TABLES}
    source_keys, document_keys = (load_array(folder / "news" / f"{name}.npy") for name in _KEYS)
    known = int((folder / "news" / _KNOWN).read_text(encoding="ascii"))
    return NewRows(**tables, known=known, source_keys=source_keys, document_keys=document_keys)


def find_new_rows(folder: Path, index: Index, base: Snapshot | None) -> NewRows:
    """Return what of the staged rows is new."""
    sources = pa.concat_tables(staged_tables(folder, "sources"))
    removed = base.read("removals") if base else TABLES["removals"].empty_table()
    is_removed = pc.is_in(
        sources.column("document_id"), value_set=removed.column("document_id").combine_chunks()
    )
    rejects = _removed_rejects(sources.filter(is_removed), removed)
    sources = sources.filter(pc.invert(is_removed))
    keys = source_keys(sources)
    is_known = index.contains("sources", keys)
    documents, occurrences = _new_documents(folder, index, removed)
    sources = sources.filter(pa.array(~is_known))
    containers = pa.concat_tables(staged_tables(folder, "containers"))
    held = file_keys(containers)
    is_held = index.contains("sources", held)
    return NewRows(
        _as_told(documents, sources),
        _changed_documents(sources, documents, base),
        occurrences,
        sources,
        containers.filter(pa.array(~is_held)),
        rejects,
        int(is_known.sum()),
        distinct_digests(np.concatenate((keys[~is_known], held[~is_held]))),
        distinct_digests(digests_of(documents.column("document_id"))),
    )


def _as_told(documents: pa.Table, sources: pa.Table) -> pa.Table:
    """Return documents with what the first of their sources tells: by date, then by URI."""
    ranked = sources.sort_by([(name, "ascending") for name in ("published_at", "uri")])
    first = pc.ScalarAggregateOptions(skip_nulls=False)
    told = ranked.group_by("document_id", use_threads=False).aggregate(
        [(name, "first", first) for name in FACT_NAMES]
    )
    place = pc.index_in(
        documents.column("document_id"), value_set=told.column("document_id").combine_chunks()
    )
    for name in FACT_NAMES:
        field = documents.schema.field(name)
        column = told.column(f"{name}_first").take(place)
        documents = documents.set_column(documents.schema.get_field_index(name), field, column)
    return documents


def _changed_documents(found: pa.Table, news: pa.Table, base: Snapshot | None) -> pa.Table:
    """Return the documents of the archive of which new sources tell something else."""
    documents, sources = (schema_without(name, "run_id") for name in ("documents", "sources"))
    new = news.column("document_id").combine_chunks()
    again = found.filter(pc.invert(pc.is_in(found.column("document_id"), value_set=new)))
    if base is None or not again.num_rows:
        return documents.empty_table()
    with connect(base) as connection:
        connection.register("again", again.select(["document_id"]))

        def held(name: str, schema: pa.Schema) -> pa.Table:
            query = f"FROM {name} SEMI JOIN again USING (document_id)"
            return connection.sql(query).to_arrow_table().select(schema.names).cast(schema)

        before = held("documents", documents)
        told = pa.concat_tables([held("sources", sources), again])
    after = _as_told(before, told)
    rows = (table.select(list(FACT_NAMES)).to_pylist() for table in (before, after))
    differs = [one != other for one, other in zip(*rows, strict=True)]
    return after.filter(pa.array(differs, pa.bool_()))


def unrecorded_rejects(rejects: pa.Table, base: Snapshot | None) -> pa.Table:
    """Return the rejects that have no equal row in the archive."""
    if base is None or not rejects.num_rows:
        return rejects
    names = ["uri", "bytes", "modified_at", "reason"]
    recorded = {tuple(row.values()) for row in base.read("rejects", names).to_pylist()}
    is_new = [tuple(row.values()) not in recorded for row in rejects.select(names).to_pylist()]
    return rejects.filter(pa.array(is_new, pa.bool_()))


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
        known = pa.array(index.contains("documents", digests_of(ids)))
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
