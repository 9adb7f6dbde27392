"""Web archives (WARC, ISO 28500), record by record.

warcio parses the records. Their bounds are found here, so that damage affects one record only, and
a declared length is not trusted beyond the limits.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.message import Message
from typing import Any, BinaryIO, NamedTuple

from palimpsest.ingest.containers.member import Limits, Member, RefusedMember
from palimpsest.records.errors import SourceError

logging.getLogger("warcio").setLevel(logging.ERROR)  # it warns of each line that it repairs

_MAGIC = b"WARC/"
_NEXT_RECORD = b"\nWARC/1."
_HEAD_END = b"\r\n\r\n"
_RECORD_END = b"\r\n\r\n"
_GZIP = b"\x1f\x8b\x08"
_GUESS_BYTES = 4096
"""How much of a possible gzip member is decompressed to see whether it contains a record."""
_HEADER_BYTES = 256 * 1024
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,15})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNK_BYTES = 64 * 1024
_CHUNK_HEAD = re.compile(rb"[0-9a-fA-F]+[ \t]*(;[^\r\n]*)?\r\n")
_KEPT_BYTES = 256 * 2**20
"""Limit of the compressed payloads that are kept for later revisits."""
_FAULTS = (ValueError, IndexError, EOFError, AttributeError, TypeError)
_TEXTS = ("text/html", "application/xhtml+xml", "text/plain")
_READ = ("response", "resource", "conversion", "revisit")
"""Records with, or pointing to, published content; requests, metadata and others are not."""


class _Record(NamedTuple):
    """Where a record begins, with its bytes, or reason and detail of its rejection."""

    offset: int
    raw: bytes
    fault: tuple[str, str] | None = None


def is_warc(head: bytes, name: str) -> bool:  # noqa: ARG001
    """Return whether a file is a web archive, by its first bytes."""
    return head.startswith(_MAGIC)


def is_compressed_by_record(file: BinaryIO, limits: Limits) -> bool:
    """Return whether a gzip file is a web archive whose records are compressed separately.

    They are if the first gzip member contains just the first record.
    """
    packed = _Window(file)
    head, size, end, length = b"", 0, -1, 0
    with suppress(zlib.error, EOFError):  # damage is reported when the records are read
        for piece in _decompressed_member(packed):
            size += len(piece)
            if end < 0:
                head += piece
                end, length = _head_of(head)
            if not head.startswith(_MAGIC[: len(head)]):
                break
            if end >= 0 and size > end + length + len(_RECORD_END):
                file.seek(0)
                return False
            if (end < 0 and len(head) > _HEADER_BYTES) or limits.is_bomb(packed.offset, size):
                break
    file.seek(0)
    return head.startswith(_MAGIC)


def walk(file: BinaryIO, name: str, limits: Limits) -> Iterator[Member | RefusedMember]:  # noqa: ARG001
    """Yield the documents of a web archive that is not compressed, or was compressed as a whole."""
    yield from _documents(_records(file, limits), limits)


def walk_compressed_records(file: BinaryIO, limits: Limits) -> Iterator[Member | RefusedMember]:
    """Yield the documents of a web archive whose records are compressed separately."""
    yield from _documents(_compressed_records(file, limits), limits)


class _Window:
    """A moving part of a file, which is extended when more bytes are needed.

    Reads may return fewer bytes than requested: only an empty one is the end of the file.

    Attributes:
        data: the bytes from ``offset`` on that have been read.
        offset: where ``data`` begins in the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.data = bytearray()  # drops bytes at its front without copying
        self.offset = 0

    def read_more(self) -> bool:
        """Extend the window; return whether the file had more bytes."""
        more = self._file.read(_CHUNK_BYTES)
        self.data += more
        return bool(more)

    def fill(self, size: int) -> bool:
        """Extend the window to ``size`` bytes; return whether the file has that many."""
        while len(self.data) < size:
            if not self.read_more():
                return False
        return True

    def drop(self, size: int) -> None:
        """Move the beginning of the window by ``size`` bytes, or to the end of the file."""
        while size > len(self.data):
            size -= len(self.data)
            self.offset += len(self.data)
            self.data.clear()
            if not self.read_more():
                return
        self.offset += size
        del self.data[:size]

    def take(self, size: int) -> bytes:
        """Return the first ``size`` bytes and drop them."""
        taken = bytes(self.data[:size])
        self.drop(len(taken))
        return taken

    def skip(self, characters: bytes) -> bool:
        """Move to the first byte not among ``characters``; return whether there is one."""
        while self.fill(1):
            others = len(self.data.lstrip(characters))
            self.drop(len(self.data) - others)
            if others:
                return True
        return False

    def skip_to(self, pattern: bytes) -> bool:
        """Move to the next ``pattern``, or to the end of the file; return whether there is one."""
        while (at := self.data.find(pattern)) < 0:
            self.drop(max(0, len(self.data) - len(pattern) + 1))
            if not self.read_more():
                self.drop(len(self.data))
                return False
        self.drop(at)
        return True

    def seek(self, offset: int) -> None:
        """Move anywhere in the file."""
        self._file.seek(offset)
        self.data.clear()
        self.offset = offset


def _head_of(raw: bytes | bytearray) -> tuple[int, int]:
    """Return where the header of a record ends, -1 if it does not, and the length of its block."""
    end = raw.find(_HEAD_END, 0, _HEADER_BYTES)
    if end < 0 or not raw.startswith(_MAGIC):
        return -1, 0
    found = _LENGTH.search(raw[: end + 2].replace(b"\r\n", b"\n"))
    return (end + len(_HEAD_END), int(found[1])) if found else (-1, 0)


def _records(file: BinaryIO, limits: Limits) -> Iterator[_Record]:
    """Cut a stream into records; after damage, continue where the next record begins."""
    window = _Window(file)
    while window.skip(b"\r\n"):
        # Separators are skipped first, since the end of a header looks like one.
        while _HEAD_END not in window.data and len(window.data) < _HEADER_BYTES:
            if not window.read_more():
                break
        offset = window.offset
        end, length = _head_of(window.data)
        if end < 0:
            _skip_to_record(window)
            detail = (
                f"no record begins here; skipped {window.offset - offset} bytes to the next one"
            )
            yield _Record(offset, b"", ("damaged", detail))
        elif length > limits.max_document_bytes + _HEADER_BYTES:
            detail = f"{length} bytes; {limits.size_detail}"
            yield _Record(offset, bytes(window.data[:end]), ("too-large", detail))
            window.drop(end + length)
        elif window.fill(end + length):
            yield _Record(offset, window.take(end + length))
        else:
            detail = f"the record declares {length} bytes but has {len(window.data) - end}"
            fault = ("damaged", f"{detail}; fetch the file again")
            yield _Record(offset, bytes(window.data[:end]), fault)
            _skip_to_record(window)  # its length may be wrong, and other records follow


def _skip_to_record(window: _Window) -> None:
    """Move to the next line that looks like the first one of a record."""
    if window.skip_to(_NEXT_RECORD):
        window.drop(1)


def _compressed_records(file: BinaryIO, limits: Limits) -> Iterator[_Record]:
    """Decompress records one by one; after damage, continue where the next one begins."""
    packed = _Window(file)
    while packed.skip(b"\0"):
        start = packed.offset
        raw, fault = _read_member(packed, limits)
        if fault is not None:
            yield _Record(start, raw[: max(_head_of(raw)[0], 0)], fault)
            _skip_to_member(packed, start)
            continue
        records = _records(io.BytesIO(raw), limits)
        first = next(records, None)
        if first is not None:
            yield first._replace(offset=start)
        if next(records, None) is not None:
            detail = "more than one record in a gzip member; expected one"
            yield _Record(start + 1, b"", ("damaged", detail))


def _read_member(packed: _Window, limits: Limits) -> tuple[bytes, tuple[str, str] | None]:
    """Decompress one gzip member.

    Returns:
        its bytes, cut off at the limit, and reason and detail of its rejection.
    """
    start, size, pieces = packed.offset, 0, []
    bound = limits.max_document_bytes + 2 * _HEADER_BYTES
    fault = None
    try:
        for piece in _decompressed_member(packed):
            size += len(piece)
            if size <= bound:
                pieces.append(piece)
            elif limits.is_bomb(packed.offset - start, size):
                fault = (
                    "bomb",
                    f"{packed.offset - start} bytes decompress to more than {size}; expected text",
                )
                break
    except (zlib.error, EOFError) as error:
        fault = ("damaged", f"gzip: {error}; fetch the file again")
    return b"".join(pieces), fault


def _decompressed_member(packed: _Window) -> Iterator[bytes]:
    """Yield the contents of the gzip member at which a window begins, and move past it.

    Raises:
        zlib.error: it is damaged, or not gzip.
        EOFError: the file ends too early.
    """
    inner = zlib.decompressobj(31)
    while not inner.eof:
        if not packed.fill(1):
            raise EOFError("the file is cut off")
        piece = inner.decompress(packed.data, _CHUNK_BYTES)
        rest = inner.unused_data if inner.eof else inner.unconsumed_tail
        packed.drop(len(packed.data) - len(rest))
        if piece:
            yield piece


def _skip_to_member(packed: _Window, start: int) -> None:
    """Move to the next gzip member after ``start`` that contains a record."""
    packed.seek(start + 1)
    while packed.skip_to(_GZIP):
        packed.fill(_GUESS_BYTES)
        try:
            head = zlib.decompressobj(31).decompress(packed.data[:_GUESS_BYTES], 64)
        except zlib.error:
            head = b""
        if head.startswith(_MAGIC):
            return
        packed.drop(1)


def _documents(records: Iterator[_Record], limits: Limits) -> Iterator[Member | RefusedMember]:
    """Yield the documents of records; a revisit has the document of the record it repeats."""
    known: dict[str, tuple[bytes, str | None, str | None]] = {}
    kept_bytes = 0
    for record in records:
        inside = f"offset={record.offset}"
        if record.fault is not None:
            if _is_of_interest(record.raw):
                yield RefusedMember(inside, None, *record.fault)
            continue
        try:
            one, digest = _document(record.raw, inside, known, limits)
        except SourceError as error:
            yield RefusedMember(inside, len(record.raw), error.reason, error.detail)
            continue
        if one is None:
            continue
        if digest is not None and digest not in known and kept_bytes < _KEPT_BYTES:
            known[digest] = (zlib.compress(one.raw, 1), one.media_type, one.charset)
            kept_bytes += len(known[digest][0]) + 200
        yield one


def _is_of_interest(head: bytes) -> bool:
    """Return whether an unreadable record may have contained a document."""
    kind = re.search(rb"^warc-type:[ \t]*(\w+)", head, re.IGNORECASE | re.MULTILINE)
    return kind is None or kind[1].decode("ascii").lower() in _READ


def _document(
    raw: bytes, inside: str, known: dict[str, tuple[bytes, str | None, str | None]], limits: Limits
) -> tuple[Member | None, str | None]:
    """Return the document of a record, or None, and its payload's digest."""
    record = _parse(raw)
    kind = record.rec_type
    if kind not in _READ:
        return None, None
    headers = record.rec_headers
    target = _clean(headers.get_header("WARC-Target-URI"))
    digest = headers.get_header("WARC-Payload-Digest")
    body = record.raw_stream.read()
    http = record.http_headers
    declared = (http or headers).get_header("Content-Type")
    media_type, charset = _content_type(declared)
    if kind == "revisit":
        if digest is None or digest not in known:
            raise SourceError(
                "revisit-unresolved",
                "it repeats a record that is not before it in this file: "
                f"{headers.get_header('WARC-Refers-To-Target-URI') or digest or 'unnamed'}",
            )
        packed, media_type, charset = known[digest]
        payload = zlib.decompress(packed)
    else:
        _expect_article(kind, http, media_type)
        payload = _payload(body, http, digest, limits)
    member = Member(
        inside,
        payload,
        media_type,
        charset,
        captured_at=_moment(headers.get_header("WARC-Date")),
        target_uri=target,
    )
    return member, digest


def _parse(raw: bytes) -> Any:
    from warcio.archiveiterator import ArchiveIterator  # slow to import, and rarely needed
    from warcio.exceptions import ArchiveLoadFailed

    try:
        return next(ArchiveIterator(io.BytesIO(raw + b"\r\n\r\n")))
    except StopIteration:
        raise SourceError("damaged", "no readable record begins here") from None
    except (ArchiveLoadFailed, *_FAULTS) as error:
        raise SourceError("damaged", f"{type(error).__name__}: {error}"[:300]) from error


def _expect_article(kind: str, http: Any, media_type: str | None) -> None:
    if kind == "response":
        if http is None:
            raise SourceError("not-an-article", "found no HTTP response; expected a page")
        status = http.get_statuscode()
        if status != "200":
            raise SourceError("not-an-article", f"HTTP status {status[:20]}; expected 200")
    if media_type is not None and media_type not in _TEXTS:
        raise SourceError(
            "not-an-article", f"found {media_type[:80]}; expected a page or plain text"
        )


def _payload(body: bytes, http: Any, digest: str | None, limits: Limits) -> bytes:
    """Return the payload of a record, without its transfer and content encodings.

    Digests are of the body as transferred (ISO 28500, 5.9), but some writers compute them after
    joining its chunks.
    """
    whole = body
    if http is not None and "chunked" in (http.get_header("Transfer-Encoding") or "").lower():
        whole = _from_chunks(body)
    if digest is not None and not any(_has_digest(one, digest) for one in {body, whole}):
        raise SourceError(
            "digest-mismatch",
            f"its bytes do not have the digest {digest[:100]}; fetch the file again",
        )
    encoding = (http.get_header("Content-Encoding") or "").lower().strip() if http else ""
    payload = _decoded(whole, encoding, limits)
    if len(payload) > limits.max_document_bytes:
        raise SourceError("too-large", limits.size_detail)
    return payload


def _from_chunks(body: bytes) -> bytes:
    """Join the chunks of a body; return it unchanged if it was archived in one piece."""
    if not _CHUNK_HEAD.match(body):
        return body
    from warcio.bufferedreaders import ChunkedDataReader

    reader = ChunkedDataReader(io.BytesIO(body))
    pieces = []
    try:
        while piece := reader.read(_CHUNK_BYTES):
            pieces.append(piece)
    except (ValueError, EOFError, OSError):
        return body
    return b"".join(pieces)


def _decoded(body: bytes, encoding: str, limits: Limits) -> bytes:
    if encoding in ("", "identity", "utf-8", "none"):
        return body
    windows = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}.get(encoding)
    if windows is None:
        raise SourceError(
            "unsupported-format",
            f"found the content encoding {encoding[:40]}; expected gzip, deflate or none",
        )
    fault: Exception | None = None
    for bits in windows:
        inner = zlib.decompressobj(bits)
        try:
            found = inner.decompress(body, limits.max_document_bytes + 1)
        except zlib.error as error:
            fault = error
            continue
        if limits.is_bomb(len(body), len(found)):
            raise SourceError("bomb", f"{len(body)} bytes decompress to more than {len(found)}")
        if not inner.eof and len(found) <= limits.max_document_bytes:
            raise SourceError("damaged", f"its {encoding} data is cut off; fetch the file again")
        return found
    if encoding != "deflate" and not body.startswith(_GZIP[:2]):
        return body  # it was decompressed before it was archived
    raise SourceError("damaged", f"{encoding}: {fault}; fetch the file again")


def _has_digest(body: bytes, expected: str) -> bool:
    """Return whether bytes have a digest; true for unknown algorithms."""
    name, _, value = expected.partition(":")
    name = name.strip().lower().replace("-", "")
    if name not in ("sha1", "sha256", "sha512", "md5"):
        return True
    digest = hashlib.new(name, body, usedforsecurity=False).digest()
    value = value.strip().lower().rstrip("=")
    return value in (
        digest.hex(),
        base64.b32encode(digest).decode().lower().rstrip("="),
    )


def _content_type(header: str | None) -> tuple[str | None, str | None]:
    if not header:
        return None, None
    message = Message()
    message["content-type"] = _clean(header) or "text/plain"
    charset = message.get_param("charset")
    is_named = "/" in header
    return (
        message.get_content_type() if is_named else None,
        charset.strip("\"' ")[:40] or None if isinstance(charset, str) else None,
    )


def _moment(header: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat((header or "").strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _clean(header: str | None) -> str | None:
    """Return a header's value as it can be stored in a table."""
    if header is None:
        return None
    line = "".join(char for char in header.strip().strip("<>") if char.isprintable())
    return line.encode("utf-8", "replace").decode()[:4000] or None
