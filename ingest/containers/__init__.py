"""Files with several documents: ZIP, tar, WARC, JSON Lines, compressed or not, nested or not.

Each format has a module; this one detects them and follows nesting. Members are named in tables by
``member=NAME`` in ZIP and tar and by ``offset=BYTES`` in WARC and JSON Lines, nested ones joined by
``&``.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

from palimpsest.ingest.containers import json_lines, tar_file, warc_file, zip_file
from palimpsest.ingest.containers.compression import compression_of, decompressed, without_suffix
from palimpsest.ingest.containers.member import Limits, Member, RefusedMember
from palimpsest.records.errors import SourceError

__all__ = ["Limits", "Member", "RefusedMember", "is_packed", "read_member", "walk"]

Walk = Callable[[BinaryIO, str, Limits], Iterator[Member | RefusedMember]]

_FORMATS: tuple[tuple[Callable[[bytes, str], bool], Walk], ...] = (
    (zip_file.is_zip, zip_file.walk),
    (warc_file.is_warc, warc_file.walk),
    (tar_file.is_tar, tar_file.walk),
    (json_lines.is_json_lines, json_lines.walk),
)
_HEAD_BYTES = 64 * 1024


def is_packed(head: bytes, name: str) -> bool:
    """Return whether a file is compressed or a container, not the bytes of one document.

    Args:
        head: its first kilobytes.
        name: of the file.
    """
    return compression_of(head) is not None or _format_of(head, name) is not None


def walk(file: BinaryIO, name: str, limits: Limits) -> Iterator[Member | RefusedMember]:
    """Yield the members of a file; a document, compressed or not, is its only member.

    Args:
        file: at its beginning, and seekable.
        name: of the file.
        limits: above which members are refused.

    Raises:
        SourceError: the file is unreadable, perhaps after some members, which are valid.
    """
    for count, member in enumerate(_walk(file, name, limits, 0)):
        if count == limits.max_members:
            raise SourceError(
                "too-many-members",
                f"more than {limits.max_members} members; unpack it, and ingest it in parts",
            )
        yield member


def read_member(file: BinaryIO, name: str, inside: str, limits: Limits) -> Member:
    """Return one member.

    Raises:
        SourceError: it does not exist, or is unreadable.
    """
    if inside.startswith("member=") and zip_file.is_zip(_head(file), name):
        outer, _, inner = inside.partition("&")
        found = zip_file.read(file, outer, limits)
        if isinstance(found, Member) and not inner and not is_packed(found.raw, _name_in(outer)):
            return found
    for member in walk(file, name, limits):
        if member.inside == inside:
            if isinstance(member, RefusedMember):
                raise SourceError(member.reason, member.detail)
            return member
    raise SourceError("vanished", f"the file has no member {inside} any more")


def _walk(
    file: BinaryIO, name: str, limits: Limits, depth: int
) -> Iterator[Member | RefusedMember]:
    head = _head(file)
    compression = compression_of(head)
    if compression is not None:
        name = without_suffix(name)
        if compression == "gzip" and warc_file.is_compressed_by_record(file, limits):
            yield from warc_file.walk_compressed_records(file, limits)
            return
        with decompressed(file, compression, limits) as opened:
            yield from _walk_inside(opened, name, limits, depth)
        return
    yield from _walk_inside(file, name, limits, depth)


def _walk_inside(
    file: BinaryIO, name: str, limits: Limits, depth: int
) -> Iterator[Member | RefusedMember]:
    """Yield the members of a decompressed file."""
    buffered = io.BufferedReader(file, _HEAD_BYTES) if isinstance(file, io.RawIOBase) else file
    head = buffered.peek(_HEAD_BYTES) if isinstance(buffered, io.BufferedReader) else _head(file)
    walk_format = _format_of(head, name)
    if walk_format is None:
        raw = buffered.read(limits.max_document_bytes + 1)
        yield _sized(Member("", raw), limits)
        return
    for member in walk_format(buffered, name, limits):
        yield from _unpacked(member, limits, depth)


def _unpacked(
    member: Member | RefusedMember, limits: Limits, depth: int
) -> Iterator[Member | RefusedMember]:
    """Yield a member, or its own members if it is packed itself."""
    name = _name_in(member.inside)
    if (
        isinstance(member, RefusedMember)
        or not member.inside.startswith("member=")
        or not is_packed(member.raw[:_HEAD_BYTES], name)
    ):
        yield member
        return
    size = len(member.raw)
    if depth + 1 >= limits.max_nesting:
        detail = f"packed more than {limits.max_nesting} times; unpack it first"
        yield RefusedMember(member.inside, size, "nested-too-deep", detail)
        return
    try:
        for inner in _walk(io.BytesIO(member.raw), name, limits, depth + 1):
            inside = f"{member.inside}&{inner.inside}" if inner.inside else member.inside
            if isinstance(inner, Member) and inner.modified_ns is None:
                inner = inner._replace(modified_ns=member.modified_ns)
            yield inner._replace(inside=inside)
    except SourceError as error:
        yield RefusedMember(member.inside, size, error.reason, error.detail)


def _format_of(head: bytes, name: str) -> Walk | None:
    for is_format, walk_format in _FORMATS:
        if is_format(head, name):
            return walk_format
    return None


def _head(file: BinaryIO) -> bytes:
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    return head


def _sized(member: Member, limits: Limits) -> Member | RefusedMember:
    if len(member.raw) <= limits.max_document_bytes:
        return member
    return RefusedMember(member.inside, None, "too-large", limits.size_detail)


def _name_in(inside: str) -> str:
    return zip_file.name_of(inside.rpartition("member=")[2].partition("&")[0])
