"""The tables of an archive as Arrow schemas: the contract between the rooms and with every reader.

Only types that pyarrow, DuckDB, Polars, pandas and Spark all read: string, int32, int64, float32,
timestamp[us, UTC], and list<int32> in four columns of ``occurrences``. The metadata of each field
has its description and, for a measure, its unit. Spans are half-open.
"""

from __future__ import annotations

import pyarrow as pa

from palimpsest.records.document_facts import DOCUMENT_FACTS, DocumentFact
from palimpsest.records.errors import ContractError

SCHEMA_VERSION = 4

PARAGRAPH_SEPARATOR = "\n\n"
"""Text between two paragraphs in the normalised text of a document."""
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
    tail = "in the document's raw bytes; null if not located there"
    return [
        _field("start_byte", pa.int64(), f"where {what} begins {tail}", "bytes", nullable=True),
        _field("end_byte", pa.int64(), f"where {what} ends {tail}", "bytes", nullable=True),
    ]


def _fact_field(fact: DocumentFact) -> pa.Field:
    kind = TIMESTAMP if fact.is_time else pa.string()
    return _field(fact.name, kind, fact.description, nullable=fact.is_nullable)


_FACTS = {fact.name: _fact_field(fact) for fact in DOCUMENT_FACTS}
_RUN_ID = _string("run_id", "run that wrote the row")

PARAGRAPHS = pa.schema(
    [
        _string("paragraph_id", "text_id of the representative"),
        _string("text", "normalised text of the representative"),
        _count("words", "number of words in the text", "words"),
        _field(
            "is_header",
            pa.bool_(),
            "whether the text is a header line (marked, a byline or an address), which matches no "
            "other",
        ),
        _FACTS["language"],
        _string("document_id", "document that contains the representative"),
        _string("uri", "first source of that document by name"),
        _FACTS["title"],
        _FACTS["published_at"],
        _count("ordinal", "position of the paragraph in the document, from 0", "paragraphs"),
        *_span("the paragraph in the document's decoded text"),
        *_byte_span("the paragraph"),
        _RUN_ID,
    ]
)

VARIANTS = pa.schema(
    [
        _string("text_id", "digest of the text that was folded"),
        _string("paragraph_id", "paragraph that it was folded into"),
        _string("text", "normalised text, in full"),
        _count("words", "number of words in the text", "words"),
        _count("matched_words", "words aligned with words of the paragraph", "words"),
        _field("resemblance", pa.float32(), "matched / (words of both - matched)", "share"),
        _RUN_ID,
    ]
)

OCCURRENCES = pa.schema(
    [
        _string("document_id", "document in which the text occurs"),
        _count("ordinal", "position of the paragraph in the document, from 0", "paragraphs"),
        _string("text_id", "digest of the normalised text of the paragraph"),
        *_span("the paragraph in the document's decoded text"),
        *_byte_span("the paragraph"),
        _field(
            "shift_at",
            _INT32_LIST,
            "positions in the normalised text from which a new shift applies, ascending",
            "characters",
        ),
        _field(
            "shift_by",
            _INT32_LIST,
            "added, with start_char, to a position from there on to get its place in the document",
            "characters",
        ),
        _field(
            "stretch_start",
            _INT32_LIST,
            "where each fragment of raw bytes in the paragraph begins, relative to start_byte; "
            "empty if it is one fragment",
            "bytes",
        ),
        _field(
            "stretch_end",
            _INT32_LIST,
            "where each fragment ends, exclusive, relative to start_byte",
            "bytes",
        ),
    ]
)

OVERLAPS = pa.schema(
    [
        _string("left_text_id", "text whose id sorts first"),
        _string("right_text_id", "text whose id sorts second"),
        *_span("the passage in the left normalised text", "left_"),
        *_span("the passage in the right normalised text", "right_"),
        _string("left_passage", "the passage in the left normalised text, word for word"),
        _string("right_passage", "the passage in the right normalised text, word for word"),
        _count("left_words", "number of words in the left passage", "words"),
        _count("right_words", "number of words in the right passage", "words"),
        _count("matched_words", "words of this passage aligned with an equal word", "words"),
        _field("resemblance", pa.float32(), "matched / (words of both - matched)", "share"),
        _field(
            "score",
            pa.float32(),
            "alignment score: 1 for each content word that matches, less the cost of gaps",
        ),
        _string("relation", "relation of the two texts: near, contained or partial"),
        _field(
            "says_same",
            pa.bool_(),
            "whether they are near and say the same, so that one may be folded into the other",
        ),
        _field(
            "left_share",
            pa.float32(),
            "share of the left text's words aligned, over all passages",
            "share",
        ),
        _field(
            "right_share",
            pa.float32(),
            "share of the right text's words aligned, over all passages",
            "share",
        ),
        _RUN_ID,
    ]
)

DOCUMENTS = pa.schema(
    [
        _string("document_id", "first 128 bits of sha256"),
        _string("sha256", "SHA-256 of the raw bytes"),
        _string("media_type", "media type that the bytes were read as"),
        _string("encoding", "character encoding, by its name in Python"),
        _string(
            "encoding_from",
            "how the encoding was found: bom, http, html, utf-8, detected or setting",
        ),
        _count("decode_errors", "invalid byte sequences replaced by U+FFFD", "sequences"),
        *_FACTS.values(),
        _string("extractor", "program that turned the bytes into paragraphs"),
        _string("extractor_version", "version of the extractor"),
        _count("bytes", "size of the raw bytes", "bytes", pa.int64()),
        _count("characters", "length of the decoded text", "characters", pa.int64()),
        _count("paragraphs", "number of paragraphs in the document", "paragraphs"),
        _count("unanchored", "paragraphs not located in the raw bytes", "paragraphs"),
        _count("words", "number of words in the document", "words", pa.int64()),
        _string("text_sha256", "SHA-256 of its texts in order, joined by an empty line"),
        _RUN_ID,
    ]
)

SOURCES = pa.schema(
    [
        _string("uri", "location of the source; after #, its place in a container"),
        _count("bytes", "size of the file, or of the member of a container", "bytes", pa.int64()),
        _field("modified_at", TIMESTAMP, "modification time of the file or member"),
        _string("document_id", "document in the source"),
        *_FACTS.values(),
        _string("target_uri", "address that a web archive captured the page from", nullable=True),
        _field("captured_at", TIMESTAMP, "time of the capture", nullable=True),
        _RUN_ID,
    ]
)

CONTAINERS = pa.schema(
    [
        _string("uri", "location of a file that contains sources"),
        _count("bytes", "size of the file", "bytes", pa.int64()),
        _field("modified_at", TIMESTAMP, "modification time of the file"),
        _count("sources", "number of sources in it", "sources", pa.int64()),
        _count("rejects", "number of members rejected", "sources", pa.int64()),
        _RUN_ID,
    ]
)

REJECTS = pa.schema(
    [
        _string("uri", "location of the rejected source"),
        _field("bytes", pa.int64(), "size, if known", "bytes", nullable=True),
        _field("modified_at", TIMESTAMP, "modification time, if known", nullable=True),
        _string("reason", "reason code, such as empty, binary or damaged"),
        _string("detail", "what was found, what was expected and what to do next"),
        _RUN_ID,
    ]
)

RUNS = pa.schema(
    [
        _RUN_ID,
        _string("version", "version of Palimpsest"),
        _string("settings", "settings that determine the rows, as JSON"),
        _string("seal", "fingerprint of those settings and of every stage's version"),
        _field("started_at", TIMESTAMP, "when the run began"),
        _field("finished_at", TIMESTAMP, "when the run was ready to commit"),
        _string("flow_run_id", "Prefect's id of the flow run, if any", nullable=True),
        _count("sources_found", "number of sources found", "sources", pa.int64()),
        _count("sources_new", "of these, read for the first time", "sources", pa.int64()),
        _count("sources_known", "of these, already known", "sources", pa.int64()),
        _count("sources_rejected", "of these, rejected", "sources", pa.int64()),
        _count("documents_new", "number of documents not seen before", "documents", pa.int64()),
        _count("bytes_read", "total size of the sources read", "bytes", pa.int64()),
        _count(
            "paragraphs_seen", "number of paragraphs in new documents", "paragraphs", pa.int64()
        ),
        _count(
            "paragraphs_unanchored",
            "of these, not located in the raw bytes",
            "paragraphs",
            pa.int64(),
        ),
        _count("texts_new", "number of distinct texts not seen before", "texts", pa.int64()),
        _count("texts_folded", "of these, folded into a paragraph", "texts", pa.int64()),
        _count("candidates", "pairs of texts that share a bucket", "pairs", pa.int64()),
        _count("crowds", "crowds: buckets too large to be paired in full", "buckets", pa.int64()),
        _count("overlaps_found", "number of passages that two texts share", "passages", pa.int64()),
    ]
)

REMOVALS = pa.schema(
    [
        _string("document_id", "document that was removed"),
        _string("reason", "reason for the removal, as given"),
        _field("removed_at", TIMESTAMP, "time of the removal"),
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
        _string(f"{side}_uri", "first source of the document by name"),
        _field(
            f"{side}_published_at",
            TIMESTAMP,
            "publication date of the document, if known",
            nullable=True,
        ),
        _string(
            f"{side}_published_from", "origin of the date: metadata, header, sidecar, path or none"
        ),
        *_span("the passage in the document's decoded text", f"{side}_"),
        _count(f"{side}_words", "number of words in the passage", "words", pa.int64()),
        _string(f"{side}_passage", "the passage, normalised"),
    ]


PASSAGES = pa.schema(
    [
        *_passage_side("left", "earlier"),
        *_passage_side("right", "later"),
        _count("matched_words", "words aligned with an equal word", "words", pa.int64()),
        _field("resemblance", pa.float32(), "matched / (words of both - matched)", "share"),
        _field(
            "score",
            pa.float32(),
            "score of the shared content words, less costs; for a summary, in nats",
        ),
        _string(
            "relation", "relation of the two passages: exact, near, contained, partial or summary"
        ),
        _field("is_clear", pa.bool_(), "whether the passage is more than a coincidence"),
        _field(
            "is_recurring", pa.bool_(), "whether most of it is text that occurs in many documents"
        ),
        _string("direction", "basis for the order of the sides: by-date, same-date or undated"),
        _field(
            "document_resemblance",
            pa.float32(),
            "matched words of all clear passages of the two documents / (words of both documents, "
            "without headers - these)",
            "share",
        ),
    ]
)
"""Passages of documents: computed from an archive, not a table of it. See docs/PASSAGES.md."""

QUOTED = pa.schema(
    [
        field
        for side in ("left", "right")
        for field in (
            _count(
                f"{side}_text_start",
                "where the passage begins in the rebuilt text of the document",
                "characters",
                pa.int64(),
            ),
            _string(f"{side}_before", "text before the passage"),
            _string(f"{side}_after", "text after the passage"),
        )
    ]
)
"""Extra columns of passages, on request: their place and context in the rebuilt texts."""


def schema_without(name: str, *columns: str) -> pa.Schema:
    """Return the schema of table ``name`` without some of its columns."""
    return pa.schema([field for field in TABLES[name] if field.name not in columns])


REJECT_REASONS: dict[str, str] = {
    "empty": "a file of no bytes",
    "no-text": "bytes, but no visible character",
    "binary": "bytes that are not text",
    "unsupported-format": "a known format that this version does not read",
    "encoding-unknown": "no encoding fits well enough to be trusted",
    "encoding-mismatch": "the bytes cannot be decoded with the encoding that was set",
    "spans-not-exact": "paragraphs cannot be located in the raw bytes in this encoding",
    "too-large": "larger than the setting max_document_bytes",
    "vanished": "found, but removed before it could be read",
    "changed": "changed while it was being read, twice",
    "no-permission": "reading it is not permitted",
    "not-a-file": "neither a file nor a folder, such as a pipe or a device",
    "broken-link": "a symbolic link to nothing",
    "link-loop": "a symbolic link into a folder that contains it",
    "no-article": "a page in which no article was found",
    "parser-timeout": "a page that took longer than the setting page_seconds",
    "parser-memory": "a page that took more memory than the extractor may use",
    "parser-crashed": "a page that the parser failed on",
    "not-json": "a line that is not a JSON object",
    "no-text-field": "a line of JSON without a text in any of the fields text_fields",
    "not-an-article": "a record of a web archive that is an error, a redirect or an image",
    "digest-mismatch": "a record of a web archive whose bytes do not match its digest",
    "revisit-unresolved": "a revisit of a record that is not in the same file",
    "damaged": "a container or member that is truncated or corrupt",
    "encrypted": "a member that requires a password",
    "unsafe-name": "a member whose name points outside its container",
    "bomb": "compressed bytes that expand far more than text would",
    "nested-too-deep": "a container nested too deeply in others",
    "too-many-members": "a container with more members than the limit",
    "sidecar-unreadable": "its sidecar file cannot be read",
    "unreachable": "it could not be fetched over the network",
    "removed": "the document was removed from the archive",
    "unreadable": "the operating system refused to read it",
}

PASSING_REASONS = (
    "vanished", "changed", "no-permission", "broken-link", "link-loop", "unreadable",
    "sidecar-unreadable", "unreachable",
)  # fmt: skip
"""Reasons that may pass although the file does not change; each run tries such a source again."""


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
    """Return what is wrong with a column, or an empty string."""
    if field.name not in table.column_names:
        return f"{field.name}: missing"
    column = table.column(field.name)
    is_wide = field.type == pa.string() and column.type == pa.large_string()
    if column.type != field.type and not is_wide:
        return f"{field.name}: {column.type}; expected {field.type}"
    if column.null_count and not field.nullable:
        return f"{field.name}: {column.null_count} nulls; expected none"
    return ""
