"""Readers never wait and never see a partial change, whatever happens to the archive."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.versions import clean
from palimpsest.store.views import connect
from tests.pipeline.corpora import contents, ingest, make_paragraph, write_articles
from tests.pipeline.processes import SPAWN, change_until, join_all, start

_READS, _VERSIONS = 2_000 if os.environ.get("PALIMPSEST_LONG") else 600, 10
_SECONDS = 240.0
_SLOWEST_SECONDS = 5.0
_ARTICLES = 2_000


def _assert_files_match_manifest(snapshot: Snapshot) -> None:
    for name in TABLES:
        for path, file in zip(snapshot.files(name), snapshot.manifest.files[name], strict=True):
            assert pq.read_metadata(path).num_rows == file["rows"]
            assert path.stat().st_size == file["bytes"]


def _assert_occurrences_match_documents(snapshot: Snapshot) -> None:
    paragraphs = pc.sum(snapshot.read("documents", ["paragraphs"]).column(0)).as_py()
    assert (paragraphs or 0) == snapshot.rows("occurrences")


def _assert_texts_are_used_and_unique(snapshot: Snapshot) -> None:
    kept = snapshot.read("paragraphs", ["paragraph_id"]).column(0).to_pylist()
    kept += snapshot.read("variants", ["text_id"]).column(0).to_pylist()
    used = snapshot.read("occurrences", ["text_id"]).column(0).to_pylist()
    assert set(used) == set(kept)
    assert len(set(kept)) == len(kept)


def _assert_sources_match_documents(snapshot: Snapshot) -> None:
    named = snapshot.read("sources", ["document_id"]).column(0).to_pylist()
    there = snapshot.read("documents", ["document_id"]).column(0).to_pylist()
    removed = snapshot.read("removals", ["document_id"]).column(0).to_pylist()
    assert set(named) == set(there)
    assert not set(removed) & set(there)


def _assert_tables_agree_in_duckdb(snapshot: Snapshot) -> None:
    with connect(snapshot) as connection:
        [found] = connection.sql("""
            SELECT
                (SELECT count(*) FROM occurrences),
                (SELECT sum(paragraphs) FROM documents),
                (SELECT count(*) FROM occurrences ANTI JOIN folds USING (text_id)),
                (SELECT count(*) FROM "overlaps" ANTI JOIN folds ON text_id = left_text_id),
                (SELECT count(*) FROM runs)
        """).fetchall()
    occurrences, paragraphs, lost, lost_sides, runs = found
    assert (occurrences, lost, lost_sides) == (paragraphs, 0, 0)
    assert runs == snapshot.rows("runs")


_CHECKS: list[Callable[[Snapshot], None]] = [
    _assert_files_match_manifest, _assert_occurrences_match_documents, _assert_texts_are_used_and_unique, _assert_sources_match_documents,
]  # fmt: skip


def _articles(folder: Path, count: int) -> list[Path]:
    """Write articles in pairs that share a paragraph, so that every removal changes a text."""
    articles = {
        f"{number:05d}.txt": [
            f"Article {number}",
            make_paragraph(number // 2, edit=3 * (number % 2)),
            make_paragraph(10_000 + number % 7),
        ]
        for number in range(count)
    }
    return sorted(write_articles(folder, articles).iterdir())


def test_reads_succeed_and_agree_while_the_archive_changes(
    tmp_path: Path, fresh_archive: Path
) -> None:
    sources = _articles(tmp_path / "in", _ARTICLES)
    ingest(sources[0], fresh_archive)
    stop = SPAWN.Event()
    writer = start(change_until, stop, sources[1:], fresh_archive)
    archive = StoredArchive(fresh_archive)
    versions: list[int] = [1]
    reads, slowest = 0, 0.0
    deadline = time.monotonic() + _SECONDS
    try:
        while reads < _READS or len(versions) < _VERSIONS:
            assert time.monotonic() < deadline, (reads, versions)
            assert writer.is_alive()
            check = _CHECKS[reads % len(_CHECKS)] if reads % 50 else _assert_tables_agree_in_duckdb
            started = time.perf_counter()
            snapshot = archive.snapshot()
            check(snapshot)
            slowest = max(slowest, time.perf_counter() - started)
            version = snapshot.manifest.version
            assert version >= versions[-1]
            if version != versions[-1]:
                versions.append(version)
            reads += 1
    finally:
        stop.set()
        join_all(writer)
    print(f"{reads} reads of {len(versions)} versions, the slowest {slowest:.3f} s")
    assert slowest < _SLOWEST_SECONDS


def test_open_snapshot_survives_clean_until_it_is_released(
    tmp_path: Path, fresh_archive: Path
) -> None:
    first, second, third = _articles(tmp_path / "in", 3)
    ingest(first, fresh_archive)
    archive = StoredArchive(fresh_archive)
    snapshot = archive.snapshot()
    before = {name: snapshot.read(name) for name in TABLES}
    ingest(second, fresh_archive)
    ingest(third, fresh_archive)
    now = contents(fresh_archive)
    done = clean(archive)
    assert (done["dropped"], done["in_use"]) == ([2], [1])
    assert {name: snapshot.read(name) for name in TABLES} == before
    for check in (*_CHECKS, _assert_tables_agree_in_duckdb):
        check(snapshot)
    del snapshot
    done = clean(archive)
    assert (done["dropped"], done["in_use"]) == ([1], [])
    assert archive.numbers() == [3]
    assert contents(fresh_archive) == now


def test_reader_opens_a_newer_version_if_its_own_was_just_deleted(
    tmp_path: Path, fresh_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _articles(tmp_path / "in", 2)
    ingest(first, fresh_archive)
    archive = StoredArchive(fresh_archive)
    resolve, late = Path.resolve, [archive.snapshot().folder]

    def resolve_late(path: Path, strict: bool = False) -> Path:
        """Resolve a link to a version that another run deletes at the same moment."""
        if path == archive.path and late:
            assert resolve(path) == late.pop()
            ingest(second, fresh_archive)
            clean(StoredArchive(fresh_archive))
            if strict:
                raise FileNotFoundError(path)
            return led_to
        return resolve(path, strict)

    led_to = late[0]
    monkeypatch.setattr(Path, "resolve", resolve_late)
    assert archive.snapshot().manifest.version == 2
    assert not late
    assert archive.numbers() == [2]
