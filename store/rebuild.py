"""Rebuild the normalised text of a document from the tables alone."""

from __future__ import annotations

import hashlib

from palimpsest.records.errors import VERIFY_ADVICE, ContractError, SettingsError
from palimpsest.records.schemas import PARAGRAPH_SEPARATOR
from palimpsest.store.archive import Snapshot
from palimpsest.store.find import ambiguous_name_fault, find_documents
from palimpsest.store.views import connect

_DOCUMENT = "SELECT text_sha256, paragraphs FROM documents WHERE document_id = ?"
_PLACES = """
    SELECT o.ordinal, o.text_id, f.text
    FROM occurrences o LEFT JOIN folds f USING (text_id)
    WHERE o.document_id = ? ORDER BY o.ordinal
"""


def find_document(snapshot: Snapshot, document: str) -> str:
    """Return the id of the document that a name refers to; see ``find_documents``.

    Raises:
        SettingsError: the name is unknown, or refers to several documents.
    """
    found = find_documents(snapshot, [document])
    if len(found) > 1:
        raise SettingsError([ambiguous_name_fault(document, found)])
    return found[0]


def rebuild_document(snapshot: Snapshot, document: str) -> str:
    """Return the normalised text of a document: its texts in order, joined by an empty line.

    Args:
        snapshot: the version to read.
        document: its id, at least the first 8 letters of it, or the URI of one of its sources.

    Raises:
        SettingsError: the name is unknown, or refers to several documents.
        ContractError: the rebuilt text differs from the text that was read: the archive is damaged.
    """
    document_id = find_document(snapshot, document)
    with connect(snapshot, _DOCUMENT + _PLACES) as connection:
        rows = connection.execute(_DOCUMENT, [document_id]).fetchall()
        places = connection.execute(_PLACES, [document_id]).fetchall()
    advice = f"the archive is damaged; {VERIFY_ADVICE}"
    if len(rows) != 1:
        raise ContractError(f"document {document_id}: {len(rows)} rows; expected one; {advice}")
    lost = [f"{ordinal} ({text_id})" for ordinal, text_id, text in places if text is None]
    if lost:
        raise ContractError(f"document {document_id}: no text for {', '.join(lost)}; {advice}")
    text = PARAGRAPH_SEPARATOR.join(text for _, _, text in places)
    found, expected = hashlib.sha256(text.encode()).hexdigest(), rows[0][0]
    if found != expected:
        raise ContractError(
            f"document {document_id}: rebuilt from {len(places)} texts, of {rows[0][1]} "
            f"paragraphs, its SHA-256 is {found}; expected {expected}; {advice}"
        )
    return text
