"""Completion in shells: commands, options, tables and paths."""

import re
from pathlib import Path

import pytest

from tests.cli.test_main import run_apart


def complete(*words: str) -> list[str]:
    """Return what bash is offered behind some words."""
    done = run_apart(
        _PALIMPSEST_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(["palimpsest", *words]),
        COMP_CWORD=str(len(words)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("pass",), ["plain,passages"]),
        (("passages", "press", "--without"), ["plain,--without-recurring"]),
        (("show", "press", "over"), ["plain,overlaps"]),
        (("files", "press", "--table", "over"), ["plain,overlaps"]),
        (("verify", "pr"), ["dir,pr"]),
        (("ingest", "art"), ["file,art"]),
        (("ingest", "articles", "--sensitivity", "re"), ["plain,reworded"]),
    ],
)
def test_commands_options_tables_and_paths_are_completed(
    words: tuple[str, ...], offered: list[str]
) -> None:
    assert complete(*words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_documented_command_prints_a_completion_script(shell: str, root: Path) -> None:
    page = (root / "docs" / "COMMANDS.md").read_text(encoding="utf-8")
    [found] = re.findall(rf"_PALIMPSEST_COMPLETE={shell}_source palimpsest", page)
    name, _, _ = found.partition(" ")
    done = run_apart(**dict([name.split("=")]))
    assert done.returncode == 0, done.stderr
    assert "_palimpsest_completion" in done.stdout
