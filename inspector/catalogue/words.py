"""Words as the full-text index sees them: SQLite splits text at whitespace and punctuation."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

# Thai, Lao, Burmese, Khmer; then all scripts of China and Japan.
UNSPACED_SCRIPTS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u31ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Characters of scripts without spaces, as in a regular expression; each counts as a word."""
_UNSPACED = re.compile(f"[{UNSPACED_SCRIPTS}]")
# Marks that most writers omit but SQLite treats as letters: Hebrew points, Arabic vowel signs and
# the tatweel. SQLite removes Latin diacritics itself.
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


def separate_characters(text: str) -> str:
    """Return a text with spaces around each character of a script without spaces.

    Example:
        >>> separate_characters("a 茶亭 b")
        'a  茶  亭  b'
    """
    return text if text.isascii() else _UNSPACED.sub(r" \g<0> ", text)


def as_indexed(text: str) -> str:
    """Return a text in the form in which its words are indexed and searched.

    Example:
        >>> as_indexed("Ёлка у 茶亭")
        'Елка у  茶  亭 '
    """
    if text.isascii():
        return text
    return separate_characters(unicodedata.normalize("NFC", text).translate(_FOLDED))


def search_terms(query: str) -> list[str]:
    """Return the terms of a search: words, and phrases in quotation marks.

    Example:
        >>> search_terms('storm "lantern bridge"')
        ['storm', 'lantern bridge']
    """
    terms = [phrase or word for phrase, word in _TERM.findall(query)]
    return [term for term in terms if any(map(str.isalnum, term))][:MAX_TERMS]


def match_expression(terms: list[str]) -> str:
    """Return an expression of SQLite's full-text search that requires all terms.

    Example:
        >>> match_expression(["storm", "lantern bridge"])
        '"storm" AND "lantern bridge"'
    """
    indexed = (" ".join(_UNQUOTABLE.sub(" ", as_indexed(term)).split()) for term in terms)
    return " AND ".join(f'"{term}"' for term in indexed if term)


def find_term(text: str, term: str) -> tuple[int, int] | None:
    """Return the span of the first match of a term in a text, by its indexed form, or None.

    Example:
        >>> find_term("No start, but the Café-Art of 茶亭", "cafe art")
        (18, 26)
        >>> find_term("No start, but the Café-Art of 茶亭", "亭")
        (31, 32)
    """
    separated = separate_characters(unicodedata.normalize("NFC", term))
    words = _LETTERS_ONLY.findall(_fold_each(separated))
    if not words:
        return None
    pattern = re.escape(words[0])
    for before, word in pairwise(words):
        is_spaced = not (_UNSPACED.match(before) or _UNSPACED.match(word))
        pattern += (r"[\W_]+" if is_spaced else r"[\W_]*") + re.escape(word)
    begin = "" if _UNSPACED.match(words[0]) else r"(?<![^\W_])"
    end = "" if _UNSPACED.match(words[-1]) else r"(?![^\W_])"
    match = re.search(begin + pattern + end, _fold_each(text))
    if not match:
        return None
    start, stop = match.span()
    while stop < len(text) and unicodedata.category(text[stop])[0] == "M":
        stop += 1
    return start, stop


class _FoldedCharacters(dict[int, str]):
    """Maps each character to the single character it is compared as; positions stay the same."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        folded = letter.casefold() if len(letter.casefold()) == 1 else letter
        base = unicodedata.normalize("NFD", folded)[0]
        self[code] = result = "е" if folded == "ё" else base if base.isascii() else folded
        return result


_FOLDED_CHARACTERS = _FoldedCharacters()


def _fold_each(text: str) -> str:
    """Return a text folded character by character, so that its length stays the same."""
    return text.lower() if text.isascii() else text.translate(_FOLDED_CHARACTERS)
