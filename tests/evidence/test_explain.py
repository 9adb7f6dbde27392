"""Why two texts or documents were matched: every figure against an oracle of its own."""

import json
import random
from itertools import combinations, permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palimpsest.dedup.words import hash_words
from palimpsest.evidence.explain import (
    CHANGED,
    CROWDS,
    LEFT,
    NO_BUCKET,
    NO_PASSAGE,
    RIGHT,
    SAME,
    explain,
)
from palimpsest.evidence.passages import all_passages
from palimpsest.inspector.terminal import render_explanation
from palimpsest.records.errors import SettingsError
from palimpsest.records.ids import text_id_of
from palimpsest.records.settings import AlignSettings, SignSettings
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.find import resolve_names
from tests import oracles
from tests.pipeline.corpora import (
    ingest,
    make_paragraph,
    make_variants,
    make_words,
    settings_of,
    write_articles,
)

WHOLE, EDITED = make_paragraph(1), make_paragraph(1, edit=3)
QUOTED = " ".join([*make_words(12, 60), *make_words(1)[10:30], *make_words(13, 60)])
ALONE, COMMON = make_paragraph(5), make_paragraph(6)
ARTICLES = {
    "a.txt": ["A title of its own", WHOLE, COMMON],
    "b.txt": [EDITED, make_paragraph(10), COMMON],
    "c.txt": [QUOTED, "A title of its own"],
    "d.txt": [ALONE],
}
SIGN = SignSettings()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_articles(tmp_path_factory.mktemp("explained") / "in", ARTICLES)


@pytest.fixture(scope="module")
def made(folder: Path) -> Snapshot:
    ingest(folder, folder.parent / "press")
    return StoredArchive(folder.parent / "press").snapshot()


def explained(made: Snapshot, left: str, right: str) -> dict[str, Any]:
    """Return the explanation of two texts."""
    explanation = explain(made, text_id_of(left), text_id_of(right))
    assert explanation["pairs_found"] == 1
    assert explanation["passages"] is None
    return explanation["pairs"][0]


def shingles_of(text: str) -> list[str]:
    return [word.folded for word in oracles.find_words(text) if word.kind == "content"]


def windows_of(text: str) -> list[list[str]]:
    shingles = shingles_of(text)
    spans = oracles.cut_windows(len(shingles), SIGN.window_words, SIGN.stride_words)
    return [shingles[first:last] for first, last in spans]


def signature_of(window: list[str]) -> np.ndarray:
    return oracles.sign_set(hash_words(window).tolist(), SIGN.permutations, SIGN.seed)


def bands_of(window: list[str]) -> list[int]:
    parts = signature_of(window).reshape(SIGN.bands, SIGN.rows)
    return [oracles.hash_band(part) for part in parts]


def swapped(explanation: Any) -> Any:
    """Return the same with left and right the other way round, in keys and kinds of segments."""
    if isinstance(explanation, list):
        return [swapped(one) for one in explanation]
    if not isinstance(explanation, dict):
        return explanation
    turned = {}
    for key, value in explanation.items():
        side, dash, rest = key.partition("_")
        other = {"left": "right", "right": "left"}.get(side, side)
        turned[other + dash + rest] = swapped(value)
    if turned.get("kind") in (LEFT, RIGHT):
        turned["kind"] = LEFT if turned["kind"] == RIGHT else RIGHT
    return turned


@pytest.mark.parametrize("other", [EDITED, QUOTED, ALONE], ids=["near", "quoted", "alone"])
def test_figures_equal_those_of_the_oracle(made: Snapshot, other: str) -> None:
    explanation = explained(made, WHOLE, other)
    left, right = set(shingles_of(WHOLE)), set(shingles_of(other))
    assert explanation["resemblance"] == round(oracles.resemblance(left, right), 4)
    assert explanation["left_containment"] == round(len(left & right) / len(left), 4)
    assert explanation["right_containment"] == round(len(left & right) / len(right), 4)
    for side, text in (("left", WHOLE), ("right", other)):
        assert explanation[side]["text_id"] == text_id_of(text)
        assert explanation[side]["words"] == len(oracles.find_words(text))
        assert explanation[side]["shingles"] == len(shingles_of(text))
        assert explanation[side]["windows"] == len(windows_of(text))
    meeting = {
        band
        for one, two in product(windows_of(WHOLE), windows_of(other))
        for band, (mine, theirs) in enumerate(zip(bands_of(one), bands_of(two), strict=True))
        if mine == theirs and oracles.shares_enough(one, two, SIGN)
    }
    prints = [
        oracles.find_fingerprints(hash_words(shingles_of(text)).tolist(), SIGN)
        for text in (WHOLE, other)
    ]
    if any(
        one == two
        and oracles.shares_enough(
            windows_of(WHOLE)[i], windows_of(other)[j], SIGN.of_band(SIGN.bands)
        )
        for (one, i), (two, j) in product(*prints)
    ):
        meeting.add(SIGN.bands)
    assert explanation["bands"] == sorted(meeting)
    assert explanation["bands_signed"] == SIGN.bands + 1


@pytest.mark.parametrize("other", [EDITED, QUOTED], ids=["near", "quoted"])
def test_closest_windows_are_those_of_the_oracle(made: Snapshot, other: str) -> None:
    explanation = explained(made, WHOLE, other)["closest_windows"]
    mine, theirs = windows_of(WHOLE), windows_of(other)
    shared = {
        (i, j): len(set(mine[i]) & set(theirs[j]))
        for i, j in product(range(len(mine)), range(len(theirs)))
    }
    at = explanation["left"]["number"], explanation["right"]["number"]
    assert shared[at] == max(shared.values()) == explanation["shared_shingles"]
    one, two = mine[at[0]], theirs[at[1]]
    assert explanation["shared_share"] == round(shared[at] / min(len(one), len(two)), 4)
    assert explanation["resemblance"] == round(oracles.resemblance(one, two), 4)
    estimated = np.mean(signature_of(one) == signature_of(two))
    assert explanation["estimated_resemblance"] == round(float(estimated), 4)
    for side, window in (("left", one), ("right", two)):
        assert shingles_of(explanation[side]["text"]) == window
        assert explanation[side]["shingles"] == len(window)


def test_near_texts_that_say_different_things_are_explained(
    tmp_path: Path, fresh_archive: Path
) -> None:
    before = WHOLE.split()
    left, right = (
        " ".join([*before[:20], "in", month, number, *before[20:]])
        for month, number in (("December", "325,000"), ("October", "110,000"))
    )
    ingest(write_articles(tmp_path / "in", {"a.txt": [left], "b.txt": [right]}), fresh_archive)
    explanation = explained(StoredArchive(fresh_archive).snapshot(), left, right)
    assert (explanation["relation"], explanation["is_folded"]) == ("near", False)
    words = [(one["left"].strip(), one["right"].strip()) for one in explanation["differences"]]
    assert words == [("December 325,000", "October 110,000")]


def test_near_texts_that_say_the_same_have_no_differences(made: Snapshot) -> None:
    assert explained(made, WHOLE, EDITED)["differences"] == []


def test_near_pair_shows_every_edited_word(made: Snapshot) -> None:
    explanation = explained(made, WHOLE, EDITED)
    assert (explanation["relation"], explanation["is_overlap"], explanation["is_folded"]) == (
        "near",
        True,
        True,
    )
    assert explanation["no_overlap_because"] is None
    [passage] = explanation["passages"]
    originals, edits = WHOLE.rstrip(".").split(), EDITED.rstrip(".").split()
    differing = [(a, b) for a, b in zip(originals, edits, strict=True) if a != b]
    assert len(differing) == 3
    changed = [one for one in passage["segments"] if one["kind"] == CHANGED]
    inside = [(one["left"].strip(), one["right"].strip()) for one in changed]
    assert inside == differing[: len(inside)]  # the last word may lie behind the passage
    assert len(inside) >= 2
    assert passage["matched_words"] == 42
    assert explanation["left_share"] == round(42 / 45, 4)
    assert explanation["right_share"] == round(42 / 48, 4)


def test_joined_segments_are_the_passages_of_the_archive(made: Snapshot) -> None:
    rows = made.read("overlaps").to_pylist()
    assert rows
    for row in rows:
        [pair] = explain(made, row["left_text_id"], row["right_text_id"])["pairs"]
        explanation = [
            {
                side: "".join(segment[side] for segment in passage["segments"])
                for side in ("left", "right")
            }
            | {"matched_words": passage["matched_words"]}
            for passage in pair["passages"]
        ]
        expected = {"left": row["left_passage"], "right": row["right_passage"]}
        assert expected | {"matched_words": row["matched_words"]} in explanation
        assert pair["relation"] == row["relation"]
        assert pair["left_share"] == pytest.approx(row["left_share"], abs=1e-4)
        assert pair["right_share"] == pytest.approx(row["right_share"], abs=1e-4)


def test_words_on_one_side_only_are_marked(tmp_path: Path) -> None:
    words = make_words(1)
    left = " ".join([*words[:10], "(leftonly),", *words[10:]])
    right = " ".join([*words[:30], "rightonly", *words[30:]])
    ingest(write_articles(tmp_path / "in", {"a.txt": [left], "b.txt": [right]}), tmp_path / "press")
    explanation = explained(StoredArchive(tmp_path / "press").snapshot(), left, right)
    [passage] = explanation["passages"]
    kinds = [(one["kind"], one["left"], one["right"]) for one in passage["segments"]]
    assert [kind for kind, _, _ in kinds] == [SAME, LEFT, SAME, RIGHT, SAME]
    assert kinds[1][1:] == ("(leftonly), ", "")
    assert kinds[3][1:] == ("", "rightonly ")


def test_swapping_the_names_swaps_the_sides(made: Snapshot, folder: Path) -> None:
    uris = [f"file://{folder}/{name}" for name in ("a.txt", "b.txt", "c.txt")]
    texts = [text_id_of(one) for one in (WHOLE, EDITED, QUOTED, ALONE)]
    for one, other in [*product(uris, uris), *product(texts, texts), (uris[0], texts[2])]:
        if one != other:
            assert explain(made, other, one) == swapped(explain(made, one, other))


def test_documents_are_explained_by_their_texts_and_passages(made: Snapshot, folder: Path) -> None:
    explanation = explain(made, f"file://{folder}/a.txt", f"file://{folder}/b.txt")
    assert json.loads(json.dumps(explanation)) == explanation
    assert explanation["left"]["uri"] == f"file://{folder}/a.txt"
    ids = [(one["left"]["text_id"], one["right"]["text_id"]) for one in explanation["pairs"]]
    assert ids == [
        (text_id_of(COMMON), text_id_of(COMMON)),
        (text_id_of(WHOLE), text_id_of(EDITED)),
    ]
    assert explanation["pairs"][0]["relation"] == "exact"
    assert explanation["pairs"][0]["no_overlap_because"] is None
    assert explanation["pairs"][0]["left"]["documents"] == 2
    assert explanation["passages"]
    assert all(
        one["score"] >= explanation["thresholds"]["clear_score"] for one in explanation["passages"]
    )
    assert explanation["passages"][0]["is_clear"]


@pytest.mark.parametrize("seed", range(6))
def test_explanation_and_list_show_the_same_passages(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    paragraphs = [make_words(1000 * seed + number, chance.randint(6, 60)) for number in range(9)]
    articles = {}
    for number in range(6):
        chosen = [list(one) for one in chance.sample(paragraphs, 3)]
        for one in chosen:
            first = chance.randrange(len(one) // 2)
            del one[first : first + chance.choice([0, 1, 4])]  # verbatim, edited or cut
            one[-1:] = make_words(chance.randrange(10**6), 1)
        articles[f"{number}.txt"] = [" ".join(one) for one in chosen]
    articles["bare.txt"] = [" ".join(make_words(7, 30))]
    ingest(write_articles(tmp_path / "in", articles), tmp_path / "press")
    made = StoredArchive(tmp_path / "press").snapshot()
    listed: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for row in all_passages(made).to_pylist():
        pair = row["left_document_id"], row["right_document_id"]
        listed.setdefault(pair, []).append(_outline(row, row["left_passage"], row["right_passage"]))
    ids = made.read("documents", ["document_id"]).column("document_id").to_pylist()
    recorded = 0
    for pair in permutations(ids, 2):
        explanation = explain(made, *pair, limit=0)
        recorded += explanation["is_recorded"]
        shown = [
            _outline(one, one["left"]["passage"], one["right"]["passage"])
            for one in explanation["passages"]
        ]
        if explanation["is_recorded"] and (pair in listed or pair[::-1] not in listed):
            assert sorted(shown) == sorted(listed.get(pair, []))
        elif not explanation["is_recorded"]:
            assert pair not in listed
    assert 0 < recorded < len(ids) * (len(ids) - 1)


def _outline(row: dict[str, Any], left: str, right: str) -> tuple[Any, ...]:
    facts = row["matched_words"], row["relation"], row["is_clear"], row["is_recurring"]
    return (left, right, *facts, round(row["score"], 4))


def test_pair_that_the_archive_has_not_recorded_is_explained_as_such(tmp_path: Path) -> None:
    shared = make_words(3, 12)
    articles = {
        "a.txt": [" ".join([*make_words(1, 60), *shared, *make_words(2, 60)])],
        "b.txt": [" ".join([*make_words(4, 60), *shared, *make_words(5, 60)])],
    }
    settings = settings_of(sign=SignSettings(bands=1, rows=57, fingerprint_shingles=0))
    ingest(write_articles(tmp_path / "in", articles), tmp_path / "press", settings)
    made = StoredArchive(tmp_path / "press").snapshot()
    ids = made.read("documents", ["document_id"]).column("document_id").to_pylist()
    explanation = explain(made, *ids)
    assert explanation["passages"]
    assert (explanation["is_recorded"], explanation["pairs_found"]) == (False, 0)
    assert all_passages(made).num_rows == 0
    assert "the archive has not recorded this pair" in render_explanation(explanation)


def test_single_text_is_explained_with_its_overlaps_largest_first(made: Snapshot) -> None:
    explanation = explain(made, text_id_of(WHOLE)[:8])
    assert explanation["right"] is None
    rights = [one["right"]["text_id"] for one in explanation["pairs"]]
    assert rights == [text_id_of(EDITED), text_id_of(QUOTED)]
    assert all(one["is_overlap"] for one in explanation["pairs"])
    less = explain(made, text_id_of(WHOLE), limit=1)
    assert (less["pairs_found"], len(less["pairs"])) == (2, 1)


def test_text_and_document_are_explained_by_overlapping_texts(made: Snapshot, folder: Path) -> None:
    explanation = explain(made, text_id_of(QUOTED), f"file://{folder}/a.txt")
    [pair] = explanation["pairs"]
    assert pair["right"]["text_id"] == text_id_of(WHOLE)
    assert explanation["passages"] is None


def test_texts_that_share_nothing_still_have_figures(made: Snapshot, folder: Path) -> None:
    explanation = explained(made, WHOLE, ALONE)
    assert (explanation["is_overlap"], explanation["relation"], explanation["passages"]) == (
        False,
        None,
        [],
    )
    assert explanation["no_overlap_because"] == NO_BUCKET
    assert explanation["closest_windows"]["shared_shingles"] == 0
    documents = explain(made, f"file://{folder}/a.txt", f"file://{folder}/d.txt")
    assert (documents["pairs_found"], documents["pairs"], documents["passages"]) == (0, [], [])
    short = explained(made, "A title of its own", ALONE)
    assert short["closest_windows"] is None
    assert short["left"]["windows"] == 0


def test_thresholds_are_those_of_the_archive(folder: Path, tmp_path: Path) -> None:
    align = AlignSettings(min_score=1000)
    ingest(folder, tmp_path / "press", settings_of(align=align))
    made = StoredArchive(tmp_path / "press").snapshot()
    explanation = explain(made, text_id_of(WHOLE), text_id_of(EDITED))
    assert explanation["thresholds"]["min_score"] == 1000
    [pair] = explanation["pairs"]
    assert pair["bands"]
    assert (pair["no_overlap_because"], pair["passages"]) == (NO_PASSAGE, [])


def test_pairs_lost_to_crowded_buckets_say_so(tmp_path: Path) -> None:
    texts = make_variants(1, 30)
    source = write_articles(tmp_path / "in", {"a.txt": texts})
    sign = SignSettings(crowd_texts=2, crowd_heads=1)
    ingest(source, tmp_path / "press", settings_of(sign=sign))
    made = StoredArchive(tmp_path / "press").snapshot()
    rows = made.read("overlaps", ["left_text_id", "right_text_id"]).to_pylist()
    recorded = {(row["left_text_id"], row["right_text_id"]) for row in rows}
    given_up = sorted(set(combinations(sorted(map(text_id_of, texts)), 2)) - recorded)
    for one, other in given_up[:3]:
        [pair] = explain(made, one, other)["pairs"]
        assert (pair["is_overlap"], pair["no_overlap_because"]) == (False, CROWDS)
        assert pair["relation"] == "near"
    assert len(given_up) >= 3


def test_all_wrong_names_are_reported(made: Snapshot, folder: Path) -> None:
    with pytest.raises(SettingsError) as wrong:
        explain(made, "00000000", "nobody")
    for name, fault in zip(("00000000", "nobody"), wrong.value.faults, strict=True):
        assert name in fault
    with pytest.raises(SettingsError, match="expected a second document or a text"):
        explain(made, f"file://{folder}/a.txt")
    with pytest.raises(SettingsError, match="name two different ones"):
        explain(made, text_id_of(WHOLE), text_id_of(WHOLE)[:8])


def test_name_is_a_document_or_a_text(made: Snapshot) -> None:
    documents = made.read("sources", ["uri", "document_id"]).to_pylist()
    for row in documents:
        expected = [("document", row["document_id"])]
        assert resolve_names(made, [row["uri"]]) == expected
        assert resolve_names(made, [row["document_id"][:8].upper()]) == expected
    for text in (WHOLE, EDITED, QUOTED):
        assert resolve_names(made, [text_id_of(text)]) == [("text", text_id_of(text))]
