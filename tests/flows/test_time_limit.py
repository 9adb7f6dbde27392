"""The time limit of a deployment's runs comes from the environment, and is a number or nothing."""

import pytest

from palimpsest.flows.prefect_environment import time_limit
from palimpsest.records.errors import SettingsError


@pytest.mark.parametrize(("told", "seconds"), [("", None), ("90", 90.0), ("0.5", 0.5)])
def test_limit_is_what_the_environment_tells(
    told: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_TIME_LIMIT", told)
    assert time_limit() == seconds


@pytest.mark.parametrize("told", ["an hour", "0", "-1", "nan"])
def test_what_is_no_limit_is_refused_with_what_was_expected(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_TIME_LIMIT", told)
    with pytest.raises(SettingsError, match=f"PALIMPSEST_TIME_LIMIT={told}: expected seconds"):
        time_limit()
