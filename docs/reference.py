"""Write ``TABLES.md`` and ``COMMANDS.md`` from schemas and commands; ``--check`` compares."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pyarrow as pa

from cli.main import main as palimpsest
from records.schemas import REJECT_REASONS, TABLES

HERE = Path(__file__).parent
_HEAD = "| column | type | null | what it holds | unit |\n|---|---|---|---|---|\n"
MADE = "Made from the code by `make docs`; a test compares.\n"


def tables() -> str:
    """Return the reference of tables."""
    parts = [f"# Tables\n\n{MADE}"]
    for name, schema in TABLES.items():
        parts.append(f"\n## {name}\n\n{_HEAD}")
        parts.extend(_row(field) for field in schema)
    parts.append("\n## Reasons for a reject\n\n| code | meaning |\n|---|---|\n")
    parts.extend(f"| `{code}` | {meaning} |\n" for code, meaning in REJECT_REASONS.items())
    return "".join(parts)


def _row(field: pa.Field) -> str:
    held = {key.decode(): value.decode() for key, value in field.metadata.items()}
    null = "yes" if field.nullable else ""
    cells = (f"`{field.name}`", field.type, null, held["description"], held.get("unit", ""))
    return f"| {' | '.join(map(str, cells))} |\n"


def commands() -> str:
    """Return the reference of commands: the help of each."""
    parts = [f"# Commands\n\n{MADE}"]
    for name in ["", *sorted(palimpsest.commands)]:
        command = palimpsest.commands[name] if name else palimpsest
        title = f"palimpsest {name}".strip()
        context = click.Context(command, info_name=title, max_content_width=100, terminal_width=100)
        parts.append(f"\n## {title}\n\n```text\n{command.get_help(context)}\n```\n")
    return "".join(parts)


def main() -> int:
    """Write the references, or check them."""
    wrong = []
    for name, text in (("TABLES.md", tables()), ("COMMANDS.md", commands())):
        path = HERE / name
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            wrong.append(name)
    if wrong:
        sys.stderr.write(f"{', '.join(wrong)} differ from the code; run: make docs\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
