"""Passages are marked in paragraphs to the character, and words that differ to the word."""

import random
import re
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.ingest.text.normalise import normalise_paragraphs, normalise_text
from palimpsest.inspector import marking
from palimpsest.inspector.catalogue import Catalogue
from palimpsest.inspector.catalogue.read import DocumentQuery
from palimpsest.inspector.marking import MarkedDocument, Segment, differences
from palimpsest.kernels.columns import shift_positions
from palimpsest.kernels.unicode import character_tables
from palimpsest.records.schemas import PARAGRAPH_SEPARATOR
from tests.ingest.text.test_normalise import RICH
from tests.strategies import max_examples

many = max_examples(150)
Row = dict[str, Any]


def rows_of(sources: Sequence[str]) -> tuple[str, list[Row]]:
    """Return a document of paragraphs as they were written, and the rows of those that have text."""
    document = PARAGRAPH_SEPARATOR.join(sources)
    rows, at = [], 0
    for source in sources:
        buffer = np.frombuffer(source.encode(), dtype=np.uint8)
        bounds = np.array([0, len(buffer)], dtype=np.int64)
        texts = normalise_paragraphs(buffer, bounds[:1], bounds[1:], character_tables())
        text = texts.buffer[: texts.ends[0]].tobytes().decode()
        if text:
            shifts = {"shift_at": texts.shift_at.tolist(), "shift_by": texts.shift_by.tolist()}
            rows.append({"text": text, "start_char": at, **shifts})
        at += len(source) + len(PARAGRAPH_SEPARATOR)
    return document, rows


def places_of(row: Row) -> list[int]:
    """Return the position of each character of a paragraph in the document."""
    shifts = (np.array(row[name], np.int32) for name in ("shift_at", "shift_by"))
    return shift_positions(np.arange(len(row["text"])), *shifts, row["start_char"]).tolist()


@st.composite
def marked_documents(draw: st.DrawFn) -> tuple[str, list[Row], list[tuple[int, int]]]:
    document, rows = rows_of(draw(st.lists(RICH, max_size=5)))
    ends = st.integers(0, len(document) + 3)
    spans = draw(st.lists(st.tuples(ends, ends).map(lambda two: (min(two), max(two))), max_size=6))
    return document, rows, spans


@many
@given(marked_documents())
def test_segments_joined_are_the_text_and_cover_what_the_passages_do(
    made: tuple[str, list[Row], list[tuple[int, int]]],
) -> None:
    _, rows, spans = made
    marked = MarkedDocument(rows, spans)
    begun: list[int] = []
    covered = []
    for row, cut in zip(rows, marked.segments(), strict=True):
        assert "".join(one.text for one in cut) == row["text"]
        assert all(one.text for one in cut)
        found = [one.passages for one in cut for _ in one.text]
        expected = [
            tuple(n for n, (start, end) in enumerate(spans) if start <= place < end)
            for place in places_of(row)
        ]
        assert found == expected
        begun += [number for one in cut for number in one.begins]
        assert all(set(one.begins) <= set(one.passages) for one in cut)
        covered.append(sum(map(bool, expected)))
    assert marked.coverage() == covered
    seen = {number for cut in marked.segments() for one in cut for number in one.passages}
    assert sorted(begun) == sorted(seen)


@many
@given(st.lists(RICH, min_size=1, max_size=4), st.data())
def test_span_of_words_marks_exactly_those_words(sources: list[str], data: st.DataObject) -> None:
    document, rows = rows_of(sources)
    for row in rows:
        words = [*re.finditer(r"\S+", row["text"])]
        first = data.draw(st.integers(0, len(words) - 1))
        last = data.draw(st.integers(first, len(words) - 1))
        start, end = words[first].start(), words[last].end()
        places = [*places_of(row), None]
        stop = places[end] if end < len(row["text"]) else len(document)
        [[*cut]] = MarkedDocument([row], [(places[start], stop)]).segments()
        inside = "".join(one.text for one in cut if one.passages)
        assert inside == row["text"][start:end]
        if end < len(row["text"]):
            assert normalise_text(document[places[start] : stop]) == inside


def alone(text: str) -> MarkedDocument:
    row = {"text": text, "start_char": 0, "shift_at": [], "shift_by": []}
    return MarkedDocument([row], [(0, len(text))])


def changed(marked: MarkedDocument) -> list[str]:
    """Return the stretches that are marked as changed."""
    stretches = [""]
    for one in marked.segments()[0]:
        if one.is_changed:
            stretches[-1] += one.text
        elif stretches[-1]:
            stretches.append("")
    return [one for one in stretches if one]


def compared(left: str, right: str) -> tuple[list[str], list[str]]:
    one, other = alone(left), alone(right)
    one.compare_with(other)
    return changed(one), changed(other)


@many
@given(
    st.integers(5, 60), st.lists(st.tuples(st.integers(0, 59), st.sampled_from("rid")), max_size=8)
)
def test_exactly_the_edited_words_are_marked(count: int, edits: list[tuple[int, str]]) -> None:
    words = [f"w{number}" for number in range(count)]
    kinds = {place % count: kind for place, kind in edits}
    copy, removed, new = [], set(), set()
    for place, word in enumerate(words):
        kind = kinds.get(place)
        if kind in ("r", "d"):
            removed.add(word)
        if kind in ("r", "i"):
            copy.append(f"new{place}")
            new.add(f"new{place}")
        if kind in (None, "i"):
            copy.append(word)
    left, right = compared(" ".join(words), " ".join(copy))
    assert {word for stretch in left for word in stretch.split()} == (
        removed if copy else set(words)
    )
    assert {word for stretch in right for word in stretch.split()} == new


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("the red cat sat", "the blue cat sat", (["red"], ["blue"])),
        ("the red cat sat", "the cat sat", (["red"], [])),
        ("The Cat, sat!", "the cat sat", ([], [])),
        ("one two three four", "one 2 3 four", (["two three"], ["2 3"])),
        ("茶亭在石桥", "茶楼在石桥", (["亭"], ["楼"])),
        ("Straße", "STRASSE", ([], [])),
        ("a-b c", "a_b c", ([], [])),
        ("", "something", ([], ["something"])),
        ("...", "—", ([], [])),
        ("मकान में", "मकान मे", (["में"], ["मे"])),
        ("café au lait", "cafe au lait", (["café"], ["cafe"])),
        ("cafe\u0323\u0301 au lait", "cafe\u0323 au lait", (["cafe\u0323\u0301"], ["cafe\u0323"])),
        ("مَكتبة", "مكتبة", (["مَكتبة"], ["مكتبة"])),
    ],
)
def test_words_are_compared_as_readers_would(
    left: str, right: str, expected: tuple[list[str], list[str]]
) -> None:
    assert compared(left, right) == expected
    assert compared(right, left) == expected[::-1]


@many
@given(
    st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.sampled_from("abcd"), max_size=12)
)
def test_swapping_the_sides_swaps_the_marks(left: list[str], right: list[str]) -> None:
    one, other = " ".join(left), " ".join(right)
    assert compared(one, other) == compared(other, one)[::-1]


@many
@given(
    st.lists(st.sampled_from("abcdefgh"), max_size=30),
    st.lists(st.sampled_from("abcdefgh"), max_size=30),
    st.sampled_from([0, 4, 60, 10_000]),
)
def test_unmarked_words_are_on_both_sides_in_order(
    left: list[str], right: list[str], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(marking, "MAX_CELLS", most)
        spans = list(differences(left, right))
    if most < len(left) * len(right) and most < 10_000:
        assert all(0 <= a <= b <= len(left) for (a, b), _ in spans)
    else:
        rest = [
            [word for at, word in enumerate(side) if not any(a <= at < b for a, b in marked)]
            for side, marked in ((left, [s for s, _ in spans]), (right, [s for _, s in spans]))
        ]
        assert rest[0] == rest[1]
    for one, other in pairwise(spans):
        assert one[0][1] <= other[0][0]
        assert one[1][1] <= other[1][0]


def test_long_passages_are_compared_quickly_and_word_by_word() -> None:
    chance = random.Random(7)
    common = [f"c{chance.randrange(300)}" for _ in range(20_000)]
    words = [word if at % 3 else f"u{at}" for at, word in enumerate(common)]
    copy = list(words)
    for at in range(500, 19_500, 1000):
        copy[at] = f"edited{at}"
    started = time.process_time()
    left, right = compared(" ".join(words), " ".join(copy))
    assert time.process_time() - started < 5
    assert right == [f"edited{at}" for at in range(500, 19_500, 1000)]
    assert left == [words[at] for at in range(500, 19_500, 1000)]
    started = time.process_time()
    same = " ".join("ab"[chance.randrange(2)] for _ in range(9000))
    compared(same, same[::-1])
    assert time.process_time() - started < 5


def test_changes_of_the_first_passage_are_shown() -> None:
    row = {"text": "one two three four", "start_char": 10, "shift_at": [], "shift_by": []}
    other = {"text": "one 2 three 4", "start_char": 0, "shift_at": [], "shift_by": []}
    left = MarkedDocument([row], [(10, 23), (14, 28)])
    right = MarkedDocument([other], [(0, 11), (0, 13)])
    left.compare_with(right)
    [cut] = left.segments()
    assert [(one.text, one.passages, one.is_changed) for one in cut] == [
        ("one ", (0,), False),
        ("two", (0, 1), True),
        (" three", (0, 1), False),
        (" ", (1,), False),
        ("four", (1,), True),
    ]
    assert [one.begins for one in cut] == [(0,), (1,), (), (), ()]


def test_passages_of_an_archive_are_marked_where_its_table_has_them(
    mixed_catalogue: Catalogue,
) -> None:
    from palimpsest.inspector.pages import views

    for pair in mixed_catalogue.overview()["pairs"]:
        ids = [pair[side]["document_id"] for side in ("left", "right")]
        comparison = views.compare(mixed_catalogue, *ids)
        for side in ("left", "right"):
            for number, passage in enumerate(comparison["passages"], start=1):
                marked = [
                    "".join(s["text"] for s in p["segments"] if number in s["passages"])
                    for p in comparison[side]["paragraphs"]
                ]
                assert PARAGRAPH_SEPARATOR.join(filter(None, marked)) == passage[side]["passage"]
    assert mixed_catalogue.search(DocumentQuery(), 1)[0]


def test_empty_document_has_no_marks() -> None:
    assert MarkedDocument([], []).segments() == []
    assert MarkedDocument([], [(0, 5)]).coverage() == []
    assert isinstance(alone("a").segments()[0][0], Segment)
