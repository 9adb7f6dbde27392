"""The steps of a run in order, with all that other modules need to know about them.

A new step is a function, its record here in ``RUN_STEPS``, and its call in ``pipeline.run``.
Executors, Prefect tasks, progress bars, logs and Prefect's progress artifact read the record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from palimpsest.pipeline.fold import fold
from palimpsest.pipeline.matching import align_chunk, gather_texts, pair_bands
from palimpsest.pipeline.publish import publish
from palimpsest.pipeline.read import stage_batch
from palimpsest.records.progress import Step


@dataclass(frozen=True, kw_only=True)
class RunStep(Step):
    """A step of a run.

    Attributes:
        function: carries it out; called once for each tuple of arguments.
        label: names the step in the log and in Prefect's progress artifact.
        share_percent: the part of a run that it usually takes.
        describe: returns the results of all calls in words, for the log.
        task_name: the name of its Prefect tasks; None if the run itself calls the function.
        is_forkable: calls may run in forked processes whose results are lost: the function must
            stage its results, return at once if they are staged already, and accept ``processes``,
            the number of processes that work on the step.
    """

    function: Callable[..., Any]
    label: str = ""
    share_percent: int = 0
    describe: Callable[[Sequence[Any]], str] = lambda results: counted(len(results), "result")
    task_name: str | None = None
    is_forkable: bool = False


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as ``1 source`` or ``1,200 batches``."""
    plural = "es" if noun.endswith("ch") else "s"
    return f"{count:,} {noun}{'' if count == 1 else plural}"


def _describe_batches(batches: Sequence[Any]) -> str:
    megabytes = sum(batch.bytes_read for batch in batches) / 1e6
    sources = counted(sum(batch.sources for batch in batches), "source")
    paragraphs = counted(sum(batch.paragraphs for batch in batches), "paragraph")
    rejects = sum(batch.rejects for batch in batches)
    return f"{sources}, {megabytes:,.2f} MB, {paragraphs}, {rejects:,} rejected"


def _describe_chunks(overlaps: Sequence[int]) -> str:
    return f"{counted(sum(overlaps), 'overlap')} in {counted(len(overlaps), 'chunk')}"


PLAN = Step("plan", "finding sources")
PORTION = Step("portion", "portions")
WAIT = Step("wait", "waiting for another run")

STAGE_BATCH = RunStep(
    name="stage_batch",
    title="reading",
    function=stage_batch,
    label="read",
    share_percent=50,
    describe=_describe_batches,
    task_name="read batch",
    is_forkable=True,
)
GATHER_TEXTS = RunStep(
    name="gather_texts",
    title="gathering texts",
    function=gather_texts,
    label="gather",
    share_percent=5,
    describe=lambda new_texts: counted(sum(new_texts), "new text"),
    task_name="gather texts",
)
PAIR_BANDS = RunStep(
    name="pair_bands",
    title="finding candidates",
    function=pair_bands,
    label="match",
    share_percent=10,
    describe=lambda crowds: counted(sum(crowds), "crowd"),
    task_name="find candidates",
)
ALIGN_CHUNK = RunStep(
    name="align_chunk",
    title="aligning",
    function=align_chunk,
    label="align",
    share_percent=25,
    describe=_describe_chunks,
    task_name="align",
)
FOLD = RunStep(
    name="fold",
    title="folding",
    function=fold,
    label="fold",
    share_percent=5,
    describe=lambda _: "near-duplicates are folded",
)
COMMIT = RunStep(
    name="commit",
    title="committing",
    function=publish,
    label="commit",
    share_percent=5,
    describe=lambda _: "the version is published",
)

RUN_STEPS = [STAGE_BATCH, GATHER_TEXTS, PAIR_BANDS, ALIGN_CHUNK, FOLD, COMMIT]
"""In the order of a run; their shares add up to 100."""


def percent_done(step: RunStep, done: int, total: int) -> float:
    """Return how much of a run is done, in [0, 100], when a part of this step is."""
    before = sum(earlier.share_percent for earlier in RUN_STEPS[: RUN_STEPS.index(step)])
    return before + step.share_percent * done / max(1, total)
