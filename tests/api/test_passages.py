"""Passages and explanations are the same as those of the commands."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from palimpsest import Archive, SettingsError
from palimpsest.evidence.explain import explain
from palimpsest.evidence.passages import PASSAGES, PassageFilter, passages_of, top_passages
from palimpsest.exports.passages import write_passages
from palimpsest.store.archive import StoredArchive
from tests.api.test_tables import document_of

SIDES = ("left_document_id", "right_document_id")


def is_longest_first(passages: pa.Table) -> bool:
    words = passages.column("matched_words").to_pylist()
    return words == sorted(words, reverse=True)


def test_passages_equal_those_of_the_exported_file(examples_archive: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    snapshot = StoredArchive(examples_archive).snapshot()
    write_passages(snapshot, tmp_path / "all.parquet")
    result = Archive(examples_archive).passages()
    assert result.schema.equals(PASSAGES)
    sort_keys = [(name, "ascending") for name in (*SIDES, "left_start_char", "right_start_char")]
    assert result.sort_by(sort_keys).equals(
        pq.read_table(tmp_path / "all.parquet").sort_by(sort_keys)
    )
    assert is_longest_first(result)


@pytest.mark.parametrize(
    "filters",
    [
        {"clear": True},
        {"without_recurring": True},
        {"min_words": 40},
        {"across_series": True},
        {"clear": True, "without_recurring": True, "min_words": 30},
    ],
)
def test_filters_keep_only_passages_that_match(archive_path: Path, filters: dict[str, Any]) -> None:
    archive = Archive(archive_path)
    result, everything = archive.passages(**filters), archive.passages()
    expected = top_passages(StoredArchive(archive_path).snapshot(), PassageFilter(**filters), 1000)
    assert result.equals(expected)
    series = {row["document_id"]: row["series"] for row in archive.documents().to_pylist()}
    is_met = {
        "clear": lambda row: row["is_clear"],
        "without_recurring": lambda row: not row["is_recurring"],
        "min_words": lambda row: row["matched_words"] >= filters["min_words"],
        "across_series": lambda row: series[row[SIDES[0]]] != series[row[SIDES[1]]],
    }
    rows = [row for row in everything.to_pylist() if all(is_met[name](row) for name in filters)]
    assert result.to_pylist() == rows


def test_passages_can_be_limited_to_a_document_or_a_pair(
    archive: Archive, archive_path: Path
) -> None:
    pier, bridge = document_of(archive, "pier"), document_of(archive, "bridge")
    everything = archive.passages().to_pylist()
    assert archive.passages(pier).to_pylist() == [
        row for row in everything if pier in (row[SIDES[0]], row[SIDES[1]])
    ]
    of_pair = [row for row in everything if {row[SIDES[0]], row[SIDES[1]]} == {pier, bridge}]
    assert of_pair
    assert archive.passages(pier, bridge).to_pylist() == of_pair
    assert archive.passages(bridge, pier, limit=1).to_pylist() == of_pair[:1]
    assert archive.passages(bridge, pier, across_series=True).num_rows == 0
    assert archive.passages(pier, bridge, min_words=1000).num_rows == 0
    snapshot = StoredArchive(archive_path).snapshot()
    left, right = sorted((pier, bridge))
    aligned = pa.concat_tables(passages_of(snapshot, pa.table({"one": [left], "other": [right]})))
    assert sorted(aligned.to_pylist(), key=repr) == sorted(of_pair, key=repr)


def test_pair_without_a_recorded_overlap_is_aligned_too(archive: Archive) -> None:
    note, bridge = document_of(archive, "no-day"), document_of(archive, "bridge")
    assert archive.passages(note).num_rows == 0
    result = archive.passages(note, bridge)
    assert result.schema.equals(PASSAGES)
    assert result.num_rows == 0


def test_limit_keeps_the_longest_passages(opened_examples: Archive) -> None:
    everything = opened_examples.passages()
    assert opened_examples.passages(limit=1000).equals(everything)
    assert opened_examples.passages(limit=0).num_rows == 0
    longest = opened_examples.passages(limit=5)
    assert longest.num_rows == 5
    assert is_longest_first(longest)
    assert longest.slice(0, 1).equals(everything.slice(0, 1))


def test_settings_of_passages_are_applied_and_checked(opened_examples: Archive) -> None:
    clear = opened_examples.passages(clear=True)
    strict = opened_examples.passages(clear=True, settings={"clear_score": 60})
    assert 0 < strict.num_rows < clear.num_rows
    with pytest.raises(SettingsError, match=r"passages\.clear_scores"):
        opened_examples.passages(settings={"clear_scores": 60})


def test_explain_returns_the_same_as_the_command(archive: Archive, archive_path: Path) -> None:
    snapshot = StoredArchive(archive_path).snapshot()
    pier, bridge = document_of(archive, "pier"), document_of(archive, "bridge")
    assert archive.explain(pier[:8], bridge) == explain(snapshot, pier, bridge)
    path = archive_path.parent / "in" / "tidings" / "2024-11-13-pier.txt"
    explanation = archive.explain(path, bridge, limit=1)
    assert (explanation["left"]["id"], len(explanation["pairs"])) == (pier, 1)
    [text_id, *_] = archive.variants().column("text_id").to_pylist()
    assert archive.explain(text_id) == explain(snapshot, text_id)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ((None, "pier"), {}, "other: expected with document"),
        (("pier", "pier"), {}, "expected two that differ"),
        (("pier",), {"limit": -1}, "limit = -1: expected a whole number"),
    ],
)
def test_invalid_pairs_and_limits_are_refused(
    archive: Archive, names: tuple[str | None, ...], options: dict[str, Any], message: str
) -> None:
    ids = [None if name is None else document_of(archive, name) for name in names]
    with pytest.raises(SettingsError, match=message):
        archive.passages(*ids, **options)
