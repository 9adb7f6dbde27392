"""Provenance as PROV-JSON: the graph that the prov package reads agrees with the tables."""

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


def write_and_read(archive_path: Path, target: Path, **options: Any) -> ProvDocument:
    write_prov(snapshot_of(archive_path), target, **options)
    with target.open(encoding="utf-8") as file:
        return ProvDocument.deserialize(file, format="json")


@pytest.fixture(scope="module")
def graph(hostile_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> ProvDocument:
    return write_and_read(hostile_archive, tmp_path_factory.mktemp("prov") / "press.json")


def name_of(value: QualifiedName) -> str:
    return str(value.uri).removeprefix("urn:palimpsest:")


def entities(graph: ProvDocument, kind: str) -> dict[str, dict[str, Any]]:
    """Return the attributes of each entity of a type, by name."""
    return {
        name_of(entity.identifier): {key.uri: value for key, value in entity.attributes}
        for entity in graph.get_records(model.ProvEntity)
        if any(name_of(value) == f"term:{kind}" for value in entity.get_attribute(PROV["type"]))
    }


def relations(graph: ProvDocument, kind: type[model.ProvRelation]) -> set[tuple[str, ...]]:
    """Return the names that each relation of a type connects."""
    return {
        tuple(name_of(value) for value in relation.args if isinstance(value, QualifiedName))
        for relation in graph.get_records(kind)
    }


def assert_references_are_defined(graph: ProvDocument) -> None:
    """Check that each name in a relation is that of an entity, activity or agent."""
    defined = {name_of(element.identifier) for element in graph.get_records(model.ProvElement)}
    for relation in graph.get_records(model.ProvRelation):
        for value in relation.args:
            assert not isinstance(value, QualifiedName) or name_of(value) in defined


def plain_value(value: Any) -> Any:
    """Return the value of a literal as the tables store it."""
    if isinstance(value, model.Literal):
        return int(value.value) if value.datatype.localpart == "long" else value.value
    return value


def test_documents_are_entities_with_their_facts(
    graph: ProvDocument, hostile_archive: Path
) -> None:
    documents = entities(graph, "Document")
    rows = snapshot_of(hostile_archive).read("documents").to_pylist()
    assert set(documents) == {f"document:{row['document_id']}" for row in rows}
    terms = {
        "title": f"{DCTERMS}title",
        "author": f"{DCTERMS}creator",
        "published_at": f"{DCTERMS}issued",
        "media_type": f"{DCTERMS}format",
        "language": f"{DCTERMS}language",
        **{name: TERM + name for name in ("sha256", "text_sha256", "bytes", "words", "encoding")},
    }
    for row in rows:
        attributes = documents[f"document:{row['document_id']}"]
        for name, key in terms.items():
            assert plain_value(attributes.get(key)) == row[name], name


def test_documents_are_derived_from_their_sources(
    graph: ProvDocument, hostile_archive: Path
) -> None:
    sources = entities(graph, "Source")
    rows = snapshot_of(hostile_archive).read("sources").to_pylist()
    derivations = {
        (str(sources[source][PROV["location"].uri].uri), document)
        for document, source, *_ in relations(graph, model.ProvDerivation)
    }
    assert derivations == {(row["uri"], f"document:{row['document_id']}") for row in rows}
    times = {
        str(attributes[PROV["location"].uri].uri): attributes[f"{TERM}modified_at"]
        for attributes in sources.values()
    }
    assert times == {row["uri"]: row["modified_at"] for row in rows}


def test_runs_are_activities_with_their_settings_as_plan(
    graph: ProvDocument, hostile_archive: Path
) -> None:
    [run] = snapshot_of(hostile_archive).read("runs").to_pylist()
    [activity] = graph.get_records(model.ProvActivity)
    assert name_of(activity.identifier) == f"run:{run['run_id']}"
    assert activity.get_startTime() == run["started_at"]
    assert activity.get_endTime() == run["finished_at"]
    [agent] = graph.get_records(model.ProvAgent)
    assert agent.identifier.uri == f"urn:palimpsest:{run['version']}"
    assert PROV["SoftwareAgent"] in agent.get_attribute(PROV["type"])
    plan = f"settings:{run['seal']}"
    assert relations(graph, model.ProvAssociation) == {
        (f"run:{run['run_id']}", run["version"], plan)
    }
    [plan_entity] = [
        entity
        for entity in graph.get_records(model.ProvEntity)
        if name_of(entity.identifier) == plan
    ]
    [value] = plan_entity.get_attribute(PROV["value"])
    assert json.loads(value) == json.loads(run["settings"])
    generated = relations(graph, model.ProvGeneration)
    assert generated == {(entity, f"run:{run['run_id']}") for entity in entities(graph, "Document")}
    used = relations(graph, model.ProvUsage)
    assert used == {(f"run:{run['run_id']}", entity) for entity in entities(graph, "Source")}
    assert {agent for _, agent in relations(graph, model.ProvAttribution)} == {run["version"]}


def test_every_reference_is_defined(graph: ProvDocument) -> None:
    assert_references_are_defined(graph)


def test_graph_is_unchanged_by_a_round_trip(graph: ProvDocument) -> None:
    assert ProvDocument.deserialize(content=graph.serialize(format="json"), format="json") == graph


def test_graph_of_one_document_describes_its_paragraphs(
    hostile_archive: Path, tmp_path: Path
) -> None:
    snapshot = snapshot_of(hostile_archive)
    paragraphs = {row["paragraph_id"]: row for row in snapshot.read("paragraphs").to_pylist()}
    variants = {row["text_id"]: row for row in snapshot.read("variants").to_pylist()}
    occurrences = snapshot.read("occurrences").to_pylist()
    folded_ids = {
        occurrence["document_id"] for occurrence in occurrences if occurrence["text_id"] in variants
    }
    assert folded_ids
    for document_id in {occurrence["document_id"] for occurrence in occurrences}:
        graph = write_and_read(
            hostile_archive, tmp_path / f"{document_id}.json", document_id=document_id
        )
        of_document = [
            occurrence for occurrence in occurrences if occurrence["document_id"] == document_id
        ]
        texts = entities(graph, "Text")
        occurrence_entities = entities(graph, "Occurrence")
        for occurrence in of_document:
            attributes = occurrence_entities[f"place:{document_id}.{occurrence['ordinal']}"]
            for name in ("start_char", "end_char", "start_byte", "end_byte"):
                assert plain_value(attributes.get(TERM + name)) == occurrence[name]
            text_id = occurrence["text_id"]
            row = paragraphs.get(text_id) or variants[text_id]
            assert texts[f"text:{text_id}"][PROV["value"].uri] == row["text"]
        folds = {
            (
                f"text:{occurrence['text_id']}",
                f"text:{variants[occurrence['text_id']]['paragraph_id']}",
            )
            for occurrence in of_document
            if occurrence["text_id"] in variants
        }
        assert relations(graph, model.ProvAlternate) == folds
        specializations = relations(graph, model.ProvSpecialization)
        assert {names for names in specializations if document_id in names[0]} == {
            (f"place:{document_id}.{occurrence['ordinal']}", f"text:{occurrence['text_id']}")
            for occurrence in of_document
        }
        for _, representative in folds:
            row = paragraphs[representative.removeprefix("text:")]
            place = f"place:{row['document_id']}.{row['ordinal']}"
            assert (place, representative) in specializations
            derived = {names[:2] for names in relations(graph, model.ProvDerivation)}
            assert (place, f"document:{row['document_id']}") in derived
        assert_references_are_defined(graph)


def test_source_is_used_by_the_run_that_read_it(tmp_path: Path) -> None:
    sources = write_articles(tmp_path / "in", {"b.txt": [make_paragraph(1)]})
    ingest(sources, tmp_path / "press")
    write_articles(sources, {"a.txt": [make_paragraph(1)], "c.txt": [make_paragraph(2)]})
    ingest(sources, tmp_path / "press")
    graph = write_and_read(tmp_path / "press", tmp_path / "press.json")
    snapshot = snapshot_of(tmp_path / "press")
    runs = [row["run_id"] for row in snapshot.read("runs").to_pylist()]
    assert len(runs) == 2
    assert {name_of(activity.identifier) for activity in graph.get_records(model.ProvActivity)} == {
        f"run:{run}" for run in runs
    }
    used = relations(graph, model.ProvUsage)
    assert sorted(run for run, _ in used) == sorted(
        f"run:{run}" for run in [runs[0], *[runs[1]] * 2]
    )
    run_ids = {row["document_id"]: row["run_id"] for row in snapshot.read("documents").to_pylist()}
    for document, source, *activity in relations(graph, model.ProvDerivation):
        writing_run = f"run:{run_ids[document.removeprefix('document:')]}"
        assert activity == ([writing_run] if (writing_run, source) in used else [])
    assert_references_are_defined(graph)


def test_times_of_sources_are_datetimes_with_a_zone(graph: ProvDocument) -> None:
    for attributes in entities(graph, "Source").values():
        assert isinstance(attributes[f"{TERM}modified_at"], datetime)
        assert attributes[f"{TERM}modified_at"].tzinfo is not None
