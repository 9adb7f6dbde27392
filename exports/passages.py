"""Export of passages to one file: Parquet, CSV or JSON Lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from palimpsest.evidence.passages import PassageFilter, iterate_passages
from palimpsest.exports.csvw import write_rows
from palimpsest.exports.streams import compressed, iso_time, to_json
from palimpsest.records.progress import Report, silent
from palimpsest.records.schemas import PASSAGES
from palimpsest.records.settings import PassageSettings
from palimpsest.store.archive import Snapshot
from palimpsest.store.files import expect_ending, new_file

_COMPRESSIONS = ("", ".gz", ".zst")
FORMATS = (".parquet", *(name + end for name in (".csv", ".jsonl") for end in _COMPRESSIONS))
"""Endings of the files that can be written."""


def expect_format(path: Path) -> str:
    """Return the format for the ending of a file's name, without its compression.

    Raises:
        SettingsError: the ending is not one of ``FORMATS``.
    """
    ending = expect_ending(path, FORMATS)
    return ending.removesuffix(".gz").removesuffix(".zst")


def write_passages(
    snapshot: Snapshot,
    path: Path,
    selection: PassageFilter | None = None,
    settings: PassageSettings | None = None,
    *,
    workers: int | None = None,
    replace: bool = False,
    report: Report = silent,
) -> int:
    """Write all passages of an archive to a file; return their number.

    Args:
        snapshot: the version to read.
        path: of the file; its ending, one of ``FORMATS``, chooses the format.
        selection: which passages to write; all by default.
        settings: how passages are found; by default, those for the sensitivity of the archive.
        workers: number of threads that align; by default, the number of cores.
        replace: replace an existing file.
        report: called with the progress.

    Raises:
        SettingsError: ``path`` exists, has an unknown ending, or cannot be written.
    """
    write = _WRITERS[expect_format(path)]
    parts = iterate_passages(snapshot, selection, settings, workers=workers, report=report)
    with new_file(path, replace=replace) as sink, compressed(sink, path) as file:
        return write(file, parts)


def _write_parquet(file: BinaryIO, parts: Iterable[pa.Table]) -> int:
    count = 0
    with pq.ParquetWriter(file, PASSAGES, compression="zstd") as writer:
        for rows in parts:
            count += rows.num_rows
            writer.write_table(rows)
    return count


def _write_csv(file: BinaryIO, parts: Iterable[pa.Table]) -> int:
    return write_rows(file, PASSAGES, parts)


def _write_jsonl(file: BinaryIO, parts: Iterable[pa.Table]) -> int:
    count = 0
    for rows in parts:
        lines = (
            to_json({name: _plain(value) for name, value in row.items()})
            for row in rows.to_pylist()
        )
        file.write(b"".join(line + b"\n" for line in lines))
        count += rows.num_rows
    return count


def _plain(value: Any) -> Any:
    return iso_time(value) if isinstance(value, datetime) else value


_WRITERS: dict[str, Callable[[BinaryIO, Iterable[pa.Table]], int]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
}
