"""First step: find the sources, skip those that are known, and number the batches.

Reads the names, sizes and times of the sources, and the keys in the index; writes ``plan.arrow``,
``rejects.arrow``, ``batches.txt`` and ``seal.txt``. The cost grows with the number of files.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from palimpsest.dedup.index.search import Index
from palimpsest.ingest.batch import reject_table
from palimpsest.ingest.finding.discover import discover, timestamp_of, uri_of
from palimpsest.ingest.finding.found import FoundFile
from palimpsest.pipeline.index_upkeep import FILE_KEY, file_keys
from palimpsest.pipeline.staging import load_table, save_table
from palimpsest.records.arrow import integers, times
from palimpsest.records.schemas import PASSING_REASONS
from palimpsest.records.settings import Settings
from palimpsest.store.archive import Snapshot

MAX_BATCH_FILES = 20_000
SEAL, FILES = "seal.txt", "files.arrow"
"""The fingerprint of all batches of a run; and the files of one batch."""
_BATCHES = "batches.txt"

_PLAN = pa.schema(
    [
        pa.field("path", pa.binary(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("modified_ns", pa.int64(), nullable=False),
        pa.field("batch", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Survey:
    """The sources that were found, and which of them to read.

    Attributes:
        fresh: files to read, as they were found.
        known: how many sources are in files that an earlier run has read, and that have not
            changed since.
        known_rejects: how many sources in such files an earlier run has rejected for good.
        rejects: names that lead to no file.
    """

    fresh: list[FoundFile]
    known: int
    known_rejects: int
    rejects: pa.Table

    @property
    def found(self) -> int:
        """How many sources there are, readable or not."""
        rejects: int = self.rejects.num_rows
        return len(self.fresh) + self.known + self.known_rejects + rejects

    def portions(self, portion_bytes: int) -> Iterator[Survey]:
        """Cut the files to read into portions of about ``portion_bytes``; there is at least one."""
        cuts = _cuts(self.fresh, portion_bytes)
        for number in range(int(cuts[-1]) + 1 if len(cuts) else 1):
            first, end = np.searchsorted(cuts, [number, number + 1])
            fresh = self.fresh[first:end]
            if number:
                yield Survey(fresh, 0, 0, self.rejects.slice(0, 0))
            else:
                yield replace(self, fresh=fresh)


@dataclass(frozen=True, slots=True)
class Plan:
    """The work of a run.

    Attributes:
        survey: the sources.
        taken_up: number of batches that an unfinished run had staged, and that this one resumes.
        batches: number of all batches; the resumed ones come first.
    """

    survey: Survey
    taken_up: int
    batches: int


def survey_sources(
    sources: Sequence[str], base: Snapshot | None, index: Index, settings: Settings
) -> Survey:
    """Find the sources and separate those that are known.

    Args:
        sources: files, folders and patterns.
        base: the version that readers see.
        index: the keys of known sources.
        settings: of the run.

    Raises:
        SettingsError: an argument names nothing.
    """
    discovery = discover(sources)
    rejects = reject_table(
        [(uri_of(one.path), None, None, one.reason, one.detail) for one in discovery.rejects]
    )
    if base is None:
        return Survey(discovery.files, 0, 0, rejects)
    uris = [uri_of(found.path) for found in discovery.files]
    sizes = [found.size_bytes for found in discovery.files]
    modified = [timestamp_of(found.modified_ns) for found in discovery.files]
    columns = pa.array(uris, pa.string()), integers(sizes, np.int64), times(modified)
    is_known = index.contains("sources", file_keys(pa.table(columns, names=FILE_KEY)))
    refused = _refused_files(base, settings.read.encoding)
    containers = _known_containers(base)
    fresh, known, known_rejects = [], 0, 0
    for number, found in enumerate(discovery.files):
        if is_known[number]:
            inside = containers.get((uris[number], sizes[number], modified[number]), (1, 0))
            known, known_rejects = known + inside[0], known_rejects + inside[1]
            continue
        if refused and (uris[number], sizes[number], modified[number]) in refused:
            known_rejects += 1
        else:
            fresh.append(found)
    return Survey(fresh, known, known_rejects, rejects)


def plan_run(survey: Survey, folder: Path, settings: Settings, seal: str) -> Plan:
    """Write the batches to read and the rejects of the survey.

    Args:
        survey: what the run is to read.
        folder: the run's, with what unfinished runs left in ``left/``.
        settings: of the run.
        seal: digest of everything that determines the contents of a staged batch.
    """
    (folder / SEAL).write_text(
        seal, encoding="utf-8"
    )  # first, since batches may be moved here next
    taken_up, rest = _resume_batches(survey.fresh, folder, seal)
    batches = _number_batches(rest, settings.run.batch_bytes) + taken_up
    save_table(_plan_table(rest, batches), folder / "plan.arrow")
    save_table(survey.rejects, folder / "rejects.arrow")
    count = int(batches[-1]) + 1 if len(batches) else taken_up
    (folder / _BATCHES).write_text(str(count), encoding="ascii")
    return Plan(survey, taken_up, count)


def _resume_batches(files: list[FoundFile], folder: Path, seal: str) -> tuple[int, list[FoundFile]]:
    """Resume batches that unfinished runs staged, if all of their files are still to be read.

    Returns:
        the number of resumed batches, and the files that are in none of them.
    """
    waiting = {found.path: found for found in files}
    resumed = 0
    for left in sorted((folder / "left").rglob(SEAL)):
        is_alike = left.read_text(encoding="utf-8") == seal
        for batch in sorted(left.parent.glob("batch-?????")) if is_alike else ():
            staged_files = files_of(load_table(batch / FILES))
            if staged_files and all(waiting.get(found.path) == found for found in staged_files):
                batch.rename(batch_folder(folder, resumed))
                resumed += 1
                for found in staged_files:
                    del waiting[found.path]
        left.unlink()  # so that no run resumes half of a folder
    shutil.rmtree(folder / "left")
    return resumed, list(waiting.values())


def planned_batches(folder: Path) -> int:
    """Return how many batches a run has, without listing its folder.

    A file that another machine wrote to a shared folder can be opened at once, but is listed late.
    """
    return int((folder / _BATCHES).read_text(encoding="ascii"))


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
    """Return URI, size and time of the files that earlier runs rejected for good.

    Files rejected for a reason that may pass are tried again, and so are those rejected under
    another ``read.encoding``: setting it is how a user repairs such a rejection.
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


def _known_containers(base: Snapshot | None) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Return how many sources and rejects are in each container that was read."""
    if base is None or not base.rows("containers"):
        return {}
    rows = base.read("containers", ["uri", "bytes", "modified_at", "sources", "rejects"])
    return {
        tuple(row[:3]): (row[3], row[4]) for row in zip(*rows.to_pydict().values(), strict=True)
    }


def _number_batches(files: list[FoundFile], batch_bytes: int) -> np.ndarray[Any, Any]:
    """Return the batch of each file: about ``batch_bytes``, at most ``MAX_BATCH_FILES`` files."""
    cuts = _cuts(files, batch_bytes) + np.arange(len(files)) // MAX_BATCH_FILES
    return np.unique(cuts, return_inverse=True)[1] if len(files) else cuts


def _cuts(files: list[FoundFile], part_bytes: int) -> np.ndarray[Any, Any]:
    """Return the part of each file, from 0 on, with parts of about ``part_bytes``."""
    sizes = np.array([found.size_bytes for found in files], dtype=np.int64)
    cuts = (np.cumsum(sizes) - sizes) // part_bytes
    return np.unique(cuts, return_inverse=True)[1] if len(files) else cuts


def _plan_table(files: list[FoundFile], batches: np.ndarray[Any, Any]) -> pa.Table:
    columns: dict[str, Any] = {
        "path": pa.array([os.fsencode(found.path) for found in files], pa.binary()),
        "size_bytes": pa.array([found.size_bytes for found in files], pa.int64()),
        "modified_ns": pa.array([found.modified_ns for found in files], pa.int64()),
        "batch": pa.array(batches, pa.int64()),
    }
    return pa.table(columns, schema=_PLAN)
