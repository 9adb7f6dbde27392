"""Which of the staged rows are new to the archive; determined under its lock.

Another run may have committed since the sources were found, and documents may have been removed.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRows:
    """Rows that the archive does not have yet.

    Attributes:
        documents, occurrences, sources, containers: staged rows, without ``run_id``.
        changed: documents of the archive whose facts a new source changes, such as an earlier
            date; their new rows, without ``run_id``.
        rejects: sources of documents that were removed, without ``run_id``.
        known: number of sources that the archive has, such as members of a container that grew.
        source_keys, document_keys: uint8, shape (n, 16), sorted, of the new rows.
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
    def none(cls) -> NewRows:
        """Return no rows."""
        tables = {
            name: schema_without(table, "run_id").empty_table() for name, table in _TABLES.items()
        }
        return cls(**tables, known=0, source_keys=empty_keys(), document_keys=empty_keys())

    def rows(self) -> dict[str, pa.Table]:
        """Return the rows to add by table, without rejects, which the run collects itself."""
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


def save_new_rows(new_rows: NewRows, folder: Path) -> None:
    """Write new rows into ``new-rows/`` in the folder of a run."""
    for name in _TABLES:
        save_table(getattr(new_rows, name), folder / "new-rows" / f"{name}.arrow")
    for name in _KEYS:
        np.save(folder / "new-rows" / f"{name}.npy", getattr(new_rows, name))
    (folder / "new-rows" / _KNOWN).write_text(str(new_rows.known), encoding="ascii")


def load_new_rows(folder: Path) -> NewRows:
    """Return what ``save_new_rows`` wrote."""
    tables = {name: load_table(folder / "new-rows" / f"{name}.arrow") for name in _TABLES}
    source_keys, document_keys = (load_array(folder / "new-rows" / f"{name}.npy") for name in _KEYS)
    known = int((folder / "new-rows" / _KNOWN).read_text(encoding="ascii"))
    return NewRows(**tables, known=known, source_keys=source_keys, document_keys=document_keys)


def find_new_rows(folder: Path, index: Index, base: Snapshot | None) -> NewRows:
    """Return the staged rows that the archive does not have.

    Reads the tables of all batches and the keys in the index; the cost grows with the rows staged.
    """
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
    container_keys = file_keys(containers)
    is_known_container = index.contains("sources", container_keys)
    new_keys = np.concatenate((keys[~is_known], container_keys[~is_known_container]))
    return NewRows(
        documents=_with_source_facts(documents, sources),
        changed=_changed_documents(sources, documents, base),
        occurrences=occurrences,
        sources=sources,
        containers=containers.filter(pa.array(~is_known_container)),
        rejects=rejects,
        known=int(is_known.sum()),
        source_keys=distinct_digests(new_keys),
        document_keys=distinct_digests(digests_of(documents.column("document_id"))),
    )


def _with_source_facts(documents: pa.Table, sources: pa.Table) -> pa.Table:
    """Return documents with the facts of their first source: the first by date, then by URI."""
    ranked = sources.sort_by([(name, "ascending") for name in ("published_at", "uri")])
    first = pc.ScalarAggregateOptions(skip_nulls=False)
    facts = ranked.group_by("document_id", use_threads=False).aggregate(
        [(name, "first", first) for name in FACT_NAMES]
    )
    place = pc.index_in(
        documents.column("document_id"), value_set=facts.column("document_id").combine_chunks()
    )
    for name in FACT_NAMES:
        field = documents.schema.field(name)
        column = facts.column(f"{name}_first").take(place)
        documents = documents.set_column(documents.schema.get_field_index(name), field, column)
    return documents


def _changed_documents(found: pa.Table, new_rows: pa.Table, base: Snapshot | None) -> pa.Table:
    """Return the documents of the archive whose facts new sources change, as they are now."""
    documents, sources = (schema_without(name, "run_id") for name in ("documents", "sources"))
    new = new_rows.column("document_id").combine_chunks()
    again = found.filter(pc.invert(pc.is_in(found.column("document_id"), value_set=new)))
    if base is None or not again.num_rows:
        return documents.empty_table()
    with connect(base) as connection:
        connection.register("again", again.select(["document_id"]))

        def stored_rows(name: str, schema: pa.Schema) -> pa.Table:
            query = f"FROM {name} SEMI JOIN again USING (document_id)"
            return connection.sql(query).to_arrow_table().select(schema.names).cast(schema)

        before = stored_rows("documents", documents)
        facts = pa.concat_tables([stored_rows("sources", sources), again])
    after = _with_source_facts(before, facts)
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
    """Return a reject for each source of a removed document, with the reason of the removal."""
    removals = {row["document_id"]: row for row in removed.to_pylist()}
    rows = []
    for row in sources.to_pylist():
        removal = removals[row.pop("document_id")]
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
