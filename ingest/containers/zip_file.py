"""ZIP archives, never written to disk."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from lzma import LZMAError
from typing import BinaryIO

from palimpsest.ingest.containers.member import Limits, Member, RefusedMember, quoted, unquoted
from palimpsest.records.errors import SourceError

_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_OFFICE = {
    "[Content_Types].xml": "an Office document (DOCX, XLSX, PPTX)",
    "META-INF/container.xml": "EPUB",
    "content.xml": "an OpenDocument text",
}
_FAULTS = (
    zipfile.BadZipFile, zlib.error, LZMAError, EOFError, OSError, ValueError, RuntimeError,
    NotImplementedError, KeyError,
)  # fmt: skip


def is_zip(head: bytes, name: str) -> bool:  # noqa: ARG001
    """Return whether a file is a ZIP archive, by its first bytes."""
    return head.startswith(_MAGIC)


def name_of(quoted_name: str) -> str:
    """Return the name of a member, from its quoted form in a fragment."""
    return os.fsdecode(unquoted(quoted_name))


def walk(file: BinaryIO, name: str, limits: Limits) -> Iterator[Member | RefusedMember]:  # noqa: ARG001
    """Yield the members in the order of the archive's index.

    Raises:
        SourceError: the index is unreadable, or it is a document in a format based on ZIP.
    """
    with _opened(file) as archive:
        for inside, info in _members(archive, file):
            yield _read(archive, inside, info, limits)


def read(file: BinaryIO, inside: str, limits: Limits) -> Member | RefusedMember | None:
    """Return one member by its place, ``member=NAME``; None if there is none."""
    with _opened(file) as archive:
        for place, info in _members(archive, file):
            if place == inside:
                return _read(archive, inside, info, limits)
    return None


def _opened(file: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except _FAULTS as error:
        raise SourceError("damaged", f"{_describe(error)}; fetch the file again") from error


def _members(archive: zipfile.ZipFile, file: BinaryIO) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    infos = archive.infolist()
    names = {info.filename for info in infos}
    for entry, kind in _OFFICE.items():
        if entry in names and (entry != "content.xml" or "mimetype" in names):
            detail = f"the file is {kind}; convert it to text first"
            raise SourceError("unsupported-format", detail)
    size = file.seek(0, os.SEEK_END)
    if sum(info.compress_size for info in infos) > size:
        detail = f"members claim more bytes than the {size} of the file; expected none to overlap"
        raise SourceError("bomb", detail)
    seen: Counter[str] = Counter()
    for info in infos:
        if info.is_dir():
            continue
        inside = "member=" + quoted(os.fsencode(_encodable(info.filename)))
        seen[inside] += 1
        copy = f"&copy={seen[inside]}" if seen[inside] > 1 else ""
        yield inside + copy, info


def _read(
    archive: zipfile.ZipFile, inside: str, info: zipfile.ZipInfo, limits: Limits
) -> Member | RefusedMember:
    size = info.file_size
    if (trick := path_trick(info.orig_filename)) is not None:
        return RefusedMember(inside, size, "unsafe-name", trick)
    if info.flag_bits & 0x1:
        detail = "it needs a password; unpack the archive first"
        return RefusedMember(inside, size, "encrypted", detail)
    if size > limits.max_document_bytes:
        return RefusedMember(inside, size, "too-large", f"{size} bytes; {limits.size_detail}")
    if limits.is_bomb(info.compress_size, size):
        detail = (
            f"{info.compress_size} bytes claim to decompress to {size}; expected at most "
            f"{limits.max_ratio} times as many"
        )
        return RefusedMember(inside, size, "bomb", detail)
    try:
        with archive.open(info) as member:
            raw = member.read(limits.max_document_bytes + 1)
    except _FAULTS as error:
        return RefusedMember(inside, size, "damaged", _describe(error))
    if len(raw) > limits.max_document_bytes:
        return RefusedMember(inside, None, "too-large", limits.size_detail)
    return Member(inside, raw, modified_ns=_modified_ns(info))


def path_trick(name: str) -> str | None:
    """Return what is wrong with the name of a member; None if it is safe."""
    if "\0" in name:
        return "its name contains a zero byte"
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or parts[0].endswith(":") or ".." in parts:
        return f"its name {name[:200]!r} leads out of the archive; rename it"
    return None


def _encodable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _modified_ns(info: zipfile.ZipInfo) -> int | None:
    """Return the time of a member; it has no zone, and is taken as UTC."""
    try:
        moment = datetime(*info.date_time, tzinfo=UTC)
    except ValueError:
        return None
    return None if moment.year <= 1980 else int(moment.timestamp()) * 10**9


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
