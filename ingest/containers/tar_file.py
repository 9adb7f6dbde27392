"""tar archives, read in one pass and never written to disk."""

from __future__ import annotations

import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from palimpsest.ingest.containers.member import Limits, Member, RefusedMember, quoted
from palimpsest.ingest.containers.zip_file import path_trick
from palimpsest.records.errors import SourceError

_AT, _MAGIC = 257, b"ustar"


def is_tar(head: bytes, name: str) -> bool:
    """Return whether a file is a tar archive, by its mark or, for very old ones, its name."""
    return head[_AT : _AT + 5] == _MAGIC or (name.lower().endswith(".tar") and len(head) >= 512)


def walk(file: BinaryIO, name: str, limits: Limits) -> Iterator[Member | RefusedMember]:  # noqa: ARG001
    """Yield the members in their order.

    Raises:
        SourceError: it is cut off or damaged; members before that are valid.
    """
    seen: Counter[str] = Counter()
    members = 0
    try:
        with tarfile.open(fileobj=file, mode="r|", errors="surrogateescape") as archive:
            for info in archive:
                if info.isdir():
                    continue
                inside = "member=" + quoted(os.fsencode(info.name))
                seen[inside] += 1
                inside += f"&copy={seen[inside]}" if seen[inside] > 1 else ""
                yield _read(archive, inside, info, limits)
                members += 1
                archive.members = []  # type: ignore[attr-defined]  # else it keeps all of them
    except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError) as error:
        raise SourceError(
            "damaged", f"after {members} members: {type(error).__name__}: {error}; fetch it again"
        ) from error


def _read(
    archive: tarfile.TarFile, inside: str, info: tarfile.TarInfo, limits: Limits
) -> Member | RefusedMember:
    if (trick := path_trick(info.name)) is not None:
        return RefusedMember(inside, info.size, "unsafe-name", trick)
    if not info.isfile():
        kind = (
            "a link, which is not followed" if info.islnk() or info.issym() else "a device or pipe"
        )
        return RefusedMember(inside, None, "not-a-file", f"the member is {kind}; expected a file")
    if info.size > limits.max_document_bytes:
        return RefusedMember(
            inside, info.size, "too-large", f"{info.size} bytes; {limits.size_detail}"
        )
    opened = archive.extractfile(info)
    raw = b"" if opened is None else opened.read()
    if len(raw) != info.size:
        raise tarfile.ReadError(f"{inside} is cut off")
    modified = int(info.mtime) if 0 < info.mtime < 2**33 else None
    return Member(inside, raw, modified_ns=None if modified is None else modified * 10**9)
