"""The settings command, and the messages about wrong settings."""

import json
from pathlib import Path

from palimpsest.records.settings import parse_settings
from tests.cli.test_main import run
from tests.pipeline.corpora import ingest, make_paragraph, write_articles


def test_all_settings_are_listed_with_default_range_and_meaning() -> None:
    result = run("settings")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    start = lines.index("* align.min_score = 4.5")
    assert [line.strip() for line in lines[start + 1 : start + 3]] == [
        "minimum score of a passage",
        "expected: a number above 0",
    ]
    assert "  run.workers = the number of cores" in lines
    assert max(map(len, lines)) <= 80


def test_defaults_of_another_level_can_be_listed() -> None:
    rows = json.loads(run("settings", "--sensitivity", "reworded", "--json").stdout)
    [row] = [row for row in rows if row["name"] == "align.min_score"]
    assert row["default"] == 2.5
    assert row["is_fixed"] is True


def test_settings_of_an_archive_are_shown_beside_the_defaults(tmp_path: Path) -> None:
    folder = write_articles(tmp_path / "in", {"a.txt": [make_paragraph(1)]})
    ingest(folder, tmp_path / "press", parse_settings({"align": {"min_score": 6}}))
    assert "* align.min_score = 6.0  (default 4.5)" in run("settings", tmp_path / "press").stdout
    rows = json.loads(run("settings", tmp_path / "press", "--json").stdout)
    values = {row["name"]: row["value"] for row in rows}
    assert values["align.min_score"] == 6
    assert values["sensitivity"] == "edited"
    assert values["run.workers"] is None


def test_wrong_usage_is_refused(tmp_path: Path) -> None:
    assert run("settings", tmp_path / "none").exit_code == 2
    assert "leave it out" in run("settings", tmp_path, "--sensitivity", "edited").stderr
    assert "name one" in run("settings", "--version", 1).stderr


def test_wrong_settings_are_refused_with_the_expected_values(tmp_path: Path) -> None:
    result = run(
        "ingest", tmp_path, "--archive", tmp_path / "press", "--set", "passages.clear=1",
        "--set", "run.memory=lots", "--series", "@foldr",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "passages.clear = '1': unknown setting of passages" in result.stderr
    assert "run.memory = 'lots': expected a size such as 512MB" in result.stderr
    assert "expected a name, or one of @folder, @site" in result.stderr
    assert "permitted" not in result.stderr
