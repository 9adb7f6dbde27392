"""A run resumes the complete batches that an unfinished run has staged."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

import palimpsest.pipeline.plan
import palimpsest.pipeline.run
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import contents, ingest, reuse_articles, settings_of, write_articles

_SETTINGS = settings_of(1, 700)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_articles(tmp_path / "in", reuse_articles())


def _fail(*_: Any, **__: Any) -> Any:
    raise PermissionError(errno.EACCES, "refused")


def _stage_only(corpus: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a run fail before it writes; return the number of batches that it leaves."""
    with monkeypatch.context() as patch:
        patch.setattr(palimpsest.pipeline.run, "open_writer", _fail)
        with pytest.raises(PermissionError):
            ingest(corpus, archive, _SETTINGS)
    return len(list(StoredArchive(archive).staging.rglob("batch-?????")))


def test_batches_of_a_failed_run_are_resumed(
    corpus: Path, fresh_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = _stage_only(corpus, fresh_archive, monkeypatch)
    assert staged > 2
    assert ingest(corpus, fresh_archive, _SETTINGS).batches_taken_up == staged
    ingest(corpus, tmp_path / "undisturbed")
    assert contents(fresh_archive) == contents(tmp_path / "undisturbed")


def test_batches_are_resumed_again_after_a_run_that_failed_while_planning(
    corpus: Path, fresh_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = _stage_only(corpus, fresh_archive, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(palimpsest.pipeline.plan, "save_table", _fail)
        with pytest.raises(PermissionError):
            ingest(corpus, fresh_archive, _SETTINGS)
    assert ingest(corpus, fresh_archive, _SETTINGS).batches_taken_up == staged


def test_half_removed_staging_folder_is_no_obstacle(
    corpus: Path, fresh_archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_tree = shutil.rmtree

    def remove_half(folder: Path, ignore_errors: bool = False) -> None:
        if not (folder / "batch-00000").is_dir():
            remove_tree(folder, ignore_errors)
            return
        (folder / "batch-00000" / palimpsest.pipeline.plan.FILES).unlink()
        if not ignore_errors:
            _fail()

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", remove_half)
        assert ingest(corpus, fresh_archive, _SETTINGS).version == 1
    place = StoredArchive(fresh_archive)
    assert len(list(place.staging.iterdir())) == 1
    write_articles(corpus, {"z.txt": ["One more"]})
    assert ingest(corpus, fresh_archive, _SETTINGS).version == 2
    assert not list(place.staging.iterdir())
