"""Passages as W3C Web Annotations: the later document is the target, the earlier one the body.

A passage is an annotation whose motivation is linking. Both sides are specific resources: the
source and a part of its text, selected by quotation and by position. The model requires that both
selectors refer to the same normalised text (4.2.4, 4.2.5). That is the document's text as the
archive stores it, which is available for web pages too, and when the raw file no longer exists.

Written as one ``AnnotationCollection``, or as one annotation per line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pyarrow as pa
import pyarrow.compute as pc

from palimpsest.evidence.passages import PassageFilter, iterate_passages
from palimpsest.exports.streams import (
    DOCUMENT,
    SOFTWARE,
    bare_suffix,
    compressed,
    iso_time,
    to_json,
    write_members,
)
from palimpsest.records.errors import SettingsError
from palimpsest.records.progress import Report, silent
from palimpsest.records.settings import PassageSettings
from palimpsest.store.archive import Snapshot
from palimpsest.store.files import new_file
from palimpsest.store.views import connect

CONTEXT = "http://www.w3.org/ns/anno.jsonld"
AROUND_CHARS = 32
"""How much of the text before and after a quotation is included, as other tools do."""
ENDINGS = {
    ".jsonl": "one annotation per line",
    ".json": "a collection",
    ".jsonld": "a collection",
}

_NAMESPACE = UUID("6f3f1a52-0d0c-5c0e-9a0b-6b1f5d0c7e11")
"""Namespace of the names from which ids are derived."""
_PLAIN = "text/plain"
_SIDES = ("left", "right")
_IDENTITY = ("document_id", "start_char", "end_char")
_SOURCES = """
    SELECT document_id, first(target_uri ORDER BY uri, modified_at) AS target_uri,
        first(coalesce(captured_at, modified_at) ORDER BY uri, modified_at) AS as_of
    FROM sources SEMI JOIN wanted USING (document_id) GROUP BY document_id
"""

_Row = dict[str, Any]


def write_annotations(
    snapshot: Snapshot,
    path: Path,
    selection: PassageFilter | None = None,
    settings: PassageSettings | None = None,
    *,
    replace: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Write an annotation for each passage to a new file, compressed as its name says.

    Args:
        snapshot: the version to write.
        path: of the new file: ``.jsonl`` for one annotation per line, ``.json`` or ``.jsonld`` for
            a collection; compressed if ``.gz`` or ``.zst`` follows.
        selection: which passages to export; all by default.
        settings: how passages are found; by default as the archive was created for.
        replace: replace a file that exists.
        report: called with the progress.

    Returns:
        ``annotations``: the number of them.

    Raises:
        SettingsError: ``path`` exists, has another ending, or cannot be written.
    """
    if bare_suffix(path) not in ENDINGS:
        endings = ", ".join(f"{ending} for {form}" for ending, form in ENDINGS.items())
        raise SettingsError([f"{path}: expected a name that ends in {endings}"])
    selection = selection or PassageFilter()
    settings = settings or snapshot.settings().passages
    generated = iso_time(datetime.now(UTC))
    with new_file(path, replace=replace) as sink, compressed(sink, path) as file:
        annotations = _annotations(snapshot, selection, settings, generated, report)
        if bare_suffix(path) == ".jsonl":
            count = 0
            for annotation in annotations:
                file.write(to_json({"@context": CONTEXT, **annotation}) + b"\n")
                count += 1
            return {"annotations": count}
        key = f"{snapshot.manifest.run_id} {asdict(selection)} {settings.model_dump_json()}"
        with _collection(file, snapshot, key, generated) as counter:
            for annotation in annotations:
                file.write((b",\n" if counter[0] else b"\n") + to_json(annotation))
                counter[0] += 1
        return {"annotations": counter[0]}


@contextmanager
def _collection(file: Any, snapshot: Snapshot, key: str, generated: str) -> Iterator[list[int]]:
    """Write a collection of one page around annotations; the caller counts them in the list."""
    collection, page = _urn(f"collection {key}"), _urn(f"page {key}")
    head = {
        "@context": CONTEXT,
        "id": collection,
        "type": "AnnotationCollection",
        "label": f"Passages that documents share, version {snapshot.manifest.version}",
        **_creation_of(snapshot, generated),
        "last": page,
    }
    counter = [0]
    file.write(b"{")
    write_members(file, head.items(), b",\n")
    embedded = {"id": page, "type": "AnnotationPage", "partOf": collection, "startIndex": 0}
    file.write(b',\n"first":{')
    write_members(file, embedded.items(), b",")
    file.write(b',"items":[')
    yield counter
    file.write(b']},\n"total":' + json.dumps(counter[0]).encode() + b"}\n")


def _urn(name: str) -> str:
    """Return an id, always the same for the same name."""
    return uuid5(_NAMESPACE, name).urn


def _creation_of(snapshot: Snapshot, generated: str) -> _Row:
    """Return the properties that say by what and when an annotation was created and serialised."""
    published = datetime.fromisoformat(snapshot.manifest.published_at)
    agent = {"id": SOFTWARE, "type": "Software", "name": "Palimpsest"}
    return {
        "creator": agent,
        "created": iso_time(published),
        "generator": agent,
        "generated": generated,
    }


def _annotations(
    snapshot: Snapshot,
    selection: PassageFilter,
    settings: PassageSettings,
    generated: str,
    report: Report,
) -> Iterator[_Row]:
    creation = _creation_of(snapshot, generated)
    parts = iterate_passages(
        snapshot, selection, settings, around_chars=AROUND_CHARS, report=report
    )
    with connect(snapshot) as connection:
        for rows in parts:
            ids = [rows.column(f"{side}_document_id") for side in _SIDES]
            chunks = [chunk for column in ids for chunk in column.chunks]
            document_ids = pc.unique(pa.chunked_array(chunks, pa.string()))
            connection.register("wanted", pa.table({"document_id": document_ids}))
            source_rows = connection.sql(_SOURCES).to_arrow_table().to_pylist()
            sources = {row["document_id"]: row for row in source_rows}
            for row in rows.to_pylist():
                yield annotation_of(row, sources, creation)


def annotation_of(row: _Row, sources: dict[str, _Row], creation: _Row) -> _Row:
    """Return a passage as an annotation, without its context.

    Args:
        row: of ``PASSAGES`` and ``QUOTED``.
        sources: document_id, target_uri and as_of, by document.
        creation: by what it was created, and when.
    """
    key = [str(row[f"{side}_{name}"]) for side in _SIDES for name in _IDENTITY]
    tags = [row["relation"]]
    tags += [tag for tag in ("clear", "recurring") if row[f"is_{tag}"]]
    matched, resemblance = row["matched_words"], row["resemblance"]
    description = (
        f"{matched} words matched, resemblance {resemblance:.2f}, score {row['score']:.1f}"
    )
    left, right = (_resource(row, side, sources[row[f"{side}_document_id"]]) for side in _SIDES)
    return {
        "id": _urn(" ".join([*key, row["relation"]])),
        "type": "Annotation",
        "motivation": "linking",
        **creation,
        "body": [
            {**left, "purpose": "linking"},
            *({"type": "TextualBody", "value": tag, "purpose": "tagging"} for tag in tags),
            {
                "type": "TextualBody",
                "value": description,
                "format": _PLAIN,
                "language": "en",
                "purpose": "describing",
            },
        ],
        "target": right,
    }


def _resource(row: _Row, side: str, source: _Row) -> _Row:
    """Return a side of a passage as a resource with selectors.

    Its id consists of the document's id, which depends on its content, and the span. A page in a
    web archive is identified by the address that it was captured at; the web archive is its cached
    copy.
    """
    exact, start = row[f"{side}_passage"], row[f"{side}_text_start"]
    end = start + len(exact)
    state = {"type": "TimeState", "sourceDate": iso_time(source["as_of"])}
    if source["target_uri"]:
        state["cached"] = row[f"{side}_uri"]
    return {
        "id": f"{DOCUMENT}{source['document_id']}#char={start},{end}",
        "type": "SpecificResource",
        "source": source["target_uri"] or row[f"{side}_uri"],
        "selector": [
            {
                "type": "TextQuoteSelector",
                "exact": exact,
                "prefix": row[f"{side}_before"],
                "suffix": row[f"{side}_after"],
            },
            {"type": "TextPositionSelector", "start": start, "end": end},
        ],
        "state": state,
    }
