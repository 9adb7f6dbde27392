from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from palimpsest.ingest.text.normalise import normalise_paragraphs, normalise_text
from palimpsest.kernels.columns import shift_positions
from palimpsest.kernels.unicode import BLANK, DROPPED, LAYOUT_MASK, TABLE_SIZE, character_tables
from tests.strategies import max_examples

heavy = max_examples(60)

RICH = st.text(
    st.one_of(
        st.characters(exclude_categories=("Cs",)),
        st.sampled_from("aeioucAz. \n\t\r"),
        st.sampled_from("\u0301\u0308\u0327\u0323\u0300\u0345\u3099\u309a\u0338\u05b4\u05bc\u0650"),
        st.sampled_from("\u1100\u1161\u11a8\u1112\u1175\u11c2\uac00\uac01\ud55c\uae00"),
        st.sampled_from("\u00a0\u200b\u00ad\u2060\ufeff\u3000\u2028\u2029\u0085\u180e\x00\x1f\x0b"),
        st.sampled_from("漢字かがガカー。、「」\u2329\u232a\uf900\U0002f800\U00020000ｶﾞ！"),
        st.sampled_from("שלוםمرحبا\u200f\u202b😀👩\u200d💻\U0001f1e9\U000e0101ไทยကခ"),
        st.sampled_from("éüÅ\u212b\u2126\u0958\u0344\ufb1d\u1e9b\u0390\u1fee\u0f73"),
    ),
    max_size=60,
)


def _layout(character: str) -> int:
    point = ord(character)
    tables = character_tables()
    return int(tables.properties[point] & LAYOUT_MASK) if point < TABLE_SIZE else 0


def _may_join(character: str) -> bool:
    """Return whether NFC may combine a character with one before it, or reorder it."""
    return unicodedata.category(character)[0] == "M" or "\u1160" <= character < "\u1200"


def _places_in(source: str) -> tuple[str, list[int]]:
    """Return a normalised text, and the position of each of its characters in ``source``."""
    buffer = np.frombuffer(source.encode(), dtype=np.uint8)
    bounds = np.array([0, len(buffer)], dtype=np.int64)
    texts = normalise_paragraphs(buffer, bounds[:1], bounds[1:], character_tables())
    text = texts.buffer[: texts.ends[0]].tobytes().decode()
    places = np.arange(len(text), dtype=np.int64)
    return text, shift_positions(places, texts.shift_at, texts.shift_by, 0).tolist()


@heavy
@given(RICH)
def test_normalising_twice_changes_nothing(text):
    once = normalise_text(text)
    assert normalise_text(once) == once


@heavy
@given(RICH)
def test_composed_and_decomposed_texts_are_normalised_alike(text):
    expected = normalise_text(text)
    assert normalise_text(unicodedata.normalize("NFC", text)) == expected
    assert normalise_text(unicodedata.normalize("NFD", text)) == expected


@heavy
@given(RICH)
def test_normalised_text_is_in_nfc_without_runs_of_whitespace(text):
    normalised = normalise_text(text)
    assert unicodedata.is_normalized("NFC", normalised)
    assert "  " not in normalised
    assert normalised == normalised.strip(" ")
    assert {_layout(character) for character in normalised} <= {0, BLANK}
    assert all(character == " " for character in normalised if _layout(character))


@heavy
@given(RICH)
@example("a\u0323\u0308 b\u0308\u0323")
@example("\u0958\n漢\u0301字\n。")
def test_visible_characters_are_neither_lost_nor_added(text):
    kept = "".join(character for character in text if not _layout(character))
    dense = normalise_text(text).replace(" ", "")
    assert unicodedata.normalize("NFD", dense).replace(" ", "") == "".join(
        unicodedata.normalize("NFD", piece) for piece in _pieces(text)
    ).replace(" ", "")
    assert bool(dense) == bool(kept)


def _pieces(text: str) -> list[str]:
    """Return the visible stretches of a text, between which normalising sees a blank."""
    marked = "".join(
        character if not _layout(character) else "" if _layout(character) == DROPPED else "\n"
        for character in text
    )
    return marked.split("\n")


@heavy
@given(RICH)
@example("x  e\u0301\u0323 \u1112\u1161\u11ab  \u0344y")
def test_every_position_maps_to_its_character_in_the_source(source):
    text, places = _places_in(source)
    heads = [at for at, character in enumerate(text) if at == 0 or not _may_join(character)]
    assert places == sorted(places)
    for head, after in zip(heads, [*heads[1:], None][: len(heads)], strict=True):
        origin = source[places[head]]
        if text[head] == " ":
            assert 0 < _layout(origin) < DROPPED
        elif head or not _may_join(text[head]):
            decomposed = unicodedata.normalize("NFD", origin)
            assert decomposed[0] == unicodedata.normalize("NFD", text[head])[0]
        limit = len(source) if after is None else places[after]
        assert all(places[head] <= place <= limit for place in places[head:after])


@heavy
@given(RICH)
def test_text_between_two_positions_is_the_same_in_the_source(source):
    text, places = _places_in(source)
    bounds = [at for at, character in enumerate(text) if character == " "]
    for begin, end in zip([-1, *bounds], [*bounds, len(text)], strict=True):
        if end > begin + 1:
            stop = places[end] if end < len(text) else len(source)
            assert normalise_text(source[places[begin + 1] : stop]) == text[begin + 1 : end]


@heavy
@given(st.lists(RICH, min_size=1, max_size=6))
def test_paragraphs_of_a_batch_are_normalised_independently(sources):
    raw = [source.encode() for source in sources]
    buffer = np.frombuffer(b"".join(raw), dtype=np.uint8)
    ends = np.cumsum([len(piece) for piece in raw], dtype=np.int64)
    starts = np.concatenate(([0], ends[:-1]))
    texts = normalise_paragraphs(buffer, starts, ends, character_tables())
    joined = texts.buffer.tobytes().decode()
    assert joined == "".join(normalise_text(source) + "\n\n" for source in sources)
    for number, source in enumerate(sources):
        mine = slice(texts.shift_offsets[number], texts.shift_offsets[number + 1])
        text, places = _places_in(source)
        found = shift_positions(
            np.arange(len(text), dtype=np.int64), texts.shift_at[mine], texts.shift_by[mine], 0
        )
        assert texts.buffer[texts.starts[number] : texts.ends[number]].tobytes() == text.encode()
        assert found.tolist() == places


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("two\nlines", "two lines"),
        ("  both\t ends \r\n", "both ends"),
        ("soft\u00adhyphen and\u200bzero\ufeffwidth", "softhyphen andzerowidth"),
        ("no\u00a0break\u3000wide", "no break wide"),
        ("漢字\n漢字", "漢字漢字"),
        ("漢字。\r\n「漢字」", "漢字。「漢字」"),
        ("漢字\nlatin\n漢字", "漢字 latin 漢字"),
        ("漢字 漢字", "漢字 漢字"),
        ("한국\n사람", "한국 사람"),
        ("ภาษา\nไทย", "ภาษาไทย"),
        ("か\u3099\nき", "がき"),
        ("a\0b\x1fc", "a b c"),
        ("\u1112\u1161\u11ab", "한"),
        ("\u2329\n漢", "\u3008漢"),
        ("\U0002f800", "\u4e3d"),
        (" \u200b\u00ad\n", ""),
        ("", ""),
        ("\u0301alone", "\u0301alone"),
    ],
)
def test_texts_that_read_the_same_are_normalised_alike(source, expected):
    assert normalise_text(source) == expected


def test_plain_text_needs_no_shifts():
    buffer = np.frombuffer(b"plain words", dtype=np.uint8)
    bounds = np.array([0, 11], dtype=np.int64)
    texts = normalise_paragraphs(buffer, bounds[:1], bounds[1:], character_tables())
    assert (len(texts.shift_at), texts.shift_offsets.tolist()) == (0, [0, 0])


def test_shifts_are_relative_to_the_start_of_the_paragraph():
    at, by = np.array([3, 6], dtype=np.int32), np.array([1, 5], dtype=np.int32)
    found = shift_positions(np.array([0, 2, 3, 5, 6, 9]), at, by, 100)
    assert found.tolist() == [100, 102, 104, 106, 111, 114]
