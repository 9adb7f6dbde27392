"""Prefect's configuration is found where Prefect itself finds it."""

import os
from pathlib import Path

import pytest

from palimpsest.flows.prefect_profile import use_configured_api
from palimpsest.records.errors import SettingsError

_PROFILES = """
active = "office"

[profiles.office]
PREFECT_API_URL = "http://office:4200/api"
PREFECT_API_KEY = "secret"

[profiles.here]
PREFECT_LOGGING_LEVEL = "INFO"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prefect's home folder; the environment is restored after the test."""
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.setenv(name, "")  # so that it is removed again afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    return tmp_path


def test_nothing_is_configured_without_an_address_or_a_profile() -> None:
    assert not use_configured_api()


def test_address_in_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api")
    assert use_configured_api()


def test_active_profile_is_copied_to_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "profiles.toml").write_text(_PROFILES, encoding="utf-8")
    monkeypatch.setenv("PREFECT_API_KEY", "of the environment")
    assert use_configured_api()
    assert os.environ["PREFECT_API_URL"] == "http://office:4200/api"
    assert os.environ["PREFECT_API_KEY"] == "of the environment"


@pytest.mark.parametrize("name", ["here", "missing"])
def test_profile_named_in_the_environment_is_the_active_one(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "profiles.toml").write_text(_PROFILES, encoding="utf-8")
    monkeypatch.setenv("PREFECT_PROFILE", name)
    assert not use_configured_api()
    assert "PREFECT_LOGGING_LEVEL" in os.environ  # set by the tests, not by the profile
    assert os.environ["PREFECT_LOGGING_LEVEL"] != "INFO"


def test_damaged_profiles_are_refused_with_their_path(home: Path) -> None:
    (home / "profiles.toml").write_text("active = ", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"profiles\.toml"):
        use_configured_api()
