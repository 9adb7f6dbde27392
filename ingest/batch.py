"""Turn a batch of found files into documents, paragraphs, texts and rejects, column by column."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.decode import Decoded, decode, decode_span
from ingest.discover import FoundFile, timestamp_of, uri_of
from ingest.layout import lay_out
from ingest.normalise import NormalisedTexts, normalise_paragraphs, normalise_text
from ingest.read import read_source
from records import __version__
from records.compiled import kernel
from records.digest import digest_spans
from records.errors import SourceError
from records.ids import document_id_of, hex_strings
from records.schemas import TABLES, TIMESTAMP, schema_without
from records.settings import ReadSettings
from records.unicode import character_tables

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

MEDIA_TYPE = "text/plain"
EXTRACTOR = "palimpsest-plain-text"
_MAX_TITLE_CHARS = 200
_TITLE_MARKS = "#-=* \t"


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """One document of a batch, read and decoded, with the raw bytes gone as soon as they can be."""

    found: FoundFile
    sha256: str
    raw_bytes: int
    decoded: Decoded
    raw: bytes | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What came out of a batch of files.

    Attributes:
        sources, rejects: tables of the schemas of that name, without ``run_id``.
        documents: table of the schema ``documents``, without ``words`` and ``run_id``; each once.
        occurrences: table of the schema ``occurrences``, in the order of documents and paragraphs.
        digests: uint8, shape (paragraphs, 16): the digest of each paragraph's text.
        texts: the paragraphs' normalised texts.
        bytes_read: bytes of all files that were read, repeats included.
    """

    sources: pa.Table
    rejects: pa.Table
    documents: pa.Table
    occurrences: pa.Table
    digests: Bytes
    texts: NormalisedTexts
    bytes_read: int


def read_batch(files: Sequence[FoundFile], settings: ReadSettings) -> Batch:
    """Read a batch of files. A file that cannot be read becomes a reject, and the next is read."""
    documents: dict[str, ReadDocument] = {}
    sources: list[tuple[FoundFile, str]] = []
    rejects: list[tuple[FoundFile, SourceError]] = []
    bytes_read = 0
    for found in files:
        try:
            raw, found = read_source(found, settings.max_document_bytes)
            bytes_read += len(raw)
            sha256 = hashlib.sha256(raw).hexdigest()
            document = documents.get(sha256)
            if document is None:
                document = _read_document(raw, found, sha256, settings)
                documents[sha256] = document
            sources.append((found, sha256))
        except SourceError as error:
            rejects.append((found, error))
    return _lay_out_batch(list(documents.values()), sources, rejects, settings, bytes_read)


def reject_table(rejects: Sequence[tuple[str, int | None, int | None, str, str]]) -> pa.Table:
    """Return rejects as a table without ``run_id``.

    Args:
        rejects: path, size in bytes, modification time in nanoseconds, reason, detail.
    """
    rows = [
        {
            "uri": uri_of(path),
            "bytes": size,
            "modified_at": None if modified is None else timestamp_of(modified),
            "reason": reason,
            "detail": detail.encode("utf-8", "backslashreplace").decode(),
        }
        for path, size, modified, reason, detail in rejects
    ]
    return pa.Table.from_pylist(rows, schema=schema_without("rejects", "run_id"))


def _read_document(
    raw: bytes, found: FoundFile, sha256: str, settings: ReadSettings
) -> ReadDocument:
    if not raw:
        raise SourceError("empty", "0 bytes; expected text")
    decoded = decode(raw, settings.encoding)
    return ReadDocument(found, sha256, len(raw), decoded, None if decoded.is_proved else raw)


def _lay_out_batch(
    documents: list[ReadDocument],
    sources: list[tuple[FoundFile, str]],
    rejects: list[tuple[FoundFile, SourceError]],
    settings: ReadSettings,
    bytes_read: int,
) -> Batch:
    tables = character_tables()
    sizes = [len(document.decoded.utf8) for document in documents]
    offsets = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    buffer = np.frombuffer(b"".join(document.decoded.utf8 for document in documents), np.uint8)
    starts, ends, counts = lay_out(buffer, offsets, tables, settings.max_paragraph_chars)
    texts = normalise_paragraphs(buffer, starts, ends, tables)
    spans = _measure_spans(buffer, offsets, starts, ends, counts, documents)
    faults = _find_faults(documents, counts, spans, texts)
    if faults:  # rare: lay out again without the documents that cannot be kept
        refused = {documents[number].sha256: error for number, error in faults.items()}
        kept = [document for document in documents if document.sha256 not in refused]
        rejects += [(found, refused[sha256]) for found, sha256 in sources if sha256 in refused]
        sources = [(found, sha256) for found, sha256 in sources if sha256 not in refused]
        return _lay_out_batch(kept, sources, rejects, settings, bytes_read)
    digests = digest_spans(texts.buffer, texts.starts, texts.ends)
    return Batch(
        _source_table(sources),
        reject_table(
            [(f.path, f.size_bytes, f.modified_ns, e.reason, e.detail) for f, e in rejects]
        ),
        _document_table(documents, counts, texts, spans.document_chars),
        _occurrence_table(documents, counts, spans, digests, texts),
        digests,
        texts,
        bytes_read,
    )


@dataclass(frozen=True, slots=True)
class _Spans:
    """Spans of paragraphs in characters of the decoded text and in raw bytes; int64."""

    start_char: Positions
    end_char: Positions
    start_byte: Positions
    end_byte: Positions
    document_chars: Positions


def _measure_spans(
    buffer: Bytes,
    offsets: Positions,
    starts: Positions,
    ends: Positions,
    counts: Positions,
    documents: list[ReadDocument],
) -> _Spans:
    bounds = np.empty(2 * len(starts), dtype=np.int64)
    bounds[0::2], bounds[1::2] = starts, ends
    bound_offsets = 2 * np.concatenate(([0], np.cumsum(counts)))
    chars, document_chars = _count_chars(buffer, offsets, bounds, bound_offsets)
    raw = np.empty(len(bounds), dtype=np.int64)
    for number, document in enumerate(documents):
        mine = slice(bound_offsets[number], bound_offsets[number + 1])
        raw[mine] = document.decoded.to_bytes(bounds[mine] - offsets[number], chars[mine])
    return _Spans(chars[0::2], chars[1::2], raw[0::2], raw[1::2], document_chars)


@kernel
def _count_chars(
    buffer: Bytes, offsets: Positions, bounds: Positions, bound_offsets: Positions
) -> tuple[Positions, Positions]:
    """Return ascending byte positions as characters of their document, and its length in these."""
    chars = np.empty(len(bounds), dtype=np.int64)
    lengths = np.empty(len(offsets) - 1, dtype=np.int64)
    for document in range(len(offsets) - 1):
        at, seen = offsets[document], 0
        for k in range(bound_offsets[document], bound_offsets[document + 1]):
            for position in range(at, bounds[k]):
                seen += 1 if buffer[position] & 0xC0 != 0x80 else 0
            at = bounds[k]
            chars[k] = seen
        for position in range(at, offsets[document + 1]):
            seen += 1 if buffer[position] & 0xC0 != 0x80 else 0
        lengths[document] = seen
    return chars, lengths


def _find_faults(
    documents: list[ReadDocument], counts: Positions, spans: _Spans, texts: NormalisedTexts
) -> dict[int, SourceError]:
    """Return the documents without a paragraph, and those whose spans do not give their texts."""
    faults = {}
    firsts = np.cumsum(counts) - counts
    for number, document in enumerate(documents):
        if counts[number] == 0:
            detail = f"{document.raw_bytes} bytes, but nothing visible in them"
            faults[number] = SourceError("no-text", detail)
        elif document.raw is not None:
            mine = range(firsts[number], firsts[number] + counts[number])
            if not all(_is_reproduced(document, spans, texts, k) for k in mine):
                detail = (
                    f"a span of {document.decoded.encoding} does not decode by itself; "
                    "turn the file into UTF-8 first"
                )
                faults[number] = SourceError("spans-not-exact", detail)
    return faults


def _is_reproduced(
    document: ReadDocument, spans: _Spans, texts: NormalisedTexts, paragraph: int
) -> bool:
    raw = document.raw or b""
    cut = raw[spans.start_byte[paragraph] : spans.end_byte[paragraph]]
    expected = texts.buffer[texts.starts[paragraph] : texts.ends[paragraph]].tobytes()
    try:
        return normalise_text(decode_span(cut, document.decoded.encoding)).encode() == expected
    except UnicodeDecodeError:
        return False


def _source_table(sources: list[tuple[FoundFile, str]]) -> pa.Table:
    columns: dict[str, Any] = {
        "uri": pa.array([uri_of(found.path) for found, _ in sources], pa.string()),
        "bytes": pa.array([found.size_bytes for found, _ in sources], pa.int64()),
        "modified_at": pa.array([timestamp_of(f.modified_ns) for f, _ in sources], TIMESTAMP),
        "document_id": pa.array([document_id_of(sha) for _, sha in sources], pa.string()),
    }
    return pa.table(columns, schema=schema_without("sources", "run_id"))


def _document_table(
    documents: list[ReadDocument],
    counts: Positions,
    texts: NormalisedTexts,
    document_chars: Positions,
) -> pa.Table:
    lasts = np.cumsum(counts)
    firsts = lasts - counts
    whole = memoryview(texts.buffer.data)
    text_sha256 = [
        hashlib.sha256(whole[texts.starts[first] : texts.ends[last - 1]]).hexdigest()
        for first, last in zip(firsts, lasts, strict=True)
    ]
    titles = [_title(texts, first, count) for first, count in zip(firsts, counts, strict=True)]
    decoded = [document.decoded for document in documents]
    nothing = pa.nulls(len(documents), pa.string())
    columns: dict[str, Any] = {
        "document_id": [document_id_of(document.sha256) for document in documents],
        "sha256": [document.sha256 for document in documents],
        "media_type": [MEDIA_TYPE] * len(documents),
        "encoding": [one.encoding for one in decoded],
        "encoding_from": [one.encoding_from for one in decoded],
        "decode_errors": [one.errors for one in decoded],
        "title": titles,
        "author": nothing,
        "site": nothing,
        "published_at": pa.nulls(len(documents), TIMESTAMP),
        "published_from": ["none"] * len(documents),
        "language": nothing,
        "extractor": [EXTRACTOR] * len(documents),
        "extractor_version": [__version__] * len(documents),
        "bytes": [document.raw_bytes for document in documents],
        "characters": document_chars,
        "paragraphs": counts.astype(np.int32),
        "text_sha256": text_sha256,
    }
    return pa.table(columns, schema=schema_without("documents", "words", "run_id"))


def _title(texts: NormalisedTexts, first: int, count: int) -> str | None:
    """Return the first paragraph as title, if it is a short line with others behind it."""
    start, end = texts.starts[first], texts.ends[first]
    if count < 2 or end - start > 4 * _MAX_TITLE_CHARS:
        return None
    line = texts.buffer[start:end].tobytes().decode().lstrip(_TITLE_MARKS)
    is_sentence = line.endswith((".", "。", "।", ":", ";", ",")) and not line.endswith("...")
    return None if not line or is_sentence or len(line) > _MAX_TITLE_CHARS else line


def _occurrence_table(
    documents: list[ReadDocument],
    counts: Positions,
    spans: _Spans,
    digests: Bytes,
    texts: NormalisedTexts,
) -> pa.Table:
    ids = pa.array([document_id_of(document.sha256) for document in documents], pa.string())
    owner = np.repeat(np.arange(len(documents)), counts)
    firsts = np.cumsum(counts) - counts
    shift_offsets = pa.array(texts.shift_offsets.astype(np.int32))
    columns: dict[str, Any] = {
        "document_id": ids.take(pa.array(owner)),
        "ordinal": (np.arange(len(owner)) - firsts[owner]).astype(np.int32),
        "text_id": hex_strings(digests),
        "start_char": spans.start_char,
        "end_char": spans.end_char,
        "start_byte": spans.start_byte,
        "end_byte": spans.end_byte,
        "shift_at": pa.ListArray.from_arrays(shift_offsets, pa.array(texts.shift_at)),
        "shift_by": pa.ListArray.from_arrays(shift_offsets, pa.array(texts.shift_by)),
    }
    return pa.table(columns).cast(TABLES["occurrences"])
