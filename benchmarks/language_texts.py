"""Collect natural text in many languages from unpacked Debian packages, a file for each language.

    python benchmarks/language_texts.py PACKAGES OUT

PACKAGES is a folder into which packages were unpacked with `dpkg -x`: `libreoffice-help-*` (manual
pages), `debian-handbook` (a book) and `libreoffice-l10n-*` (messages), fetched with `apt-get
download`. OUT receives `th.txt` and the like, a paragraph or message a line, for
`benchmarks/languages.py`. Lines that repeat what is there already, and lines that were left in
English, are dropped.
"""

from __future__ import annotations

import argparse
import gettext
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from lxml import html

SHORTEST = 20
"""Fewest letters of a line."""
GRAM, WIDE_GRAM, MOST_SEEN = 8, 4, 0.2
"""A line is dropped if this share of its runs of that length in letters is in earlier lines; the
second number is for Han, kana and Hangul, whose characters are syllables or words."""
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_PLACEHOLDER = re.compile(r"%\S*|\$\S+|&\w+;|[~_](?=\w)|<[^>]*>|\\n|\{[^}]*\}")


def main() -> int:
    """Collect the texts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    folders = _folders(given.packages)
    english = set(_lines(folders.pop("en")))
    _write(given.out / "en.txt", sorted(english))
    for language, sources in sorted(folders.items()):
        lines = sorted(set(_lines(sources)) - english)
        _write(given.out / f"{language}.txt", lines)
    return 0


def _folders(packages: Path) -> dict[str, list[Path]]:
    """Return the folders of each language, by its code without a country (but for Chinese)."""
    found: dict[str, list[Path]] = {}
    for pattern in ("**/help/*", "**/debian-handbook/html/*", "**/resource/*/LC_MESSAGES"):
        for folder in sorted(packages.glob(pattern)):
            name = (folder.parent if folder.name == "LC_MESSAGES" else folder).name
            code = re.fullmatch(r"([a-z]{2,3})(?:[-_]([A-Z]{2}))?", name)
            if code and folder.is_dir():
                language = name.replace("_", "-") if code[1] == "zh" else code[1]
                found.setdefault(language, []).append(folder)
    return found


def _lines(folders: list[Path]) -> Iterator[str]:
    for folder in folders:
        for path in sorted(folder.rglob("*.html")):
            tree = html.parse(str(path), html.HTMLParser(encoding="utf-8"))
            for element in tree.iterfind(".//p"):
                yield _clean(element.text_content())
        for path in sorted(folder.glob("*.mo")):
            with path.open("rb") as file:
                messages = gettext.GNUTranslations(file)._catalog  # noqa: SLF001
            for message, translation in messages.items():
                if translation and translation != message:
                    yield _clean(str(translation))


def _clean(line: str) -> str:
    return unicodedata.normalize("NFC", " ".join(_PLACEHOLDER.sub(" ", line).split()))


def _write(path: Path, lines: list[str]) -> None:
    """Write the lines that are long enough, in the script of most, and not seen before."""
    is_latin = sum(map(_share_of_ascii, lines)) > 0.5 * len(lines)
    seen: set[str] = set()
    kept = []
    for line in lines:
        letters = "".join(filter(str.isalpha, line.casefold()))
        if len(letters) < SHORTEST or (not is_latin and _share_of_ascii(line) > 0.3):
            continue
        size = WIDE_GRAM if _WIDE.search(line) else GRAM
        grams = {letters[at : at + size] for at in range(len(letters) - size + 1)}
        if len(grams & seen) <= MOST_SEEN * len(grams):
            kept.append(line)
            seen |= grams
    path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    print(f"{path.name:12}{len(kept):7} lines {path.stat().st_size / 1e6:7.2f} MB")


def _share_of_ascii(line: str) -> float:
    letters = [one for one in line if one.isalpha()]
    return sum(one < "\x80" for one in letters) / max(1, len(letters))


if __name__ == "__main__":
    sys.exit(main())
