"""Raw bytes are read again from where they were found, and given only if they are the same."""

import gzip
import hashlib
from pathlib import Path

import pytest

from palimpsest.evidence.raw import read_raw
from palimpsest.ingest.finding.discover import uri_of
from palimpsest.records.errors import SourceError
from palimpsest.records.ids import document_id_of
from palimpsest.records.settings import ReadSettings
from tests.pipeline.test_sources import as_text, as_zip

READ = ReadSettings()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_first_source_that_still_has_the_bytes_is_used(tmp_path: Path) -> None:
    names = ("gone.txt", "changed.txt", "kept.txt", "kept-too.txt")
    content = as_text()
    for name in names:
        (tmp_path / name).write_bytes(content)
    (tmp_path / "gone.txt").unlink()
    (tmp_path / "changed.txt").write_bytes(content + b" and more")
    uris = [uri_of(str(tmp_path / name)) for name in names]
    assert read_raw(document_id_of(sha256(content)), uris, READ) == (uris[2], content)


def test_fault_of_each_source_is_reported(tmp_path: Path) -> None:
    (tmp_path / "changed.txt").write_bytes(b"other")
    (tmp_path / "some.zip").write_bytes(as_zip({"a.txt": as_text()}))
    (tmp_path / "folder").mkdir()
    uris = [
        uri_of(str(tmp_path / name)) for name in ("gone.txt", "changed.txt", "folder", "some.zip")
    ]
    uris.append(uris[-1] + "#member=b.txt")
    with pytest.raises(SourceError) as refused:
        read_raw(document_id_of(sha256(b"what was read")), uris, READ)
    detail = refused.value.detail
    for uri, reason in zip(uris, ("vanished", "changed", "not-a-file", "", ""), strict=True):
        assert f"{uri}: {reason}" in detail
    assert "palimpsest rebuild" in detail
    with pytest.raises(SourceError, match="no source is known"):
        read_raw(document_id_of(sha256(b"")), [], READ)


def test_members_are_read_by_their_uri(tmp_path: Path) -> None:
    inner = as_zip({"b.txt": as_text()})
    content = as_zip(
        {"a b/ä.txt": b"first text", "inner.zip": inner, "c.txt.gz": gzip.compress(b"x y")}
    )
    (tmp_path / "some.zip").write_bytes(content)
    whole = uri_of(str(tmp_path / "some.zip"))
    for inside, expected in (
        ("member=a%20b/%C3%A4.txt", b"first text"),
        ("member=inner.zip&member=b.txt", as_text()),
    ):
        uri = f"{whole}#{inside}"
        assert read_raw(document_id_of(sha256(expected)), [uri], READ) == (uri, expected)
    with pytest.raises(SourceError):
        read_raw(document_id_of(sha256(b"")), [f"{whole}#member=../../etc/passwd"], READ)


def test_link_to_another_file_now_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to("/etc/passwd")
    with pytest.raises(SourceError) as refused:
        read_raw(document_id_of(sha256(b"what was read")), [uri_of(str(tmp_path / "a.txt"))], READ)
    assert "changed" in refused.value.detail
    assert "root:" not in str(refused.value)
