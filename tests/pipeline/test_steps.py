"""The records of a run's steps (pipeline/steps.py), from which progress, logs and tasks derive."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import palimpsest.flows.ingest as flow_module
from palimpsest.cli.progress import ProgressBar
from palimpsest.flows.telemetry import run_reporter
from palimpsest.flows.telemetry.messages import ArchiveLabel
from palimpsest.pipeline import steps
from palimpsest.pipeline.executors import fork_executor, run_in_order, thread_executor
from palimpsest.pipeline.steps import COMMIT, FOLD, RUN_STEPS, RunStep, counted, percent_done
from palimpsest.records.progress import by_name, silent

_ROOT = Path(__file__).parents[2]


def _weigh(number: int) -> int:
    return 2 * number


def _describe(results: Sequence[int]) -> str:
    return counted(sum(results), "gram")


WEIGH = RunStep(
    name="weigh_texts",
    title="weighing texts",
    function=_weigh,
    label="weigh",
    share_percent=10,
    describe=_describe,
    task_name="weigh texts",
)


@pytest.fixture
def with_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "RUN_STEPS", [*RUN_STEPS, WEIGH])


@pytest.mark.parametrize("executor", [run_in_order, thread_executor(2), fork_executor(2)])
def test_new_step_runs_in_every_executor(executor: Any) -> None:
    reports: list[tuple[Any, ...]] = []
    assert executor(WEIGH, [(1,), (2,)], lambda *report: reports.append(report)) == [2, 4]
    assert reports == [(WEIGH, 1, 2), (WEIGH, 2, 2)]


def test_new_step_becomes_a_prefect_task() -> None:
    task = flow_module._task_of(WEIGH)
    assert task.name == "weigh texts"
    assert task.fn is _weigh


@pytest.mark.usefixtures("with_step")
def test_new_step_is_logged_and_shown_as_progress(caplog: pytest.LogCaptureFixture) -> None:
    shown: list[tuple[int, str]] = []

    class Progress:
        def update(self, percent: float, description: str, *, is_urgent: bool) -> None:
            assert is_urgent in {True, False}
            shown.append((round(percent), description))

    logger = logging.getLogger("test_steps")
    label, progress = ArchiveLabel.of("press"), Progress()
    reporter = run_reporter.RunReporter(label, silent, logger, progress, None)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, logger.name):
        reporter.logged(run_in_order)(WEIGH, [(1,), (2,)], reporter.report)
    assert re.fullmatch(r"weigh: 6 grams, \d+\.\d s", caplog.messages[-1])
    assert shown == [(100, "weigh: 0 of 2"), (105, "weigh: 1 of 2"), (110, "weigh: 2 of 2")]


def test_new_step_has_its_title_in_the_progress_bar() -> None:
    bar = ProgressBar()
    bar(WEIGH, 1, 2)
    assert [task.description for task in bar._progress.tasks] == ["weighing texts"]


def test_callers_of_the_python_api_see_the_names_of_steps() -> None:
    reports: list[tuple[Any, ...]] = []
    by_name(lambda *report: reports.append(report))(WEIGH, 1, 2)
    assert reports == [("weigh_texts", 1, 2)]
    assert by_name(None) is silent


def test_shares_of_the_steps_add_up_to_the_whole_run() -> None:
    assert sum(step.share_percent for step in RUN_STEPS) == 100
    assert percent_done(RUN_STEPS[0], 0, 9) == 0
    assert percent_done(FOLD, 1, 1) == percent_done(COMMIT, 0, 1) == 95
    assert percent_done(COMMIT, 1, 1) == 100


def test_no_step_is_looked_up_by_the_name_of_its_function() -> None:
    for path in ("pipeline", "flows", "cli", "exports", "inspector"):
        for module in (_ROOT / path).rglob("*.py"):
            text = module.read_text(encoding="utf-8")
            assert "step.__name__" not in text, module
            named = {step.name for step in RUN_STEPS if f'"{step.name}"' in text}
            if module.name == "steps.py":
                assert named == {step.name for step in RUN_STEPS}
            else:
                assert named <= {"commit", "fold"}, module
