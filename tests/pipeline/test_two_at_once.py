"""Two processes change one archive: each waits for the other, and no change is lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from palimpsest.pipeline.remove import remove
from palimpsest.records.errors import TransientError
from palimpsest.records.settings import RunSettings, Settings
from palimpsest.store.archive import StoredArchive
from palimpsest.store.commit import open_writer
from tests.pipeline.corpora import (
    assert_lossless,
    contents,
    ingest,
    make_paragraph,
    reuse_articles,
    settings_of,
    write_articles,
)
from tests.pipeline.processes import (
    BATCH_BYTES,
    SPAWN,
    compact_with,
    ingest_with,
    join_all,
    remove_with,
    start,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = write_articles(tmp_path_factory.mktemp("corpus"), reuse_articles())
    write_articles(folder, {"0.txt": [make_paragraph(1, edit=2), make_paragraph(30)]})
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory, corpus: list[Path]) -> dict[str, list[str]]:
    """The contents of an archive of the corpus, made in one run."""
    path = tmp_path_factory.mktemp("at-once") / "press"
    ingest(corpus, path)
    found = contents(path)
    assert found["overlaps"]
    assert found["variants"]
    return found


def _ingest_both(
    left: list[Path], right: list[Path], archive: Path, folder: Path
) -> list[dict[str, Any]]:
    barrier = SPAWN.Barrier(2)
    paths = [folder / "left.json", folder / "right.json"]
    join_all(
        *(
            start(ingest_with, barrier, sources, archive, path)
            for sources, path in zip((left, right), paths, strict=True)
        )
    )
    return [json.loads(path.read_text()) for path in paths]


def _assert_nothing_left(archive: Path) -> None:
    place = StoredArchive(archive)
    assert not list(place.staging.iterdir())
    assert {one.name for one in place.index.iterdir()} == set(place.snapshot().manifest.segments)
    assert all(one.name.isdigit() for one in place.versions.iterdir())


@pytest.mark.parametrize("known", [0, 1], ids=["no-archive-yet", "an-archive"])
def test_concurrent_runs_over_two_halves_give_what_one_run_gives(
    corpus: list[Path],
    at_once: dict[str, list[str]],
    fresh_archive: Path,
    tmp_path: Path,
    known: int,
) -> None:
    if known:
        ingest(corpus[:known], fresh_archive)
    summaries = _ingest_both(corpus[known::2], corpus[known + 1 :: 2], fresh_archive, tmp_path)
    assert contents(fresh_archive) == at_once
    assert_lossless(fresh_archive)
    assert sum(one["sources_new"] for one in summaries) == len(corpus) - known
    assert sum(one["sources_known"] for one in summaries) == 0
    assert sorted(one["version"] for one in summaries) == [known + 1, known + 2]
    _assert_nothing_left(fresh_archive)


def test_concurrent_runs_over_the_same_files_ingest_them_once(
    corpus: list[Path], at_once: dict[str, list[str]], fresh_archive: Path, tmp_path: Path
) -> None:
    summaries = _ingest_both(corpus, corpus, fresh_archive, tmp_path)
    assert contents(fresh_archive) == at_once
    assert sorted(one["sources_new"] for one in summaries) == [0, len(corpus)]
    assert sorted(one["sources_known"] for one in summaries) == [0, len(corpus)]
    assert sorted(one["version"] or 0 for one in summaries) == [0, 1]
    _assert_nothing_left(fresh_archive)


def test_concurrent_ingest_and_removal_give_what_they_give_in_turn(
    corpus: list[Path], fresh_archive: Path, tmp_path: Path
) -> None:
    removed = corpus[2].as_uri()
    one_by_one = tmp_path / "one-by-one"
    ingest(corpus, one_by_one)
    remove(one_by_one, [removed], "asked for")
    ingest(corpus[:4], fresh_archive)
    barrier = SPAWN.Barrier(2)
    join_all(
        start(ingest_with, barrier, corpus[4:], fresh_archive, tmp_path / "summary.json"),
        start(remove_with, barrier, fresh_archive, removed),
    )
    found, expected = contents(fresh_archive), contents(one_by_one)
    [removal], [expected_removal] = found.pop("removals"), expected.pop("removals")
    assert json.loads(removal)["document_id"] == json.loads(expected_removal)["document_id"]
    assert found == expected
    _assert_nothing_left(fresh_archive)


def test_concurrent_ingest_and_compaction_lose_nothing(
    corpus: list[Path], at_once: dict[str, list[str]], fresh_archive: Path, tmp_path: Path
) -> None:
    for source in corpus[:3]:
        ingest(source, fresh_archive)
    barrier = SPAWN.Barrier(2)
    join_all(
        start(ingest_with, barrier, corpus[3:], fresh_archive, tmp_path / "summary.json"),
        start(compact_with, barrier, fresh_archive),
    )
    assert contents(fresh_archive) == at_once
    operations = sorted(one.operation for one in StoredArchive(fresh_archive).published())
    assert operations == ["compact", *["ingest"] * 4]
    _assert_nothing_left(fresh_archive)


def test_run_that_gives_up_waiting_leaves_its_batches_to_the_next(
    corpus: list[Path], at_once: dict[str, list[str]], fresh_archive: Path
) -> None:
    ingest(corpus[:1], fresh_archive)
    before = contents(fresh_archive)
    hasty = Settings(run=RunSettings(workers=1, batch_bytes=BATCH_BYTES, wait_seconds=0.2))
    with (
        open_writer(StoredArchive(fresh_archive), "other"),
        pytest.raises(TransientError, match="another"),
    ):
        ingest(corpus, fresh_archive, hasty)
    assert contents(fresh_archive) == before
    staged = len(list(StoredArchive(fresh_archive).staging.glob("*/batch-?????")))
    assert staged > 1
    summary = ingest(corpus, fresh_archive, settings_of(1))
    assert summary.batches_taken_up == staged
    assert summary.sources_new == len(corpus) - 1
    assert contents(fresh_archive) == at_once
    _assert_nothing_left(fresh_archive)
