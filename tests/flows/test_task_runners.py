"""The tables do not depend on the task runner, nor on how the join is split."""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from prefect.context import serialize_context
from prefect.task_runners import ThreadPoolTaskRunner

import palimpsest.flows.ingest as flow_module
import palimpsest.flows.task_runners as runners_module
import palimpsest.pipeline.matching as match_module
from palimpsest.cli.main import main
from palimpsest.dedup.candidates import Crowds, sort_buckets, unpack_pairs
from palimpsest.dedup.signatures import Windows
from palimpsest.flows.prefect_environment import prepare_flow_run
from palimpsest.pipeline.matching import band_groups, merge_groups, pair_bands
from palimpsest.pipeline.staging import load_array, save_arrays
from palimpsest.pipeline.steps import PAIR_BANDS, STAGE_BATCH
from palimpsest.records.errors import SettingsError
from palimpsest.records.progress import Step
from palimpsest.records.settings import RunSettings, Settings, SignSettings, parse_settings
from palimpsest.store.archive import StoredArchive
from palimpsest.store.digest import digest_archive
from tests import oracles
from tests.pipeline.corpora import (
    ingest,
    make_paragraph,
    reuse_articles,
    settings_of,
    write_articles,
)
from tests.strategies import crowd_limits, max_examples

BATCH_BYTES = 1500
_MOST_PICKLED = 64 * 2**10


def _needs(extra: str) -> pytest.MarkDecorator:
    reason = f"prefect-{extra} is not installed: pip install 'palimpsest-archive[{extra}]'"
    return pytest.mark.skipif(find_spec(f"prefect_{extra}") is None, reason=reason)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    articles = reuse_articles() | {
        f"g{n}.txt": [make_paragraph(20 + n), make_paragraph(1, edit=n), make_paragraph(4 * n)]
        for n in range(6)
    }
    return write_articles(tmp_path / "in", articles)


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have even the join of few texts split."""
    monkeypatch.setattr(match_module, "TEXTS_IN_GROUP", 2)


def _settings(**run: Any) -> Settings:
    return Settings(run=RunSettings(**{"workers": 2, "batch_bytes": BATCH_BYTES} | run))


def _digest(archive: Path) -> str:
    return digest_archive(StoredArchive(archive).snapshot())


@contextmanager
def _reports_to(report: Callable[[str, int, int], None]) -> Iterator[None]:
    token = flow_module.progress.set(report)
    try:
        yield
    finally:
        flow_module.progress.reset(token)


@pytest.mark.usefixtures("prefect_harness", "small_groups")
@pytest.mark.parametrize(
    "runner",
    [
        "threads",
        "processes",
        pytest.param("dask", marks=_needs("dask")),
        pytest.param("ray", marks=_needs("ray")),
    ],
)
def test_every_runner_gives_the_same_digest(
    runner: str, corpus: Path, tmp_path: Path, fresh_archive: Path
) -> None:
    ingest(corpus, tmp_path / "plain")
    files = sorted(corpus.iterdir())
    ingest(files[::2], fresh_archive)
    progress: list[tuple[Step, int, int]] = []
    spawned: set[int | None] = set()

    def report(*step: Any) -> None:
        progress.append(step)
        spawned.update(one.pid for one in multiprocessing.active_children())

    with _reports_to(report):  # with plain parameters, as a deployment calls the flow
        plain = {"run": {"workers": 2, "batch_bytes": BATCH_BYTES, "runner": runner}}
        summary = flow_module.ingest([str(corpus)], str(fresh_archive), plain)
    assert _digest(fresh_archive) == _digest(tmp_path / "plain")
    assert summary["sources_new"] == len(files[1::2])
    assert max(total for step, _, total in progress if step == STAGE_BATCH) >= 3
    assert (PAIR_BANDS, 2, 2) in progress
    if runner != "ray":  # whose processes are not our children
        assert (len(spawned) >= 2) == (runner != "threads")


@_needs("dask")
@pytest.mark.skipif("PALIMPSEST_LONG" not in os.environ, reason="long: make order")
@pytest.mark.usefixtures("prefect_harness", "small_groups")
def test_killed_worker_of_a_dask_cluster_does_not_matter(
    corpus: Path, tmp_path: Path, fresh_archive: Path
) -> None:
    from distributed import LocalCluster

    ingest(corpus, tmp_path / "plain")
    killed = []
    nowhere = {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
    with LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=0, **nowhere) as cluster:

        def kill_once(step: Step, _done: int, _total: int) -> None:
            if step == STAGE_BATCH and not killed:
                killed.append(cluster.workers[0].pid)
                os.kill(killed[0], signal.SIGKILL)

        with _reports_to(kill_once):
            settings = _settings(runner="dask", cluster=cluster.scheduler_address)
            flow_module.ingest([str(corpus)], str(fresh_archive), settings)
    assert killed
    assert _digest(fresh_archive) == _digest(tmp_path / "plain")


@pytest.mark.usefixtures("prefect_harness")
def test_run_with_nothing_to_do_starts_no_worker(corpus: Path, fresh_archive: Path) -> None:
    ingest(corpus, fresh_archive)
    spawned = []
    with _reports_to(lambda *_: spawned.extend(multiprocessing.active_children())):
        settings = _settings(runner="processes")
        summary = flow_module.ingest([str(corpus)], str(fresh_archive), settings)
    assert summary["version"] is None
    assert spawned == []


class _RecordingRunner(ThreadPoolTaskRunner[Any]):
    """Threads that record each task as it would be sent to another process."""

    sent: list[tuple[str, bytes]]

    def submit(self, task: Any, parameters: Any, *more: Any, **named: Any) -> Any:
        whole = {"task": task, "parameters": parameters, "context": serialize_context()}
        self.sent.append((task.name, cloudpickle.dumps(whole)))
        return super().submit(task, parameters, *more, **named)


@pytest.mark.usefixtures("prefect_harness", "small_groups")
def test_tasks_are_sent_as_paths_and_settings_and_never_as_data(
    corpus: Path, fresh_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, bytes]] = []

    def recording_threads(settings: RunSettings) -> Any:
        runner: Any = _RecordingRunner(max_workers=settings.workers)
        runner.sent = sent
        return runner

    monkeypatch.setattr(runners_module, "_threads", recording_threads)
    ingest(sorted(corpus.iterdir())[::2], fresh_archive)
    texts = [make_paragraph(100 + n, 1200) for n in range(12)]
    write_articles(corpus, {"long.txt": [*texts, *(make_paragraph(n, edit=2) for n in range(9))]})
    assert (corpus / "long.txt").stat().st_size > _MOST_PICKLED
    flow_module.ingest([str(corpus)], str(fresh_archive), _settings())
    largest = {name: max(len(one) for of, one in sent if of == name) for name, _ in sent}
    print(f"bytes of a task as it is sent: {largest}")
    assert set(largest) == {"read batch", "gather texts", "find candidates", "align"}
    assert max(largest.values()) < _MOST_PICKLED
    for _, one in sent:
        assert b".parquet" not in one  # nor the list of an archive's files, which may be long
        assert texts[0][:20].encode() not in one


def test_cluster_needs_the_runner_dask_or_ray() -> None:
    for runner in ("threads", "processes"):
        with pytest.raises(SettingsError) as caught:
            parse_settings({"run": {"runner": runner, "cluster": "tcp://10.0.0.5:8786"}})
        [fault] = caught.value.faults
        assert "cluster = 'tcp://10.0.0.5:8786'" in fault
        assert f"runner = {runner}" in fault
        assert "dask or ray" in fault


@pytest.mark.parametrize("extra", ["dask", "ray"])
def test_error_for_a_missing_extra_says_what_to_install(
    extra: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners_module, "find_spec", lambda _: None)
    with pytest.raises(SettingsError) as caught:
        runners_module.task_runner_of(RunSettings(runner=extra))
    assert f"pip install 'palimpsest-archive[{extra}]'" in caught.value.faults[0]


@pytest.mark.parametrize("address", ["tcp://10.0.0.5:8786", "press-1:8786", "ray://h:10001"])
def test_workers_on_other_machines_need_a_server_that_they_can_reach(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(SettingsError) as caught:
        prepare_flow_run(tmp_path, address)
    assert "set PREFECT_API_URL" in caught.value.faults[0]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--cluster", "tcp://h:8786"], "expected runner = dask or ray"),
        (["--runner", "processes", "--cluster", "tcp://h:8786"], "expected runner = dask or ray"),
        (["--runner", "dask", "--no-prefect"], "--no-prefect: expected --runner threads"),
        (["--set", "run.runner=ray", "--no-prefect"], "--no-prefect: expected --runner threads"),
        (["--set", "run.runner=slurm"], "run.runner = 'slurm'"),
        (["--runner", "dask", "--cluster", "tcp://10.0.0.5:8786"], "set PREFECT_API_URL"),
    ],
)
def test_command_refuses_options_that_contradict_each_other(
    options: list[str],
    fault: str,
    corpus: Path,
    tmp_path: Path,
    fresh_archive: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    arguments = ["ingest", str(corpus), "--archive", str(fresh_archive), *options]
    result = CliRunner().invoke(main, [*arguments, "--state", str(tmp_path / "state")])
    assert result.exit_code == 2
    assert fault in result.output
    assert not fresh_archive.exists()


_TEXTS = 12


@st.composite
def _laid_out(draw: st.DrawFn) -> tuple[Any, ...]:
    """Draw windows of texts, their hashes in some bands, and which texts are new."""
    owners = sorted(draw(st.lists(st.integers(0, _TEXTS - 1), min_size=1, max_size=20)))
    many = {"min_size": len(owners), "max_size": len(owners)}
    one_content = st.lists(st.integers(0, 5), min_size=1, max_size=6)
    contents = draw(st.lists(one_content, **many))
    one_hash = st.integers(0, 2).map(lambda n: n * 0x1555555)
    bands = draw(st.lists(st.lists(one_hash, **many), min_size=1, max_size=6))
    half = st.integers(0, 2**64 - 1)
    uppers = sorted(draw(st.lists(half, min_size=_TEXTS, max_size=_TEXTS)))
    is_new = draw(st.lists(st.booleans(), min_size=_TEXTS, max_size=_TEXTS))
    return owners, contents, bands, uppers, is_new


def _stage(folder: Path, laid_out: tuple[Any, ...]) -> None:
    """Write those outputs of the step before pairing that pairing reads."""
    owners, contents, bands, uppers, is_new = laid_out
    ends = np.cumsum([len(one) for one in contents], dtype=np.int64)
    starts = np.concatenate(([0], ends[:-1])).astype(np.int64)
    shingles = np.array(list(chain(*contents)), dtype=np.uint32)
    target = folder / "texts"
    save_arrays(Windows(shingles, np.array(owners, np.int64), starts, ends), target / "windows")
    digests = b"".join(one.to_bytes(8, "big") + bytes(8) for one in uppers)
    np.save(target / "digests.npy", np.frombuffer(digests, np.uint8).reshape(-1, 16))
    np.save(target / "is_new.npy", np.array(is_new, np.bool_))
    for band, hashes in enumerate(bands):
        np.save(target / f"buckets-{band:03d}.npy", sort_buckets(np.array(hashes, np.uint32)))
        save_arrays(Crowds.none(), target / f"crowds-{band:03d}")


def _expected(laid_out: tuple[Any, ...], sign: SignSettings) -> tuple[list[Any], list[Any], int]:
    """Return the pairs, the withdrawn pairs and the number of crowds, for all bands together."""
    owners, contents, bands, uppers, is_new = laid_out
    old = [text for text in range(_TEXTS) if not is_new[text]]
    pairs, lost, crowds = set(), set(), 0
    for hashes in bands:
        after = oracles.give_pairs(hashes, owners, contents, uppers, range(_TEXTS), sign)
        before = oracles.give_pairs(hashes, owners, contents, uppers, old, sign)
        pairs |= {(left, right) for _, left, right in after if is_new[left] or is_new[right]}
        lost |= {(left, right) for _, left, right in before - after}
        for value in set(hashes):
            texts = {o for h, o in zip(hashes, owners, strict=True) if h == value}
            crowds += len(texts) > sign.crowd_texts and any(is_new[text] for text in texts)
    return sorted(pairs), sorted(lost), crowds


def _pairs_in(path: Path) -> list[tuple[int, int]]:
    left, right = unpack_pairs(load_array(path))
    return list(zip(left.tolist(), right.tolist(), strict=True))


@max_examples(40)
@given(_laid_out(), crowd_limits(), st.integers(1, 7))
def test_candidates_do_not_depend_on_the_groups_of_bands(
    laid_out: tuple[Any, ...], sign: SignSettings, groups: int
) -> None:
    bands = len(laid_out[2])
    sign = sign.model_copy(update={"bands": bands, "fingerprint_shingles": 0})
    expected = _expected(laid_out, sign)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _stage(folder, laid_out)
        for group in reversed(range(groups)):
            pair_bands(folder, group, groups, sign)
        count, crowds = merge_groups(folder, groups)
        pairs, lost = _pairs_in(folder / "pairs.npy"), _pairs_in(folder / "lost.npy")
    assert (pairs, lost, crowds) == expected
    assert count == len(pairs)


@pytest.mark.parametrize(
    ("texts", "workers", "groups"), [(0, 8, 1), (19_999, 8, 1), (45_000, 8, 4), (10**6, 64, 20)]
)
def test_number_of_band_groups_follows_texts_and_workers(
    texts: int, workers: int, groups: int, tmp_path: Path
) -> None:
    (tmp_path / "texts").mkdir()
    np.save(tmp_path / "texts" / "is_new.npy", np.zeros(texts, np.bool_))
    assert band_groups(tmp_path, SignSettings(), workers) == groups


def test_direct_run_with_several_workers_gives_the_same_digest(
    corpus: Path, tmp_path: Path, fresh_archive: Path
) -> None:
    ingest(corpus, tmp_path / "plain", settings_of())
    arguments = ["ingest", str(corpus), "--archive", str(fresh_archive), "--no-prefect"]
    arguments += ["--workers", "3", "--set", f"run.batch_bytes={BATCH_BYTES}"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert _digest(fresh_archive) == _digest(tmp_path / "plain")
