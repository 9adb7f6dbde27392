"""The files that the steps of a run exchange: Arrow tables and numpy arrays that can be mapped.

Steps may run on several machines that share the folder, where listings can be out of date. So each
file has a name that follows from its number, and no step lists the folder.

::

    plan.arrow              files to read, with the batch that each is in
    batches.txt             how many batches there are
    seal.txt                fingerprint of the batches
    batch-00000/            files of a batch; sources, rejects, documents, occurrences, texts, words
    new-rows/               rows of all batches that are new to the archive
    texts/                  the distinct texts of the run, and old ones that they may pair with
                            (staged in old-*); the words of all of them
    candidates-*            those of some bands
    pairs.npy, lost.npy     candidates of all bands, and pairs that crowds no longer pair
    links-*                 the results of aligning a chunk of them
    overlaps-*              its overlaps, as files of the archive
    rows/                   the rows that folding does not change, as files of the archive
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Columns = TypeVar("Columns", bound=tuple[Any, ...])


def save_table(table: pa.Table, path: Path) -> None:
    """Write a table as an Arrow file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def load_table(path: Path) -> pa.Table:
    """Map a table that ``save_table`` wrote; its pages are read when they are needed."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def put_in_place(building: Path, target: Path) -> None:
    """Give a folder that one attempt has built its name, unless another attempt was first."""
    try:
        building.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(building)


def save_arrays(columns: tuple[Any, ...], folder: Path) -> None:
    """Write each field of a named tuple of arrays as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in zip(_names(type(columns)), columns, strict=True):
        np.save(folder / f"{name}.npy", values)


def load_arrays(kind: type[Columns], folder: Path) -> Columns:
    """Map a named tuple of arrays that ``save_arrays`` wrote."""
    return kind(*(load_array(folder / f"{name}.npy") for name in _names(kind)))


def load_array(path: Path) -> npt.NDArray[Any]:
    """Map one array."""
    return np.asarray(np.load(path, mmap_mode="r"))


def _names(kind: type[tuple[Any, ...]]) -> tuple[str, ...]:
    return kind._fields  # type: ignore[attr-defined,no-any-return]  # a named tuple has them
