"""Passages as Web Annotations: quotes stand where they are said to, and the model is kept."""

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
"""What the terms that are used mean, by the vocabulary of Web Annotations."""


def load(url: str, _: Any) -> dict[str, Any]:
    """Give the one context that there may be, without a network."""
    assert url == CONTEXT
    return {"contextUrl": None, "documentUrl": url, "document": {"@context": TERMS}}


def collected(archive: Path, target: Path, **more: Any) -> dict[str, Any]:
    write_annotations(snapshot_of(archive), target, **more)
    held: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return held


@pytest.fixture(scope="module")
def collection(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return collected(hostile, tmp_path_factory.mktemp("annotations") / "shared.jsonld")


@pytest.fixture(scope="module")
def items(collection: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = collection["first"]["items"]
    assert len(found) > 5
    return found


def resources(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        yield item["body"][0]
        yield item["target"]


def test_quotes_stand_at_their_positions_in_the_texts(
    items: list[dict[str, Any]], hostile: Path
) -> None:
    texts = rebuilt_documents(snapshot_of(hostile))
    reached = set()
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
        reached.add(document_id)
    beyond = {key for key, text in texts.items() if any(ord(one) > 0xFFFF for one in text)}
    assert reached & beyond


def test_each_passage_is_one_annotation_with_what_is_known_of_it(
    items: list[dict[str, Any]], hostile: Path
) -> None:
    rows = top_passages(snapshot_of(hostile), limit=1000).to_pylist()
    assert len(items) == len(rows)
    found = set()
    for item in items:
        left, *bodies = item["body"]
        quotes = tuple(one["selector"][0]["exact"] for one in (left, item["target"]))
        tags = {one["value"] for one in bodies if one["purpose"] == "tagging"}
        [told] = [one["value"] for one in bodies if one["purpose"] == "describing"]
        found.add((*quotes, frozenset(tags), int(told.split()[0])))
    expected = set()
    for row in rows:
        tags = {row["relation"]} | {one for one in ("clear", "recurring") if row[f"is_{one}"]}
        quotes = row["left_passage"], row["right_passage"]
        expected.add((*quotes, frozenset(tags), row["matched_words"]))
    assert found == expected


def test_ids_are_unique_and_the_same_each_time(
    collection: dict[str, Any], items: list[dict[str, Any]], hostile: Path, tmp_path: Path
) -> None:
    ids = [collection["id"], collection["first"]["id"], *(item["id"] for item in items)]
    assert len(set(ids)) == len(ids)
    for one in ids:
        assert re.fullmatch(
            r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f-]{16}", one
        )
    again = collected(hostile, tmp_path / "again.json")
    assert [
        again["id"],
        again["first"]["id"],
        *(one["id"] for one in again["first"]["items"]),
    ] == ids


def test_what_the_model_demands_is_there(
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
        for one in resource["selector"]:
            assert one["type"] in {"TextQuoteSelector", "TextPositionSelector"}


def test_all_of_it_has_a_meaning_as_linked_data(collection: dict[str, Any]) -> None:
    [expanded] = jsonld.expand(collection, {"documentLoader": load})
    assert expanded["@type"] == [f"{AS}OrderedCollection"]
    [page] = expanded[f"{AS}first"]
    [listed] = page[f"{AS}items"]
    first = listed["@list"][0]
    assert first["@type"] == [f"{OA}Annotation"]
    assert first[f"{OA}motivatedBy"] == [{"@id": f"{OA}linking"}]
    assert first[f"{OA}hasBody"][0][f"{OA}hasPurpose"] == [{"@id": f"{OA}linking"}]
    [target] = first[f"{OA}hasTarget"]
    assert len(target[f"{OA}hasSelector"]) == 2
    names = sum(isinstance(one, str) for one in flat(collection, "type"))
    assert names == sum(len(one) for one in flat(expanded, "@type") if isinstance(one, list))
    assert len(list(keys(collection))) == len(list(keys(expanded)))


def flat(value: Any, name: str) -> Iterator[Any]:
    """Give each value of a property, wherever it is."""
    if isinstance(value, list):
        for one in value:
            yield from flat(one, name)
    elif isinstance(value, dict):
        if name in value:
            yield value[name]
        for one in value.values():
            yield from flat(one, name)


def keys(value: Any) -> Iterator[str]:
    """Give each property, wherever it is, but for names, types and what JSON-LD adds."""
    if isinstance(value, list):
        for one in value:
            yield from keys(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name.lstrip("@") not in {"id", "type", "context", "value", "list"} or (
                name == "value" and isinstance(one, str)
            ):
                yield name
            yield from keys(one)


def test_lines_are_the_annotations_of_the_collection(
    items: list[dict[str, Any]], hostile: Path, tmp_path: Path
) -> None:
    told = write_annotations(snapshot_of(hostile), tmp_path / "shared.jsonl")
    written = (tmp_path / "shared.jsonl").read_bytes().split(b"\n")
    assert written.pop() == b""
    assert told == {"annotations": len(items)}
    for line, item in zip(written, items, strict=True):
        annotation = json.loads(line)
        assert annotation.pop("@context") == CONTEXT
        assert annotation | {"generated": ""} == item | {"generated": ""}


def test_page_of_a_web_archive_is_told_by_its_address(items: list[dict[str, Any]]) -> None:
    [resource, *_] = [one for one in resources(items) if one["source"].startswith("https://")]
    assert resource["source"] == "https://example.org/0"
    assert resource["state"]["cached"].endswith("/pages.warc.gz#offset=0")
    assert resource["state"]["sourceDate"] == "2024-05-06T07:08:09Z"


def test_passages_are_filtered_as_by_the_command(hostile: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(hostile)
    rows = top_passages(snapshot, PassageFilter(min_words=40), limit=1000).to_pylist()
    few = collected(hostile, tmp_path / "few.json", selection=PassageFilter(min_words=40))
    assert few["total"] == len(few["first"]["items"]) == len(rows) > 0
    none = collected(hostile, tmp_path / "none.json", selection=PassageFilter(min_words=10_000))
    assert (none["total"], none["first"]["items"]) == (0, [])
    assert none["id"] != few["id"]


def test_name_that_tells_no_form_is_refused(hostile: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"expected a name that ends in \.jsonl for"):
        write_annotations(snapshot_of(hostile), tmp_path / "shared.txt")
    assert list(tmp_path.iterdir()) == []
