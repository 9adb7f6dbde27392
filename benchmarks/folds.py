"""Plant near-duplicates into paragraphs of a corpus, and count which would be folded.

    python benchmarks/folds.py FOLDER

Half of the kinds say the same as the paragraph they were made from (errors of recognition, case,
punctuation, hyphens, spelling), half differ in one fact (a number, a month or day, a name, a
negation, an antonym, a word). Figures are shares of the pairs that are near.
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from palimpsest.dedup.alignment import align_pairs, score_words
from palimpsest.dedup.clusters import NEAR, link_pairs
from palimpsest.dedup.sameness import find_differences
from palimpsest.dedup.texts import Texts
from palimpsest.dedup.words import find_words
from palimpsest.pipeline.run import run_ingest
from palimpsest.records.settings import Settings
from palimpsest.store.archive import StoredArchive

SEED, PARAGRAPHS = 19, 1000
Change = Callable[[str, random.Random], str]

_CONFUSIONS = {
    "e": "co", "c": "eo", "h": "b", "b": "h", "u": "n", "n": "u", "i": "l1", "l": "1It", "o": "0c",
    "m": ["rn", "in"], "d": ["cl"], "w": ["vv"], "s": "f5", "f": "t", "t": "fl", "a": "o", "v": "y",
    "y": "v", "g": "q9", "r": "i", "S": "5", "B": "8", "O": "0", "I": "l1", "T": "7",
}  # fmt: skip
_BRITISH = [
    ("ization", "isation"), ("izing", "ising"), ("ized", "ised"), ("ize", "ise"),
    ("labor", "labour"), ("color", "colour"), ("center", "centre"), ("defense", "defence"),
    ("traveled", "travelled"), ("favor", "favour"), ("program ", "programme "),
]  # fmt: skip
_MONTHS = (
    "January", "February", "March", "April", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_ANTONYMS = [
    ("rose", "fell"), ("higher", "lower"), ("up", "down"), ("more", "less"), ("before", "after"),
    ("increase", "decrease"), ("gained", "lost"), ("above", "below"), ("buy", "sell"),
    ("first", "last"), ("million", "billion"), ("rise", "fall"), ("jumped", "slumped"),
    ("import", "export"), ("north", "south"), ("strong", "weak"), ("profit", "loss"),
    ("over", "under"), ("all", "none"), ("rose", "rise"),
]  # fmt: skip


def errors(share: float, *, confusions: bool) -> Change:
    """Return a change that misreads this share of the letters; digits stay as they are."""

    def change(text: str, chance: random.Random) -> str:
        letters = list(text)
        for at, letter in enumerate(letters):
            if letter.isalpha() and letter.isascii() and chance.random() < share:
                if not confusions:
                    letters[at] = chance.choice("abcdefghijklmnopqrstuvwxyz")
                elif letter in _CONFUSIONS:
                    letters[at] = chance.choice(list(_CONFUSIONS[letter]))
        return "".join(letters)

    return change


def _without_punctuation(text: str, chance: random.Random) -> str:
    return re.sub(r"(?<!\d)[,;:](?= )", lambda m: chance.choice(["", m[0], ";"]), text)


def _typeset(text: str, _: random.Random) -> str:
    return text.replace('"', "”").replace("'", "’").replace(" -", " –").replace("fi", "ﬁ")


def _hyphenated(text: str, chance: random.Random) -> str:
    words = text.split()
    for at in chance.sample(range(len(words)), max(1, len(words) // 15)):
        if words[at].isalpha() and len(words[at]) > 6:
            cut = chance.randrange(3, len(words[at]) - 2)
            words[at] = f"{words[at][:cut]}- {words[at][cut:]}"
    return " ".join(words)


def _run_together(text: str, chance: random.Random) -> str:
    words = text.split()
    for at in chance.sample(range(1, len(words) - 1), max(1, len(words) // 25)):
        if words[at].isalpha() and words[at - 1].isalpha():
            words[at - 1] += words[at]
            words[at] = ""
    return " ".join(word for word in words if word)


def _cased(text: str, chance: random.Random) -> str:
    return text.upper() if chance.random() < 0.3 else text.title()


def _respelled(text: str, _: random.Random) -> str:
    for american, british in _BRITISH:
        text = text.replace(american, british)
    return text


def _bylined(text: str, chance: random.Random) -> str:
    name = f"{chance.choice(['Tove', 'Marten', 'Ada'])} {chance.choice(['Quill', 'Osk', 'Berrin'])}"
    if "(" in text[:80] or "Reporting" in text:
        return text  # it has one already
    dateline = chance.choice(["MARROWICK, May 5 (Reuters) - ", "LONG QUAY (AP) — "])
    return chance.choice([f"{dateline}{text}", f"{text} (Reporting by {name})"])


def _other_number(text: str, chance: random.Random) -> str:
    digits = [m.start() for m in re.finditer(r"\d", text)]
    if not digits:
        return text
    at = chance.choice(digits)
    other = chance.choice([d for d in "123456789" if d != text[at]])
    return text[:at] + other + text[at + 1 :]


def _other_of(listed: Sequence[str]) -> Change:
    def change(text: str, chance: random.Random) -> str:
        found = [m for m in re.finditer(r"\b[A-Z][a-z]+\b", text) if m[0] in listed]
        if not found:
            return text
        m = chance.choice(found)
        other = chance.choice([one for one in listed if one != m[0]])
        return text[: m.start()] + other + text[m.end() :]

    return change


def _negated(text: str, chance: random.Random) -> str:
    found = list(re.finditer(r"\b(is|was|were|are|will|would|could|did|has|had|have)\b", text))
    if not found:
        return text
    m = chance.choice(found)
    return f"{text[: m.end()]} not{text[m.end() :]}"


def _opposite(text: str, chance: random.Random) -> str:
    pairs = [*_ANTONYMS, *((b, a) for a, b in _ANTONYMS)]
    found = [(m, b) for a, b in pairs for m in re.finditer(rf"\b{a}\b", text)]
    if not found:
        return text
    m, other = chance.choice(found)
    return text[: m.start()] + other + text[m.end() :]


def _other_word(pattern: str, words: Sequence[str]) -> Change:
    def change(text: str, chance: random.Random) -> str:
        found = list(re.finditer(pattern, text))
        if not found:
            return text
        m = chance.choice(found)
        return text[: m.start()] + chance.choice(words) + text[m.end() :]

    return change


def kinds_of(paragraphs: Sequence[str]) -> dict[str, dict[str, Change]]:
    """Return the changes by name: those that say the same, and those that do not."""
    name, word = r"(?<=[a-z] )[A-Z][a-z]{3,}\b", r"(?<= )[a-z]{6,}\b"
    names, words = (
        sorted({w for text in paragraphs for w in re.findall(pattern, text)})
        for pattern in (name, word)
    )
    same: dict[str, Change] = {}
    for share in (0.01, 0.02, 0.03, 0.05):
        same[f"confusions {share:.0%}"] = errors(share, confusions=True)
        same[f"random letters {share:.0%}"] = errors(share, confusions=False)
    same |= {
        "punctuation": _without_punctuation,
        "typography": _typeset,
        "hyphens": _hyphenated,
        "words run together": _run_together,
        "case": _cased,
        "British spelling": _respelled,
        "datelines and credits": _bylined,
    }
    other = {
        "number": _other_number,
        "month": _other_of(_MONTHS),
        "day": _other_of(_DAYS),
        "name": _other_word(name, names),
        "negation": _negated,
        "antonym": _opposite,
        "word": _other_word(word, words),
    }
    return {"same": same, "different": other}


def judge(
    paragraphs: Sequence[str], change: Change, seed: int
) -> tuple[int, list[tuple[str, str, bool]]]:
    """Return how many paragraphs change, and of these the near ones: before, after, is folded."""
    chance = random.Random(seed)
    pairs = [(text, change(text, chance)) for text in paragraphs]
    pairs = [(a, " ".join(b.split())) for a, b in pairs if a != b]
    encoded = [text.encode() for pair in pairs for text in pair]
    offsets = np.cumsum([0, *map(len, encoded)])
    buffer = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    texts = Texts(np.zeros((len(encoded), 16), np.uint8), buffer, offsets)
    words = find_words(buffer, offsets[:-1], offsets[1:])
    left = np.arange(0, len(encoded), 2)
    align = Settings().align
    found = align_pairs(words, score_words(words, align), left, left + 1, align)
    links, _ = link_pairs(words, left, left + 1, found, align.fold_share)
    near = links.left[links.relation == NEAR]
    is_same, _ = find_differences(words, texts, near, near + 1)
    chosen = zip((near // 2).tolist(), is_same.tolist(), strict=True)
    return len(pairs), [(*pairs[pair], folded) for pair, folded in chosen]


def intact_paragraphs(folder: Path, most: int = PARAGRAPHS) -> list[str]:
    """Return some paragraphs of 40 to 150 words that end a sentence, from a folder of articles."""
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "archive"
        run_ingest([str(folder)], archive, Settings())
        rows = StoredArchive(archive).snapshot().read("paragraphs", ["text", "words"]).to_pylist()
    texts = sorted(r["text"] for r in rows if 40 <= r["words"] <= 150 and r["text"][-1] in '."')
    return random.Random(SEED).sample(texts, min(most, len(texts)))


def main(folder: Path) -> None:
    """Print the rates by kind."""
    paragraphs = intact_paragraphs(folder)
    for title, kinds in kinds_of(paragraphs).items():
        print(f"{title:24} changed    near  folded   share of near")
        for name, change in kinds.items():
            changed, near = judge(paragraphs, change, SEED)
            folded = sum(is_folded for _, _, is_folded in near)
            share = folded / max(1, len(near))
            print(f"  {name:22} {changed:7,} {len(near):7,} {folded:7,}   {share:8.2%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
