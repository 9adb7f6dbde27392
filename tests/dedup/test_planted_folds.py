"""A short form of ``benchmarks/folds.py``, on paragraphs of the examples."""

from pathlib import Path

import pytest

from benchmarks.folds import intact_paragraphs, judge, kinds_of

SEED = 7


@pytest.fixture(scope="module")
def paragraphs(examples: Path) -> list[str]:
    return [text for text in intact_paragraphs(examples) if text.isascii()]


def test_no_planted_fact_is_folded_away(paragraphs: list[str]) -> None:
    changed = 0
    for name, change in kinds_of(paragraphs)["different"].items():
        _, near = judge(paragraphs, change, SEED)
        assert [pair for *pair, is_folded in near if is_folded] == [], name
        changed += len(near)
    assert changed > 60


def test_nearly_all_texts_that_say_the_same_are_folded(paragraphs: list[str]) -> None:
    pairs = [
        pair
        for change in kinds_of(paragraphs)["same"].values()
        for pair in judge(paragraphs, change, SEED)[1]
    ]
    assert len(pairs) > 200
    assert sum(is_folded for *_, is_folded in pairs) >= 0.93 * len(pairs)
