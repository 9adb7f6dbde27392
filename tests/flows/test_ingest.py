"""The Prefect flow gives the same results as the steps without Prefect."""

import asyncio
import functools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, TaskRun

import palimpsest.flows.ingest as flow_module
from palimpsest.flows.ingest import ingest_with
from palimpsest.pipeline.steps import ALIGN_CHUNK, COMMIT, GATHER_TEXTS, STAGE_BATCH, RunStep
from palimpsest.records.errors import SettingsError, TransientError
from palimpsest.records.progress import Step
from palimpsest.records.settings import AlignSettings
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import (
    contents,
    ingest,
    listing,
    reuse_articles,
    settings_of,
    write_articles,
)

pytestmark = pytest.mark.usefixtures("prefect_harness")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_articles(tmp_path / "in", reuse_articles())


def _run_row(archive: Path) -> dict[str, Any]:
    [row] = StoredArchive(archive).snapshot().read("runs").to_pylist()
    return row


async def _read_task_runs(flow_run_id: str) -> list[TaskRun]:
    run_filter = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run_id)]))
    async with get_client() as client:
        return await client.read_task_runs(flow_run_filter=run_filter)


async def _read_flow_run(flow_run_id: str) -> FlowRun:
    async with get_client() as client:
        return await client.read_flow_run(UUID(flow_run_id))


def _task_names(flow_run_id: str, expected: int) -> list[str]:
    """Return the names of a flow run's task runs, which reach the server a little later."""
    deadline = time.monotonic() + 15
    while True:
        runs = asyncio.run(_read_task_runs(flow_run_id))
        if len(runs) >= expected or time.monotonic() > deadline:
            return sorted(run.name.rpartition("-")[0] for run in runs)
        time.sleep(0.3)


def test_flow_gives_the_tables_of_the_steps_without_prefect(
    corpus: Path, tmp_path: Path, fresh_archive: Path
) -> None:
    ingest(corpus, tmp_path / "plain")
    progress: list[tuple[Step, int, int]] = []
    summary = ingest_with(
        [str(corpus)], str(fresh_archive), settings_of(2), lambda *step: progress.append(step)
    )
    assert contents(fresh_archive) == contents(tmp_path / "plain")
    assert summary["version"] == 1
    assert (STAGE_BATCH, 1, 1) in progress
    assert progress[-1] == (COMMIT, 1, 1)
    row = _run_row(fresh_archive)
    flow_run = asyncio.run(_read_flow_run(row["flow_run_id"]))
    assert flow_run.state is not None
    assert flow_run.state.is_completed()
    assert _task_names(row["flow_run_id"], 4) == [
        "align", "find candidates", "gather texts", "read batch",
    ]  # fmt: skip


def test_task_runs_follow_batches_not_files(corpus: Path, fresh_archive: Path) -> None:
    size = sum(path.stat().st_size for path in corpus.iterdir())
    ingest_with([str(corpus)], str(fresh_archive), settings_of(2, size // 2))
    names = _task_names(_run_row(fresh_archive)["flow_run_id"], 5)
    assert len(list(corpus.iterdir())) == 6
    assert names.count("read batch") == 2
    assert len(names) == 5


def test_nothing_new_is_one_flow_run_without_tasks(corpus: Path, fresh_archive: Path) -> None:
    ingest(corpus, fresh_archive)
    before = listing(fresh_archive)
    assert ingest_with([str(corpus)], str(fresh_archive), settings_of())["version"] is None
    assert listing(fresh_archive) == before


@pytest.mark.parametrize("step", [GATHER_TEXTS, ALIGN_CHUNK])
def test_failing_step_fails_the_flow_and_leaves_the_archive(
    corpus: Path, fresh_archive: Path, step: RunStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [str(path) for path in sorted(corpus.iterdir())]
    ingest_with(files[:2], str(fresh_archive), settings_of())
    before = listing(fresh_archive)
    with monkeypatch.context() as patched:

        @task(cache_policy=NO_CACHE)
        @functools.wraps(step.function)
        def fail(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        patched.setitem(flow_module._TASKS, step, fail)
        with pytest.raises(OSError, match="No space left"):
            ingest_with(files, str(fresh_archive), settings_of())
    after = listing(fresh_archive)
    changed = {name for name in set(before) ^ set(after) if "/index/" not in name}
    assert changed == set()
    assert {name: after[name] for name in before} == before
    assert ingest_with(files, str(fresh_archive), settings_of())["version"] == 2


@pytest.mark.parametrize(
    ("error", "is_retried"),
    [(TransientError("the store did not answer"), True), (OSError("no space"), False)],
)
def test_task_is_retried_only_after_an_error_that_may_pass(
    error: Exception,
    is_retried: bool,
    corpus: Path,
    fresh_archive: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    @functools.wraps(GATHER_TEXTS.function)
    def fail_once(*arguments: Any, **named: Any) -> int:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return GATHER_TEXTS.function(*arguments, **named)

    if is_retried:  # otherwise a retry would take as long as it does for users
        monkeypatch.setattr(flow_module, "_RETRY_SECONDS", [0, 0])
    failing = flow_module._task_of(replace(GATHER_TEXTS, function=fail_once))
    monkeypatch.setitem(flow_module._TASKS, GATHER_TEXTS, failing)
    if is_retried:
        assert ingest_with([str(corpus)], str(fresh_archive), settings_of())["version"] == 1
    else:
        with pytest.raises(type(error)):
            ingest_with([str(corpus)], str(fresh_archive), settings_of())
    assert len(calls) == (2 if is_retried else 1)


def test_settings_error_reaches_the_caller_unchanged(corpus: Path, fresh_archive: Path) -> None:
    ingest(corpus, fresh_archive)
    other = settings_of(align=AlignSettings(min_score=8.0))
    with pytest.raises(SettingsError) as caught:
        ingest_with([str(corpus)], str(fresh_archive), other)
    assert len(caught.value.faults) == 1
    assert "align.min_score" in caught.value.faults[0]
