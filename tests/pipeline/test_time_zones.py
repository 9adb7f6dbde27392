"""The time zone of the machine affects neither an archive nor the dates that are shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ZONES = ["UTC", "Etc/UTC", "America/New_York", "Asia/Kolkata"]


@pytest.fixture(scope="module", params=ZONES)
def found(
    request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Return what ``tests.pipeline.time_zones`` prints in a time zone."""
    command = [
        sys.executable,
        "-m",
        "tests.pipeline.time_zones",
        str(tmp_path_factory.mktemp("zone")),
    ]
    environment = os.environ | {"TZ": request.param}
    ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True)
    result: dict[str, Any] = json.loads(ran.stdout)
    return result


def test_rows_of_dated_articles_are_not_rewritten_unless_they_change(found: dict[str, Any]) -> None:
    assert found["rewritten"] == []


def test_dates_are_shown_in_utc(found: dict[str, Any]) -> None:
    days = ["2024-03-04", "2024-03-05", "2024-03-06"]
    iso = [f"{day}T00:00:00Z" for day in days]
    plain = [f"{day} 00:00:00+00:00" for day in days]
    duckdb = [f"{day} 00:00:00+00" for day in days]
    assert found["dates"] == {
        "jsonl": iso,
        "prov": iso,
        "csv": [f"{day}T00:00:00.000000Z" for day in days],
        "catalogue": [f"('{one}',)" for one in iso],
        "sql": duckdb,
        "passages": [plain[0], plain[0], plain[1]],
        "since": plain[1:],
        "type": ["timestamp[us, tz=UTC]"],
        "day": duckdb,
    }
