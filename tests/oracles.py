"""Slow, obvious versions of what the kernels do, written from what they promise."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import dropwhile, pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasketch import MinHash
from icu4py.breakers import WordBreaker

from palimpsest.dedup.signatures import BAND_HASH_BITS
from palimpsest.kernels.unicode import character_tables, is_closer, is_terminal
from palimpsest.records.settings import SignSettings

_WITHOUT_BLANKS = (
    "CJK",
    "IDEOGRAPHIC",
    "HIRAGANA",
    "KATAKANA",
    "HALFWIDTH KATAKANA",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
    "YI",
)
_APOSTROPHES = "'’ʼ"
_ADDRESS = re.compile("[!-~]*")
_WORD = re.compile(r"I[IMJ]*|L(?:[LMJ]|(?<=[LM])A(?=L))*")
_SYLLABIC_MARKS = (
    {"\u031b"},
    {"\u0302", "\u0306"},
    {"\u0300", "\u0301", "\u0303", "\u0309", "\u0323"},
)
_MASK = 0xFFFFFFFF


class Word(NamedTuple):
    """A word: where it stands, in bytes; its folded form, by which it is compared; its kind."""

    start: int
    end: int
    folded: str
    kind: str


def find_words(text: str) -> list[Word]:
    """Return the words of a text."""
    shape = "".join(map(_shape_of, text))
    words: list[Word] = []
    behind = 0
    breaks = _breaks_of(text, shape)
    while found := _WORD.search(shape, behind):
        start, behind = found.span()
        behind = next((at for at in breaks if start < at < behind), behind)
        end = start + len(shape[start:behind].rstrip("J"))
        folded = "".join(fold_character(c) for c in text[start:end] if _shape_of(c) != "J")
        kind = _kind_of(shape[start:end], text[start], folded)
        if shape[start] == "L" and text.startswith("://", behind):
            end = behind + len(_ADDRESS.match(text[behind:]).group())
            folded += text[behind:end].encode().decode("latin-1")
            behind, kind = end, _kind_of(shape[start:end], text[start], folded)
        words.append(Word(_bytes(text[:start]), _bytes(text[:end]), folded, kind))
    encoded = text.encode()
    spellings = [encoded[word.start : word.end].decode() for word in words]
    syllabic = sum(any(_is_syllabic(c) for c in one) for one in spellings)
    if not syllabic or syllabic < 0.15 * len(words):
        return words
    return [
        word._replace(kind="character") if word.kind == "content" and len(one) <= 7 else word
        for word, one in zip(words, spellings, strict=True)
    ]


def content_of(words: list[Word]) -> list[object]:
    """Return what each word counts as where the order does not matter; None for nothing."""
    content: list[object] = [word.folded if word.kind != "function" else None for word in words]
    for at, word in enumerate(words):
        if word.kind == "character":
            before = words[at - 1] if at else None
            is_near = before and before.kind == "character" and word.start - before.end <= 3
            content[at] = (before.folded, word.folded) if is_near else None
    return content


def _breaks_of(text: str, shape: str) -> list[int]:
    """Return where ICU begins words within runs of characters that are written without spaces."""
    breaks = []
    for run in re.finditer(r"I[IMJ]*", shape):
        ends = [run.start()]
        for word in WordBreaker(text[slice(*run.span())], "en"):
            ends.append(ends[-1] + len(word))
        letters = [at for at in range(*run.span()) if shape[at] == "I"]
        breaks += [
            b
            for a, b in pairwise(letters)
            if _is_yi(text[b]) or any(a < end <= b for end in ends[1:])
        ]
    return breaks


def _is_yi(character: str) -> bool:
    return unicodedata.name(character).startswith("YI ")


def _is_syllabic(character: str) -> bool:
    """Return whether only Vietnamese has the letter, or Tibetan."""
    first, *marks = unicodedata.normalize("NFD", character)
    horn, hat, tone = (not one.isdisjoint(marks) for one in _SYLLABIC_MARKS)
    is_vietnamese = first in "AEIOUaeiou" and (horn or (hat and tone))
    return is_vietnamese or "\u0f40" <= character <= "\u0fbc"


def cut_block(text: str, limit: int) -> list[str]:
    """Return the pieces of a block that is longer than the limit, by one look at each character."""
    pieces, rest = [], text
    while rest:
        stop = _piece_end(rest, limit)
        pieces.append(rest[:stop])
        behind = rest[stop:]
        rest = behind[len(behind) - len(_without_blanks(behind)) :]
    return pieces


def _piece_end(text: str, limit: int) -> int:
    if len(text) <= limit:
        return len(text)
    least, hashed, best = max(1, limit // 5), 0, None
    word, last_stop, closing = 0, "", None  # the hash of the letters before what closes a sentence
    visible, blank = 0, 0
    for at, character in enumerate(text[:limit]):
        value = int(character_tables().properties[ord(character)])
        layout, kind = value & 7, value >> 3 & 7
        if layout not in (0, 4):
            behind = _without_blanks(text[at:])
            is_end = closing is not None and at >= least
            if is_end and not behind[:1].islower() and (best is None or closing < best[0]):
                best = closing, visible
            word, last_stop, closing, blank = at + 1, "", None, visible
        elif layout == 0:
            if character in "。！？｡":
                if at >= least and (best is None or hashed < best[0]):
                    best = hashed, at + 1
            elif best is not None and best[1] == at and is_closer(ord(character)):
                best = best[0], at + 1
            elif is_terminal(ord(character)):
                first = int(character_tables().properties[ord(text[word])])
                is_upper = first >> 3 & 7 and not first & (128 | 7)
                is_name = is_upper and _bytes(text[word:at]) <= 3
                is_dot = character == "."
                closing = None if is_dot and (is_name or last_stop == ".") else hashed
                last_stop = character
            elif closing is None or not is_closer(ord(character)):
                closing = None
            if kind:
                hashed = ((hashed << 5 ^ ord(character)) * 0x9E3779B97F4A7C15) % 2**64
            visible = at + 1
    return best[1] if best else blank or _unmarked(text, limit)


def _without_blanks(text: str) -> str:
    properties = character_tables().properties
    return "".join(dropwhile(lambda one: properties[ord(one)] & 7, text))


def _unmarked(text: str, at: int) -> int:
    for stop in range(at, 0, -1):
        value = int(character_tables().properties[ord(text[stop])])
        if _bytes(text[:stop]) <= 4:
            break
        if value >> 3 & 7 not in (2, 5) and value & 7 == 0:
            return stop
    return at


def fold_character(character: str) -> str:
    """Return a character after compatibility forms and full case folding, without its signs."""
    if character in _APOSTROPHES:
        return "'"
    compatible = unicodedata.normalize("NFKC", character)
    folded = unicodedata.normalize("NFKC", compatible.casefold())
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LNM") or character


@cache
def function_words() -> frozenset[str]:
    """Return the listed function words."""
    path = Path(__file__).parents[1] / "dedup" / "function_words.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    return frozenset(w for line in lines if not line.startswith(("#", "[")) for w in line.split())


def _shape_of(character: str) -> str:
    if character in _APOSTROPHES:
        return "A"
    category = unicodedata.category(character)
    if category[0] == "M":
        return "M"
    if category == "Cf":
        return "J"
    if category[0] not in "LN":
        return " "
    is_single = unicodedata.name(character, "").startswith(_WITHOUT_BLANKS)
    return "I" if is_single and category != "Nd" else "L"


def _kind_of(shape: str, first: str, folded: str) -> str:
    if first.isdecimal():
        return "number"
    if folded in function_words():
        return "function"
    return "character" if shape.count("I") == 1 else "content"


def _bytes(text: str) -> int:
    return len(text.encode())


def sign_set(shingles: Iterable[int], count: int, seed: int) -> np.ndarray:
    """Return datasketch's signature of a set of hashed shingles."""
    signature = MinHash(num_perm=count, seed=seed, hashfunc=int, scheme="affine32")
    for value in shingles:
        signature.update(int(value))
    return np.asarray(signature.hashvalues)


def cut_windows(shingles: int, window: int, stride: int, least: int = 5) -> list[tuple[int, int]]:
    """Return the spans of windows: one at each stride until one reaches the end."""
    if shingles < least:
        return []
    spans = [(0, min(window, shingles))]
    while spans[-1][1] < shingles:
        start = spans[-1][0] + stride
        spans.append((start, min(start + window, shingles)))
    return spans


def hash_band(components: Iterable[int], bits: int = 26) -> int:
    """Return the hash of a band: FNV-1a over words, each step mixed by MurmurHash3's finaliser.

    Only the upper ``bits`` of 32 are returned.
    """
    value = 0x811C9DC5
    for component in components:
        value = _finalise((value ^ int(component)) * 0x01000193 & _MASK)
    return value >> (32 - bits)


def _finalise(value: int) -> int:
    value = (value ^ value >> 16) * 0x85EBCA6B & _MASK
    value = (value ^ value >> 13) * 0xC2B2AE35 & _MASK
    return value ^ value >> 16


def resemblance(left: Iterable[object], right: Iterable[object]) -> float:
    """Return the exact resemblance of two sets."""
    first, second = set(left), set(right)
    return len(first & second) / len(first | second)


def head_limit(texts: int, crowd_texts: int, crowd_heads: int) -> int:
    """Return the limit below which the upper half of a head's digest is in a crowd of ``texts``."""
    step = crowd_texts
    while 4 * step < texts:
        step *= 4
    return (2**64 - 1) // step * crowd_heads


def heads_of(bucket: Collection[int], uppers: Sequence[int], sign: SignSettings) -> set[int]:
    """Return the texts of a bucket that are paired with all that follow.

    Args:
        bucket: numbers of texts, which sort as their digests do.
        uppers: the upper half of the digest of each text.
        sign: limits of crowds.
    """
    if len(bucket) <= sign.crowd_texts:
        return set(bucket)
    if not sign.crowd_heads:
        return set()
    limit = head_limit(len(bucket), sign.crowd_texts, sign.crowd_heads)
    return {min(bucket)} | {text for text in bucket if uppers[text] < limit}


def shares_enough(left: Sequence[int], right: Sequence[int], sign: SignSettings) -> bool:
    """Return whether the right window has enough shingles of the left one."""
    shared = sum(value in right for value in left)
    least = sign.min_shared_share * min(len(left), len(right))
    return shared >= max(sign.min_shared_shingles, least)


def find_fingerprints(shingles: Sequence[int], sign: SignSettings) -> list[tuple[int, int]]:
    """Return the fingerprints of a text, each with the number of its window."""
    size, span = sign.fingerprint_shingles, sign.fingerprint_window
    hashes = [_hash_run(shingles[at : at + size]) for at in range(len(shingles) - size + 1)]
    samples = [hashes[at : at + span] for at in range(max(1, len(hashes) - span + 1))]
    kept = sorted(
        {
            at + max(k for k, one in enumerate(some) if one == min(some))
            for at, some in enumerate(samples)
            if some
        }
    )
    last = max(0, -(-len(shingles) // sign.stride_words) - sign.window_words // sign.stride_words)
    margin = (sign.window_words - sign.stride_words) // 2
    middles = [(at + size // 2 - margin) // sign.stride_words for at in kept]
    return [(hashes[at], min(max(0, one), last)) for at, one in zip(kept, middles, strict=True)]


def _hash_run(shingles: Sequence[int]) -> int:
    value = 0x243F6A8885A308D3
    for one in shingles:
        value = ((value ^ one) * 0x9E3779B97F4A7C15) % 2**64
        value ^= value >> 32
    return value % 2**BAND_HASH_BITS


def give_pairs(
    hashes: Sequence[int],
    owners: Sequence[int],
    contents: Sequence[Sequence[int]],
    uppers: Sequence[int],
    among: Collection[int],
    sign: SignSettings,
) -> set[tuple[int, int, int]]:
    """Return the pairs that the buckets of a band give: hash, left and right text.

    Args:
        hashes, owners, contents: of each window its hash, its text and its shingles.
        uppers: the upper half of the digest of each text.
        among: the texts in the archive.
        sign: limits of crowds, and how much two windows must share.
    """
    given = set()
    for value in set(hashes):
        windows = [w for w, h in enumerate(hashes) if h == value and owners[w] in among]
        heads = heads_of({owners[w] for w in windows}, uppers, sign)
        for i, j in product(windows, windows):
            is_given = owners[i] < owners[j] and owners[i] in heads
            if is_given and shares_enough(contents[i], contents[j], sign):
                given.add((value, owners[i], owners[j]))
    return given


def fill_table(left: Sequence[str], right: Sequence[str], scores: Sequence[int], gap: int) -> int:
    """Return the best score of a local alignment by filling Smith and Waterman's table.

    Args:
        left, right: content words.
        scores: what each left word earns where it matches.
        gap: what a mismatch and what a gap of one word costs.
    """
    above = [0] * (len(right) + 1)
    best = 0
    for i, word in enumerate(left):
        row = [0]
        for j, other in enumerate(right):
            diagonal = above[j] + (scores[i] if word == other else -gap)
            row.append(max(0, diagonal, above[j + 1] - gap, row[j] - gap))
        best = max(best, *row)
        above = row
    return best


def best_chain(
    left: Sequence[str], right: Sequence[str], scores: Sequence[int], gap: int, max_gap: int
) -> int:
    """Return the best score of a chain of matches, trying every match after every other one."""
    reached: dict[tuple[int, int], int] = {}
    for i, word in enumerate(left):
        for j, other in enumerate(right):
            if word != other:
                continue
            before = 0
            for (p, q), score in reached.items():
                passed = max(i - p, j - q) - 1
                if p < i and q < j and passed <= max_gap:
                    before = max(before, score - gap * passed)
            reached[i, j] = before + scores[i]
    return max(reached.values(), default=0)


def choose_representatives(rank: Sequence[int], links: Iterable[tuple[int, int]]) -> list[int]:
    """Return the member that each member is folded into, or itself."""
    linked: list[set[int]] = [set() for _ in rank]
    for a, b in links:
        linked[a].add(b)
        linked[b].add(a)
    earlier = [[m for m in linked[k] if rank[m] < rank[k]] for k in range(len(rank))]
    return [
        min((m for m in earlier[k] if not earlier[m]), key=lambda m: rank[m], default=k)
        for k in range(len(rank))
    ]


class Occurrence(NamedTuple):
    """An occurrence of a text; ``published`` is None without a date."""

    text: int
    published: int | None
    rank: int


def first_occurrence(occurrences: Iterable[Occurrence]) -> Occurrence:
    """Return the earliest of one text: dated ones first, by date; then by rank."""
    return min(occurrences, key=lambda o: (o.published is None, o.published or 0, o.rank))


def passage_score(
    spans: tuple[Iterable[object], Iterable[object]],
    documents: tuple[Iterable[object], Iterable[object]],
    unshared_cost: float,
    repeat_power: float,
    long_words: int = 4_000,
) -> float:
    """Return the score of content words on both sides, less the cost of those on one side.

    Args:
        spans: content words of the two spans, in any order.
        documents: those of the two documents.
        unshared_cost: cost of a word that only one side has.
        repeat_power: exponent by which repeated words count less.
        long_words: repeats in a longer document are counted per this number of words.
    """
    mine, theirs = map(Counter, spans)
    here, there = map(Counter, documents)
    lengths = max(1, here.total() / long_words) * max(1, there.total() / long_words)
    shared, others = mine & theirs, (mine - theirs) + (theirs - mine)
    worth = sum(
        n / max(1, here[word] * there[word] / lengths) ** repeat_power for word, n in shared.items()
    )
    return worth - unshared_cost * others.total()


_MARKED = re.compile(r"--+(?: .*)?")
_IS_ADDRESS = re.compile(r"[A-Za-z]+://[^ ]*")
_SENTENCE_END = re.compile(r"""(?s:.)(?:[!:,;]|(?<!\..)\.|(?<=[.!,?])["”])\Z""")
_BYLINE = re.compile(r"(?:by|von|par|por|di|door|av|af|od|autor|от|від|από):? ", re.IGNORECASE)
_LINKS = re.compile(r"(?:and|und|et|y|e|en|och|og|i|de|da|del|der|von|van|la|и)")
_WITH_SOURCE = re.compile(r"([^(!?…]*)\(([^)]{1,38})\) (?:--?|–|—) (?=.)")
_IN_CAPITALS = re.compile(r"([^(!?…]*?) (?:--?|–|—) (?=.)")
_CREDIT = re.compile(
    r"\((?:reporting|additional|writing|editing|compiled|written|edited):? [^()]*\)\Z",
    re.IGNORECASE,
)


def find_body(text: str) -> tuple[int, int]:
    """Return where the body of a text begins and ends, in characters; equal for a header line."""
    if _is_header_line(text):
        return 0, 0
    start, credit = _dateline(text), _CREDIT.search(text)
    has_by = credit and re.search(r" by ", credit.group(), re.IGNORECASE)
    end = credit.start() if has_by and _bytes(credit.group()) <= 400 else len(text)
    return start, max(start, end)


def _is_header_line(text: str) -> bool:
    if len(text.encode()) <= 1:
        return False
    is_sentence = _SENTENCE_END.search(text) is not None
    if text.startswith("--"):
        is_line = _MARKED.fullmatch(text) and (set(text) == {"-"} or _bytes(text) <= 240)
        return bool(is_line) and not is_sentence
    if _IS_ADDRESS.fullmatch(text):
        return True
    byline = _BYLINE.match(text)
    if not byline or is_sentence or _bytes(text) > 140:
        return False
    words = [word for word in text[byline.end() :].split(" ") if word[:1].isalnum()]
    names = [word for word in words if is_capital(word[0])]
    return (
        len(words) <= 12
        and bool(names)
        and all(is_capital(word[0]) or _LINKS.fullmatch(word) for word in words)
    )


def is_capital(character: str) -> bool:
    """Return whether a character is a letter with another folded form, and not in lower case."""
    return not character.islower() and fold_character(character) != character


def _dateline(text: str) -> int:
    for pattern in (_WITH_SOURCE, _IN_CAPITALS):
        found = pattern.match(text)
        if not found or _bytes(found.group(1)) > 80 or found.group(1).count(" ") > 7:
            continue
        place = found.group(1).partition(",")[0]
        if any(word[:1].islower() for word in place.split(" ")[1:]):
            continue
        if pattern is _WITH_SOURCE:
            return found.end()
        if not any(c.islower() for c in place) and sum(map(is_capital, place)) >= 3:
            return found.end()
    return 0
