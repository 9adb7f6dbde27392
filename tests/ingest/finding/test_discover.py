from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest

from palimpsest.ingest.finding.discover import discover, timestamp_of, uri_of
from palimpsest.records.errors import SettingsError


def _write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _paths(arguments: list[str]) -> list[str]:
    return [found.path for found in discover(arguments).files]


def _rejects(arguments: list[str]) -> dict[str, str]:
    return {reject.path: reject.reason for reject in discover(arguments).rejects}


def test_file_is_found_with_its_size_and_time(tmp_path):
    path = _write(tmp_path / "one.txt", "twelve bytes")
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    (found,) = discover([str(path)]).files
    assert (found.path, found.size_bytes) == (str(path), 12)
    assert found.modified_ns == 1_700_000_000_123_456_789


def test_folder_is_walked_to_the_bottom_in_the_order_of_paths(tmp_path):
    names = ["b/2.txt", "b/1.txt", "a.txt", "b.txt", "b/deep/er/z.txt", "Z.txt"]
    made = [str(_write(tmp_path / name)) for name in names]
    assert _paths([str(tmp_path)]) == sorted(made, key=os.fsencode)


def test_order_is_by_bytes_and_not_by_surrogates(tmp_path):
    names = [b"\xff.txt", "\ue000.txt".encode(), "\U0001f600.txt".encode()]
    for name in names:
        _write(tmp_path / os.fsdecode(name))
    found = [os.fsencode(Path(path).name) for path in _paths([str(tmp_path)])]
    assert found == sorted(names)


def test_patterns_find_files_at_any_depth_and_hidden_ones(tmp_path):
    wanted = [_write(tmp_path / name) for name in ("a.txt", ".b.txt", "c/d.txt", ".e/f.txt")]
    _write(tmp_path / "c/other.html")
    assert _paths([str(tmp_path / "**" / "*.txt")]) == sorted(map(str, wanted))


def test_hidden_files_of_a_folder_are_found(tmp_path):
    made = [_write(tmp_path / ".hidden"), _write(tmp_path / ".folder/inside.txt")]
    assert _paths([str(tmp_path)]) == sorted(map(str, made))


def test_name_that_looks_like_a_pattern_is_a_name_first(tmp_path):
    path = _write(tmp_path / "issue [1].txt")
    _write(tmp_path / "issue 1.txt")
    assert _paths([str(path)]) == [str(path)]


def test_repeated_source_is_found_once(tmp_path, monkeypatch):
    path = _write(tmp_path / "folder/one.txt")
    monkeypatch.chdir(tmp_path)
    given = [str(path), "folder", "folder/", "./folder/../folder/one.txt", "*/one.txt", str(path)]
    assert _paths(given) == [str(path)]


def test_relative_arguments_become_absolute_paths(tmp_path, monkeypatch):
    _write(tmp_path / "one.txt")
    monkeypatch.chdir(tmp_path)
    assert _paths(["one.txt"]) == [str(tmp_path / "one.txt")]


def test_two_links_to_a_file_are_two_sources(tmp_path):
    path = _write(tmp_path / "one.txt")
    link = tmp_path / "two.txt"
    link.symlink_to(path)
    assert _paths([str(tmp_path)]) == [str(path), str(link)]


def test_links_to_folders_are_followed(tmp_path):
    _write(tmp_path / "outside/one.txt")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(tmp_path / "outside")
    assert _paths([str(tmp_path / "root")]) == [str(tmp_path / "root/link/one.txt")]


def test_link_into_a_folder_that_contains_it_is_a_reject_and_the_rest_is_found(tmp_path):
    loop = tmp_path / "a/b/loop"
    path = _write(tmp_path / "a/b/one.txt")
    loop.symlink_to(tmp_path / "a")
    assert _paths([str(tmp_path)]) == [str(path)]
    assert _rejects([str(tmp_path)]) == {str(loop): "link-loop"}


def test_link_to_itself_is_a_link_loop(tmp_path):
    loop = tmp_path / "ouroboros"
    loop.symlink_to(loop)
    assert _rejects([str(tmp_path)]) == {str(loop): "link-loop"}


def test_two_links_to_one_folder_are_not_a_loop(tmp_path):
    _write(tmp_path / "folder/one.txt")
    (tmp_path / "again").symlink_to(tmp_path / "folder")
    assert _rejects([str(tmp_path)]) == {}
    assert len(_paths([str(tmp_path)])) == 2


def test_broken_link_is_a_reject_that_says_where_it_leads(tmp_path):
    link = tmp_path / "link.txt"
    link.symlink_to("gone.txt")
    for argument in (tmp_path, link):
        (reject,) = discover([str(argument)]).rejects
        assert (reject.path, reject.reason) == (str(link), "broken-link")
        assert "'gone.txt'" in reject.detail


def test_pipe_is_a_reject_and_is_never_opened(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    opened = []
    really_open = os.open
    monkeypatch.setattr(os, "open", lambda *a, **k: opened.append(a) or really_open(*a, **k))
    assert _rejects([str(tmp_path)]) == {str(pipe): "not-a-file"}
    assert opened == []


def test_folder_that_may_not_be_listed_is_a_reject():
    script = (
        "import os, sys\n"
        "from palimpsest.ingest.finding.discover import discover\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "found = discover([sys.argv[1]])\n"
        "print([r.reason for r in found.rejects], len(found.files))"
    )
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody who may not read the folder")
    open_folder = Path("/tmp") / f"palimpsest-locked-{os.getpid()}"
    locked = open_folder / "locked"
    locked.mkdir(parents=True)
    try:
        _write(locked / "one.txt")
        _write(open_folder / "two.txt")
        locked.chmod(0o700)
        open_folder.chmod(0o755)
        command = [sys.executable, "-c", script, str(open_folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "['no-permission'] 1"
    finally:
        (locked / "one.txt").unlink()
        (open_folder / "two.txt").unlink()
        locked.rmdir()
        open_folder.rmdir()


def test_all_missing_arguments_are_reported_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "here.txt")
    with pytest.raises(SettingsError) as caught:
        discover(["gone.txt", "here.txt", "*.html", "nul\0byte"])
    assert len(caught.value.faults) == 3
    assert caught.value.faults[0] == (
        "source 'gone.txt': no such file or folder, and as a pattern it matches nothing; "
        f"looked in {str(tmp_path)!r}"
    )
    assert "'*.html'" in caught.value.faults[1]


def test_no_argument_is_an_error():
    with pytest.raises(SettingsError, match="no source was given"):
        discover([])


def test_empty_folder_has_no_sources_and_is_not_an_error(tmp_path):
    found = discover([str(tmp_path)])
    assert (found.files, found.rejects) == ([], [])


@pytest.mark.parametrize(
    "name",
    [b"plain.txt", b"\xff\xfe.txt", "é ü.txt".encode(), b"50%25#?.txt", b"new\nline", b"a&b;c=d"],
)
def test_any_name_survives_as_uri(tmp_path, name):
    path = _write(tmp_path / os.fsdecode(name))
    (found,) = discover([str(tmp_path)]).files
    uri = uri_of(found.path)
    assert uri.isascii()
    assert unquote_to_bytes(urlsplit(uri).path) == os.fsencode(path)


def test_names_that_are_not_utf8_are_found(tmp_path):
    name = os.fsdecode(b"caf\xe9.txt")
    _write(tmp_path / name)
    assert _paths([str(tmp_path / "*.txt")]) == [str(tmp_path / name)]


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_999, datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        (-(10**21), datetime(1, 1, 1, tzinfo=UTC)),
        (10**21, datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_times_are_cut_to_microseconds_and_clipped(nanoseconds, expected):
    assert timestamp_of(nanoseconds) == expected
