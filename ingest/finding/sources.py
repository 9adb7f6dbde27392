"""The sources in a file: the file itself, or the members of a container.

A file of ordinary size is read whole; a larger one is inspected first, since a container may be
larger than any document.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote_to_bytes

from palimpsest.ingest.containers import (
    Limits,
    Member,
    RefusedMember,
    is_packed,
    read_member,
    walk,
)
from palimpsest.ingest.finding.discover import path_of, reject_of, status_of, uri_of
from palimpsest.ingest.finding.found import FoundFile
from palimpsest.ingest.finding.read import open_source, read_source
from palimpsest.ingest.finding.remote import is_url, open_remote
from palimpsest.ingest.metadata.facts import Folders, path_date, sidecar_facts
from palimpsest.records.document_facts import NO_FACTS, DocumentFacts
from palimpsest.records.errors import SourceError
from palimpsest.records.settings import ReadSettings

HEAD_BYTES = 64 * 1024
"""Length of the beginning of a file that shows its format."""
_MAX_WHOLE_BYTES = 32 * 2**20


class Source(NamedTuple):
    """A source, with its bytes.

    Attributes:
        found: the file that is the source, or contains it.
        kind: of the container; None if the file itself is the source.
        sidecar: facts from the file beside it.
    """

    found: FoundFile
    uri: str
    kind: str | None
    member: Member
    sidecar: DocumentFacts

    @property
    def name(self) -> str:
        """Name of the file, or of the member."""
        return _member_name(self.member.inside) or self.found.path

    @property
    def size_bytes(self) -> int:
        """Size of the file, or of the member."""
        return len(self.member.raw) if self.kind else self.found.size_bytes

    @property
    def modified_ns(self) -> int:
        """Modification time of the member if known, else of the file."""
        own = self.member.modified_ns
        return self.found.modified_ns if own is None else own


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A file, or a member of a file, that is refused as a source.

    Attributes:
        size_bytes, modified_ns: of the file, or of the member; None where unknown.
    """

    found: FoundFile
    uri: str
    kind: str | None
    size_bytes: int | None
    modified_ns: int | None
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Walked:
    """A container that was read to its end."""

    found: FoundFile
    kind: str


def limits_of(settings: ReadSettings) -> Limits:
    """Return the limits for reading a container."""
    return Limits(max_document_bytes=settings.max_document_bytes)


def walk_file(
    found: FoundFile, settings: ReadSettings, folders: Folders | None = None
) -> Iterator[Source | Refused | Walked]:
    """Yield the sources of a file one by one; a fault that ends the walk early comes last.

    Args:
        found: the file.
        settings: how to read.
        folders: which folders contain sidecars.
    """
    kind: str | None = None
    try:
        with _opened(found, settings.max_document_bytes) as (file, seen):
            for member in walk(file, seen.path, limits_of(settings)):
                kind = _kind_of(member) or kind
                yield _source_or_refusal(member, seen, settings, folders)
        found = seen
    except SourceError as error:
        yield _refused_file(found, kind, error)
        return
    except OSError as error:
        yield _refused_file(found, kind, SourceError(*reject_of(found.path, error)))
        return
    if kind is not None:
        yield Walked(found, kind)


@contextmanager
def _opened(found: FoundFile, max_bytes: int) -> Iterator[tuple[BinaryIO, FoundFile]]:
    """Open a file for reading; a single document and any small file is read into memory.

    Raises:
        SourceError: it is unavailable, too large, or changed meanwhile.
    """
    if is_url(found.path):
        with open_remote(found.path) as file:
            yield file, found
        return
    if found.size_bytes > _MAX_WHOLE_BYTES:
        with open_source(found) as (file, seen):
            head = file.read(HEAD_BYTES)
            file.seek(0)
            if is_packed(head, found.path):
                yield file, seen
                return
    raw, seen = read_source(found, max_bytes)
    yield io.BytesIO(raw), seen


def read_uris(uris: Sequence[str], settings: ReadSettings) -> Iterator[tuple[str, bytes]]:
    """Read sources of one file again; a container is walked once, however many it contains.

    Args:
        uris: of sources, all in the same file.

    Yields:
        each URI with the raw bytes of the document; unavailable ones are left out.

    Raises:
        SourceError: the file is unavailable.
    """
    path = path_of(uris[0].partition("#")[0])
    found = FoundFile(path, 0, 0) if is_url(path) else status_of(path)
    pending = set(uris)
    if len(uris) == 1 and "#" in uris[0]:
        with _opened(found, settings.max_document_bytes) as (file, _):
            inside = uris[0].partition("#")[2]
            yield uris[0], read_member(file, path, inside, limits_of(settings)).raw
        return
    fault = None
    for source in walk_file(found, settings):
        if isinstance(source, Source) and source.uri in pending:
            yield source.uri, source.member.raw
        elif isinstance(source, Refused) and source.uri == uri_of(path):
            fault = SourceError(source.reason, source.detail)
    if fault is not None:
        raise fault


def facts_of(source: Source, own: DocumentFacts, settings: ReadSettings) -> DocumentFacts:
    """Return the facts of a source: from its sidecar, else its document, else its path."""
    facts = source.sidecar.or_else(own)
    if facts.published_at is None and settings.date_from_path is not None:
        path_time = path_date(source.uri, settings.date_from_path)
        if path_time is not None:
            facts = facts._replace(published_at=path_time, published_from="path")
    if facts.series is None and settings.series is not None:
        facts = facts._replace(series=_series(source, facts, settings.series))
    return facts


def _series(source: Source, facts: DocumentFacts, series: str) -> str | None:
    if series == "@site":
        return facts.site
    if series == "@folder":
        return (
            PurePosixPath(source.name).parent.name or PurePosixPath(source.found.path).parent.name
        )
    return series


def _kind_of(member: Member | RefusedMember) -> str | None:
    """Return the kind of the container that a member is in; None for the file itself."""
    return member.inside.partition("=")[0] or None


def _source_or_refusal(
    member: Member | RefusedMember,
    found: FoundFile,
    settings: ReadSettings,
    folders: Folders | None,
) -> Source | Refused:
    kind = _kind_of(member)
    if isinstance(member, RefusedMember) and kind is None:
        return _refused_file(found, None, SourceError(member.reason, member.detail))
    uri = uri_of(found.path) + (f"#{member.inside}" if kind else "")
    if isinstance(member, Member):
        sidecar = NO_FACTS if kind else _sidecar(found, settings, folders)
        return Source(found=found, uri=uri, kind=kind, member=member, sidecar=sidecar)
    return Refused(
        found=found,
        uri=uri,
        kind=kind,
        size_bytes=member.size_bytes,
        modified_ns=None,
        reason=member.reason,
        detail=member.detail,
    )


def _sidecar(found: FoundFile, settings: ReadSettings, folders: Folders | None) -> DocumentFacts:
    if is_url(found.path) or (folders is not None and not folders.may_have_sidecar(found.path)):
        return NO_FACTS
    return sidecar_facts(found.path, settings.metadata_fields)


def _refused_file(found: FoundFile, kind: str | None, error: SourceError) -> Refused:
    return Refused(
        found=found,
        uri=uri_of(found.path),
        kind=kind,
        size_bytes=found.size_bytes,
        modified_ns=found.modified_ns,
        reason=error.reason,
        detail=error.detail,
    )


def _member_name(inside: str) -> str:
    """Return the name of a member: that of the innermost container that has names."""
    names = [part.partition("=")[2] for part in inside.split("&") if part.startswith("member=")]
    return os.fsdecode(unquote_to_bytes(names[-1])) if names else ""
