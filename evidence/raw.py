"""Read raw files again, and check that the bytes of a document are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import BinaryIO, NamedTuple, TypeVar

from palimpsest.ingest.finding.discover import path_of, status_of, uri_of
from palimpsest.ingest.finding.read import open_source
from palimpsest.ingest.finding.sources import read_uris
from palimpsest.records.errors import SourceError
from palimpsest.records.ids import document_id_of
from palimpsest.records.settings import ReadSettings

_Fact = TypeVar("_Fact")


def group_by_file(sources: Iterable[tuple[str, _Fact]]) -> Iterator[dict[str, list[_Fact]]]:
    """Yield for each file its URIs with their facts, in the order of the input.

    Args:
        sources: URIs with one fact each, sorted by URI.
    """
    for _, in_file in groupby(sources, key=lambda row: file_uri_of(row[0])):
        by_uri = groupby(in_file, key=lambda row: row[0])
        yield {uri: [fact for _, fact in rows] for uri, rows in by_uri}


def file_uri_of(uri: str) -> str:
    """Return the URI of the file that is the source or contains it.

    Example:
        >>> file_uri_of("file:///press/2006.zip#member=march/a.txt")
        'file:///press/2006.zip'
    """
    return uri.partition("#")[0]


def reread_documents(
    uris: Sequence[str], settings: ReadSettings
) -> Iterator[tuple[str, bytes, SourceError | None]]:
    """Yield URI and bytes of each document of a file, or the fault if it is not available."""
    missing = dict.fromkeys(uris)
    fault = SourceError("vanished", "the file no longer contains it")
    try:
        for uri, raw in read_uris(uris, settings):
            if uri in missing:
                del missing[uri]
                yield uri, raw, None
    except SourceError as error:
        fault = error
    for uri in missing:
        yield uri, b"", fault


@contextmanager
def reopen(uri: str) -> Iterator[BinaryIO]:
    """Open the file at a ``file:`` URI; it must not change while it is open.

    Raises:
        SourceError: it does not exist, is not readable, or, on closing, has changed meanwhile.
    """
    with open_source(status_of(path_of(uri))) as (file, _):
        yield file


def uri_of_copy(uri: str, path: str) -> str:
    """Return the URI of the same source in a copy of its file.

    Args:
        uri: URI of the source.
        path: absolute path of the copy.
    """
    return uri_of(path) + uri[len(file_uri_of(uri)) :]


class RawBytes(NamedTuple):
    """The bytes of a document, and the URI of the source they were read from."""

    uri: str
    content: bytes


def read_raw(document_id: str, uris: Sequence[str], settings: ReadSettings) -> RawBytes:
    """Return the bytes of a document, unchanged since they were ingested.

    ``start_byte`` and ``end_byte`` refer to these bytes: for a member of a container the
    decompressed member, for a record of a web archive its payload.

    Args:
        document_id: the full id, which is derived from the bytes.
        uris: the document's sources; the first that still has the bytes is used.
        settings: how containers are read.

    Raises:
        SourceError: no source has these bytes any more; ``detail`` gives the reason for each.
    """
    faults = []
    for source_uri in uris:
        for uri, content, fault in reread_documents([source_uri], settings):
            sha256 = hashlib.sha256(content).hexdigest()
            if fault is None and document_id_of(sha256) == document_id:
                return RawBytes(uri, content)
            changed = f"changed: the bytes now have SHA-256 {sha256}"
            faults.append(f"{uri}: {fault or changed}")
    advice = "restore the file to its place, or get the text with palimpsest rebuild"
    raise SourceError("vanished", "; ".join([*(faults or ["no source is known"]), advice]))
