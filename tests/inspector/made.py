"""Archives that are shown in tests: made up, dated, with all that an archive can have in it."""

import hashlib
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flows.remove import remove
from inspector.catalogue import Catalogue, build_catalogue
from store.address import open_archive
from tests.flows.corpora import (
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
    told = reuse_articles()
    articles = {f"{'paper' if name < 'e' else 'wire'}/{name}": told[name] for name in told}
    broken = make_paragraph(1).replace("a", "a\u00ad", 9).replace(" ", "  \u200b", 9)
    articles["wire/g.txt"] = ["Cafe\u0301  \u00ad society", broken, make_paragraph(12, edit=1)]
    articles["paper/h.txt"] = [broken + " " + make_paragraph(20), ADS]
    articles |= {f"nested/{name}": told for name, told in nested_articles().items()}
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
