"""The report command and compare --output: what they write, print and refuse."""

import json
import os
import queue
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from palimpsest.store.archive import StoredArchive
from palimpsest.store.files import state_folder
from tests.cli.test_main import run
from tests.inspector.report_files import parsed
from tests.pipeline.corpora import ingest, listing, make_paragraph, write_articles

LEFT = "tarn-wire/2024-11-12-lantern-bridge-closed.txt"
RIGHT = "marrowick-tidings/2024-11-13-two-shores-one-queue.txt"


@pytest.fixture(autouse=True, scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A state folder for this module, so that the catalogue is built once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PALIMPSEST_STATE", str(tmp_path_factory.mktemp("state")))
        yield


def test_report_is_written_and_its_path_printed(examples_archive: Path, tmp_path: Path) -> None:
    before = listing(examples_archive)
    out = tmp_path / "press.html"
    result = run("report", examples_archive, "--output", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{out} written: ")
    assert result.stdout.endswith(" kB; version 1\n")
    root = parsed(out.read_text(encoding="utf-8"))
    assert root.xpath("//title")[0].text == "press, version 1"
    assert "139 paragraphs seen = 109 kept + 0 folded + 30 repeated" in root.text_content()
    assert listing(examples_archive) == before


def test_report_is_opened_in_the_browser(
    examples_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(webbrowser, "open", opened.put)
    out = tmp_path / "a b.html"
    assert run("report", examples_archive, "--output", out, "--open").exit_code == 0
    assert opened.get(timeout=10) == out.as_uri()


def test_markdown_report_shows_the_same_values(examples_archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "press.md"
    printed = json.loads(run("report", examples_archive, "--output", out, "--json").stdout)
    assert printed == {"output": str(out), "bytes": out.stat().st_size, "version": 1}
    page = out.read_text(encoding="utf-8")
    assert page.startswith("# press, version 1\n")
    assert "139 paragraphs seen = 109 kept + 0 folded + 30 repeated" in page


def test_reports_of_one_and_two_documents_accept_ids_and_paths(
    examples: Path, examples_archive: Path, tmp_path: Path
) -> None:
    sources = StoredArchive(examples_archive).snapshot().read("sources").to_pylist()
    ids = {
        name: next(row["document_id"] for row in sources if unquote(row["uri"]).endswith(name))
        for name in (LEFT, RIGHT)
    }
    document_page, comparison_page = tmp_path / "one.html", tmp_path / "two.html"
    result = run(
        "report", examples_archive, "--document", ids[LEFT][:8], "--output", document_page, "--json"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["documents"] == len(
        parsed(document_page.read_text()).xpath("//h3")
    )
    names = (examples / LEFT, ids[RIGHT])
    result = run(
        "report", examples_archive, "--compare", *names, "--output", comparison_page, "--json"
    )
    assert result.exit_code == 0, result.output
    root = parsed(comparison_page.read_text(encoding="utf-8"))
    assert json.loads(result.stdout)["passages"] == len(root.xpath("//ol[@class='chips']/li"))
    assert root.xpath("//article//h2")[0].text.startswith("Storm shuts")


def test_comparing_two_documents_needs_no_catalogue(
    examples: Path, examples_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_STATE", str(tmp_path / "none"))
    names = (examples / LEFT, examples / RIGHT)
    result = run("report", examples_archive, "--compare", *names, "--output", tmp_path / "x.html")
    assert result.exit_code == 0, result.output
    assert not state_folder().exists()


def test_report_of_an_older_version_shows_that_version(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for seed in (1, 2):
        write_articles(folder, {f"{seed}.txt": [make_paragraph(seed)]})
        ingest(folder, tmp_path / "press")
    out = tmp_path / "old.html"
    assert run("report", tmp_path / "press", "--version", 1, "--output", out).exit_code == 0
    root = parsed(out.read_text())
    assert "1 document from 1 source" in root.xpath("//p[@class='lead']")[0].text_content()


def test_compare_writes_the_passages_it_prints_as_html(examples: Path, tmp_path: Path) -> None:
    out, names = tmp_path / "x.html", (examples / LEFT, examples / RIGHT)
    printed = json.loads(run("compare", *names, "--json").stdout)
    result = run("compare", *names, "--output", out, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    passages = len(printed["passages"])
    assert summary == {"output": str(out), "bytes": out.stat().st_size, "passages": passages}
    root = parsed(out.read_text(encoding="utf-8"))
    assert len(root.xpath("//ol[@class='chips']/li")) == passages
    text = run("compare", *names, "--output", tmp_path / "y.html").stdout
    assert text.startswith(f"{tmp_path / 'y.html'} written: ")
    assert text.endswith(f"passages {passages}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("report {archive}", "--output"),
        ("report {archive} --output {new}.pdf", "ends in none of .html"),
        ("report {archive} --output {new}.html --version 7", "7"),
        ("report {missing} --output {new}.html", "there is none"),
        ("report {archive} --output {new}.html --document nobody", "nobody"),
        ("report {archive} --output {new}.html --compare {left} nobody", "nobody"),
        ("report {archive} --output {new}.html --compare {left} {left}", "both sides"),
        ("report {archive} --output {new}.md --document {left}", "FILE.html"),
        (
            "report {archive} --output {new}.html --document {left} --compare {left} {right}",
            "one of",
        ),
        ("compare {left} {missing} --output {new}.html", "no such file"),
        ("compare {left} {right} --output {new}.md", "ends in none of .html"),
    ],
)
def test_wrong_usage_exits_with_2_and_leaves_no_file(
    arguments: str, message: str, examples: Path, examples_archive: Path, tmp_path: Path
) -> None:
    places = {"archive": examples_archive, "missing": tmp_path / "missing", "new": tmp_path / "new"}
    places |= {"left": examples / LEFT, "right": examples / RIGHT}
    result = run(*(argument.format(**places) for argument in arguments.split()))
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["report", "compare"])
def test_existing_file_is_replaced_only_with_force(
    command: str, examples: Path, examples_archive: Path, tmp_path: Path
) -> None:
    existing = tmp_path / "mine.html"
    existing.write_text("mine")
    arguments = [examples_archive] if command == "report" else [examples / LEFT, examples / RIGHT]
    result = run(command, *arguments, "--output", existing)
    assert result.exit_code == 2
    assert f"output {existing}: already exists" in result.stderr
    assert existing.read_text() == "mine"
    assert run(command, *arguments, "--output", existing, "--force").exit_code == 0
    assert parsed(existing.read_text(encoding="utf-8")).xpath("//title")
    refused = run(command, *arguments, "--output", tmp_path / "none" / "x.html")
    assert refused.exit_code == 2
    assert f"output {tmp_path}/none/x.html: No such file or directory" in refused.stderr


def test_file_name_cannot_control_the_terminal(examples: Path, tmp_path: Path) -> None:
    out = tmp_path / "\x1b[31mred\x07.html"
    for options in ((), ("--json",)):  # refused the second time
        result = run("compare", examples / LEFT, examples / RIGHT, "--output", out, *options)
        assert "[31mred" in result.output
        assert not set(result.output) & {"\x1b", "\x07"}


def test_file_names_with_invalid_utf_8_are_shown_in_reports(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    Path(folder).mkdir()
    for name, edit in (("a", 0), ("b", 2)):
        Path(folder, f"{name}.txt").write_text(make_paragraph(1, edit=edit))
    out = f"{folder}/\udcfe.html"
    result = run("compare", f"{folder}/a.txt", f"{folder}/b.txt", "--output", out)
    assert result.exit_code == 0, result.output
    root = parsed(Path(out).read_text(encoding="utf-8"))
    assert "/\ufffd/a.txt" in root.text_content()
