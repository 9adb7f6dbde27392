"""Benchmarks measure what they say, and refuse figures below their floors."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def passages() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import passages
    finally:
        sys.path.remove(str(BENCHMARKS))
    return passages


def _figures(plagdet: float, share: float) -> dict[str, Any]:
    names = ("all", "verbatim", "shuffled", "translated", "summarised")
    whole: dict[str, Any] = {name: {"plagdet": plagdet} for name in names}
    return {"reworded": {"whole": whole | {"none": {"share": share}}}}


def test_figures_below_their_floors_are_named(passages: ModuleType) -> None:
    floors = json.loads((BENCHMARKS / "floors.json").read_text(encoding="utf-8"))
    assert passages.below(_figures(1.0, 0.0), floors["corpus"]) == []
    low = passages.below(_figures(0.5, 0.0), floors["corpus"])
    assert len(low) == len(floors["plagdet"]["reworded"])
    assert "reworded all: plagdet 0.5000 is below its floor 0.905" in low
    [false] = passages.below(_figures(1.0, 0.5), floors["corpus"])
    assert false == "reworded none: passages in 50.00% of pairs; at most 1.00%"


def test_floors_of_another_corpus_tell_nothing(passages: ModuleType) -> None:
    [told] = passages.below(_figures(1.0, 0.0), "another")
    assert "nothing can be told" in told


@pytest.mark.usefixtures("compiled_kernels")
def test_pages_of_an_archive_are_measured(examples_archive: Path) -> None:
    script = [sys.executable, str(BENCHMARKS / "served.py"), str(examples_archive)]
    told = subprocess.run(
        [*script, "--each", "3", "--json"], capture_output=True, text=True, check=True, timeout=120
    )
    figures = json.loads(told.stdout)
    assert {"overview", "document", "compare", "explain", "bytes"} <= figures["kinds"].keys()
    for one in figures["kinds"].values():
        assert 0 < one["median_ms"] <= one["most_ms"]
    assert figures["server_mb"] > 50


@pytest.mark.usefixtures("compiled_kernels")
def test_speed_is_told_by_step_and_does_not_change_what_comes_out() -> None:
    examples = BENCHMARKS.parent / "examples" / "articles"
    script = [sys.executable, str(BENCHMARKS / "speed.py"), str(examples), "--json"]
    told = subprocess.run(
        [*script, "--only", "steps,signatures,digest", "--rounds", "1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    figures = json.loads(told.stdout)
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
