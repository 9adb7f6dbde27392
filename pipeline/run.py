"""A run from sources to a committed version: the order of the steps, without Prefect.

Each step reads what an earlier one staged in the folder of the run (``pipeline.staging``) and
writes its own files there. A ``StepExecutor`` runs the steps that are cut into several calls: in
order, in threads, in processes, or as Prefect tasks (``flows.ingest``).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial, reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from palimpsest.pipeline.executors import StepExecutor, run_in_order
from palimpsest.pipeline.fingerprint import check_fingerprint, fingerprint_digest
from palimpsest.pipeline.fold import Deletions, FoldResult
from palimpsest.pipeline.index_upkeep import known_keys, merge_if_many, open_index, repair_index
from palimpsest.pipeline.matching import (
    band_groups,
    load_matched,
    merge_groups,
    pair_ids,
    pairs_given_up,
)
from palimpsest.pipeline.new_rows import (
    NewRows,
    find_new_rows,
    load_new_rows,
    save_new_rows,
    unrecorded_rejects,
)
from palimpsest.pipeline.overlaps import staged_chunks, staged_overlaps
from palimpsest.pipeline.plan import Plan, Survey, plan_run, survey_sources
from palimpsest.pipeline.publish import with_run_id
from palimpsest.pipeline.read import BatchCounts, staged_tables
from palimpsest.pipeline.staging import load_table
from palimpsest.pipeline.steps import (
    ALIGN_CHUNK,
    COMMIT,
    FOLD,
    GATHER_TEXTS,
    PAIR_BANDS,
    PLAN,
    PORTION,
    STAGE_BATCH,
    WAIT,
)
from palimpsest.pipeline.summary import RunSummary, run_row, summarise_sources
from palimpsest.records.ids import run_id_of
from palimpsest.records.progress import Report, silent
from palimpsest.records.settings import Settings
from palimpsest.store.address import open_archive
from palimpsest.store.archive import StoredArchive
from palimpsest.store.commit import (
    ChangeSet,
    Writer,
    clear_unpublished,
    open_staging,
    open_writer,
    retry_if_outrun,
    write_rows,
    written_files,
)
from palimpsest.store.memory import reduce_memory_use, release_freed_memory

_STAGING_VERSION = "3"
"""Increase it when batches are staged differently: runs resume batches of the same version only."""


def run_ingest(
    sources: Sequence[str],
    archive: str | Path,
    settings: Settings | None = None,
    *,
    executor: StepExecutor = run_in_order,
    report: Report = silent,
    flow_run_id: str | None = None,
) -> RunSummary:
    """Ingest sources into an archive and commit a version, unless there is nothing new.

    Sources are read without locking the archive. Their texts are matched, folded and committed
    under its lock, against everything that other runs have committed by then. More than
    ``run.portion_bytes`` of new files are ingested in several parts, one run and one version after
    the other, so that the memory needed does not grow with the amount of new text.

    Raises:
        SettingsError: a source names nothing, or the archive was made with other settings.
        TransientError: another run has been writing to the archive for too long.
        ContractError: an invariant does not hold; nothing of this part has been written.
    """
    settings = settings or Settings()
    if settings.run.memory:
        reduce_memory_use()
    opened = open_archive(archive)
    started = time.perf_counter()
    base = opened.snapshot() if opened.exists() else None
    check_fingerprint(settings, base)
    survey = survey_sources(sources, base, known_keys(opened, base, settings), settings)
    base = None  # frees what it has mapped
    report(PLAN, 1, 1)
    ingest_portion = partial(
        _ingest_portion, opened, settings, executor=executor, report=report, flow_run_id=flow_run_id
    )
    portions = list(survey.portions(settings.run.portion_bytes))
    summaries = []
    for number, portion in enumerate(portions):
        if len(portions) > 1:
            report(PORTION, number, len(portions))
        summaries.append(ingest_portion(portion))
    summary = reduce(RunSummary.and_then, summaries)
    return replace(summary, seconds=time.perf_counter() - started)


@retry_if_outrun
def _ingest_portion(
    archive: StoredArchive,
    settings: Settings,
    survey: Survey,
    *,
    executor: StepExecutor,
    report: Report,
    flow_run_id: str | None,
) -> RunSummary:
    """Ingest one part of the sources: one run, and one version or none."""
    started_at = datetime.now(UTC)
    run_id = run_id_of(started_at, secrets.token_hex(3))
    with open_staging(archive, run_id) as folder:
        base = archive.snapshot() if archive.exists() else None
        staged_with = fingerprint_digest(settings) + _STAGING_VERSION + _boot_id()
        plan = plan_run(survey, folder, settings, staged_with)
        arguments = [(folder, batch, settings) for batch in range(plan.batches)]
        batches = executor(STAGE_BATCH, arguments, report) if arguments else []
        read = _ReadSources(run_id, plan, batches, _staged_rejects(folder))
        if not read.has_any and not unrecorded_rejects(read.rejects, base).num_rows:
            return read.summarise(archive)
        report(WAIT, 0, 1)
        files_at_once = 1 if settings.run.memory else None
        with open_writer(archive, run_id, settings.run.wait_seconds, files_at_once) as writer:
            report(WAIT, 1, 1)
            release_freed_memory()  # memory that reading used
            fingerprint = check_fingerprint(settings, writer.base)
            matching = _match(folder, writer, settings, executor, report) if batches else None
            rejects = unrecorded_rejects(read.all_rejects(matching), writer.base)
            summary = read.summarise(archive, matching).with_new_rejects(rejects)
            if not rejects.num_rows and (matching is None or matching.new_rows.is_empty):
                clear_unpublished(archive, writer.base)  # another run has ingested all of it
                return summary
            counts = asdict(summary) | (matching.text_counts() if matching else {})
            run = run_row(run_id, settings, started_at, counts, flow_run_id)
            changes = _changes(run_id, fingerprint, rejects, run, matching)
            [published] = run_in_order(COMMIT, [(writer, changes)], report)
            release_freed_memory()
            return replace(summary, version=published.manifest.version)


def _boot_id() -> str:
    """Return an id that changes when the machine restarts, which may tear staged files."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _staged_rejects(folder: Path) -> pa.Table:
    """Return the rejects of the plan and of all batches."""
    return pa.concat_tables(
        [load_table(folder / "rejects.arrow"), *staged_tables(folder, "rejects")]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Matching:
    """The results of matching and folding.

    Attributes:
        written: files of rows that are complete, by table.
        segments: names of the index segments of the new version.
        texts_new: how many texts are new.
    """

    new_rows: NewRows
    folded: FoldResult
    written: dict[str, list[Path]]
    overlaps_found: int
    segments: list[str]
    texts_new: int
    candidates: int
    crowds: int

    def text_counts(self) -> dict[str, int]:
        """Return the counts that only the row of the run has."""
        return {"texts_new": self.texts_new, "texts_folded": self.folded.texts_folded}

    def summary_counts(self) -> dict[str, int]:
        """Return the fields of the run's summary that matching decides."""
        folded = self.folded
        unanchored = self.new_rows.documents.column("unanchored")
        return {
            "documents_new": folded.documents,
            "paragraphs_seen": folded.paragraphs,
            "paragraphs_repeated": folded.paragraphs - self.texts_new,
            "paragraphs_kept": self.texts_new - folded.texts_folded,
            "paragraphs_folded": folded.texts_folded,
            "paragraphs_superseded": folded.superseded,
            "paragraphs_unanchored": pc.sum(unanchored, min_count=0).as_py(),
            "candidates": self.candidates,
            "crowds": self.crowds,
            "overlaps_found": self.overlaps_found,
        }


@dataclass(frozen=True, slots=True)
class _ReadSources:
    """What a run has read, before it knows what of it the archive has."""

    run_id: str
    plan: Plan
    batches: list[BatchCounts]
    rejects: pa.Table

    @property
    def has_any(self) -> bool:
        """Whether a source or a container was read."""
        return any(batch.sources or batch.containers for batch in self.batches)

    def all_rejects(self, matching: _Matching | None) -> pa.Table:
        """Return the rejects, with those that turned up under the archive's lock."""
        if matching is None:
            return self.rejects
        return pa.concat_tables([self.rejects, matching.new_rows.rejects])

    def summarise(self, archive: StoredArchive, matching: _Matching | None = None) -> RunSummary:
        """Return the summary of the run; without matching nothing of it is new."""
        new_rows = matching.new_rows if matching else None
        rejects = self.all_rejects(matching)
        summary = summarise_sources(
            self.run_id,
            archive.name,
            plan=self.plan,
            batches=self.batches,
            rejects=rejects,
            new_rows=new_rows,
        )
        counts: dict[str, Any] = matching.summary_counts() if matching else {}
        return replace(summary, **counts)


def _match(
    folder: Path, writer: Writer, settings: Settings, executor: StepExecutor, report: Report
) -> _Matching:
    """Match and fold what was read, under the archive's lock."""
    archive, base = writer.archive, writer.base
    segments = repair_index(archive, base, f"{writer.run_id}-mended", settings)
    save_new_rows(find_new_rows(folder, open_index(archive, segments, settings), base), folder)
    new_rows = load_new_rows(folder)
    arguments = (folder, archive, base and base.manifest.version, segments, settings)
    [texts_new] = executor(GATHER_TEXTS, [arguments], report)
    groups = band_groups(folder, settings.sign, settings.run.workers)
    executor(PAIR_BANDS, [(folder, n, groups, settings.sign) for n in range(groups)], report)
    candidates, crowds = merge_groups(folder, groups)
    chunks = [(folder, chunk, settings.align) for chunk in staged_chunks(folder)]
    overlaps = executor(ALIGN_CHUNK, chunks, report)
    segments.append(writer.run_id)
    release_freed_memory()  # memory that matching used
    given_up = pairs_given_up(folder, archive, segments, settings)
    deletions = replace(Deletions.none(), pairs=pair_ids(folder, given_up))
    fold_arguments = (base, load_matched(folder), new_rows, deletions, settings.align)
    with ThreadPoolExecutor(1) as pool:
        writing_rows = pool.submit(_write_complete_rows, folder, new_rows, writer.run_id)
        if settings.run.memory:
            writing_rows.result()  # so that folding and writing do not need memory together
        [folded] = run_in_order(FOLD, [fold_arguments], report)
        written = writing_rows.result()
    segments = merge_if_many(archive, segments, f"{writer.run_id}-merged", settings)
    written["overlaps"] = staged_overlaps(folder, overlaps)
    return _Matching(
        new_rows=new_rows,
        folded=folded,
        written=written,
        overlaps_found=sum(overlaps),
        segments=segments,
        texts_new=texts_new,
        candidates=candidates,
        crowds=crowds,
    )


def _write_complete_rows(folder: Path, new_rows: NewRows, run_id: str) -> dict[str, list[Path]]:
    """Write the rows that folding does not change; return their files by table."""
    written = {}
    for name, rows in with_run_id(new_rows.rows(), run_id).items():
        write_rows(rows, name, folder / "rows" / name)
        written[name] = written_files(folder / "rows" / name, rows.num_rows)
    return written


def _changes(
    run_id: str,
    fingerprint: dict[str, Any],
    rejects: pa.Table,
    run: pa.Table,
    matching: _Matching | None,
) -> ChangeSet:
    added = dict(matching.folded.added) if matching else {}
    added |= {"rejects": rejects, "runs": run}
    return ChangeSet(
        added=with_run_id(added, run_id),
        withdrawn=matching.folded.withdrawn if matching else {},
        sealed=fingerprint,
        segments=matching.segments if matching else None,
        written=matching.written if matching else {},
    )
