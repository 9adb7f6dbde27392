"""What each page tells, as values that can be JSON: the twin of the page is just this."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import takewhile
from typing import Any

import pyarrow as pa

from evidence.explain import explain_named
from evidence.lookup import Lookup
from evidence.passages import align_documents
from evidence.raw import read_raw
from inspector.catalogue.read import ORDERS, Asked, Catalogue
from inspector.catalogue.words import find_term, search_terms
from inspector.marking import MarkedDocument, Segment
from inspector.terminal import name_of
from records.errors import SettingsError, SourceError
from records.schemas import PARAGRAPH_SEPARATOR
from store.find import DOCUMENT, MIN_PREFIX_LETTERS, Named

PARTNERS = 40
"""Documents that a document's passages are looked for in: those that share most with it."""
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
"""Of a passage that stands in a report, so much is shown of each side."""
_WORD_CHARS = 40

SIDES = ("left", "right")

_ID = re.compile(f"[0-9a-fA-F]{{{MIN_PREFIX_LETTERS},32}}")
_PLACE = (
    *("ordinal", "text_id", "paragraph_id", "words", "documents"),
    *("start_char", "end_char", "start_byte", "end_byte"),
)


class NotThereError(Exception):
    """There is no such page: the archive does not name what was asked for."""


def warm_up(catalogue: Catalogue) -> None:
    """Load the kernels and tables that pages need, so that nobody's first page waits for them."""
    for pair in catalogue.overview()["pairs"][:1]:
        left, right = (pair[side]["document_id"] for side in SIDES)
        document(catalogue, left)
        explain(catalogue, DOCUMENT, left, right, limit=1)


def overview(catalogue: Catalogue) -> dict[str, Any]:
    """Return what the archive holds."""
    manifest = catalogue.snapshot.manifest
    told = catalogue.overview()
    for name in ("reused", "formulas"):
        told[name] = [row | {"text": _shortened(row["text"])} for row in told[name]]
    for pair in told["pairs"]:
        for side in SIDES:
            pair[side]["name"] = display_name(pair[side])
    return {
        "version": manifest.version,
        "published_at": manifest.published_at,
        "operation": manifest.operation,
        "size_bytes": catalogue.snapshot.size_bytes(),
        **told,
    }


def documents(catalogue: Catalogue, asked: Asked, page: int = 1) -> dict[str, Any]:
    """Return the documents that somebody asks for, a page of them.

    Raises:
        SettingsError: they cannot be listed so.
    """
    if asked.order not in ORDERS:
        told = f"order {asked.order!r}: expected one of {', '.join(ORDERS)}"
        raise SettingsError([told])
    found, rows = catalogue.search(asked, ROWS, (page - 1) * ROWS)
    terms = search_terms(asked.words)
    for row in rows:
        limit = -1 if terms else 1
        row["snippet"] = _snippet(catalogue.paragraphs_of(row["number"], limit), terms)
    return {
        "asked": asdict(asked),
        "ids": _ids(catalogue, asked.words.strip()),
        "found": found,
        "page": page,
        "pages": max(1, -(-found // ROWS)),
        "documents": [_told(row) for row in rows],
    }


def _ids(catalogue: Catalogue, words: str) -> list[dict[str, str]]:
    """Return the documents and texts whose id, its beginning or URI somebody typed as words."""
    typed = words.lower() if _ID.fullmatch(words) else words if "://" in words else None
    return [] if typed is None else [{"kind": k, "id": one} for k, one in catalogue.find(typed)]


def document(catalogue: Catalogue, document_id: str) -> dict[str, Any]:
    """Return a document: its text with passages marked, the documents it shares them with.

    Raises:
        NotThereError: there is no such document.
    """
    facts = _document(catalogue, document_id)
    rows = catalogue.paragraphs_of(facts["number"])
    partners = catalogue.partners_of(facts["number"], PARTNERS)
    passages = _passages_with(catalogue, document_id, [one["document_id"] for one in partners])
    marked = MarkedDocument(rows, [(one["start_char"], one["end_char"]) for one in passages])
    paragraphs = _paragraphs(rows, marked.segments())
    for segment in (one for paragraph in paragraphs for one in paragraph["segments"]):
        others = {passages[number - 1]["document_id"] for number in segment["passages"]}
        segment["documents"] = len(others)
    return {
        "document": _told(facts),
        "sources": [
            row | {"name": name_of(row["uri"])} for row in catalogue.sources_of(facts["number"])
        ],
        "provenance": _without(catalogue.provenance_of(facts["number"]), "document"),
        "paragraphs": paragraphs,
        "passages": passages,
        "partners": [_partner(one, facts, passages) for one in partners],
    }


def compare(catalogue: Catalogue, left_id: str, right_id: str) -> dict[str, Any]:
    """Return two documents side by side, with the passages that they share.

    Raises:
        NotThereError: there is no such document.
        SettingsError: both are the same.
    """
    if left_id == right_id:
        raise SettingsError(["both sides are the same document; name two that differ"])
    sides = [_document(catalogue, one) for one in (left_id, right_id)]
    rows = [catalogue.paragraphs_of(one["number"]) for one in sides]
    passages = shared_passages(catalogue, left_id, right_id)
    return side_by_side([_told(one) for one in sides], rows, passages)


def shared_passages(lookup: Lookup, left_id: str, right_id: str) -> list[dict[str, Any]]:
    """Return the passages that two documents share, in the order of the left one.

    Args:
        lookup: what tells the documents.
        left_id, right_id: two different ones, whichever is the earlier.

    Returns:
        for each passage ``left`` and ``right`` with ``start_char``, ``end_char``, ``words`` and
        ``passage``; ``matched_words``, ``relation``, ``resemblance``, ``score``, ``is_clear``,
        ``is_recurring`` and ``direction``.
    """
    pair = pa.table({"one": [min(left_id, right_id)], "other": [max(left_id, right_id)]})
    found = [row for part in align_documents(lookup, pair) for row in part.to_pylist()]
    is_turned = bool(found) and found[0]["left_document_id"] != left_id
    known_as = dict(zip(SIDES, reversed(SIDES) if is_turned else SIDES, strict=True))
    passages = [_passage(row, known_as) for row in found]
    passages.sort(key=lambda row: (row["left"]["start_char"], row["right"]["start_char"]))
    return passages


def side_by_side(
    facts: Sequence[Mapping[str, Any]],
    rows: Sequence[Sequence[Mapping[str, Any]]],
    passages: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Return two documents with the passages that they share marked, and words that differ.

    Args:
        facts: of the left and the right document.
        rows: the paragraphs of each, as ``MarkedDocument`` takes them.
        passages: for each side a span, ``start_char`` and ``end_char``; and what is known of it.
    """
    marked = [
        MarkedDocument(mine, [(one[side]["start_char"], one[side]["end_char"]) for one in passages])
        for side, mine in zip(SIDES, rows, strict=True)
    ]
    marked[0].compare_with(marked[1])
    return {
        side: {"document": told, "paragraphs": _paragraphs(mine, one.segments())}
        for side, told, mine, one in zip(SIDES, facts, rows, marked, strict=True)
    } | {"passages": [{"number": at, **one} for at, one in enumerate(passages, start=1)]}


def passages_beside(
    catalogue: Catalogue, left_id: str, right_id: str, limit: int
) -> tuple[int, list[dict[str, Any]]]:
    """Return how many clear passages two documents share, and the longest with what differs.

    Those that recur come last. Each has ``left`` and ``right``, pieces of text with ``is_changed``,
    ``PASSAGE_CHARS`` at most, and ``differs``, whether anything does in all of it.
    """
    rows = [
        catalogue.paragraphs_of(_document(catalogue, one)["number"]) for one in (left_id, right_id)
    ]
    clear = [one for one in shared_passages(catalogue, left_id, right_id) if one["is_clear"]]
    clear.sort(key=lambda one: (one["is_recurring"], -one["matched_words"]))
    return len(clear), [_beside(rows, one) for one in clear[:limit]]


def places_of(catalogue: Catalogue, text_id: str, limit: int) -> tuple[int, list[dict[str, Any]]]:
    """Return in how many places a paragraph stands, as it is or varied, and the earliest."""
    witnesses = [_told(one) for one in catalogue.witnesses(text_id, limit)]
    return catalogue.sizes(text_id)["places"], witnesses


def paragraph(catalogue: Catalogue, text_id: str) -> dict[str, Any]:
    """Return a paragraph: its representative, variants with what differs, and where it stands.

    Raises:
        NotThereError: there is no such text.
    """
    texts = catalogue.cluster(text_id, VARIANTS + 1)
    if not texts:
        raise NotThereError(f"paragraph {text_id}: not in the archive")
    first, variants = texts[0], texts[1:]
    sizes = catalogue.sizes(text_id)
    return {
        "paragraph": first,
        "asked": text_id,
        "variants_found": sizes["texts"] - 1,
        "variants": [_variant(first, one) for one in variants],
        "places": sizes["places"],
        "witnesses": [_told(one) for one in catalogue.witnesses(text_id, WITNESSES)],
        "neighbours": [
            one | {"text": _shortened(one["text"])}
            for one in catalogue.neighbours(first["text_id"], NEIGHBOURS)
        ],
    }


def explain(
    catalogue: Catalogue, kind: str, left_id: str, right_id: str, limit: int = EXPLAINED
) -> dict[str, Any]:
    """Return why two texts or two documents were matched; see ``evidence.explain``.

    Raises:
        NotThereError: there is no such text or document.
        SettingsError: both are the same.
    """
    if left_id == right_id:
        raise SettingsError([f"both sides are the same {kind}; name two that differ"])
    told: dict[str, Any] = {}
    for side, one in zip(SIDES, (left_id, right_id), strict=True):
        if kind == DOCUMENT:
            told[side] = _told(_document(catalogue, one))
        elif not catalogue.cluster(one, 1):
            raise NotThereError(f"text {one}: not in the archive")
    named = [Named(kind, left_id), Named(kind, right_id)]
    return {"kind": kind, "documents": told, **explain_named(catalogue, named, limit)}


def rejects(catalogue: Catalogue, reason: str = "", page: int = 1) -> dict[str, Any]:
    """Return the sources that were rejected, for a reason or for any, a page of them."""
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
        NotThereError: there is no such document, or its bytes are not to be had any more.
    """
    number = _document(catalogue, document_id)["number"]
    uris = [row["uri"] for row in catalogue.sources_of(number)]
    try:
        return read_raw(document_id, uris, catalogue.settings().read).content
    except SourceError as error:
        raise NotThereError(f"raw bytes of document {document_id}: {error}") from error


def excerpt(catalogue: Catalogue, document_id: str, ordinal: int) -> dict[str, Any]:
    """Return the raw bytes around a paragraph of a document, the paragraph's own told apart.

    Raises:
        NotThereError: there is no such paragraph, or its bytes are not to be had any more.
    """
    facts = _document(catalogue, document_id)
    row = catalogue.place_of(facts["number"], ordinal)
    if row is None:
        raise NotThereError(f"document {document_id}: has no paragraph {ordinal}")
    content, start, end = raw(catalogue, document_id), row["start_byte"], row["end_byte"]
    told = {"document": _told(facts), "ordinal": ordinal, "bytes": len(content)}
    if start is None:
        return told | {"start_byte": None, "end_byte": None, "pieces": []}
    stretches = list(zip(row["stretch_start"], row["stretch_end"], strict=True))
    stretches = [(start + one, start + other) for one, other in stretches] or [(start, end)]
    pieces, at = [], max(0, start - CONTEXT_BYTES)
    for first, last in stretches:
        pieces += [_piece(content, at, first, False), _piece(content, first, last, True)]
        at = last
    pieces.append(_piece(content, at, min(len(content), end + CONTEXT_BYTES), False))
    return told | {
        "start_byte": start,
        "end_byte": end,
        "pieces": [one for one in pieces if one["text"]],
    }


def display_name(row: Mapping[str, Any]) -> str:
    """Return what a document is called: its title, or the last part of its address."""
    return row["title"] or name_of(row["uri"]).rstrip("/").rpartition("/")[2] or row["document_id"]


def _piece(content: bytes, start: int, end: int, is_paragraph: bool) -> dict[str, Any]:
    shown = content[start : min(end, start + MAX_EXCERPT_BYTES)]
    return {"start_byte": start, "is_paragraph": is_paragraph, "text": _escaped(shown)}


def _escaped(content: bytes) -> str:
    r"""Return bytes as text: what is ASCII as it is, all else as ``\x..``."""
    return content.decode("latin-1").translate(_ESCAPES)


_ESCAPES = {
    code: f"\\x{code:02x}" for code in range(256) if not (0x20 <= code < 0x7F or code in (9, 10))
}


def _document(catalogue: Catalogue, document_id: str) -> dict[str, Any]:
    facts = catalogue.document(document_id)
    if facts is None:
        raise NotThereError(f"document {document_id}: not in the archive")
    return facts


def _without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's row as it is told, without the number of the catalogue."""
    told = _without(row, "number")
    share = row["reused_words"] / row["words"] if row["words"] else 0.0
    return told | {"name": display_name(row), "reused_share": round(share, 4)}


def _passages_with(
    catalogue: Catalogue, document_id: str, others: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the clear passages of a document with others, from the document's side."""
    pairs = pa.table(
        {
            "one": pa.array([min(document_id, one) for one in others], pa.string()),
            "other": pa.array([max(document_id, one) for one in others], pa.string()),
        }
    )
    rows = [row for part in align_documents(catalogue, pairs) for row in part.to_pylist()]
    told = [_from_side(row, document_id) for row in rows]
    told.sort(key=lambda row: (row["start_char"], row["other"]["start_char"]))
    numbers: Counter[str] = Counter()
    for row in told:  # as the comparison of the two documents numbers them
        numbers[row["document_id"]] += 1
        row["number_in_pair"] = numbers[row["document_id"]]
    return [row for row in told if row["is_clear"]]


def _from_side(row: Mapping[str, Any], document_id: str) -> dict[str, Any]:
    """Return a passage as one of its two documents has it."""
    is_left = row["left_document_id"] == document_id
    mine, theirs = SIDES if is_left else reversed(SIDES)
    span = ("start_char", "end_char")
    return {
        "document_id": row[f"{theirs}_document_id"],
        "is_later": is_left,
        **{name: row[f"{mine}_{name}"] for name in span},
        "other": {name: row[f"{theirs}_{name}"] for name in span},
        **_judged(row),
    }


def _passage(row: Mapping[str, Any], known_as: Mapping[str, str]) -> dict[str, Any]:
    kept = ("start_char", "end_char", "words", "passage")
    return {
        side: {name: row[f"{known_as[side]}_{name}"] for name in kept} for side in SIDES
    } | _judged(row)


def _judged(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("matched_words", "relation", "is_clear", "is_recurring", "direction")
    rounded = {name: round(row[name], 4) for name in ("resemblance", "score")}
    return {name: row[name] for name in kept} | rounded


def _beside(
    rows: Sequence[Sequence[Mapping[str, Any]]], passage: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a passage as what it is on each side, with the words that differ."""
    marked = [
        MarkedDocument(mine, [(passage[side]["start_char"], passage[side]["end_char"])])
        for side, mine in zip(SIDES, rows, strict=True)
    ]
    marked[0].compare_with(marked[1])
    pieces = [_pieces(one.passage(0)) for one in marked]
    differs = any(one["is_changed"] for mine in pieces for one in mine)
    start = min(map(_first_change, pieces)) if differs else 0
    start = start - PASSAGE_CHARS // 4 if start > PASSAGE_CHARS // 2 else 0
    shown = {side: _cut_pieces(mine, start) for side, mine in zip(SIDES, pieces, strict=True)}
    return {**passage, **shown, "differs": differs}


def _pieces(paragraphs: Sequence[Sequence[Segment]]) -> list[dict[str, Any]]:
    """Return the segments of paragraphs one behind the other."""
    pieces: list[dict[str, Any]] = []
    for cut in paragraphs:
        if pieces:
            pieces.append({"text": PARAGRAPH_SEPARATOR, "is_changed": False})
        pieces += [{"text": one.text, "is_changed": one.is_changed} for one in cut]
    return pieces


def _first_change(pieces: Sequence[dict[str, Any]]) -> int:
    """Return how many characters stand before the first change; of a side without one, all."""
    return sum(len(one["text"]) for one in takewhile(lambda one: not one["is_changed"], pieces))


def _cut_pieces(pieces: Sequence[dict[str, Any]], start: int) -> list[dict[str, Any]]:
    """Return ``PASSAGE_CHARS`` of a passage from a position on, in whole words if it has blanks."""
    whole = "".join(one["text"] for one in pieces)
    end = start + PASSAGE_CHARS
    if start:
        start = max(start, whole.find(" ", start, start + _WORD_CHARS) + 1)
    if end < len(whole):
        last = whole.rfind(" ", end - _WORD_CHARS, end)
        end = last if last > 0 else end
    shown = [{"text": "… ", "is_changed": False}] if start else []
    at = 0
    for one in pieces:
        text = one["text"][max(0, start - at) : max(0, end - at)]
        at += len(one["text"])
        if text:
            shown.append({"text": text, "is_changed": one["is_changed"]})
    return [*shown, {"text": " …", "is_changed": False}] if end < len(whole) else shown


def _partner(
    row: Mapping[str, Any], facts: Mapping[str, Any], passages: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    mine = [one for one in passages if one["document_id"] == row["document_id"]]
    return _told(row) | {
        "is_later": row["number"] > facts["number"],
        "passages": len(mine),
        "passage_words": sum(one["matched_words"] for one in mine),
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
                    "text": one.text,
                    "passages": [number + 1 for number in one.passages],
                    "begins": [number + 1 for number in one.begins],
                    "is_changed": one.is_changed,
                }
                for one in cut
            ]
        }
        for row, cut in zip(rows, segments, strict=True)
    ]


def _variant(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return a variant with the words in which it and the representative differ."""
    whole = [
        MarkedDocument([_alone(one["text"])], [(0, len(one["text"]))]) for one in (first, other)
    ]
    whole[0].compare_with(whole[1])
    left, right = (
        [{"text": one.text, "is_changed": one.is_changed} for one in marked.segments()[0]]
        for marked in whole
    )
    return {**other, "of_paragraph": left, "of_variant": right}


def _alone(text: str) -> dict[str, Any]:
    return {"text": text, "start_char": 0, "shift_at": [], "shift_by": []}


def _snippet(paragraphs: Sequence[Mapping[str, Any]], terms: Sequence[str]) -> list[dict[str, Any]]:
    """Return the beginning of a document, or the first place of a word that is looked for."""
    for term in terms:
        for row in paragraphs:
            found = find_term(row["text"], term)
            if found:
                return _around(row["text"], max(0, found[0] - SNIPPET_CHARS // 3), *found)
    first = next((row["text"] for row in paragraphs), "")
    return [{"text": _shortened(first, SNIPPET_CHARS), "is_found": False}]


def _around(text: str, start: int, first: int, last: int) -> list[dict[str, Any]]:
    before = ("… " if start else "") + text[start:first]
    stop = start + SNIPPET_CHARS
    after = text[last:stop] + (" …" if stop < len(text) else "")
    pieces = ((before, False), (text[first:last], True), (after, False))
    return [{"text": piece, "is_found": found} for piece, found in pieces if piece]


def _shortened(text: str, letters: int = SNIPPET_CHARS) -> str:
    return text if len(text) <= letters else text[:letters].rstrip() + " …"


__all__ = [
    "SIDES",
    "NotThereError",
    "compare",
    "display_name",
    "document",
    "documents",
    "excerpt",
    "explain",
    "overview",
    "paragraph",
    "passages_beside",
    "places_of",
    "raw",
    "rejects",
    "shared_passages",
    "side_by_side",
    "warm_up",
]
