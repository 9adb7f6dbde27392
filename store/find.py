"""Find documents by what people call them: an id, the beginning of one, or a source's URI."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow.compute as pc

from records.errors import SettingsError
from store.archive import Snapshot

MIN_PREFIX_LETTERS = 8
_HEX = re.compile(f"[0-9a-f]{{{MIN_PREFIX_LETTERS},32}}")
_MAX_TOLD = 10


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
    sources = snapshot.read("sources", ["uri", "document_id", "run_id"])
    ids = snapshot.read("documents", ["document_id"]).column("document_id")
    found: dict[str, None] = {}
    faults = []
    for given in names:
        name = given.encode("utf-8", "backslashreplace").decode()  # what is typed may be any bytes
        rows = sources.filter(pc.equal(sources.column("uri"), name)).sort_by("run_id")
        matched = list(dict.fromkeys(rows.column("document_id").to_pylist()))
        if not matched and _HEX.fullmatch(name.lower()):
            begins = ids.filter(pc.starts_with(ids, name.lower()))
            matched = sorted(set(begins.to_pylist()))
            if len(matched) > 1:
                faults.append(ambiguous(name, matched))
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


def ambiguous(name: str, ids: Sequence[str]) -> str:
    """Return the fault that a name stands for several documents."""
    more = f" and {len(ids) - _MAX_TOLD} more" if len(ids) > _MAX_TOLD else ""
    told = ", ".join(ids[:_MAX_TOLD])
    return f"document {name!r}: stands for {len(ids)} documents; name one by its id: {told}{more}"


def uris_of(snapshot: Snapshot, document_id: str) -> list[str]:
    """Return the URIs of a document's sources, each once, in the order of names."""
    sources = snapshot.read("sources", ["uri", "document_id"])
    mine = sources.filter(pc.equal(sources.column("document_id"), document_id))
    return sorted(set(mine.column("uri").to_pylist()))
