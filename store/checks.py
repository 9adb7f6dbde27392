"""Check the tables of an archive without its raw files: files, keys, references, ids.

A check counts what passed, what failed and what could not be checked, and records the first
failures in full. A table with an unreadable file is left out; rules that need it are not checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from palimpsest.kernels.columns import bytes_of
from palimpsest.kernels.digest import digest_spans
from palimpsest.records.ids import DIGEST_BYTES, hex_strings
from palimpsest.records.schemas import TABLES
from palimpsest.store.archive import Snapshot
from palimpsest.store.views import connect_tables, find_unreadable

MAX_FAILURES_SHOWN = 10
"""Failures of a check that are recorded in full; all are counted."""

FROM_BACKUP = "restore the archive from a copy, or ingest its sources into a new one"
_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Failure:
    """One violation of a rule."""

    what: str
    where: str
    found: str
    expected: str
    next: str


@dataclass(slots=True)
class Check:
    """The result of a check so far.

    Attributes:
        name: of the check.
        passed, failed, not_checked: counts of files, rows or documents.
        not_checked_because: counts of those not checked, by reason.
        failures: the first ``MAX_FAILURES_SHOWN``.
    """

    name: str
    passed: int = 0
    failed: int = 0
    not_checked: int = 0
    not_checked_because: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def fail(self, failure: Failure) -> None:
        """Count a failure, and record it if it is among the first."""
        self.failed += 1
        if len(self.failures) < MAX_FAILURES_SHOWN:
            self.failures.append(failure)

    def skip(self, count: int, reason: str) -> None:
        """Count items that cannot be checked."""
        if count:
            self.not_checked += count
            self.not_checked_because[reason] = self.not_checked_because.get(reason, 0) + count


def check_files(snapshot: Snapshot) -> tuple[Check, set[str]]:
    """Check every file against the manifest and the schema, and read it to its end.

    Returns:
        The check, and the tables whose files can all be read and have the right schema.
    """
    check = Check("files")
    sound = set(TABLES)
    refusals = find_unreadable(path for name in TABLES for path in snapshot.files(name))
    for name in TABLES:
        listed = {file["name"]: file for file in snapshot.manifest.files[name]}
        folder = snapshot.folder / name
        present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        for file in sorted(present - listed.keys()):
            advice = "remove it: readers of the folder see its rows"
            check.fail(
                Failure(
                    what=name,
                    where=str(folder / file),
                    found="a file",
                    expected="none: not in manifest",
                    next=advice,
                )
            )
        for file, entry in listed.items():
            failure, is_readable = _check_file(
                folder / file, TABLES[name], entry, refusals.get(folder / file, "")
            )
            if failure:
                check.fail(failure)
            else:
                check.passed += 1
            if not is_readable:
                sound.discard(name)
    return check, sound


def _check_file(
    path: Path, schema: pa.Schema, entry: dict[str, Any], refusal: str
) -> tuple[Failure | None, bool]:
    """Return the worst fault of a file, if any, and whether its rows can be used.

    Args:
        path: the file.
        schema: of its table.
        entry: its entry in the manifest.
        refusal: the error of DuckDB, which detects damage that pyarrow overlooks.

    Nulls in a column that forbids them need no check: Parquet cannot store them.
    """
    name = path.parent.name

    def fault(what: str, found: object, expected: object) -> Failure:
        return Failure(
            what=f"{what} of {name}",
            where=str(path),
            found=str(found),
            expected=str(expected),
            next=FROM_BACKUP,
        )

    try:
        size = path.stat().st_size
        with pq.ParquetFile(path) as file:
            wrong = _wrong_columns(file.schema_arrow, schema)
            rows = sum(_valid_rows(batch) for batch in file.iter_batches(_BATCH_ROWS))
    except FileNotFoundError:
        return fault("file", "none", "a Parquet file"), False
    except (OSError, ValueError, pa.ArrowException) as error:
        first_line = str(error).partition("\n")[0]
        return fault("file", first_line, "a Parquet file that can be read"), False
    if refusal:
        first_line = refusal.partition("\n")[0]
        return fault("file", first_line, "a Parquet file that can be read"), False
    if wrong:
        return fault("schema", wrong, "the columns, types and nulls of the table"), False
    if rows != entry["rows"]:
        return fault("rows", rows, f"{entry['rows']}, by the manifest"), True
    if size != entry["bytes"]:
        return fault("bytes", size, f"{entry['bytes']}, by the manifest"), True
    return None, True


def _valid_rows(batch: pa.RecordBatch) -> int:
    """Return the number of rows of a batch, after validating its values against their types."""
    batch.validate(full=True)
    return int(batch.num_rows)


def _wrong_columns(found: pa.Schema, expected: pa.Schema) -> str:
    """Return the differences in names, types and nullability, or an empty string."""
    if found.names != expected.names:
        return f"columns {' '.join(found.names)}"
    pairs = zip(found, expected, strict=True)
    return "; ".join(
        f"{column.name}: {column.type}{', with nulls' if column.nullable else ', without nulls'}"
        for column, right in pairs
        if (column.type, column.nullable) != (right.type, right.nullable)
    )


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule for every row of a table.

    Attributes:
        table: whose rows are counted.
        others: further tables that the query reads.
        faults: a query for violations of the rule: two columns, where and what was found.
    """

    what: str
    table: str
    others: tuple[str, ...]
    faults: str
    expected: str


_TEXTS = """(
    SELECT paragraph_id AS text_id, text FROM paragraphs
    UNION ALL SELECT text_id, text FROM variants
)"""
_KEPT = ("paragraphs", "variants")


def _unique(table: str, key: str) -> _Rule:
    faults = f"SELECT {key}, count(*) || ' rows' FROM {table} GROUP BY 1 HAVING count(*) > 1"
    return _Rule(f"{table}.{key}", table, (), faults, "one row")


def _refers(table: str, column: str, where: str, *targets: tuple[str, str]) -> _Rule:
    """Return the rule that each value of a column is a key of one of these tables."""
    keys = " UNION ALL ".join(f"SELECT {key} AS target FROM {name}" for name, key in targets)
    faults = f'SELECT {where}, {column} FROM "{table}" ANTI JOIN ({keys}) ON target = {column}'
    expected = " or ".join(f"{name}.{key}" for name, key in targets)
    return _Rule(
        f"{table}.{column}", table, tuple(name for name, _ in targets), faults, f"a {expected}"
    )


_KEYS = [
    _unique("paragraphs", "paragraph_id"),
    _unique("variants", "text_id"),
    _Rule(
        "variants.text_id",
        "variants",
        ("paragraphs",),
        "SELECT text_id, 'a row of paragraphs too' FROM variants "
        "SEMI JOIN paragraphs ON paragraphs.paragraph_id = text_id",
        "a text is a paragraph or a variant",
    ),
    _unique("documents", "document_id"),
    _Rule(
        "occurrences.stretch_start",
        "occurrences",
        (),
        """
        SELECT document_id || ' at ' || ordinal, len(stretch_start) || ' beginnings, '
            || len(stretch_end) || ' ends'
        FROM occurrences WHERE len(stretch_start) <> len(stretch_end)
            OR (len(stretch_start) > 0 AND (start_byte IS NULL OR stretch_start[1] <> 0
                OR stretch_end[-1] <> end_byte - start_byte))
        """,
        "as many ends, from the first byte to the last",
    ),
    _Rule(
        "occurrences.ordinal",
        "documents",
        ("occurrences",),
        """
        SELECT document_id, o.found FROM documents JOIN (
            SELECT document_id, count(*) AS places, count(DISTINCT ordinal) AS different,
                min(ordinal) AS first, max(ordinal) AS last,
                places || ' places, ' || different || ' different ones, from ' || first
                    || ' to ' || last AS found
            FROM occurrences GROUP BY 1
        ) o USING (document_id)
        WHERE places <> different OR first <> 0 OR last <> paragraphs - 1
            OR different <> paragraphs
        """,
        "each from 0 to documents.paragraphs - 1 once",
    ),
]
_DOCUMENT = ("documents", "document_id")
_PARAGRAPH = ("paragraphs", "paragraph_id")
_VARIANT = ("variants", "text_id")
_REFERENCES = [
    _refers("occurrences", "document_id", "text_id || ' at ' || ordinal", _DOCUMENT),
    _refers("occurrences", "text_id", "document_id || ' at ' || ordinal", _PARAGRAPH, _VARIANT),
    _refers("variants", "paragraph_id", "text_id", _PARAGRAPH),
    _refers("overlaps", "left_text_id", "'beside ' || right_text_id", _PARAGRAPH, _VARIANT),
    _refers("overlaps", "right_text_id", "'beside ' || left_text_id", _PARAGRAPH, _VARIANT),
    _refers("sources", "document_id", "uri", _DOCUMENT),
    _Rule(
        "paragraphs.document_id",
        "paragraphs",
        ("occurrences",),
        """
        SELECT paragraph_id, document_id || ' at ' || ordinal || ', characters ' || start_char
            || '-' || end_char || ', bytes ' || coalesce(start_byte || '-' || end_byte, 'none')
        FROM paragraphs p ANTI JOIN occurrences o ON o.document_id = p.document_id
            AND o.ordinal = p.ordinal AND o.text_id = p.paragraph_id
            AND o.start_char = p.start_char AND o.end_char = p.end_char
            AND o.start_byte IS NOT DISTINCT FROM p.start_byte
            AND o.end_byte IS NOT DISTINCT FROM p.end_byte
        """,
        "an occurrence of the same text in the same place",
    ),
    _Rule(
        "paragraphs.uri",
        "paragraphs",
        ("sources",),
        "SELECT paragraph_id, p.uri FROM paragraphs p ANTI JOIN sources s "
        "ON s.uri = p.uri AND s.document_id = p.document_id",
        "the uri of a source of the document",
    ),
    _Rule(
        "documents.document_id",
        "documents",
        ("sources",),
        "SELECT document_id, 'no source' FROM documents ANTI JOIN sources USING (document_id)",
        "a source",
    ),
    *(
        _Rule(
            f"{table}.{key}",
            table,
            ("occurrences",),
            f"SELECT {key}, 'no occurrence' FROM {table} "
            f"ANTI JOIN occurrences o ON o.text_id = {table}.{key}",
            "an occurrence",
        )
        for table, key in (_PARAGRAPH, _VARIANT)
    ),
    _Rule(
        "removals.document_id",
        "removals",
        ("documents",),
        "SELECT document_id, 'a row of documents' FROM removals SEMI JOIN documents "
        "USING (document_id)",
        "no row: it was removed",
    ),
]
_CONSERVATION = [
    _Rule(
        "runs.sources_found",
        "runs",
        (),
        """
        SELECT run_id, sources_found || ' found, but ' || sources_new || ' new + '
            || sources_known || ' known + ' || sources_rejected || ' rejected'
        FROM runs WHERE sources_found <> sources_new + sources_known + sources_rejected
        """,
        "found = new + known + rejected",
    ),
    _Rule(
        "documents.paragraphs",
        "documents",
        ("occurrences",),
        """
        SELECT document_id, coalesce(places, 0) || ' occurrences of ' || paragraphs
        FROM documents LEFT JOIN (
            SELECT document_id, count(*) AS places FROM occurrences GROUP BY 1
        ) USING (document_id)
        WHERE coalesce(places, 0) <> paragraphs
        """,
        "an occurrence for each paragraph",
    ),
]


def _passage_faults() -> str:
    """Return the query for overlaps with a passage that is not the text of its span.

    They include overlaps of texts that do not exist.
    """
    wrong = {
        side: f"{side}_start_char < 0 OR {side}_end_char <= {side}_start_char "
        f"OR {side}_passage IS DISTINCT FROM substring("
        f"{side[0]}.text, {side}_start_char + 1, {side}_end_char - {side}_start_char)"
        for side in ("left", "right")
    }
    found = ", ".join(
        f"if({is_wrong}, '{side}: ' || {side}_passage, NULL)" for side, is_wrong in wrong.items()
    )
    return f"""
        SELECT left_text_id || ' at ' || left_start_char || '-' || left_end_char || ' and '
            || right_text_id || ' at ' || right_start_char || '-' || right_end_char,
            concat_ws('; ', {found})
        FROM "overlaps"
        LEFT JOIN {_TEXTS} l ON l.text_id = left_text_id
        LEFT JOIN {_TEXTS} r ON r.text_id = right_text_id
        WHERE {" OR ".join(wrong.values())}
    """


_PASSAGES = [
    _Rule(
        "overlaps.left_passage, right_passage",
        "overlaps",
        _KEPT,
        _passage_faults(),
        "the characters of the texts at these positions",
    )
]
_RULES = {
    "keys": _KEYS,
    "references": _REFERENCES,
    "conservation": _CONSERVATION,
    "passages": _PASSAGES,
}


def check_rules(snapshot: Snapshot, name: str, sound: set[str]) -> Check:
    """Check keys, references, conservation or passages.

    Args:
        snapshot: the version to check.
        name: of the check.
        sound: the tables that can be read.
    """
    check = Check(name)
    with connect_tables(snapshot, [table for table in TABLES if table in sound]) as connection:
        for rule in _RULES[name]:
            damaged = sorted({rule.table, *rule.others} - sound)
            if damaged:
                check.skip(snapshot.rows(rule.table), damage_reason(damaged))
                continue
            [(rows,)] = connection.execute(f'SELECT count(*) FROM "{rule.table}"').fetchall()
            faults = f"WITH faults(place, found) AS ({rule.faults})"
            counted = f"{faults} SELECT place, found, count(*) OVER () FROM faults"
            rows_shown = connection.execute(
                f"{counted} ORDER BY ALL LIMIT {MAX_FAILURES_SHOWN}"
            ).fetchall()
            for place, found, _ in rows_shown:
                check.fail(
                    Failure(
                        what=rule.what,
                        where=place,
                        found=found,
                        expected=rule.expected,
                        next=FROM_BACKUP,
                    )
                )
            failed = int(rows_shown[0][2]) if rows_shown else 0
            check.failed += failed - len(rows_shown)
            check.passed += max(0, rows - failed)
    return check


def damage_reason(tables: Iterable[str]) -> str:
    """Return the reason why a rule that needs these tables is not checked."""
    return f"needs {', '.join(tables)}, of which a file is damaged"


def check_identity(snapshot: Snapshot, sound: set[str]) -> Check:
    """Check that ids of texts derive from the texts, and those of documents from their SHA-256."""
    check = Check("identity")
    for name, key, column, expected in (
        ("paragraphs", "paragraph_id", "text", "the BLAKE2b-128 of the text"),
        ("variants", "text_id", "text", "the BLAKE2b-128 of the text"),
        ("documents", "document_id", "sha256", "the first 32 letters of sha256"),
    ):
        if name not in sound:
            check.skip(snapshot.rows(name), damage_reason([name]))
            continue
        for path in snapshot.files(name):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_BATCH_ROWS, columns=[key, column]):
                    ids, values = batch.column(key), batch.column(column)
                    right = _first_letters(values) if name == "documents" else _text_ids(values)
                    differs = pc.fill_null(pc.not_equal(ids, right), fill_value=True)
                    for row in np.flatnonzero(differs.to_numpy(zero_copy_only=False)):
                        found_id, right_id = ids[int(row)].as_py(), right[int(row)].as_py()
                        check.fail(
                            Failure(
                                what=f"{name}.{key}",
                                where=f"{path}, {found_id}",
                                found=f"{found_id}, but the content gives {right_id}",
                                expected=expected,
                                next=FROM_BACKUP,
                            )
                        )
                    check.passed += len(ids) - int(pc.sum(differs, min_count=0).as_py())
    return check


def _first_letters(values: pa.Array) -> pa.Array:
    return pc.utf8_slice_codeunits(values, 0, 2 * DIGEST_BYTES)


def _text_ids(texts: pa.Array) -> pa.Array:
    buffer, offsets = bytes_of(texts)
    return hex_strings(digest_spans(buffer, offsets[:-1], offsets[1:]))
