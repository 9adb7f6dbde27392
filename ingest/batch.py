"""Turn a batch of found files into documents, paragraphs, texts and rejects, column by column."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from palimpsest.ingest.document import PLAIN, Document, read_documents
from palimpsest.ingest.finding.discover import microseconds_of, uri_of
from palimpsest.ingest.finding.found import FoundFile
from palimpsest.ingest.finding.sources import Refused, Source, Walked, facts_of, walk_file
from palimpsest.ingest.metadata.facts import Folders
from palimpsest.ingest.pages.extract_pool import Extractors
from palimpsest.ingest.pages.page import NOWHERE
from palimpsest.ingest.text.decode import decode_span
from palimpsest.ingest.text.layout import lay_out
from palimpsest.ingest.text.normalise import NormalisedTexts, normalise_paragraphs, normalise_text
from palimpsest.kernels.arrays import Bytes, Positions
from palimpsest.kernels.compiled import inlined, kernel
from palimpsest.kernels.digest import digest_spans
from palimpsest.kernels.unicode import character_tables
from palimpsest.records.arrow import integers, lists, numbers, strings, table_of, times, times_at
from palimpsest.records.document_facts import DOCUMENT_FACTS, FACT_NAMES, DocumentFacts
from palimpsest.records.errors import SourceError
from palimpsest.records.ids import DIGEST_BYTES, document_id_of, hex_strings
from palimpsest.records.schemas import TABLES, schema_without
from palimpsest.records.settings import ReadSettings

PART_BYTES = 32 * 2**20
"""A batch whose documents have more bytes than this, as containers may, is read in parts."""
_MAX_TITLE_CHARS = 200
_STEP = 64
_TITLE_MARKS = "#-=* \t"
_NO_VALUES: tuple[tuple[Any, ...], ...] = ((),) * len(FACT_NAMES)


class _SourceDocument(NamedTuple):
    """A source and the document in it, with the facts known from this source."""

    source: Source
    sha256: str
    facts: DocumentFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The rows of a batch of files, or of a part of it.

    Attributes:
        sources, rejects, containers: tables of the schemas of that name, without ``run_id``.
        documents: table of the schema ``documents``, without ``words`` and ``run_id``; each once,
            with the facts of one of its sources.
        occurrences: table of the schema ``occurrences``, in the order of documents and paragraphs.
        digests: uint8, shape (paragraphs, 16): the digest of each paragraph's text.
        texts: the paragraphs' normalised texts.
        read: the documents, in the order of the table.
        found: number of sources in the files, readable or not.
        bytes_read: bytes of all documents read, repeated ones included.
    """

    sources: pa.Table
    rejects: pa.Table
    containers: pa.Table
    documents: pa.Table
    occurrences: pa.Table
    digests: Bytes
    texts: NormalisedTexts
    read: list[Document]
    found: int
    bytes_read: int


@dataclass(slots=True)
class _Part:
    """The sources of a part of a batch."""

    sources: list[Source] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    walked: list[Walked] = field(default_factory=list)
    raw_bytes: int = 0


def read_batch(
    files: Sequence[FoundFile], settings: ReadSettings, extractors: Extractors | None = None
) -> Batch:
    """Read a batch of files; an unreadable one becomes a reject, and does not stop the rest."""
    [batch] = read_parts(files, settings, extractors, sys.maxsize)
    return batch


def read_parts(
    files: Sequence[FoundFile],
    settings: ReadSettings,
    extractors: Extractors | None = None,
    part_bytes: int = PART_BYTES,
) -> Iterator[Batch]:
    """Yield a batch of files in parts, at least one.

    Args:
        files: to read.
        settings: how to read them.
        extractors: the processes that extract pages; by default one, for this call only.
        part_bytes: a part ends once its documents have this many bytes.
    """
    if extractors is None:
        with Extractors(1, settings.page_seconds) as alone:
            yield from read_parts(files, settings, alone, part_bytes)
        return
    part, counted, read_any = _Part(), Counter[str](), False
    folders = Folders(found.path for found in files)
    for found in files:
        for item in walk_file(found, settings, folders):
            if isinstance(item, Source):
                part.sources.append(item)
                part.raw_bytes += len(item.member.raw)
            elif isinstance(item, Refused):
                part.refused.append(item)
            else:
                part.walked.append(item)
            if part.raw_bytes >= part_bytes:
                yield _read_part(part, counted, settings, extractors)
                part, read_any = _Part(), True
    if part.sources or part.refused or part.walked or not read_any:
        yield _read_part(part, counted, settings, extractors)


def reject_table(rejects: Sequence[tuple[str, int | None, int | None, str, str]]) -> pa.Table:
    """Return rejects as a table without ``run_id``.

    Args:
        rejects: URI, size in bytes, modification time in nanoseconds, reason, detail.
    """
    uris, sizes, modified, reasons, details = zip(*rejects, strict=True) if rejects else ((),) * 5
    columns = {
        "uri": strings(uris),
        "bytes": integers(sizes, np.int64),
        "modified_at": times_at(None if one is None else microseconds_of(one) for one in modified),
        "reason": strings(reasons),
        "detail": strings(one.encode("utf-8", "backslashreplace").decode() for one in details),
    }
    return table_of(columns, schema_without("rejects", "run_id"))


def _read_part(
    part: _Part, counted: Counter[str], settings: ReadSettings, extractors: Extractors
) -> Batch:
    """Read the sources of a part, and add those in containers to ``counted``."""
    hashes = [hashlib.sha256(source.member.raw).hexdigest() for source in part.sources]
    members = {
        sha256: (sha256, source.member, source.name)
        for source, sha256 in zip(part.sources, hashes, strict=True)
    }
    results = read_documents(list(members.values()), settings, extractors)
    faults = {
        sha256: result
        for sha256, result in zip(members, results, strict=True)
        if isinstance(result, SourceError)
    }
    laid = _lay_out([one for one in results if isinstance(one, Document)], settings, faults)
    facts = {
        document.sha256: _facts_with_title(document, laid.texts, first, count)
        for document, first, count in zip(
            laid.documents, laid.firsts.tolist(), laid.counts.tolist(), strict=True
        )
    }
    refused, placed = list(part.refused), []
    for source, sha256 in zip(part.sources, hashes, strict=True):
        if sha256 in faults:
            refused.append(_refused(source, faults[sha256]))
        else:
            placed.append(
                _SourceDocument(source, sha256, facts_of(source, facts[sha256], settings))
            )
    counted.update(f"{one.uri.partition('#')[0]} rejects" for one in refused if one.kind)
    in_containers = [one.source.uri for one in placed if one.source.kind]
    counted.update(f"{uri.partition('#')[0]} sources" for uri in in_containers)
    digests = digest_spans(laid.texts.buffer, laid.texts.starts, laid.texts.ends)
    rejects = [(f.uri, f.size_bytes, f.modified_ns, f.reason, f.detail) for f in refused]
    return Batch(
        sources=_source_table(placed),
        rejects=reject_table(rejects),
        containers=_container_table(part.walked, counted),
        documents=_document_table(laid, placed),
        occurrences=_occurrence_table(laid, digests),
        digests=digests,
        texts=laid.texts,
        read=laid.documents,
        found=len(part.sources) + len(part.refused),
        bytes_read=sum(len(source.member.raw) for source in part.sources),
    )


def _refused(source: Source, error: SourceError) -> Refused:
    return Refused(
        found=source.found,
        uri=source.uri,
        kind=source.kind,
        size_bytes=source.size_bytes,
        modified_ns=None if source.kind else source.modified_ns,
        reason=error.reason,
        detail=error.detail,
    )


@dataclass(frozen=True, slots=True)
class _Laid:
    """Documents laid out in paragraphs.

    Attributes:
        documents: those with paragraphs whose spans are exact.
        counts: int64, shape (documents,), paragraphs of each.
        characters: int64, shape (documents,), of each text.
        texts: normalised, of all paragraphs in order.
        start_char, end_char: int64, shape (paragraphs,), in the text of the document.
        start_byte, end_byte: int64, shape (paragraphs,), in the raw bytes; ``NOWHERE`` for a
            paragraph without an anchor.
        fragments: for paragraphs with several, where these begin and end, in bytes.
    """

    documents: list[Document]
    counts: Positions
    characters: Positions
    texts: NormalisedTexts
    start_char: Positions
    end_char: Positions
    start_byte: Positions
    end_byte: Positions
    fragments: dict[int, tuple[Positions, Positions]]

    @property
    def firsts(self) -> Positions:
        """The number of the first paragraph of each document."""
        firsts: Positions = np.cumsum(self.counts) - self.counts
        return firsts


def _lay_out(
    documents: list[Document], settings: ReadSettings, faults: dict[str, SourceError]
) -> _Laid:
    """Lay documents out without those that have to be rejected, which are added to ``faults``."""
    tables = character_tables()
    sizes = [len(document.text) for document in documents]
    offsets = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    buffer = np.frombuffer(b"".join(document.text for document in documents), np.uint8)
    starts, ends, counts = lay_out(buffer, offsets, tables, settings.max_paragraph_chars)
    texts = normalise_paragraphs(buffer, starts, ends, tables)
    bounds = np.empty(2 * len(starts), dtype=np.int64)
    bounds[0::2], bounds[1::2] = starts, ends
    bound_offsets = 2 * np.concatenate(([0], np.cumsum(counts)))
    chars, characters = _count_chars(buffer, offsets, bounds, bound_offsets)
    added = [document.offset_map.offset for document in documents]
    shift = np.array([one or 0 for one in added], dtype=np.int64) - offsets[:-1]
    raw = bounds + np.repeat(shift, 2 * counts)
    fragments: dict[int, tuple[Positions, Positions]] = {}
    for number, document in enumerate(documents):
        if added[number] is None:
            mine = slice(bound_offsets[number], bound_offsets[number + 1])
            places = document.offset_map.places(bounds[mine] - offsets[number], chars[mine])
            raw[mine][0::2], raw[mine][1::2] = places.starts, places.ends
            first = int(bound_offsets[number]) // 2
            fragments |= {first + place: spans for place, spans in places.fragments.items()}
    split = (chars[0::2], chars[1::2], raw[0::2], raw[1::2])
    laid = _Laid(documents, counts, characters, texts, *split, fragments)
    found = _find_faults(laid)
    if not found:
        return laid
    faults |= found  # rare: lay out again without them
    return _lay_out([one for one in documents if one.sha256 not in found], settings, faults)


@kernel
def _count_chars(
    buffer: Bytes, offsets: Positions, bounds: Positions, bound_offsets: Positions
) -> tuple[Positions, Positions]:
    """Convert ascending byte positions to characters; also return each document's length."""
    chars = np.empty(len(bounds), dtype=np.int64)
    lengths = np.empty(len(offsets) - 1, dtype=np.int64)
    for document in range(len(offsets) - 1):
        at, seen = offsets[document], 0
        for k in range(bound_offsets[document], bound_offsets[document + 1]):
            seen += _characters_in(buffer[at : bounds[k]])
            at = bounds[k]
            chars[k] = seen
        lengths[document] = seen + _characters_in(buffer[at : offsets[document + 1]])
    return chars, lengths


@inlined
def _characters_in(text: Bytes) -> int:
    """Return the number of characters in UTF-8; sums are kept in bytes, to be vectorised."""
    continued, at = 0, 0
    while at + _STEP <= len(text):
        step = text[at : at + _STEP]
        found: Any = np.uint8(0)
        for k in range(_STEP):
            found = np.uint8(found + np.uint8(step[k] & 0xC0 == 0x80))
        continued += found
        at += _STEP
    for k in range(at, len(text)):
        continued += text[k] & 0xC0 == 0x80
    return len(text) - continued


def _find_faults(laid: _Laid) -> dict[str, SourceError]:
    """Return errors for documents without paragraphs or with spans that do not give their text."""
    faults = {}
    paragraphs = zip(laid.documents, laid.firsts.tolist(), laid.counts.tolist(), strict=True)
    for document, first, count in paragraphs:
        if count == 0:
            detail = f"{document.raw_bytes} bytes without a visible character; expected text"
            faults[document.sha256] = SourceError("no-text", detail)
        elif document.raw_to_check is not None and not all(
            _is_reproduced(document, laid, first + k) for k in range(count)
        ):
            detail = (
                f"a paragraph cut out of {document.encoding} does not decode to the same text; "
                "convert the file to UTF-8 and ingest it again"
            )
            faults[document.sha256] = SourceError("spans-not-exact", detail)
    return faults


def _is_reproduced(document: Document, laid: _Laid, paragraph: int) -> bool:
    raw = document.raw_to_check or b""
    cut = raw[laid.start_byte[paragraph] : laid.end_byte[paragraph]]
    start, end = laid.texts.starts[paragraph], laid.texts.ends[paragraph]
    try:
        found = normalise_text(decode_span(cut, document.encoding)).encode()
    except UnicodeDecodeError:
        return False
    return found == laid.texts.buffer[start:end].tobytes()


def _facts_with_title(
    document: Document, texts: NormalisedTexts, first: int, count: int
) -> DocumentFacts:
    """Return the facts of a document, with a title from its text if it has none."""
    if document.facts.title is not None or document.media_type != PLAIN:
        return document.facts
    return document.facts._replace(title=_title(texts, first, count))


def _title(texts: NormalisedTexts, first: int, count: int) -> str | None:
    """Return the first paragraph as the title, if it is a short line with others after it."""
    start, end = texts.starts[first], texts.ends[first]
    if count < 2 or end - start > 4 * _MAX_TITLE_CHARS:
        return None
    line = texts.buffer[start:end].tobytes().decode().lstrip(_TITLE_MARKS)
    is_sentence = line.endswith((".", "。", "।", ":", ";", ",")) and not line.endswith("...")
    return None if not line or is_sentence or len(line) > _MAX_TITLE_CHARS else line


def _source_table(placed: Sequence[_SourceDocument]) -> pa.Table:
    sources = [one.source for one in placed]
    columns = {
        "uri": strings(one.uri for one in sources),
        "bytes": integers((one.size_bytes for one in sources), np.int64),
        "modified_at": times_at(microseconds_of(one.modified_ns) for one in sources),
        "document_id": strings(document_id_of(one.sha256) for one in placed),
        **_fact_columns([one.facts for one in placed]),
        "target_uri": strings(one.member.target_uri for one in sources),
        "captured_at": times(one.member.captured_at for one in sources),
    }
    return table_of(columns, schema_without("sources", "run_id"))


def _fact_columns(facts: Sequence[DocumentFacts]) -> dict[str, pa.Array]:
    """Return the columns of facts in ``documents`` and ``sources``."""
    columns: Iterable[tuple[Any, ...]] = zip(*facts, strict=True) if facts else _NO_VALUES
    return {
        fact.name: times(values) if fact.is_time else strings(values)
        for fact, values in zip(DOCUMENT_FACTS, columns, strict=True)
    }


def _container_table(walked: Sequence[Walked], counted: Counter[str]) -> pa.Table:
    uris = [uri_of(one.found.path) for one in walked]
    columns = {
        "uri": strings(uris),
        "bytes": integers((one.found.size_bytes for one in walked), np.int64),
        "modified_at": times_at(microseconds_of(one.found.modified_ns) for one in walked),
        "sources": integers((counted[f"{uri} sources"] for uri in uris), np.int64),
        "rejects": integers((counted[f"{uri} rejects"] for uri in uris), np.int64),
    }
    return table_of(columns, schema_without("containers", "run_id"))


def _document_table(laid: _Laid, placed: Sequence[_SourceDocument]) -> pa.Table:
    documents, texts = laid.documents, laid.texts
    whole = memoryview(texts.buffer.data)
    firsts = laid.firsts
    starts, ends = texts.starts[firsts].tolist(), texts.ends[firsts + laid.counts - 1].tolist()
    text_sha256 = [
        hashlib.sha256(whole[start:end]).hexdigest()
        for start, end in zip(starts, ends, strict=True)
    ]
    unanchored = np.concatenate(([0], np.cumsum(laid.start_byte == NOWHERE)))
    of_source = {one.sha256: one.facts for one in reversed(placed)}
    columns = {
        "document_id": strings(document_id_of(one.sha256) for one in documents),
        "sha256": strings(one.sha256 for one in documents),
        "media_type": strings(one.media_type for one in documents),
        "encoding": strings(one.encoding for one in documents),
        "encoding_from": strings(one.encoding_from for one in documents),
        "decode_errors": integers((one.decode_errors for one in documents), np.int32),
        **_fact_columns([of_source[document.sha256] for document in documents]),
        "extractor": strings(one.extractor for one in documents),
        "extractor_version": strings(one.extractor_version for one in documents),
        "bytes": integers((one.raw_bytes for one in documents), np.int64),
        "characters": numbers(laid.characters),
        "paragraphs": numbers(laid.counts.astype(np.int32)),
        "unanchored": numbers(
            (unanchored[firsts + laid.counts] - unanchored[firsts]).astype(np.int32)
        ),
        "text_sha256": strings(text_sha256),
    }
    return table_of(columns, schema_without("documents", "words", "run_id"))


def _occurrence_table(laid: _Laid, digests: Bytes) -> pa.Table:
    documents, texts = laid.documents, laid.texts
    ids = bytes.fromhex("".join(document_id_of(document.sha256) for document in documents))
    owner = np.repeat(np.arange(len(documents)), laid.counts)
    shift_offsets = texts.shift_offsets.astype(np.int32)
    is_nowhere = laid.start_byte == NOWHERE
    stretch_start, stretch_end = _fragment_columns(laid)
    columns = {
        "document_id": hex_strings(np.frombuffer(ids, np.uint8).reshape(-1, DIGEST_BYTES)[owner]),
        "ordinal": numbers((np.arange(len(owner)) - laid.firsts[owner]).astype(np.int32)),
        "text_id": hex_strings(digests),
        "start_char": numbers(laid.start_char),
        "end_char": numbers(laid.end_char),
        "start_byte": numbers(laid.start_byte, is_nowhere),
        "end_byte": numbers(laid.end_byte, is_nowhere),
        "shift_at": lists(shift_offsets, texts.shift_at),
        "shift_by": lists(shift_offsets, texts.shift_by),
        "stretch_start": stretch_start,
        "stretch_end": stretch_end,
    }
    return table_of(columns, TABLES["occurrences"])


def _fragment_columns(laid: _Laid) -> tuple[pa.Array, pa.Array]:
    """Return ``stretch_start`` and ``stretch_end``, counted from the paragraph's first byte."""
    counts = np.zeros(len(laid.start_byte), dtype=np.int32)
    values: tuple[list[Positions], list[Positions]] = ([], [])
    for number, fragments in laid.fragments.items():
        counts[number] = len(fragments[0])
        for column, bounds in zip(values, fragments, strict=True):
            column.append(bounds - laid.start_byte[number])
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    begins, ends = (
        lists(offsets, np.concatenate([np.empty(0, np.int64), *column]).astype(np.int32))
        for column in values
    )
    return begins, ends
