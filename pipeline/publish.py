"""Last step: a run's rows become a new version of the archive."""

from __future__ import annotations

import pyarrow as pa

from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Snapshot
from palimpsest.store.commit import ChangeSet, Writer, clear_unpublished


def publish(writer: Writer, changes: ChangeSet) -> Snapshot:
    """Commit changes as a new version and return it; remove what was left unpublished before.

    Reads: the files of rows that the changes name. Writes: a version of the archive, or nothing.
    Cost: the rows that change; files whose rows all stay are linked.
    """
    published = writer.commit(changes)
    clear_unpublished(writer.archive, published)
    return published


def with_run_id(added: dict[str, pa.Table], run_id: str) -> dict[str, pa.Table]:
    """Return the rows of each table with the id of their run, in the columns of its schema."""
    complete = {}
    for name, rows in added.items():
        if "run_id" in TABLES[name].names and "run_id" not in rows.column_names:
            rows = rows.append_column("run_id", pa.repeat(run_id, rows.num_rows))
        complete[name] = rows.select(TABLES[name].names).cast(TABLES[name])
    return complete
