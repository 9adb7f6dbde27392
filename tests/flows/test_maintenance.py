"""Flows that look after an archive do what the commands do, and fail where something failed."""

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


def test_compact_and_clean_leave_the_rows(archive: Path) -> None:
    before = contents(archive)
    done = compact(str(archive))
    assert done["version"] == 4
    assert done["files_after"] < done["files_before"]
    assert compact(str(archive))["version"] == 4
    assert clean(str(archive), keep=2)["dropped"] == [1, 2]
    assert contents(archive) == before


def test_clean_refuses_to_keep_nothing(archive: Path) -> None:
    with pytest.raises(Exception, match="keep"):
        clean(str(archive), keep=0)
    assert StoredArchive(archive).snapshot(1).manifest.version == 1


def test_report_is_written_and_replaced(archive: Path, tmp_path: Path) -> None:
    output = tmp_path / "reports" / "press.md"
    told = report(str(archive), str(output))
    assert output.read_text(encoding="utf-8") == told["page"]
    assert told["page"].startswith("# press, version 3\n")
    compact(str(archive))
    assert report(str(archive), str(output))["version"] == 4
    assert output.read_text(encoding="utf-8").startswith("# press, version 4\n")
    assert [path.name for path in output.parent.iterdir()] == ["press.md"]


def test_report_is_a_page_of_its_own_if_the_name_says_so(archive: Path, tmp_path: Path) -> None:
    output = tmp_path / "press.html"
    told = report(str(archive), str(output))
    assert told["page"].startswith("# press, version 3\n")  # on Prefect's page
    root = parsed(output.read_text(encoding="utf-8"))
    assert root.xpath("//title")[0].text == "press, version 3"
    [counted] = re.findall(r"[\d,]+ paragraphs seen = .*?: nothing is missing", told["page"])
    assert counted in " ".join(root.text_content().split())
    with pytest.raises(SettingsError, match=r"output .*press\.pdf: ends in none of"):
        report(str(archive), str(tmp_path / "press.pdf"))


def files_kept() -> list[Path]:
    """All that is in the state folder but the empty files that are locked."""
    files = [path for path in state_folder().rglob("*") if path.is_file()]
    return [path for path in files if path.name != "lock" or path.stat().st_size]


def test_report_leaves_no_catalogue_and_takes_one_that_is_kept(archive: Path) -> None:
    first = report(str(archive))
    assert files_kept() == []
    kept = ensure_catalogue(StoredArchive(archive))
    before = kept.stat()
    assert report(str(archive)) == first
    assert files_kept() == [kept]
    assert kept.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("one", [verify, compact, clean, report])
def test_missing_archive_fails_the_run_and_makes_nothing(one, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is none"):
        one(str(tmp_path / "none"))
    assert list(tmp_path.iterdir()) == []
