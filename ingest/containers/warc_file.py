"""Web archives (WARC, ISO 28500), record by record.

warcio reads the records; where each begins and ends is found here, so that a damaged one costs only
itself, and what a record claims to be long is never trusted further than the limits.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from typing import Any, BinaryIO, NamedTuple

from ingest.containers.member import Limits, Member, RefusedMember
from records.errors import SourceError

logging.getLogger("warcio").setLevel(logging.ERROR)  # what it mends, it tells of line by line

_MAGIC = b"WARC/"
_GZIP = b"\x1f\x8b\x08"
_HEADER_BYTES = 256 * 1024
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,15})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNK_BYTES = 64 * 1024
_CHUNK_HEAD = re.compile(rb"[0-9a-fA-F]+[ \t]*(;[^\r\n]*)?\r\n")
_KEPT_BYTES = 256 * 2**20
"""How much of what responses held is kept for revisits that come later."""
_FAULTS = (ValueError, IndexError, EOFError, AttributeError, TypeError)
_TEXTS = ("text/html", "application/xhtml+xml", "text/plain")
_READ = ("response", "resource", "conversion", "revisit")
"""Records that hold, or point to, what was published; requests, metadata and the like do not."""


class _Record(NamedTuple):
    """Where a record begins, and its bytes, or what is wrong with it."""

    offset: int
    raw: bytes
    fault: tuple[str, str] | None = None


def is_warc(head: bytes, name: str) -> bool:  # noqa: ARG001
    """Tell whether a web archive begins so."""
    return head.startswith(_MAGIC)


def is_compressed_by_record(file: BinaryIO, limits: Limits) -> bool:  # noqa: ARG001
    """Tell whether a gzip file is a web archive each of whose records is compressed by itself."""
    inner = zlib.decompressobj(31)
    try:
        told = inner.decompress(file.read(_CHUNK_BYTES), _HEADER_BYTES)
    except zlib.error:
        return False
    finally:
        file.seek(0)
    if not told.startswith(_MAGIC):
        return False
    end, length = _head_of(told)
    # If the first member holds more than the first record, it holds all of them.
    return end < 0 or len(told) <= end + length + 4


def walk(file: BinaryIO, name: str, limits: Limits) -> Iterator[Member | RefusedMember]:  # noqa: ARG001
    """Give the documents of a web archive that is not compressed, or as a whole."""
    yield from _documents(_records(file, limits), limits)


def walk_compressed_records(file: BinaryIO, limits: Limits) -> Iterator[Member | RefusedMember]:
    """Give the documents of a web archive whose records are compressed one by one."""
    yield from _documents(_compressed_records(file, limits), limits)


def _head_of(raw: bytes) -> tuple[int, int]:
    """Return where the header of a record ends, -1 if it does not, and how long its block is."""
    end = raw.find(b"\r\n\r\n", 0, _HEADER_BYTES)
    if end < 0:
        return -1, 0
    found = _LENGTH.search(raw[: end + 2].replace(b"\r\n", b"\n"))
    return (end + 4, int(found[1])) if found else (-1, 0)


def _records(file: BinaryIO, limits: Limits) -> Iterator[_Record]:
    """Cut a stream into records; behind damage, go on where the next one begins."""
    held, offset = b"", 0
    is_end = False
    while True:
        while not is_end and len(held) < _HEADER_BYTES and b"\r\n\r\n" not in held:
            more = file.read(_CHUNK_BYTES)
            is_end, held = not more, held + more
        blank = len(held) - len(held.lstrip(b"\r\n"))
        held, offset = held[blank:], offset + blank
        if not held:
            if is_end:
                return
            continue
        end, length = _head_of(held) if held.startswith(_MAGIC) else (-1, 0)
        if end < 0:
            at = offset
            held, offset, is_end = _resynchronised(file, held, offset, is_end)
            yield _Record(
                at, b"", ("damaged", f"no record begins here; {offset - at} bytes are left out")
            )
            continue
        if length > limits.max_document_bytes + _HEADER_BYTES:
            detail = f"{length} bytes; {limits.told}"
            yield _Record(offset, held[:end], ("too-large", detail))
            skipped = len(held)
            while skipped < end + length and (more := file.read(_CHUNK_BYTES)):
                skipped += len(more)
                held = more
            held = held[len(held) - (skipped - end - length) :] if skipped > end + length else b""
            offset += end + length
            continue
        while not is_end and len(held) < end + length:
            more = file.read(max(_CHUNK_BYTES, end + length - len(held)))
            is_end, held = not more, held + more
        if len(held) < end + length:
            detail = f"the record claims {length} bytes and has {len(held) - end}; fetch it again"
            yield _Record(offset, held[:end], ("damaged", detail))
            # It may be its length that is wrong.
            held, offset, is_end = _resynchronised(file, held, offset, is_end)
            continue
        yield _Record(offset, held[: end + length])
        held, offset = held[end + length :], offset + end + length


def _resynchronised(
    file: BinaryIO, held: bytes, offset: int, is_end: bool
) -> tuple[bytes, int, bool]:
    """Return what is held from where the next record seems to begin, and where that is."""
    search = 1
    while (at := held.find(b"\nWARC/1.", search - 1)) < 0:
        if is_end:
            return b"", offset + len(held), True
        keep = held[-16:]
        offset, more = offset + len(held) - len(keep), file.read(_CHUNK_BYTES)
        is_end, held, search = not more, keep + more, 1
    return held[at + 1 :], offset + at + 1, is_end


def _compressed_records(file: BinaryIO, limits: Limits) -> Iterator[_Record]:
    """Decompress records one by one; behind damage, go on where the next one begins."""
    held, offset = b"", 0
    bound = limits.max_document_bytes + _HEADER_BYTES
    while held or (held := file.read(_CHUNK_BYTES)):
        if not held.startswith(_GZIP):
            padding = len(held) - len(held.lstrip(b"\0"))
            if padding:
                held, offset = held[padding:], offset + padding
                continue
            if len(held) < len(_GZIP) and (more := file.read(_CHUNK_BYTES)):
                held += more
                continue
        start, fault, pieces, size = offset, None, [], 0
        inner = zlib.decompressobj(31)
        consumed = 0
        try:
            while not inner.eof:
                if not held:
                    held = file.read(_CHUNK_BYTES)
                    if not held:
                        raise EOFError("the file is cut off")
                piece = inner.decompress(held, _CHUNK_BYTES)
                rest = inner.unused_data if inner.eof else inner.unconsumed_tail
                consumed += len(held) - len(rest)
                held = rest
                size += len(piece)
                if size <= bound:
                    pieces.append(piece)
                elif limits.is_bomb(consumed, size):
                    fault = ("bomb", f"{consumed} bytes give more than {size}")
                    break
            offset += consumed
        except (zlib.error, EOFError) as error:
            fault = ("damaged", f"gzip: {error}; fetch the file again")
        if fault is not None:
            head = b"".join(pieces)[:_HEADER_BYTES]
            yield _Record(start, head[: max(_head_of(head)[0], 0)], fault)
            held, offset = _next_member(file, start)
            continue
        raw = b"".join(pieces)
        if size > bound:
            yield _Record(
                start,
                raw[: max(_head_of(raw)[0], 0)],
                ("too-large", f"{size} bytes; {limits.told}"),
            )
        elif raw.strip(b"\r\n"):
            yield from _whole(start, raw)


def _whole(offset: int, raw: bytes) -> Iterator[_Record]:
    end, length = _head_of(raw) if raw.startswith(_MAGIC) else (-1, 0)
    if end < 0:
        yield _Record(offset, b"", ("damaged", "it is compressed, but no record"))
    elif len(raw) < end + length:
        detail = f"the record claims {length} bytes and has {len(raw) - end}; fetch it again"
        yield _Record(offset, raw[:end], ("damaged", detail))
    elif len(raw) > end + length + 4:
        detail = "more than one record in a piece of gzip, where all others are by themselves"
        yield _Record(offset, raw[: end + length])
        yield _Record(offset + 1, b"", ("damaged", detail))
    else:
        yield _Record(offset, raw[: end + length])


def _next_member(file: BinaryIO, start: int) -> tuple[bytes, int]:
    """Return what is held from where the next compressed record seems to begin, and where it is."""
    at = start + 1
    file.seek(at)
    held = file.read(_CHUNK_BYTES)
    while held:
        found = held.find(_GZIP)
        while found >= 0:
            try:
                told = zlib.decompressobj(31).decompress(held[found : found + 4096], 64)
            except zlib.error:
                told = b""
            if told.startswith(_MAGIC):
                file.seek(at + found)
                return b"", at + found
            found = held.find(_GZIP, found + 1)
        keep = min(len(held) - 1, 4096)
        more = file.read(_CHUNK_BYTES)
        if not more:
            break
        at, held = at + len(held) - keep, held[len(held) - keep :] + more
    return b"", at + len(held)


def _documents(records: Iterator[_Record], limits: Limits) -> Iterator[Member | RefusedMember]:
    """Give the documents that records hold; a revisit is the document of the record it repeats."""
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
    """Tell whether a record that cannot be read may have held a document."""
    kind = re.search(rb"^warc-type:[ \t]*(\w+)", head, re.IGNORECASE | re.MULTILINE)
    return kind is None or kind[1].decode("ascii").lower() in _READ


def _document(
    raw: bytes, inside: str, known: dict[str, tuple[bytes, str | None, str | None]], limits: Limits
) -> tuple[Member | None, str | None]:
    """Return the document of a record, None if it holds none, and its payload's digest."""
    record = _parse(raw)
    kind = record.rec_type
    if kind not in _READ:
        return None, None
    headers = record.rec_headers
    target = _clean(headers.get_header("WARC-Target-URI"))
    digest = headers.get_header("WARC-Payload-Digest")
    body = record.raw_stream.read()
    http = record.http_headers
    told = http.get_header("Content-Type") if http else headers.get_header("Content-Type")
    media_type, charset = _content_type(told)
    if kind == "revisit":
        if digest is None or digest not in known:
            raise SourceError(
                "revisit-unresolved",
                "it repeats a record that does not stand before it in this file: "
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
    from warcio.archiveiterator import ArchiveIterator  # takes long, and few sources need it
    from warcio.exceptions import ArchiveLoadFailed

    try:
        return next(ArchiveIterator(io.BytesIO(raw + b"\r\n\r\n")))
    except StopIteration:
        raise SourceError("damaged", "no record could be read here") from None
    except (ArchiveLoadFailed, *_FAULTS) as error:
        raise SourceError("damaged", f"{type(error).__name__}: {error}"[:300]) from error


def _expect_article(kind: str, http: Any, media_type: str | None) -> None:
    if kind == "response":
        if http is None:
            raise SourceError("not-an-article", "it is not of the web (no HTTP); expected a page")
        status = http.get_statuscode()
        if status != "200":
            raise SourceError("not-an-article", f"HTTP status {status[:20]}; expected 200")
    if media_type is not None and media_type not in _TEXTS:
        raise SourceError(
            "not-an-article", f"found {media_type[:80]}; expected a page or plain text"
        )


def _payload(body: bytes, http: Any, digest: str | None, limits: Limits) -> bytes:
    """Return what a record holds, freed of how it travelled.

    Digests are of the body as it travelled (ISO 28500, 5.9), but some writers take them of the one
    that is put together from chunks.
    """
    whole = body
    if http is not None and "chunked" in (http.get_header("Transfer-Encoding") or "").lower():
        whole = _from_chunks(body)
    if digest is not None and not any(_has_digest(one, digest) for one in {body, whole}):
        raise SourceError(
            "digest-mismatch", f"its bytes do not have the digest {digest[:100]}; fetch it again"
        )
    encoding = (http.get_header("Content-Encoding") or "").lower().strip() if http else ""
    payload = _decoded(whole, encoding, limits)
    if len(payload) > limits.max_document_bytes:
        raise SourceError("too-large", limits.told)
    return payload


def _from_chunks(body: bytes) -> bytes:
    """Return what was sent in chunks; as it is if it was put together before it was archived."""
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
            "unsupported-format", f"it travelled as {encoding[:40]}, which is not read"
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
            raise SourceError("bomb", f"{len(body)} bytes give more than {len(found)}")
        if not inner.eof and len(found) <= limits.max_document_bytes:
            raise SourceError("damaged", f"its {encoding} ends too early; fetch it again")
        return found
    if encoding != "deflate" and not body.startswith(_GZIP[:2]):
        return body  # it was unpacked before it was archived
    raise SourceError("damaged", f"{encoding}: {fault}")


def _has_digest(body: bytes, told: str) -> bool:
    """Tell whether bytes have a digest; one that is not known cannot be wrong."""
    name, _, value = told.partition(":")
    name = name.strip().lower().replace("-", "")
    if name not in ("sha1", "sha256", "sha512", "md5"):
        return True
    digest = hashlib.new(name, body, usedforsecurity=False).digest()
    value = value.strip().lower().rstrip("=")
    return value in (
        digest.hex(),
        base64.b32encode(digest).decode().lower().rstrip("="),
    )


def _content_type(told: str | None) -> tuple[str | None, str | None]:
    if not told:
        return None, None
    message = Message()
    message["content-type"] = _clean(told) or "text/plain"
    charset = message.get_param("charset")
    is_named = "/" in told
    return (
        message.get_content_type() if is_named else None,
        charset.strip("\"' ")[:40] or None if isinstance(charset, str) else None,
    )


def _moment(told: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat((told or "").strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _clean(told: str | None) -> str | None:
    """Return a header's value as it may stand in a table."""
    if told is None:
        return None
    line = "".join(char for char in told.strip().strip("<>") if char.isprintable())
    return line.encode("utf-8", "replace").decode()[:4000] or None
