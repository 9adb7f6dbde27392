"""The Python page and the notebook cover every public name, and their code runs as printed."""

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


def call_as_printed(name: str, function: object, skipped_parameters: int) -> str:
    """Return the signature as the page shows it: names and defaults, without types."""
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for parameter in list(signature.parameters.values())[skipped_parameters:]
    ]
    return f"`{name}{inspect.Signature(parameters)}`"


def test_page_documents_every_public_name_as_it_is_called(root: Path) -> None:
    page = (root / PAGE).read_text(encoding="utf-8")
    calls = [
        call_as_printed("Archive", Archive.__init__, 1),
        call_as_printed("compare", compare, 0),
        call_as_printed("ingest", palimpsest.ingest, 0),
    ]
    for name, member in vars(Archive).items():
        if not name.startswith("_"):
            calls.append(
                f"`{name}`" if isinstance(member, property) else call_as_printed(name, member, 1)
            )
    assert len(calls) > 20
    for call in calls:
        assert call in page
    for name in palimpsest.__all__:
        assert re.search(rf"`{name}\b", page), name
    for view in VIEWS:
        assert f"| `{view}` |" in page


def test_every_public_method_says_what_it_returns() -> None:
    for name, member in vars(Archive).items():
        if not name.startswith("_"):
            assert re.match(
                r"(Return|Where|The|How many|Check|Remove|Merge|Delete|Rebuild) .+\.$",
                inspect.getdoc(member).split("\n")[0],
            ), name


def test_code_on_the_page_runs_and_prints_what_the_page_shows(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (root / PAGE).read_text(encoding="utf-8")
    shutil.copytree(root / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^\$ palimpsest (ingest .+)$", page, re.MULTILINE):
        result = CliRunner().invoke(main, [*shlex.split(line), "--no-prefect"])
        assert result.exit_code in (0, 1), result.output
    output = ""
    namespace: dict[str, object] = {}
    for language, block in re.findall(r"```(python|text)\n(.*?)```", page, re.DOTALL):
        if language == "text":
            assert output == block
        else:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(block, str(PAGE), "exec"), namespace)
            output = printed.getvalue()
    for name in ("passages.parquet", "rejects.csv", "documents.jsonl"):
        assert (tmp_path / name).stat().st_size


@pytest.mark.usefixtures("compiled_kernels")
def test_notebook_runs_and_its_outputs_are_current(root: Path, tmp_path: Path) -> None:
    for name in ("nbclient", "ipykernel"):
        pytest.importorskip(name, reason=f"{name} is not installed; it is in the extra dev")
    result = subprocess.run(
        [sys.executable, "docs/notebook.py", "--check"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []


def test_notebook_contains_no_local_path(root: Path) -> None:
    text = (root / "examples" / "look.ipynb").read_text(encoding="utf-8")
    for local_path in ("file:///", "/home/", "/tmp/", "/root/", "site-packages"):
        assert local_path not in text
