"""The schedule command refuses invalid timetables before it starts anything."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from palimpsest.cli.main import main


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "no schedule: expected --cron EXPRESSION, --every SPAN or --watch"),
        (("--cron", "0 5 * * *", "--every", "1h"), "--cron and --every: expected one of them"),
        (("--cron", "at five"), "--cron 'at five': "),
        (("--cron", "0 5 * * *", "--timezone", "Mars/Base"), "--timezone Mars/Base: unknown"),
        (("--every", "often"), "'often': expected a time span such as 30m, 1h or 1d12h"),
        (("--every", "1s"), "'1s': expected at least 10s"),
        (("--every", "1h", "--set", "align.x=1"), "align.x"),
    ],
)
def test_invalid_timetables_are_refused(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "a.txt").write_text("An article.", encoding="utf-8")
    arguments = ["schedule", str(tmp_path), "--archive", str(tmp_path / "press"), *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_missing_source_is_refused(tmp_path: Path) -> None:
    arguments = ["schedule", str(tmp_path / "none"), "--archive", "press", "--every", "1h"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "none" in result.stderr
