"""How an archive came to be, as W3C PROV in JSON (PROV-JSON).

Entities are sources as they were found, the documents read from them, the settings of runs, and, of
a single document, its texts and their places. Activities are runs; the agents are the versions of
Palimpsest that executed them. A folded text is an alternate of its paragraph's text: both are one
paragraph, and which of them derives from the other is not known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palimpsest.exports.streams import (
    DOCUMENT,
    compressed,
    iso_time,
    rows_of,
    to_json,
    write_members,
)
from palimpsest.records.document_facts import FACT_NAMES
from palimpsest.records.ids import DIGEST_BYTES
from palimpsest.records.progress import Report, Step, silent
from palimpsest.store.archive import Snapshot
from palimpsest.store.files import new_file
from palimpsest.store.views import connect_bounded

if TYPE_CHECKING:
    from palimpsest.store.views import Connection

PREFIXES = {
    "palimpsest": "urn:palimpsest:term:",
    "software": "urn:palimpsest:",
    "document": DOCUMENT,
    "source": "urn:palimpsest:source:",
    "place": "urn:palimpsest:place:",
    "text": "urn:palimpsest:text:",
    "run": "urn:palimpsest:run:",
    "settings": "urn:palimpsest:settings:",
    "dcterms": "http://purl.org/dc/terms/",
}
"""Prefixes of names, besides prov and xsd, which every reader of PROV-JSON knows."""

_WRITING = Step("records", "writing records")
_Row = dict[str, Any]
_Member = tuple[str, Any]

_TERMS = {
    "title": "dcterms:title",
    "author": "dcterms:creator",
    "site": "dcterms:publisher",
    "language": "dcterms:language",
    "media_type": "dcterms:format",
    "published_at": "dcterms:issued",
}
"""Columns that Dublin Core has a term for; others keep their own names."""
_OF_DOCUMENTS = (
    *FACT_NAMES,
    "media_type", "encoding", "sha256", "text_sha256", "bytes", "paragraphs", "words",
    "extractor", "extractor_version",
)  # fmt: skip
_OF_SOURCES = ("bytes", "modified_at", "target_uri", "captured_at")
_OF_RUNS = ("sources_found", "sources_new", "sources_known", "sources_rejected", "flow_run_id")
_OF_PLACES = ("ordinal", "start_char", "end_char", "start_byte", "end_byte")

# The documents to describe: all of them, or one and those with the representatives of its texts.
_ALL = "CREATE TABLE described AS SELECT document_id FROM documents"
_PLACES = """
    CREATE TABLE places AS
    WITH mine AS (
        SELECT o.*, f.paragraph_id, f.text
        FROM occurrences o JOIN folds f USING (text_id) WHERE o.document_id = $document
    )
    SELECT * FROM mine
    UNION
    SELECT o.*, p.paragraph_id, p.text
    FROM paragraphs p
    SEMI JOIN (FROM mine WHERE text_id <> mine.paragraph_id) USING (paragraph_id)
    JOIN occurrences o ON o.document_id = p.document_id AND o.ordinal = p.ordinal
"""
_SOME = "CREATE TABLE described AS SELECT DISTINCT document_id FROM places"

_SOURCES = """
    SELECT uri, bytes, modified_at, document_id, min(run_id) AS run_id,
        any_value(target_uri) AS target_uri, any_value(captured_at) AS captured_at
    FROM sources SEMI JOIN described USING (document_id)
    GROUP BY uri, bytes, modified_at, document_id ORDER BY ALL
"""
_DOCUMENTS = """
    SELECT d.*, r.version FROM documents d SEMI JOIN described USING (document_id)
    LEFT JOIN runs r USING (run_id) ORDER BY document_id
"""
_DERIVED = f"""
    SELECT s.*, d.run_id AS read_by
    FROM ({_SOURCES}) s JOIN documents d USING (document_id) ORDER BY ALL
"""  # noqa: S608
_RUNS = """
    SELECT * FROM runs SEMI JOIN (
        SELECT run_id FROM documents SEMI JOIN described USING (document_id)
        UNION SELECT run_id FROM sources SEMI JOIN described USING (document_id)
    ) USING (run_id) ORDER BY run_id
"""
_SETTINGS = f"SELECT DISTINCT seal, settings FROM ({_RUNS}) ORDER BY seal"  # noqa: S608
_VERSIONS = f"SELECT DISTINCT version FROM ({_RUNS}) ORDER BY version"  # noqa: S608
_TEXTS = "SELECT DISTINCT text_id, text FROM places ORDER BY text_id"
_OCCURRENCES = """
    SELECT places.*, d.run_id FROM places JOIN documents d USING (document_id)
    ORDER BY document_id, ordinal
"""
_FOLDED = """
    SELECT DISTINCT text_id, paragraph_id FROM places WHERE text_id <> paragraph_id ORDER BY ALL
"""


def write_prov(
    snapshot: Snapshot,
    path: Path,
    document_id: str | None = None,
    *,
    replace: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Write the provenance of documents to a new file, compressed as its name says.

    Args:
        snapshot: the version to write.
        path: of the new file; ``.gz`` or ``.zst`` at its end means that it is compressed.
        document_id: only this document, with its paragraphs.
        replace: replace a file that exists.
        report: called with the progress.

    Returns:
        ``records`` written, by kind.

    Raises:
        SettingsError: ``path`` exists or cannot be written.
    """
    records = {}
    with (
        new_file(path, replace=replace) as sink,
        compressed(sink, path) as file,
        connect_bounded(snapshot, path.absolute().parent) as connection,
    ):
        if document_id:
            connection.execute(_PLACES, {"document": document_id})
            connection.execute(_SOME)
        else:
            connection.execute(_ALL)
        sections = _sections(connection, with_places=bool(document_id))
        file.write(b'{"prefix":' + to_json(PREFIXES))
        for number, (name, members) in enumerate(sections.items(), start=1):
            file.write(b",\n" + to_json(name) + b":{\n")
            records[name] = write_members(file, members, b",\n")
            file.write(b"}")
            report(_WRITING, number, len(sections))
        file.write(b"}\n")
    return {"records": records}


def _sections(connection: Connection, *, with_places: bool) -> dict[str, Iterator[_Member]]:
    """Return the records of each kind as lazy iterators."""

    def rows(query: str) -> Iterator[_Row]:
        return rows_of(connection, query)

    entities = [
        map(_source, rows(_SOURCES)),
        map(_document, rows(_DOCUMENTS)),
        map(_plan, rows(_SETTINGS)),
    ]
    generated = [map(_document_generated, rows(_DOCUMENTS))]
    derived = [map(_document_derived, rows(_DERIVED))]
    if with_places:
        entities += [map(_text, rows(_TEXTS)), map(_place, rows(_OCCURRENCES))]
        generated.append(map(_place_generated, rows(_OCCURRENCES)))
        derived.append(map(_place_derived, rows(_OCCURRENCES)))
    sections = {
        "entity": chain(*entities),
        "activity": map(_run, rows(_RUNS)),
        "agent": map(_software, rows(_VERSIONS)),
        "used": _numbered("u", map(_used, rows(_SOURCES))),
        "wasGeneratedBy": _numbered("g", chain(*generated)),
        "wasDerivedFrom": _numbered("d", chain(*derived)),
        "wasAttributedTo": _numbered("a", map(_attributed, rows(_DOCUMENTS))),
        "wasAssociatedWith": _numbered("w", map(_associated, rows(_RUNS))),
    }
    if with_places:
        sections["specializationOf"] = _numbered("s", map(_specialised, rows(_OCCURRENCES)))
        sections["alternateOf"] = _numbered("l", map(_alternate, rows(_FOLDED)))
    return sections


def _numbered(letter: str, relations: Iterator[_Row]) -> Iterator[_Member]:
    """Number relations, since PROV-JSON needs a name for each."""
    return ((f"_:{letter}{number}", one) for number, one in enumerate(relations, start=1))


def _name(text: str) -> _Row:
    return {"$": text, "type": "prov:QUALIFIED_NAME"}


def _literal(value: Any) -> Any:
    """Return a value as PROV-JSON writes it, with its type where JSON has none."""
    if isinstance(value, datetime):
        return {"$": iso_time(value), "type": "xsd:dateTime"}
    if isinstance(value, int):
        return {"$": str(value), "type": "xsd:long"}
    return value


def _facts(row: _Row, names: tuple[str, ...]) -> _Row:
    """Return the known facts of a row, under terms of Dublin Core where there are any."""
    return {
        _TERMS.get(name, f"palimpsest:{name}"): _literal(row[name])
        for name in names
        if row[name] is not None
    }


def _source_id(row: _Row) -> str:
    """Return the name of a source as it was found; an unchanged file keeps its name."""
    found = [row["uri"], row["bytes"], iso_time(row["modified_at"]), row["document_id"]]
    return f"source:{hashlib.blake2b(to_json(found), digest_size=DIGEST_BYTES).hexdigest()}"


def _place_id(row: _Row) -> str:
    return f"place:{row['document_id']}.{row['ordinal']}"


def _source(row: _Row) -> _Member:
    location = {"$": row["uri"], "type": "xsd:anyURI"}
    record = {"prov:type": _name("palimpsest:Source"), "prov:location": location}
    return _source_id(row), record | _facts(row, _OF_SOURCES)


def _document(row: _Row) -> _Member:
    record = {"prov:type": _name("palimpsest:Document")} | _facts(row, _OF_DOCUMENTS)
    return f"document:{row['document_id']}", record


def _plan(row: _Row) -> _Member:
    return f"settings:{row['seal']}", {
        "prov:type": _name("prov:Plan"),
        "prov:value": row["settings"],
    }


def _text(row: _Row) -> _Member:
    return f"text:{row['text_id']}", {
        "prov:type": _name("palimpsest:Text"),
        "prov:value": row["text"],
    }


def _place(row: _Row) -> _Member:
    return _place_id(row), {"prov:type": _name("palimpsest:Occurrence")} | _facts(row, _OF_PLACES)


def _run(row: _Row) -> _Member:
    record = {
        "prov:type": _name("palimpsest:Run"),
        "prov:startTime": iso_time(row["started_at"]),
        "prov:endTime": iso_time(row["finished_at"]),
        "palimpsest:seal": row["seal"],
    }
    return f"run:{row['run_id']}", record | _facts(row, _OF_RUNS)


def _software(row: _Row) -> _Member:
    record = {
        "prov:type": _name("prov:SoftwareAgent"),
        "prov:label": f"Palimpsest {row['version']}",
    }
    return f"software:{row['version']}", record


def _used(row: _Row) -> _Row:
    return {"prov:activity": f"run:{row['run_id']}", "prov:entity": _source_id(row)}


def _document_generated(row: _Row) -> _Row:
    return {
        "prov:entity": f"document:{row['document_id']}",
        "prov:activity": f"run:{row['run_id']}",
    }


def _place_generated(row: _Row) -> _Row:
    return {"prov:entity": _place_id(row), "prov:activity": f"run:{row['run_id']}"}


def _document_derived(row: _Row) -> _Row:
    record = {
        "prov:generatedEntity": f"document:{row['document_id']}",
        "prov:usedEntity": _source_id(row),
    }
    if row["read_by"] == row["run_id"]:  # else a later run found the same bytes
        record["prov:activity"] = f"run:{row['run_id']}"
    return record


def _place_derived(row: _Row) -> _Row:
    return {
        "prov:generatedEntity": _place_id(row),
        "prov:usedEntity": f"document:{row['document_id']}",
    }


def _attributed(row: _Row) -> _Row:
    return {
        "prov:entity": f"document:{row['document_id']}",
        "prov:agent": f"software:{row['version']}",
    }


def _associated(row: _Row) -> _Row:
    return {
        "prov:activity": f"run:{row['run_id']}",
        "prov:agent": f"software:{row['version']}",
        "prov:plan": f"settings:{row['seal']}",
    }


def _specialised(row: _Row) -> _Row:
    """Return the relation of an occurrence to its text."""
    return {
        "prov:specificEntity": _place_id(row),
        "prov:generalEntity": f"text:{row['text_id']}",
    }


def _alternate(row: _Row) -> _Row:
    return {
        "prov:alternate1": f"text:{row['text_id']}",
        "prov:alternate2": f"text:{row['paragraph_id']}",
    }
