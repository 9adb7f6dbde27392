"""Where paragraphs end in wrapped text, with known truth: intact text, wrapped in every way."""

from __future__ import annotations

import importlib
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from tests.ingest.paragraphs import paragraphs_of

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
WIDTHS = (41, 62, 87)
RAGGED = {
    "blank line, ragged",
    "indent of 4, ragged",
    "two blanks, ragged",
}
UNMARKED = {"line break", "line break, hyphens", "line break, ragged", "line break, typed"}

PARAGRAPHS = """\
The ferry company said on Monday that its oldest boat would be laid up for the winter, because \
the yard had found rust in most of the frames below the engine room.
Passengers are asked to use the bridge. A bus will run from the north pier to the station \
every half hour, and the fare will be the same as on the boat.
"We are sorry," said a spokeswoman, who did not want to guess how long the repairs may take or \
what they may cost the owners in the end.
The boat was built in 1931.
She has carried eleven million people across the sound, by the count of the company, and \
sank only once, at her berth, on a night when nobody was aboard but the cat.
""".splitlines()


def _wrapped(text: str, width: int = 62) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _joined(paragraphs: list[str], width: int = 62) -> str:
    """Wrap each paragraph, and put the first line of each on the last line of the one before."""
    return "  ".join("\n".join(_wrapped(text, width)) for text in paragraphs)


@pytest.fixture(scope="module")
def layout() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("layout")
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_borders_are_found_in_every_style_and_language(layout):
    articles = layout.invented_articles(seed=1)
    shares = {
        name: layout.right_share(*layout.measure(articles, style, WIDTHS)[3:])
        for name, style in layout.STYLES.items()
    }
    assert {name for name, share in shares.items() if share < 0.90} == set()
    assert {name for name, share in shares.items() if share < 0.98} - UNMARKED == set()
    assert {name for name, share in shares.items() if share < 0.995} - UNMARKED - RAGGED == set()


@pytest.mark.parametrize("width", range(40, 101, 6))
def test_paragraphs_that_meet_on_one_line_are_parted(width):
    assert paragraphs_of(_joined(PARAGRAPHS * 3, width)) == PARAGRAPHS * 3


def test_title_that_meets_the_text_on_one_line_is_parted():
    text = _joined(["Ferry laid up for the winter", *PARAGRAPHS])
    assert paragraphs_of(text) == ["Ferry laid up for the winter", *PARAGRAPHS]


def test_two_blanks_after_the_place_of_a_dispatch_are_no_border():
    dispatch = "TARN QUAY  (Marl Wire) - " + PARAGRAPHS[0]
    first = _wrapped(dispatch.replace("  ", "~ "))
    text = "\n".join(first).replace("~ ", "  ") + "  " + _joined(PARAGRAPHS[1:] * 4)
    assert paragraphs_of(text) == [dispatch.replace("  ", " "), *PARAGRAPHS[1:] * 4]


def _typed(width: int, between: str) -> tuple[str, list[str]]:
    texts = [" ".join(PARAGRAPHS[k:] + PARAGRAPHS[:k]) for k in range(3)]
    blocks = []
    for text in texts:
        marked = text.replace(". ", ".~ ")
        blocks.append("\n".join(_wrapped(marked, width)).replace("~ ", "  ").replace("~", ""))
    return between.join(blocks), texts


@pytest.mark.parametrize("width", range(40, 101, 12))
def test_two_blanks_after_each_sentence_are_no_border(width):
    text, paragraphs = _typed(width, "\n\n")
    assert paragraphs_of(text) == paragraphs


def test_two_blanks_in_lines_that_are_not_wrapped_are_no_border():
    lines = ["  ".join(PARAGRAPHS), "  ".join(PARAGRAPHS[::-1])]
    assert paragraphs_of("\n".join(lines)) == [" ".join(PARAGRAPHS), " ".join(PARAGRAPHS[::-1])]


def test_one_long_line_does_not_spoil_a_wrapped_block():
    address = "https://ferries.example.org/" + "notices/" * 12
    lines = [*_wrapped(" ".join(PARAGRAPHS)), address, *_wrapped(" ".join(PARAGRAPHS))]
    assert len(paragraphs_of("\n".join(lines))) <= 3


def test_lines_of_uneven_width_are_joined():
    text = " ".join(PARAGRAPHS * 2)
    lines, at = [], 0
    words = text.split()
    for number in range(1000):
        line = words[at]
        while at + 1 < len(words) and len(line) + 1 + len(words[at + 1]) <= 36 + number * 5 % 7:
            at += 1
            line += " " + words[at]
        lines.append(line)
        at += 1
        if at >= len(words):
            break
    assert paragraphs_of("\n\n".join(["\n".join(lines)] * 3)) == [text] * 3


def test_list_of_titles_of_similar_length_is_not_joined():
    titles = [
        "Ferry Laid Up For The Whole Winter",
        "Bus To Run From The Northern Pier",
        "Company Will Not Guess At The Cost",
        "Eleven Million Carried Since 1931",
        "Cat Sole Witness Of A Night Alarm",
        "Harbour Board To Meet On Tuesday",
    ]
    assert paragraphs_of("\n".join(titles)) == titles


def test_verse_is_not_joined():
    verse = ["The lamps are lit along the quay,", "The boats are in, the nets are dry,"]
    verse += ["And nobody has asked of me", "How many winters have gone by."]
    assert paragraphs_of("\n".join(verse)) == verse


def test_capitals_alone_are_wrapped_text_too():
    text = " ".join(PARAGRAPHS).upper()
    assert (
        paragraphs_of("\n".join(_wrapped(text)) + "\n\n" + "\n".join(_wrapped(text))) == [text] * 2
    )


def test_hanging_indents_of_two_lines_are_read_from_the_sentences():
    short = [f"Item {n} of the agenda was put off until the next meeting of the whole board, in May."
             for n in range(6)]  # fmt: skip
    lines = ["\n".join(textwrap.wrap(text, 60, subsequent_indent="    ")) for text in short]
    assert paragraphs_of("\n\n".join(lines)) == short
