"""Operations to sweep, which together take every path through writing a small archive."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import palimpsest.dedup.index.search
import palimpsest.pipeline.run
from palimpsest.pipeline.compact import compact
from palimpsest.pipeline.index_upkeep import reindex
from palimpsest.pipeline.remove import remove
from palimpsest.pipeline.summary import RunSummary
from palimpsest.records.settings import Settings, SignSettings
from palimpsest.store.archive import StoredArchive
from palimpsest.store.versions import clean
from tests.pipeline.corpora import ingest, make_paragraph, make_words, settings_of, write_articles

BATCH_BYTES = 1600


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation to sweep.

    Attributes:
        name: as people call it.
        prepare: makes the archive that it begins with.
        run: carries it out.
        least_points: fewer calls than this mean that they are not counted any more.
        short_every: in the short form it is stopped at every so-many-th call.
        is_done_once: whether it is refused once it has been done.
    """

    name: str
    prepare: Callable[[Path, Path], None]
    run: Callable[[Path, Path], Any]
    least_points: int
    short_every: int
    is_done_once: bool = False


def settings() -> Settings:
    """Return settings with small crowds, few bands and small batches, so that counts are low."""
    sign = SignSettings(permutations=8, bands=4, rows=2, crowd_texts=3, crowd_heads=1)
    return settings_of(1, BATCH_BYTES, sign=sign)


def write_corpus(folder: Path) -> None:
    """Write three parts: those of the archive, of a dead run that staged them, and new ones."""
    crowd = make_words(3, 40)

    def of_crowd(number: int) -> str:
        return " ".join([*make_words(100 + number, 25), *crowd, *make_words(200 + number, 25)])

    shared = make_paragraph(7)
    old = {
        "b.txt": [make_paragraph(1), shared, make_paragraph(2)],
        "c.txt": [make_paragraph(4), of_crowd(1)],
        "d.txt": [" ".join([*make_words(12, 30), *make_words(2)]), of_crowd(2), shared],
        "e.txt": [make_paragraph(5, edit=3), "A short one", of_crowd(3)],
    }
    staged = {"f.txt": [make_paragraph(1, edit=3), of_crowd(4), shared], "g.txt": ["Новое"]}
    new = {
        "a.txt": [make_paragraph(2), make_paragraph(4, edit=2), of_crowd(5)],
        "aa.txt": [make_paragraph(5), make_paragraph(21), of_crowd(6)],
        "h.txt": [make_paragraph(22), of_crowd(7), shared],
        "i.txt": [make_paragraph(1), make_paragraph(21, edit=3)],
    }
    for name, articles in (("old", old), ("staged", staged), ("new", new)):
        write_articles(folder / name, articles)
    (folder / "old" / "empty.txt").write_bytes(b"")
    (folder / "new" / "binary.bin").write_bytes(bytes(range(256)))


def warm_up_all(corpus: Path, archive: Path) -> None:
    """Run an ingest that needs all kernels, so that no forked process has to load them."""
    _archive(corpus, archive)
    _ingest_all(corpus, archive)


def _no_archive(corpus: Path, archive: Path) -> None:
    archive.parent.mkdir(exist_ok=True)


def _archive(corpus: Path, archive: Path) -> None:
    """Create an archive of several versions, with as many index segments as are not merged yet."""
    for names in (["b.txt", "empty.txt"], ["c.txt"], ["d.txt", "e.txt"]):
        ingest([corpus / "old" / name for name in names], archive, settings())


def _archive_with_remains(corpus: Path, archive: Path) -> None:
    """Create an archive for which a dead run has staged a batch."""
    _archive(corpus, archive)
    _die_after_staging(corpus / "staged", archive)


def _archive_with_litter(corpus: Path, archive: Path) -> None:
    """Create an archive with everything that dead runs can leave behind."""
    _archive_with_remains(corpus, archive)
    place = StoredArchive(archive)
    for folder in (place.versions / "building-dead", place.versions / "00000099"):
        (folder / "documents").mkdir(parents=True)
        (folder / "documents" / "dead.parquet").write_bytes(b"torn")
    (place.index / "dead").mkdir()
    (place.index / "dead" / "texts.npy").write_bytes(b"torn")


def _die_after_staging(source: Path, archive: Path) -> None:
    child = os.fork()
    if child == 0:
        palimpsest.pipeline.run.open_writer = lambda *_: os._exit(0)  # type: ignore[assignment]
        try:
            ingest(source, archive, settings())
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise AssertionError("the run to be killed did not come to its end")


def _ingest_old(corpus: Path, archive: Path) -> RunSummary:
    return ingest(corpus / "old", archive, settings())


def _ingest_all(corpus: Path, archive: Path) -> RunSummary:
    palimpsest.dedup.index.search._FAN_OUT = 3  # so that even here there are segments to merge
    return ingest(corpus, archive, settings())


def _remove(corpus: Path, archive: Path) -> None:
    remove(archive, [(corpus / "old" / "b.txt").as_uri()], "asked for", 5.0)


OPERATIONS = [
    Operation("create", _no_archive, _ingest_old, 300, 61),
    Operation("ingest", _archive_with_remains, _ingest_all, 350, 59),
    Operation("remove", _archive, _remove, 120, 41, is_done_once=True),
    Operation("compact", _archive, lambda _, archive: compact(archive, 5.0), 40, 13),
    Operation("reindex", _archive, lambda _, archive: reindex(archive, 5.0), 150, 47),
    Operation(
        "clean", _archive_with_litter, lambda _, archive: clean(StoredArchive(archive)), 50, 37
    ),
]
