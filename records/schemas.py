"""The tables of an archive as Arrow schemas: the contract between the rooms and with every reader.

Only types that pyarrow, DuckDB, Polars, pandas and Spark all read: string, int32, int64, float32,
timestamp[us, UTC], and list<int32> in four columns of ``occurrences``. Each field says in its
metadata what it holds and, where it is a measure, its unit. Spans are half-open.
"""

from __future__ import annotations

import pyarrow as pa

from palimpsest.records.document_facts import DOCUMENT_FACTS, DocumentFact
from palimpsest.records.errors import ContractError

SCHEMA_VERSION = 3

PARAGRAPH_SEPARATOR = "\n\n"
"""What is between two paragraphs in the normalised text of a document."""
TIMESTAMP = pa.timestamp("us", tz="UTC")
_INT32_LIST = pa.list_(pa.int32())


def _field(
    name: str, kind: pa.DataType, description: str, unit: str = "", *, nullable: bool = False
) -> pa.Field:
    metadata = {"description": description}
    if unit:
        metadata["unit"] = unit
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


def _string(name: str, description: str, *, nullable: bool = False) -> pa.Field:
    return _field(name, pa.string(), description, nullable=nullable)


def _count(name: str, description: str, unit: str, kind: pa.DataType | None = None) -> pa.Field:
    return _field(name, kind or pa.int32(), description, unit)


def _span(what: str, prefix: str = "") -> list[pa.Field]:
    return [
        _field(f"{prefix}start_char", pa.int64(), f"where {what} begins", "characters"),
        _field(f"{prefix}end_char", pa.int64(), f"where {what} ends, exclusive", "characters"),
    ]


def _byte_span(what: str) -> list[pa.Field]:
    tail = "in the document's raw bytes; null where it has no anchor there"
    return [
        _field("start_byte", pa.int64(), f"where {what} begins {tail}", "bytes", nullable=True),
        _field("end_byte", pa.int64(), f"where {what} ends {tail}", "bytes", nullable=True),
    ]


def _fact_field(fact: DocumentFact) -> pa.Field:
    kind = TIMESTAMP if fact.is_time else pa.string()
    return _field(fact.name, kind, fact.description, nullable=fact.is_nullable)


_FACTS = {fact.name: _fact_field(fact) for fact in DOCUMENT_FACTS}
_RUN_ID = _string("run_id", "the run that wrote the row")

PARAGRAPHS = pa.schema(
    [
        _string("paragraph_id", "text_id of the representative"),
        _string("text", "normalised text of the representative"),
        _count("words", "words in the text", "words"),
        _FACTS["language"],
        _string("document_id", "the document that the representative stands in"),
        _string("uri", "a source of that document, the first by name"),
        _FACTS["title"],
        _FACTS["published_at"],
        _count("ordinal", "place of the paragraph in the document, from 0", "paragraphs"),
        *_span("the paragraph in the document's decoded text"),
        *_byte_span("the paragraph"),
        _RUN_ID,
    ]
)

VARIANTS = pa.schema(
    [
        _string("text_id", "digest of the folded text"),
        _string("paragraph_id", "the paragraph that it was folded into"),
        _string("text", "normalised text, kept whole"),
        _count("words", "words in the text", "words"),
        _count("matched_words", "words aligned with the paragraph", "words"),
        _field("resemblance", pa.float32(), "matched / (words of both - matched)", "share"),
        _RUN_ID,
    ]
)

OCCURRENCES = pa.schema(
    [
        _string("document_id", "the document"),
        _count("ordinal", "place in the document, from 0", "paragraphs"),
        _string("text_id", "digest of the normalised text that stands there"),
        *_span("it in the document's decoded text"),
        *_byte_span("it"),
        _field(
            "shift_at",
            _INT32_LIST,
            "positions in the normalised text from which on a new shift holds, ascending",
            "characters",
        ),
        _field(
            "shift_by",
            _INT32_LIST,
            "what to add to a position from there on, besides start_char, to be in the document",
            "characters",
        ),
        _field(
            "stretch_start",
            _INT32_LIST,
            "where each stretch of raw bytes that it is made of begins, from start_byte on; "
            "empty where it is one stretch",
            "bytes",
        ),
        _field("stretch_end", _INT32_LIST, "where each of them ends, exclusive", "bytes"),
    ]
)

OVERLAPS = pa.schema(
    [
        _string("left_text_id", "the text whose id sorts first"),
        _string("right_text_id", "the other text"),
        *_span("the passage in the left normalised text", "left_"),
        *_span("the passage in the right normalised text", "right_"),
        _string("left_passage", "the passage as it stands on the left"),
        _string("right_passage", "the passage as it stands on the right"),
        _count("left_words", "words in the left passage", "words"),
        _count("right_words", "words in the right passage", "words"),
        _count("matched_words", "aligned words in this passage", "words"),
        _field("resemblance", pa.float32(), "matched / (words of both - matched)", "share"),
        _field("score", pa.float32(), "alignment score; a rare word that matches counts 1"),
        _string("relation", "of the two texts: near, contained or partial"),
        _field("left_share", pa.float32(), "words of the left text aligned, all passages", "share"),
        _field("right_share", pa.float32(), "the same for the right text", "share"),
        _RUN_ID,
    ]
)

DOCUMENTS = pa.schema(
    [
        _string("document_id", "first 128 bits of sha256"),
        _string("sha256", "SHA-256 of the raw bytes"),
        _string("media_type", "what the bytes were read as"),
        _string("encoding", "character encoding, as Python names it"),
        _string("encoding_from", "bom, http, html, utf-8, detected or setting"),
        _count("decode_errors", "byte sequences that were replaced by U+FFFD", "sequences"),
        *_FACTS.values(),
        _string("extractor", "what turned bytes into paragraphs"),
        _string("extractor_version", "its version"),
        _count("bytes", "size of the raw bytes", "bytes", pa.int64()),
        _count("characters", "length of the decoded text", "characters", pa.int64()),
        _count("paragraphs", "paragraphs in it", "paragraphs"),
        _count("unanchored", "of these, without an anchor in the raw bytes", "paragraphs"),
        _count("words", "words in it", "words", pa.int64()),
        _string("text_sha256", "SHA-256 of its texts in order, joined by an empty line"),
        _RUN_ID,
    ]
)

SOURCES = pa.schema(
    [
        _string("uri", "where it was found; behind # where in a file that holds many"),
        _count("bytes", "size of the file, or of the member of a file", "bytes", pa.int64()),
        _field("modified_at", TIMESTAMP, "modification time of the file, or of the member"),
        _string("document_id", "the document in it"),
        *_FACTS.values(),
        _string("target_uri", "where a web archive says that it was captured", nullable=True),
        _field("captured_at", TIMESTAMP, "when it was captured", nullable=True),
        _RUN_ID,
    ]
)

CONTAINERS = pa.schema(
    [
        _string("uri", "a file that holds sources"),
        _count("bytes", "size", "bytes", pa.int64()),
        _field("modified_at", TIMESTAMP, "modification time"),
        _count("sources", "sources in it", "sources", pa.int64()),
        _count("rejects", "members refused", "sources", pa.int64()),
        _RUN_ID,
    ]
)

REJECTS = pa.schema(
    [
        _string("uri", "where it was found"),
        _field("bytes", pa.int64(), "size, if it could be told", "bytes", nullable=True),
        _field("modified_at", TIMESTAMP, "modification time, if it could be told", nullable=True),
        _string("reason", "a code of REJECT_REASONS"),
        _string("detail", "what was found, what was expected, what to do"),
        _RUN_ID,
    ]
)

RUNS = pa.schema(
    [
        _RUN_ID,
        _string("version", "version of Palimpsest"),
        _string("settings", "the settings that decide what comes out, as JSON"),
        _string("seal", "digest of those settings and of every stage's version"),
        _field("started_at", TIMESTAMP, "when the run began"),
        _field("finished_at", TIMESTAMP, "when it was ready to commit"),
        _string("flow_run_id", "Prefect's id of the run, if it had one", nullable=True),
        _count("sources_found", "sources found", "sources", pa.int64()),
        _count("sources_new", "of these, read for the first time", "sources", pa.int64()),
        _count("sources_known", "of these, known already", "sources", pa.int64()),
        _count("sources_rejected", "of these, refused", "sources", pa.int64()),
        _count("documents_new", "documents not seen before", "documents", pa.int64()),
        _count("bytes_read", "bytes of the sources read", "bytes", pa.int64()),
        _count("paragraphs_seen", "paragraphs of new documents", "paragraphs", pa.int64()),
        _count(
            "paragraphs_unanchored",
            "of these, without a place in raw bytes",
            "paragraphs",
            pa.int64(),
        ),
        _count("texts_new", "distinct texts not seen before", "texts", pa.int64()),
        _count("texts_folded", "of these, folded into a paragraph", "texts", pa.int64()),
        _count("candidates", "pairs of texts that share a bucket", "pairs", pa.int64()),
        _count("crowds", "buckets that are crowds, not paired in full", "buckets", pa.int64()),
        _count("overlaps_found", "passages that two texts share", "passages", pa.int64()),
    ]
)

REMOVALS = pa.schema(
    [
        _string("document_id", "what was taken down"),
        _string("reason", "why"),
        _field("removed_at", TIMESTAMP, "when"),
        _RUN_ID,
    ]
)

TABLES: dict[str, pa.Schema] = {
    "paragraphs": PARAGRAPHS,
    "variants": VARIANTS,
    "occurrences": OCCURRENCES,
    "overlaps": OVERLAPS,
    "documents": DOCUMENTS,
    "sources": SOURCES,
    "containers": CONTAINERS,
    "rejects": REJECTS,
    "runs": RUNS,
    "removals": REMOVALS,
}


def _passage_side(side: str, which: str) -> list[pa.Field]:
    return [
        _string(f"{side}_document_id", f"the {which} document"),
        _string(f"{side}_uri", "a source of it, the first by name"),
        _field(f"{side}_published_at", TIMESTAMP, "when it was published, if known", nullable=True),
        _string(f"{side}_published_from", "metadata, header, sidecar, path or none"),
        *_span("the passage in its decoded text", f"{side}_"),
        _count(f"{side}_words", "words in the passage", "words", pa.int64()),
        _string(f"{side}_passage", "the passage as it stands there, normalised"),
    ]


PASSAGES = pa.schema(
    [
        *_passage_side("left", "earlier"),
        *_passage_side("right", "later"),
        _count("matched_words", "words aligned with an equal word", "words", pa.int64()),
        _field("resemblance", pa.float32(), "matched / (words of both - matched)", "share"),
        _field("score", pa.float32(), "of the content words on both sides; of a summary in nats"),
        _string("relation", "of the two passages: exact, near, contained, partial or summary"),
        _field("is_clear", pa.bool_(), "whether it is more than chance gives"),
        _field("is_recurring", pa.bool_(), "whether most of it is text that many documents have"),
        _string("direction", "why the left is left: by-date, same-date or undated"),
    ]
)
"""Passages of documents; no table of an archive, but made of one. See docs/PASSAGES.md."""

QUOTED = pa.schema(
    [
        field
        for side in ("left", "right")
        for field in (
            _count(
                f"{side}_text_start",
                "where the passage begins in the text that is rebuilt of the document",
                "characters",
                pa.int64(),
            ),
            _string(f"{side}_before", "what stands before it there"),
            _string(f"{side}_after", "what stands after it there"),
        )
    ]
)
"""Where passages stand in the texts of documents as an archive keeps them, for who asks for it."""


def schema_without(name: str, *columns: str) -> pa.Schema:
    """Return the schema of table ``name`` without some of its columns."""
    return pa.schema([field for field in TABLES[name] if field.name not in columns])


REJECT_REASONS: dict[str, str] = {
    "empty": "it has no bytes",
    "no-text": "it has bytes but no visible character",
    "binary": "the bytes are not text",
    "unsupported-format": "a known format that this version does not read",
    "encoding-unknown": "no encoding fits, or none well enough to be trusted",
    "encoding-mismatch": "the bytes do not decode in the encoding that was asked for",
    "spans-not-exact": "paragraphs cannot be cut out of the raw bytes in this encoding",
    "too-large": "larger than the setting max_document_bytes",
    "vanished": "found, but gone when it was to be read",
    "changed": "changed while it was read, twice",
    "no-permission": "may not be read",
    "not-a-file": "neither a file nor a folder, such as a pipe or a device",
    "broken-link": "a symbolic link to nothing",
    "link-loop": "a symbolic link into a folder that contains it",
    "no-article": "a page in which no article was found",
    "parser-timeout": "a page that took longer than the setting page_seconds",
    "parser-memory": "a page that took more memory than its reader may have",
    "parser-crashed": "a page that the parser failed on",
    "not-json": "a line that is no object of JSON",
    "no-text-field": "a line of JSON without a text in any of the fields text_fields",
    "not-an-article": "a record of a web archive that is an error, a redirect or an image",
    "digest-mismatch": "a record of a web archive whose bytes do not have the digest it names",
    "revisit-unresolved": "a record that repeats one which is not in its file",
    "damaged": "a container, or a member of it, that is cut off or broken",
    "encrypted": "a member that takes a password",
    "unsafe-name": "a member whose name leads out of its container",
    "bomb": "compressed bytes that give far more than any text would",
    "nested-too-deep": "a container in too many others",
    "too-many-members": "a container with more members than are read",
    "sidecar-unreadable": "the file that tells of it cannot be read",
    "unreachable": "the network did not give it",
    "removed": "the document was taken down",
    "unreadable": "the operating system refused to read it",
}

PASSING_REASONS = (
    "vanished", "changed", "no-permission", "broken-link", "link-loop", "unreadable",
    "sidecar-unreadable", "unreachable",
)  # fmt: skip
"""Reasons that may pass while the file stays as it is; such a source is tried again in each run."""


def conform(table: pa.Table, name: str) -> pa.Table:
    """Return ``table`` with exactly the schema of table ``name``.

    Raises:
        ContractError: a column is missing, of another type, or null where it must not be.
    """
    schema = TABLES[name]
    faults = [_fault(table, field) for field in schema]
    if any(faults):
        raise ContractError("; ".join(f"{name}.{fault}" for fault in faults if fault))
    return table.select(schema.names).cast(schema)


def _fault(table: pa.Table, field: pa.Field) -> str:
    """Return what is wrong with a column, or nothing."""
    if field.name not in table.column_names:
        return f"{field.name}: missing"
    column = table.column(field.name)
    is_wide = field.type == pa.string() and column.type == pa.large_string()
    if column.type != field.type and not is_wide:
        return f"{field.name}: {column.type}; expected {field.type}"
    if column.null_count and not field.nullable:
        return f"{field.name}: {column.null_count} nulls; expected none"
    return ""
