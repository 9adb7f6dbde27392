"""The values of each page as JSON-compatible objects; they are the page's JSON twin as they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import takewhile
from typing import Any

import pyarrow as pa

from palimpsest.evidence.explain import explain_named
from palimpsest.evidence.lookup import Lookup
from palimpsest.evidence.passages import align_documents
from palimpsest.evidence.raw import read_raw
from palimpsest.inspector.catalogue.read import ORDERS, Catalogue, DocumentQuery
from palimpsest.inspector.catalogue.words import find_term, search_terms
from palimpsest.inspector.marking import MarkedDocument, Segment, Span
from palimpsest.inspector.terminal import name_of
from palimpsest.records.errors import SettingsError, SourceError
from palimpsest.records.schemas import PARAGRAPH_SEPARATOR
from palimpsest.store.find import DOCUMENT, MIN_PREFIX_LETTERS, NameMatch

PARTNERS = 40
"""Number of documents whose passages are marked in a document: those that share the most."""
WITNESSES = 300
VARIANTS = 30
NEIGHBOURS = 20
ROWS = 25
EXPLAINED = 5
MAX_EXCERPT_BYTES = 20_000
CONTEXT_BYTES = 160
SNIPPET_CHARS = 240
MAX_ORDINAL = 2**31 - 1
PASSAGE_CHARS = 900
"""Longest excerpt of one side of a passage in a report."""
_WORD_CHARS = 40

SIDES = ("left", "right")

_ID = re.compile(f"[0-9a-fA-F]{{{MIN_PREFIX_LETTERS},32}}")
_PLACE = (
    *("ordinal", "text_id", "paragraph_id", "words", "documents"),
    *("start_char", "end_char", "start_byte", "end_byte"),
)


class NotFoundError(Exception):
    """The archive does not contain what was requested."""


def warm_up(catalogue: Catalogue) -> None:
    """Load the kernels and tables that pages need, so that the first page is fast too."""
    for pair in catalogue.overview()["pairs"][:1]:
        left, right = (pair[side]["document_id"] for side in SIDES)
        document(catalogue, left)
        explain(catalogue, DOCUMENT, left, right, limit=1)


def overview(catalogue: Catalogue) -> dict[str, Any]:
    """Return counts, plots and lists for the whole archive."""
    manifest = catalogue.snapshot.manifest
    values = catalogue.overview()
    for name in ("reused", "formulas"):
        values[name] = [row | {"text": _shortened(row["text"])} for row in values[name]]
    for pair in values["pairs"]:
        for side in SIDES:
            pair[side]["name"] = display_name(pair[side])
    return {
        "version": manifest.version,
        "published_at": manifest.published_at,
        "operation": manifest.operation,
        "size_bytes": catalogue.snapshot.size_bytes(),
        **values,
    }


def documents(catalogue: Catalogue, query: DocumentQuery, page: int = 1) -> dict[str, Any]:
    """Return one page of the documents that match a query.

    Raises:
        SettingsError: the order is unknown.
    """
    if query.order not in ORDERS:
        fault = f"order {query.order!r}: expected one of {', '.join(ORDERS)}"
        raise SettingsError([fault])
    found, rows = catalogue.search(query, ROWS, (page - 1) * ROWS)
    terms = search_terms(query.words)
    for row in rows:
        limit = -1 if terms else 1
        row["snippet"] = _snippet(catalogue.paragraphs_of(row["number"], limit), terms)
    return {
        "asked": asdict(query),
        "ids": _matching_ids(catalogue, query.words.strip()),
        "found": found,
        "page": page,
        "pages": max(1, -(-found // ROWS)),
        "documents": [_public(row) for row in rows],
    }


def _matching_ids(catalogue: Catalogue, words: str) -> list[dict[str, str]]:
    """Return the documents and texts whose id, prefix of an id, or URI was searched for."""
    name = words.lower() if _ID.fullmatch(words) else words if "://" in words else None
    matches = [] if name is None else catalogue.find_by_prefix(name)
    return [{"kind": kind, "id": match_id} for kind, match_id in matches]


def document(catalogue: Catalogue, document_id: str) -> dict[str, Any]:
    """Return a document: its text with passages marked, and the documents that share them.

    Raises:
        NotFoundError: there is no such document.
    """
    facts = _document(catalogue, document_id)
    rows = catalogue.paragraphs_of(facts["number"])
    partners = catalogue.partners_of(facts["number"], PARTNERS)
    partner_ids = [partner["document_id"] for partner in partners]
    passages = _passages_with(catalogue, document_id, partner_ids)
    spans = [(passage["start_char"], passage["end_char"]) for passage in passages]
    paragraphs = _paragraphs(rows, MarkedDocument(rows, spans).segments())
    for paragraph in paragraphs:
        for segment in paragraph["segments"]:
            others = {passages[number - 1]["document_id"] for number in segment["passages"]}
            segment["documents"] = len(others)
    return {
        "document": _public(facts),
        "sources": [
            row | {"name": name_of(row["uri"])} for row in catalogue.sources_of(facts["number"])
        ],
        "provenance": _without(catalogue.provenance_of(facts["number"]), "document"),
        "paragraphs": paragraphs,
        "passages": passages,
        "partners": [_partner(partner, facts, passages) for partner in partners],
    }


def compare(catalogue: Catalogue, left_id: str, right_id: str) -> dict[str, Any]:
    """Return two documents side by side, with the passages that they share.

    Raises:
        NotFoundError: there is no such document.
        SettingsError: both are the same.
    """
    if left_id == right_id:
        raise SettingsError(["both sides are the same document; name two different ones"])
    documents = [_document(catalogue, document_id) for document_id in (left_id, right_id)]
    rows = [catalogue.paragraphs_of(document["number"]) for document in documents]
    passages = shared_passages(catalogue, left_id, right_id)
    return side_by_side([_public(document) for document in documents], rows, passages)


def shared_passages(lookup: Lookup, left_id: str, right_id: str) -> list[dict[str, Any]]:
    """Return the passages that two documents share, in the order of the left one.

    Args:
        lookup: where the documents are read from.
        left_id, right_id: two different documents; either may be the earlier.

    Returns:
        for each passage ``left`` and ``right`` with ``start_char``, ``end_char``, ``words`` and
        ``passage``; ``matched_words``, ``relation``, ``resemblance``, ``score``, ``is_clear``,
        ``is_recurring``, ``direction`` and ``document_resemblance``.
    """
    pair = pa.table({"one": [min(left_id, right_id)], "other": [max(left_id, right_id)]})
    rows = [row for table in align_documents(lookup, pair) for row in table.to_pylist()]
    is_swapped = bool(rows) and rows[0]["left_document_id"] != left_id
    source_sides = dict(zip(SIDES, reversed(SIDES) if is_swapped else SIDES, strict=True))
    passages = [_passage(row, source_sides) for row in rows]
    passages.sort(key=lambda row: (row["left"]["start_char"], row["right"]["start_char"]))
    return passages


def side_by_side(
    facts: Sequence[Mapping[str, Any]],
    rows: Sequence[Sequence[Mapping[str, Any]]],
    passages: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Return two documents with shared passages and differing words marked.

    Args:
        facts: of the left and the right document.
        rows: the paragraphs of each, as ``MarkedDocument`` takes them.
        passages: ``start_char`` and ``end_char`` of each side, with any further facts.
    """
    left, right = (
        MarkedDocument(side_rows, [_span_of(passage, side) for passage in passages])
        for side, side_rows in zip(SIDES, rows, strict=True)
    )
    left.compare_with(right)
    return {
        side: {"document": document, "paragraphs": _paragraphs(side_rows, marked.segments())}
        for side, document, side_rows, marked in zip(SIDES, facts, rows, (left, right), strict=True)
    } | {"passages": [{"number": at, **passage} for at, passage in enumerate(passages, start=1)]}


def _span_of(passage: Mapping[str, Any], side: str) -> Span:
    return passage[side]["start_char"], passage[side]["end_char"]


def longest_passages(
    catalogue: Catalogue, left_id: str, right_id: str, limit: int
) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of clear passages that two documents share, and the longest of them.

    Recurring ones come last. Each has ``left`` and ``right``, pieces of text with ``is_changed``
    that have at most ``PASSAGE_CHARS`` characters, and ``differs``, whether anything differs in
    the whole passage.
    """
    rows = [
        catalogue.paragraphs_of(_document(catalogue, document_id)["number"])
        for document_id in (left_id, right_id)
    ]
    passages = shared_passages(catalogue, left_id, right_id)
    clear = [passage for passage in passages if passage["is_clear"]]
    clear.sort(key=lambda passage: (passage["is_recurring"], -passage["matched_words"]))
    return len(clear), [_with_differences(rows, passage) for passage in clear[:limit]]


def places_of(catalogue: Catalogue, text_id: str, limit: int) -> tuple[int, list[dict[str, Any]]]:
    """Return the number of places where a paragraph or a variant occurs, and the earliest ones."""
    witnesses = [_public(row) for row in catalogue.witnesses(text_id, limit)]
    return catalogue.sizes(text_id)["places"], witnesses


def paragraph(catalogue: Catalogue, text_id: str) -> dict[str, Any]:
    """Return a paragraph: its representative, variants with differences, and where it occurs.

    Raises:
        NotFoundError: there is no such text.
    """
    texts = catalogue.cluster(text_id, VARIANTS + 1)
    if not texts:
        raise NotFoundError(f"paragraph {text_id}: not in the archive")
    first, variants = texts[0], texts[1:]
    sizes = catalogue.sizes(text_id)
    return {
        "paragraph": first,
        "asked": text_id,
        "variants_found": sizes["texts"] - 1,
        "variants": [_variant(first, variant) for variant in variants],
        "places": sizes["places"],
        "witnesses": [_public(row) for row in catalogue.witnesses(text_id, WITNESSES)],
        "neighbours": [
            row | {"text": _shortened(row["text"])}
            for row in catalogue.neighbours(first["text_id"], NEIGHBOURS)
        ],
    }


def explain(
    catalogue: Catalogue, kind: str, left_id: str, right_id: str, limit: int = EXPLAINED
) -> dict[str, Any]:
    """Return why two texts or two documents were matched; see ``evidence.explain``.

    Raises:
        NotFoundError: there is no such text or document.
        SettingsError: both are the same.
    """
    if left_id == right_id:
        raise SettingsError([f"both sides are the same {kind}; name two different ones"])
    documents: dict[str, Any] = {}
    for side, name in zip(SIDES, (left_id, right_id), strict=True):
        if kind == DOCUMENT:
            documents[side] = _public(_document(catalogue, name))
        elif not catalogue.cluster(name, 1):
            raise NotFoundError(f"text {name}: not in the archive")
    named = [NameMatch(kind, left_id), NameMatch(kind, right_id)]
    return {"kind": kind, "documents": documents, **explain_named(catalogue, named, limit)}


def rejects(catalogue: Catalogue, reason: str = "", page: int = 1) -> dict[str, Any]:
    """Return one page of the rejected sources, optionally only those with a given reason."""
    found, rows = catalogue.rejects(reason, ROWS, (page - 1) * ROWS)
    return {
        "reason": reason,
        "reasons": catalogue.overview()["rejects"],
        "found": found,
        "page": page,
        "pages": max(1, -(-found // ROWS)),
        "rejects": [row | {"name": name_of(row["uri"])} for row in rows],
    }


def raw(catalogue: Catalogue, document_id: str) -> bytes:
    """Return the raw bytes of a document.

    Raises:
        NotFoundError: there is no such document, or its bytes are no longer available.
    """
    number = _document(catalogue, document_id)["number"]
    uris = [row["uri"] for row in catalogue.sources_of(number)]
    try:
        return read_raw(document_id, uris, catalogue.settings().read).content
    except SourceError as error:
        raise NotFoundError(f"raw bytes of document {document_id}: {error}") from error


def excerpt(catalogue: Catalogue, document_id: str, ordinal: int) -> dict[str, Any]:
    """Return the raw bytes of a paragraph with some context, in pieces that say which is which.

    Raises:
        NotFoundError: there is no such paragraph, or its bytes are no longer available.
    """
    facts = _document(catalogue, document_id)
    row = catalogue.place_of(facts["number"], ordinal)
    if row is None:
        raise NotFoundError(f"document {document_id}: has no paragraph {ordinal}")
    content, start, end = raw(catalogue, document_id), row["start_byte"], row["end_byte"]
    values = {"document": _public(facts), "ordinal": ordinal, "bytes": len(content)}
    if start is None:
        return values | {"start_byte": None, "end_byte": None, "pieces": []}
    offsets = zip(row["stretch_start"], row["stretch_end"], strict=True)
    fragments = [(start + first, start + last) for first, last in offsets] or [(start, end)]
    pieces, at = [], max(0, start - CONTEXT_BYTES)
    for first, last in fragments:
        pieces += [_piece(content, at, first, False), _piece(content, first, last, True)]
        at = last
    pieces.append(_piece(content, at, min(len(content), end + CONTEXT_BYTES), False))
    return values | {
        "start_byte": start,
        "end_byte": end,
        "pieces": [piece for piece in pieces if piece["text"]],
    }


def display_name(row: Mapping[str, Any]) -> str:
    """Return the title of a document, or else the last part of its address."""
    return row["title"] or name_of(row["uri"]).rstrip("/").rpartition("/")[2] or row["document_id"]


def _piece(content: bytes, start: int, end: int, is_paragraph: bool) -> dict[str, Any]:
    shown = content[start : min(end, start + MAX_EXCERPT_BYTES)]
    return {"start_byte": start, "is_paragraph": is_paragraph, "text": _escaped(shown)}


def _escaped(content: bytes) -> str:
    r"""Return bytes as text, those outside printable ASCII as ``\x..``."""
    return content.decode("latin-1").translate(_ESCAPES)


_ESCAPES = {
    code: f"\\x{code:02x}" for code in range(256) if not (0x20 <= code < 0x7F or code in (9, 10))
}


def _document(catalogue: Catalogue, document_id: str) -> dict[str, Any]:
    facts = catalogue.document(document_id)
    if facts is None:
        raise NotFoundError(f"document {document_id}: not in the archive")
    return facts


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def _public(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's row with its name and reused share, without the catalogue's number."""
    share = row["reused_words"] / row["words"] if row["words"] else 0.0
    computed = {"name": display_name(row), "reused_share": round(share, 4)}
    return _without(row, "number") | computed


def _passages_with(
    catalogue: Catalogue, document_id: str, other_ids: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the clear passages that a document shares with others, from the document's side."""
    pairs = pa.table(
        {
            "one": pa.array([min(document_id, other) for other in other_ids], pa.string()),
            "other": pa.array([max(document_id, other) for other in other_ids], pa.string()),
        }
    )
    rows = [row for table in align_documents(catalogue, pairs) for row in table.to_pylist()]
    passages = [_from_side(row, document_id) for row in rows]
    passages.sort(key=lambda passage: (passage["start_char"], passage["other"]["start_char"]))
    numbers: Counter[str] = Counter()
    for passage in passages:  # the numbers that the comparison of the two documents uses
        numbers[passage["document_id"]] += 1
        passage["number_in_pair"] = numbers[passage["document_id"]]
    return [passage for passage in passages if passage["is_clear"]]


def _from_side(row: Mapping[str, Any], document_id: str) -> dict[str, Any]:
    """Return a passage as seen from one of its two documents."""
    is_left = row["left_document_id"] == document_id
    own_side, other_side = SIDES if is_left else reversed(SIDES)
    span = ("start_char", "end_char")
    return {
        "document_id": row[f"{other_side}_document_id"],
        "is_later": is_left,
        **{name: row[f"{own_side}_{name}"] for name in span},
        "other": {name: row[f"{other_side}_{name}"] for name in span},
        **_assessment(row),
    }


def _passage(row: Mapping[str, Any], source_sides: Mapping[str, str]) -> dict[str, Any]:
    """Return a passage with its sides taken from the given sides of the row."""
    names = ("start_char", "end_char", "words", "passage")
    return {
        side: {name: row[f"{source_sides[side]}_{name}"] for name in names} for side in SIDES
    } | _assessment(row)


def _assessment(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("matched_words", "relation", "is_clear", "is_recurring", "direction")
    figures = ("resemblance", "score", "document_resemblance")
    return {name: row[name] for name in names} | {name: round(row[name], 4) for name in figures}


def _with_differences(
    rows: Sequence[Sequence[Mapping[str, Any]]], passage: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a passage with the text of each side in pieces, differing words marked."""
    left, right = (
        MarkedDocument(side_rows, [_span_of(passage, side)])
        for side, side_rows in zip(SIDES, rows, strict=True)
    )
    left.compare_with(right)
    sides = [_pieces(marked.passage(0)) for marked in (left, right)]
    differs = any(piece["is_changed"] for pieces in sides for piece in pieces)
    start = min(map(_first_change, sides)) if differs else 0
    start = start - PASSAGE_CHARS // 4 if start > PASSAGE_CHARS // 2 else 0
    excerpts = {side: _cut_pieces(pieces, start) for side, pieces in zip(SIDES, sides, strict=True)}
    return {**passage, **excerpts, "differs": differs}


def _pieces(paragraphs: Sequence[Sequence[Segment]]) -> list[dict[str, Any]]:
    """Return the segments of all paragraphs in one list."""
    pieces: list[dict[str, Any]] = []
    for segments in paragraphs:
        if pieces:
            pieces.append({"text": PARAGRAPH_SEPARATOR, "is_changed": False})
        pieces += map(_text_and_change, segments)
    return pieces


def _text_and_change(segment: Segment) -> dict[str, Any]:
    return {"text": segment.text, "is_changed": segment.is_changed}


def _first_change(pieces: Sequence[dict[str, Any]]) -> int:
    """Return the number of characters before the first change; without one, the whole length."""
    unchanged = takewhile(lambda piece: not piece["is_changed"], pieces)
    return sum(len(piece["text"]) for piece in unchanged)


def _cut_pieces(pieces: Sequence[dict[str, Any]], start: int) -> list[dict[str, Any]]:
    """Return at most ``PASSAGE_CHARS`` from a position on, cut at spaces if there are any."""
    whole = "".join(piece["text"] for piece in pieces)
    end = start + PASSAGE_CHARS
    if start:
        start = max(start, whole.find(" ", start, start + _WORD_CHARS) + 1)
    if end < len(whole):
        last = whole.rfind(" ", end - _WORD_CHARS, end)
        end = last if last > 0 else end
    excerpt = [{"text": "… ", "is_changed": False}] if start else []
    at = 0
    for piece in pieces:
        text = piece["text"][max(0, start - at) : max(0, end - at)]
        at += len(piece["text"])
        if text:
            excerpt.append({"text": text, "is_changed": piece["is_changed"]})
    return [*excerpt, {"text": " …", "is_changed": False}] if end < len(whole) else excerpt


def _partner(
    row: Mapping[str, Any], facts: Mapping[str, Any], passages: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    shared = [passage for passage in passages if passage["document_id"] == row["document_id"]]
    return _public(row) | {
        "is_later": row["number"] > facts["number"],
        "passages": len(shared),
        "passage_words": sum(passage["matched_words"] for passage in shared),
        "resemblance": shared[0]["document_resemblance"] if shared else 0.0,
    }


def _paragraphs(
    rows: Sequence[Mapping[str, Any]], segments: Sequence[Sequence[Segment]]
) -> list[dict[str, Any]]:
    """Return paragraphs with their segments; passages are numbered from 1."""
    return [
        {name: row.get(name) for name in _PLACE}
        | {
            "segments": [
                {
                    "text": segment.text,
                    "passages": [number + 1 for number in segment.passages],
                    "begins": [number + 1 for number in segment.begins],
                    "is_changed": segment.is_changed,
                }
                for segment in row_segments
            ]
        }
        for row, row_segments in zip(rows, segments, strict=True)
    ]


def _variant(representative: Mapping[str, Any], variant: Mapping[str, Any]) -> dict[str, Any]:
    """Return a variant with the words in which it and the representative differ."""
    left, right = (_one_passage(row["text"]) for row in (representative, variant))
    left.compare_with(right)
    sides = [list(map(_text_and_change, marked.segments()[0])) for marked in (left, right)]
    return {**variant, "of_paragraph": sides[0], "of_variant": sides[1]}


def _one_passage(text: str) -> MarkedDocument:
    """Return a text as a document of one paragraph, all of which is one passage."""
    row = {"text": text, "start_char": 0, "shift_at": [], "shift_by": []}
    return MarkedDocument([row], [(0, len(text))])


def _snippet(paragraphs: Sequence[Mapping[str, Any]], terms: Sequence[str]) -> list[dict[str, Any]]:
    """Return the text around the first match of a term, or else the beginning of the document."""
    for term in terms:
        for row in paragraphs:
            match = find_term(row["text"], term)
            if match:
                return _around(row["text"], max(0, match[0] - SNIPPET_CHARS // 3), *match)
    first = next((row["text"] for row in paragraphs), "")
    return [{"text": _shortened(first, SNIPPET_CHARS), "is_found": False}]


def _around(text: str, start: int, first: int, last: int) -> list[dict[str, Any]]:
    before = ("… " if start else "") + text[start:first]
    stop = start + SNIPPET_CHARS
    after = text[last:stop] + (" …" if stop < len(text) else "")
    pieces = ((before, False), (text[first:last], True), (after, False))
    return [{"text": piece, "is_found": is_found} for piece, is_found in pieces if piece]


def _shortened(text: str, max_chars: int = SNIPPET_CHARS) -> str:
    return text if len(text) <= max_chars else text[:max_chars].rstrip() + " …"


__all__ = [
    "SIDES",
    "NotFoundError",
    "compare",
    "display_name",
    "document",
    "documents",
    "excerpt",
    "explain",
    "longest_passages",
    "overview",
    "paragraph",
    "places_of",
    "raw",
    "rejects",
    "shared_passages",
    "side_by_side",
    "warm_up",
]
