"""Two documents side by side as one file: of two files, or of an archive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from palimpsest.evidence.compare import ComparedFile, Comparison
from palimpsest.evidence.lookup import TableLookup
from palimpsest.inspector.pages import views
from palimpsest.inspector.pages.rendering import render_file
from palimpsest.inspector.terminal import name_of
from palimpsest.records.document_facts import FACT_NAMES
from palimpsest.records.errors import SettingsError
from palimpsest.store.archive import Snapshot
from palimpsest.store.find import uris_of
from palimpsest.store.query import read_rows

_FACTS = (
    *("document_id", "sha256", "media_type", "encoding", "bytes"),
    *FACT_NAMES,
)


def files_side_by_side(compared: Comparison) -> dict[str, Any]:
    """Return two files with the passages that they share; see ``views.side_by_side``."""
    sides = (compared.left, compared.right)
    facts = [_of_file(side) for side in sides]
    told = views.side_by_side(facts, [side.paragraphs() for side in sides], compared.passages())
    return {"archive": None, **told}


def documents_side_by_side(
    archive: str, snapshot: Snapshot, left_id: str, right_id: str
) -> dict[str, Any]:
    """Return two documents of an archive with the passages that they share.

    The tables are asked: for one comparison no catalogue need be made.

    Args:
        archive: what the archive is called.
        snapshot: the version.
        left_id, right_id: the documents, which must be there.

    Raises:
        SettingsError: both are the same.
    """
    if left_id == right_id:
        told = f"both sides are document {left_id}; name two documents that differ"
        raise SettingsError([told])
    ids = (left_id, right_id)
    lookup = TableLookup(snapshot)
    held = lookup.documents(pa.array(ids), lookup.settings().passages.recurring_documents)
    texts = dict(zip(*(held.texts.column(name).to_pylist() for name in _TEXT), strict=True))
    places = [row | {"text": texts[row["text_id"]]} for row in held.places.to_pylist()]
    rows = [[row for row in places if row["document_id"] == one] for one in ids]
    passages = views.shared_passages(lookup, left_id, right_id)
    side_by_side = views.side_by_side([_of_archive(snapshot, one) for one in ids], rows, passages)
    return {"archive": archive, "version": snapshot.manifest.version, **side_by_side}


_TEXT = ("text_id", "text")


def render_comparison_file(told: Mapping[str, Any]) -> str:
    """Return two documents side by side as one HTML file."""
    return render_file("comparison.html", told, with_script=True)


def _of_file(side: ComparedFile) -> dict[str, Any]:
    return _facts(side.document(), side.facts()["uri"])


def _of_archive(snapshot: Snapshot, document_id: str) -> dict[str, Any]:
    where, named = ["document_id = $document"], {"document": document_id}
    [row] = read_rows(snapshot, "documents", where=where, parameters=named).to_pylist()
    return _facts(row, uris_of(snapshot, document_id)[0])


def _facts(row: Mapping[str, Any], uri: str) -> dict[str, Any]:
    facts = {name: row[name] for name in _FACTS} | {"uri": uri, "path": name_of(uri)}
    return facts | {"name": views.display_name(facts)}
