import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.dedup.alignment import align_pairs, score_words
from palimpsest.dedup.headers import are_headers, find_bodies
from palimpsest.dedup.words import HEADER
from palimpsest.records.settings import AlignSettings
from tests import oracles
from tests.strategies import max_examples, mixed_texts, pack_texts, words_of

_PIECES = (
    *("--", "---", "By", "by:", "VON", "par", "Anna", "Óskar", "MÜLLER", "and", "und", "и", "Иван"),
    *(
        "HARWICK",
        "Harwick",
        "TARN, 3 mai",
        ",",
        "(Tarn Wire)",
        "(",
        ")",
        "-",
        "–",
        "—",
        "-",
        "5 May",
    ),
    *(
        "the",
        "river",
        "rose",
        "rose.",
        "“so.”",
        '"so"',
        "U.S.",
        "?",
        "!",
        ":",
        "http://a.example/b",
    ),
    *(
        "(Reporting by Anna;",
        "(editing",
        "BY",
        "Additional",
        "reporting",
        "(see below)",
        "東京",
        "القاهرة",
    ),
)
line_texts = st.lists(st.sampled_from(_PIECES), max_size=12).map(" ".join)


def bodies(texts):
    buffer, starts, ends = pack_texts(texts)
    first, stop = find_bodies(buffer, starts, ends)
    places = zip(texts, first - starts, stop - starts, strict=True)
    return [text.encode()[a:b].decode() for text, a, b in places]


@max_examples(500)
@given(st.lists(st.one_of(line_texts, mixed_texts), max_size=4))
def test_bodies_are_the_oracles(texts):
    expected = [text[slice(*oracles.find_body(text))] for text in texts]
    assert bodies(texts) == expected


@pytest.mark.parametrize(
    "line",
    [
        "-- Ferry strike enters its second week",
        '-- Minister calls the plan "unworkable"',
        "-- Talks go on in the U.S.",
        "--",
        "https://tarn.example/2024/11/12/ferry",
        "By Anna Lindqvist and Óskar Þór",
        "Von Peter Müller",
        "Par Jeanne Dubois et Luc de la Tour",
        "(Reporting by Anna Lindqvist; editing by B. Name)",
    ],
)
def test_header_lines_have_no_body(line):
    assert bodies([line]) == [""]


@pytest.mark.parametrize(
    "text",
    [
        "-- I do not know, he said.",
        "By contrast, the ferry was late.",
        "By noon the river had risen by a metre",
        "Von Peter lernen wir nichts",
        "The council (which met on Monday) - and not the mayor - decided.",
        "Harwick said - and meant - that the river rises.",
        "The harbour closed early (as it does in winter)",
        "See https://tarn.example for more",
    ],
)
def test_sentences_are_body_throughout(text):
    assert bodies([text]) == [text]


@pytest.mark.parametrize(
    ("dateline", "body"),
    [
        ("HARWICK (Tarn Wire) - ", "The ferry was late."),
        ("NEW HARWICK, Jan 5 (TW) -- ", "The ferry was late."),
        ("HARWICK, 3 mai (TW) – ", "Le bac est en retard."),
        ("Harwick (dtw) – ", "Die Fähre kam zu spät."),
        ("ХАРВИК, 5 марта (ТВ) — ", "Паром опоздал."),
        ("HARWICK/TARN - ", "The ferry was late."),
        ("(Tarn Wire) - ", "The ferry was late."),
    ],
)
def test_datelines_and_credits_are_not_body(dateline, body):
    assert bodies([dateline + body]) == [body]
    assert bodies([f"{dateline}{body} (Writing by A. Name; editing by B. Name)"]) == [f"{body} "]


def test_equal_headers_match_nothing():
    line = "-- Seventeen herring barrels carried from flooded market into neighbouring churchyard"
    body = line.removeprefix("-- ") + "."
    words = words_of([line, line, body, body])
    assert set(words.kinds[words.offsets[0] : words.offsets[2]].tolist()) == {HEADER}
    settings = AlignSettings()
    left, right = np.array([0, 0, 2]), np.array([1, 2, 3])
    found = align_pairs(words, score_words(words, settings), left, right, settings)
    assert found.pair.tolist() == [2]
    buffer, starts, ends = pack_texts([line, body])
    assert are_headers(buffer, starts, ends).tolist() == [True, False]


def test_passages_do_not_extend_over_equal_datelines():
    texts = [
        "HARWICK (Tarn Wire) - Seventeen herring barrels floated past the flooded market hall"
    ] * 2
    words = words_of([texts[0], texts[1] + " again"])
    settings = AlignSettings()
    found = align_pairs(words, score_words(words, settings), np.array([0]), np.array([1]), settings)
    assert (found.left_first[0], found.right_first[0]) == (3, 3)
