"""Maintenance flows do what the commands do, and fail if something failed."""

import re
from pathlib import Path

import pytest

from palimpsest.flows.maintenance import clean, compact, report, verify
from palimpsest.inspector.catalogue import ensure_catalogue
from palimpsest.records.errors import ContractError, SettingsError
from palimpsest.store.archive import StoredArchive
from palimpsest.store.files import state_folder
from tests.inspector.report_files import parsed
from tests.pipeline.corpora import contents, ingest, reuse_articles, write_articles

pytestmark = pytest.mark.usefixtures("prefect_harness")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_STATE", str(tmp_path / "state"))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of three versions."""
    corpus = write_articles(tmp_path / "in", reuse_articles())
    files = sorted(corpus.iterdir())
    for count in (2, 4, len(files)):
        ingest(files[:count], tmp_path / "press")
    return tmp_path / "press"


def test_sound_archive_verifies_and_a_damaged_one_fails_the_run(archive: Path) -> None:
    assert verify(str(archive))["failed"] == 0
    [damaged, *_] = StoredArchive(archive).snapshot().files("paragraphs")
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(ContractError, match=r"version 3: \d+ failed \(files .*palimpsest verify"):
        verify(str(archive), tables_only=True)


def test_compact_and_clean_change_no_rows(archive: Path) -> None:
    before = contents(archive)
    result = compact(str(archive))
    assert result["version"] == 4
    assert result["files_after"] < result["files_before"]
    assert compact(str(archive))["version"] == 4
    assert clean(str(archive), keep=2)["dropped"] == [1, 2]
    assert contents(archive) == before


def test_clean_refuses_to_keep_nothing(archive: Path) -> None:
    with pytest.raises(Exception, match="keep"):
        clean(str(archive), keep=0)
    assert StoredArchive(archive).snapshot(1).manifest.version == 1


def test_report_is_written_and_replaced(archive: Path, tmp_path: Path) -> None:
    output = tmp_path / "reports" / "press.md"
    result = report(str(archive), str(output))
    assert output.read_text(encoding="utf-8") == result["page"]
    assert result["page"].startswith("# press, version 3\n")
    compact(str(archive))
    assert report(str(archive), str(output))["version"] == 4
    assert output.read_text(encoding="utf-8").startswith("# press, version 4\n")
    assert [path.name for path in output.parent.iterdir()] == ["press.md"]


def test_report_is_an_html_page_if_the_ending_says_so(archive: Path, tmp_path: Path) -> None:
    output = tmp_path / "press.html"
    result = report(str(archive), str(output))
    assert result["page"].startswith("# press, version 3\n")  # on Prefect's page
    root = parsed(output.read_text(encoding="utf-8"))
    assert root.xpath("//title")[0].text == "press, version 3"
    [counted] = re.findall(r"[\d,]+ paragraphs seen = .*?: nothing is missing", result["page"])
    assert counted in " ".join(root.text_content().split())
    with pytest.raises(SettingsError, match=r"output .*press\.pdf: ends in none of"):
        report(str(archive), str(tmp_path / "press.pdf"))


def state_files() -> list[Path]:
    """Return the files in the state folder, without empty lock files."""
    files = [path for path in state_folder().rglob("*") if path.is_file()]
    return [path for path in files if path.name != "lock" or path.stat().st_size]


def test_report_leaves_no_catalogue_and_uses_an_existing_one(archive: Path) -> None:
    first = report(str(archive))
    assert state_files() == []
    catalogue = ensure_catalogue(StoredArchive(archive))
    before = catalogue.stat()
    assert report(str(archive)) == first
    assert state_files() == [catalogue]
    assert catalogue.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("flow", [verify, compact, clean, report])
def test_missing_archive_fails_the_run_and_creates_nothing(flow, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is none"):
        flow(str(tmp_path / "none"))
    assert list(tmp_path.iterdir()) == []
