"""Read the facts of sources: titles, authors, sites, dates, languages.

They are in the fields of a JSON line, in the lines above an article, in a sidecar, or in the path.
Those of pages are read by ``ingest.pages.extract_worker``.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from palimpsest.ingest.metadata.dates import has_digit, of_epoch, parse_date
from palimpsest.records.document_facts import DOCUMENT_FACTS, NO_FACTS, DocumentFacts
from palimpsest.records.errors import SourceError

_TIMES = {fact.name for fact in DOCUMENT_FACTS if fact.is_time}
_USUAL = {fact.name: fact.field_names for fact in DOCUMENT_FACTS}
_HEADER_NAMES = {name: fact for fact, names in _USUAL.items() for name in names} | {"by": "author"}
_HEADER_LINES = 12
_NAMED = re.compile(r"([A-Za-z][A-Za-z _-]{1,20}):\s+(\S.*)")
_BYLINE = re.compile(r"[Bb][Yy]:?\s+(\S.{0,150})")
_BY = ("By", "by", "BY", "bY")
_BEFORE_LINE = "-#=* \t\r\ufeff"
_MAX_CHARS = 1000
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_].*)?")
_SIDECARS = (".meta.json", ".json", ".metadata.json")
_MAX_SIDECAR_BYTES = 2**20
_NAMES_PER_FILE = 16
"""Names that can be listed in the time that checking one file for sidecars takes."""


def header_facts(text: str) -> DocumentFacts:
    """Return the facts in the lines above an article.

    A line counts if it is just a date, ``By`` and a name, or the name of a field, a colon and a
    value; marks such as ``--`` before it do not matter. The first other line that is marked is the
    title. The first line of plain text ends the header.
    """
    values: dict[str, Any] = {}
    title = None
    for number, line in enumerate(text.split("\n", _HEADER_LINES)[:_HEADER_LINES]):
        bare = line.strip(_BEFORE_LINE)
        if not bare:
            continue
        is_marked = line.startswith("--")
        if len(bare) > 200:
            break
        named = _NAMED.fullmatch(bare) if ":" in bare else None
        fact = _HEADER_NAMES.get(named[1].lower().replace(" ", "_")) if named else None
        byline = _BYLINE.fullmatch(bare) if number and bare.startswith(_BY) else None
        if named and fact:
            _set_fact(values, fact, named[2])
        elif byline and (is_marked or "author" not in values) and bare[-1] not in ".!?":
            _set_fact(values, "author", byline[1])
        elif bare[-1].isalnum() and (published := _date_in(bare)) is not None:
            values.setdefault("published_at", published)
        elif is_marked:
            title = title or (bare if "://" not in bare else None)
        elif number > 0:
            break
    if not values:
        return NO_FACTS
    if title and "title" not in values:
        values["title"] = title
    return _document_facts(values, "header")


def _date_in(line: str) -> datetime | None:
    """Return the date if a line is just a date."""
    if len(line) > 40 or not has_digit(line):
        return None
    return parse_date(line, in_any_language=False)


def _set_fact(values: dict[str, Any], fact: str, field_value: Any) -> None:
    """Set a fact that is not set yet, if the field's value is valid."""
    if fact in values:
        return
    value = value_date(field_value) if fact in _TIMES else _one_line(field_value)
    if fact == "language" and isinstance(value, str):
        value = value[:3].rstrip("-_").lower() if _LANGUAGE.fullmatch(value) else None
    if value is not None:
        values[fact] = value


def value_date(value: Any) -> datetime | None:
    """Return the date in a value of JSON: a text, or seconds since 1970."""
    if isinstance(value, str):
        return parse_date(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return of_epoch(value) if abs(value) > 1e8 else None


def _one_line(value: Any) -> str | None:
    if isinstance(value, list):
        value = ", ".join(filter(None, (_one_line(item) for item in value[:20])))
    elif isinstance(value, dict):
        value = value.get("name")
    if not isinstance(value, str):
        return None
    line = " ".join(value.split())[:_MAX_CHARS]
    return line.encode("utf-8", "replace").decode() or None


def json_facts(fields: Mapping[str, Any], names: Sequence[str] = ()) -> DocumentFacts:
    """Return the facts in fields; the case of their names does not matter.

    Args:
        fields: by name.
        names: further names, as ``fact=field``, which take precedence over the usual ones. The
            field of an object within the line is ``outer.inner``.
    """
    by_name = {str(name).lower(): value for name, value in fields.items()}
    values: dict[str, Any] = {}
    for fact, _, field in (name.partition("=") for name in names):
        _set_fact(values, fact, _field_value(fields, field))
    for fact, usual in _USUAL.items():
        for name in usual:
            if name in by_name:
                _set_fact(values, fact, by_name[name])
    return _document_facts(values, "metadata")


def _field_value(fields: Mapping[str, Any], path: str) -> Any:
    """Return the value of a field, also in nested objects (``meta.timestamp``); else None."""
    if path in fields:
        return fields[path]
    value: Any = fields
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _document_facts(values: Mapping[str, Any], origin: str) -> DocumentFacts:
    if values.get("published_at"):
        return DocumentFacts(**values, published_from=origin)
    return DocumentFacts(**values)


def sidecars_among(paths: Iterable[str]) -> set[str]:
    """Return the paths that are sidecars of other ones, and so not sources."""
    known = set(paths)
    if not any(path.endswith(".json") for path in known):
        return set()
    return {
        sidecar
        for path in known
        for sidecar in _sidecar_paths(path)
        if sidecar in known and sidecar != path
    }


def sidecar_facts(path: str, names: Sequence[str] = ()) -> DocumentFacts:
    """Return the facts in the sidecar of a file; ``NO_FACTS`` if it has none.

    Raises:
        SourceError: the sidecar is unreadable.
    """
    for sidecar in _sidecar_paths(path):
        try:
            size = os.stat(sidecar).st_size
        except OSError:
            continue
        if size > _MAX_SIDECAR_BYTES:
            raise _unreadable(sidecar, f"{size} bytes; expected at most {_MAX_SIDECAR_BYTES}")
        try:
            with open(sidecar, "rb") as file:
                fields = json.loads(file.read())
        except (OSError, ValueError, RecursionError) as error:
            raise _unreadable(sidecar, f"{type(error).__name__}: {error}") from error
        if not isinstance(fields, dict):
            raise _unreadable(sidecar, f"found a JSON {type(fields).__name__}; expected an object")
        facts = json_facts(fields, names)
        return facts._replace(published_from="sidecar") if facts.published_at else facts
    return NO_FACTS


class Folders:
    """Knows which files have no sidecar, from listings of their folders.

    Checking each file takes three to five system calls. A large folder of which few files are read
    is not listed.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._files = Counter(path.rpartition("/")[0] for path in paths)
        self._listings: dict[str, frozenset[str] | None] = {}

    def may_have_sidecar(self, path: str) -> bool:
        """Return whether a file may have a sidecar; False means that it has none."""
        folder, _, name = path.rpartition("/")
        if folder not in self._listings:
            self._listings[folder] = self._sidecars_in(folder)
        names = self._listings[folder]
        if not names:
            return names is None
        return any(sidecar in names for sidecar in _sidecar_paths(name))

    def _sidecars_in(self, folder: str) -> frozenset[str] | None:
        """Return the names in a folder that may be sidecars; None if there are too many names."""
        most = _NAMES_PER_FILE * self._files[folder]
        try:
            with os.scandir(folder or "/") as entries:
                names = [entry.name for entry in islice(entries, most + 1)]
        except OSError:
            return None
        if len(names) > most:
            return None
        return frozenset(name for name in names if name.endswith(".json"))


def _unreadable(path: str, detail: str) -> SourceError:
    return SourceError(
        "sidecar-unreadable",
        f"sidecar {os.path.basename(path)}: {detail}; repair or remove it, and ingest again",
    )


def _sidecar_paths(path: str) -> list[str]:
    """Return the possible paths of a file's sidecar, such as ``a.txt.json`` and ``a.meta.json``."""
    if path.lower().endswith(".json"):
        return []
    stem, dot, extension = path.rpartition(".")
    paths = [path + ending for ending in _SIDECARS]
    if dot and "/" not in extension:
        paths += [stem + ending for ending in _SIDECARS if ending != ".json"]
    return paths


_DIRECTIVES = {
    "%Y": r"(?P<Y>\d{4})", "%y": r"(?P<y>\d{2})", "%m": r"(?P<m>0[1-9]|1[0-2])",
    "%d": r"(?P<d>0[1-9]|[12]\d|3[01])", "%j": r"(?P<j>\d{3})", "%H": r"(?P<H>[01]\d|2[0-3])",
    "%M": r"(?P<M>[0-5]\d)", "%S": r"(?P<S>[0-5]\d)", "%b": r"(?P<b>[A-Za-z]{3})",
    "%B": r"(?P<B>[A-Za-z]{3,9})", "%%": "%",
}  # fmt: skip


def path_date(path: str, pattern: str) -> datetime | None:
    """Return the date in a path, the last one if there are several; None for none.

    Args:
        path: or URI.
        pattern: ``strptime``'s directives for dates and times, not next to other digits.

    Example:
        >>> path_date("/press/2006/20061021/a.txt", "%Y%m%d")
        datetime.datetime(2006, 10, 21, 0, 0, tzinfo=datetime.timezone.utc)
    """
    for found in reversed(list(_pattern(pattern).finditer(path))):
        values = {name: value for name, value in found.groupdict().items() if value is not None}
        directives = " ".join(f"%{name}" for name in values)
        try:
            return datetime.strptime(" ".join(values.values()), directives).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


@lru_cache(maxsize=64)
def _pattern(pattern: str) -> re.Pattern[str]:
    pieces, seen = [], set()
    for piece in re.split(r"(%.)", pattern):
        named = _DIRECTIVES.get(piece)
        if named is None or (piece in seen and piece != "%%"):
            pieces.append(r"\w+" if named else re.escape(piece))
        else:
            pieces.append(named)
            seen.add(piece)
    return re.compile(r"(?<!\d)" + "".join(pieces) + r"(?!\d)")
