"""Read a web page as paragraphs of text, with the position of each character in the raw bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from palimpsest.ingest.pages.anchor import Anchors, anchor
from palimpsest.ingest.pages.extract_pool import Extractors
from palimpsest.ingest.text.decode import Decoded, decode, decode_label, is_stateful
from palimpsest.records.errors import SourceError

NOWHERE, BLANK = -1, -2
_META_BYTES = 4096
_META_CHARSET = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([a-z0-9_:.-]{2,40})""", re.IGNORECASE
)
_XML_ENCODING = re.compile(
    rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([a-z0-9_:.-]{2,40})""", re.IGNORECASE
)


class RawPage(NamedTuple):
    """A page to read.

    Attributes:
        encoding: of the setting, which overrides all others.
        charset: declared by the HTTP header or the container.
        url: where it came from.
    """

    raw: bytes
    encoding: str | None = None
    charset: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The article of a page.

    Attributes:
        text: paragraphs, headings, list items and rows, each on one line, with empty lines between.
        raw_start, raw_end: int32, shape (characters of the text,): the span of each character in
            the page's bytes; ``NOWHERE`` if it was not found, ``BLANK`` for whitespace and
            invisible characters.
        is_joined: whether only whitespace is between a character and the one before it.
        encoding, encoding_from, decode_errors: as in ``decode.Decoded``.
        published_at: in UTC; a bare date is midnight.
    """

    text: str
    raw_start: npt.NDArray[np.int32]
    raw_end: npt.NDArray[np.int32]
    is_joined: npt.NDArray[np.bool_]
    encoding: str
    encoding_from: str
    decode_errors: int
    title: str | None
    author: str | None
    site: str | None
    published_at: datetime | None


def read_pages(pages: Sequence[RawPage], extractors: Extractors) -> list[Page | SourceError]:
    """Read pages concurrently, keeping their order; a failure affects only its own page."""
    return extractors.map(partial(_read_page, extractors), pages)


def _read_page(extractors: Extractors, page: RawPage) -> Page | SourceError:
    if not page.raw:
        return SourceError("empty", "0 bytes; expected a page")
    try:
        decoded = decode_page(page)
    except SourceError as error:
        return error
    return _page(decoded, extractors.extract(decoded.utf8, page.url))


def decode_page(page: RawPage) -> Decoded:
    """Decode a page by the setting, its byte order mark, its ``meta`` tag, HTTP, or detection.

    Browsers let HTTP win. Here the page does, so that the same bytes give the same text wherever
    they come from, as far as possible.

    Raises:
        SourceError: no encoding fits.
    """
    if page.encoding is not None:
        return decode(page.raw, page.encoding)
    if not page.raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        labels = (("html", _charset_of(page.raw)), ("http", page.charset))
        for encoding_from, label in labels:
            decoded = None if label is None else decode_label(page.raw, label, encoding_from)
            if decoded is not None:
                return decoded
    return decode(page.raw)


def _charset_of(raw: bytes) -> str | None:
    head = raw[:_META_BYTES]
    found = _XML_ENCODING.search(head) or _META_CHARSET.search(head)
    return None if found is None else found[1].decode("ascii")


def _page(decoded: Decoded, article: dict[str, Any] | SourceError) -> Page | SourceError:
    if isinstance(article, SourceError):
        return article
    if not article["blocks"]:
        return SourceError("no-article", f"no article found in a page of {len(decoded.utf8)} bytes")
    # JSON may contain half a surrogate pair, which UTF-8 cannot.
    blocks = [block.encode("utf-8", "replace").decode() for block in article["blocks"]]
    text, anchors = anchor(decoded.utf8, blocks)
    starts, ends = _in_bytes(decoded, anchors)
    starts[anchors.is_blank] = BLANK
    published = article["published_at"]
    return Page(
        text=text,
        raw_start=starts,
        raw_end=ends,
        is_joined=anchors.is_joined,
        encoding=decoded.encoding,
        encoding_from=decoded.encoding_from,
        decode_errors=decoded.errors,
        title=article["title"],
        author=article["author"],
        site=article["site"],
        published_at=datetime.fromisoformat(published) if published else None,
    )


def _in_bytes(
    decoded: Decoded, anchors: Anchors
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the spans of characters in the raw bytes."""
    starts = np.full(len(anchors.starts), NOWHERE, np.int32)
    ends = np.full(len(anchors.starts), NOWHERE, np.int32)
    found = np.flatnonzero(anchors.starts >= 0)
    if not is_stateful(decoded.encoding):
        utf8 = np.concatenate((anchors.starts[found], anchors.ends[found]))
        if decoded.encoding == "utf-8":
            raw = decoded.to_bytes(utf8, utf8)
        else:
            utf8, back = np.unique(utf8, return_inverse=True)
            heads = np.frombuffer(decoded.utf8, np.uint8) & 0xC0 != 0x80
            chars = np.concatenate(([0], np.cumsum(heads)))[utf8]
            raw = decoded.to_bytes(utf8, chars)[back]
        starts[found], ends[found] = raw[: len(found)], raw[len(found) :]
    return starts, ends
