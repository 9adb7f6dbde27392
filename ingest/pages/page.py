"""A web page becomes a text of paragraphs, each of whose characters knows its raw bytes."""

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
    """A page that is to be read.

    Attributes:
        raw: its bytes.
        encoding: that somebody demands.
        charset: that its carrier names.
        url: where it came from.
    """

    raw: bytes
    encoding: str | None = None
    charset: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The article of a page.

    Attributes:
        text: paragraphs, headings, list items and rows, each on one line, parted by empty lines.
        raw_start, raw_end: int32, shape (characters of the text,): where in the page's bytes each
            stands; ``NOWHERE`` if it was not found there, ``BLANK`` for blanks
            and what is invisible.
        is_joined: whether nothing but blanks stands between a character and the one before it.
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
    """Read pages, several at once, in their order; one that cannot be read costs only itself."""
    return extractors.each(partial(_read_page, extractors), pages)


def _read_page(extractors: Extractors, page: RawPage) -> Page | SourceError:
    if not page.raw:
        return SourceError("empty", "0 bytes; expected a page")
    try:
        decoded = decode_page(page)
    except SourceError as error:
        return error
    return _page(decoded, extractors.extract(decoded.utf8, page.url))


def decode_page(page: RawPage) -> Decoded:
    """Decode a page by its mark, as UTF-8 if it is, by its own word, its carrier's, or as any text.

    Browsers believe the carrier first; here the same bytes are to give the same text, whatever
    carries them, as often as can be.

    Raises:
        SourceError: nothing fits.
    """
    if page.encoding is not None:
        return decode(page.raw, page.encoding)
    if not page.raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        labels = (("html", _charset_of(page.raw)), ("http", page.charset))
        for told_by, label in labels:
            found = None if label is None else decode_label(page.raw, label, told_by)
            if found is not None:
                return found
    return decode(page.raw)


def _charset_of(raw: bytes) -> str | None:
    head = raw[:_META_BYTES]
    found = _XML_ENCODING.search(head) or _META_CHARSET.search(head)
    return None if found is None else found[1].decode("ascii")


def _page(decoded: Decoded, told: dict[str, Any] | SourceError) -> Page | SourceError:
    if isinstance(told, SourceError):
        return told
    if not told["blocks"]:
        return SourceError(
            "no-article", f"{len(decoded.utf8)} bytes of a page in which no article was found"
        )
    # What UTF-8 does not know, JSON may: half a surrogate pair.
    blocks = [block.encode("utf-8", "replace").decode() for block in told["blocks"]]
    text, anchors = anchor(decoded.utf8, blocks)
    starts, ends = _in_bytes(decoded, anchors)
    starts[anchors.is_blank] = BLANK
    published = told["published_at"]
    return Page(
        text,
        starts,
        ends,
        anchors.is_joined,
        decoded.encoding,
        decoded.encoding_from,
        decoded.errors,
        told["title"],
        told["author"],
        told["site"],
        datetime.fromisoformat(published) if published else None,
    )


def _in_bytes(
    decoded: Decoded, anchors: Anchors
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return where characters stand in the raw bytes."""
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
