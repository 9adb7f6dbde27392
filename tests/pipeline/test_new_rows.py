"""Concurrent runs: a run that commits later knows the rows that others have committed."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import pyarrow as pa
import pytest

from palimpsest.pipeline.executors import run_in_order
from palimpsest.pipeline.index_upkeep import FILE_KEY, SOURCE_KEY, file_keys, source_keys
from palimpsest.pipeline.run import run_ingest
from palimpsest.pipeline.steps import STAGE_BATCH, RunStep
from palimpsest.pipeline.summary import RunSummary
from palimpsest.records.ids import document_id_of
from palimpsest.records.progress import silent
from palimpsest.records.schemas import REMOVALS, TABLES
from palimpsest.store.archive import StoredArchive
from palimpsest.store.commit import ChangeSet, open_writer
from tests.pipeline.corpora import (
    assert_lossless,
    contents,
    ingest,
    reuse_articles,
    settings_of,
    write_articles,
)


def _ingest_together(sources: list[list[Path]], archive: Path) -> list[RunSummary]:
    """Run several ingests; none commits before all have read their sources."""
    barrier = Barrier(len(sources))

    def executor(step: RunStep, arguments: Any, report: Any) -> list[Any]:
        results = run_in_order(step, arguments, report)
        if step == STAGE_BATCH:
            barrier.wait(60)
        return results

    def run(files: list[Path]) -> RunSummary:
        return run_ingest(
            [str(f) for f in files], archive, settings_of(), executor=executor, report=silent
        )

    with ThreadPoolExecutor(len(sources)) as pool:
        return list(pool.map(run, sources))


def _counts(summary: RunSummary) -> tuple[int, int, int, int]:
    return (
        summary.sources_found,
        summary.sources_new,
        summary.sources_known,
        summary.sources_rejected,
    )


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return sorted(write_articles(tmp_path / "in", reuse_articles()).iterdir())


@pytest.fixture(params=["first run", "later run"])
def known(request: pytest.FixtureRequest) -> int:
    """Return the number of files that an earlier run has ingested."""
    return 0 if request.param == "first run" else 2


def test_two_concurrent_runs_count_each_source_as_new_only_once(
    files: list[Path], known: int, fresh_archive: Path, tmp_path: Path
) -> None:
    once = tmp_path / "once" / "press"
    for archive in (fresh_archive, once):
        if known:
            ingest(files[:known], archive)
    ingest(files, once)
    fresh = len(files) - known
    first, second = sorted(
        _ingest_together([files, files], fresh_archive), key=lambda run: run.sources_known
    )
    assert _counts(first) == (len(files), fresh, known, 0)
    assert _counts(second) == (len(files), 0, len(files), 0)
    assert second.version is None
    assert contents(fresh_archive) == contents(once)
    assert StoredArchive(fresh_archive).snapshot().manifest.version == first.version
    assert list(StoredArchive(fresh_archive).staging.iterdir()) == []


def test_concurrent_runs_over_overlapping_files_give_what_one_run_gives(
    files: list[Path], known: int, fresh_archive: Path, tmp_path: Path
) -> None:
    once = tmp_path / "once" / "press"
    ingest(files, once)
    if known:
        ingest(files[:known], fresh_archive)
    parts = [files[:4], files[2:], files[1:5]]
    summaries = _ingest_together(parts, fresh_archive)
    assert sum(one.sources_new for one in summaries) == len(files) - known
    assert [one.sources_new + one.sources_known for one in summaries] == [4, 4, 4]
    assert contents(fresh_archive) == contents(once)
    assert_lossless(fresh_archive)


def test_copies_ingested_by_two_concurrent_runs_are_one_document(
    files: list[Path], fresh_archive: Path, tmp_path: Path
) -> None:
    copies = sorted(write_articles(tmp_path / "copies", reuse_articles()).iterdir())
    once = tmp_path / "once" / "press"
    ingest([*files, *copies], once)
    summaries = _ingest_together([files, copies], fresh_archive)
    assert [one.sources_new for one in summaries] == [len(files)] * 2
    assert sorted(one.documents_new for one in summaries) == [0, len(files)]
    assert contents(fresh_archive) == contents(once)


def test_rejects_recorded_by_another_run_are_not_recorded_again(
    files: list[Path], fresh_archive: Path
) -> None:
    (files[0].parent / "empty.txt").write_text("")
    everything = sorted(files[0].parent.iterdir())
    summaries = _ingest_together([everything, everything], fresh_archive)
    assert [one.sources_rejected for one in summaries] == [1, 1]
    assert StoredArchive(fresh_archive).snapshot().rows("rejects") == 1


def test_removed_document_is_rejected_under_any_name(
    files: list[Path], fresh_archive: Path, tmp_path: Path
) -> None:
    removed, others = files[2], files[:2] + files[3:]
    copy = tmp_path / "copy.txt"
    copy.write_bytes(removed.read_bytes())
    without = tmp_path / "without" / "press"
    for archive in (fresh_archive, without):
        ingest(files[:1], archive)
    removal = {
        "document_id": document_id_of(hashlib.sha256(removed.read_bytes()).hexdigest()),
        "reason": "asked for",
        "removed_at": datetime(2024, 5, 1, tzinfo=UTC),
        "run_id": "r0",
    }
    with open_writer(StoredArchive(fresh_archive), "r0") as writer:
        rows = pa.Table.from_pylist([removal], schema=REMOVALS)
        writer.commit(ChangeSet(added={"removals": rows}, sealed=writer.base.manifest.sealed))
    summary = ingest([*files, copy], fresh_archive)
    assert _counts(summary) == (len(files) + 1, len(files) - 2, 1, 2)
    assert summary.rejects_by_reason == {"removed": 2}
    rejects = StoredArchive(fresh_archive).snapshot().read("rejects").to_pylist()
    assert {row["detail"] for row in rejects} == {"taken down on 2024-05-01: asked for"}
    ingest(others, without)
    found, expected = contents(fresh_archive), contents(without)
    for name in expected.keys() - {"rejects", "removals"}:
        assert found[name] == expected[name]
    again = ingest([*files, copy], fresh_archive)
    assert (again.version, *_counts(again)[1:]) == (None, 0, len(files) - 1, 2)


def test_source_keys_are_digests_of_their_identifying_columns() -> None:
    first, second = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 1, 0, 0, 0, 1, tzinfo=UTC)
    found = [
        ("file:///a%201", 12, first, "d" * 32),
        ("file:///a%201", 12, second, "d" * 32),
        ("file:///a%201", 1, first, "d" * 32),
        ("file:///é", 12, datetime(1, 1, 1, tzinfo=UTC), "d" * 32),
        ("file:///a.zip#1", 12, first, "d" * 32),
        ("file:///a.zip#1", 12, None, "e" * 32),
    ]
    rows = [dict(zip(SOURCE_KEY, one, strict=True)) for one in found]
    sources = pa.Table.from_pylist(rows, schema=pa.schema([_field(one) for one in SOURCE_KEY]))
    names = [f"{size} {time.isoformat()} {uri}" for uri, size, time, _ in found[:4]]
    names += [f"{document_id} {uri}" for uri, _, _, document_id in found[4:]]
    keys = [hashlib.blake2b(one.encode(), digest_size=16).digest() for one in names]
    assert source_keys(sources).tobytes() == b"".join(keys)
    assert file_keys(sources.slice(0, 4).select(FILE_KEY)).tobytes() == b"".join(keys[:4])
    assert file_keys(sources.slice(0, 0)).shape == (0, 16)


def _field(name: str) -> pa.Field:
    return TABLES["sources"].field(name).with_nullable(True)
