"""How many paragraph borders layout finds: intact text, wrapped at every width in every way.

    python benchmarks/layout.py                        # invented articles in seven languages
    python benchmarks/layout.py FOLDER --articles 40   # files with one paragraph on each line

The truth is known, because the text is wrapped here. A border is a number of visible characters
before it, hyphens left out. Printed are, for each way to mark paragraphs and range of widths, the
borders of which nothing is left ("open"), the share of borders found (recall) and of found borders
that are right (precision), and both without the places at which nothing decides. Such a place is a
full line that ends a sentence, before a line that does not begin in lower case: without a mark,
either a new sentence or a new paragraph follows.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from palimpsest.ingest.text.layout import lay_out
from palimpsest.kernels.unicode import character_tables

WIDTHS = range(40, 101)
_TEXTS = Path(__file__).with_name("layout_texts.txt")
_CLOSED = re.compile(r"[.!?…؟۔。！？][\"'”’»“)」』）]*$")
_SENTENCE_END = re.compile(
    r"(?<=[a-zà-ÿа-я\u0620-\u064A]{3})((?: [»!?]|[.!?…؟])[\"'”’»“)]*) (?=\W?[^\Wa-zà-ÿа-я])"
)
_HIDDEN = re.compile(r"[\s\x00-\x1f\x7f-\xa0\xad\u200b\u2060\ufeff-]")
_NON_STARTERS = "、。，．！？：；」』）"


class Article(NamedTuple):
    """Paragraphs of intact text, and whether its script separates words by blanks."""

    name: str
    paragraphs: list[str]
    is_spaced: bool


class Sample(NamedTuple):
    """A document with its borders, and the places where no trace of one is left.

    Attributes:
        borders, open: numbers of letters before each place; ``open`` are undecidable.
    """

    text: str
    borders: set[int]
    open: set[int]


class Counts(NamedTuple):
    """Borders that exist, are found, are both; and the same at decidable places."""

    true: int = 0
    found: int = 0
    both: int = 0
    clear_true: int = 0
    clear_found: int = 0
    clear_both: int = 0

    def plus(self, other: Counts) -> Counts:
        """Return the sums."""
        return Counts(*(mine + yours for mine, yours in zip(self, other, strict=True)))


class Style(NamedTuple):
    """How a document is wrapped, and how its paragraphs are marked.

    Attributes:
        first, rest: indents of the first and of other lines.
        between: what is between the last line of a paragraph and the first line of the next.
        runs_on: whether the next paragraph is wrapped as if the text went on.
        is_ragged: whether each line has a width of its own, up to 3 characters off.
        is_typed: whether two blanks follow each sentence.
        is_marked: whether a full last line leaves a trace of the border after it.
    """

    between: str = "\n\n"
    first: str = ""
    rest: str = ""
    runs_on: bool = False
    is_hyphenated: bool = False
    is_ragged: bool = False
    is_typed: bool = False
    is_wrapped: bool = True
    is_marked: bool = True
    line_end: str = "\n"
    has_trailing_blanks: bool = False


STYLES = {
    "blank line": Style(),
    "blank line, CRLF": Style(line_end="\r\n"),
    "blank line, trailing blanks": Style(has_trailing_blanks=True),
    "blank line, hyphens": Style(is_hyphenated=True),
    "blank line, ragged": Style(is_ragged=True),
    "blank line, typed": Style(is_typed=True),
    "indent of 2": Style("\n", first="  "),
    "indent of 4": Style("\n", first="    "),
    "indent of 4, ragged": Style("\n", first="    ", is_ragged=True),
    "indent of 4, typed": Style("\n", first="    ", is_typed=True),
    "indent by tab": Style("\n", first="\t"),
    "indent after blank line": Style(first="   "),
    "hanging indent": Style("\n", rest="    "),
    "hanging, blank line": Style(rest="    "),
    "two blanks": Style("  "),
    "two blanks, CRLF": Style("  ", line_end="\r\n"),
    "two blanks, trailing blanks": Style("  ", has_trailing_blanks=True),
    "two blanks, hyphens": Style("  ", is_hyphenated=True),
    "two blanks, ragged": Style("  ", is_ragged=True),
    "tab": Style("\t"),
    "line break": Style("\n", is_marked=False),
    "line break, hyphens": Style("\n", is_marked=False, is_hyphenated=True),
    "line break, ragged": Style("\n", is_marked=False, is_ragged=True),
    "line break, typed": Style("\n", is_marked=False, is_typed=True),
    "two blanks, running on": Style("  ", runs_on=True, is_marked=False),
    "whole, line break": Style("\n", is_wrapped=False),
    "whole, blank line": Style(is_wrapped=False),
    "whole, typed": Style("\n", is_wrapped=False, is_typed=True),
    "whole, typed, blank line": Style(is_wrapped=False, is_typed=True),
}


def invented_articles(seed: int = 0, articles: int = 3) -> list[Article]:
    """Return articles of invented sentences: prose, titles, lists, verse, talk; by language."""
    made = []
    for block in _TEXTS.read_text(encoding="utf-8").split("\n# ")[1:]:
        language, *lines = block.strip().splitlines()
        kinds: dict[str, list[str]] = {}
        for line in filter(None, lines):
            kind, text = line.split(" ", 1)
            kinds.setdefault(kind, []).append(text)
        for number in range(articles):
            chance = random.Random(f"{seed} {language} {number}")
            is_spaced = language not in ("Chinese", "Japanese")
            made.append(
                Article(f"{language} {number}", _compose(kinds, chance, is_spaced), is_spaced)
            )
    return made


def _compose(kinds: dict[str, list[str]], chance: random.Random, is_spaced: bool) -> list[str]:
    """Return the paragraphs of one article; ``chance`` also chooses how long they are."""
    longest = chance.choice([1, 2, 4, 7])
    made = [chance.choice(kinds["title"])]
    joint = " " if is_spaced else ""
    while len(made) < 30:
        dice = chance.random()
        if dice < 0.06:
            made.append(chance.choice(kinds["title"]))
        elif dice < 0.16:
            made += chance.sample(kinds["talk"], 2)
        elif dice < 0.20:
            made += chance.sample(kinds["item"], 3)
        elif dice < 0.22:
            made += kinds["verse"]
        else:
            count = min(chance.randint(1, longest), len(kinds["said"]))
            made.append(joint.join(chance.sample(kinds["said"], count)))
    return made


def articles_of(folder: Path, count: int, max_paragraphs: int = 40) -> list[Article]:
    """Return articles of a folder of files that have one paragraph on each line.

    Left out are files in which less than half of the paragraphs end a sentence (lists), and those
    with control characters. Lines of more than 400 characters may be several paragraphs; they are
    cut at sentence ends into paragraphs of one to three sentences.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    made: list[Article] = []
    for path in random.Random(0).sample(files, len(files)):
        chance = random.Random(path.name)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        texts = [" ".join(line.split()) for line in lines if not line.startswith("--")]
        paragraphs = [part for text in texts for part in _parts(text, chance)][:max_paragraphs]
        ended = sum(bool(_CLOSED.search(text)) for text in paragraphs)
        is_plain = all(text.isprintable() for text in paragraphs)
        if len(paragraphs) >= 5 and 2 * ended >= len(paragraphs) and is_plain:
            made.append(Article(path.name, paragraphs, is_spaced=True))
        if len(made) == count:
            break
    return made


def _parts(text: str, chance: random.Random) -> Iterator[str]:
    if len(text) <= 400:
        yield from filter(None, [text])
        return
    sentences = _SENTENCE_END.sub(r"\1\n", text).split("\n")
    at = 0
    while at < len(sentences):
        step = chance.randint(1, 3)
        yield " ".join(sentences[at : at + step])
        at += step


def sample_of(article: Article, style: Style, width: int, seed: int = 0) -> Sample:
    """Return an article laid out in a style."""
    chance = random.Random(f"{seed} {article.name} {width} {style}")
    paragraphs = article.paragraphs
    if style.is_typed:
        paragraphs = [_SENTENCE_END.sub(r"\1  ", text) for text in paragraphs]
    ends = list(accumulate(_letters(text) for text in paragraphs))
    borders, undecided = set(ends[:-1]), set()
    lines = _lines(article, paragraphs, style, width, chance)
    if not style.is_marked:
        least = (width - 3 * style.is_ragged) // (1 if article.is_spaced else 2)
        undecided = _open_places(lines, borders, least, article.is_spaced)
    if style.has_trailing_blanks:
        lines = [line + " " * chance.choice([0, 0, 1, 3]) for line in lines]
    return Sample(style.line_end.join(lines), borders, undecided)


def _lines(
    article: Article, paragraphs: list[str], style: Style, width: int, chance: random.Random
) -> list[str]:
    def widths() -> Iterator[int]:
        while True:
            columns = width + (chance.randint(-3, 3) if style.is_ragged else 0)
            yield columns if article.is_spaced else columns // 2

    if style.runs_on:
        text = style.between.join(paragraphs)
        return list(_wrap(text, article.is_spaced, style, widths(), chance))
    lines: list[str] = []
    for text in paragraphs:
        wrapped = [style.first + text]
        if style.is_wrapped:
            wrapped = list(_wrap(text, article.is_spaced, style, widths(), chance))
        if lines and "\n" not in style.between:
            lines[-1] += style.between + wrapped.pop(0)
        elif lines and style.between == "\n\n":
            lines.append("")
        lines += wrapped
    return lines


def _wrap(
    text: str, is_spaced: bool, style: Style, widths: Iterator[int], chance: random.Random
) -> Iterator[str]:
    """Wrap greedily, within the next of ``widths`` for each line."""
    words = re.findall(r"(\s*)(\S+)", text)
    if not is_spaced:
        words = re.findall(rf"(\s*)([a-zA-Z0-9]+|[^\s][{_NON_STARTERS}]*)", text)
    line, room, is_empty = style.first, next(widths) - len(style.first.expandtabs(4)), True
    for blank, word in words:
        blank = "" if is_empty else blank
        used = len(blank) + len(word)
        if used > room and not is_empty:
            shown = room - len(blank) - 1
            is_long = word.isalpha() and 2 < shown < len(word) - 2
            if style.is_hyphenated and is_long and chance.random() < 0.7:
                line += blank + word[:shown] + "-"
                word = word[shown:]
            yield line
            line, room = style.rest, next(widths) - len(style.rest)
            blank, used = "", len(word)
        line += blank + word
        room -= used
        is_empty = False
    yield line


def _open_places(lines: list[str], borders: set[int], width: int, is_spaced: bool) -> set[int]:
    """Return where a full line ends a sentence or a paragraph, before no lower-case letter."""
    found, at = set(), 0
    for line, following in pairwise(lines):
        at += _letters(line)
        word = following.split(" ", 1)[0] if is_spaced else following[:3]
        is_full = len(line) + 1 + len(word) > width
        is_end = bool(_CLOSED.search(line)) or at in borders
        if is_full and is_end and not following[:1].islower():
            found.add(at)
    return found


def _letters(text: str) -> int:
    return len(_HIDDEN.sub("", text))


def borders_found(texts: Sequence[str]) -> list[set[int]]:
    """Return the borders that layout finds in each of some documents."""
    raw = [text.encode() for text in texts]
    buffer = np.frombuffer(b"".join(raw), dtype=np.uint8)
    offsets = np.cumsum([0, *map(len, raw)], dtype=np.int64)
    starts, ends, counts = lay_out(buffer, offsets, character_tables(), 1_000_000)
    spans = iter(zip(starts.tolist(), ends.tolist(), strict=True))
    found = []
    for count in counts.tolist():
        pieces = [buffer[slice(*next(spans))].tobytes().decode() for _ in range(count)]
        found.append(set(list(accumulate(map(_letters, pieces)))[:-1]))
    return found


def measure(articles: Sequence[Article], style: Style, widths: Sequence[int]) -> Counts:
    """Return the counts of borders of articles in a style at some widths."""
    samples = [sample_of(article, style, width) for width in widths for article in articles]
    total = Counts()
    for sample, found in zip(samples, borders_found([one.text for one in samples]), strict=True):
        true, clear = sample.borders, sample.borders - sample.open
        clear_found = found - sample.open
        total = total.plus(
            Counts(
                len(true),
                len(found),
                len(true & found),
                len(clear),
                len(clear_found),
                len(clear & clear_found),
            )
        )
    return total


def right_share(true: int, found: int, both: int) -> float:
    """Return the borders found, as a share of those that exist or are found (Jaccard)."""
    return both / max(1, true + found - both)


def _print(articles: Sequence[Article], step: int, echo: Callable[[str], object]) -> None:
    ranges = [range(low, min(low + 10, 101)) for low in range(40, 100, 10)]
    ranges[-1] = range(90, 101)
    head = " ".join(f"{one.start:>5}+" for one in ranges)
    echo(f"{'style':28} {'open':>6} {'recall':>7} {'prec.':>7} {'right':>7} {'clear':>7}  {head}\n")
    everything = Counts()
    for name, style in STYLES.items():
        parts = [measure(articles, style, one[::step]) for one in ranges]
        total = Counts()
        for part in parts:
            total = total.plus(part)
        everything = everything.plus(total)
        row = " ".join(f"{right_share(*part[3:]):6.1%}" for part in parts)
        echo(_row(name, total) + f"  {row}\n")
    echo(_row("all", everything) + "\n")


def _row(name: str, total: Counts) -> str:
    return (
        f"{name:28} {1 - total.clear_true / max(1, total.true):6.1%}"
        f" {total.both / max(1, total.true):7.2%} {total.both / max(1, total.found):7.2%}"
        f" {right_share(*total[:3]):7.2%} {right_share(*total[3:]):7.2%}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="files with a paragraph on each line")
    parser.add_argument("--articles", type=int, default=40, help="articles to take of the folder")
    parser.add_argument("--step", type=int, default=1, help="measure every n-th width only")
    parser.add_argument("--seed", type=int, default=0, help="of the invented articles")
    parser.add_argument("--language", help="of the invented articles; all by default")
    options = parser.parse_args()
    articles = (
        articles_of(options.folder, options.articles)
        if options.folder
        else invented_articles(options.seed)
    )
    if options.language:
        articles = [one for one in articles if one.name.startswith(options.language)]
    _print(articles, options.step, sys.stdout.write)


if __name__ == "__main__":
    main()
