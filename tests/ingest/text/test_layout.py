from __future__ import annotations

import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.ingest.text.layout import lay_out
from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.kernels.unicode import character_tables
from tests import oracles
from tests.ingest.paragraphs import paragraphs_of
from tests.strategies import max_examples

FIRST = (
    "The harbour board met on Tuesday evening to hear the report of its engineer on the state of "
    "the old breakwater, which has suffered badly in the gales of the past two winters and will "
    "not, in his opinion, stand a third without repairs to the whole of its seaward face."
)
SECOND = (
    "Several members asked whether the money could be found without a new rate. The treasurer "
    "answered that a loan had been promised, though at a price, and that he would lay the terms "
    "before the board at its next sitting if the members wished to see them in writing."
)
THIRD = (
    "A deputation of fishermen was then admitted, who said that the channel had silted up so far "
    "that boats of any draught must wait for the tide, and that half a day was lost by it."
)
ALL = [FIRST, SECOND, THIRD]
JAPANESE = (
    "昨日の夕方、港湾委員会は古い防波堤の状態について技師の報告を聞いた。防波堤はこの二年の冬の嵐で"
    "大きな被害を受けており、海側の面をすべて直さなければ三度目の冬には耐えられないという。"
)


# fmt: off
BLOCK_PIECES = (
    "word", "Word", "a", "B", "7", " ", " ", "\t", "\u00a0", "\u00ad", ". ", "! ", "? ", ".",
    "U.S. ", "Mr. ", '." ', ", ", "'", '"', ")", " (", "-", "é", "É", "の", "漢字", "。", "。」", "！",
    "…", "’", "ا", "😀",
)
# fmt: on


def _wrapped(text: str, width: int, **indents: str) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False, **indents)


def _sentences(count: int, first: int = 0) -> list[str]:
    places = ["harbour", "market", "station", "library", "bridge", "theatre", "school", "garden"]
    return [
        f"On day {n} the council visited the {places[n % 8]} and spoke with {n * 7 % 13} people."
        for n in range(first, first + count)
    ]


def test_empty_lines_separate_paragraphs():
    assert paragraphs_of("\n\n".join(ALL)) == ALL


def test_paragraphs_on_one_line_each_need_no_empty_lines():
    assert paragraphs_of("\n".join(ALL)) == ALL


def test_short_unwrapped_lines_are_paragraphs():
    lines = ["Milk, a quart", "Bread", "Six eggs", "Tea"]
    assert paragraphs_of("\n".join(lines)) == lines


@pytest.mark.parametrize("width", [72, 60, 40])
def test_hard_wrapped_blocks_are_joined(width):
    assert paragraphs_of("\n\n".join(_wrapped(text, width) for text in ALL)) == ALL


@pytest.mark.parametrize("width", [72, 60])
@pytest.mark.parametrize("indent", ["  ", "    ", "\t"])
def test_indents_alone_begin_paragraphs(width, indent):
    text = "\n".join(_wrapped(text, width, initial_indent=indent) for text in ALL)
    assert paragraphs_of(text) == ALL


@pytest.mark.parametrize("width", [72, 60])
def test_hanging_indents_continue_paragraphs(width):
    text = "\n".join(_wrapped(text, width, subsequent_indent="    ") for text in ALL)
    assert paragraphs_of(text) == ALL


@pytest.mark.parametrize("width", [72, 60])
def test_title_line_is_separate_from_the_wrapped_body_below_it(width):
    body = _wrapped(" ".join(ALL), width)
    assert paragraphs_of("HARBOUR BOARD\n" + body) == ["HARBOUR BOARD", " ".join(ALL)]


def test_header_lines_are_paragraphs():
    text = "\n".join(["-- The Harbour Gazette", "-- 3 March 1904", *ALL])
    assert paragraphs_of(text) == ["-- The Harbour Gazette", "-- 3 March 1904", *ALL]


def test_short_last_line_ends_a_wrapped_paragraph():
    text = _wrapped(FIRST, 60) + "\n" + _wrapped(SECOND, 60)
    assert paragraphs_of(text) == [FIRST, SECOND]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\x85", "\u2028", "\x0b", "\x0c"])
def test_line_ends_of_any_kind_give_the_same_paragraphs(line_end):
    assert paragraphs_of(line_end.join(ALL)) == ALL
    assert paragraphs_of((line_end * 2).join(ALL)) == ALL
    wrapped = "\n\n".join(_wrapped(text, 72) for text in ALL).replace("\n", line_end)
    assert paragraphs_of(wrapped) == ALL


def test_line_end_of_two_characters_counts_once():
    wrapped = _wrapped(" ".join(ALL), 72).replace("\n", "\r\n")
    assert paragraphs_of(wrapped) == [" ".join(ALL)]


def test_paragraph_separator_alone_separates_paragraphs():
    text = "\u2029".join(_wrapped(text, 72) for text in ALL)
    assert paragraphs_of(text) == ALL


@pytest.mark.parametrize("blank", ["\u00a0", " \t ", "\u3000", "\u200b", "\ufeff", "\u00ad\u00a0"])
def test_lines_without_visible_characters_separate_paragraphs(blank):
    text = f"\n{blank}\n".join(_wrapped(text, 72) for text in ALL)
    assert paragraphs_of(text) == ALL


def test_ideographic_spaces_indent_and_wrapped_ideographs_join_without_a_space():
    width = 24
    blocks = []
    for text in (JAPANESE, JAPANESE[::-1], JAPANESE):
        padded = "　" + text
        lines = [padded[at : at + width] for at in range(0, len(padded), width)]
        blocks.append("\n".join(lines))
    assert paragraphs_of("\n".join(blocks)) == [JAPANESE, JAPANESE[::-1], JAPANESE]


def test_wrapped_ideographs_in_blocks_join_without_a_space():
    lines = [JAPANESE[at : at + 20] for at in range(0, len(JAPANESE), 20)]
    assert paragraphs_of("\n".join(lines) + "\n\n" + "\n".join(lines)) == [JAPANESE] * 2


@pytest.mark.parametrize("text", ["", " \n\t\n", "\u200b\ufeff", "\n\n\n", "\u2029"])
def test_text_without_visible_characters_has_no_paragraph(text):
    assert paragraphs_of(text) == []


def test_block_at_the_limit_is_kept_whole_and_a_longer_one_is_cut():
    text = " ".join(_sentences(20))
    assert paragraphs_of(text, len(text)) == [text]
    assert len(paragraphs_of(text, len(text) - 1)) > 1


def test_long_block_is_cut_at_sentence_ends_only():
    text = " ".join(_sentences(100))
    pieces = paragraphs_of(text, 500)
    assert " ".join(pieces) == text
    assert all(len(piece) <= 500 for piece in pieces)
    assert all(piece.endswith("people.") and piece.startswith("On day") for piece in pieces)
    assert all(len(piece) >= 100 for piece in pieces[:-1])


@max_examples(60)
@given(
    st.text(st.sampled_from("aB .!?\n\"')漢。」é\u0301😀\u200b\u00a0x1"), max_size=1500),
    st.integers(200, 300),
)
def test_pieces_are_within_the_limit_and_complete(text, limit):
    pieces = paragraphs_of(text, limit)
    assert all(0 < len(piece) <= limit for piece in pieces)
    dense = normalise_text(text).replace(" ", "")
    assert normalise_text("".join(pieces)).replace(" ", "") == dense


@max_examples(300)
@given(
    st.lists(st.sampled_from(BLOCK_PIECES), min_size=25, max_size=120).map("".join),
    st.integers(5, 60),
)
def test_long_block_is_cut_like_the_character_by_character_model(text, limit):
    block = text.strip(" \t\u00a0\u00ad")
    encoded = block.encode()
    offsets = np.array([0, len(encoded)])
    buffer = np.frombuffer(encoded, np.uint8)
    starts, ends, _ = lay_out(buffer, offsets, character_tables(), limit)
    found = [encoded[start:end].decode() for start, end in zip(starts, ends, strict=True)]
    assert found == oracles.cut_block(block, limit)


@pytest.mark.parametrize(
    "abbreviated", ["Mr. Hale", "Dr. Hale", "the U.S. Navy", "J. S. Mill", "the e.g. clause"]
)
def test_abbreviations_do_not_end_sentences(abbreviated):
    text = " ".join(f"And then {abbreviated} spoke on point {n} of all." for n in range(60))
    pieces = paragraphs_of(text, 300)
    assert len(pieces) > 5
    assert all(piece.startswith("And") and piece.endswith("of all.") for piece in pieces)


def test_block_is_never_cut_before_a_lower_case_letter():
    text = " ".join(f"He paid 3 shill. for number {n}, they say!" for n in range(60))
    assert all(piece.endswith("say!") for piece in paragraphs_of(text, 300))


def test_closing_quotation_mark_stays_with_its_sentence():
    text = " ".join(f"She said, “This is remark {n} of many.”" for n in range(60))
    assert all(piece.endswith("many.”") for piece in paragraphs_of(text, 300))
    text = "".join(f"彼女は「これは発言の{n}番目です。」" for n in range(60))
    pieces = paragraphs_of(text, 200)
    assert len(pieces) > 1
    assert all(piece.endswith("」") for piece in pieces)


def test_without_sentence_ends_words_are_kept_whole():
    text = " ".join(f"word{n}" for n in range(400))
    pieces = paragraphs_of(text, 300)
    assert " ".join(pieces) == text
    assert all(len(piece) <= 300 for piece in pieces)


def test_one_huge_word_is_cut_at_the_limit():
    assert [len(piece) for piece in paragraphs_of("x" * 1000, 300)] == [300, 300, 300, 100]


def test_block_is_never_cut_between_a_letter_and_its_marks():
    text = "e\u0323\u0301" * 500
    pieces = paragraphs_of(text, 200)
    assert "".join(pieces) == normalise_text(text)
    assert not any(piece.startswith(("\u0323", "\u0301")) for piece in pieces)


def test_long_block_of_ideographs_is_cut_after_full_stops():
    text = "".join(f"委員会は第{n}号の議案を審議し、全会一致で可決した。" for n in range(100))
    pieces = paragraphs_of(text, 300)
    assert "".join(pieces) == text
    assert all(piece.endswith("。") and len(piece) <= 300 for piece in pieces)


@pytest.mark.parametrize("extra", ["A new sentence stands here.", "Two of them. Here they are."])
def test_added_sentence_moves_only_the_cuts_near_it(extra):
    sentences = _sentences(200)
    plain = paragraphs_of(" ".join(sentences), 1000)
    longer = paragraphs_of(" ".join([*sentences[:2], extra, *sentences[2:]]), 1000)
    assert len(plain) > 10
    assert len(set(plain) & set(longer)) >= len(plain) * 2 // 3
    assert plain[-3:] == longer[-3:]


def test_documents_of_a_batch_do_not_affect_each_other():
    documents = [_wrapped(FIRST, 60), "Milk\nBread\nTea and sugar", "", SECOND + "\n"]
    raw = [document.encode() for document in documents]
    buffer = np.frombuffer(b"".join(raw), dtype=np.uint8)
    offsets = np.cumsum([0, *map(len, raw)], dtype=np.int64)
    starts, ends, counts = lay_out(buffer, offsets, character_tables(), 2000)
    cuts = [buffer[start:end].tobytes() for start, end in zip(starts, ends, strict=True)]
    assert cuts == [raw[0], b"Milk", b"Bread", b"Tea and sugar", SECOND.encode()]
    assert counts.tolist() == [1, 3, 0, 1]
