"""Words as the index of words takes them: SQLite parts them at blanks and marks."""

from __future__ import annotations

import re

# Thai, Lao, Burmese, Khmer; then all scripts of China and Japan.
_WITHOUT_BLANKS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u31ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
TOKENIZER = "unicode61 remove_diacritics 2 categories 'L* M* N* Co'"
_TERM = re.compile(r'"([^"]+)"|(\S+)')
MAX_TERMS = 12


def part_characters(text: str) -> str:
    """Return a text in which each character of a script without blanks is a word.

    Example:
        >>> part_characters("a 茶亭 b")
        'a  茶  亭  b'
    """
    return text if text.isascii() else _WITHOUT_BLANKS.sub(r" \g<0> ", text)


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
    parted = (" ".join(part_characters(term).replace('"', " ").split()) for term in terms)
    return " AND ".join(f'"{term}"' for term in parted if term)
