"""Ingest, verify, remove, compact, clean and reindex from Python."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import palimpsest
from palimpsest import Archive, SettingsError
from tests.pipeline.corpora import reuse_articles, write_articles

pytestmark = pytest.mark.usefixtures("compiled_kernels")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of six articles with every kind of shared text."""
    return write_articles(tmp_path / "articles", reuse_articles())


def test_ingest_publishes_a_version_and_returns_the_counts(corpus: Path, fresh_archive: Path):
    summary = palimpsest.ingest(corpus, fresh_archive)
    assert summary["version"] == 1
    assert summary["sources_new"] == summary["sources_found"] == len(list(corpus.iterdir()))
    again = palimpsest.ingest([str(corpus)], str(fresh_archive))
    assert (again["version"], again["sources_new"]) == (None, 0)


def test_ingest_writes_the_same_tables_as_the_command(
    corpus: Path, fresh_archive: Path, tmp_path: Path
):
    palimpsest.ingest(corpus, fresh_archive, settings={"read": {"series": "@folder"}})
    command = [str(Path(sys.executable).with_name("palimpsest")), "ingest", str(corpus)]
    command += ["--archive", "press", "--no-prefect", "--series", "@folder"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert Archive(fresh_archive).digest() == Archive(tmp_path / "press").digest()


def test_ingest_reports_its_progress(corpus: Path, fresh_archive: Path):
    steps = set()
    palimpsest.ingest(corpus, fresh_archive, report=lambda step, *_: steps.add(step))
    assert "commit" in steps


def test_ingest_reports_every_invalid_setting(corpus: Path, fresh_archive: Path):
    with pytest.raises(SettingsError) as caught:
        palimpsest.ingest(corpus, fresh_archive, settings={"align": {"min_score": -1, "x": 1}})
    assert len(caught.value.faults) == 2
    assert not fresh_archive.exists()


def test_ingest_refuses_runners_that_need_prefect(corpus: Path, fresh_archive: Path):
    with pytest.raises(SettingsError, match=r"run\.runner = dask: expected threads"):
        palimpsest.ingest(corpus, fresh_archive, settings={"run": {"runner": "dask"}})
    assert not fresh_archive.exists()


def test_ingest_is_a_function_and_a_package():
    import palimpsest.ingest.batch

    assert callable(palimpsest.ingest)
    assert palimpsest.ingest.batch.__name__ == "palimpsest.ingest.batch"
    assert list(inspect.signature(palimpsest.ingest).parameters)[:2] == ["sources", "archive"]
    assert "Raises:" in str(type(palimpsest.ingest).__call__.__doc__)


def test_help_on_ingest_shows_the_function_and_the_package():
    text = pydoc.render_doc(palimpsest.ingest, renderer=pydoc.plaintext)
    for expected in ("Ingest articles into an archive", "Raises:", "PACKAGE CONTENTS"):
        assert expected in text


def test_ingest_can_be_pickled_for_another_process():
    assert pickle.loads(pickle.dumps(palimpsest.ingest)) is palimpsest.ingest
    assert copy.deepcopy(palimpsest.ingest) is palimpsest.ingest
    code = f"import pickle; print(pickle.loads({pickle.dumps(palimpsest.ingest)!r}).__call__)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "CallablePackage.__call__" in result.stdout


def test_verify_passes_until_a_file_is_damaged(corpus: Path, fresh_archive: Path):
    palimpsest.ingest(corpus, fresh_archive)
    archive = Archive(fresh_archive)
    assert archive.verify()["failed"] == 0
    [file] = (fresh_archive / "paragraphs").glob("*.parquet")
    os.chmod(file, 0o644)  # noqa: PTH101
    file.write_bytes(file.read_bytes()[:-40])
    assert archive.verify(tables_only=True)["failed"] > 0


def test_removal_publishes_a_version_without_the_document(corpus: Path, fresh_archive: Path):
    palimpsest.ingest(corpus, fresh_archive)
    archive = Archive(fresh_archive)
    documents_before = archive.rows["documents"]
    removal = archive.remove(min(corpus.iterdir()), "asked by the author")
    assert removal["version"] == 2
    assert archive.rows["documents"] == documents_before
    assert archive.newest().rows["documents"] == documents_before - 1
    assert archive.newest().removals().column("reason").to_pylist() == ["asked by the author"]


def test_removal_of_an_unknown_document_is_refused(corpus: Path, fresh_archive: Path):
    palimpsest.ingest(corpus, fresh_archive)
    with pytest.raises(SettingsError, match="nowhere"):
        Archive(fresh_archive).remove(["nowhere.txt"], "asked")


def test_compacting_cleaning_and_reindexing_keep_the_rows(corpus: Path, fresh_archive: Path):
    for article in sorted(corpus.iterdir()):
        palimpsest.ingest(article, fresh_archive)
    archive = Archive(fresh_archive)
    digest = archive.digest()
    compacted = archive.compact()
    assert compacted["files_after"] < compacted["files_before"]
    archive.reindex()
    archive.clean(keep=1)
    newest = archive.newest()
    assert newest.digest() == digest
    assert newest.verify()["failed"] == 0
    assert newest.versions().num_rows <= 2  # clean spares the version that `archive` has open


def test_opening_a_missing_archive_is_refused(fresh_archive: Path):
    with pytest.raises(SettingsError):
        Archive(fresh_archive)


def test_errors_are_public_and_show_their_public_name():
    assert palimpsest.errors.SettingsError is SettingsError
    assert SettingsError.__module__ == "palimpsest.errors"
    assert set(palimpsest.errors.__all__) == {
        name
        for name, value in vars(palimpsest.errors).items()
        if isinstance(value, type) and issubclass(value, palimpsest.ArchiveError)
    }
