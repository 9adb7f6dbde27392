"""The raw bytes of a document, read again from where they were."""

from __future__ import annotations

import hashlib

from ingest.sources import read_uris
from records.errors import SourceError
from records.ids import document_id_of
from store.archive import Snapshot
from store.find import uris_of


def read_raw(snapshot: Snapshot, document_id: str) -> bytes:
    """Return the raw bytes of a document, from the first of its sources that still has them.

    They are those that ``start_byte`` and ``end_byte`` count in: of a member of a container the
    member, decompressed; of a record of a web archive its payload.

    Args:
        snapshot: the version that knows the document.
        document_id: its whole id.

    Raises:
        SourceError: no source has these bytes any more; the detail tells of each.
    """
    settings = snapshot.settings().read
    told = []
    for uri in uris_of(snapshot, document_id):
        fault = "the file does not hold it any more"
        try:
            for _, raw in read_uris([uri], settings):
                sha256 = hashlib.sha256(raw).hexdigest()
                if document_id_of(sha256) == document_id:
                    return raw
                fault = f"its bytes are others now, with SHA-256 {sha256}"
        except SourceError as error:
            fault = str(error)
        told.append(f"{uri}: {fault}")
    advice = "bring the file back to where it was; palimpsest rebuild gives the text without"
    raise SourceError("vanished", f"document {document_id}: {'; '.join(told)}; {advice}")
