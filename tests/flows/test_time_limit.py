"""The time limit of a deployment's runs comes from the environment."""

import pytest

from palimpsest.flows.prefect_environment import time_limit
from palimpsest.records.errors import SettingsError


@pytest.mark.parametrize(("value", "seconds"), [("", None), ("90", 90.0), ("0.5", 0.5)])
def test_limit_is_read_from_the_environment(
    value: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_TIME_LIMIT", value)
    assert time_limit() == seconds


@pytest.mark.parametrize("value", ["an hour", "0", "-1", "nan"])
def test_limit_that_is_not_a_number_above_0_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_TIME_LIMIT", value)
    with pytest.raises(SettingsError, match=f"PALIMPSEST_TIME_LIMIT={value}: expected seconds"):
        time_limit()
