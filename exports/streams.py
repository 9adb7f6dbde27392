"""What the formats share: rows of queries in batches, compression, and JSON."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zstandard import ZstdCompressor

from palimpsest.records import __version__

if TYPE_CHECKING:
    from palimpsest.store.views import Connection

BATCH_ROWS = 5_000
"""How many rows are Python objects at a time."""

SOFTWARE = f"urn:palimpsest:{__version__}"
"""IRI of the software that writes an export."""
DOCUMENT = "urn:palimpsest:document:"
"""Prefix of the IRI of a document; its id follows."""


def rows_of(
    connection: Connection, query: str, parameters: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query, with at most one batch of them in memory.

    Args:
        connection: may run other queries at the same time.
        query: with ``$name`` for each of the parameters.
        parameters: their values.
    """
    result = connection.cursor().sql(query, params=dict(parameters or {}))
    for batch in result.to_arrow_reader(BATCH_ROWS):
        yield from batch.to_pylist()


@contextmanager
def compressed(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    """Yield a file that compresses into another as its ending says: ``.gz``, ``.zst`` or not."""
    if path.suffix.lower() == ".gz":
        # Without name and time, so that the same rows give the same bytes.
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            yield packed  # type: ignore[misc]
    elif path.suffix.lower() == ".zst":
        with ZstdCompressor().stream_writer(file, closefd=False) as packed:
            yield packed
    else:
        yield file


def bare_suffix(path: Path) -> str:
    """Return the ending of a name, without that of the compression.

    Example:
        >>> bare_suffix(Path("press.jsonl.gz"))
        '.jsonl'
    """
    return path.with_suffix("").suffix if path.suffix in {".gz", ".zst"} else path.suffix


def to_json(value: Any) -> bytes:
    """Return a value as JSON on one line, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def write_members(file: BinaryIO, members: Iterable[tuple[str, Any]], separator: bytes) -> int:
    """Write members of a JSON object without its braces; return how many.

    Args:
        file: to write to.
        members: names and values.
        separator: written between members.
    """
    count = 0
    for name, value in members:
        file.write((separator if count else b"") + to_json(name) + b":" + to_json(value))
        count += 1
    return count


def iso_time(value: datetime) -> str:
    """Return a time as XML Schema writes it, in UTC.

    Example:
        >>> iso_time(datetime(2024, 11, 12, 6, 30, tzinfo=UTC))
        '2024-11-12T06:30:00Z'
    """
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def iso_or_none(value: datetime | None) -> str | None:
    """Return a time as ``iso_time`` does, or None."""
    return None if value is None else iso_time(value)
