"""Files that hold several documents: ZIP, tar, WARC, JSON Lines, compressed or not, nested or not.

A room of its own for each format; this one tells them apart and leads from one into the next. What
a member is called in the tables is decided here: ``member=NAME`` in ZIP and tar, ``offset=BYTES``
in WARC and JSON Lines, nested ones joined by ``&``.
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
    """Tell whether a file is more than the bytes of one document: compressed, or a container.

    Args:
        head: its first bytes, some kilobytes of them.
        name: of the file.
    """
    return compression_of(head) is not None or _format_of(head, name) is not None


def walk(file: BinaryIO, name: str, limits: Limits) -> Iterator[Member | RefusedMember]:
    """Give what is in a file, one after the other; a compressed document is its only member.

    Args:
        file: at its beginning, and seekable.
        name: of the file.
        limits: what is refused.

    Raises:
        SourceError: the file cannot be read, or not to its end; what was given before holds.
    """
    for members, one in enumerate(_walk(file, name, limits, 0)):
        if members == limits.max_members:
            raise SourceError(
                "too-many-members",
                f"more than {limits.max_members} members; unpack it, and ingest it by parts",
            )
        yield one


def read_member(file: BinaryIO, name: str, inside: str, limits: Limits) -> Member:
    """Return one member.

    Raises:
        SourceError: it is not there, or cannot be read.
    """
    if inside.startswith("member=") and zip_file.is_zip(_head(file), name):
        outer, _, inner = inside.partition("&")
        found = zip_file.read(file, outer, limits)
        if isinstance(found, Member) and not inner and not is_packed(found.raw, _name_in(outer)):
            return found
    for one in walk(file, name, limits):
        if one.inside == inside:
            if isinstance(one, RefusedMember):
                raise SourceError(one.reason, one.detail)
            return one
    raise SourceError("vanished", f"nothing at {inside} any more")


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
    """Give what is in a file that is not compressed any more."""
    buffered = io.BufferedReader(file, _HEAD_BYTES) if isinstance(file, io.RawIOBase) else file
    head = buffered.peek(_HEAD_BYTES) if isinstance(buffered, io.BufferedReader) else _head(file)
    found = _format_of(head, name)
    if found is None:
        raw = buffered.read(limits.max_document_bytes + 1)
        yield _sized(Member("", raw), limits)
        return
    for one in found(buffered, name, limits):
        yield from _opened(one, limits, depth)


def _opened(
    one: Member | RefusedMember, limits: Limits, depth: int
) -> Iterator[Member | RefusedMember]:
    """Give a member, or what is in it if it is packed itself."""
    name = _name_in(one.inside)
    if (
        isinstance(one, RefusedMember)
        or not one.inside.startswith("member=")
        or not is_packed(one.raw[:_HEAD_BYTES], name)
    ):
        yield one
        return
    if depth + 1 >= limits.max_nesting:
        detail = f"packed more than {limits.max_nesting} times; unpack it first"
        yield RefusedMember(one.inside, len(one.raw), "nested-too-deep", detail)
        return
    try:
        for inner in _walk(io.BytesIO(one.raw), name, limits, depth + 1):
            inside = f"{one.inside}&{inner.inside}" if inner.inside else one.inside
            if isinstance(inner, Member) and inner.modified_ns is None:
                inner = inner._replace(modified_ns=one.modified_ns)
            yield inner._replace(inside=inside)
    except SourceError as error:
        yield RefusedMember(one.inside, len(one.raw), error.reason, error.detail)


def _format_of(head: bytes, name: str) -> Walk | None:
    for is_it, walk_it in _FORMATS:
        if is_it(head, name):
            return walk_it
    return None


def _head(file: BinaryIO) -> bytes:
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    return head


def _sized(member: Member, limits: Limits) -> Member | RefusedMember:
    if len(member.raw) <= limits.max_document_bytes:
        return member
    return RefusedMember(member.inside, None, "too-large", limits.told)


def _name_in(inside: str) -> str:
    return zip_file.name_of(inside.rpartition("member=")[2].partition("&")[0])
