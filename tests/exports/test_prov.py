"""Provenance as PROV-JSON: what the prov package reads is what the tables tell."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prov import model
from prov.identifier import QualifiedName
from prov.model import ProvDocument

from palimpsest.exports.prov import write_prov
from tests.exports.archives import snapshot_of
from tests.pipeline.corpora import ingest, make_paragraph, write_articles

PROV = model.PROV
DCTERMS = "http://purl.org/dc/terms/"
TERM = "urn:palimpsest:term:"


def read(archive: Path, target: Path, **more: Any) -> ProvDocument:
    write_prov(snapshot_of(archive), target, **more)
    with target.open(encoding="utf-8") as file:
        return ProvDocument.deserialize(file, format="json")


@pytest.fixture(scope="module")
def whole(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> ProvDocument:
    return read(hostile, tmp_path_factory.mktemp("prov") / "press.json")


def name_of(value: QualifiedName) -> str:
    return str(value.uri).removeprefix("urn:palimpsest:")


def entities(document: ProvDocument, kind: str) -> dict[str, dict[str, Any]]:
    """Return the entities of a type by name, with the values of their attributes."""
    return {
        name_of(one.identifier): {key.uri: value for key, value in one.attributes}
        for one in document.get_records(model.ProvEntity)
        if any(name_of(value) == f"term:{kind}" for value in one.get_attribute(PROV["type"]))
    }


def relations(document: ProvDocument, kind: type[model.ProvRelation]) -> set[tuple[str, ...]]:
    """Return relations of a type by the names that they join."""
    return {
        tuple(name_of(value) for value in one.args if isinstance(value, QualifiedName))
        for one in document.get_records(kind)
    }


def plain(value: Any) -> Any:
    """Return a literal as the tables hold it."""
    if isinstance(value, model.Literal):
        return int(value.value) if value.datatype.localpart == "long" else value.value
    return value


def test_documents_are_entities_with_their_facts(whole: ProvDocument, hostile: Path) -> None:
    found = entities(whole, "Document")
    rows = snapshot_of(hostile).read("documents").to_pylist()
    assert set(found) == {f"document:{row['document_id']}" for row in rows}
    words = {
        "title": f"{DCTERMS}title",
        "author": f"{DCTERMS}creator",
        "published_at": f"{DCTERMS}issued",
        "media_type": f"{DCTERMS}format",
        "language": f"{DCTERMS}language",
        **{name: TERM + name for name in ("sha256", "text_sha256", "bytes", "words", "encoding")},
    }
    for row in rows:
        told = found[f"document:{row['document_id']}"]
        for name, key in words.items():
            assert plain(told.get(key)) == row[name], name


def test_documents_lead_back_to_their_sources(whole: ProvDocument, hostile: Path) -> None:
    sources = entities(whole, "Source")
    rows = snapshot_of(hostile).read("sources").to_pylist()
    found = {
        (str(sources[source][PROV["location"].uri].uri), document)
        for document, source, *_ in relations(whole, model.ProvDerivation)
    }
    assert found == {(row["uri"], f"document:{row['document_id']}") for row in rows}
    times = {
        str(one[PROV["location"].uri].uri): one[f"{TERM}modified_at"] for one in sources.values()
    }
    assert times == {row["uri"]: row["modified_at"] for row in rows}


def test_runs_are_activities_with_their_settings_as_plan(
    whole: ProvDocument, hostile: Path
) -> None:
    [run] = snapshot_of(hostile).read("runs").to_pylist()
    [activity] = whole.get_records(model.ProvActivity)
    assert name_of(activity.identifier) == f"run:{run['run_id']}"
    assert activity.get_startTime() == run["started_at"]
    assert activity.get_endTime() == run["finished_at"]
    [agent] = whole.get_records(model.ProvAgent)
    assert agent.identifier.uri == f"urn:palimpsest:{run['version']}"
    assert PROV["SoftwareAgent"] in agent.get_attribute(PROV["type"])
    plan = f"settings:{run['seal']}"
    assert relations(whole, model.ProvAssociation) == {
        (f"run:{run['run_id']}", run["version"], plan)
    }
    [told] = [one for one in whole.get_records(model.ProvEntity) if name_of(one.identifier) == plan]
    [value] = told.get_attribute(PROV["value"])
    assert json.loads(value) == json.loads(run["settings"])
    generated = relations(whole, model.ProvGeneration)
    assert generated == {(one, f"run:{run['run_id']}") for one in entities(whole, "Document")}
    used = relations(whole, model.ProvUsage)
    assert used == {(f"run:{run['run_id']}", one) for one in entities(whole, "Source")}
    assert {agent for _, agent in relations(whole, model.ProvAttribution)} == {run["version"]}


def test_everything_that_is_named_is_told(whole: ProvDocument) -> None:
    told = {name_of(one.identifier) for one in whole.get_records(model.ProvElement)}
    for one in whole.get_records(model.ProvRelation):
        for value in one.args:
            assert not isinstance(value, QualifiedName) or name_of(value) in told


def test_read_graph_written_again_is_the_same(whole: ProvDocument) -> None:
    assert ProvDocument.deserialize(content=whole.serialize(format="json"), format="json") == whole


def test_document_alone_tells_of_its_paragraphs(hostile: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(hostile)
    kept = {row["paragraph_id"]: row for row in snapshot.read("paragraphs").to_pylist()}
    variants = {row["text_id"]: row for row in snapshot.read("variants").to_pylist()}
    places = snapshot.read("occurrences").to_pylist()
    folded = {one["document_id"] for one in places if one["text_id"] in variants}
    assert folded
    for document_id in {one["document_id"] for one in places}:
        found = read(hostile, tmp_path / f"{document_id}.json", document_id=document_id)
        mine = [one for one in places if one["document_id"] == document_id]
        texts = entities(found, "Text")
        occurrences = entities(found, "Occurrence")
        for one in mine:
            told = occurrences[f"place:{document_id}.{one['ordinal']}"]
            for name in ("start_char", "end_char", "start_byte", "end_byte"):
                assert plain(told.get(TERM + name)) == one[name]
            text = (kept.get(one["text_id"]) or variants[one["text_id"]])["text"]
            assert texts[f"text:{one['text_id']}"][PROV["value"].uri] == text
        theirs = {
            (f"text:{one['text_id']}", f"text:{variants[one['text_id']]['paragraph_id']}")
            for one in mine
            if one["text_id"] in variants
        }
        assert relations(found, model.ProvAlternate) == theirs
        stands = relations(found, model.ProvSpecialization)
        assert {one for one in stands if document_id in one[0]} == {
            (f"place:{document_id}.{one['ordinal']}", f"text:{one['text_id']}") for one in mine
        }
        for _, representative in theirs:
            row = kept[representative.removeprefix("text:")]
            place = f"place:{row['document_id']}.{row['ordinal']}"
            assert (place, representative) in stands
            derived = {one[:2] for one in relations(found, model.ProvDerivation)}
            assert (place, f"document:{row['document_id']}") in derived
        test_everything_that_is_named_is_told(found)


def test_source_that_another_run_has_read_is_used_by_that_run(tmp_path: Path) -> None:
    sources = write_articles(tmp_path / "in", {"b.txt": [make_paragraph(1)]})
    ingest(sources, tmp_path / "press")
    write_articles(sources, {"a.txt": [make_paragraph(1)], "c.txt": [make_paragraph(2)]})
    ingest(sources, tmp_path / "press")
    found = read(tmp_path / "press", tmp_path / "press.json")
    snapshot = snapshot_of(tmp_path / "press")
    runs = [row["run_id"] for row in snapshot.read("runs").to_pylist()]
    assert len(runs) == 2
    assert {name_of(one.identifier) for one in found.get_records(model.ProvActivity)} == {
        f"run:{run}" for run in runs
    }
    used = relations(found, model.ProvUsage)
    assert sorted(run for run, _ in used) == sorted(
        f"run:{run}" for run in [runs[0], *[runs[1]] * 2]
    )
    of_documents = {
        row["document_id"]: row["run_id"] for row in snapshot.read("documents").to_pylist()
    }
    for document, source, *activity in relations(found, model.ProvDerivation):
        wrote = f"run:{of_documents[document.removeprefix('document:')]}"
        assert activity == ([wrote] if (wrote, source) in used else [])
    test_everything_that_is_named_is_told(found)


def test_times_are_told_to_the_microsecond(whole: ProvDocument) -> None:
    for one in entities(whole, "Source").values():
        assert isinstance(one[f"{TERM}modified_at"], datetime)
        assert one[f"{TERM}modified_at"].tzinfo is not None
