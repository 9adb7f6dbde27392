"""One run from sources to a committed version: the order of the steps, without Prefect.

Each step reads what the one before it staged. A ``StepExecutor``
runs the steps over batches: in order, in threads, or as Prefect tasks (``flows.ingest``).
"""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial, reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from palimpsest.dedup import STAGE_VERSION as DEDUP_VERSION
from palimpsest.ingest import STAGE_VERSION as INGEST_VERSION
from palimpsest.kernels.unicode import UNICODE_TABLE_VERSION
from palimpsest.pipeline.executors import StepExecutor, run_in_order
from palimpsest.pipeline.fold import Folded, Gone, fold
from palimpsest.pipeline.index_upkeep import known_keys, mend_index, merged_names, open_index
from palimpsest.pipeline.matching import (
    align_chunk,
    band_groups,
    gather_texts,
    load_matched,
    merge_groups,
    pair_bands,
    pair_ids,
    pairs_given_up,
)
from palimpsest.pipeline.new_rows import NewRows, find_new_rows, load_new_rows, save_new_rows
from palimpsest.pipeline.overlaps import staged_chunks, staged_overlaps
from palimpsest.pipeline.plan import Plan, Survey, plan_run, survey_sources
from palimpsest.pipeline.read import BatchCounts, stage_batch, staged_tables
from palimpsest.pipeline.staging import load_table
from palimpsest.records import __version__
from palimpsest.records.errors import ContractError, SettingsError
from palimpsest.records.ids import run_id_of
from palimpsest.records.progress import Report, silent
from palimpsest.records.schemas import RUNS, SCHEMA_VERSION, TABLES
from palimpsest.records.settings import MAY_DIFFER, Settings
from palimpsest.store import STAGE_VERSION as STORE_VERSION
from palimpsest.store.address import open_archive
from palimpsest.store.archive import Snapshot, StoredArchive
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

_MAY_DIFFER = {f"read.{name}" for name in MAY_DIFFER}

STAGE_VERSIONS = {
    "ingest": INGEST_VERSION,
    "dedup": DEDUP_VERSION,
    "store": STORE_VERSION,
    "schema": SCHEMA_VERSION,
    "unicode": UNICODE_TABLE_VERSION,
}


SHOWN_REJECTS = 3
"""Rejects that the summary of a run names."""

_STAGED_AS = "3"
"""Raised when a run stages something else than before: what was staged so is not taken up then."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did. Counts are of this run; ``version`` is None if it had nothing to commit.

    Attributes:
        sources_rejected_new: rejected sources that no earlier run has recorded.
        first_rejects: ``uri``, ``reason`` and ``detail`` of the first of these.
    """

    run_id: str
    archive: str
    version: int | None
    sources_found: int
    sources_new: int
    sources_known: int
    sources_rejected: int
    sources_rejected_new: int = 0
    first_rejects: list[dict[str, str]] = field(default_factory=list)
    rejects_by_reason: dict[str, int] = field(default_factory=dict)
    documents_new: int = 0
    paragraphs_seen: int = 0
    paragraphs_repeated: int = 0
    paragraphs_kept: int = 0
    paragraphs_folded: int = 0
    paragraphs_superseded: int = 0
    paragraphs_unanchored: int = 0
    batches_taken_up: int = 0
    candidates: int = 0
    crowds: int = 0
    overlaps_found: int = 0
    portions: int = 1
    bytes_read: int = 0
    seconds: float = 0.0

    @property
    def megabytes_per_second(self) -> float:
        """Raw bytes read over the time of the whole run, in MB (10**6 bytes) a second."""
        return self.bytes_read / 1e6 / self.seconds if self.seconds else 0.0

    def and_then(self, later: RunSummary) -> RunSummary:
        """Return the summary of two runs on one archive; the run's id is that of the later one."""
        sums = {
            name: value + getattr(later, name)
            for name, value in asdict(self).items()
            if isinstance(value, int | float) and name != "version"
        }
        reasons = Counter(self.rejects_by_reason) + Counter(later.rejects_by_reason)
        version = self.version if later.version is None else later.version
        return replace(
            later,
            **sums,
            first_rejects=(self.first_rejects + later.first_rejects)[:SHOWN_REJECTS],
            rejects_by_reason=dict(sorted(reasons.items())),
            version=version,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        rate = round(self.megabytes_per_second, 3)
        return asdict(self) | {"seconds": round(self.seconds, 3), "megabytes_per_second": rate}


def run_ingest(
    sources: Sequence[str],
    archive: str | Path,
    settings: Settings | None = None,
    *,
    executor: StepExecutor = run_in_order,
    report: Report = silent,
    flow_run_id: str | None = None,
) -> RunSummary:
    """Bring sources into an archive and commit a version, unless there is nothing new.

    Sources are read without holding the archive; what is found among them is matched, folded and
    committed while it is held, against all that other runs have committed by then. More than
    ``run.portion_bytes`` of new files are brought in portions, one run and one version after the
    other, so that memory does not grow with what is new.

    Raises:
        SettingsError: a source names nothing, or the archive was made with other settings.
        TransientError: another run has been writing to the archive for too long.
        ContractError: an invariant does not hold; nothing of this portion has been written.
    """
    settings = settings or Settings()
    if settings.run.memory:
        reduce_memory_use()
    place = open_archive(archive)
    started = time.perf_counter()
    base = place.snapshot() if place.exists() else None
    sealed_with(settings, base)
    survey = survey_sources(sources, base, known_keys(place, base, settings), settings)
    base = None  # held no longer than it is looked at
    report("plan", 1, 1)
    ingest_portion = partial(
        _ingest_portion, place, settings, executor=executor, report=report, flow_run_id=flow_run_id
    )
    portions = list(survey.portions(settings.run.portion_bytes))
    summaries = []
    for number, portion in enumerate(portions):
        if len(portions) > 1:
            report("portion", number, len(portions))
        summaries.append(ingest_portion(portion))
    summary = reduce(RunSummary.and_then, summaries)
    return replace(summary, seconds=time.perf_counter() - started)


@retry_if_outrun
def _ingest_portion(
    place: StoredArchive,
    settings: Settings,
    survey: Survey,
    *,
    executor: StepExecutor,
    report: Report,
    flow_run_id: str | None,
) -> RunSummary:
    """Bring a portion of the sources into an archive: one run, and one version or none."""
    started_at = datetime.now(UTC)
    run_id = run_id_of(started_at, secrets.token_hex(3))
    with open_staging(place, run_id) as folder:
        base = place.snapshot() if place.exists() else None
        plan = plan_run(
            survey, folder, settings, settings.seal(STAGE_VERSIONS) + _STAGED_AS + _boot_id()
        )
        arguments = [(folder, batch, settings) for batch in range(plan.batches)]
        counts: list[BatchCounts] = executor(stage_batch, arguments, report)
        rejects = _rejects(folder)
        has_any = any(one.sources or one.containers for one in counts)
        if not has_any and not unseen_rejects(rejects, base).num_rows:
            return _summary(run_id, place, plan, counts, rejects, None)
        report("wait", 0, 1)
        files_at_once = 1 if settings.run.memory else None
        with open_writer(place, run_id, settings.run.wait_seconds, files_at_once) as writer:
            report("wait", 1, 1)
            release_freed_memory()  # what reading took
            sealed = sealed_with(settings, writer.base)
            matching = _match(folder, writer, settings, executor, report) if counts else None
            if matching:
                rejects = pa.concat_tables([rejects, matching.news.rejects])
            unseen = unseen_rejects(rejects, writer.base)
            summary = _summary(run_id, place, plan, counts, rejects, matching)
            summary = replace(summary, **_new_rejects(unseen))
            if not unseen.num_rows and not (matching and matching.news):
                clear_unpublished(place, writer.base)  # another run has brought it all meanwhile
                return summary
            texts_new = matching.texts_new if matching else 0
            run = run_row(summary, settings, started_at, flow_run_id, texts_new)
            published = writer.commit(_changes(run_id, sealed, unseen, run, matching))
            clear_unpublished(place, published)
            release_freed_memory()
            report("commit", 1, 1)
            return replace(summary, version=published.manifest.version)


def _boot_id() -> str:
    """Return what changes when the machine starts again: what was staged may be torn then."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class _Matching:
    """What matching and folding gave."""

    news: NewRows
    folded: Folded
    written: dict[str, list[Path]]
    overlaps_found: int
    segments: list[str]
    texts_new: int
    candidates: int
    crowds: int


def sealed_with(settings: Settings, base: Snapshot | None) -> dict[str, Any]:
    """Return what the archive's rows are made with; refuse what does not agree with it.

    Raises:
        SettingsError: one fault for each setting and stage that differs.
    """
    sealed = {"settings": json.loads(settings.decisive()), "stages": STAGE_VERSIONS}
    if base is None or base.manifest.sealed == sealed:
        return sealed
    faults = []
    implied = _implied_by_level(base.manifest.sealed["settings"], sealed["settings"])
    for part in ("settings", "stages"):
        held, given = base.manifest.sealed[part], sealed[part]
        flat_held, flat_given = dict(flat(held)), dict(flat(given))
        faults += [
            f"{part} {name} = {flat_given.get(name)!r}, but the archive was made with "
            f"{flat_held.get(name)!r}; use that, or write to a new archive"
            for name in sorted(flat_held.keys() | flat_given.keys())
            if flat_held.get(name) != flat_given.get(name) and name not in _MAY_DIFFER | implied
        ]
    if faults:
        raise SettingsError(faults)
    return base.manifest.sealed


def _implied_by_level(*settings: Mapping[str, Any]) -> set[str]:
    """Return the names of settings that all have the value of their sensitivity level."""
    names = []
    for one in settings:
        level = Settings.model_validate({"sensitivity": one["sensitivity"]})
        defaults = dict(flat(json.loads(level.decisive())))
        given = dict(flat(one))
        names.append({name for name in defaults if given.get(name) == defaults[name]})
    return set.intersection(*names) - {"sensitivity"}


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give plain values by name; those of a mapping within by both names, with a dot between."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _rejects(folder: Path) -> pa.Table:
    return pa.concat_tables(
        [load_table(folder / "rejects.arrow"), *staged_tables(folder, "rejects")]
    )


def unseen_rejects(rejects: pa.Table, base: Snapshot | None) -> pa.Table:
    """Return the rejects that the archive has no equal row of."""
    if base is None or not rejects.num_rows:
        return rejects
    names = ["uri", "bytes", "modified_at", "reason"]
    told = {tuple(row.values()) for row in base.read("rejects", names).to_pylist()}
    is_unseen = [tuple(row.values()) not in told for row in rejects.select(names).to_pylist()]
    return rejects.filter(pa.array(is_unseen, pa.bool_()))


def _new_rejects(unseen: pa.Table) -> dict[str, Any]:
    """Return the fields of a summary that describe new rejects."""
    first = unseen.select(["uri", "reason", "detail"]).slice(0, SHOWN_REJECTS).to_pylist()
    return {"sources_rejected_new": unseen.num_rows, "first_rejects": first}


def _match(
    folder: Path, writer: Writer, settings: Settings, executor: StepExecutor, report: Report
) -> _Matching:
    archive, base = writer.archive, writer.base
    segments = mend_index(archive, base, f"{writer.run_id}-mended", settings)
    save_new_rows(find_new_rows(folder, open_index(archive, segments, settings), base), folder)
    news = load_new_rows(folder)
    arguments = (folder, archive, base and base.manifest.version, segments, settings)
    [texts_new] = executor(gather_texts, [arguments], report)
    groups = band_groups(folder, settings.sign, settings.run.workers)
    executor(pair_bands, [(folder, n, groups, settings.sign) for n in range(groups)], report)
    candidates, crowds = merge_groups(folder, groups)
    chunks = staged_chunks(folder)
    rows = executor(align_chunk, [(folder, chunk, settings.align) for chunk in chunks], report)
    segments.append(writer.run_id)
    release_freed_memory()  # what matching took
    given_up = pairs_given_up(folder, archive, segments, settings)
    gone = replace(Gone.nothing(), pairs=pair_ids(folder, given_up))
    staged = (base, load_matched(folder), news, gone, settings.align)
    with ThreadPoolExecutor(1) as pool:
        writing_rows = pool.submit(_write_rows, folder, news, writer.run_id)
        if settings.run.memory:
            writing_rows.result()  # folding and a file are not held together
        [folded] = run_in_order(fold, [staged], report)
        written = writing_rows.result()
    segments = merged_names(archive, segments, f"{writer.run_id}-merged", settings)
    written["overlaps"] = staged_overlaps(folder, rows)
    return _Matching(news, folded, written, sum(rows), segments, texts_new, candidates, crowds)


def _write_rows(folder: Path, news: NewRows, run_id: str) -> dict[str, list[Path]]:
    """Write the rows that do not wait for folding; return their files by table."""
    written = {}
    for name, rows in with_run_id(news.rows(), run_id).items():
        write_rows(rows, name, folder / "rows" / name)
        written[name] = written_files(folder / "rows" / name, rows.num_rows)
    return written


def _summary(
    run_id: str,
    archive: StoredArchive,
    plan: Plan,
    counts: list[BatchCounts],
    rejects: pa.Table,
    matching: _Matching | None,
) -> RunSummary:
    """Return the counts of a run, after checking that no source is missing.

    Raises:
        ContractError: found is not new + known + rejected.
    """
    survey = plan.survey
    found = survey.found + sum(one.found - one.files for one in counts)  # what is in the files
    new, known = sum(one.sources for one in counts), survey.known
    if matching:
        new, known = matching.news.sources.num_rows, known + matching.news.known
    rejected = rejects.num_rows + survey.known_rejects
    if found != new + known + rejected:
        raise ContractError(
            f"sources: {found} found, but {new} new + {known} known + {rejected} rejected"
        )
    summary = RunSummary(
        run_id=run_id,
        archive=archive.name,
        version=None,
        sources_found=found,
        sources_new=new,
        sources_known=known,
        sources_rejected=rejected,
        rejects_by_reason=dict(
            sorted(
                (row["values"], row["counts"])
                for row in rejects.column("reason").value_counts().to_pylist()
            )
        ),
        bytes_read=sum(one.bytes_read for one in counts),
        batches_taken_up=plan.taken_up,
    )
    if matching is None:
        return summary
    folded = matching.folded
    values = asdict(summary) | {
        "documents_new": folded.documents,
        "paragraphs_seen": folded.paragraphs,
        "paragraphs_repeated": folded.paragraphs - matching.texts_new,
        "paragraphs_kept": matching.texts_new - folded.texts_folded,
        "paragraphs_folded": folded.texts_folded,
        "paragraphs_superseded": folded.superseded,
        "paragraphs_unanchored": pc.sum(
            matching.news.documents.column("unanchored"), min_count=0
        ).as_py(),
        "candidates": matching.candidates,
        "crowds": matching.crowds,
        "overlaps_found": matching.overlaps_found,
    }
    return RunSummary(**values)


def run_row(
    summary: RunSummary,
    settings: Settings,
    started_at: datetime,
    flow_run_id: str | None,
    texts_new: int,
) -> pa.Table:
    """Return the row of a run."""
    row = {
        "run_id": summary.run_id,
        "version": __version__,
        "settings": settings.decisive(),
        "seal": settings.seal(STAGE_VERSIONS),
        "started_at": started_at,
        "finished_at": datetime.now(UTC),
        "flow_run_id": flow_run_id,
        "texts_new": texts_new,
        "texts_folded": summary.paragraphs_folded,
    }
    counted = asdict(summary)
    row |= {name: counted[name] for name in RUNS.names if name in counted and name not in row}
    return pa.Table.from_pylist([row], schema=RUNS)


def _changes(
    run_id: str,
    sealed: dict[str, Any],
    rejects: pa.Table,
    run: pa.Table,
    matching: _Matching | None,
) -> ChangeSet:
    added = dict(matching.folded.added) if matching else {}
    added |= {"rejects": rejects, "runs": run}
    return ChangeSet(
        with_run_id(added, run_id),
        matching.folded.withdrawn if matching else {},
        sealed,
        matching.segments if matching else None,
        written=matching.written if matching else {},
    )


def with_run_id(added: dict[str, pa.Table], run_id: str) -> dict[str, pa.Table]:
    """Return rows with the run that they are of, in the columns of their schemas."""
    complete = {}
    for name, rows in added.items():
        if "run_id" in TABLES[name].names and "run_id" not in rows.column_names:
            rows = rows.append_column("run_id", pa.repeat(run_id, rows.num_rows))
        complete[name] = rows.select(TABLES[name].names).cast(TABLES[name])
    return complete
