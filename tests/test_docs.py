"""What the documents say is so: commands run, excerpts are real, references are made from the code."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from palimpsest.cli.main import main
from palimpsest.records.schemas import TABLES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with the examples and the demo archive, as the README has them."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copytree(ROOT / "examples", folder / "examples")
    [line] = re.findall(r"^\$ palimpsest (ingest .* demo-archive .*)$", README, re.MULTILINE)
    run = palimpsest(f"{line} --no-prefect", folder, expected=1)
    (folder / "summary.txt").write_text(run.stdout, encoding="utf-8")
    return folder


def palimpsest(arguments, folder, expected=0):
    run = subprocess.run(
        [str(BIN / "palimpsest"), *shlex.split(arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PALIMPSEST_STATE": str(folder / "state")},
    )
    assert run.returncode == expected, run.stderr
    return run


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_in_the_readme_runs_as_printed(code, desk):
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=desk, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


def test_python_in_the_page_on_sources_runs_as_printed(desk):
    palimpsest("ingest examples/web --archive web-archive --no-prefect", desk)
    page = (ROOT / "docs/SOURCES.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=desk, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("The\nLantern Bridge\nwas closed at noon")


def test_what_the_page_on_exports_shows_runs_as_printed(desk, monkeypatch, capsys):
    page = (ROOT / "docs/EXPORTS.md").read_text(encoding="utf-8")
    monkeypatch.chdir(desk)
    for line in re.findall(r"^\$ palimpsest (export .+)$", page, re.MULTILINE):
        result = CliRunner().invoke(main, shlex.split(line))
        assert result.exit_code == 0, result.output
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(code, "EXPORTS.md", "exec"), {})
        assert capsys.readouterr().out.strip()
    [shell] = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    for line in shell.splitlines():
        name, *arguments = shlex.split(line)
        if name == "palimpsest":
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, result.output
        else:
            subprocess.run([name, *arguments], check=True)
    assert "nothing failed" in result.output


def test_the_excerpt_in_the_readme_is_what_comes_out(desk):
    [code] = [block for block in blocks("python") if "places" in block]
    [shown] = blocks("text")
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=desk, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == shown.strip()


def test_the_summary_in_the_readme_is_what_ingest_prints(desk):
    [shown] = [block for block in blocks("console") if "seen =" in block]
    printed = (desk / "summary.txt").read_text(encoding="utf-8")
    for line in shown.splitlines()[1:]:
        assert line.strip() == "..." or line in printed


@pytest.mark.parametrize(
    "line",
    [
        line.removeprefix("$ ")
        for block in blocks("console")
        for line in block.splitlines()
        if line.startswith(
            tuple(f"$ palimpsest {name}" for name in ("passages", "explain", "compare", "report"))
        )
    ],
)
def test_commands_in_the_readme_run_as_printed(line, desk):
    assert palimpsest(line.removeprefix("palimpsest "), desk).stdout.strip()


def test_the_comparison_in_the_readme_is_what_compare_prints(desk):
    [shown] = [one for one in blocks("console") if one.startswith("$ palimpsest compare")]
    command, *lines = shown.splitlines()
    printed = palimpsest(command.removeprefix("$ palimpsest "), desk).stdout
    for line in lines:
        assert line == "..." or line in printed


def test_the_duckdb_command_in_the_readme_runs_as_printed(desk):
    program = shutil.which("duckdb", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("the duckdb command line is not installed")
    [line] = [
        line.removeprefix("$ ")
        for block in blocks("console")
        for line in block.splitlines()
        if line.startswith("$ duckdb")
    ]
    run = subprocess.run(
        [program, *shlex.split(line)[1:]], cwd=desk, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "paragraph_id" in run.stdout


def test_references_are_made_from_the_code():
    run = subprocess.run(
        [sys.executable, "docs/reference.py", "--check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_in_the_glossary(table):
    glossary = (ROOT / "docs/GLOSSARY.md").read_text(encoding="utf-8")
    for column in TABLES[table].names:
        assert re.search(rf"\b{column}\b", glossary), column


def test_local_links_in_documents_lead_somewhere():
    for path in [*PAGES, ROOT / "examples/README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path}: {target}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_files_and_modules_that_documents_name_exist(path):
    rooms = "|".join(room.name for room in (ROOT / "src/palimpsest").iterdir() if room.is_dir())
    folders = "|".join(one.name for one in ROOT.iterdir() if one.is_dir())
    text = path.read_text(encoding="utf-8")
    names = re.findall(rf"`((?:{folders})/[^`\s:]*)`", text)
    modules = re.findall(rf"`(?:palimpsest\.)?((?:{rooms})(?:\.[a-z_]+)+)`", text)
    missing = [name for name in names if not any(ROOT.glob(name.rstrip("/")))]
    missing += [name for name in modules if not is_module_or_member(name)]
    assert missing == []


def is_module_or_member(name):
    """Return whether ``pipeline.run`` is a module or package, or a name in one."""
    path = ROOT / name.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module, member = path.parent.with_suffix(".py"), path.name
    return module.is_file() and member in module.read_text(encoding="utf-8")


def test_constants_that_the_architecture_page_names_are_in_their_files():
    page = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
    for names, file in re.findall(r"((?:`\w+`(?:, | and )?)+) in `(\w+/[\w/]+\.py)`", page):
        source = (ROOT / file).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(def |class |[A-Z, ]+= )?{name}\b", source, re.MULTILINE), (
                name,
                file,
            )


def test_messages_that_the_page_on_operations_explains_are_in_the_code():
    page = (ROOT / "docs/OPERATIONS.md").read_text(encoding="utf-8")
    table = page[page.index("## When something goes wrong") :]
    first_cells = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    quoted = [text for cell in first_cells for text in re.findall(r"\*([a-z][^*]+)\*", cell)]
    source = "".join(
        path.read_text(encoding="utf-8")
        for room in (ROOT / "src/palimpsest").iterdir()
        if room.is_dir()
        for path in room.rglob("*.py")
    )
    source = re.sub(r"[\"']\s*\n\s*f?[\"']", "", source)  # strings that go on in the next line
    pieces = [piece.strip() for text in quoted for piece in text.split("...") if piece.strip()]
    assert len(pieces) >= 6
    assert [piece for piece in pieces if piece not in source] == []


def test_make_targets_that_documents_name_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for path in PAGES:
        for target in re.findall(r"`make (\w+)", path.read_text(encoding="utf-8")):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("path", PAGES)
def test_commands_in_documents_are_those_that_there_are(path):
    text = path.read_text(encoding="utf-8")
    for line in re.findall(r"^\$ palimpsest (.+)$", text, re.MULTILINE):
        words = shlex.split(line, comments=True)
        name, *arguments = itertools.takewhile(lambda word: word not in {">", "|"}, words)
        command = main.commands[name]
        command.make_context(name, arguments)
