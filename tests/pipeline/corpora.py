"""Small generated corpora, and the contents of archives made from them."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from palimpsest.ingest import batch
from palimpsest.ingest.finding.sources import Source
from palimpsest.pipeline.run import run_ingest
from palimpsest.pipeline.summary import RunSummary
from palimpsest.records.document_facts import DocumentFacts
from palimpsest.records.schemas import TABLES
from palimpsest.records.settings import ReadSettings, RunSettings, Settings
from palimpsest.store.address import open_archive
from palimpsest.store.archive import Snapshot, StoredArchive

DateOf = Callable[[str], datetime | None]

_SYLLABLES = [
    "ba",
    "co",
    "di",
    "fu",
    "ge",
    "hal",
    "im",
    "jo",
    "ka",
    "len",
    "mur",
    "no",
    "pel",
    "qua",
    "rit",
    "so",
    "tun",
    "vex",
    "wil",
    "zor",
]


def make_words(seed: int, count: int = 45) -> list[str]:
    """Return words that almost certainly occur in no other paragraph."""
    rng = random.Random(seed)
    return ["".join(rng.choices(_SYLLABLES, k=3)) for _ in range(count)]


def hyphenated(words: list[str]) -> list[str]:
    """Return words with a hyphen in each, which are two words but say the same."""
    return [f"{word[:3]}-{word[3:]}" for word in words]


def make_paragraph(seed: int, count: int = 45, *, edit: int = 0) -> str:
    """Return a paragraph; ``edit`` words are hyphenated, spread evenly, so it says the same."""
    words = make_words(seed, count)
    for number in range(edit):
        place = (number + 1) * count // (edit + 1) - 1
        words[place : place + 1] = hyphenated(words[place : place + 1])
    return " ".join(words).capitalize() + "."


def make_variants(seed: int, count: int) -> list[str]:
    """Return texts that say the same as a paragraph: a different word of each is hyphenated."""
    words = make_words(seed)
    places = range(1, count + 1)
    return [
        " ".join([*words[:k], *hyphenated(words[k : k + 1]), *words[k + 1 :]]).capitalize() + "."
        for k in places
    ]


def write_articles(folder: Path, articles: dict[str, list[str]]) -> Path:
    """Write articles by name, with an empty line between paragraphs; return the folder."""
    for name, paragraphs in articles.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    return folder


def reuse_articles() -> dict[str, list[str]]:
    """Return six articles with exact, near, contained and partial reuse among them."""
    whole = make_paragraph(3)
    return {
        "a.txt": ["A title of its own", make_paragraph(1), make_paragraph(2), whole],
        "b.txt": [make_paragraph(1, edit=3), make_paragraph(10), make_paragraph(2)],
        "c.txt": [make_paragraph(11), make_paragraph(1, edit=5), make_paragraph(4)],
        "d.txt": [" ".join([*make_words(12, 60), *make_words(3), *make_words(13, 60)])],
        "e.txt": [make_paragraph(4), " ".join(make_words(2)[10:40]), make_paragraph(4)],
        "f.txt": ["Короткая строка", "café au lait " + make_paragraph(2, edit=2), "…"],
    }


def settings_of(
    workers: int = 1, batch_bytes: int = 2**24, portion_bytes: int = 2**27, **stages: Any
) -> Settings:
    """Return default settings with these changes."""
    run = RunSettings(workers=workers, batch_bytes=batch_bytes, portion_bytes=portion_bytes)
    return Settings(run=run, **stages)


def ingest(
    source: Path | list[Path], archive: Path | str, settings: Settings | None = None
) -> RunSummary:
    """Ingest without Prefect; return the summary."""
    sources = source if isinstance(source, list) else [source]
    return run_ingest([str(one) for one in sources], archive, settings or settings_of())


@contextmanager
def documents_dated(date_of: DateOf) -> Iterator[None]:
    """Give documents dates that their texts do not contain.

    Args:
        date_of: returns the date of the document with this SHA-256.
    """
    real = batch.facts_of

    def dated(source: Source, own: DocumentFacts, settings: ReadSettings) -> DocumentFacts:
        date = date_of(hashlib.sha256(source.member.raw).hexdigest())
        return real(source, own, settings)._replace(
            published_at=date,
            published_from="none" if date is None else "metadata",
        )

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(batch, "facts_of", dated)
        yield


def contents(archive: Path | str) -> dict[str, list[str]]:
    """Return the sorted rows of all tables except ``runs``, without ``run_id``."""
    snapshot = open_archive(archive).snapshot()
    return {
        name: sorted(
            json.dumps(row, default=str, sort_keys=True)
            for row in snapshot.read(
                name, [c for c in TABLES[name].names if c != "run_id"]
            ).to_pylist()
        )
        for name in TABLES
        if name != "runs"
    }


def kept_texts(snapshot: Snapshot) -> dict[str, str]:
    """Return the texts of paragraphs and variants by their ids."""
    texts = {}
    for name, key in (("paragraphs", "paragraph_id"), ("variants", "text_id")):
        for row in snapshot.read(name, [key, "text"]).to_pylist():
            assert row[key] not in texts, "a text is kept twice"
            texts[row[key]] = row["text"]
    return texts


def rebuilt_documents(snapshot: Snapshot) -> dict[str, str]:
    """Return the normalised text of each document, rebuilt from the tables alone."""
    texts = kept_texts(snapshot)
    places: dict[str, dict[int, str]] = {}
    for row in snapshot.read("occurrences", ["document_id", "ordinal", "text_id"]).to_pylist():
        mine = places.setdefault(row["document_id"], {})
        assert row["ordinal"] not in mine
        mine[row["ordinal"]] = texts[row["text_id"]]
    return {
        document: "\n\n".join(mine[ordinal] for ordinal in range(len(mine)))
        for document, mine in places.items()
    }


def assert_lossless(archive: Path) -> None:
    """Check that every document can be rebuilt byte for byte."""
    snapshot = StoredArchive(archive).snapshot()
    rebuilt = rebuilt_documents(snapshot)
    documents = snapshot.read("documents", ["document_id", "text_sha256"]).to_pylist()
    assert {row["document_id"] for row in documents} == set(rebuilt)
    for row in documents:
        text = rebuilt[row["document_id"]]
        assert hashlib.sha256(text.encode()).hexdigest() == row["text_sha256"]


def listing(archive: Path) -> dict[str, tuple[int, int]]:
    """Return every file of an archive with its size and time, and the target of its link."""
    place = StoredArchive(archive)
    files = {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in sorted(place.home.rglob("*"))
        if path.is_file() and path.name not in {"lock", "staging.lock"}
    }
    return files | {str(place.path.readlink()): (0, place.path.lstat().st_mtime_ns)}
