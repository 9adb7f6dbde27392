"""The page on Python and the notebook tell what is so: all is named, and all runs as printed."""

import contextlib
import inspect
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import palimpsest
from palimpsest import Archive, compare
from palimpsest.cli.main import main
from palimpsest.store.views import VIEWS

PAGE = Path("docs/PYTHON.md")


def shown(name: str, function: object, left_out: int) -> str:
    """Return a call as the page writes it: names and defaults, without types."""
    signature = inspect.signature(function)
    given = list(signature.parameters.values())[left_out:]
    return f"`{name}{inspect.Signature([one.replace(annotation=one.empty) for one in given])}`"


def test_the_page_names_all_that_is_public_as_it_is_called(root: Path) -> None:
    page = (root / PAGE).read_text(encoding="utf-8")
    calls = [
        shown("Archive", Archive.__init__, 1),
        shown("compare", compare, 0),
        shown("ingest", palimpsest.ingest, 0),
    ]
    for name, one in vars(Archive).items():
        if not name.startswith("_"):
            calls.append(f"`{name}`" if isinstance(one, property) else shown(name, one, 1))
    assert len(calls) > 20
    for told in calls:
        assert told in page
    for name in palimpsest.__all__:
        assert re.search(rf"`{name}\b", page), name
    for view in VIEWS:
        assert f"| `{view}` |" in page


def test_every_public_method_says_what_it_returns() -> None:
    for name, one in vars(Archive).items():
        if not name.startswith("_"):
            assert re.match(
                r"(Return|Where|The|How many|Check|Remove|Merge|Delete|Rebuild) .+\.$",
                inspect.getdoc(one).split("\n")[0],
            ), name


def test_all_code_of_the_page_runs_as_printed_from_top_to_bottom(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (root / PAGE).read_text(encoding="utf-8")
    shutil.copytree(root / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^\$ palimpsest (ingest .+)$", page, re.MULTILINE):
        result = CliRunner().invoke(main, [*shlex.split(line), "--no-prefect"])
        assert result.exit_code in (0, 1), result.output
    before = ""
    names: dict[str, object] = {}
    for language, block in re.findall(r"```(python|text)\n(.*?)```", page, re.DOTALL):
        if language == "text":
            assert before == block
        else:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(block, str(PAGE), "exec"), names)
            before = printed.getvalue()
    for name in ("passages.parquet", "rejects.csv", "documents.jsonl"):
        assert (tmp_path / name).stat().st_size


@pytest.mark.usefixtures("compiled_kernels")
def test_the_notebook_runs_and_shows_what_is_in_it(root: Path, tmp_path: Path) -> None:
    for name in ("nbclient", "ipykernel"):
        pytest.importorskip(name, reason=f"{name} is not installed; it is in the extra dev")
    run = subprocess.run(
        [sys.executable, "docs/notebook.py", "--check"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_notebook_holds_no_path_of_a_machine(root: Path) -> None:
    text = (root / "examples" / "look.ipynb").read_text(encoding="utf-8")
    for told in ("file:///", "/home/", "/tmp/", "/root/", "site-packages"):
        assert told not in text
