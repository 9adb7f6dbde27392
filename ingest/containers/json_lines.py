"""JSON Lines: one document per line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from palimpsest.ingest.containers.member import Limits, Member, RefusedMember

_SUFFIXES = (".jsonl", ".ndjson", ".jsonlines")
_MARK = b"\xef\xbb\xbf"


def is_json_lines(head: bytes, name: str) -> bool:  # noqa: ARG001
    """Return whether a file is JSON Lines, by its name, since texts may begin with a brace."""
    return name.lower().endswith(_SUFFIXES)


def walk(file: BinaryIO, name: str, limits: Limits) -> Iterator[Member | RefusedMember]:  # noqa: ARG001
    """Yield the lines that are not blank, by their offset."""
    offset = 0
    while line := file.readline(limits.max_document_bytes + 2):
        start, length = offset, len(line)
        while len(line) == limits.max_document_bytes + 2 and not line.endswith(b"\n"):
            line = file.readline(limits.max_document_bytes + 2)
            length += len(line)
        offset += length
        if length > limits.max_document_bytes + 2:
            detail = f"{length} bytes; {limits.size_detail}"
            yield RefusedMember(f"offset={start}", length, "too-large", detail)
            continue
        if start == 0 and line.startswith(_MARK):
            start, line = len(_MARK), line[len(_MARK) :]
        line = line.rstrip(b"\r\n")
        if line.strip():
            yield Member(f"offset={start}", line, "application/json")
