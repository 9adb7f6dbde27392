"""What each setting is: its default, the values that it takes, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from palimpsest.records.setting_fields import expected_values, fields_of
from palimpsest.records.settings import MAY_DIFFER, Settings

_DECISIVE = ("sensitivity", "read", "sign", "align")
_CORES = "the number of cores"


@dataclass(frozen=True, slots=True)
class SettingFacts:
    """One setting.

    Attributes:
        name: as it is given with ``--set``: ``stage.name``.
        default: at the level that was asked for; None if it has none.
        default_text: the same for people.
        expected: the values that it takes.
        meaning: what it does.
        is_fixed: an archive keeps the value of its first run.
    """

    name: str
    default: Any
    default_text: str
    expected: str
    meaning: str
    is_fixed: bool


def list_settings(sensitivity: str = "edited") -> list[SettingFacts]:
    """Return all settings in the order of their stages, with the defaults of a level."""
    defaults = Settings.model_validate({"sensitivity": sensitivity})
    values = defaults.model_dump(mode="json")
    found = []
    for name, field in fields_of(Settings):
        stage, _, inner = name.partition(".")
        value = values[stage][inner] if inner else values[stage]
        text = _CORES if name == "run.workers" else value_text(value)
        is_fixed = stage in _DECISIVE and not (stage == "read" and inner in MAY_DIFFER)
        meaning = field.description or ""
        default = None if name == "run.workers" else value
        found.append(
            SettingFacts(name, default, text, expected_values(name, field), meaning, is_fixed)
        )
    return found


def value_text(value: Any) -> str:
    """Return a value as it is given with ``--set``, or ``none``."""
    if value is None or value == []:
        return "none"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def archive_values(sealed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fixed settings of an archive by name, from those in its manifest."""
    found = {}
    for one in list_settings():
        stage, _, inner = one.name.partition(".")
        if one.is_fixed:
            found[one.name] = sealed[stage][inner] if inner else sealed[stage]
    return found
