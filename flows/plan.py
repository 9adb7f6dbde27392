"""First step: what there is to read, and what is known already."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.staging import load_table, save_table
from ingest.batch import reject_table
from ingest.discover import FoundFile, discover, timestamp_of, uri_of
from records.schemas import PASSING_REASONS
from records.settings import Settings
from store.archive import Snapshot

MAX_BATCH_FILES = 20_000

_PLAN = pa.schema(
    [
        pa.field("path", pa.binary(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("modified_ns", pa.int64(), nullable=False),
        pa.field("batch", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run has before it.

    Attributes:
        found: sources found, readable or not.
        known: of these, files that an earlier run has read and that have not changed since.
        known_rejects: of these, refused for good by an earlier run and not changed since.
        batches: how many batches the others make.
        bytes: their size.
    """

    found: int
    known: int
    known_rejects: int
    batches: int
    bytes: int


def plan_run(
    sources: Sequence[str], base: Snapshot | None, folder: Path, settings: Settings
) -> Plan:
    """Find the sources and write ``plan.arrow`` and the rejects of names that lead to no file.

    Raises:
        SettingsError: an argument names nothing.
    """
    discovery = discover(sources)
    known, refused = _seen_files(base, settings.read.encoding)
    fresh, known_files, known_rejects = [], 0, 0
    for found in discovery.files:
        key = (uri_of(found.path), found.size_bytes, timestamp_of(found.modified_ns))
        if key in known:
            known_files += 1
        elif key in refused:
            known_rejects += 1
        else:
            fresh.append(found)
    rejects = reject_table(
        [(found.path, None, None, found.reason, found.detail) for found in discovery.rejects]
    )
    batches = _number_batches(fresh, settings.run.batch_bytes)
    save_table(_plan_table(fresh, batches), folder / "plan.arrow")
    save_table(rejects, folder / "rejects.arrow")
    return Plan(
        len(discovery.files) + len(discovery.rejects),
        known_files,
        known_rejects,
        int(batches[-1]) + 1 if len(batches) else 0,
        sum(found.size_bytes for found in fresh),
    )


def planned_files(folder: Path, batch: int) -> list[FoundFile]:
    """Return the files of a batch."""
    plan = load_table(folder / "plan.arrow")
    mine = plan.filter(pc.equal(plan.column("batch"), batch))
    columns = (mine.column(name).to_pylist() for name in ("path", "size_bytes", "modified_ns"))
    return [
        FoundFile(os.fsdecode(path), size, time) for path, size, time in zip(*columns, strict=True)
    ]


def _seen_files(base: Snapshot | None, encoding: str | None) -> tuple[set[Any], set[Any]]:
    """Return URI, size and time of the files that earlier runs read, and that they refused.

    What was refused for a reason that may pass is tried again, and so is what was refused in
    another encoding: naming one is how a user helps.
    """
    if base is None:
        return set(), set()
    names = ["uri", "bytes", "modified_at"]
    runs = base.read("runs", ["run_id", "settings"]).to_pylist()
    alike = [
        run["run_id"] for run in runs if json.loads(run["settings"])["read"]["encoding"] == encoding
    ]
    rejects = base.read("rejects", [*names, "reason", "run_id"])
    rejects = rejects.filter(
        pc.and_(
            pc.is_in(rejects.column("run_id"), pa.array(alike, pa.string())),
            pc.invert(pc.is_in(rejects.column("reason"), pa.array(PASSING_REASONS))),
        )
    )
    seen = [
        set(zip(*(rows.column(name).to_pylist() for name in names), strict=True))
        for rows in (base.read("sources", names), rejects)
    ]
    return seen[0], seen[1]


def _number_batches(files: list[FoundFile], batch_bytes: int) -> np.ndarray[Any, Any]:
    """Return the batch of each file, in order: about so many bytes, and not too many files."""
    sizes = np.array([found.size_bytes for found in files], dtype=np.int64)
    before = np.cumsum(sizes) - sizes
    cuts = before // batch_bytes + np.arange(len(files)) // MAX_BATCH_FILES
    return np.unique(cuts, return_inverse=True)[1] if len(files) else cuts


def _plan_table(files: list[FoundFile], batches: np.ndarray[Any, Any]) -> pa.Table:
    columns: dict[str, Any] = {
        "path": pa.array([os.fsencode(found.path) for found in files], pa.binary()),
        "size_bytes": pa.array([found.size_bytes for found in files], pa.int64()),
        "modified_ns": pa.array([found.modified_ns for found in files], pa.int64()),
        "batch": pa.array(batches, pa.int64()),
    }
    return pa.table(columns, schema=_PLAN)
