"""Verify an archive: its tables alone, then its texts against documents and raw files.

Nothing is written. Raw files are read one at a time; the texts and occurrences of the archive are
kept in memory as columns, which take a little more space than the tables themselves.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from palimpsest.dedup.index.segments import check_segment, empty_keys
from palimpsest.evidence.raw import group_by_file, reread_documents
from palimpsest.ingest.document import JSON, PAGE
from palimpsest.ingest.json_line import read_line, unescape
from palimpsest.ingest.pages.anchor import reproduces
from palimpsest.ingest.text.decode import decode_span
from palimpsest.ingest.text.normalise import normalise_paragraphs
from palimpsest.kernels.arrays import Bytes
from palimpsest.kernels.columns import bytes_of, digests_of
from palimpsest.kernels.sorting import distinct_digests
from palimpsest.kernels.unicode import character_tables
from palimpsest.pipeline.index_upkeep import index_parameters
from palimpsest.records.errors import ContractError, SourceError
from palimpsest.records.progress import READING_RAW_FILES, READING_TABLES, Report, silent
from palimpsest.records.schemas import PARAGRAPH_SEPARATOR
from palimpsest.records.settings import ReadSettings
from palimpsest.store.archive import Snapshot, StoredArchive
from palimpsest.store.checks import (
    FROM_BACKUP,
    Check,
    Failure,
    check_files,
    check_identity,
    check_rules,
    damage_reason,
)

_BYTE_ORDER_MARKS = (
    codecs.BOM_UTF32_LE,
    codecs.BOM_UTF32_BE,
    codecs.BOM_UTF8,
    codecs.BOM_UTF16_LE,
    codecs.BOM_UTF16_BE,
)
_NO_BYTE = int(np.iinfo(np.int64).min)
_LEFT_OUT = "left out by --tables-only"
_NO_DOCUMENT = "its document is not in the archive"
_NO_RAW = "no source of the document could be read as it was"
_TABLE_CHECKS = ("keys", "references", "conservation", "identity", "lossless", "passages")
_TABLES_IN_MEMORY = {"documents", "occurrences", "paragraphs", "variants"}
_REPORT_EVERY = 100


@dataclass(frozen=True, slots=True)
class Verification:
    """The results of the checks of one version."""

    version: int
    checks: list[Check]

    @property
    def failed(self) -> int:
        """Number of failures in all checks."""
        return sum(check.failed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return the verification as plain values."""
        return {"version": self.version, "failed": self.failed} | {
            "checks": [asdict(check) for check in self.checks]
        }


def verify(
    archive: StoredArchive,
    snapshot: Snapshot,
    *,
    tables_only: bool = False,
    report: Report = silent,
) -> Verification:
    """Check a version of an archive, and the raw files that are still available.

    - files: rows, bytes and schemas are as declared, and every page can be read
    - keys, references, conservation: keys are unique, references resolve, counts agree
    - identity: ids are digests of content
    - lossless: every document can be rebuilt from the tables, byte for byte
    - passages: the passages of overlaps are the texts of their spans
    - fixity: raw files are unchanged since they were read
    - index: it is complete, and contains exactly the texts and documents of the tables
    - spans: every span of a text contains that text in the raw file, in bytes and in characters

    Args:
        archive: its index is checked if ``snapshot`` is the current version.
        snapshot: the version to check.
        tables_only: leave out fixity and spans.
        report: called with the progress.
    """
    files, sound = check_files(snapshot)
    checks = [files]
    contents = _ArchiveContents(snapshot) if sound >= _TABLES_IN_MEMORY else None
    for check in _check_tables(snapshot, contents, sound):
        checks.append(check)
        report(READING_TABLES, len(checks), len(_TABLE_CHECKS) + 1)
    checks.append(_check_index(archive, snapshot, sound))
    checks += _check_raw(snapshot, contents, sound, report, tables_only=tables_only)
    return Verification(snapshot.manifest.version, checks)


def _check_index(archive: StoredArchive, snapshot: Snapshot, sound: set[str]) -> Check:
    """Check that the index is undamaged and matches the tables of the current version."""
    check = Check("index")
    segments = snapshot.manifest.segments
    if archive.snapshot().manifest.version != snapshot.manifest.version:
        check.skip(len(segments), "the index is that of the current version")
        return check
    damaged = sorted({"paragraphs", "variants", "documents"} - sound)
    if damaged:
        check.skip(len(segments), damage_reason(damaged))
        return check
    indexed: dict[str, list[Bytes]] = {"texts": [], "documents": []}
    for name, folder in zip(segments, archive.segments(segments), strict=True):
        try:
            segment = check_segment(folder, index_parameters(snapshot.settings()))
        except ContractError as error:
            check.fail(Failure("index", name, str(error), "a whole segment", "palimpsest reindex"))
            continue
        check.passed += 1
        indexed["texts"].append(segment.texts)
        indexed["documents"].append(segment.documents)
    expected = {
        "texts": [
            digests_of(snapshot.read(name, [key]).column(key))
            for name, key in (("paragraphs", "paragraph_id"), ("variants", "text_id"))
        ],
        "documents": [digests_of(snapshot.read("documents", ["document_id"]).column(0))],
    }
    for kind, parts in expected.items() if not check.failed else ():
        in_tables, in_index = np.concatenate(parts), np.concatenate([empty_keys(), *indexed[kind]])
        if len(in_tables) == len(in_index) and np.array_equal(
            distinct_digests(in_tables), distinct_digests(in_index)
        ):
            check.passed += 1
        else:
            found, needed = f"{len(in_index)} {kind}", f"the {len(in_tables)} of the tables"
            check.fail(Failure("index", kind, found, needed, "palimpsest reindex"))
    return check


def _check_tables(
    snapshot: Snapshot, contents: _ArchiveContents | None, sound: set[str]
) -> Iterator[Check]:
    for name in _TABLE_CHECKS:
        if name == "identity":
            yield check_identity(snapshot, sound)
        elif name == "lossless":
            yield _check_lossless(snapshot, contents, sound)
        else:
            yield check_rules(snapshot, name, sound)


@dataclass(frozen=True, slots=True)
class _Occurrences:
    """The occurrences of texts in a document, in order.

    Attributes:
        texts: UTF-8; None if the text is not in the archive.
        spans: start and end in characters, then in bytes (or ``_NO_BYTE``).
        fragments: start and end of each, counted from the start byte of the span; empty if the
            span is a single fragment.
    """

    ordinals: list[int]
    texts: list[bytes | None]
    spans: list[tuple[int, int, int, int]]
    fragments: list[list[tuple[int, int]]]


class _ArchiveContents:
    """Documents, occurrences and texts of an archive as columns."""

    def __init__(self, snapshot: Snapshot) -> None:
        parts = [
            snapshot.read(name, [key, "text"]).rename_columns(["text_id", "text"])
            for name, key in (("paragraphs", "paragraph_id"), ("variants", "text_id"))
        ]
        texts = pa.concat_tables(parts)
        names = ["start_char", "end_char", "start_byte", "end_byte"]
        lists = ["stretch_start", "stretch_end"]
        columns = ["document_id", "ordinal", "text_id", *names, *lists]
        occurrences = snapshot.read("occurrences", columns)
        occurrences = occurrences.sort_by([("document_id", "ascending"), ("ordinal", "ascending")])
        number = pc.index_in(occurrences.column("text_id"), value_set=texts.column("text_id"))
        self._text_number = number.fill_null(-1).to_numpy().astype(np.int64)
        self._buffer, self._offsets = bytes_of(texts.column("text"))
        self._ordinal = occurrences.column("ordinal").to_numpy()
        bounds = [occurrences.column(name).fill_null(_NO_BYTE).to_numpy() for name in names]
        self._spans = np.stack(bounds, axis=1)
        self._fragments = [occurrences.column(name).combine_chunks() for name in lists]
        self._rows_of_document = _ranges_of_values(occurrences.column("document_id"))
        columns = ["document_id", "sha256", "media_type", "encoding", "characters", "text_sha256"]
        rows = snapshot.read("documents", columns).to_pylist()
        self.documents: dict[str, dict[str, Any]] = {row["document_id"]: row for row in rows}

    def occurrences(self, document_id: str) -> _Occurrences:
        """Return the occurrences of texts in a document."""
        rows = slice(*self._rows_of_document.get(document_id, (0, 0)))
        texts = [
            None if k < 0 else self._buffer[self._offsets[k] : self._offsets[k + 1]].tobytes()
            for k in self._text_number[rows]
        ]
        spans = [tuple(row) for row in self._spans[rows].tolist()]
        bounds = (column[rows].to_pylist() for column in self._fragments)
        fragments = [list(zip(*pair, strict=True)) for pair in zip(*bounds, strict=True)]
        return _Occurrences(self._ordinal[rows].tolist(), texts, spans, fragments)


def _ranges_of_values(values: pa.ChunkedArray) -> dict[str, tuple[int, int]]:
    """Return the half-open range of rows of each value of a sorted column."""
    if not len(values):
        return {}
    encoded = pc.run_end_encode(values.combine_chunks())
    ends = encoded.run_ends.to_pylist()
    return dict(zip(encoded.values.to_pylist(), zip([0, *ends], ends, strict=False), strict=True))


def _check_lossless(
    snapshot: Snapshot, contents: _ArchiveContents | None, sound: set[str]
) -> Check:
    check = Check("lossless")
    if contents is None:
        check.skip(snapshot.rows("documents"), damage_reason(sorted(_TABLES_IN_MEMORY - sound)))
        return check
    for document_id, document in contents.documents.items():
        occurrences = contents.occurrences(document_id)
        lost = [
            str(ordinal)
            for ordinal, text in zip(occurrences.ordinals, occurrences.texts, strict=True)
            if text is None
        ]
        joined = PARAGRAPH_SEPARATOR.encode().join(
            text for text in occurrences.texts if text is not None
        )
        sha256 = hashlib.sha256(joined).hexdigest()
        if sha256 == document["text_sha256"] and not lost:
            check.passed += 1
            continue
        found = f"no text at {', '.join(lost)}" if lost else sha256
        check.fail(
            Failure("text_sha256", document_id, found, str(document["text_sha256"]), FROM_BACKUP)
        )
    return check


def _check_raw(
    snapshot: Snapshot,
    contents: _ArchiveContents | None,
    sound: set[str],
    report: Report,
    *,
    tables_only: bool,
) -> list[Check]:
    """Check fixity and spans; each raw file is read once."""
    fixity, spans = Check("fixity"), Check("spans")
    damaged = sorted((_TABLES_IN_MEMORY | {"sources"}) - sound)
    if tables_only or contents is None or damaged:
        reason = _LEFT_OUT if tables_only else damage_reason(damaged)
        fixity.skip(snapshot.rows("sources"), reason)
        spans.skip(snapshot.rows("occurrences"), reason)
        return [fixity, spans]
    rows = snapshot.read("sources", ["uri", "document_id", "run_id"])
    rows = rows.sort_by([("uri", "ascending"), ("run_id", "ascending")])
    pending = set(contents.documents)
    done = 0
    read = snapshot.settings().read
    columns = (rows.column(name).to_pylist() for name in ("uri", "document_id"))
    for uris in group_by_file(zip(*columns, strict=True)):
        for uri, raw, fault in reread_documents(list(uris), read):
            versions = uris[uri]
            sha256 = _check_fixity(
                uri, raw, fault, versions=versions, contents=contents, check=fixity
            )
            for document_id in versions:
                document = contents.documents.get(document_id)
                if document and document_id in pending and document["sha256"] == sha256:
                    pending.discard(document_id)
                    _check_spans(
                        raw,
                        document,
                        uri,
                        occurrences=contents.occurrences(document_id),
                        settings=read,
                        check=spans,
                    )
            done += len(versions)
            if done % _REPORT_EVERY == 0 or done == rows.num_rows:
                report(READING_RAW_FILES, done, rows.num_rows)
    for document_id in pending:
        spans.skip(len(contents.occurrences(document_id).ordinals), _NO_RAW)
    counted = spans.passed + spans.failed + spans.not_checked
    spans.skip(snapshot.rows("occurrences") - counted, _NO_DOCUMENT)
    return [fixity, spans]


def _check_fixity(
    uri: str,
    raw: bytes,
    fault: SourceError | None,
    *,
    versions: list[str],
    contents: _ArchiveContents,
    check: Check,
) -> str | None:
    """Check each document that was read from a URI against the file as it is now.

    Returns:
        The SHA-256 of the file as it is now; None if it is not available.
    """
    if fault is not None:
        check.skip(len(versions), f"the file is not available ({fault.reason})")
        return None
    sha256 = hashlib.sha256(raw).hexdigest()
    recorded = [contents.documents.get(document_id, {}).get("sha256") for document_id in versions]
    for number, document_sha256 in enumerate(recorded):
        if document_sha256 == sha256:
            check.passed += 1
        elif document_sha256 is None:
            check.skip(1, _NO_DOCUMENT)
        elif sha256 in recorded[number + 1 :]:
            check.skip(1, "the file was replaced since, and read again")
        else:
            advice = "the raw file has changed: restore it, or ingest it again as it is now"
            found = f"{len(raw)} bytes with SHA-256 {sha256}"
            check.fail(Failure("raw file", uri, found, f"SHA-256 {document_sha256}", advice))
    return sha256


def _check_spans(
    raw: bytes,
    document: dict[str, Any],
    uri: str,
    *,
    occurrences: _Occurrences,
    settings: ReadSettings,
    check: Check,
) -> None:
    """Check that each span of a document contains its text, in bytes and in characters."""
    document_id, encoding = document["document_id"], document["encoding"]
    if document["media_type"] == PAGE:
        _check_anchors(raw, document, uri, occurrences, check)
        return
    if document["media_type"] == JSON:
        decoded, decode_cut = (
            _json_text(raw, settings.text_fields, document["characters"]),
            unescape,
        )
    else:
        decoded = _decode_whole(raw, encoding, document["characters"])
        decode_cut = partial(decode_span, encoding=encoding)
    if decoded is None:
        for ordinal in occurrences.ordinals:
            expected = f"{document['characters']} characters of {encoding}"
            place = f"{document_id} at {ordinal}, {uri}"
            check.fail(Failure("decoded text", place, "another length", expected, FROM_BACKUP))
        return
    from_bytes = [_cut_bytes(raw, span[2], span[3], decode_cut) for span in occurrences.spans]
    from_chars = [_cut_characters(decoded, span[0], span[1]) for span in occurrences.spans]
    normalised = iter(_normalise([cut for cut in (*from_bytes, *from_chars) if cut is not None]))
    by_bytes = [None if cut is None else next(normalised) for cut in from_bytes]
    by_chars = [None if cut is None else next(normalised) for cut in from_chars]
    for number, text in enumerate(occurrences.texts):
        start_char, end_char, start_byte, end_byte = occurrences.spans[number]
        cuts = [("characters", start_char, end_char, by_chars[number])]
        if (start_byte, end_byte) != (
            _NO_BYTE,
            _NO_BYTE,
        ):  # otherwise it has no anchor in the raw file
            cuts.append(("bytes", start_byte, end_byte, by_bytes[number]))
        wrong = [cut for cut in cuts if text is None or cut[3] != text]
        if not wrong:
            check.passed += 1
            continue
        unit, start, end, found = wrong[0]
        place = f"{document_id} at {occurrences.ordinals[number]}, {uri}, {unit} {start}-{end}"
        check.fail(Failure(f"span in {unit}", place, _quote(found), _quote(text), FROM_BACKUP))


def _decode_whole(raw: bytes, encoding: str, characters: int) -> str | None:
    """Return a decoded raw file without its byte order mark; None if it cannot be decoded.

    The length of the text shows whether the first bytes were a mark or only look like one.
    """
    starts = [len(mark) for mark in _BYTE_ORDER_MARKS if raw.startswith(mark)]
    for start in (*starts, 0):
        try:
            text = decode_span(raw[start:], encoding)
        except (ValueError, LookupError):  # not in this encoding, or there is no such encoding
            continue
        if len(text) == characters:
            return text
    return None


def _check_anchors(
    raw: bytes, document: dict[str, Any], uri: str, occurrences: _Occurrences, check: Check
) -> None:
    """Check that the fragments of raw bytes of each paragraph of a page contain its text."""
    for number, text in enumerate(occurrences.texts):
        start, end = occurrences.spans[number][2:]
        if start == _NO_BYTE:
            check.skip(1, "it has no anchor in the raw page")
            continue
        fragments = occurrences.fragments[number] or [(0, end - start)]
        expected_text = text.decode() if text is not None else None
        spans = [(start + first, start + last) for first, last in fragments]
        if expected_text is not None and reproduces(
            raw, spans, document["encoding"], expected_text
        ):
            check.passed += 1
            continue
        ordinal = occurrences.ordinals[number]
        place = f"{document['document_id']} at {ordinal}, {uri}, bytes {start}-{end}"
        found = _quote(raw[start:end]) if 0 <= start <= end <= len(raw) else "nothing"
        check.fail(Failure("anchor in bytes", place, found, _quote(text), FROM_BACKUP))


def _json_text(raw: bytes, fields: Sequence[str], characters: int) -> str | None:
    """Return the text of a JSON line; None if its length differs or it cannot be read."""
    try:
        text = read_line(raw, fields).text
    except SourceError:
        return None
    return text if len(text) == characters else None


def _cut_bytes(
    raw: bytes, start: int, end: int, decode_cut: Callable[[bytes], str]
) -> bytes | None:
    """Return the text of a span of raw bytes as UTF-8; None if it is outside or undecodable."""
    if not 0 <= start <= end <= len(raw):
        return None
    try:
        return decode_cut(raw[start:end]).encode()
    except ValueError:
        return None


def _cut_characters(text: str, start: int, end: int) -> bytes | None:
    """Return a span of decoded text as UTF-8; None if it is outside or not encodable."""
    if not 0 <= start <= end <= len(text):
        return None
    try:
        return text[start:end].encode()
    except UnicodeError:
        return None


def _normalise(pieces: list[bytes]) -> list[bytes]:
    """Return each piece of text as ``normalise_text`` returns it."""
    if not pieces:
        return []
    bounds = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    buffer = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    texts = normalise_paragraphs(buffer, bounds[:-1], bounds[1:], character_tables())
    joined = texts.buffer.tobytes()
    spans = zip(texts.starts.tolist(), texts.ends.tolist(), strict=True)
    return [joined[start:end] for start, end in spans]


def _quote(text: bytes | None) -> str:
    return "nothing" if text is None else repr(text.decode("utf-8", "replace")[:80])
