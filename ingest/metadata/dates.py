"""Parse dates as sources write them; an ambiguous one is no date."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache

_MONTH_NAMES = (
    "january february march april may june july august september october november december"
)
_MONTHS = {
    written: number
    for number, name in enumerate(_MONTH_NAMES.split(), 1)
    for written in (name, name[:3])
} | {"sept": 9}
_ZONES = {
    "utc": 0, "gmt": 0, "ut": 0, "z": 0, "wet": 0, "bst": 60, "west": 60, "cet": 60, "cest": 120,
    "eet": 120, "eest": 180, "msk": 180, "est": -300, "edt": -240, "cst": -360, "cdt": -300,
    "mst": -420, "mdt": -360, "pst": -480, "pdt": -420, "akst": -540, "akdt": -480, "hst": -600,
    "jst": 540, "kst": 540, "hkt": 480, "sgt": 480, "aest": 600, "aedt": 660,
}  # fmt: skip
"""Minutes east of Greenwich. Ambiguous abbreviations have the meaning that mail and news give them
(RFC 5322, 4.3: EST, CST, MST and PST are North American); BST is British."""
_MONTH = r"(?P<month>[a-z]{3,9})\.?"
_CLOCK = (
    r"(?:,?\s+(?:at\s+)?(?P<hour>\d{1,2})[:.](?P<minute>\d\d)(?::(?P<second>\d\d))?"
    r"\s*(?P<half>[ap]\.?m\.?)?\s*\(?(?P<zone>[a-z]{1,4}|(?:utc|gmt)?[+-]\d{1,2}:?(?:\d\d)?)?\)?)?"
)
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_WRITTEN = (
    re.compile(
        rf"{_WEEKDAY}{_MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}}){_CLOCK}"
    ),
    re.compile(
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\.?\s+{_MONTH},?\s+(?P<year>\d{{4}}){_CLOCK}"
    ),
    re.compile(rf"(?P<year>\d{{4}})/(?P<month>\d{{1,2}})/(?P<day>\d{{1,2}}){_CLOCK}"),
    re.compile(rf"(?P<day>\d{{1,2}})\.(?P<month>\d{{1,2}})\.(?P<year>\d{{4}}){_CLOCK}"),
)
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[t ]\d\d.*)?|\d{8}(?:t\d{4,6}.*)?")
_DIGIT = re.compile("[0-9]")
_STAMP = re.compile(r"\d{14}")
_LETTERS = re.compile(r"[^\W\d_]{3,}")
_YEARS = (1400, 2100)
_MAX_CHARS = 60


def parse_date(text: str, *, in_any_language: bool = True) -> datetime | None:
    """Return the moment if a text is just a date, in UTC; else None.

    Args:
        text: a date, with or without a time and a zone.
        in_any_language: whether to accept months in languages other than English, which is slow.

    A day without a time is its midnight; a time without a zone is in UTC. Numeric dates count if
    their order is unambiguous: ``2006-10-21``, ``2006/10/21``, ``21.10.2006``.

    Example:
        >>> parse_date("Sat Oct 21, 2006 8:11pm EDT")
        datetime.datetime(2006, 10, 22, 0, 11, tzinfo=datetime.timezone.utc)
        >>> parse_date("03/04/2006")
    """
    text = " ".join(text.split())
    if not 6 <= len(text) <= _MAX_CHARS or not has_digit(text):
        return None
    return _parse(text, in_any_language)


def has_digit(text: str) -> bool:
    """Return whether a text contains a digit of any script, superscripts included."""
    if text.isascii():
        return _DIGIT.search(text) is not None
    return any(map(str.isdigit, text))


@lru_cache(maxsize=4096)
def _parse(text: str, in_any_language: bool) -> datetime | None:
    lowered = text.lower()
    try:
        found = _of_figures(lowered) or _written(lowered) or _of_mail(text)
    except (ValueError, OverflowError, TypeError):
        return None
    if found is None and in_any_language:
        found = _in_other_languages(text)
    if found is None or not _YEARS[0] <= found.year < _YEARS[1]:
        return None
    return found


def of_epoch(seconds: float) -> datetime | None:
    """Return the moment at a number of seconds, or if too large, milliseconds, after 1970."""
    if abs(seconds) >= 1e11:
        seconds /= 1000
    try:
        found = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return found if _YEARS[0] <= found.year < _YEARS[1] else None


def _of_figures(text: str) -> datetime | None:
    if _STAMP.fullmatch(text):  # as in web archives
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    if not _ISO.fullmatch(text):
        return None
    try:
        return _in_utc(datetime.fromisoformat(text.upper()))
    except ValueError:
        zone = text.rpartition(" ")
        if zone[2] in _ZONES:
            return _in_utc(datetime.fromisoformat(zone[0]).replace(tzinfo=_zone(zone[2])))
        raise


def _written(text: str) -> datetime | None:
    for pattern in _WRITTEN:
        found = pattern.fullmatch(text)
        if found is None:
            continue
        month = int(found["month"]) if found["month"].isdigit() else _MONTHS.get(found["month"])
        if month is None:
            continue
        day = date(int(found["year"]), month, int(found["day"]))
        clock = time()
        if found["hour"] is not None:
            clock = _clock(int(found["hour"]), found["half"], found["minute"], found["second"])
        if found["zone"] is not None and _zone(found["zone"]) is None:
            return None
        zone = UTC if found["zone"] is None else _zone(found["zone"])
        return _in_utc(datetime.combine(day, clock, zone))
    return None


def _clock(hour: int, half: str | None, minute: str, second: str | None) -> time:
    if half is not None:
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    return time(hour, int(minute), int(second or 0))


@lru_cache(maxsize=256)
def _zone(name: str) -> timezone | None:
    if name in _ZONES:
        return timezone(timedelta(minutes=_ZONES[name]))
    figures = re.fullmatch(r"(?:utc|gmt)?([+-])(\d{1,2}):?(\d\d)?", name)
    if figures is None:
        return None
    minutes = int(figures[2]) * 60 + int(figures[3] or 0)
    return timezone(timedelta(minutes=minutes if figures[1] == "+" else -minutes))


def _of_mail(text: str) -> datetime | None:
    """Parse a date as in mail (RFC 5322)."""
    if "," not in text[:10] and text.count(":") < 1:
        return None
    return _in_utc(parsedate_to_datetime(text))


def _in_utc(moment: datetime) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _in_other_languages(text: str) -> datetime | None:
    """Parse a date with a month in another language; day, month and year are required."""
    words = _LETTERS.findall(text)
    if not words or not re.search(r"(?<!\d)\d{4}(?!\d)", text) or len(text) > 40:
        return None
    import dateparser

    options = {"STRICT_PARSING": True, "REQUIRE_PARTS": ["day", "month", "year"]}
    try:
        found = dateparser.parse(text, settings=options)
    except Exception:  # its many parsers raise all sorts
        return None
    return None if found is None else _in_utc(found)
