"""Layout of help: commands in sections, and examples wrapped so that a shell can run them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

_MARK = "\b\nExample:\n"
"""Text before the examples of a docstring; click does not rewrap what follows ``\\b``."""
_CONTINUATION_INDENT = 4
_WORDS = re.compile(r"--[a-z-]+ (?:'[^']*'|[^-'\s])(?:'[^']*'|[^'\s])*|(?:'[^']*'|[^'\s])+")
"""Words of a command line; an option and its value are kept on one line."""


class _Examples(click.Command):
    """A command whose help wraps the lines below ``Example:``."""

    def format_help_text(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the description, with the examples in a section of their own."""
        text, _, examples = inspect.cleandoc(self.help or "").partition(_MARK)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(text.strip())
        with formatter.section("Example"):
            for line in examples.splitlines():
                width = formatter.width - formatter.current_indent
                for part in wrap_shell(line.strip(), width):
                    formatter.write(f"{'':{formatter.current_indent}}{part}\n")


class Command(_Examples):
    """A command of ``palimpsest``."""


class Sections(_Examples, click.Group):
    """A group whose help lists its commands in sections."""

    command_class = Command

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.sections: dict[str, tuple[click.Command, ...]] = {}

    def add_section(self, title: str, *commands: click.Command) -> None:
        """Add a section of commands."""
        self.sections[title] = commands
        for command in commands:
            self.add_command(command)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, with all commands aligned."""
        longest = max(map(len, self.commands))
        limit = formatter.width - longest - 4  # two spaces before the name and two after it
        for title, commands in self.sections.items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (f"{command.name:{longest}}", command.get_short_help_str(limit))
                        for command in commands
                    ]
                )


def wrap_shell(line: str, width: int) -> Iterator[str]:
    r"""Split a command line into lines of at most ``width`` characters that a shell can run.

    Example:
        >>> list(wrap_shell("palimpsest remove press --reason 'asked by the author'", 40))
        ['palimpsest remove press \\', "    --reason 'asked by the author'"]
    """
    parts = _WORDS.findall(line)
    row = parts[0] if parts else ""
    for part in parts[1:]:
        if len(row) + len(part) + len("  \\") > width:
            yield f"{row} \\"
            row = " " * _CONTINUATION_INDENT + part
        else:
            row += f" {part}"
    yield row
