"""Raw files again: what sources were read from, and whether it is still there as it was."""

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

_Told = TypeVar("_Told")


def group_by_file(sources: Iterable[tuple[str, _Told]]) -> Iterator[dict[str, list[_Told]]]:
    """Yield for each file the URIs in it, each with what is told of it, in the order given.

    Args:
        sources: a URI, and something about what stood under it; sorted by URI.
    """
    for _, in_file in groupby(sources, key=lambda row: file_uri_of(row[0])):
        by_uri = groupby(in_file, key=lambda row: row[0])
        yield {uri: [told for _, told in versions] for uri, versions in by_uri}


def file_uri_of(uri: str) -> str:
    """Return the URI of the file that a source is, or is in.

    Example:
        >>> file_uri_of("file:///press/2006.zip#member=march/a.txt")
        'file:///press/2006.zip'
    """
    return uri.partition("#")[0]


def reread_documents(
    uris: Sequence[str], settings: ReadSettings
) -> Iterator[tuple[str, bytes, SourceError | None]]:
    """Yield the bytes of the document at each URI of a file; for those not to be had, why."""
    left = dict.fromkeys(uris)
    fault = SourceError("vanished", "the file does not hold it any more")
    try:
        for uri, raw in read_uris(uris, settings):
            if uri in left:
                del left[uri]
                yield uri, raw, None
    except SourceError as error:
        fault = error
    for uri in left:
        yield uri, b"", fault


@contextmanager
def reopen(uri: str) -> Iterator[BinaryIO]:
    """Open the file at a ``file:`` URI; it must not change while it is open.

    Raises:
        SourceError: gone, not readable, or changed meanwhile, which shows at the end.
    """
    with open_source(status_of(path_of(uri))) as (file, _):
        yield file


def uri_of_copy(uri: str, path: str) -> str:
    """Return the URI of the same source in a copy of its file.

    Args:
        uri: of the source.
        path: of the copy, absolute.
    """
    return uri_of(path) + uri[len(file_uri_of(uri)) :]


class Raw(NamedTuple):
    """The bytes of a document, and the URI of the source that they were read from."""

    uri: str
    content: bytes


def read_raw(document_id: str, uris: Sequence[str], settings: ReadSettings) -> Raw:
    """Return the bytes of a document, unchanged since they were first read.

    They are those that ``start_byte`` and ``end_byte`` count in: of a member of a container the
    member, decompressed; of a record of a web archive its payload.

    Args:
        document_id: its whole id, which is of its bytes.
        uris: of its sources; the first that still has it is taken.
        settings: how containers are read.

    Raises:
        SourceError: no source has these bytes any more; ``detail`` tells of each why.
    """
    faults = []
    for one in uris:
        for uri, content, fault in reread_documents([one], settings):
            found = hashlib.sha256(content).hexdigest()
            if fault is None and document_id_of(found) == document_id:
                return Raw(uri, content)
            changed = f"changed: its bytes are others now, with SHA-256 {found}"
            faults.append(f"{uri}: {fault or changed}")
    advice = "bring the file back to where it was, or take the text from palimpsest rebuild"
    raise SourceError("vanished", "; ".join([*(faults or ["no source is known"]), advice]))
