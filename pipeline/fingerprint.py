"""The fingerprint of an archive: the settings and stage versions that decide its rows.

It is stored as ``sealed`` in each manifest, and its digest as ``seal`` in each row of ``runs``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from palimpsest.dedup import STAGE_VERSION as DEDUP_VERSION
from palimpsest.ingest import STAGE_VERSION as INGEST_VERSION
from palimpsest.kernels.unicode import UNICODE_TABLE_VERSION
from palimpsest.records.errors import SettingsError
from palimpsest.records.flatten import flatten
from palimpsest.records.schemas import SCHEMA_VERSION
from palimpsest.records.settings import MAY_DIFFER, Settings
from palimpsest.store import STAGE_VERSION as STORE_VERSION
from palimpsest.store.archive import Snapshot

STAGE_VERSIONS = {
    "ingest": INGEST_VERSION,
    "dedup": DEDUP_VERSION,
    "store": STORE_VERSION,
    "schema": SCHEMA_VERSION,
    "unicode": UNICODE_TABLE_VERSION,
}
_MAY_DIFFER = {f"read.{name}" for name in MAY_DIFFER}


def check_fingerprint(settings: Settings, base: Snapshot | None) -> dict[str, Any]:
    """Return the fingerprint of an archive, after checking that these settings agree with it.

    Args:
        settings: of a run.
        base: the archive's version; None for a new archive, which gets the fingerprint of the run.

    Raises:
        SettingsError: one fault for each setting and stage version that differs.
    """
    own = {"settings": json.loads(settings.decisive()), "stages": STAGE_VERSIONS}
    if base is None or base.manifest.sealed == own:
        return own
    stored = base.manifest.sealed
    may_differ = _MAY_DIFFER | _implied_by_level(stored["settings"], own["settings"])
    faults = []
    for part in ("settings", "stages"):
        stored_values, own_values = dict(flatten(stored[part])), dict(flatten(own[part]))
        faults += [
            f"{part} {name} = {own_values.get(name)!r}, but the archive was made with "
            f"{stored_values.get(name)!r}; use that, or write to a new archive"
            for name in sorted(stored_values.keys() | own_values.keys())
            if stored_values.get(name) != own_values.get(name) and name not in may_differ
        ]
    if faults:
        raise SettingsError(faults)
    return stored


def fingerprint_digest(settings: Settings) -> str:
    """Return the digest of the decisive settings and the stage versions, in hex."""
    return settings.fingerprint(STAGE_VERSIONS)


def _implied_by_level(*settings: Mapping[str, Any]) -> set[str]:
    """Return the names of settings that have the default of their sensitivity level in all."""
    implied = []
    for values in settings:
        level = Settings.model_validate({"sensitivity": values["sensitivity"]})
        defaults = dict(flatten(json.loads(level.decisive())))
        own = dict(flatten(values))
        implied.append({name for name in defaults if own.get(name) == defaults[name]})
    return set.intersection(*implied) - {"sensitivity"}
