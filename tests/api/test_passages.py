"""Passages and explanations are those that the commands give."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from palimpsest import Archive, SettingsError
from palimpsest.evidence.explain import explain
from palimpsest.evidence.passages import PASSAGES, PassageFilter, passages_of, top_passages
from palimpsest.exports.passages import write_passages
from palimpsest.store.archive import StoredArchive as Place
from tests.api.test_tables import document_of

SIDES = ("left_document_id", "right_document_id")


def run_in_order(found: pa.Table) -> bool:
    words = found.column("matched_words").to_pylist()
    return words == sorted(words, reverse=True)


def test_all_passages_are_those_that_are_written_to_a_file(
    examples_archive: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    snapshot = Place(examples_archive).snapshot()
    write_passages(snapshot, tmp_path / "all.parquet")
    found = Archive(examples_archive).passages()
    assert found.schema.equals(PASSAGES)
    order = [(name, "ascending") for name in (*SIDES, "left_start_char", "right_start_char")]
    assert found.sort_by(order).equals(pq.read_table(tmp_path / "all.parquet").sort_by(order))
    assert run_in_order(found)


@pytest.mark.parametrize(
    "flags",
    [
        {"clear": True},
        {"without_recurring": True},
        {"min_words": 40},
        {"across_series": True},
        {"clear": True, "without_recurring": True, "min_words": 30},
    ],
)
def test_flags_leave_out_what_they_say(shelf: Path, flags: dict[str, Any]) -> None:
    archive = Archive(shelf)
    found, everything = archive.passages(**flags), archive.passages()
    expected = top_passages(Place(shelf).snapshot(), PassageFilter(**flags), 1000)
    assert found.equals(expected)
    series = {row["document_id"]: row["series"] for row in archive.documents().to_pylist()}
    is_met = {
        "clear": lambda row: row["is_clear"],
        "without_recurring": lambda row: not row["is_recurring"],
        "min_words": lambda row: row["matched_words"] >= flags["min_words"],
        "across_series": lambda row: series[row[SIDES[0]]] != series[row[SIDES[1]]],
    }
    rows = [row for row in everything.to_pylist() if all(is_met[name](row) for name in flags)]
    assert found.to_pylist() == rows


def test_passages_of_a_document_and_of_a_pair(archive: Archive, shelf: Path) -> None:
    pier, bridge = document_of(archive, "pier"), document_of(archive, "bridge")
    everything = archive.passages().to_pylist()
    assert archive.passages(pier).to_pylist() == [
        row for row in everything if pier in (row[SIDES[0]], row[SIDES[1]])
    ]
    of_both = [row for row in everything if {row[SIDES[0]], row[SIDES[1]]} == {pier, bridge}]
    assert of_both
    assert archive.passages(pier, bridge).to_pylist() == of_both
    assert archive.passages(bridge, pier, limit=1).to_pylist() == of_both[:1]
    assert archive.passages(bridge, pier, across_series=True).num_rows == 0
    assert archive.passages(pier, bridge, min_words=1000).num_rows == 0
    snapshot = Place(shelf).snapshot()
    one, other = sorted((pier, bridge))
    aligned = pa.concat_tables(passages_of(snapshot, pa.table({"one": [one], "other": [other]})))
    assert sorted(aligned.to_pylist(), key=repr) == sorted(of_both, key=repr)


def test_a_pair_that_no_overlap_tells_of_is_aligned_too(archive: Archive) -> None:
    note, bridge = document_of(archive, "no-day"), document_of(archive, "bridge")
    assert archive.passages(note).num_rows == 0
    found = archive.passages(note, bridge)
    assert found.schema.equals(PASSAGES)
    assert found.num_rows == 0


def test_a_limit_keeps_the_longest(examples_opened: Archive) -> None:
    everything = examples_opened.passages()
    assert examples_opened.passages(limit=1000).equals(everything)
    assert examples_opened.passages(limit=0).num_rows == 0
    few = examples_opened.passages(limit=5)
    assert few.num_rows == 5
    assert run_in_order(few)
    assert few.slice(0, 1).equals(everything.slice(0, 1))


def test_settings_are_those_of_the_command(examples_opened: Archive) -> None:
    clear = examples_opened.passages(clear=True)
    strict = examples_opened.passages(clear=True, settings={"clear_score": 60})
    assert 0 < strict.num_rows < clear.num_rows
    with pytest.raises(SettingsError, match=r"passages\.clear_scores"):
        examples_opened.passages(settings={"clear_scores": 60})


def test_explanations_are_those_of_the_command(archive: Archive, shelf: Path) -> None:
    snapshot = Place(shelf).snapshot()
    pier, bridge = document_of(archive, "pier"), document_of(archive, "bridge")
    assert archive.explain(pier[:8], bridge) == explain(snapshot, pier, bridge)
    path = shelf.parent / "in" / "tidings" / "2024-11-13-pier.txt"
    told = archive.explain(path, bridge, limit=1)
    assert (told["left"]["id"], len(told["pairs"])) == (pier, 1)
    [text_id, *_] = archive.variants().column("text_id").to_pylist()
    assert archive.explain(text_id) == explain(snapshot, text_id)


@pytest.mark.parametrize(
    ("names", "more", "told"),
    [
        ((None, "pier"), {}, "other: expected with document"),
        (("pier", "pier"), {}, "expected two that differ"),
        (("pier",), {"limit": -1}, "limit = -1: expected a whole number"),
    ],
)
def test_pairs_that_are_none_are_refused(
    archive: Archive, names: tuple[str | None, ...], more: dict[str, Any], told: str
) -> None:
    ids = [None if name is None else document_of(archive, name) for name in names]
    with pytest.raises(SettingsError, match=told):
        archive.passages(*ids, **more)
