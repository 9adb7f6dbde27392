"""Options of the command line for sources that are not plain text."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from palimpsest.cli.main import main
from palimpsest.store.archive import StoredArchive
from tests.pipeline.corpora import make_paragraph
from tests.pipeline.test_sources import as_page, as_zip, write


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    files = {
        "talbote/20240304-a.txt": make_paragraph(1).encode(),
        "umschau/20240305-b.html": as_page([make_paragraph(1), make_paragraph(2)], "none"),
        "c.zip": as_zip({"20240306.txt": make_paragraph(3).encode(), "../d.txt": b"D"}),
    }
    return write(tmp_path / "in", files)


def test_dry_run_shows_what_would_be_read_and_creates_no_archive(
    corpus: Path, tmp_path: Path
) -> None:
    result = run("ingest", corpus, "--archive", tmp_path / "press", "--dry-run")
    assert result.exit_code == 1  # something would be rejected
    assert "3 would be read, 0 known, 1 would be rejected" in result.output
    assert "1 text/html" in result.output
    assert "unsafe-name" in result.output
    assert "../d.txt" in result.output
    assert result.output.rstrip().endswith("nothing was changed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_dry_run_prints_sources_and_rejects_as_json(corpus: Path, tmp_path: Path) -> None:
    result = run("ingest", corpus, "--archive", tmp_path / "press", "--dry-run", "--json")
    preview = json.loads(result.output)
    assert {row["media_type"] for row in preview["sources"]} == {"text/plain", "text/html"}
    assert [row["reason"] for row in preview["rejects"]] == ["unsafe-name"]


def test_dates_and_series_are_taken_from_paths(corpus: Path, tmp_path: Path) -> None:
    options = ["--date-from-path", "%Y%m%d", "--series", "@folder", "--no-prefect"]
    assert run("ingest", corpus, "--archive", tmp_path / "press", *options).exit_code == 1
    rows = StoredArchive(tmp_path / "press").snapshot().read("sources").to_pylist()
    by_name = {row["uri"].rpartition("/")[2]: row for row in rows}
    assert [row["published_at"].day for _, row in sorted(by_name.items())] == [4, 5, 6]
    assert by_name["20240304-a.txt"]["series"] == "talbote"
    assert by_name["20240305-b.html"]["series"] == "umschau"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--date-from-path", "%m%d", "%Y%m%d"),
        ("--set", "read.metadata_fields=colour=red", "title, author, site"),
    ],
)
def test_wrong_option_is_refused_with_the_expected_values(
    corpus: Path, tmp_path: Path, option: str, value: str, message: str
) -> None:
    result = run("ingest", corpus, "--archive", tmp_path / "press", option, value)
    assert result.exit_code == 2
    assert message in result.output


def test_member_of_a_container_is_rebuilt_and_removed_by_its_address(
    corpus: Path, tmp_path: Path
) -> None:
    run("ingest", corpus, "--archive", tmp_path / "press", "--no-prefect")
    member = f"{corpus}/c.zip#member=20240306.txt"
    rebuilt = run("rebuild", tmp_path / "press", member)
    assert rebuilt.output.strip() == make_paragraph(3)
    assert run("remove", tmp_path / "press", member, "--reason", "asked for").exit_code == 0
    assert run("rebuild", tmp_path / "press", member).exit_code == 2
