"""Extract the article of a web page; the only module that uses trafilatura.

It runs in separate processes (``ingest.pages.extract_pool``), since a page can make the parser
hang, use all memory or crash. The result depends on the page alone: trafilatura's cache of
repeated segments is off, and dates are not compared with today's.
"""

from __future__ import annotations

import gc
import json
import logging
import re
import struct
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lxml.etree import _Element

_LINES = frozenset(
    [
        "p",
        "head",
        "item",
        "quote",
        "row",
        "lb",
        "list",
        "table",
        "ab",
        "div",
        "figure",
        "graphic",
        "body",
        "pre",
    ]
)
"""Elements that begin and end a block, as a line break does."""
_SPACED = frozenset(("cell",))
_LAST_DATE = "2099-12-31"
_PUBLISHED = re.compile(
    r"""(?:datePublished|published_time|dateCreated|pubdate)["'][^<>{}]{0,60}?"""
    r"""(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)"""
)
_BLANKS = re.compile(r"\s+")
_LENGTHS = struct.Struct("<II")
_GARBAGE = (100_000, 50, 100)
"""Thresholds of the garbage collector (``gc.set_threshold``)."""
MEMORY_FAULT = 3
"""Exit status of a process whose memory was not enough for a page."""


def extract(html: str, url: str | None = None) -> dict[str, Any]:
    """Return the article of a page.

    Args:
        html: the decoded page.
        url: where it came from; may contain the date and the site.

    Returns:
        ``blocks``: paragraphs, headings, list items and rows, each on one line with single spaces;
        empty if there is no article. ``title``, ``author``, ``site``, ``published_at`` (ISO 8601
        in UTC; a bare date is midnight): None if the page does not give it.
    """
    from trafilatura import bare_extraction

    found: Any = bare_extraction(
        html,
        url=url,
        output_format="txt",
        include_comments=False,
        with_metadata=True,
        deduplicate=False,
        date_extraction_params={
            "original_date": True,
            "extensive_search": False,  # dates in the text are those of the events
            "max_date": _LAST_DATE,
        },
    )
    if found is None:
        return {"blocks": []}
    return {
        "blocks": list(_blocks(found.body)),
        "title": _one_line(found.title),
        "author": _one_line(found.author),
        "site": _one_line(found.sitename or found.hostname),
        "published_at": _published(html, found.date),
    }


def _blocks(body: _Element) -> Iterator[str]:
    """Yield the lines of an extracted tree, in the order of the page."""
    pieces: list[str] = []

    def line() -> Iterator[str]:
        joined = _BLANKS.sub(" ", "".join(pieces)).strip()
        pieces.clear()
        if joined:
            yield joined

    # Without recursion: pages nest more deeply than Python does.
    pending: list[tuple[_Element, bool, bool]] = [(body, True, False)]
    while pending:
        element, is_start, in_row = pending.pop()
        tag = element.tag if isinstance(element.tag, str) else ""
        if tag in _LINES and (not in_row or tag == "row"):
            yield from line()
        elif tag in _LINES or tag in _SPACED:
            pieces.append(" ")
        if not is_start:
            if element is not body and element.tail:
                pieces.append(element.tail)
            continue
        if tag and element.text:
            pieces.append(element.text)
        pending.append((element, False, in_row))
        inside = in_row or tag == "row"
        pending.extend((child, True, inside) for child in reversed(element))
    yield from line()


def _one_line(value: str | None) -> str | None:
    return _BLANKS.sub(" ", value).strip()[:1000] or None if value else None


def _published(html: str, date: str | None) -> str | None:
    """Return the time of publication, to the second if the page gives it for this date."""
    if not date:
        return None
    try:
        day = datetime.fromisoformat(date).replace(tzinfo=UTC)
    except ValueError:
        return None
    for found in _PUBLISHED.finditer(html):
        try:
            stamp = datetime.fromisoformat(found[1].replace(" ", "T"))
            moment = (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            continue
        if abs(moment - day) < timedelta(days=2) and date in (found[1][:10], str(moment.date())):
            return moment.isoformat()
    return day.isoformat()


@cache
def _silence_logging() -> None:
    logging.disable(logging.CRITICAL)


def send(pipe: IO[bytes], head: Any, body: bytes = b"") -> None:
    """Write a message: a head, as JSON, and bytes."""
    encoded = json.dumps(head).encode()
    pipe.write(_LENGTHS.pack(len(encoded), len(body)) + encoded)
    pipe.write(body)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[Any, bytes]:
    """Read a message.

    Raises:
        EOFError: the other side has closed the pipe.
    """
    lengths = pipe.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        raise EOFError
    head_bytes, body_bytes = _LENGTHS.unpack(lengths)
    head, body = pipe.read(head_bytes), pipe.read(body_bytes)
    if len(head) < head_bytes or len(body) < body_bytes:
        raise EOFError
    return json.loads(head), body


def main() -> None:
    """Extract page after page from standard input until it ends."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _silence_logging()
    sys.setrecursionlimit(5_000)
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    import trafilatura  # noqa: F401

    gc.freeze()  # loaded modules stay; scanning them again takes a tenth of the time
    gc.set_threshold(*_GARBAGE)
    send(replies, {"ready": True})
    while True:
        try:
            url, page = receive(requests)
        except EOFError:
            return
        try:
            article = extract(page.decode("utf-8", "replace"), url)
        except MemoryError:
            sys.exit(MEMORY_FAULT)
        except Exception as error:  # only this page is lost
            article = {"fault": f"{type(error).__name__}: {error}"[:500]}
        send(replies, article)


if __name__ == "__main__":
    main()
