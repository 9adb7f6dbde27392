"""Check the arguments of the public API before anything is read."""

from __future__ import annotations

import operator
import os
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time

from palimpsest._types import Name
from palimpsest.records.errors import SettingsError
from palimpsest.records.schemas import TABLES


def number(name: str, value: int | None, *, least: int = 0) -> int | None:
    """Return a whole number, or None.

    Raises:
        SettingsError: the value is not a whole number, or too small.
    """
    if value is None:
        return None
    try:
        index = operator.index(value)
    except TypeError:
        index = None
    if index is None or index < least:
        raise SettingsError([f"{name} = {value!r}: expected a whole number, {least} or more"])
    return index


def choice(name: str, value: str, choices: Collection[str]) -> str:
    """Return a value that is one of the choices.

    Raises:
        SettingsError: it is none of them.
    """
    if value not in choices:
        raise SettingsError([f"{name} {value!r}: unknown; expected {', '.join(choices)}"])
    return value


def columns(table: str, names: Sequence[str] | None) -> list[str] | None:
    """Return names of columns of a table, or None for all; a single string is one name.

    Raises:
        SettingsError: names that the table does not have, or that are given twice.
    """
    if names is None:
        return None
    names = [names] if isinstance(names, str) else list(names)
    known = TABLES[table].names
    faults = [
        f"column {name!r}: unknown; the columns of {table} are {', '.join(known)}"
        for name in names
        if name not in known
    ]
    faults += [f"column {name!r}: named twice" for name in set(names) if names.count(name) > 1]
    if faults or not names:
        expected = f"expected some of {', '.join(known)}"
        raise SettingsError(faults or [f"columns: no column is named; {expected}"])
    return names


def moment(name: str, value: date | str | None) -> datetime | None:
    """Return a time with its time zone, or None.

    Args:
        name: of the parameter.
        value: a date, which means its midnight, a time, or either in ISO 8601; UTC by default.

    Raises:
        SettingsError: it is none of these.
    """
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        parsed = None
    if not isinstance(parsed, date):
        fault = f"{name} = {value!r}: expected a date or a time, such as '2024-11-12'"
        raise SettingsError([fault])
    if not isinstance(parsed, datetime):
        parsed = datetime.combine(parsed, time())
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def normalised(text: str | None) -> str | None:
    """Return a text in the form in which archives store texts: composed letters (NFC)."""
    return None if text is None else unicodedata.normalize("NFC", text)


def pair(document_id: str | None, other_id: str | None) -> tuple[str | None, str | None]:
    """Return the ids of two documents, of one, or of none.

    Raises:
        SettingsError: only the second is named, or both are the same.
    """
    if other_id is not None and document_id is None:
        raise SettingsError(["other: expected with document, whose passages it shares"])
    if other_id is not None and other_id == document_id:
        fault = f"document and other are both {document_id}; expected two that differ"
        raise SettingsError([fault])
    return document_id, other_id


def names(values: Name | Iterable[Name]) -> list[Name]:
    """Return one or several names as a list; a string or a path is one name."""
    if isinstance(values, str | os.PathLike):
        return [values]
    return list(values)
