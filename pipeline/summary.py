"""What a run did: its summary for people and programs, and its row in the table ``runs``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from palimpsest.pipeline.fingerprint import fingerprint_digest
from palimpsest.pipeline.new_rows import NewRows
from palimpsest.pipeline.plan import Plan
from palimpsest.pipeline.read import BatchCounts
from palimpsest.records import __version__
from palimpsest.records.errors import ContractError
from palimpsest.records.schemas import RUNS
from palimpsest.records.settings import Settings

_FIRST_REJECTS = 3
"""The number of rejects that a summary names."""
_COUNT_COLUMNS = [column.name for column in RUNS if column.type == pa.int64()]


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
            first_rejects=(self.first_rejects + later.first_rejects)[:_FIRST_REJECTS],
            rejects_by_reason=dict(sorted(reasons.items())),
            version=version,
        )

    def with_new_rejects(self, rejects: pa.Table) -> RunSummary:
        """Return the summary with the rejects that no earlier run has recorded."""
        first = rejects.select(["uri", "reason", "detail"]).slice(0, _FIRST_REJECTS).to_pylist()
        return replace(self, sources_rejected_new=rejects.num_rows, first_rejects=first)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        rate = round(self.megabytes_per_second, 3)
        return asdict(self) | {"seconds": round(self.seconds, 3), "megabytes_per_second": rate}


def summarise_sources(
    run_id: str,
    archive_path: str,
    *,
    plan: Plan,
    batches: Sequence[BatchCounts],
    rejects: pa.Table,
    new_rows: NewRows | None = None,
) -> RunSummary:
    """Return the summary of what a run has read, after checking that no source is missing.

    Args:
        run_id: of the run.
        archive_path: where the archive is.
        plan: of the run.
        batches: the counts of each batch.
        rejects: all rejects of the run.
        new_rows: what the archive does not have of the batches; None if that is still unknown.

    Raises:
        ContractError: found is not new + known + rejected.
    """
    survey = plan.survey
    in_files = sum(batch.found - batch.files for batch in batches)
    found = survey.found + in_files
    new, known = sum(batch.sources for batch in batches), survey.known
    if new_rows is not None:
        new, known = new_rows.sources.num_rows, known + new_rows.known
    rejected = rejects.num_rows + survey.known_rejects
    if found != new + known + rejected:
        raise ContractError(
            f"sources: {found} found, but {new} new + {known} known + {rejected} rejected"
        )
    reasons = rejects.column("reason").value_counts().to_pylist()
    return RunSummary(
        run_id=run_id,
        archive=archive_path,
        version=None,
        sources_found=found,
        sources_new=new,
        sources_known=known,
        sources_rejected=rejected,
        rejects_by_reason=dict(sorted((row["values"], row["counts"]) for row in reasons)),
        bytes_read=sum(batch.bytes_read for batch in batches),
        batches_taken_up=plan.taken_up,
    )


def run_row(
    run_id: str,
    settings: Settings,
    started_at: datetime,
    counts: Mapping[str, Any] | None = None,
    flow_run_id: str | None = None,
) -> pa.Table:
    """Return the row of a run in the table ``runs``; it ends now.

    Args:
        run_id: of the run.
        settings: of the run.
        started_at: when it began.
        counts: by column; a count that is not there is 0, as all are of a run that reads nothing.
        flow_run_id: Prefect's id of the run, if it has one.
    """
    row = {name: (counts or {}).get(name, 0) for name in _COUNT_COLUMNS}
    row |= {
        "run_id": run_id,
        "version": __version__,
        "settings": settings.decisive(),
        "seal": fingerprint_digest(settings),
        "started_at": started_at,
        "finished_at": datetime.now(UTC),
        "flow_run_id": flow_run_id,
    }
    return pa.Table.from_pylist([row], schema=RUNS)
