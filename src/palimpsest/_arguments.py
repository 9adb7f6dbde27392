"""What a caller gives, checked before anything is read for it."""

from __future__ import annotations

import operator
import os
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time

from palimpsest.records.errors import SettingsError
from palimpsest.records.schemas import TABLES

Name = str | os.PathLike[str]


def number(name: str, value: int | None, *, least: int = 0) -> int | None:
    """Return a whole number, or None if none was given.

    Raises:
        SettingsError: it is none, or too small.
    """
    if value is None:
        return None
    try:
        found = operator.index(value)
    except TypeError:
        found = None
    if found is None or found < least:
        raise SettingsError([f"{name} = {value!r}: expected a whole number, {least} or more"])
    return found


def choice(name: str, value: str, known: Collection[str]) -> str:
    """Return one of the known values.

    Raises:
        SettingsError: it is none of them.
    """
    if value not in known:
        raise SettingsError([f"{name} {value!r}: there is none; expected {', '.join(known)}"])
    return value


def columns(table: str, names: Sequence[str] | None) -> list[str] | None:
    """Return names of columns of a table, or None for all; a single string is one name.

    Raises:
        SettingsError: one is not of this table, or named twice; each such name is told.
    """
    if names is None:
        return None
    wanted = [names] if isinstance(names, str) else list(names)
    known = TABLES[table].names
    faults = [
        f"column {one!r}: {table} has none; its columns are {', '.join(known)}"
        for one in wanted
        if one not in known
    ]
    faults += [f"column {one!r}: named twice" for one in set(wanted) if wanted.count(one) > 1]
    if faults or not wanted:
        raise SettingsError(faults or [f"columns: none is named; those of {table}: {known}"])
    return wanted


def moment(name: str, value: date | str | None) -> datetime | None:
    """Return a time with its zone, or None if none was given.

    Args:
        name: what it is for.
        value: a date, which is its midnight, a time, or either in ISO 8601; in UTC unless it says.

    Raises:
        SettingsError: it is none of these.
    """
    if value is None:
        return None
    try:
        told = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        told = None
    if not isinstance(told, date):
        fault = f"{name} = {value!r}: expected a date or a time, such as '2024-11-12'"
        raise SettingsError([fault])
    if not isinstance(told, datetime):
        told = datetime.combine(told, time())
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def normalised(text: str | None) -> str | None:
    """Return a text in the form in which texts are kept: letters composed (NFC)."""
    return None if text is None else unicodedata.normalize("NFC", text)


def pair(document_id: str | None, other_id: str | None) -> tuple[str | None, str | None]:
    """Return the ids of two documents, of one, or of none.

    Raises:
        SettingsError: the second is named alone, or both are the same.
    """
    if other_id is not None and document_id is None:
        raise SettingsError(["other: expected a document beside it, whose passages it shares"])
    if other_id is not None and other_id == document_id:
        fault = f"both sides are the document {document_id}; name two that differ"
        raise SettingsError([fault])
    return document_id, other_id


def names(values: Name | Iterable[Name]) -> list[Name]:
    """Return one or several names as a list; a string or a path is one name."""
    if isinstance(values, str | os.PathLike):
        return [values]
    return list(values)
