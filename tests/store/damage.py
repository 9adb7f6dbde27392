"""Copies of archives, and changes to their rows that bypass the archive."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import MANIFEST, StoredArchive
from palimpsest.store.parquet import write_table

Change = Callable[[pa.Table], pa.Table]


def copy_archive(archive: Path, target: Path) -> Path:
    """Return a copy of an archive that shares no file with it."""
    place, copied = StoredArchive(archive), StoredArchive(target)
    copied.path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(place.home, copied.home, symlinks=True)
    folder = copied.versions / place.snapshot().folder.name
    copied.path.symlink_to(folder.relative_to(copied.path.parent), target_is_directory=True)
    return copied.path


def rewrite(archive: Path, name: str, change: Change, *, is_listed: bool = True) -> Path:
    """Rewrite a table with changed rows; the manifest lists the new file if ``is_listed``."""
    snapshot = StoredArchive(archive).snapshot()
    rows = change(snapshot.read(name))
    first, *others = snapshot.files(name)
    for path in (first, *others):
        path.unlink()
    write_table(rows.cast(TABLES[name]), name, first)
    if is_listed:
        manifest = json.loads((snapshot.folder / MANIFEST).read_text(encoding="utf-8"))
        facts = {"name": first.name, "rows": rows.num_rows, "bytes": first.stat().st_size}
        manifest["files"][name] = [facts]
        (snapshot.folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return first


def put(column: str, value: Any, row: int = 0) -> Change:
    """Return the change of one value; a function is called with the old value."""

    def change(table: pa.Table) -> pa.Table:
        values = table.column(column).to_pylist()
        values[row] = value(values[row]) if callable(value) else value
        place = table.schema.get_field_index(column)
        field = table.schema.field(column)
        return table.set_column(place, field, pa.array(values, field.type))

    return change


def double(row: int = 0) -> Change:
    """Return the change that repeats a row."""
    return lambda table: pa.concat_tables([table, table.slice(row, 1)])


def lose(row: int = 0) -> Change:
    """Return the change that removes a row."""
    return lambda table: table.filter(
        pa.array([at != row % len(table) for at in range(len(table))])
    )
