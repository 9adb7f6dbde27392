"""What sources tell of themselves beside their text: titles, authors, sites, dates, languages.

It stands in the fields of a JSON line, in the lines above an article, in a file beside it, or in
its path; pages are read by ``ingest.pages.extract_worker``.
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
_NAMES_A_FILE = 16
"""So many names are listed in the time that it takes to ask for the sidecars of one file."""


def header_facts(text: str) -> DocumentFacts:
    """Return what the lines above an article tell: a date, who wrote it, and what they name.

    A line counts if it is a date and nothing else, ``By`` and a name, or a usual name, a colon and
    a value; marks such as ``--`` before it do not matter. The first line that is none of these and
    marked as they are is the title. The first line that is plain text ends the header.
    """
    told: dict[str, Any] = {}
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
            _tell(told, fact, named[2])
        elif byline and (is_marked or "author" not in told) and bare[-1] not in ".!?":
            _tell(told, "author", byline[1])
        elif bare[-1].isalnum() and (published := _date_in(bare)) is not None:
            told.setdefault("published_at", published)
        elif is_marked:
            title = title or (bare if "://" not in bare else None)
        elif number > 0:
            break
    if not told:
        return NO_FACTS
    if title and "title" not in told:
        told["title"] = title
    return _told(told, "header")


def _date_in(line: str) -> datetime | None:
    """Return the date that a line is and nothing else."""
    if len(line) > 40 or not has_digit(line):
        return None
    return parse_date(line, in_any_language=False)


def _tell(told: dict[str, Any], fact: str, value: Any) -> None:
    """Set a fact that is not told yet, if the value can be one."""
    if fact in told:
        return
    found = value_date(value) if fact == "published_at" else _one_line(value)
    if fact == "language" and isinstance(found, str):
        found = found[:3].rstrip("-_").lower() if _LANGUAGE.fullmatch(found) else None
    if found is not None:
        told[fact] = found


def value_date(value: Any) -> datetime | None:
    """Return the date that a value of JSON is: a text, or seconds since 1970."""
    if isinstance(value, str):
        return parse_date(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return of_epoch(value) if abs(value) > 1e8 else None


def _one_line(value: Any) -> str | None:
    if isinstance(value, list):
        value = ", ".join(filter(None, (_one_line(one) for one in value[:20])))
    elif isinstance(value, dict):
        value = value.get("name")
    if not isinstance(value, str):
        return None
    line = " ".join(value.split())[:_MAX_CHARS]
    return line.encode("utf-8", "replace").decode() or None


def json_facts(told: Mapping[str, Any], names: Sequence[str] = ()) -> DocumentFacts:
    """Return what fields tell.

    Args:
        told: the fields, by name.
        names: further names, as ``fact=field``; they come before the usual ones. The field of
            an object within the line is ``outer.inner``.
    """
    by_name = {str(name).lower(): value for name, value in told.items()}
    found: dict[str, Any] = {}
    for fact, _, field in (name.partition("=") for name in names):
        _tell(found, fact, _field_value(told, field))
    for fact, usual in _USUAL.items():
        for name in usual:
            if name in by_name:
                _tell(found, fact, by_name[name])
    return _told(found, "metadata")


def _field_value(fields: Mapping[str, Any], path: str) -> Any:
    """Return the value of a field, or of one in objects within: ``meta.timestamp``; else None."""
    if path in fields:
        return fields[path]
    value: Any = fields
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _told(found: Mapping[str, Any], told_by: str) -> DocumentFacts:
    if found.get("published_at"):
        return DocumentFacts(**found, published_from=told_by)
    return DocumentFacts(**found)


def sidecars_among(paths: Iterable[str]) -> set[str]:
    """Return those paths that are sidecars of other ones: they tell of them, and are no sources."""
    known = set(paths)
    if not any(path.endswith(".json") for path in known):
        return set()
    return {
        beside for path in known for beside in _beside(path) if beside in known and beside != path
    }


def sidecar_facts(path: str, names: Sequence[str] = ()) -> DocumentFacts:
    """Return what the sidecar of a file tells of it; nothing if it has none.

    Raises:
        SourceError: it has one that cannot be read.
    """
    for beside in _beside(path):
        try:
            size = os.stat(beside).st_size
        except OSError:
            continue
        if size > _MAX_SIDECAR_BYTES:
            raise _unreadable(beside, f"{size} bytes; expected at most {_MAX_SIDECAR_BYTES}")
        try:
            with open(beside, "rb") as file:
                told = json.loads(file.read())
        except (OSError, ValueError, RecursionError) as error:
            raise _unreadable(beside, f"{type(error).__name__}: {error}") from error
        if not isinstance(told, dict):
            raise _unreadable(beside, f"found a {type(told).__name__}; expected an object")
        facts = json_facts(told, names)
        return facts._replace(published_from="sidecar") if facts.published_at else facts
    return NO_FACTS


class Folders:
    """Tells which files have no sidecar, by what stands in the folders that they are in.

    Asking for each file takes three to five calls of the operating system. A folder of which few
    files are read, and which is large, is not looked through.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._files = Counter(path.rpartition("/")[0] for path in paths)
        self._seen: dict[str, frozenset[str] | None] = {}

    def may_tell(self, path: str) -> bool:
        """Tell whether a file may have a sidecar; False means that it has none."""
        folder, _, name = path.rpartition("/")
        if folder not in self._seen:
            self._seen[folder] = self._sidecars_in(folder)
        found = self._seen[folder]
        if not found:
            return found is None
        return any(beside in found for beside in _beside(name))

    def _sidecars_in(self, folder: str) -> frozenset[str] | None:
        """Return the names in a folder that sidecars may have; None if there are too many names."""
        most = _NAMES_A_FILE * self._files[folder]
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
        f"{os.path.basename(path)} beside it: {detail}; mend or remove it, and ingest again",
    )


def _beside(path: str) -> list[str]:
    """Return where the sidecar of a file may be, such as ``a.txt.json`` and ``a.meta.json``."""
    if path.lower().endswith(".json"):
        return []
    stem, dot, extension = path.rpartition(".")
    found = [path + ending for ending in _SIDECARS]
    if dot and "/" not in extension:
        found += [stem + ending for ending in _SIDECARS if ending != ".json"]
    return found


_DIRECTIVES = {
    "%Y": r"(?P<Y>\d{4})", "%y": r"(?P<y>\d{2})", "%m": r"(?P<m>0[1-9]|1[0-2])",
    "%d": r"(?P<d>0[1-9]|[12]\d|3[01])", "%j": r"(?P<j>\d{3})", "%H": r"(?P<H>[01]\d|2[0-3])",
    "%M": r"(?P<M>[0-5]\d)", "%S": r"(?P<S>[0-5]\d)", "%b": r"(?P<b>[A-Za-z]{3})",
    "%B": r"(?P<B>[A-Za-z]{3,9})", "%%": "%",
}  # fmt: skip


def path_date(path: str, pattern: str) -> datetime | None:
    """Return the date that stands in a path, the last one if there are several; None for none.

    Args:
        path: or URI.
        pattern: of ``strptime``'s directives for dates and times; figures beside it do not count.

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
