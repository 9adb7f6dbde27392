"""Character tables for the kernels: line breaks, the characters of words, and case folding.

The tables are stored in a file, because another version of Unicode may classify characters
differently, and signatures must not depend on the version of Python. ``python -m
palimpsest.kernels.unicode`` writes the file. A commit that changes it also raises
``UNICODE_TABLE_VERSION``. Sources: Unicode Character Database
(general category, White_Space, canonical combining class, NFC quick check), Unicode Standard
section 5.18 (case folding), UAX #15 (normalisation forms).
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from palimpsest.kernels.arrays import Bytes, CodePoints
from palimpsest.kernels.compiled import inlined

UNICODE_TABLE_VERSION = 1

TABLE_SIZE = 0x20000
"""Code points from here on are ideographs (planes 2 and 3) or without any property used here."""

# Layout classes, bits 0-2.
LAYOUT_MASK = np.uint8(0b111)
BLANK, LINE_BREAK, PARAGRAPH_BREAK, DROPPED = 1, 2, 3, 4
# Word classes, bits 3-5.
WORD_SHIFT = np.uint8(3)
WORD_MASK = np.uint8(0b111)
LETTER, MARK, IDEOGRAPH, APOSTROPHE, JOINER = 1, 2, 3, 4, 5
# Flags.
CHECK_NFC = np.uint8(0b0100_0000)
LOWER = np.uint8(0b1000_0000)

_BREAKS = {0x0A, 0x0B, 0x0C, 0x0D, 0x85, 0x2028}
_DROPPED = {0xAD, 0x180E, 0x200B, 0x2060, 0xFEFF}
_APOSTROPHES = {0x27, 0x2BC, 0x2018, 0x2019, 0x201B, 0x2032, 0xFF07}
_BY_CHARACTER = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),
    (0x3021, 0x30FF),  # Hiragana, Katakana
    (0x3105, 0x312F),  # Bopomofo
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xA000, 0xA4CF),  # Yi
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # half-width Katakana
    (0x1B000, 0x1B16F),  # historic kana
)
_EXPANDS = 0x8000_0000


class CharacterTables(NamedTuple):
    """Properties and folds of characters, by code point.

    Attributes:
        properties: uint8, shape (TABLE_SIZE,): layout class, word class and flags.
        folds: uint32, shape (TABLE_SIZE,): the folded code point, or, with the top bit set, an
            index into ``expansions``.
        expansions: uint32, shape (n,): for characters that fold to several, the number of code
            points and then these.
    """

    properties: Bytes
    folds: CodePoints
    expansions: CodePoints


@cache
def character_tables() -> CharacterTables:
    """Return the tables, which are loaded once."""
    with (resources.files("palimpsest.kernels") / "unicode_tables.npz").open("rb") as file:
        stored = np.load(file)
        folds = np.arange(TABLE_SIZE, dtype=np.uint32)
        folds[stored["folded"]] = stored["folds"]
        return CharacterTables(stored["properties"], folds, stored["expansions"])


@inlined
def read_character(buffer: Bytes, at: int) -> tuple[int, int]:
    """Return the code point that begins at byte ``at`` of valid UTF-8, and its length in bytes."""
    first: Any = np.int64(buffer[at])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | np.int64(buffer[at + 1]) & 0x3F, 2
    second = (np.int64(buffer[at + 1]) & 0x3F) << 6 | np.int64(buffer[at + 2]) & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | second, 3
    return (first & 0x07) << 18 | second << 6 | np.int64(buffer[at + 3]) & 0x3F, 4


@inlined
def property_of(properties: Bytes, code_point: int) -> np.uint8:
    """Return the properties of a code point, which may be beyond the table."""
    if code_point < TABLE_SIZE:
        found: np.uint8 = properties[code_point]
        return found
    if 0x2F800 <= code_point < 0x2FA20:  # compatibility ideographs, which NFC replaces
        return np.uint8(IDEOGRAPH << 3) | CHECK_NFC
    if code_point < 0x323B0:
        return np.uint8(IDEOGRAPH << 3)
    return np.uint8(0)


@inlined
def is_terminal(code_point: int) -> bool:
    """Return whether a character ends sentences: . ! ? and their like in other scripts."""
    if code_point < 0x80:
        return code_point in (0x2E, 0x21, 0x3F)
    return code_point in (0x2026, 0x0589, 0x061F, 0x06D4, 0x0964, 0x0965) or is_wide_terminal(
        code_point
    )


@inlined
def is_wide_terminal(code_point: int) -> bool:
    """Return whether a character ends sentences without whitespace after it: 。 ！ ？ ｡."""
    return code_point in (0x3002, 0xFF01, 0xFF1F, 0xFF61)


@inlined
def is_closer(code_point: int) -> bool:
    """Return whether a character may come between the end of a sentence and the whitespace."""
    if code_point < 0x80:
        return code_point in (0x22, 0x27, 0x29, 0x5D)
    return code_point in (0xBB, 0x2019, 0x201C, 0x201D, 0x300D, 0x300F, 0xFF09) or (
        0x3009 <= code_point <= 0x3011 and code_point % 2 == 1
    )


def build_tables() -> dict[str, Bytes | CodePoints]:
    """Build the stored tables from the Unicode data of the running Python."""
    properties = np.zeros(TABLE_SIZE, dtype=np.uint8)
    folded: list[int] = []
    folds: list[int] = []
    expansions: list[int] = []
    for code_point in range(TABLE_SIZE):
        character = chr(code_point)
        properties[code_point] = _property(code_point, character)
        target = _fold(character)
        if target == character:
            continue
        folded.append(code_point)
        if len(target) == 1:
            folds.append(ord(target))
        else:
            folds.append(_EXPANDS | len(expansions))
            expansions.extend([len(target), *map(ord, target)])
    return {
        "properties": properties,
        "folded": np.array(folded, dtype=np.uint32),
        "folds": np.array(folds, dtype=np.uint32),
        "expansions": np.array(expansions, dtype=np.uint32),
    }


def _property(code_point: int, character: str) -> int:
    value = _layout_class(code_point, character) | _word_class(code_point, character) << 3
    if 0xD800 <= code_point < 0xE000:
        return value
    composes = unicodedata.category(character)[0] == "M" or 0x1160 <= code_point < 0x1200
    if composes or not unicodedata.is_normalized("NFC", character):
        value |= int(CHECK_NFC)
    if character.islower():
        value |= int(LOWER)
    return value


def _layout_class(code_point: int, character: str) -> int:
    if code_point in _BREAKS:
        return LINE_BREAK
    if code_point == 0x2029:
        return PARAGRAPH_BREAK
    if code_point in _DROPPED:
        return DROPPED
    category = unicodedata.category(character)
    if category in ("Zs", "Cc"):  # control characters separate words, as whitespace does
        return BLANK
    return 0


def _word_class(code_point: int, character: str) -> int:
    if code_point in _APOSTROPHES:
        return APOSTROPHE
    category = unicodedata.category(character)
    if category[0] == "M":
        return MARK
    if category == "Cf":
        return JOINER
    if category[0] in "LN":
        by_character = any(first <= code_point <= last for first, last in _BY_CHARACTER)
        return IDEOGRAPH if by_character and category != "Nd" else LETTER
    return 0


def _fold(character: str) -> str:
    """Return a character after compatibility and full case folding, 1 to 3 characters long."""
    if ord(character) in _APOSTROPHES:
        return "'"
    if 0xD800 <= ord(character) < 0xE000 or 0xAC00 <= ord(character) < 0xD7A4:
        return character
    target = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", character).casefold())
    plain = "".join(letter for letter in target if unicodedata.category(letter)[0] in "LNM")
    if not plain or len(plain) > 3:
        return character
    return plain


def _write(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **build_tables())


if __name__ == "__main__":
    _write(Path(__file__).with_name("unicode_tables.npz"))
    sys.stdout.write(f"Unicode {unicodedata.unidata_version}, {TABLE_SIZE} code points\n")
