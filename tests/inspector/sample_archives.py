"""Archives that are shown in tests: made up, dated, with all that an archive can have in it."""

import hashlib
import html
import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from palimpsest.inspector.catalogue import Catalogue, build_catalogue
from palimpsest.pipeline.remove import remove
from palimpsest.store.address import open_archive
from tests.pipeline.corpora import (
    documents_dated,
    ingest,
    make_paragraph,
    make_words,
    reuse_articles,
    settings_of,
    write_articles,
)

NOON = datetime(2024, 11, 12, 12, 0, tzinfo=UTC)
ADS = "Subscribe to our letter."
DATES = {
    "paper/a.txt": NOON,
    "paper/b.txt": NOON + timedelta(days=1),
    "paper/c.txt": NOON + timedelta(days=1),
    "paper/d.txt": None,
    "wire/e.txt": NOON + timedelta(microseconds=400),
    "wire/f.txt": NOON + timedelta(microseconds=300),
    "wire/g.txt": NOON - timedelta(days=400),
}


def catalogue_of(archive: Path | str, folder: Path, version: int | None = None) -> Catalogue:
    """Return a catalogue of an archive, made in this process and kept in a folder."""
    snapshot = open_archive(archive).snapshot(version)
    path = folder / f"catalogue-{snapshot.manifest.version}.sqlite"
    build_catalogue(snapshot, path)
    return Catalogue(path, snapshot)


@contextmanager
def files_dated(folder: Path, dates: dict[str, datetime | None]) -> Iterator[None]:
    """Let the documents in files of a folder have these dates, all others none."""
    by_content = {
        hashlib.sha256((folder / name).read_bytes()).hexdigest(): date
        for name, date in dates.items()
    }
    with documents_dated(by_content.get):
        yield


def nested_articles() -> dict[str, list[str]]:
    """Return two articles with a passage that goes on across another one, on the left."""
    around, within = make_words(30, 40), make_words(31, 16)
    left = [*around[:20], *within, *around[20:]]
    right = [*around[:20], *make_words(32, 14), *around[20:]]
    return {
        "left.txt": ["Left of the two", " ".join(left)],
        "right.txt": [" ".join(right), make_paragraph(33, 90), " ".join(within)],
    }


def mixed_articles() -> dict[str, list[str]]:
    """Return articles in two folders, with soft hyphens, double blanks, notices and formulas."""
    texts = reuse_articles()
    articles = {f"{'paper' if name < 'e' else 'wire'}/{name}": texts[name] for name in texts}
    broken = make_paragraph(1).replace("a", "a\u00ad", 9).replace(" ", "  \u200b", 9)
    articles["wire/g.txt"] = ["Cafe\u0301  \u00ad society", broken, make_paragraph(12, edit=1)]
    articles["paper/h.txt"] = [broken + " " + make_paragraph(20), ADS]
    articles |= {f"nested/{name}": texts for name, texts in nested_articles().items()}
    for number in range(12):
        articles[f"wire/ads/{number:02}.txt"] = [make_paragraph(50 + number, 25), ADS]
    return articles


def make_mixed(folder: Path, root: Path) -> Path:
    """Return an archive of four versions: two runs, a page in it, a removal, and a third run.

    Args:
        folder: an empty one.
        root: of the repository, which has the page.
    """
    source = write_articles(folder / "in", mixed_articles())
    shutil.copy(source / "paper/a.txt", source / "wire/a-again.txt")
    shutil.copytree(root / "examples" / "web", source / "web")
    (source / "wire/empty.txt").write_bytes(b"")
    (source / "wire/picture.txt").write_bytes(bytes(range(256)) * 9)
    with files_dated(source, DATES):
        ingest([source / "paper", source / "web"], folder / "press")
        ingest(source, folder / "press")
        remove(folder / "press", [(source / "paper/d.txt").as_uri()], "asked for")
        write_articles(folder / "late", {"i.txt": [make_paragraph(11, edit=2), ADS]})
        ingest(folder / "late", folder / "press")
    return folder / "press"


def make_random(folder: Path, seed: int) -> Path:
    """Return an archive of articles that share paragraphs as chance will have it."""
    chance = random.Random(seed)
    paragraphs = [*range(8), *range(100, 104)]
    articles: dict[str, list[str]] = {}
    for number in range(chance.randint(5, 14)):
        chosen = [
            make_paragraph(one, 45 if one < 100 else 7, edit=chance.choice((0, 0, 1, 3, 6)))
            for one in chance.choices(paragraphs, k=chance.randint(1, 5))
        ]
        if chance.random() < 0.3:
            chosen.append(" ".join([*make_words(900 + number, 40), *make_words(3)[5:35]]))
        articles[f"{chance.choice('xyz')}/{number}.txt"] = chosen
    source = write_articles(folder / "in", articles)
    days = [None, *(NOON + timedelta(days=chance.randint(-3, 3)) for _ in range(6))]
    dates = {name: chance.choice(days) for name in articles}
    sensitivity = chance.choice(("verbatim", "edited", "reworded"))
    with files_dated(source, dates):
        ingest(source, folder / "press", settings_of(sensitivity=sensitivity))
    return folder / "press"


HOSTILE = (
    "<script>window.__ran=1</script>",
    '"><img src=x onerror=window.__ran=1>',
    "' onmouseover='window.__ran=1' x='",
    "</title></textarea></script><svg onload=window.__ran=1>",
    "<a href=javascript:window.__ran=1>javascript:window.__ran=1</a>",
    "{{7*7}}{% include 'base.html' %}{{ config.__ran }}",
    "&lt;script&gt;window.__ran=1&lt;/script&gt;",
    "]]><!--<![CDATA[<style>@import'//attacker.example/__ran'",
    "\u202e\u2066__ran\u202e\u202d",
    "<base href=//attacker.example/__ran><meta http-equiv=refresh content=0;url=//attacker.example>",
)
"""What would run, load or show something, were it taken for markup; each tells ``__ran``."""


def make_hostile(folder: Path) -> Path:
    """Return an archive of articles that attack the pages they are shown on."""
    source = folder / "in"
    source.mkdir(parents=True)
    evil = " ".join(HOSTILE)
    notice = "<b onclick=window.__ran=1>Notice</b> <i>of</i> __ran"
    lines = []
    for number, attack in enumerate(HOSTILE):
        shared = f"{make_paragraph(number % 3, 40, edit=number % 4)} {evil}"
        article = dict.fromkeys(("title", "author", "site", "series"), attack)
        article["date"] = f"2024-11-{number + 1:02}"
        article["text"] = "\n\n".join([f"{attack} {make_paragraph(40 + number)}", shared, notice])
        lines.append(json.dumps(article))
    (source / "lines.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    body = f"{make_paragraph(1, 40)} {evil}\n\n{notice}\n\n"
    for attack in HOSTILE[:3]:
        (source / f"{attack.replace('/', '_')}.txt").write_text(body + attack, encoding="utf-8")
    name = os.fsencode(source) + b"/\xff\xfe<u id=__ran>\x01\x1b[31m.txt"
    Path(os.fsdecode(name)).write_bytes(
        f"{body}\0\x01\x1b[31m\x9b \x85 {make_paragraph(3)}".encode()
    )
    (source / "word.txt").write_text(f"{'x' * 100_000}\n\n{body}", encoding="utf-8")
    for attack in HOSTILE[:3]:
        (source / f"empty {attack.replace('/', '_')}.txt").write_bytes(b"")
    for number in range(8):
        (source / f"{number}.txt").write_text(f"{make_paragraph(60 + number)}\n\n{notice}")
    title = html.escape(HOSTILE[3])
    paragraphs = "".join(f"<p>{html.escape(one)} {make_paragraph(1, 40)}</p>" for one in HOSTILE)
    (source / "page.html").write_text(
        f"<!doctype html><title>{title}</title><meta property='og:site_name' content='{title}'>"
        f"<article>{paragraphs}</article><script>window.__ran=1</script>",
        encoding="utf-8",
    )
    ingest(source, folder / "press")
    return folder / "press"
