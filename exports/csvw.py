"""Tables and passages as CSV files (RFC 4180) with a description of their columns: CSV on the Web.

``csv-metadata.json`` is the name under which readers of the W3C's metadata vocabulary for tabular
data look for it. Values are not altered, not even those that a spreadsheet might take for a
formula; docs/EXPORTS.md says how to open the files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from palimpsest.evidence.passages import PassageFilter, iterate_passages
from palimpsest.exports.streams import SOFTWARE
from palimpsest.records.progress import READING_TABLES, Report, silent
from palimpsest.records.schemas import PASSAGES, TABLES
from palimpsest.records.settings import PassageSettings
from palimpsest.store.archive import Manifest, Snapshot
from palimpsest.store.files import new_folder
from palimpsest.store.parquet import row_groups

METADATA = "csv-metadata.json"
_PASSAGES = "passages"
_LIST_SEPARATOR = ";"
_DATATYPES = {
    pa.string(): "string",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.bool_(): "boolean",
    pa.list_(pa.int32()): "int",
    pa.timestamp("us", tz="UTC"): "dateTimeStamp",
}
_KEYS = {
    "paragraphs": ["paragraph_id"],
    "variants": ["text_id"],
    "occurrences": ["document_id", "ordinal"],
    "documents": ["document_id"],
    "runs": ["run_id"],
}
_REFERENCES = {
    "paragraphs": {"document_id": "documents"},
    "variants": {"paragraph_id": "paragraphs"},
    "occurrences": {"document_id": "documents"},
    "sources": {"document_id": "documents"},
    _PASSAGES: {"left_document_id": "documents", "right_document_id": "documents"},
}
_DESCRIPTIONS = {
    "paragraphs": "each paragraph once, with its provenance",
    "variants": "near-copies that were folded into a paragraph",
    "occurrences": "every paragraph of every document",
    "overlaps": "what two texts share",
    "documents": "the documents",
    "sources": "where they were found",
    "containers": "files that hold sources",
    "rejects": "what was refused, and why",
    "runs": "how rows came to be",
    "removals": "documents that were taken down",
    _PASSAGES: "what two documents share",
}


def write_csv(
    snapshot: Snapshot,
    path: Path,
    selection: PassageFilter | None,
    settings: PassageSettings | None = None,
    *,
    report: Report = silent,
) -> dict[str, Any]:
    """Write a new folder with a CSV file for each table, the passages, and their metadata.

    Args:
        snapshot: the version to write.
        path: of the new folder.
        selection: which passages to export; None for no file of passages.
        settings: how passages are found; by default as the archive was created for.
        report: called with the progress.

    Returns:
        ``rows`` by table.

    Raises:
        SettingsError: ``path`` exists or cannot be written.
    """
    schemas = dict(TABLES)
    rows = {}
    with new_folder(path) as folder:
        for number, (name, schema) in enumerate(TABLES.items(), start=1):
            parts = row_groups(snapshot.files(name), name)
            rows[name] = _write_table(folder / f"{name}.csv", schema, parts)
            report(READING_TABLES, number, len(TABLES))
        if selection is not None:
            found = iterate_passages(snapshot, selection, settings, report=report)
            rows[_PASSAGES] = _write_table(folder / f"{_PASSAGES}.csv", PASSAGES, found)
            schemas[_PASSAGES] = PASSAGES
        metadata = metadata_of(schemas, snapshot.manifest)
        text = json.dumps(metadata, ensure_ascii=False, indent=1) + "\n"
        (folder / METADATA).write_text(text, encoding="utf-8")
    return {"rows": rows}


def _write_table(path: Path, schema: pa.Schema, parts: Iterable[pa.Table]) -> int:
    with path.open("xb") as file:
        return write_rows(file, schema, parts)


def write_rows(file: BinaryIO, schema: pa.Schema, parts: Iterable[pa.Table]) -> int:
    """Write rows to a file part by part; return how many."""
    plain = pa.schema([pa.field(field.name, _plain(field.type)) for field in schema])
    options = csv.WriteOptions(eol="\r\n")
    count = 0
    with csv.CSVWriter(file, plain, write_options=options) as writer:
        for part in parts:
            columns = [_as_text(part.column(field.name)) for field in schema]
            writer.write_table(pa.table(columns, schema=plain))
            count += part.num_rows
    return count


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_timestamp(kind) or pa.types.is_list(kind) else kind


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with times and lists as text, and others as they are."""
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_list(column.type):
        return pc.binary_join(column.cast(pa.list_(pa.string())), _LIST_SEPARATOR)
    return column


def metadata_of(schemas: dict[str, pa.Schema], manifest: Manifest) -> dict[str, Any]:
    """Return the metadata that describes the files and their columns.

    Args:
        schemas: of the files, by name; descriptions and units are taken from them.
        manifest: of the version that was written.
    """
    return {
        "@context": ["http://www.w3.org/ns/csvw", {"@language": "en"}],
        "dc:title": f"Tables of an archive, version {manifest.version}",
        "dc:identifier": manifest.run_id,
        "dc:creator": SOFTWARE,
        "dc:created": manifest.published_at,
        "dialect": {"lineTerminators": ["\r\n"], "trim": False},
        "tables": [
            {
                "url": f"{name}.csv",
                "dc:description": _DESCRIPTIONS[name],
                "tableSchema": {
                    "columns": [_column(field) for field in schema],
                    **_keys(name),
                },
            }
            for name, schema in schemas.items()
        ],
    }


def _column(field: pa.Field) -> dict[str, Any]:
    """Return the description of a column; an empty cell means null, or an empty list."""
    facts = {key.decode(): value.decode() for key, value in field.metadata.items()}
    column = {
        "name": field.name,
        "titles": field.name,
        "dc:description": facts["description"],
        "datatype": _DATATYPES[field.type],
        "required": not field.nullable,
    }
    if "unit" in facts:
        column["schema:unitText"] = facts["unit"]
    if pa.types.is_list(field.type):
        column |= {"separator": _LIST_SEPARATOR, "required": False}
    return column


def _keys(name: str) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    if name in _KEYS:
        keys["primaryKey"] = _KEYS[name]
    references = list(_foreign_keys(name))
    if references:
        keys["foreignKeys"] = references
    return keys


def _foreign_keys(name: str) -> Iterator[dict[str, Any]]:
    for column, table in _REFERENCES.get(name, {}).items():
        [key] = _KEYS[table]
        reference = {"resource": f"{table}.csv", "columnReference": key}
        yield {"columnReference": column, "reference": reference}
