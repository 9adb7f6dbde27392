"""Words as the index of words takes them: SQLite parts them at blanks and marks."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

# Thai, Lao, Burmese, Khmer; then all scripts of China and Japan.
WITHOUT_BLANKS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u31ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Characters of scripts without blanks, each of which is a word, as a pattern has them."""
_WITHOUT_BLANKS = re.compile(f"[{WITHOUT_BLANKS}]")
# Signs over and under letters that most writers leave out, which SQLite takes as letters: points of
# Hebrew, and vowel signs and the stretched line of Arabic. Those of Latin it leaves out by itself.
_LEFT_OUT = dict.fromkeys(
    [
        *range(0x0591, 0x05BE),
        *(0x05BF, 0x05C1, 0x05C2, 0x05C4, 0x05C5, 0x05C7),
        *range(0x0610, 0x061B),
        *(0x0640, *range(0x064B, 0x0660), 0x0670, *range(0x06D6, 0x06DD)),
    ]
)
_FOLDED = {**_LEFT_OUT, ord("ё"): "е", ord("Ё"): "Е"}
TOKENIZER = "unicode61 remove_diacritics 2 categories 'L* M* N* Co'"
_UNQUOTABLE = re.compile('["\x00]')
_LETTERS_ONLY = re.compile(r"[^\W_]+")
_TERM = re.compile(r'"([^"]+)"|(\S+)')
MAX_TERMS = 12


def part_characters(text: str) -> str:
    """Return a text in which each character of a script without blanks is a word.

    Example:
        >>> part_characters("a 茶亭 b")
        'a  茶  亭  b'
    """
    return text if text.isascii() else _WITHOUT_BLANKS.sub(r" \g<0> ", text)


def as_indexed(text: str) -> str:
    """Return a text as its words are indexed and looked for.

    Example:
        >>> as_indexed("Ёлка у 茶亭")
        'Елка у  茶  亭 '
    """
    if text.isascii():
        return text
    return part_characters(unicodedata.normalize("NFC", text).translate(_FOLDED))


def search_terms(asked: str) -> list[str]:
    """Return what somebody looks for: words, and phrases in quotation marks.

    Example:
        >>> search_terms('storm "lantern bridge"')
        ['storm', 'lantern bridge']
    """
    found = [phrase or word for phrase, word in _TERM.findall(asked)]
    return [one for one in found if any(letter.isalnum() for letter in one)][:MAX_TERMS]


def match_expression(terms: list[str]) -> str:
    """Return terms, all of which are wanted, as SQLite's full-text search takes them.

    Example:
        >>> match_expression(["storm", "lantern bridge"])
        '"storm" AND "lantern bridge"'
    """
    parted = (" ".join(_UNQUOTABLE.sub(" ", as_indexed(term)).split()) for term in terms)
    return " AND ".join(f'"{term}"' for term in parted if term)


def find_term(text: str, term: str) -> tuple[int, int] | None:
    """Return where a term stands first in a text, as its words are indexed, or None.

    Example:
        >>> find_term("No start, but the Café-Art of 茶亭", "cafe art")
        (18, 26)
        >>> find_term("No start, but the Café-Art of 茶亭", "亭")
        (31, 32)
    """
    words = _LETTERS_ONLY.findall(_same_length(part_characters(unicodedata.normalize("NFC", term))))
    if not words:
        return None
    pattern = re.escape(words[0])
    for before, word in pairwise(words):
        is_parted = not (_WITHOUT_BLANKS.match(before) or _WITHOUT_BLANKS.match(word))
        pattern += (r"[\W_]+" if is_parted else r"[\W_]*") + re.escape(word)
    begin = "" if _WITHOUT_BLANKS.match(words[0]) else r"(?<![^\W_])"
    end = "" if _WITHOUT_BLANKS.match(words[-1]) else r"(?![^\W_])"
    found = re.search(begin + pattern + end, _same_length(text))
    if not found:
        return None
    start, stop = found.span()
    while stop < len(text) and unicodedata.category(text[stop])[0] == "M":
        stop += 1
    return start, stop


class _Folded(dict[int, str]):
    """What a character is compared as: one character, so that places stay what they are."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        folded = letter.casefold() if len(letter.casefold()) == 1 else letter
        base = unicodedata.normalize("NFD", folded)[0]
        self[code] = found = "е" if folded == "ё" else base if base.isascii() else folded
        return found


_LETTERS = _Folded()


def _same_length(text: str) -> str:
    return text.lower() if text.isascii() else text.translate(_LETTERS)
