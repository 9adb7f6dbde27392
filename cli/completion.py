"""Completion of arguments in the shell."""

from __future__ import annotations

from click import Context, Parameter
from click.shell_completion import CompletionItem


def complete_folder(_ctx: Context, _param: Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete a folder, such as an archive."""
    return [CompletionItem(incomplete, type="dir")]


def complete_file(_ctx: Context, _param: Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete a file or folder."""
    return [CompletionItem(incomplete, type="file")]


def complete_table(_ctx: Context, _param: Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the tables whose names begin with ``incomplete``."""
    from palimpsest.records.schemas import TABLES

    return [CompletionItem(name) for name in TABLES if name.startswith(incomplete)]
