"""Web archives written by warcio: every document that warcio reads back is read here too."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import random
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from palimpsest.ingest.containers import walk
from palimpsest.ingest.containers.member import Limits, Member, RefusedMember
from palimpsest.ingest.containers.warc_file import is_compressed_by_record
from palimpsest.ingest.containers.warc_file import walk as walk_warc
from palimpsest.ingest.containers.warc_file import walk_compressed_records as walk_gzipped_records
from tests.strategies import max_examples

LIMITS = Limits(max_document_bytes=2**20)
DATE = "2024-05-06T07:08:09Z"
_BORDERS = (64 * 1024, 128 * 1024, 256 * 1024)
"""Multiples of the size of a buffer."""


class Sent(NamedTuple):
    """A record to write: its type, its body, and how the body is transferred."""

    kind: str
    body: bytes
    encoding: str = ""
    chunk_bytes: int = 0


class Trickle(io.BytesIO):
    """A file whose reads return at most ``at_most`` bytes, so that any place can be a border."""

    at_most = 2**20

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return super().read()
        return super().read(min(size, self.at_most))


class WriterWithoutDigests(WARCWriter):  # type: ignore[misc]  # warcio has no types
    def ensure_digest(self, record: Any, **_: Any) -> None:
        super().ensure_digest(record, block=False, payload=False)


def transferred(record: Sent) -> bytes:
    """Return the body as it is sent: compressed, then cut into chunks."""
    body = record.body
    if record.encoding == "gzip":
        body = gzip.compress(body, mtime=0)
    elif record.encoding == "deflate":
        body = zlib.compress(body)
    if not record.chunk_bytes:
        return body
    pieces = [body[at : at + record.chunk_bytes] for at in range(0, len(body), record.chunk_bytes)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def write_warc(
    records: list[Sent], *, by_record: bool = False, digests: bool = True, version: str = "1.0"
) -> bytes:
    """Return a web archive as warcio writes it.

    Args:
        records: to write, in this order; a revisit repeats the last response before it.
        by_record: compress each record separately.
        digests: include them.
        version: of the format, 1.0 or 1.1.
    """
    file = io.BytesIO()
    writer_class = WARCWriter if digests else WriterWithoutDigests
    writer = writer_class(file, gzip=by_record, warc_version=version)
    last = b""
    for number, one in enumerate(records):
        uri = f"https://example.org/{number}"
        name = f"<urn:uuid:00000000-0000-0000-0000-{number:012}>"
        dated = {"WARC-Date": DATE, "WARC-Record-ID": name}
        body = transferred(one)
        headers = [("Content-Type", "text/html; charset=utf-8")]
        if one.encoding:
            headers.append(("Content-Encoding", one.encoding))
        if one.chunk_bytes:
            headers.append(("Transfer-Encoding", "chunked"))
        http = StatusAndHeaders("200 OK", headers, protocol="HTTP/1.1")
        if one.kind == "response":
            last = body
            record = writer.create_warc_record(
                uri,
                one.kind,
                io.BytesIO(body),
                len(body),
                warc_headers_dict=dated,
                http_headers=http,
            )
        elif one.kind == "revisit":
            digest = f"sha1:{base64.b32encode(hashlib.sha1(last).digest()).decode()}"
            record = writer.create_revisit_record(
                uri, digest, uri, DATE, http_headers=http, warc_headers_dict=dated
            )
        elif one.kind == "request":
            asked = [("Host", "example.org")]
            http = StatusAndHeaders("POST / HTTP/1.1", asked, is_http_request=True)
            record = writer.create_warc_record(
                uri,
                one.kind,
                io.BytesIO(body),
                len(body),
                warc_headers_dict=dated,
                http_headers=http,
            )
        elif one.kind == "warcinfo":
            record = writer.create_warcinfo_record("pages.warc", {"note": one.body.hex()})
        else:
            media_type = "text/html" if one.kind == "resource" else "text/plain"
            record = writer.create_warc_record(
                uri, one.kind, io.BytesIO(body), len(body), media_type, warc_headers_dict=dated
            )
        writer.write_record(record)
    return file.getvalue()


def read_with_warcio(raw: bytes) -> list[tuple[str, str, bytes]]:
    """Return offset, address and body of each document, a revisit with the body that it repeats."""
    found: list[tuple[str, str, bytes]] = []
    bodies: dict[str | None, bytes] = {}
    reader = ArchiveIterator(io.BytesIO(raw), check_digests="raise")
    for record in reader:
        body = record.content_stream().read()
        digest = record.rec_headers.get_header("WARC-Payload-Digest")
        if record.rec_type == "revisit":
            if digest not in bodies:
                continue
            body = bodies[digest]
        elif record.rec_type not in ("response", "resource", "conversion"):
            continue
        bodies.setdefault(digest, body)
        uri = record.rec_headers.get_header("WARC-Target-URI")
        found.append((f"offset={reader.get_record_offset()}", uri, body))
    return found


def assert_read_like_warcio(raw: bytes, found: Iterator[Member | RefusedMember]) -> None:
    read = list(found)
    refused = [
        one for one in read if isinstance(one, RefusedMember) and one.reason != "revisit-unresolved"
    ]
    assert not refused
    members = [(one.inside, one.target_uri, one.raw) for one in read if isinstance(one, Member)]
    assert members == read_with_warcio(raw)


def page(chance: random.Random, size: int) -> bytes:
    words = " ".join(f"w{chance.randrange(16**5):x}" for _ in range(size // 6))
    return f"<html><body><p>{words}</p></body></html>".encode()


def pairs(count: int, seed: int = 18) -> list[Sent]:
    """Return responses of 1 to 30 kB, each followed by its request."""
    chance = random.Random(seed)
    records = []
    for _ in range(count):
        records.append(Sent("response", page(chance, chance.randrange(1000, 30000))))
        records.append(Sent("request", b""))
    return records


@pytest.mark.parametrize("by_record", [False, True])
def test_pages_of_a_long_archive_are_all_read(by_record: bool) -> None:
    raw = write_warc(pairs(400), by_record=by_record)
    assert_read_like_warcio(raw, walk(io.BytesIO(raw), "pages.warc", LIMITS))


@pytest.mark.parametrize("border", _BORDERS)
def test_record_head_is_read_wherever_a_buffer_ends_in_it(border: int) -> None:
    first = len(write_warc([Sent("response", b"")]))
    for before in range(0, 700, 7):
        body = b"x" * (border - first - before)
        raw = write_warc([Sent("response", body), Sent("request", b""), Sent("response", b"end")])
        assert_read_like_warcio(raw, walk(io.BytesIO(raw), "pages.warc", LIMITS))


@pytest.mark.parametrize("size", [1000, 300_000, 2**19])
def test_archive_compressed_as_a_whole_is_read_however_long_its_first_record(size: int) -> None:
    chance = random.Random(size)
    raw = write_warc([Sent("response", page(chance, size)), *pairs(3)])
    packed = gzip.compress(raw, mtime=0)
    assert not is_compressed_by_record(io.BytesIO(packed), LIMITS)
    assert_read_like_warcio(raw, walk(io.BytesIO(packed), "pages.warc.gz", LIMITS))


_PIECES = (
    b"A page. ",
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"WARC/1.0",
    b"\r\nWARC/1.0\r\nWARC-Type: response\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"5\r\n",
    b"0\r\n\r\n",
    b"\0",
    b"\x1f\x8b\x08",
    gzip.compress(b"WARC/1.0\r\n", mtime=0),
)
_KINDS = ("response", "request", "revisit", "metadata", "resource", "conversion", "warcinfo")
bodies = st.one_of(
    st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join),
    st.binary(max_size=40),
    st.tuples(st.sampled_from(_BORDERS), st.integers(-900, 20)).map(lambda at: b"y" * sum(at)),
)
responses = st.builds(
    Sent,
    st.just("response"),
    bodies,
    st.sampled_from(["", "gzip", "deflate"]),
    st.sampled_from([0, 0, 7, 5000]),
)
others = st.tuples(st.sampled_from(_KINDS), bodies).map(lambda drawn: Sent(*drawn))
records = st.lists(responses | others, max_size=8)


@max_examples(200)
@given(
    records=records,
    by_record=st.booleans(),
    digests=st.booleans(),
    version=st.sampled_from(["1.0", "1.1"]),
    at_most=st.sampled_from([5, 17, 600, 4096, 2**20]),
)
def test_archives_of_warcio_are_read_as_warcio_reads_them(
    records: list[Sent], by_record: bool, digests: bool, version: str, at_most: int
) -> None:
    raw = write_warc(records, by_record=by_record, digests=digests, version=version)
    file = Trickle(raw)
    file.at_most = at_most
    found = (
        walk_gzipped_records(file, LIMITS) if by_record else walk_warc(file, "pages.warc", LIMITS)
    )
    assert_read_like_warcio(raw, found)
