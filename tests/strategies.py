"""Hypothesis strategies: texts of many scripts, documents, planted overlaps."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from hypothesis import settings
from hypothesis import strategies as st

from palimpsest.dedup.words import Words, find_words
from palimpsest.records.settings import SignSettings


def max_examples(count: int) -> settings:
    """Return settings for ``count`` examples in a usual run; a profile for long runs scales it."""
    return settings(max_examples=max(1, count * settings.default.max_examples // 100))


_PIECES = (
    *"abzAZéßſﬁİıΣσςΩώΆάЖжЁёҚқәӘ",
    *"שָלוֹםבְّعَرَ",
    *"नमस्तेक्ष",
    *"漢字かなカナｶﾅー々〇泰ไทยสำที่ລາວខ្មែរ",
    *"ＡＢｃｄ한국어",
    *"ởẾửệẹ་ཡིག",
    "漢字",
    "東京都",
    "ไทย",
    *"0123456789５٣०๓",
    *" .,;:!?-–—/()«»„“\n",
    *"'’",
    "\u200d",
    "\u200c",
    "\u0301",
    "\u00ad",
    "😀",
    "𝐀",
    "𠀀",
    " the ",
    " und ",
    "don't",
    "l’État",
    " https://a.b/c?d ",
    "://",
    "STRASSE",
    "Straße",
)

mixed_texts = st.lists(st.sampled_from(_PIECES), max_size=40).map("".join)
"""Texts that mix scripts, marks, joiners and signs as no author would."""

_NOUNS = ("river", "bridge", "market", "harbour", "season")
_ANY_WORDS = (*_NOUNS, "the", "of", "1914", "橋")

repetitive_texts = st.lists(st.sampled_from(_NOUNS), max_size=16).map(" ".join)
"""Texts of few distinct content words, so that equal words are frequent."""
varied_texts = st.lists(st.sampled_from(_ANY_WORDS), max_size=24).map(" ".join)
"""The same with function words, numbers and characters of a script without blanks."""

shingle_sets = st.lists(st.integers(0, 2**32 - 1), max_size=40)
"""Hashed shingles of one set, repeats included."""


class Packed(NamedTuple):
    """Texts in one UTF-8 buffer, with the start and end of each."""

    buffer: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]


def pack_texts(texts: list[str]) -> Packed:
    """Return texts concatenated in one buffer."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return Packed(np.frombuffer(b"".join(encoded), dtype=np.uint8), ends[:-1], ends[1:])


def words_of(texts: list[str]) -> Words:
    """Return the words of texts."""
    return find_words(*pack_texts(texts))


def invent_words(chance: random.Random, count: int) -> list[str]:
    """Return distinct content words that are in no list."""
    return [f"w{number:x}q" for number in chance.sample(range(16**6), count)]


def edit_words(chance: random.Random, words: list[str], edits: int) -> list[str]:
    """Return words with ``edits`` of them replaced, dropped or preceded by a new one."""
    edited: list[str] = []
    touched = dict.fromkeys(chance.sample(range(len(words)), edits))
    new = iter(invent_words(chance, edits))
    for place, word in enumerate(words):
        kind = chance.choice(("replace", "drop", "insert")) if place in touched else "keep"
        if kind in ("replace", "insert"):
            edited.append(next(new))
        if kind in ("keep", "insert"):
            edited.append(word)
    return edited


class Planted(NamedTuple):
    """Two texts that share an edited passage, and its spans in words, half-open."""

    left: str
    right: str
    left_span: tuple[int, int]
    right_span: tuple[int, int]


def plant_passage(chance: random.Random, length: int, edits: int, around: int = 60) -> Planted:
    """Return two otherwise different texts, of which the right one has an edited copy."""
    passage = invent_words(chance, length)
    copy = edit_words(chance, passage, edits)
    sides, spans = [], []
    for side in (passage, copy):
        before, behind = chance.randrange(around), chance.randrange(around)
        other = invent_words(chance, before + behind)
        sides.append(" ".join([*other[:before], *side, *other[before:]]))
        spans.append((before, before + len(side)))
    return Planted(*sides, *spans)


def replace_words(chance: random.Random, words: list[str], count: int) -> list[str]:
    """Return words with exactly ``count`` of them replaced by new ones."""
    places = chance.sample(range(len(words)), count)
    new = dict(zip(places, invent_words(chance, count), strict=True))
    return [new.get(place, word) for place, word in enumerate(words)]


@st.composite
def crowd_limits(draw: st.DrawFn) -> SignSettings:
    """Draw limits so low that there are crowds."""
    crowd_texts = draw(st.integers(1, 6))
    return SignSettings(
        crowd_texts=crowd_texts,
        crowd_heads=draw(st.integers(1, min(2, crowd_texts))),
        min_shared_shingles=draw(st.integers(1, 3)),
        min_shared_share=draw(st.sampled_from([0.1, 0.5, 0.6, 1.0])),
    )
