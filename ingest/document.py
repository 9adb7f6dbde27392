"""Raw bytes become a document: one text, facts, and the way back from characters to bytes.

There are three ways to read: plain text, a JSON line, and a page. A text's characters stand in one
piece of the raw bytes, but those of a page in as many stretches as markup parts them into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import NamedTuple, Protocol

import numpy as np

from palimpsest.ingest.containers import Member
from palimpsest.ingest.containers.compression import without_suffix
from palimpsest.ingest.json_line import JsonLine, read_line
from palimpsest.ingest.metadata.facts import header_facts, json_facts
from palimpsest.ingest.pages.extract_pool import Extractors
from palimpsest.ingest.pages.page import NOWHERE, Page, RawPage, read_pages
from palimpsest.ingest.text.decode import Decoded, decode, decode_label, is_html
from palimpsest.ingest.text.language import SAMPLE_BYTES, languages_of
from palimpsest.kernels.arrays import Positions
from palimpsest.records import __version__
from palimpsest.records.document_facts import DocumentFacts
from palimpsest.records.errors import SourceError
from palimpsest.records.settings import ReadSettings

Stretches = list[tuple[Positions, Positions]]

PLAIN, JSON, PAGE = "text/plain", "application/json", "text/html"
_PAGE_TYPES = (PAGE, "application/xhtml+xml")
_PAGE_NAMES = (".html", ".htm", ".xhtml", ".shtml")
_EXTRACTORS = {PLAIN: "palimpsest-plain-text", JSON: "palimpsest-json", PAGE: "trafilatura"}
_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Places:
    """Where paragraphs stand in the raw bytes of their document.

    Attributes:
        starts, ends: int64, in bytes; ``NOWHERE`` for a paragraph without an anchor.
        stretches: by paragraph that is made of several, where these begin and end, in bytes.
    """

    starts: Positions
    ends: Positions
    stretches: dict[int, tuple[Positions, Positions]]


class OffsetMap(Protocol):
    """Leads from a document's text to its raw bytes."""

    @property
    def offset(self) -> int | None:
        """What to add to a place in bytes of the text, where that is all; None where it is not."""
        ...

    def places(self, utf8: Positions, chars: Positions) -> Places:
        """Return where paragraphs stand.

        Args:
            utf8: int64, shape (2 x paragraphs,), start and end of each in bytes of the text.
            chars: the same in characters.
        """
        ...


class Document(NamedTuple):
    """A document as it was read.

    Attributes:
        text: in UTF-8.
        facts: what it tells of itself; ``language`` may be told or not.
        way_back: from the text to the raw bytes.
        to_prove: the raw bytes, where spans are not exact by construction and have to be tried.
    """

    sha256: str
    raw_bytes: int
    media_type: str
    encoding: str
    encoding_from: str
    decode_errors: int
    text: bytes
    facts: DocumentFacts
    way_back: OffsetMap
    to_prove: bytes | None

    @property
    def extractor(self) -> str:
        """What turned the bytes into text."""
        return _EXTRACTORS[self.media_type]

    @property
    def extractor_version(self) -> str:
        """Its version."""
        return _installed(self.extractor) if self.media_type == PAGE else __version__


@cache
def _installed(package: str) -> str:
    return version(package)


class _PlainWay(NamedTuple):
    decoded: Decoded

    @property
    def offset(self) -> int | None:
        return self.decoded.offset

    def places(self, utf8: Positions, chars: Positions) -> Places:
        raw = self.decoded.to_bytes(utf8, chars)
        return Places(raw[0::2], raw[1::2], {})


@dataclass(frozen=True, slots=True)
class _JsonWay:
    line: JsonLine
    offset = None

    def places(self, utf8: Positions, chars: Positions) -> Places:
        raw = self.line.to_bytes(chars)
        return Places(raw[0::2], raw[1::2], {})


@dataclass(frozen=True, slots=True)
class _PageWay:
    page: Page
    offset = None

    def places(self, utf8: Positions, chars: Positions) -> Places:
        page = self.page
        starts, ends = chars[0::2], chars[1::2]
        lost = np.concatenate(([0], np.cumsum(page.raw_start == NOWHERE)))
        is_lost = lost[ends] > lost[starts]
        # A stretch begins at each visible character that markup parts from the one before it.
        parted = np.flatnonzero(~page.is_joined & (page.raw_start >= 0))
        visible = np.flatnonzero(page.raw_start >= 0)
        if not len(visible):
            return Places(np.full(len(starts), NOWHERE), np.full(len(starts), NOWHERE), {})
        firsts, lasts = np.searchsorted(visible, starts), np.searchsorted(visible, ends) - 1
        is_lost |= lasts < firsts  # nothing of it is visible
        raw_starts, raw_ends = np.full((2, len(starts)), NOWHERE, np.int64)
        raw_starts[~is_lost] = page.raw_start[visible[firsts[~is_lost]]]
        raw_ends[~is_lost] = page.raw_end[visible[lasts[~is_lost]]]
        stretches: dict[int, tuple[Positions, Positions]] = {}
        firsts = np.searchsorted(parted, visible[np.where(is_lost, 0, firsts)], side="right")
        lasts = np.searchsorted(parted, ends, side="left")
        for number in np.flatnonzero((lasts > firsts) & ~is_lost).tolist():
            inner = parted[firsts[number] : lasts[number]]
            before = visible[np.searchsorted(visible, inner) - 1]
            begins = np.append(raw_starts[number], page.raw_start[inner])
            ends_ = np.append(page.raw_end[before], raw_ends[number])
            if (begins[1:] < ends_[:-1]).any():  # the extractor moved pieces of it about
                raw_starts[number] = raw_ends[number] = NOWHERE
            else:
                stretches[number] = begins, ends_
        return Places(raw_starts, raw_ends, stretches)


def media_type_of(member: Member, name: str) -> str:
    """Return how a member is to be read.

    Args:
        member: with what its file says of it.
        name: of the file, or of the member of it.
    """
    if member.media_type == JSON:
        return JSON
    bare_name = without_suffix(name).lower()
    says_page = member.media_type in _PAGE_TYPES or bare_name.endswith(_PAGE_NAMES)
    return PAGE if says_page or is_html(member.raw) else PLAIN


def read_documents(
    members: Sequence[tuple[str, Member, str]], settings: ReadSettings, extractors: Extractors
) -> list[Document | SourceError]:
    """Read members in their order, pages all at once.

    Args:
        members: the SHA-256 of its bytes, the member, the name that it has.
        settings: how to read.
        extractors: who extracts pages.
    """
    kinds = [media_type_of(member, name) for _, member, name in members]
    pages = [
        RawPage(member.raw, settings.encoding, member.charset, member.target_uri)
        for (_, member, _), kind in zip(members, kinds, strict=True)
        if kind == PAGE
    ]
    extracted = iter(read_pages(pages, extractors) if pages else ())
    read = [
        _read(sha256, member, kind, settings, next(extracted) if kind == PAGE else None)
        for (sha256, member, _), kind in zip(members, kinds, strict=True)
    ]
    return _with_languages(read)


def _with_languages(read: list[Document | SourceError]) -> list[Document | SourceError]:
    """Return documents with the language of their text; what a page says of it is often wrong."""
    asked = [
        (number, one)
        for number, one in enumerate(read)
        if isinstance(one, Document) and one.facts.language is None
    ]
    samples = [one.text[:SAMPLE_BYTES] for _, one in asked]
    for (number, one), language in zip(asked, languages_of(samples), strict=True):
        if language is not None:
            read[number] = one._replace(facts=one.facts._replace(language=language))
    return read


def _read(
    sha256: str,
    member: Member,
    kind: str,
    settings: ReadSettings,
    page: Page | SourceError | None,
) -> Document | SourceError:
    raw = member.raw
    try:
        if isinstance(page, SourceError):
            return page
        if not raw:
            return SourceError("empty", "0 bytes; expected text")
        if page is not None:
            return _page_document(sha256, len(raw), page)
        if kind == JSON:
            return _json_document(sha256, raw, settings)
        decoded = _decode_plain(raw, settings.encoding, member.charset)
    except SourceError as error:
        return error
    return Document(
        sha256,
        len(raw),
        PLAIN,
        decoded.encoding,
        decoded.encoding_from,
        decoded.errors,
        decoded.utf8,
        header_facts(decoded.utf8[:_HEADER_BYTES].decode("utf-8", "ignore")),
        _PlainWay(decoded),
        None if decoded.is_proved else raw,
    )


def _decode_plain(raw: bytes, encoding: str | None, charset: str | None) -> Decoded:
    """Decode as is demanded, or as the carrier says if that fits, or as what it seems to be."""
    if encoding is None and charset is not None:
        return decode_label(raw, charset, "http") or decode(raw)
    return decode(raw, encoding)


def _json_document(sha256: str, raw: bytes, settings: ReadSettings) -> Document:
    line = read_line(raw, settings.text_fields)
    return Document(
        sha256,
        len(raw),
        JSON,
        "utf-8",
        "utf-8",
        0,
        line.text.encode(),
        json_facts(line.fields, settings.metadata_fields),
        _JsonWay(line),
        None,
    )


def _page_document(sha256: str, raw_bytes: int, page: Page) -> Document:
    facts = DocumentFacts(
        title=page.title,
        author=page.author,
        site=page.site,
        published_at=page.published_at,
        published_from="metadata" if page.published_at else "none",
    )
    return Document(
        sha256,
        raw_bytes,
        PAGE,
        page.encoding,
        page.encoding_from,
        page.decode_errors,
        page.text.encode(),
        facts,
        _PageWay(page),
        None,
    )
