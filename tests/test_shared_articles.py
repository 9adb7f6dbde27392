"""Two real articles on one event, of which the second reuses parts of the first."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from palimpsest.evidence.compare import compare_files
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.pipeline.run import run_ingest

ARTICLES = Path(__file__).parents[2] / "shared" / "data" / "articles"
pytestmark = pytest.mark.skipif(
    not ARTICLES.is_dir(), reason=f"the sample articles are not at {ARTICLES}"
)

# What a reader finds shared, as spans in characters that a reported passage must cover: in the
# earlier file by name, and in the later one.
SHARED = {
    "the internet switched off for five days": [((948, 1026), (2221, 2299))],
    "the gathering that police let be, and the blocked access": [
        ((795, 812), (1117, 1134)),
        ((879, 898), (1215, 1234)),
    ],
    "the word in quotation marks on the protests": [((1232, 1255), (2377, 2400))],
    "the number of extremists": [((1283, 1301), (2533, 2551))],
    "the request for help": [((1495, 1518), (2693, 2716))],
    "the order to the forces": [((1641, 1674), (2791, 2824))],
    "the demand to be held accountable, and the departure": [
        ((2538, 2554), (883, 899)),
        ((2642, 2660), (987, 1005)),
    ],
    "the closing sentence": [((4640, 4690), (3627, 3677))],
}


@pytest.fixture(scope="module")
def paths():
    return sorted(ARTICLES.glob("*.txt"))


@pytest.fixture(scope="module")
def result(paths):
    return compare_files(str(paths[0]), str(paths[1]))


@pytest.mark.parametrize("name", SHARED)
def test_compare_finds_the_passages_that_a_reader_finds(name, result):
    assert any(
        all(
            covers(passage["left"], left) and covers(passage["right"], right)
            for left, right in SHARED[name]
        )
        for passage in result["passages"]
    )


def covers(span, part):
    return span["start_char"] <= part[0] and part[1] <= span["end_char"]


def test_compare_gives_spans_that_are_exact_in_characters_and_bytes(result, paths):
    for side, path in zip(("left", "right"), paths, strict=True):
        raw = path.read_bytes()
        for passage in result["passages"]:
            span = passage[side]
            in_bytes = raw[span["start_byte"] : span["end_byte"]].decode()
            in_chars = raw.decode()[span["start_char"] : span["end_char"]]
            assert in_bytes == in_chars
            assert normalise_text(in_bytes) == span["text"]


def test_compare_finds_nothing_that_is_not_on_both_sides(result):
    for passage in result["passages"]:
        left = set(passage["left"]["text"].casefold().split())
        right = set(passage["right"]["text"].casefold().split())
        assert len(left & right) >= 5
        assert passage["resemblance"] >= 0.5
    assert len(result["passages"]) <= 10


def test_the_sentence_that_both_share_whole_is_stored_once_with_two_occurrences(
    paths, result, tmp_path
):
    run_ingest([str(path) for path in paths], tmp_path / "archive")
    [(left, right)] = SHARED["the closing sentence"]
    [closing] = [
        passage["left"]["text"]
        for passage in result["passages"]
        if covers(passage["left"], left) and covers(passage["right"], right)
        if passage["relation"] == "exact"
    ]
    count = duckdb.execute(
        f"""SELECT count(DISTINCT paragraph_id), count(*)
            FROM '{tmp_path}/archive/paragraphs/*.parquet'
            JOIN '{tmp_path}/archive/occurrences/*.parquet' ON text_id = paragraph_id
            WHERE text = ?""",
        [closing],
    ).fetchone()
    assert count == (1, 2)
