"""Documents as JSON Lines, in the shape that corpus builders read: id, text, source, metadata.

It is the document format of the Dolma toolkit, whose names datatrove and others use too. Facts of a
document are in ``metadata``; ``paragraphs`` lists for each paragraph of ``text`` its place in the
document and the paragraph of the archive that it belongs to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palimpsest.exports.streams import compressed, iso_or_none, rows_of, to_json
from palimpsest.records.document_facts import FACT_NAMES
from palimpsest.records.errors import VERIFY_ADVICE, ContractError
from palimpsest.records.progress import Report, Step, silent
from palimpsest.records.schemas import PARAGRAPH_SEPARATOR
from palimpsest.store.archive import Snapshot
from palimpsest.store.files import new_file
from palimpsest.store.views import connect_bounded

if TYPE_CHECKING:
    from palimpsest.store.views import Connection

_TIMES = ("published_at", "published_from")
_FACTS = (*(name for name in FACT_NAMES if name not in _TIMES), "published_from")
"""In ``metadata``; ``published_at`` is ``created``."""
_BYTES = ("media_type", "encoding", "sha256", "run_id")
_PLACE = ("ordinal", "text_id", "paragraph_id", "is_representative")
_SPANS = ("start_char", "end_char", "start_byte", "end_byte")
_REPORT_EVERY = 1_000
_WRITING = Step("documents", "writing documents")

_Row = dict[str, Any]

# Documents by date, those without one last, then by URI, so that the representative of equal texts
# comes first.
_RANKED = """
    CREATE TABLE ranked AS
    SELECT document_id, row_number() OVER (
        ORDER BY published_at NULLS LAST, uri, document_id
    ) AS rank
    FROM documents JOIN (
        SELECT document_id, min(uri) AS uri FROM sources GROUP BY ALL
    ) USING (document_id)
    WHERE document_id = coalesce($document, document_id)
"""
_DOCUMENTS = "SELECT * FROM ranked JOIN documents USING (document_id) ORDER BY rank"
_URIS = """
    SELECT DISTINCT rank, uri FROM ranked JOIN sources USING (document_id) ORDER BY rank, uri
"""
_PARAGRAPHS = """
    SELECT rank, o.*, f.text, f.paragraph_id, p.paragraph_id IS NOT NULL AS is_representative
    FROM ranked JOIN occurrences o USING (document_id)
    JOIN folds f USING (text_id)
    LEFT JOIN paragraphs p
        ON p.paragraph_id = o.text_id AND p.document_id = o.document_id AND p.ordinal = o.ordinal
    {where} ORDER BY rank, o.ordinal
"""
_REPRESENTATIVE = "WHERE p.paragraph_id IS NOT NULL"


def write_jsonl(
    snapshot: Snapshot,
    path: Path,
    source: str,
    document_id: str | None = None,
    *,
    deduplicated: bool = False,
    replace: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Write one document per line to a new file, compressed as its name says.

    Args:
        snapshot: the version to write.
        path: of the new file; ``.gz`` or ``.zst`` at its end means that it is compressed.
        source: name of the corpus, written in each line.
        document_id: only this document.
        deduplicated: of each document, write only the paragraphs that are representatives; a
            document without any is left out.
        replace: replace a file that exists.
        report: called with the progress.

    Returns:
        ``documents`` and ``paragraphs`` written.

    Raises:
        ContractError: a text differs from the one that was read: the archive is damaged.
        SettingsError: ``path`` exists or cannot be written.
    """
    documents = paragraphs = 0
    total = 1 if document_id else snapshot.rows("documents")
    with (
        new_file(path, replace=replace) as sink,
        compressed(sink, path) as file,
        connect_bounded(snapshot, path.absolute().parent) as connection,
    ):
        read = _documents(connection, document_id, deduplicated=deduplicated)
        for number, (document, uris, mine) in enumerate(read, start=1):
            if mine or not deduplicated:
                file.write(to_json(_line(document, uris, mine, source)) + b"\n")
                documents += 1
                paragraphs += len(mine)
            if number % _REPORT_EVERY == 0 or number == total:
                report(_WRITING, number, total)
    return {"documents": documents, "paragraphs": paragraphs}


def _documents(
    connection: Connection, document_id: str | None, *, deduplicated: bool
) -> Iterator[tuple[_Row, list[str], list[_Row]]]:
    """Yield each document with its URIs and its paragraphs, or only the representatives."""
    connection.execute(_RANKED, {"document": document_id})
    query = _PARAGRAPHS.format(where=_REPRESENTATIVE if deduplicated else "")
    uris, paragraphs = (_by_rank(rows_of(connection, one)) for one in (_URIS, query))
    for document in rows_of(connection, _DOCUMENTS):
        mine = paragraphs(document["rank"])
        if not deduplicated:
            _expect_whole(document, mine)
        yield document, [row["uri"] for row in uris(document["rank"])], mine


def _by_rank(rows: Iterator[_Row]) -> Callable[[int], list[_Row]]:
    """Return a function that returns the rows of a rank; ranks must be asked for in order."""
    grouped = groupby(rows, key=itemgetter("rank"))
    ahead = next(grouped, None)

    def of(rank: int) -> list[_Row]:
        nonlocal ahead
        if ahead is None or ahead[0] != rank:
            return []
        found = list(ahead[1])
        ahead = next(grouped, None)
        return found

    return of


def _expect_whole(document: _Row, paragraphs: list[_Row]) -> None:
    """Refuse a text that differs from the one that was read."""
    text = PARAGRAPH_SEPARATOR.join(one["text"] for one in paragraphs)
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != document["text_sha256"]:
        fault = f"document {document['document_id']}: its text has the SHA-256 {found}"
        raise ContractError(f"{fault}; expected {document['text_sha256']}; {VERIFY_ADVICE}")


def _line(document: _Row, uris: list[str], paragraphs: list[_Row], source: str) -> _Row:
    """Return the line of a document. Spans in ``paragraphs`` are half-open.

    ``start`` and ``end`` are characters of the line's text, the others those of the occurrence.
    """
    listed, start = [], 0
    for one in paragraphs:
        end = start + len(one["text"])
        names = {name: one[name] for name in (*_PLACE, *_SPANS)}
        listed.append({"start": start, "end": end, **names})
        start = end + len(PARAGRAPH_SEPARATOR)
    return {
        "id": document["document_id"],
        "text": PARAGRAPH_SEPARATOR.join(one["text"] for one in paragraphs),
        "source": source,
        "created": iso_or_none(document["published_at"]),
        "metadata": {
            "uri": uris[0],
            "uris": uris,
            **{name: document[name] for name in (*_FACTS, *_BYTES)},
        },
        "paragraphs": listed,
    }
