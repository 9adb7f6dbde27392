"""Generate the references of tables, commands and settings; ``--check`` only compares them."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pyarrow as pa

from palimpsest.cli.main import main as palimpsest
from palimpsest.records.schemas import REJECT_REASONS, TABLES
from palimpsest.records.settings import SENSITIVITIES
from palimpsest.records.settings_reference import list_settings

HERE = Path(__file__).parent
_HEAD = "| column | type | null | meaning | unit |\n|---|---|---|---|---|\n"
GENERATED = "Generated from the code by `make docs`; do not edit.\n"


def tables() -> str:
    """Return the reference of tables."""
    parts = [f"# Tables\n\n{GENERATED}"]
    for name, schema in TABLES.items():
        parts.append(f"\n## {name}\n\n{_HEAD}")
        parts.extend(_row(field) for field in schema)
    parts.append("\n## Reasons for a reject\n\n| code | meaning |\n|---|---|\n")
    parts.extend(f"| `{code}` | {meaning} |\n" for code, meaning in REJECT_REASONS.items())
    return "".join(parts)


def _row(field: pa.Field) -> str:
    metadata = {key.decode(): value.decode() for key, value in field.metadata.items()}
    null = "yes" if field.nullable else ""
    cells = (f"`{field.name}`", field.type, null, metadata["description"], metadata.get("unit", ""))
    return f"| {' | '.join(map(str, cells))} |\n"


_COMPLETION = """
## Completion

To complete commands, options, tables and paths in a shell, add one of these lines to its start-up
file:

```sh
eval "$(_PALIMPSEST_COMPLETE=bash_source palimpsest)"    # bash 4.4 or newer: ~/.bashrc
eval "$(_PALIMPSEST_COMPLETE=zsh_source palimpsest)"     # zsh: ~/.zshrc
_PALIMPSEST_COMPLETE=fish_source palimpsest | source     # fish: ~/.config/fish/config.fish
```
"""


def commands() -> str:
    """Return the reference of commands: the help of each."""
    parts = [f"# Commands\n\n{GENERATED}{_COMPLETION}"]
    for name in ["", *sorted(palimpsest.commands)]:
        command = palimpsest.commands[name] if name else palimpsest
        title = f"palimpsest {name}".strip()
        context = click.Context(command, info_name=title, max_content_width=100, terminal_width=100)
        parts.append(f"\n## {title}\n\n```text\n{command.get_help(context)}\n```\n")
    return "".join(parts)


def settings() -> str:
    """Return the reference of settings."""
    levels = {level: list_settings(level) for level in SENSITIVITIES}
    head = (
        f"# Settings\n\n{GENERATED}\n"
        "`--set STAGE.NAME=VALUE` changes a setting. Those marked * are fixed when an archive is "
        "created: every later run uses the same values. `palimpsest settings` prints this list, "
        "`palimpsest settings DIR` the values of an archive.\n"
    )
    parts = [head]
    stage = None
    for rows in zip(*levels.values(), strict=True):
        row = rows[1]
        if row.name.partition(".")[0] != stage:
            stage = row.name.partition(".")[0]
            parts.append(f"\n## {stage}\n\n| setting | default | expected | meaning |\n")
            parts.append("|---|---|---|---|\n")
        default = f"`{row.default_text}`"
        if len({other.default_text for other in rows}) > 1 and row.name != "sensitivity":
            others = zip(levels, rows, strict=True)
            default += "".join(
                f"; {level} `{other.default_text}`"
                for level, other in others
                if other.default_text != row.default_text
            )
        mark = " *" if row.is_fixed else ""
        parts.append(f"| `{row.name}`{mark} | {default} | {row.expected} | {row.meaning} |\n")
    return "".join(parts)


_REFERENCES = {"TABLES.md": tables, "COMMANDS.md": commands, "SETTINGS.md": settings}


def main() -> int:
    """Write the references, or check them."""
    outdated = []
    for name, generate in _REFERENCES.items():
        path, text = HERE / name, generate()
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            outdated.append(name)
    if outdated:
        sys.stderr.write(f"{', '.join(outdated)} differ from the code; run: make docs\n")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
