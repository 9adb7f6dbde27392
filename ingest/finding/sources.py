"""What is in the files of a run: each is a source, or a container with sources as members.

A file of ordinary size is read whole and then looked at; a larger one is looked at first, since a
container may be larger than any document.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
from palimpsest.ingest.finding.discover import FoundFile, path_of, reject_of, status_of, uri_of
from palimpsest.ingest.finding.read import open_source, read_source
from palimpsest.ingest.finding.remote import is_url, open_remote
from palimpsest.ingest.metadata.facts import Folders, path_date, sidecar_facts
from palimpsest.records.document_facts import NO_FACTS, DocumentFacts
from palimpsest.records.errors import SourceError
from palimpsest.records.settings import ReadSettings

HEAD_BYTES = 64 * 1024
"""How much of a file is looked at to tell what it is."""
_AT_ONCE = 32 * 2**20


class Source(NamedTuple):
    """A source, with its bytes.

    Attributes:
        found: the file that it is, or that it is in.
        uri: of the source.
        kind: of the container that it is in; None if it is the file.
        beside: what a file beside it tells of it.
    """

    found: FoundFile
    uri: str
    kind: str | None
    member: Member
    beside: DocumentFacts

    @property
    def name(self) -> str:
        """What it is called: the file's name, or that of the member."""
        return _member_name(self.member.inside) or self.found.path

    @property
    def size_bytes(self) -> int:
        """Size of the file, or of the member."""
        return len(self.member.raw) if self.kind else self.found.size_bytes

    @property
    def modified_ns(self) -> int:
        """When the member was modified, if it says so, or else the file."""
        own = self.member.modified_ns
        return self.found.modified_ns if own is None else own


@dataclass(frozen=True, slots=True)
class Refused:
    """A file, or a member of one, that is no source.

    Attributes:
        size_bytes, modified_ns: of the file, or of the member; None where nobody knows.
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
    """A container whose end has been reached."""

    found: FoundFile
    kind: str


def limits_of(settings: ReadSettings) -> Limits:
    """Return what bounds the reading of a container."""
    return Limits(max_document_bytes=settings.max_document_bytes)


def walk_file(
    found: FoundFile, settings: ReadSettings, folders: Folders | None = None
) -> Iterator[Source | Refused | Walked]:
    """Give what is in a file, one after the other; what ends the walk too early is given last.

    Args:
        found: the file.
        settings: how to read.
        folders: what stands in the folders that files are read from.
    """
    kind = None
    try:
        if found.size_bytes <= _AT_ONCE and not is_url(found.path):  # most files by far
            raw, seen = read_source(found, settings.max_document_bytes)
            if not is_packed(raw[:HEAD_BYTES], seen.path):
                yield _whole(seen, raw, settings, folders)
                return
            opened: AbstractContextManager[tuple[BinaryIO, FoundFile]]
            opened = nullcontext((io.BytesIO(raw), seen))
        else:
            opened = _opened(found, settings.max_document_bytes)
        with opened as (file, seen):
            head = file.read(HEAD_BYTES)
            file.seek(0)
            if not is_packed(head, seen.path):
                yield _whole(seen, file.read(), settings, folders)
                return
            for one in walk(file, seen.path, limits_of(settings)):
                if one.inside:
                    kind = one.inside.partition("=")[0]
                yield _given(one, seen, settings, folders)
        found = seen
    except SourceError as error:
        yield _fault(found, kind, error)
        return
    except OSError as error:
        yield _fault(found, kind, SourceError(*reject_of(found.path, error)))
        return
    if kind is not None:
        yield Walked(found, kind)


@contextmanager
def _opened(found: FoundFile, max_bytes: int) -> Iterator[tuple[BinaryIO, FoundFile]]:
    """Open a file for reading: in memory if it is one document, or small.

    Raises:
        SourceError: it cannot be had, is too large, or changed meanwhile.
    """
    if is_url(found.path):
        with open_remote(found.path) as file:
            yield file, found
        return
    if found.size_bytes > _AT_ONCE:
        with open_source(found) as (file, seen):
            head = file.read(HEAD_BYTES)
            file.seek(0)
            if is_packed(head, found.path):
                yield file, seen
                return
    raw, seen = read_source(found, max_bytes)
    yield io.BytesIO(raw), seen


def read_uris(uris: Sequence[str], settings: ReadSettings) -> Iterator[tuple[str, bytes]]:
    """Read sources of one file again; a container is walked once, whatever many it holds.

    Args:
        uris: of sources, all in the same file.

    Yields:
        each URI with the raw bytes of the document; those that are not to be had are left out.

    Raises:
        SourceError: the file is not to be had.
    """
    path = path_of(uris[0].partition("#")[0])
    found = FoundFile(path, 0, 0) if is_url(path) else status_of(path)
    wanted = set(uris)
    if len(uris) == 1 and "#" in uris[0]:
        with _opened(found, settings.max_document_bytes) as (file, _):
            inside = uris[0].partition("#")[2]
            yield uris[0], read_member(file, path, inside, limits_of(settings)).raw
        return
    fault = None
    for one in walk_file(found, settings):
        if isinstance(one, Source) and one.uri in wanted:
            yield one.uri, one.member.raw
        elif isinstance(one, Refused) and one.uri == uri_of(path):
            fault = SourceError(one.reason, one.detail)
    if fault is not None:
        raise fault


def facts_of(source: Source, own: DocumentFacts, settings: ReadSettings) -> DocumentFacts:
    """Return what is known of a source: by the file beside it, by its document, by its path."""
    facts = source.beside.or_else(own)
    if facts.published_at is None and settings.date_from_path is not None:
        by_path = path_date(source.uri, settings.date_from_path)
        if by_path is not None:
            facts = facts._replace(published_at=by_path, published_from="path")
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


def _whole(found: FoundFile, raw: bytes, settings: ReadSettings, folders: Folders | None) -> Source:
    beside = _beside(found, settings, folders)
    return Source(found, uri_of(found.path), None, Member("", raw), beside)


def _given(
    one: Member | RefusedMember, found: FoundFile, settings: ReadSettings, folders: Folders | None
) -> Source | Refused:
    uri = uri_of(found.path) + (f"#{one.inside}" if one.inside else "")
    kind = one.inside.partition("=")[0] or None
    if isinstance(one, Member):
        return Source(
            found, uri, kind, one, NO_FACTS if kind else _beside(found, settings, folders)
        )
    if one.inside:
        return Refused(found, uri, kind, one.size_bytes, None, one.reason, one.detail)
    return Refused(found, uri, kind, found.size_bytes, found.modified_ns, one.reason, one.detail)


def _beside(found: FoundFile, settings: ReadSettings, folders: Folders | None) -> DocumentFacts:
    if is_url(found.path) or (folders is not None and not folders.may_tell(found.path)):
        return NO_FACTS
    return sidecar_facts(found.path, settings.metadata_fields)


def _fault(found: FoundFile, kind: str | None, error: SourceError) -> Refused:
    size, modified = found.size_bytes, found.modified_ns
    return Refused(found, uri_of(found.path), kind, size, modified, error.reason, error.detail)


def _member_name(inside: str) -> str:
    """Return the name of a member, by the last part of where it is that names one."""
    names = [part.partition("=")[2] for part in inside.split("&") if part.startswith("member=")]
    return os.fsdecode(unquote_to_bytes(names[-1])) if names else ""
