"""Benchmarks measure what they say, and refuse figures below their floors."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def _benchmark(name: str) -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def passages() -> ModuleType:
    return _benchmark("passages")


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py")))
def test_each_benchmark_can_be_imported(name: str) -> None:
    assert _benchmark(name).__doc__


def test_functions_that_are_timed_by_name_exist() -> None:
    from palimpsest.pipeline import executors, run

    job = _benchmark("job")
    assert [name for name in job._STEPS if not callable(getattr(run, name, None))] == []
    assert [name for name in job._EXECUTORS if not callable(getattr(executors, name, None))] == []


def test_each_make_target_runs_a_benchmark_that_explains_itself() -> None:
    makefile = BENCHMARKS.with_name("Makefile").read_text(encoding="utf-8")
    scripts = re.findall(r"python (benchmarks/\w+\.py)", makefile)
    assert len(scripts) >= 6
    for script in scripts:
        help_of = [sys.executable, str(BENCHMARKS.parent / script), "--help"]
        run = subprocess.run(help_of, capture_output=True, text=True, check=False, timeout=120)
        assert run.returncode == 0, run.stderr


def _figures(plagdet: float, share: float) -> dict[str, Any]:
    names = ("all", "verbatim", "shuffled", "translated", "summarised")
    whole: dict[str, Any] = {name: {"plagdet": plagdet} for name in names}
    return {"reworded": {"whole": whole | {"none": {"share": share}}}}


def test_figures_below_their_floors_are_named(passages: ModuleType) -> None:
    floors = json.loads((BENCHMARKS / "floors.json").read_text(encoding="utf-8"))
    assert passages.below(_figures(1.0, 0.0), floors["corpus"]) == []
    low = passages.below(_figures(0.5, 0.0), floors["corpus"])
    assert len(low) == len(floors["plagdet"]["reworded"])
    least = floors["plagdet"]["reworded"]["all"]
    assert f"reworded all: plagdet 0.5000 is below its floor {least}" in low
    [false] = passages.below(_figures(1.0, 0.5), floors["corpus"])
    assert false == "reworded none: passages in 50.00% of pairs; at most 1.00%"


def test_floors_apply_to_their_corpus_only(passages: ModuleType) -> None:
    [message] = passages.below(_figures(1.0, 0.0), "another")
    assert "they do not apply" in message


@pytest.mark.usefixtures("compiled_kernels")
def test_pages_of_an_archive_are_measured(examples_archive: Path) -> None:
    script = [sys.executable, str(BENCHMARKS / "served.py"), str(examples_archive)]
    run = subprocess.run(
        [*script, "--each", "3", "--json"], capture_output=True, text=True, check=True, timeout=120
    )
    figures = json.loads(run.stdout)
    assert {"overview", "document", "compare", "explain", "bytes"} <= figures["kinds"].keys()
    for one in figures["kinds"].values():
        assert 0 < one["median_ms"] <= one["most_ms"]
    assert figures["server_mb"] > 50


@pytest.mark.usefixtures("compiled_kernels")
def test_speed_is_reported_by_step_and_leaves_the_digest_as_it_is() -> None:
    examples = BENCHMARKS.parent / "examples" / "articles"
    script = [sys.executable, str(BENCHMARKS / "speed.py"), str(examples), "--json"]
    run = subprocess.run(
        [*script, "--only", "steps,signatures,digest", "--rounds", "1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    figures = json.loads(run.stdout)
    assert [job["workers"] for job in figures["steps"]] == [1, 2]
    for job in figures["steps"]:
        assert {"stage_batch", "gather_texts", "pair_bands", "commit", "rest"} <= job[
            "steps"
        ].keys()
        for measure in ("seconds", "cpu_seconds"):
            of_steps = sum(step[measure] for step in job["steps"].values())
            assert of_steps == pytest.approx(job[measure], abs=0.05)
        assert 0 < job["anonymous_mb"] < job["peak_mb"]
    assert all(row["are_equal"] for row in figures["signatures"])
    assert len({row["digest"] for row in figures["digest"]}) == 1
