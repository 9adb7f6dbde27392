from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from palimpsest.ingest.finding.discover import discover
from palimpsest.ingest.finding.found import FoundFile
from palimpsest.ingest.finding.read import read_source
from palimpsest.ingest.finding.sources import Refused, Source, walk_file
from palimpsest.records.errors import SourceError
from palimpsest.records.settings import ReadSettings


def _found(path: Path, raw: bytes) -> FoundFile:
    path.write_bytes(raw)
    (found,) = discover([str(path)]).files
    return found


def _reason(found: FoundFile, max_bytes: int = 1000) -> str:
    with pytest.raises(SourceError) as caught:
        read_source(found, max_bytes)
    return caught.value.reason


def test_file_is_read_whole(tmp_path):
    found = _found(tmp_path / "one.txt", bytes(range(256)))
    assert read_source(found, 256) == (bytes(range(256)), found)


def test_file_that_changed_since_it_was_found_is_read_as_it_is_now(tmp_path):
    found = _found(tmp_path / "one.txt", b"old")
    (tmp_path / "one.txt").write_bytes(b"much newer")
    raw, now = read_source(found, 1000)
    assert (raw, now.size_bytes) == (b"much newer", 10)


def test_deleted_file_has_vanished(tmp_path):
    found = _found(tmp_path / "one.txt", b"x")
    (tmp_path / "one.txt").unlink()
    assert _reason(found) == "vanished"


def test_file_above_the_limit_is_too_large_and_one_at_the_limit_is_not(tmp_path):
    found = _found(tmp_path / "one.txt", b"x" * 1001)
    assert _reason(found, 1000) == "too-large"
    assert len(read_source(found, 1001)[0]) == 1001


def test_remote_file_above_the_limit_is_too_large():
    fsspec.filesystem("memory").pipe("/one.txt", b"x" * 1001)
    found = FoundFile("memory://one.txt", 1001, 0)
    [refused] = walk_file(found, ReadSettings(max_document_bytes=1000))
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.size_bytes) == ("too-large", 1001)
    [source] = walk_file(found, ReadSettings(max_document_bytes=1001))
    assert isinstance(source, Source)


def test_file_that_became_a_pipe_is_refused_without_waiting(tmp_path):
    found = _found(tmp_path / "one.txt", b"x")
    (tmp_path / "one.txt").unlink()
    os.mkfifo(tmp_path / "one.txt")
    assert _reason(found) == "not-a-file"


def test_file_that_became_a_folder_is_refused(tmp_path):
    found = _found(tmp_path / "one.txt", b"x")
    (tmp_path / "one.txt").unlink()
    (tmp_path / "one.txt").mkdir()
    assert _reason(found) == "not-a-file"


def _grow_at_each_second_look(monkeypatch, path: Path, times: int) -> list[int]:
    """Append to the file before each second ``fstat``, that is, between reading and looking."""
    looks: list[int] = []
    really_fstat = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        looks.append(descriptor)
        if len(looks) % 2 == 0 and len(looks) <= 2 * times:
            with path.open("ab") as file:
                file.write(b"+")
        return really_fstat(descriptor)

    monkeypatch.setattr(os, "fstat", fstat)
    return looks


def test_file_that_changes_once_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    path = tmp_path / "one.txt"
    found = _found(path, b"text")
    looks = _grow_at_each_second_look(monkeypatch, path, times=1)
    raw, now = read_source(found, 1000)
    assert (raw, now.size_bytes, len(looks)) == (b"text+", 5, 4)


def test_file_that_keeps_changing_is_a_reject(tmp_path, monkeypatch):
    path = tmp_path / "one.txt"
    found = _found(path, b"text")
    _grow_at_each_second_look(monkeypatch, path, times=9)
    with pytest.raises(SourceError, match="from 5 to 6") as caught:
        read_source(found, 1000)
    assert caught.value.reason == "changed"


def test_file_rewritten_at_the_same_size_while_it_is_read_is_noticed(tmp_path, monkeypatch):
    path = tmp_path / "one.txt"
    found = _found(path, b"text")
    really_fstat, times = os.fstat, iter(range(1, 100))

    def fstat(descriptor: int) -> os.stat_result:
        os.utime(path, ns=(0, next(times) * 10**9))
        return really_fstat(descriptor)

    monkeypatch.setattr(os, "fstat", fstat)
    assert _reason(found) == "changed"


def test_file_that_may_not_be_read_is_a_reject():
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody who may not read the file")
    path = Path("/tmp") / f"palimpsest-locked-{os.getpid()}.txt"
    script = (
        "import os, sys\n"
        "from palimpsest.ingest.finding.discover import discover\n"
        "from palimpsest.ingest.finding.read import read_source\n"
        "from palimpsest.records.errors import SourceError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: read_source(discover([sys.argv[1]]).files[0], 10)\n"
        "except SourceError as error: print(error.reason)"
    )
    path.write_bytes(b"x")
    path.chmod(0o000)
    try:
        command = [sys.executable, "-c", script, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "no-permission"
    finally:
        path.unlink()
