"""First step: what there is to read, and what is known already."""

from __future__ import annotations

import json
import os
import shutil
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
from records.ids import source_key
from records.schemas import PASSING_REASONS
from records.settings import Settings
from store.archive import Snapshot
from store.index import Index

MAX_BATCH_FILES = 20_000
SEAL, FILES = "seal.txt", "files.arrow"
"""What a staged batch was made with, for all of a run; and the files in it."""

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
        taken_up: batches that a run that ended too early had staged already.
        batches: how many batches there are, with those taken up first.
    """

    found: int
    known: int
    known_rejects: int
    taken_up: int
    batches: int


def plan_run(
    sources: Sequence[str],
    base: Snapshot | None,
    index: Index,
    folder: Path,
    settings: Settings,
    seal: str,
) -> Plan:
    """Find the sources and write ``plan.arrow`` and the rejects of names that lead to no file.

    Args:
        sources: files, folders and patterns.
        base: the version that readers see.
        index: what tells the known sources.
        folder: the run's, with what dead runs left.
        settings: of the run.
        seal: digest of all that decides what a batch holds.

    Raises:
        SettingsError: an argument names nothing.
    """
    discovery = discover(sources)
    uris = [uri_of(found.path) for found in discovery.files]
    times = [timestamp_of(found.modified_ns) for found in discovery.files]
    sizes = [found.size_bytes for found in discovery.files]
    joined = b"".join(map(source_key, uris, sizes, times))
    known = index.known("sources", np.frombuffer(joined, np.uint8).reshape(-1, 16))
    refused = _refused_files(base, settings.read.encoding)
    fresh, known_rejects = [], 0
    for number, found in enumerate(discovery.files):
        if known[number]:
            continue
        if refused and (uris[number], sizes[number], times[number]) in refused:
            known_rejects += 1
        else:
            fresh.append(found)
    rejects = reject_table(
        [(found.path, None, None, found.reason, found.detail) for found in discovery.rejects]
    )
    (folder / SEAL).write_text(seal, encoding="utf-8")  # first: what is taken up stays sealed
    taken_up, rest = _take_up(fresh, folder, seal)
    batches = _number_batches(rest, settings.run.batch_bytes) + taken_up
    save_table(_plan_table(rest, batches), folder / "plan.arrow")
    save_table(rejects, folder / "rejects.arrow")
    return Plan(
        len(discovery.files) + len(discovery.rejects),
        int(known.sum()),
        known_rejects,
        taken_up,
        int(batches[-1]) + 1 if len(batches) else taken_up,
    )


def _take_up(files: list[FoundFile], folder: Path, seal: str) -> tuple[int, list[FoundFile]]:
    """Take up batches that dead runs had staged, if all of their files are to be read just so.

    Returns:
        how many batches there are now, and the files that are in none of them.
    """
    waiting = {found.path: found for found in files}
    taken = 0
    for left in sorted((folder / "left").rglob(SEAL)):
        is_alike = left.read_text(encoding="utf-8") == seal
        for batch in sorted(left.parent.glob("batch-?????")) if is_alike else ():
            held = files_of(load_table(batch / FILES))
            if held and all(waiting.get(found.path) == found for found in held):
                batch.rename(batch_folder(folder, taken))
                taken += 1
                for found in held:
                    del waiting[found.path]
        left.unlink()  # so that nobody takes up what is half removed
    shutil.rmtree(folder / "left")
    return taken, list(waiting.values())


def batch_folder(folder: Path, batch: int) -> Path:
    """Return where a batch is staged."""
    return folder / f"batch-{batch:05d}"


def planned_files(folder: Path, batch: int) -> pa.Table:
    """Return the files of a batch, as ``files_of`` reads them."""
    plan = load_table(folder / "plan.arrow")
    return plan.filter(pc.equal(plan.column("batch"), batch))


def files_of(planned: pa.Table) -> list[FoundFile]:
    """Return files as they were found."""
    columns = (planned.column(name).to_pylist() for name in ("path", "size_bytes", "modified_ns"))
    return [
        FoundFile(os.fsdecode(path), size, time) for path, size, time in zip(*columns, strict=True)
    ]


def _refused_files(base: Snapshot | None, encoding: str | None) -> set[Any]:
    """Return URI, size and time of the files that earlier runs refused.

    What was refused for a reason that may pass is tried again, and so is what was refused in
    another encoding: naming one is how a user helps.
    """
    if base is None or not base.rows("rejects"):
        return set()
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
    return set(zip(*(rejects.column(name).to_pylist() for name in names), strict=True))


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
