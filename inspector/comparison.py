"""Two documents side by side in one HTML file: two files, or two documents of an archive."""

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


def files_side_by_side(comparison: Comparison) -> dict[str, Any]:
    """Return two files with the passages that they share; see ``views.side_by_side``."""
    files = (comparison.left, comparison.right)
    facts = [_file_facts(file) for file in files]
    rows = [file.paragraphs() for file in files]
    return {"archive": None, **views.side_by_side(facts, rows, comparison.passages())}


def documents_side_by_side(
    archive: str, snapshot: Snapshot, left_id: str, right_id: str
) -> dict[str, Any]:
    """Return two documents of an archive with the passages that they share.

    They are read from the tables: a single comparison does not justify building a catalogue.

    Args:
        archive: name of the archive.
        snapshot: the version.
        left_id, right_id: existing documents.

    Raises:
        SettingsError: both are the same.
    """
    if left_id == right_id:
        raise SettingsError([f"both sides are the document {left_id}; name two different ones"])
    ids = (left_id, right_id)
    lookup = TableLookup(snapshot)
    loaded = lookup.documents(pa.array(ids), lookup.settings().passages.recurring_documents)
    texts = {row["text_id"]: row["text"] for row in loaded.texts.to_pylist()}
    places = [row | {"text": texts[row["text_id"]]} for row in loaded.places.to_pylist()]
    rows = [[row for row in places if row["document_id"] == document_id] for document_id in ids]
    facts = [_document_facts(snapshot, document_id) for document_id in ids]
    passages = views.shared_passages(lookup, left_id, right_id)
    side_by_side = views.side_by_side(facts, rows, passages)
    return {"archive": archive, "version": snapshot.manifest.version, **side_by_side}


def render_comparison_file(side_by_side: Mapping[str, Any]) -> str:
    """Return two documents side by side as one HTML file."""
    return render_file("comparison.html", side_by_side, with_script=True)


def _file_facts(file: ComparedFile) -> dict[str, Any]:
    return _facts(file.document(), file.facts()["uri"])


def _document_facts(snapshot: Snapshot, document_id: str) -> dict[str, Any]:
    where, parameters = ["document_id = $document"], {"document": document_id}
    [row] = read_rows(snapshot, "documents", where=where, parameters=parameters).to_pylist()
    return _facts(row, uris_of(snapshot, document_id)[0])


def _facts(row: Mapping[str, Any], uri: str) -> dict[str, Any]:
    facts = {name: row[name] for name in _FACTS} | {"uri": uri, "path": name_of(uri)}
    return facts | {"name": views.display_name(facts)}
