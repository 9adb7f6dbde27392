from __future__ import annotations

import unicodedata
from importlib import resources

import numpy as np
import pytest

from palimpsest.ingest.text.normalise import normalise_text
from palimpsest.kernels.unicode import (
    BLANK,
    CHECK_NFC,
    DROPPED,
    IDEOGRAPH,
    LAYOUT_MASK,
    LETTER,
    LINE_BREAK,
    LOWER,
    MARK,
    PARAGRAPH_BREAK,
    TABLE_SIZE,
    WORD_MASK,
    WORD_SHIFT,
    build_tables,
    character_tables,
    property_of,
    read_character,
)


def _property(character: str) -> int:
    return int(property_of(character_tables().properties, ord(character)))


def test_stored_tables_equal_those_built_from_this_python():
    if unicodedata.unidata_version != "14.0.0":
        pytest.skip(f"the tables are of Unicode 14.0.0, not {unicodedata.unidata_version}")
    built = build_tables()
    with (resources.files("palimpsest.kernels") / "unicode_tables.npz").open("rb") as file:
        stored = np.load(file)
        assert set(stored.files) == set(built)
        for name, values in built.items():
            assert stored[name].dtype == values.dtype, name
            assert np.array_equal(stored[name], values), name


@pytest.mark.parametrize(
    ("characters", "layout"),
    [
        (" \t\0\x1f\u00a0\u3000\u2003", BLANK),
        ("\n\r\x0b\x0c\x85\u2028", LINE_BREAK),
        ("\u2029", PARAGRAPH_BREAK),
        ("\u00ad\u200b\ufeff\u2060", DROPPED),
        ("aé漢.\u0301😀\u200d\U00020000\U0010ffff", 0),
    ],
)
def test_layout_classes(characters, layout):
    assert {_property(c) & int(LAYOUT_MASK) for c in characters} == {layout}


@pytest.mark.parametrize(
    ("characters", "word"),
    [("aЖשع9한", LETTER), ("\u0301\u05b4\u3099", MARK), ("漢かก々\U00020000\U0002f800", IDEOGRAPH)],
)
def test_word_classes(characters, word):
    assert {_property(c) >> int(WORD_SHIFT) & int(WORD_MASK) for c in characters} == {word}


def test_small_letters_are_flagged():
    assert all(_property(c) & int(LOWER) for c in "aéжß")
    assert not any(_property(c) & int(LOWER) for c in "AÉЖ漢1.")


def test_whatever_nfc_may_change_is_flagged():
    for point in [*range(TABLE_SIZE), *range(0x2F7F0, 0x2FA30), 0x30000, 0x323AF, 0x10FFFF]:
        if not 0xD800 <= point < 0xE000 and not unicodedata.is_normalized("NFC", chr(point)):
            assert _property(chr(point)) & int(CHECK_NFC), hex(point)


def test_code_points_beyond_the_table_have_the_properties_of_their_planes():
    for character in ("\U00020000", "\U0002a6df", "\U0002f800", "\U00030000"):
        assert _property(character) >> 3 & 7 == IDEOGRAPH
    assert _property("\U000e0101") == 0


def test_characters_are_read_back_with_their_length():
    for character in "a\x7f\x80é߿ࠀ漢\uffff😀\U0010ffff":
        raw = np.frombuffer(b"xy" + character.encode(), dtype=np.uint8)
        assert read_character(raw, 2) == (ord(character), len(character.encode()))


@pytest.mark.parametrize(
    ("characters", "folded"),
    [
        ("Aa\uff21", "a"),
        ("ſ", "s"),
        ("Σς", "σ"),
        ("É", "é"),
        ("’‘ʼ", "'"),
        ("漢", "漢"),
        ("Ж", "ж"),
    ],
)
def test_letters_that_differ_in_form_only_fold_alike(characters, folded):
    folds = character_tables().folds
    assert {chr(folds[ord(c)]) for c in characters} == {folded}


@pytest.mark.parametrize(("character", "folded"), [("ß", "ss"), ("ﬃ", "ffi"), ("ﬁ", "fi")])
def test_letters_that_fold_to_several_are_in_the_expansions(character, folded):
    tables = character_tables()
    entry = int(tables.folds[ord(character)])
    assert entry & 0x8000_0000
    at = entry & 0x7FFF_FFFF
    length = int(tables.expansions[at])
    assert "".join(map(chr, tables.expansions[at + 1 : at + 1 + length])) == folded


def test_the_tables_are_loaded_once():
    assert character_tables() is character_tables()


def test_normalising_flags_and_python_agree_on_single_characters():
    for point in range(0xC0, 0x3000):
        character = chr(point)
        if not _property(character) & int(LAYOUT_MASK):
            assert normalise_text(character) == unicodedata.normalize("NFC", character)
