"""Find the Prefect API that the user has configured, without importing Prefect.

Importing Prefect takes seconds, and most commands never need it.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from palimpsest.records.errors import SettingsError

API_URL = "PREFECT_API_URL"


def use_configured_api() -> bool:
    """Return whether a Prefect API is configured, in the environment or in the active profile.

    The active profile is copied to the environment, except for variables that are set already, so
    that it holds even if ``PREFECT_HOME`` is changed later, and for child processes.

    Raises:
        SettingsError: the profiles file cannot be read.
    """
    if os.environ.get(API_URL):
        return True
    profile = _active_profile()
    if not profile.get(API_URL):
        return False
    os.environ.pop(API_URL, None)  # an empty one
    for name, value in profile.items():
        os.environ.setdefault(name, str(value))
    return True


def _active_profile() -> dict[str, Any]:
    """Return the settings of the active profile; empty if there is none."""
    path = _profiles_path()
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        fault = f"{path}: Prefect's profiles cannot be read ({error})"
        raise SettingsError(
            [f"{fault}; repair it, or set PREFECT_PROFILES_PATH to another file"]
        ) from error
    name = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    profile = profiles.get("profiles", {}).get(name, {})
    return profile if isinstance(profile, dict) else {}


def _profiles_path() -> Path:
    """Return where Prefect looks for its profiles."""
    if named := os.environ.get("PREFECT_PROFILES_PATH"):
        return Path(named).expanduser()
    home = os.environ.get("PREFECT_HOME") or "~/.prefect"
    return Path(home).expanduser() / "profiles.toml"
