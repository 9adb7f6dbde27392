"""Read raw bytes as a document: its text, its facts, and the offset map from text to bytes.

There are three kinds: plain text, a JSON line, and a page. A paragraph of a page may consist of
several fragments of the raw bytes, with markup between them; other paragraphs are one span.
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

PLAIN, JSON, PAGE = "text/plain", "application/json", "text/html"
_PAGE_TYPES = (PAGE, "application/xhtml+xml")
_PAGE_NAMES = (".html", ".htm", ".xhtml", ".shtml")
_EXTRACTORS = {PLAIN: "palimpsest-plain-text", JSON: "palimpsest-json", PAGE: "trafilatura"}
_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Places:
    """Where paragraphs are in the raw bytes of their document.

    Attributes:
        starts, ends: int64, in bytes; ``NOWHERE`` for a paragraph without an anchor.
        fragments: for paragraphs with several, where these begin and end, in bytes.
    """

    starts: Positions
    ends: Positions
    fragments: dict[int, tuple[Positions, Positions]]


class OffsetMap(Protocol):
    """Maps positions in a document's text to its raw bytes."""

    @property
    def offset(self) -> int | None:
        """The constant to add to positions in bytes of the text; None if it is not constant."""
        ...

    def places(self, utf8: Positions, chars: Positions) -> Places:
        """Return where paragraphs are in the raw bytes.

        Args:
            utf8: int64, shape (2 x paragraphs,), start and end of each in bytes of the text.
            chars: the same in characters.
        """
        ...


class Document(NamedTuple):
    """A document as it was read.

    Attributes:
        text: in UTF-8.
        facts: those in the document itself; ``language`` may still be None.
        raw_to_check: the raw bytes if spans are not exact by construction, so that each has to be
            checked; else None.
    """

    sha256: str
    raw_bytes: int
    media_type: str
    encoding: str
    encoding_from: str
    decode_errors: int
    text: bytes
    facts: DocumentFacts
    offset_map: OffsetMap
    raw_to_check: bytes | None

    @property
    def extractor(self) -> str:
        """Name of the program that extracted the text."""
        return _EXTRACTORS[self.media_type]

    @property
    def extractor_version(self) -> str:
        """Version of that program."""
        return _installed(self.extractor) if self.media_type == PAGE else __version__


@cache
def _installed(package: str) -> str:
    return version(package)


class _PlainOffsets(NamedTuple):
    decoded: Decoded

    @property
    def offset(self) -> int | None:
        return self.decoded.offset

    def places(self, utf8: Positions, chars: Positions) -> Places:
        raw = self.decoded.to_bytes(utf8, chars)
        return Places(raw[0::2], raw[1::2], {})


@dataclass(frozen=True, slots=True)
class _JsonOffsets:
    line: JsonLine
    offset = None

    def places(self, utf8: Positions, chars: Positions) -> Places:
        raw = self.line.to_bytes(chars)
        return Places(raw[0::2], raw[1::2], {})


@dataclass(frozen=True, slots=True)
class _PageOffsets:
    page: Page
    offset = None

    def places(self, utf8: Positions, chars: Positions) -> Places:
        page = self.page
        starts, ends = chars[0::2], chars[1::2]
        lost = np.concatenate(([0], np.cumsum(page.raw_start == NOWHERE)))
        is_lost = lost[ends] > lost[starts]
        # A fragment begins at each visible character with markup before it.
        parted = np.flatnonzero(~page.is_joined & (page.raw_start >= 0))
        visible = np.flatnonzero(page.raw_start >= 0)
        if not len(visible):
            return Places(np.full(len(starts), NOWHERE), np.full(len(starts), NOWHERE), {})
        firsts, lasts = np.searchsorted(visible, starts), np.searchsorted(visible, ends) - 1
        is_lost |= lasts < firsts  # nothing in it is visible
        raw_starts, raw_ends = np.full((2, len(starts)), NOWHERE, np.int64)
        raw_starts[~is_lost] = page.raw_start[visible[firsts[~is_lost]]]
        raw_ends[~is_lost] = page.raw_end[visible[lasts[~is_lost]]]
        fragments: dict[int, tuple[Positions, Positions]] = {}
        firsts = np.searchsorted(parted, visible[np.where(is_lost, 0, firsts)], side="right")
        lasts = np.searchsorted(parted, ends, side="left")
        for number in np.flatnonzero((lasts > firsts) & ~is_lost).tolist():
            inner = parted[firsts[number] : lasts[number]]
            before = visible[np.searchsorted(visible, inner) - 1]
            begins = np.append(raw_starts[number], page.raw_start[inner])
            ends_ = np.append(page.raw_end[before], raw_ends[number])
            if (begins[1:] < ends_[:-1]).any():  # the extractor reordered parts of it
                raw_starts[number] = raw_ends[number] = NOWHERE
            else:
                fragments[number] = begins, ends_
        return Places(raw_starts, raw_ends, fragments)


def media_type_of(member: Member, name: str) -> str:
    """Return the media type by which a member is read.

    Args:
        member: with what its container declares.
        name: of the file, or of the member.
    """
    if member.media_type == JSON:
        return JSON
    bare_name = without_suffix(name).lower()
    says_page = member.media_type in _PAGE_TYPES or bare_name.endswith(_PAGE_NAMES)
    return PAGE if says_page or is_html(member.raw) else PLAIN


def read_documents(
    members: Sequence[tuple[str, Member, str]], settings: ReadSettings, extractors: Extractors
) -> list[Document | SourceError]:
    """Read members in their order, all pages at once.

    Args:
        members: the SHA-256 of each one's bytes, the member, its name.
        settings: how to read.
        extractors: the processes that extract pages.
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


def _with_languages(documents: list[Document | SourceError]) -> list[Document | SourceError]:
    """Add the detected language; the one that a page declares is often wrong, and never read."""
    undetermined = [
        (number, document)
        for number, document in enumerate(documents)
        if isinstance(document, Document) and document.facts.language is None
    ]
    samples = [document.text[:SAMPLE_BYTES] for _, document in undetermined]
    for (number, document), language in zip(undetermined, languages_of(samples), strict=True):
        if language is not None:
            facts = document.facts._replace(language=language)
            documents[number] = document._replace(facts=facts)
    return documents


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
        sha256=sha256,
        raw_bytes=len(raw),
        media_type=PLAIN,
        encoding=decoded.encoding,
        encoding_from=decoded.encoding_from,
        decode_errors=decoded.errors,
        text=decoded.utf8,
        facts=header_facts(decoded.utf8[:_HEADER_BYTES].decode("utf-8", "ignore")),
        offset_map=_PlainOffsets(decoded),
        raw_to_check=None if decoded.is_exact else raw,
    )


def _decode_plain(raw: bytes, encoding: str | None, charset: str | None) -> Decoded:
    """Decode with the setting, else the declared charset if it fits, else by detection."""
    if encoding is None and charset is not None:
        return decode_label(raw, charset, "http") or decode(raw)
    return decode(raw, encoding)


def _json_document(sha256: str, raw: bytes, settings: ReadSettings) -> Document:
    line = read_line(raw, settings.text_fields)
    return Document(
        sha256=sha256,
        raw_bytes=len(raw),
        media_type=JSON,
        encoding="utf-8",
        encoding_from="utf-8",
        decode_errors=0,
        text=line.text.encode(),
        facts=json_facts(line.fields, settings.metadata_fields),
        offset_map=_JsonOffsets(line),
        raw_to_check=None,
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
        sha256=sha256,
        raw_bytes=raw_bytes,
        media_type=PAGE,
        encoding=page.encoding,
        encoding_from=page.encoding_from,
        decode_errors=page.decode_errors,
        text=page.text.encode(),
        facts=facts,
        offset_map=_PageOffsets(page),
        raw_to_check=None,
    )
