"""Read a line of JSON: its fields, its text, and the offset map from text to bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

import numpy as np

from palimpsest.kernels.arrays import Positions
from palimpsest.records.errors import SourceError

_ESCAPE = re.compile(r'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])')
_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|" + _ESCAPE.pattern)
_BLANKS = " \t\r\n"
_decoder = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class JsonLine:
    """A line of JSON.

    Attributes:
        fields: all but the text, by name.
        text: the value of the text field; half a surrogate pair becomes U+FFFD.
        to_bytes: takes ascending positions in characters of ``text``; returns those in bytes of
            the line.
    """

    fields: dict[str, Any]
    text: str
    to_bytes: Callable[[Positions], Positions]


def read_line(raw: bytes, text_fields: Sequence[str]) -> JsonLine:
    """Read a line.

    Args:
        raw: in UTF-8.
        text_fields: names of the text field; the first one with a string counts.

    Raises:
        SourceError: it is not a JSON object, or has no text.
    """
    try:
        line = raw.decode("utf-8")
        fields, spans = _object(line)
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} is not UTF-8; expected JSON in UTF-8"
        raise SourceError("not-json", detail) from error
    except (ValueError, IndexError, RecursionError) as error:
        raise SourceError("not-json", f"expected a JSON object: {error}") from error
    for name in text_fields:
        if name in spans:
            start, end = spans[name]
            written = line[start:end]
            before = len(line[:start].encode())
            others = {key: value for key, value in fields.items() if key != name}
            return JsonLine(others, unescape_text(written), _offset_map(written, before))
    raise SourceError(
        "no-text-field",
        f"found the fields {', '.join(sorted(fields)[:20]) or 'none'}; expected a text in one of "
        f"text_fields = {', '.join(text_fields)}; name yours with --set read.text_fields=FIELD",
    )


def unescape(raw_span: bytes) -> str:
    """Return the text of a span of a line's bytes.

    Raises:
        UnicodeDecodeError: the span cuts a character.
    """
    return unescape_text(raw_span.decode("utf-8"))


def unescape_text(written: str) -> str:
    """Return the value of a JSON string, given without its quotes."""
    return _PAIR.sub(_character, written)


def _character(found: re.Match[str]) -> str:
    character = json.loads(f'"{found[0]}"')
    return "\ufffd" if "\ud800" <= character <= "\udfff" else character


def _object(line: str) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """Return the fields of an object, and the spans of those that are strings, without quotes."""
    at = _skip(line, 0)
    if line[at : at + 1] != "{":
        raise ValueError(f"found {line[at : at + 20]!r} at the beginning")
    fields: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}
    at = _skip(line, at + 1)
    is_first = True
    while line[at] != "}":
        if not is_first:
            at = _skip(line, _past(line, at, ","))
        is_first = False
        name, at = scanstring(line, _past(line, at, '"'), True)
        at = _skip(line, _past(line, _skip(line, at), ":"))
        start = at + 1
        is_text = line[at] == '"'
        fields[name], at = (
            scanstring(line, start, True) if is_text else _decoder.raw_decode(line, at)
        )
        spans.pop(name, None)
        if is_text:
            spans[name] = (start, at - 1)
        at = _skip(line, at)
    if line[_skip(line, at + 1) :]:
        raise ValueError(f"found {line[at + 1 : at + 21]!r} after the object")
    return fields, spans


def _skip(line: str, at: int) -> int:
    while at < len(line) and line[at] in _BLANKS:
        at += 1
    return at


def _past(line: str, at: int, expected: str) -> int:
    if line[at] != expected:
        raise ValueError(f"found {line[at : at + 20]!r} at character {at}; expected {expected}")
    return at + 1


def _offset_map(written: str, before: int) -> Callable[[Positions], Positions]:
    """Return the map from characters of a text to bytes of the line, from its escaped form."""

    def to_bytes(chars: Positions) -> Positions:
        points = np.frombuffer(written.encode("utf-32-le"), np.uint32)
        sizes = 1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF)
        is_first = np.ones(len(points), np.bool_)
        for found in _PAIR.finditer(written):
            is_first[found.start() + 1 : found.end()] = False
        bounds = np.concatenate(([0], np.cumsum(sizes)))
        starts = np.append(np.flatnonzero(is_first), len(points))
        positions: Positions = bounds[starts[chars]] + before
        return positions

    return to_bytes
