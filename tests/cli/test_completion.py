"""Shell completion of commands, options, tables and paths."""

import re
from pathlib import Path

import pytest

from tests.cli.test_main import run_in_subprocess


def complete(*words: str) -> list[str]:
    """Return the completions that bash offers after some words."""
    result = run_in_subprocess(
        _PALIMPSEST_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(["palimpsest", *words]),
        COMP_CWORD=str(len(words)),
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "completions"),
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
    words: tuple[str, ...], completions: list[str]
) -> None:
    assert complete(*words) == completions


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_documented_command_prints_a_completion_script(shell: str, root: Path) -> None:
    page = (root / "docs" / "COMMANDS.md").read_text(encoding="utf-8")
    [command] = re.findall(rf"_PALIMPSEST_COMPLETE={shell}_source palimpsest", page)
    variable, _, _ = command.partition(" ")
    result = run_in_subprocess(**dict([variable.split("=")]))
    assert result.returncode == 0, result.stderr
    assert "_palimpsest_completion" in result.stdout
