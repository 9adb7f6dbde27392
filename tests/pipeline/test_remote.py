"""Runs on an object store give what runs in a folder give, from any machine and concurrently."""

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, current_thread
from typing import Any

import pytest

import palimpsest.store.remote
from palimpsest.pipeline.compact import compact
from palimpsest.pipeline.index_upkeep import reindex
from palimpsest.pipeline.remove import remove
from palimpsest.pipeline.summary import RunSummary
from palimpsest.pipeline.verify import verify
from palimpsest.records.settings import Settings
from palimpsest.store.address import open_archive
from palimpsest.store.digest import digest_archive
from palimpsest.store.remote import RemoteArchive
from tests.pipeline.corpora import contents, ingest, reuse_articles, settings_of, write_articles
from tests.services import needs_servers
from tests.store.s3 import on_another_machine


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(write_articles(tmp_path_factory.mktemp("corpus"), reuse_articles()).iterdir())


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory, corpus: list[Path]) -> str:
    """The digest of an archive in a folder that one run has made from the corpus."""
    path = tmp_path_factory.mktemp("at-once") / "press"
    ingest(corpus, path)
    assert contents(path)["overlaps"]
    return digest_of(path)


def digest_of(archive: Path | str) -> str:
    return digest_archive(open_archive(archive).snapshot())


def test_every_change_gives_the_same_tables_in_a_folder_and_on_s3(
    s3_archive: str, fresh_archive: Path, corpus: list[Path]
) -> None:
    digests = []
    for archive in (fresh_archive, s3_archive):
        ingest(corpus[:3], archive)
        ingest(corpus[3:], archive)
        digests.append([digest_of(archive)])
        removal = remove(archive, [corpus[1].as_uri()], "asked for")
        assert removal.archive == str(archive)
        compact(archive)
        reindex(archive)
        digests[-1].append(digest_of(archive))
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[0][1]
    archive = open_archive(s3_archive)
    assert [one.operation for one in archive.published()][2:] == ["remove", "compact", "reindex"]
    assert not verify(archive, archive.snapshot()).failed


def test_runs_from_two_machines_in_turn_give_what_one_run_gives(
    s3_archive: str, corpus: list[Path], at_once: str, tmp_path: Path
) -> None:
    for number in range(3):
        with on_another_machine(tmp_path / f"machine-{number % 2}"):
            assert ingest(corpus[number::3], s3_archive).version == number + 1
    with on_another_machine(tmp_path / "reader"):
        assert digest_of(s3_archive) == at_once
    again = ingest(corpus, s3_archive)
    assert (again.version, again.sources_known) == (None, len(corpus))


def test_two_machines_at_once_publish_one_after_the_other_and_lose_nothing(
    s3_archive: str,
    corpus: list[Path],
    at_once: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish, both, met = RemoteArchive.publish, Barrier(2), set()

    def publish_together(*arguments: Any) -> Any:
        if current_thread() not in met:  # both have a version 1 by then
            met.add(current_thread())
            both.wait(120)
        return publish(*arguments)

    def run_on(machine: str, sources: list[Path]) -> RunSummary:
        current_thread().name = machine
        return ingest(sources, s3_archive, settings_of(1))

    monkeypatch.setattr(RemoteArchive, "publish", publish_together)
    monkeypatch.setattr(
        palimpsest.store.remote, "_copies", lambda: tmp_path / current_thread().name
    )
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(run_on, "left", corpus[::2]),
            pool.submit(run_on, "right", corpus[1::2]),
        ]
        quick, late = sorted((run.result() for run in runs), key=lambda one: one.version or 0)
    assert (quick.version, late.version) == (1, 2)
    assert quick.sources_new + late.sources_new == len(corpus)
    assert (quick.batches_taken_up, late.batches_taken_up) == (0, 1)  # it reads nothing twice
    assert digest_of(s3_archive) == at_once


def test_flow_accepts_the_address_of_an_archive(
    s3_archive: str,
    corpus: list[Path],
    at_once: str,
    prefect_harness: Callable[[], None],  # noqa: ARG001
) -> None:
    from palimpsest.flows.ingest import ingest_with

    summary = ingest_with([str(one) for one in corpus], s3_archive, Settings())
    assert summary["archive"] == s3_archive
    assert digest_of(s3_archive) == at_once


@needs_servers
@pytest.mark.usefixtures("s3")
def test_run_killed_at_its_commit_leaves_a_whole_version(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.sweep.remote", "--kills", "2"],
        cwd=root, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    counts = re.search(
        r"commit: (\d+), killed: 2, .*before: (\d), after: (\d), torn: (\d)", done.stdout
    )
    assert counts, done.stdout + done.stderr
    assert int(counts[1]) > 15
    assert [int(one) for one in counts.groups()[1:]] == [1, 1, 0], done.stdout
    assert done.returncode == 0
