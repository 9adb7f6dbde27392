"""Reference of all settings: default, accepted values and meaning of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from palimpsest.records.setting_fields import expected_values, fields_of
from palimpsest.records.settings import MAY_DIFFER, Settings

_DECISIVE = ("sensitivity", "read", "sign", "align")
_CORES = "the number of cores"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingFacts:
    """One setting.

    Attributes:
        name: ``stage.name``, as ``--set`` takes it.
        default: at the requested level; None if there is no default.
        default_text: the default as text for users.
        expected: the values that it accepts, in words.
        meaning: description of the setting.
        is_fixed: whether an archive keeps the value of its first run.
    """

    name: str
    default: Any
    default_text: str
    expected: str
    meaning: str
    is_fixed: bool


def list_settings(sensitivity: str = "edited") -> list[SettingFacts]:
    """Return all settings, in the order of their stages, with the defaults of a level."""
    defaults = Settings.model_validate({"sensitivity": sensitivity})
    values = defaults.model_dump(mode="json")
    facts = []
    for name, field in fields_of(Settings):
        stage, _, inner = name.partition(".")
        value = values[stage][inner] if inner else values[stage]
        text = _CORES if name == "run.workers" else value_text(value)
        is_fixed = stage in _DECISIVE and not (stage == "read" and inner in MAY_DIFFER)
        meaning = field.description or ""
        default = None if name == "run.workers" else value
        facts.append(
            SettingFacts(
                name=name,
                default=default,
                default_text=text,
                expected=expected_values(name, field),
                meaning=meaning,
                is_fixed=is_fixed,
            )
        )
    return facts


def value_text(value: Any) -> str:
    """Return a value as ``--set`` takes it, or ``none``."""
    if value is None or value == []:
        return "none"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def archive_values(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fixed settings of an archive by name, from the settings in its manifest."""
    values = {}
    for setting in list_settings():
        stage, _, inner = setting.name.partition(".")
        if setting.is_fixed:
            values[setting.name] = stored[stage][inner] if inner else stored[stage]
    return values
