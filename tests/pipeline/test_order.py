"""The tables depend on what is in the archive, not on how it came there.

Order, splits into runs, workers, size of batches, killed runs, compaction and cleaning between them
make no difference; nor do documents that were taken down.
"""

import itertools
import os
import random
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import palimpsest.pipeline.run
from palimpsest.ingest.finding.discover import uri_of
from palimpsest.pipeline.compact import compact
from palimpsest.pipeline.index_upkeep import reindex
from palimpsest.pipeline.remove import remove
from palimpsest.records.settings import Settings, SignSettings
from palimpsest.store.archive import StoredArchive
from palimpsest.store.digest import digest_archive, digest_tables
from palimpsest.store.versions import clean
from tests.pipeline.corpora import (
    assert_lossless,
    documents_dated,
    make_paragraph,
    make_words,
    settings_of,
    write_articles,
)
from tests.pipeline.corpora import ingest as ingest_files
from tests.strategies import max_examples
from tests.sweep.attempts import forked
from tests.sweep.calls import KILLED, Watch

LONG = bool(os.environ.get("PALIMPSEST_LONG"))
MOST_FILES, MOST_RUNS = (30, 6) if LONG else (8, 3)
SECONDS_TO_HANG = 30
"""Seconds after which a forked child is killed, since a fork of a threaded process may hang."""
NO_TEXT = "nothing-in-it.txt"


class Step(NamedTuple):
    """One command. ``killed_at``: the call to the disk before which the run is killed at first."""

    command: str
    files: list[str] = []  # noqa: RUF012
    workers: int = 1
    batch_bytes: int = 2**24
    portion_bytes: int = 2**27
    killed_at: int | None = None


class History(NamedTuple):
    """The steps by which an archive grows."""

    articles: dict[str, list[str]]
    sign: SignSettings
    steps: list[Step]


def make_paragraphs(
    chance: random.Random, families: list[list[str]], pool: list[str], count: int
) -> list[str]:
    """Draw paragraphs from few families of words: whole, edited, cut, embedded or repeated."""
    paragraphs = []
    for _ in range(count):
        kind = chance.choice(["edited", "edited", "edited", "cut", "within", "repeated"])
        words = list(chance.choice(families))
        says_same = chance.randrange(3) > 0
        for _ in range(chance.choice([0, 1, 1, 2, 4, 12])):
            place = chance.randrange(len(words))
            word = words[place] if says_same else make_words(chance.randrange(10**6), 1)[0]
            words[place] = f"{word[:3]}-{word[3:]}" if says_same else word
        if kind == "cut":
            words = words[len(words) // 4 :]
        elif kind == "within":
            words = [*make_words(chance.randrange(10**6), 20), *words]
        paragraph = " ".join(words) + "."
        if kind == "repeated" and pool:
            paragraph = chance.choice(pool)
        pool.append(paragraph)
        paragraphs.append(paragraph)
    return paragraphs


def make_articles(chance: random.Random, most: int) -> dict[str, list[str]]:
    """Draw articles by name, in any order of names; some have two names."""
    families = [
        make_words(chance.randrange(100), chance.choice([14, 30, 60]))
        for _ in range(chance.choice([1, 1, 2, 4]))
    ]
    pool: list[str] = []
    articles: dict[str, list[str]] = {}
    numbers = chance.sample(range(100), chance.randint(2, most))
    for number in numbers:
        paragraphs = make_paragraphs(chance, families, pool, chance.randint(1, 3))
        if chance.randrange(3) == 0:
            paragraphs = [" ".join(make_words(number, 3)), *paragraphs]  # a title
        if articles and chance.randrange(8) == 0:
            paragraphs = articles[chance.choice(list(articles))]
        articles[f"{number:02d}.txt"] = paragraphs
    return articles


def make_sign(chance: random.Random) -> SignSettings:
    if chance.randrange(4) == 0:
        return SignSettings()
    texts = chance.randint(1, 6)
    return SignSettings(crowd_texts=texts, crowd_heads=min(texts, chance.randint(1, 2)))


def make_runs(chance: random.Random, names: Sequence[str], most: int) -> list[Step]:
    """Draw runs that ingest all files in any order, some of them twice."""
    order = chance.sample(list(names), len(names))
    cuts = sorted(chance.randint(1, len(order)) for _ in range(chance.randint(0, most - 1)))
    runs = []
    for first, last in itertools.pairwise([0, *cuts, len(order)]):
        if first < last:
            again = [chance.choice(order)] if chance.randrange(4) == 0 else []
            killed_at = chance.randrange(160) if chance.randrange(4) == 0 else None
            batch_bytes = chance.choice([1, 700, 2**24])
            files = list(dict.fromkeys([*order[first:last], *again]))
            portion_bytes = chance.choice([700, 2**27, 2**27])
            workers = chance.randint(1, 3)
            runs.append(Step("ingest", files, workers, batch_bytes, portion_bytes, killed_at))
    return runs


def make_history(chance: random.Random) -> History:
    """Draw a history without removals."""
    articles = make_articles(chance, MOST_FILES)
    names = [*articles, NO_TEXT] if chance.randrange(3) == 0 else list(articles)
    steps = []
    for run in make_runs(chance, names, MOST_RUNS):
        steps.append(run)
        if chance.randrange(4) == 0:
            steps.append(Step(chance.choice(["compact", "reindex", "clean"])))
    return History(articles, make_sign(chance), steps)


def make_removal(chance: random.Random) -> History:
    """Draw a history in which documents are removed; files may be ingested afterwards."""
    articles = make_articles(chance, MOST_FILES)
    order = chance.sample(list(articles), len(articles))
    place = len(order) if chance.randrange(2) else chance.randint(1, len(order))
    removed = chance.sample(order[:place], chance.randint(1, place))
    steps = make_runs(chance, order[:place], 2)
    if chance.randrange(5) == 0:
        steps.append(Step("compact"))
    steps.append(Step("remove", removed))
    if order[place:]:
        steps += make_runs(chance, order[place:], 1)
    return History(articles, make_sign(chance), steps)


histories = st.randoms(use_true_random=False).map(make_history)
removals = st.randoms(use_true_random=False).map(make_removal)


def some_date(digest: str) -> datetime | None:
    """Return a date, derived from the digest, for every third document."""
    number = int(digest[:8], 16)
    return datetime(1990, 1, 1, tzinfo=UTC) + timedelta(days=number % 99) if number % 3 else None


def write_history(folder: Path, history: History) -> None:
    write_articles(folder, history.articles)
    (folder / NO_TEXT).write_bytes(b" \n")


def follow(history: History, folder: Path, archive: Path) -> None:
    """Carry out all steps of a history."""
    for step in history.steps:
        if step.command == "ingest":
            settings = settings_of(
                step.workers, step.batch_bytes, step.portion_bytes, sign=history.sign
            )
            files = [folder / name for name in step.files]
            if step.killed_at is not None:
                _run_and_kill(files, archive, settings, step.killed_at)
            ingest_files(files, archive, settings)
        elif step.command == "remove":
            uris = [uri_of(str(folder / name)) for name in step.files]
            remove(archive, uris, "asked for")
        elif step.command == "clean":
            clean(StoredArchive(archive))
        else:
            {"compact": compact, "reindex": reindex}[step.command](archive)


def _run_and_kill(files: list[Path], archive: Path, settings: Settings, killed_at: int) -> None:
    def run() -> None:
        signal.alarm(SECONDS_TO_HANG)
        Watch(archive.parent, fatal=killed_at)
        ingest_files(files, archive, settings)

    assert forked(run) in (0, KILLED, -signal.SIGALRM)


def run_at_once(
    history: History, folder: Path, archive: Path, names: Sequence[str]
) -> StoredArchive:
    files = [folder / name for name in sorted(names)]
    ingest_files(files, archive, settings_of(2, sign=history.sign))
    return StoredArchive(archive)


@max_examples(300 if LONG else 8)
@given(history=histories)
def test_order_batches_and_failures_do_not_change_the_tables(history: History) -> None:
    with TemporaryDirectory() as place, documents_dated(some_date):
        folder = Path(place)
        write_history(folder / "in", history)
        follow(history, folder / "in", folder / "press")
        names = {name for step in history.steps for name in step.files}
        whole = run_at_once(history, folder / "in", folder / "whole" / "press", list(names))
        found = StoredArchive(folder / "press").snapshot()
        assert digest_tables(found) == digest_tables(whole.snapshot())
        assert digest_archive(found) == digest_archive(whole.snapshot())
        assert_lossless(folder / "press")


@max_examples(300 if LONG else 4)
@given(history=removals)
def test_removed_documents_leave_the_tables_as_if_never_ingested(history: History) -> None:
    with TemporaryDirectory() as place, documents_dated(some_date):
        folder = Path(place)
        write_history(folder / "in", history)
        follow(history, folder / "in", folder / "press")
        removed = {n for step in history.steps if step.command == "remove" for n in step.files}
        removed_articles = [history.articles[name] for name in removed]
        names = [
            name for name, article in history.articles.items() if article not in removed_articles
        ]
        names.append(NO_TEXT)  # so that there is an archive if nothing stays
        whole = run_at_once(history, folder / "in", folder / "whole" / "press", names)
        found, expected = (
            digest_tables(StoredArchive(folder / "press").snapshot()),
            digest_tables(whole.snapshot()),
        )
        for name in found.keys() - {"removals", "rejects"}:
            assert found[name] == expected[name], name
        assert_lossless(folder / "press")


def test_order_of_the_examples_does_not_change_the_tables(
    examples: Path, examples_archive: Path, tmp_path: Path
) -> None:
    files = sorted(path for path in examples.rglob("*") if path.is_file())
    expected = digest_archive(StoredArchive(examples_archive).snapshot())
    shuffled = random.Random(1).sample(files, len(files))
    for order, at_once in ((files[::-1], 1), (shuffled, 1 if LONG else 3)):
        archive = tmp_path / order[0].stem / "press"
        for first in range(0, len(order), at_once):
            ingest_files(order[first : first + at_once], archive)
        assert digest_archive(StoredArchive(archive).snapshot()) == expected


def test_earlier_original_becomes_the_representative_even_if_ingested_last(
    tmp_path: Path, fresh_archive: Path
) -> None:
    articles = {
        "a-undated.txt": [make_paragraph(1, edit=2)],
        "b-of-2020.txt": [make_paragraph(1)],
        "c-of-2010.txt": [make_paragraph(1, edit=3)],
    }
    folder = write_articles(tmp_path / "in", articles)
    files = sorted(folder.iterdir())
    years = {"b-of-2020.txt": 2020, "c-of-2010.txt": 2010}
    dates = {
        sha256(path.read_bytes()).hexdigest(): datetime(years[path.name], 5, 1, tzinfo=UTC)
        for path in files
        if path.name in years
    }
    with documents_dated(dates.get):
        for number, expected in enumerate(["a-undated.txt", "b-of-2020.txt", "c-of-2010.txt"]):
            assert ingest_files([files[number]], fresh_archive).version == number + 1
            snapshot = StoredArchive(fresh_archive).snapshot()
            [kept] = snapshot.read("paragraphs").to_pylist()
            assert kept["uri"] == uri_of(str(folder / expected))
            assert kept["text"] == articles[expected][0]
            folded = snapshot.read("variants").to_pylist()
            assert {row["paragraph_id"] for row in folded} <= {kept["paragraph_id"]}
            assert len(folded) == number
        ingest_files(files, tmp_path / "whole" / "press")
    whole = StoredArchive(tmp_path / "whole" / "press").snapshot()
    assert digest_archive(snapshot) == digest_archive(whole)


SEEDS_OF_CROWDS = (1, 2, 10)


def test_digest_changes_if_pairs_that_a_crowd_dropped_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    differ = [_differs_by_order(tmp_path / f"right-{seed}", seed) for seed in SEEDS_OF_CROWDS]
    assert not any(differ)

    real = palimpsest.pipeline.run.pairs_given_up
    monkeypatch.setattr(palimpsest.pipeline.run, "pairs_given_up", lambda *given: real(*given)[:0])
    differ = [_differs_by_order(tmp_path / f"wrong-{seed}", seed) for seed in SEEDS_OF_CROWDS]
    assert any(differ)


def _differs_by_order(place: Path, seed: int) -> bool:
    """Return whether files ingested one by one, last first, give the same as all at once."""
    sign = SignSettings(crowd_texts=2, crowd_heads=1, fingerprint_texts=2)
    articles = make_articles(random.Random(seed), 6)
    files = sorted(write_articles(place / "in", articles).iterdir(), reverse=True)
    for at in range(0, len(files), 2):
        ingest_files(files[at : at + 2], place / "parts" / "press", settings_of(sign=sign))
    ingest_files(files, place / "whole" / "press", settings_of(sign=sign))
    parts, whole = (StoredArchive(place / name / "press").snapshot() for name in ("parts", "whole"))
    return digest_archive(parts) != digest_archive(whole)
