"""Output files and folders are complete or absent, and never overwrite anything by accident."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from palimpsest.records.errors import SettingsError
from palimpsest.store.files import new_file, new_folder


def test_file_appears_once_complete(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    with new_file(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert list(tmp_path.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_folder_appears_once_complete(tmp_path: Path) -> None:
    path = tmp_path / "report"
    with new_folder(path) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "a").write_bytes(b"a")
        assert not path.exists()
    assert [one.relative_to(path).as_posix() for one in sorted(path.rglob("*"))] == [
        "inner",
        "inner/a",
    ]
    assert list(tmp_path.iterdir()) == [path]


def fill_file(path: Path, then: Any) -> None:
    with new_file(path) as file:
        file.write(b"mine")
        then()


def fill_folder(path: Path, then: Any) -> None:
    with new_folder(path) as folder:
        (folder / "a").write_bytes(b"mine")
        then()


@pytest.mark.parametrize("fill", [fill_file, fill_folder])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_if_writing_fails(fill: Any, error: Any, tmp_path: Path) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(error):
        fill(tmp_path / "report", fail)
    assert list(tmp_path.iterdir()) == []


def make_file(path: Path) -> None:
    path.write_bytes(b"theirs")


def make_folder(path: Path) -> None:
    path.mkdir()


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("fill", [fill_file, fill_folder])
@pytest.mark.parametrize("make", [make_file, make_folder, make_dangling_link])
@pytest.mark.parametrize("is_late", [False, True])
def test_existing_files_and_folders_are_kept(
    fill: Any, make: Any, is_late: bool, tmp_path: Path
) -> None:
    path = tmp_path / "report"
    if not is_late:
        make(path)
    with pytest.raises(SettingsError, match="already exists; name a new"):
        fill(path, lambda: make(path) if is_late else pytest.fail("it was asked to work"))
    assert list(tmp_path.iterdir()) == [path]
    assert path.is_symlink() or path.is_dir() or path.read_bytes() == b"theirs"
    assert not path.is_dir() or list(path.iterdir()) == []


def test_file_is_replaced_on_request(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    make_file(path)
    with new_file(path, replace=True) as file:
        file.write(b"mine")
        assert path.read_bytes() == b"theirs"
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    make_folder(tmp_path / "folder")
    with (
        pytest.raises(SettingsError, match=r"name a new file$"),
        new_file(tmp_path / "folder", replace=True),
    ):
        pytest.fail("it was asked to work")


@pytest.mark.parametrize("fill", [fill_file, fill_folder])
def test_missing_parent_folder_is_reported(fill: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="none/report: No such file or directory"):
        fill(tmp_path / "none" / "report", lambda: None)


def test_file_system_without_hard_links_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    fill_file(tmp_path / "report", lambda: None)
    assert (tmp_path / "report").read_bytes() == b"mine"
    with pytest.raises(SettingsError, match="already exists"):
        fill_file(tmp_path / "other", lambda: make_file(tmp_path / "other"))
    assert (tmp_path / "other").read_bytes() == b"theirs"
