"""Find documents and texts by what people call them: an id, its beginning, or a source's URI."""

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
_MAX_TOLD = 10

DOCUMENT, TEXT = "document", "text"


class NameMatch(NamedTuple):
    """What a name stands for: DOCUMENT or TEXT, and its id."""

    kind: str
    id: str


def find_documents(snapshot: Snapshot, names: Sequence[str]) -> list[str]:
    """Return the ids of the documents that names stand for, each once, in the order of the names.

    A URI under which several documents stood one after the other gives all of them, the earliest
    first.

    Args:
        snapshot: the version to look in.
        names: ids, beginnings of ids of at least 8 letters, or URIs as in ``sources.uri``.

    Raises:
        SettingsError: a name is unknown, or begins several ids; every such name is told at once.
    """
    sources = _sources(snapshot, names)
    ids = snapshot.read("documents", ["document_id"]).column("document_id")
    found: dict[str, None] = {}
    faults = []
    for name in map(_typed, names):
        matched = _found_at(sources, name)
        if not matched:
            matched = _beginning(ids, name)
            if len(matched) > 1:
                faults.append(ambiguous_name_fault(name, matched))
        if not matched:
            faults.append(
                f"document {name!r}: not in the archive; expected a document_id, its first "
                f"{MIN_PREFIX_LETTERS} letters or more, or the URI or path of a source; "
                "palimpsest show DIR documents tells the ids"
            )
        found |= dict.fromkeys(matched)
    if faults:
        raise SettingsError(faults)
    return list(found)


def resolve_names(snapshot: Snapshot, names: Sequence[str]) -> list[NameMatch]:
    """Return the document or text that each name stands for, in the order of the names.

    Args:
        snapshot: the version to look in.
        names: ids of documents or texts, beginnings of ids of at least 8 letters, or URIs as in
            ``sources.uri``.

    Raises:
        SettingsError: a name is unknown, or stands for several; every such name is told at once.
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
    for name in map(_typed, names):
        matched = [NameMatch(DOCUMENT, one) for one in _found_at(sources, name)] or [
            NameMatch(kind, one)
            for kind, columns in ids.items()
            for one in sorted({one for column in columns for one in _beginning(column, name)})
        ]
        found += matched
        if len(matched) > 1:
            told = ", ".join(f"{kind} {one}" for kind, one in matched[:_MAX_TOLD])
            more = _and_more(len(matched))
            faults.append(f"{name!r}: stands for {len(matched)}; name one by its id: {told}{more}")
        if not matched:
            faults.append(
                f"{name!r}: neither a document nor a text of the archive; expected a document_id "
                f"or text_id, the first {MIN_PREFIX_LETTERS} letters of one or more, or the URI or "
                "path of a source; palimpsest show DIR occurrences tells the ids"
            )
    if faults:
        raise SettingsError(faults)
    return found


def find_text(snapshot: Snapshot, name: str) -> str:
    """Return the id of the one text that a name stands for.

    Args:
        snapshot: the version to look in.
        name: a text_id or paragraph_id, or the first 8 letters of one or more.

    Raises:
        SettingsError: the name is unknown, or begins several ids.
    """
    name = _typed(name)
    keys = (("paragraphs", "paragraph_id"), ("variants", "text_id"))
    columns = [snapshot.read(table, [key]).column(key) for table, key in keys]
    matched = sorted({one for column in columns for one in _beginning(column, name)})
    if len(matched) > 1:
        told = ", ".join(matched[:_MAX_TOLD]) + _and_more(len(matched))
        fault = f"text {name!r}: stands for {len(matched)} texts; name one by its id: {told}"
        raise SettingsError([fault])
    if not matched:
        fault = (
            f"text {name!r}: not in the archive; expected a text_id or paragraph_id, or its first "
            f"{MIN_PREFIX_LETTERS} letters or more; palimpsest show DIR paragraphs tells the ids"
        )
        raise SettingsError([fault])
    return matched[0]


def _typed(name: str) -> str:
    """Return a name as it was typed, which may be any bytes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _sources(snapshot: Snapshot, names: Sequence[str]) -> pa.Table:
    """Return all sources, or none of them if no name can be a URI: what may be an id is none."""
    columns = ["uri", "document_id", "run_id"]
    if all(_HEX.fullmatch(name.lower()) for name in names):
        return TABLES["sources"].empty_table().select(columns)
    return snapshot.read("sources", columns)


def _found_at(sources: pa.Table, uri: str) -> list[str]:
    """Return the documents that stood under a URI, the earliest first."""
    rows = sources.filter(pc.equal(sources.column("uri"), uri)).sort_by("run_id")
    return list(dict.fromkeys(rows.column("document_id").to_pylist()))


def _beginning(ids: pa.ChunkedArray, name: str) -> list[str]:
    """Return the ids that begin with a name, in order; none if it is not the beginning of one."""
    if not _HEX.fullmatch(name.lower()):
        return []
    return sorted(set(ids.filter(pc.starts_with(ids, name.lower())).to_pylist()))


def ambiguous_name_fault(name: str, ids: Sequence[str]) -> str:
    """Return the fault that a name stands for several documents."""
    told = ", ".join(ids[:_MAX_TOLD]) + _and_more(len(ids))
    return f"document {name!r}: stands for {len(ids)} documents; name one by its id: {told}"


def _and_more(count: int) -> str:
    return f" and {count - _MAX_TOLD} more" if count > _MAX_TOLD else ""


def uris_of(snapshot: Snapshot, document_id: str) -> list[str]:
    """Return the URIs of a document's sources, each once, in the order of names."""
    sources = snapshot.read("sources", ["uri", "document_id"])
    mine = sources.filter(pc.equal(sources.column("document_id"), document_id))
    return sorted(set(mine.column("uri").to_pylist()))
