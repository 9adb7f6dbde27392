"""Passages as Web Annotations: quotes are at their positions, and the data model is followed."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyld import jsonld

from palimpsest.evidence.passages import PassageFilter, top_passages
from palimpsest.exports.annotations import CONTEXT, write_annotations
from palimpsest.exports.streams import DOCUMENT
from palimpsest.records.errors import SettingsError
from tests.exports.archives import snapshot_of
from tests.pipeline.corpora import rebuilt_documents

OA, AS, DC = (
    "http://www.w3.org/ns/oa#",
    "http://www.w3.org/ns/activitystreams#",
    "http://purl.org/dc/terms/",
)
TERMS = {
    "@version": 1.1,
    "id": "@id",
    "type": "@type",
    "oa": OA,
    "as": AS,
    "dc": DC,
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "foaf": "http://xmlns.com/foaf/0.1/",
    **{name: f"oa:{name}" for name in ("Annotation", "SpecificResource", "TextualBody")},
    **{name: f"oa:{name}" for name in ("TextQuoteSelector", "TextPositionSelector", "TimeState")},
    **{name: f"oa:{name}" for name in ("exact", "prefix", "suffix")},
    **{name: f"oa:{name}" for name in ("linking", "tagging", "describing")},
    "start": {"@id": "oa:start", "@type": "xsd:nonNegativeInteger"},
    "end": {"@id": "oa:end", "@type": "xsd:nonNegativeInteger"},
    "body": {"@id": "oa:hasBody", "@type": "@id"},
    "target": {"@id": "oa:hasTarget", "@type": "@id"},
    "source": {"@id": "oa:hasSource", "@type": "@id"},
    "selector": {"@id": "oa:hasSelector", "@type": "@id"},
    "state": {"@id": "oa:hasState", "@type": "@id"},
    "cached": {"@id": "oa:cachedSource", "@type": "@id"},
    "sourceDate": {"@id": "oa:sourceDate", "@type": "xsd:dateTime"},
    "motivation": {"@id": "oa:motivatedBy", "@type": "@vocab"},
    "purpose": {"@id": "oa:hasPurpose", "@type": "@vocab"},
    "value": "rdf:value",
    "format": "dc:format",
    "language": "dc:language",
    "name": "foaf:name",
    "label": "http://www.w3.org/2000/01/rdf-schema#label",
    "Software": "as:Application",
    "AnnotationCollection": "as:OrderedCollection",
    "AnnotationPage": "as:OrderedCollectionPage",
    "creator": {"@id": "dc:creator", "@type": "@id"},
    "created": {"@id": "dc:created", "@type": "xsd:dateTime"},
    "generator": {"@id": "as:generator", "@type": "@id"},
    "generated": {"@id": "dc:issued", "@type": "xsd:dateTime"},
    "first": {"@id": "as:first", "@type": "@id"},
    "last": {"@id": "as:last", "@type": "@id"},
    "partOf": {"@id": "as:partOf", "@type": "@id"},
    "items": {"@id": "as:items", "@type": "@id", "@container": "@list"},
    "total": {"@id": "as:totalItems", "@type": "xsd:nonNegativeInteger"},
    "startIndex": {"@id": "as:startIndex", "@type": "xsd:nonNegativeInteger"},
}
"""The meaning of every term in use, from the vocabulary of Web Annotations."""


def load_context(url: str, _: Any) -> dict[str, Any]:
    """Return the only context that may be loaded, without a network."""
    assert url == CONTEXT
    return {"contextUrl": None, "documentUrl": url, "document": {"@context": TERMS}}


def write_and_load(archive_path: Path, target: Path, **options: Any) -> dict[str, Any]:
    write_annotations(snapshot_of(archive_path), target, **options)
    collection: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return collection


@pytest.fixture(scope="module")
def collection(hostile_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_and_load(hostile_archive, tmp_path_factory.mktemp("annotations") / "shared.jsonld")


@pytest.fixture(scope="module")
def items(collection: dict[str, Any]) -> list[dict[str, Any]]:
    annotations: list[dict[str, Any]] = collection["first"]["items"]
    assert len(annotations) > 5
    return annotations


def resources(annotations: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for annotation in annotations:
        yield annotation["body"][0]
        yield annotation["target"]


def test_quotes_are_at_their_positions_in_the_texts(
    items: list[dict[str, Any]], hostile_archive: Path
) -> None:
    texts = rebuilt_documents(snapshot_of(hostile_archive))
    quoted_ids = set()
    for resource in resources(items):
        document_id, _, span = resource["id"].removeprefix(DOCUMENT).partition("#char=")
        text, (quote, position) = texts[document_id], resource["selector"]
        start, end = position["start"], position["end"]
        assert (quote["type"], position["type"]) == ("TextQuoteSelector", "TextPositionSelector")
        assert text[start:end] == quote["exact"] != ""
        assert text[:start].endswith(quote["prefix"])
        assert text[end:].startswith(quote["suffix"])
        assert len(quote["prefix"]) == min(32, start)
        assert len(quote["suffix"]) == min(32, len(text) - end)
        assert span == f"{start},{end}"
        quoted_ids.add(document_id)
    astral_ids = {
        document_id
        for document_id, text in texts.items()
        if any(ord(character) > 0xFFFF for character in text)
    }
    assert quoted_ids & astral_ids


def test_each_passage_becomes_one_annotation_with_its_facts(
    items: list[dict[str, Any]], hostile_archive: Path
) -> None:
    rows = top_passages(snapshot_of(hostile_archive), limit=1000).to_pylist()
    assert len(items) == len(rows)
    annotated = set()
    for item in items:
        left, *bodies = item["body"]
        quotes = tuple(side["selector"][0]["exact"] for side in (left, item["target"]))
        tags = {body["value"] for body in bodies if body["purpose"] == "tagging"}
        [description] = [body["value"] for body in bodies if body["purpose"] == "describing"]
        annotated.add((*quotes, frozenset(tags), int(description.split()[0])))
    expected = set()
    for row in rows:
        tags = {row["relation"]} | {flag for flag in ("clear", "recurring") if row[f"is_{flag}"]}
        quotes = row["left_passage"], row["right_passage"]
        expected.add((*quotes, frozenset(tags), row["matched_words"]))
    assert annotated == expected


def test_ids_are_unique_and_reproducible(
    collection: dict[str, Any], items: list[dict[str, Any]], hostile_archive: Path, tmp_path: Path
) -> None:
    ids = [collection["id"], collection["first"]["id"], *(item["id"] for item in items)]
    assert len(set(ids)) == len(ids)
    for urn in ids:
        assert re.fullmatch(
            r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f-]{16}", urn
        )
    again = write_and_load(hostile_archive, tmp_path / "again.json")
    assert [
        again["id"],
        again["first"]["id"],
        *(item["id"] for item in again["first"]["items"]),
    ] == ids


def test_properties_that_the_model_requires_are_present(
    collection: dict[str, Any], items: list[dict[str, Any]]
) -> None:
    assert collection["@context"] == CONTEXT
    assert collection["type"] == "AnnotationCollection"
    assert collection["total"] == len(items)
    page = collection["first"]
    assert (page["type"], page["partOf"]) == ("AnnotationPage", collection["id"])
    assert (page["startIndex"], collection["last"]) == (0, page["id"])
    assert "@context" not in page
    assert {type(collection["label"]), type(page["items"])} == {str, list}
    for item in items:
        assert item["type"] == "Annotation"
        assert item["motivation"] == "linking"
        for name in ("created", "generated"):
            assert item[name].endswith("Z")
            age = datetime.now(UTC) - datetime.fromisoformat(item[name])
            assert timedelta() <= age < timedelta(days=1)
        for name in ("creator", "generator"):
            assert item[name]["type"] == "Software"
        for body in item["body"][1:]:
            assert (body["type"], type(body["value"])) == ("TextualBody", str)
    for resource in resources(items):
        assert resource["type"] == "SpecificResource"
        assert re.match(r"(file:///|https://)\S+$", resource["source"])
        assert resource["state"]["sourceDate"].endswith("Z")
        for selector in resource["selector"]:
            assert selector["type"] in {"TextQuoteSelector", "TextPositionSelector"}


def test_every_property_expands_as_linked_data(collection: dict[str, Any]) -> None:
    [expanded] = jsonld.expand(collection, {"documentLoader": load_context})
    assert expanded["@type"] == [f"{AS}OrderedCollection"]
    [page] = expanded[f"{AS}first"]
    [listed] = page[f"{AS}items"]
    first = listed["@list"][0]
    assert first["@type"] == [f"{OA}Annotation"]
    assert first[f"{OA}motivatedBy"] == [{"@id": f"{OA}linking"}]
    assert first[f"{OA}hasBody"][0][f"{OA}hasPurpose"] == [{"@id": f"{OA}linking"}]
    [target] = first[f"{OA}hasTarget"]
    assert len(target[f"{OA}hasSelector"]) == 2
    type_count = sum(isinstance(types, str) for types in values_of(collection, "type"))
    assert type_count == sum(
        len(types) for types in values_of(expanded, "@type") if isinstance(types, list)
    )
    assert len(list(property_names(collection))) == len(list(property_names(expanded)))


def values_of(value: Any, name: str) -> Iterator[Any]:
    """Yield each value of a property, at any depth."""
    if isinstance(value, list):
        for child in value:
            yield from values_of(child, name)
    elif isinstance(value, dict):
        if name in value:
            yield value[name]
        for child in value.values():
            yield from values_of(child, name)


def property_names(value: Any) -> Iterator[str]:
    """Yield each property, at any depth, except ids, types and those that JSON-LD adds."""
    if isinstance(value, list):
        for child in value:
            yield from property_names(child)
    elif isinstance(value, dict):
        for name, child in value.items():
            if name.lstrip("@") not in {"id", "type", "context", "value", "list"} or (
                name == "value" and isinstance(child, str)
            ):
                yield name
            yield from property_names(child)


def test_lines_are_the_annotations_of_the_collection(
    items: list[dict[str, Any]], hostile_archive: Path, tmp_path: Path
) -> None:
    counts = write_annotations(snapshot_of(hostile_archive), tmp_path / "shared.jsonl")
    lines = (tmp_path / "shared.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert counts == {"annotations": len(items)}
    for line, item in zip(lines, items, strict=True):
        annotation = json.loads(line)
        assert annotation.pop("@context") == CONTEXT
        assert annotation | {"generated": ""} == item | {"generated": ""}


def test_page_of_a_web_archive_is_identified_by_its_url(items: list[dict[str, Any]]) -> None:
    [resource, *_] = [
        resource for resource in resources(items) if resource["source"].startswith("https://")
    ]
    assert resource["source"] == "https://example.org/0"
    assert resource["state"]["cached"].endswith("/pages.warc.gz#offset=0")
    assert resource["state"]["sourceDate"] == "2024-05-06T07:08:09Z"


def test_passages_are_filtered_as_by_the_command(hostile_archive: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(hostile_archive)
    rows = top_passages(snapshot, PassageFilter(min_words=40), limit=1000).to_pylist()
    filtered = write_and_load(
        hostile_archive, tmp_path / "few.json", selection=PassageFilter(min_words=40)
    )
    assert filtered["total"] == len(filtered["first"]["items"]) == len(rows) > 0
    empty = write_and_load(
        hostile_archive, tmp_path / "none.json", selection=PassageFilter(min_words=10_000)
    )
    assert (empty["total"], empty["first"]["items"]) == (0, [])
    assert empty["id"] != filtered["id"]


def test_file_name_without_a_known_ending_is_refused(hostile_archive: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"expected a name that ends in \.jsonl for"):
        write_annotations(snapshot_of(hostile_archive), tmp_path / "shared.txt")
    assert list(tmp_path.iterdir()) == []
