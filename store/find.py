"""Find documents and texts by name: an id, the first letters of one, or a source's URI."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from palimpsest.records.errors import SettingsError
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Snapshot

MIN_PREFIX_LETTERS = 8
_HEX = re.compile(f"[0-9a-f]{{{MIN_PREFIX_LETTERS},32}}")
_MAX_SHOWN = 10

DOCUMENT, TEXT = "document", "text"


class NameMatch(NamedTuple):
    """What a name refers to: its kind, DOCUMENT or TEXT, and its id."""

    kind: str
    id: str


def find_documents(snapshot: Snapshot, names: Sequence[str]) -> list[str]:
    """Return the ids of the documents that names refer to, each once, in the order of the names.

    A URI at which different documents were found over time refers to all of them, earliest first.

    Args:
        snapshot: the version to search.
        names: ids, at least the first 8 letters of ids, or URIs as in ``sources.uri``.

    Raises:
        SettingsError: with all names that are unknown, or are the beginning of several ids.
    """
    sources = _sources(snapshot, names)
    ids = snapshot.read("documents", ["document_id"]).column("document_id")
    found: dict[str, None] = {}
    faults = []
    for name in map(_printable, names):
        matched = _found_at(sources, name)
        if not matched:
            matched = _beginning(ids, name)
            if len(matched) > 1:
                faults.append(ambiguous_name_fault(name, matched))
        if not matched:
            faults.append(
                f"document {name!r}: not in the archive; expected a document_id, its first "
                f"{MIN_PREFIX_LETTERS} letters or more, or the URI or path of a source; "
                "the table documents lists the ids (palimpsest show DIR documents)"
            )
        found |= dict.fromkeys(matched)
    if faults:
        raise SettingsError(faults)
    return list(found)


def resolve_names(snapshot: Snapshot, names: Sequence[str]) -> list[NameMatch]:
    """Return the document or text that each name refers to, in the order of the names.

    Args:
        snapshot: the version to search.
        names: ids of documents or texts, at least the first 8 letters of ids, or URIs as in
            ``sources.uri``.

    Raises:
        SettingsError: with all names that are unknown or ambiguous.
    """
    sources = _sources(snapshot, names)
    ids = {
        DOCUMENT: [snapshot.read("documents", ["document_id"]).column("document_id")],
        TEXT: [
            snapshot.read("paragraphs", ["paragraph_id"]).column("paragraph_id"),
            snapshot.read("variants", ["text_id"]).column("text_id"),
        ],
    }
    found, faults = [], []
    for name in map(_printable, names):
        matched = [NameMatch(DOCUMENT, one) for one in _found_at(sources, name)] or [
            NameMatch(kind, one)
            for kind, columns in ids.items()
            for one in sorted({one for column in columns for one in _beginning(column, name)})
        ]
        found += matched
        if len(matched) > 1:
            shown = ", ".join(f"{kind} {item_id}" for kind, item_id in matched[:_MAX_SHOWN])
            more = _and_more(len(matched))
            faults.append(f"{name!r}: refers to {len(matched)}; name one by its id: {shown}{more}")
        if not matched:
            faults.append(
                f"{name!r}: neither a document nor a text of the archive; expected a document_id "
                f"or text_id, the first {MIN_PREFIX_LETTERS} letters of one or more, or the URI or "
                "path of a source; the table occurrences lists the ids (palimpsest show DIR "
                "occurrences)"
            )
    if faults:
        raise SettingsError(faults)
    return found


def find_text(snapshot: Snapshot, name: str) -> str:
    """Return the id of the text that a name refers to.

    Args:
        snapshot: the version to search.
        name: a text_id or paragraph_id, or at least its first 8 letters.

    Raises:
        SettingsError: the name is unknown, or is the beginning of several ids.
    """
    name = _printable(name)
    keys = (("paragraphs", "paragraph_id"), ("variants", "text_id"))
    columns = [snapshot.read(table, [key]).column(key) for table, key in keys]
    matched = sorted({one for column in columns for one in _beginning(column, name)})
    if len(matched) > 1:
        shown = ", ".join(matched[:_MAX_SHOWN]) + _and_more(len(matched))
        fault = f"text {name!r}: refers to {len(matched)} texts; name one by its id: {shown}"
        raise SettingsError([fault])
    if not matched:
        fault = (
            f"text {name!r}: not in the archive; expected a text_id or paragraph_id, or its first "
            f"{MIN_PREFIX_LETTERS} letters or more; the table paragraphs lists the ids (palimpsest "
            "show DIR paragraphs)"
        )
        raise SettingsError([fault])
    return matched[0]


def _printable(name: str) -> str:
    """Return a name as it was typed, with bytes that are not UTF-8 escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def _sources(snapshot: Snapshot, names: Sequence[str]) -> pa.Table:
    """Return all sources, or none if every name can be an id, and so no URI."""
    columns = ["uri", "document_id", "run_id"]
    if all(_HEX.fullmatch(name.lower()) for name in names):
        return TABLES["sources"].empty_table().select(columns)
    return snapshot.read("sources", columns)


def _found_at(sources: pa.Table, uri: str) -> list[str]:
    """Return the documents found at a URI over time, the earliest first."""
    rows = sources.filter(pc.equal(sources.column("uri"), uri)).sort_by("run_id")
    return list(dict.fromkeys(rows.column("document_id").to_pylist()))


def _beginning(ids: pa.ChunkedArray, name: str) -> list[str]:
    """Return the ids that begin with a name, in order."""
    if not _HEX.fullmatch(name.lower()):
        return []
    return sorted(set(ids.filter(pc.starts_with(ids, name.lower())).to_pylist()))


def ambiguous_name_fault(name: str, ids: Sequence[str]) -> str:
    """Return the fault that a name refers to several documents."""
    shown = ", ".join(ids[:_MAX_SHOWN]) + _and_more(len(ids))
    return f"document {name!r}: refers to {len(ids)} documents; name one by its id: {shown}"


def _and_more(count: int) -> str:
    return f" and {count - _MAX_SHOWN} more" if count > _MAX_SHOWN else ""


def uris_of(snapshot: Snapshot, document_id: str) -> list[str]:
    """Return the URIs of a document's sources, sorted, each once."""
    sources = snapshot.read("sources", ["uri", "document_id"])
    matching = sources.filter(pc.equal(sources.column("document_id"), document_id))
    return sorted(set(matching.column("uri").to_pylist()))
