"""The command that lists settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from palimpsest.cli.completion import complete_folder
from palimpsest.cli.help import Command
from palimpsest.cli.options import json_option, print_json, sensitivity_option, version_option
from palimpsest.records.errors import SettingsError


@click.command(cls=Command)
@click.argument("archive", metavar="[DIR]", required=False, shell_complete=complete_folder)
@sensitivity_option
@version_option
@json_option
def settings(
    archive: str | None, sensitivity: str | None, version: int | None, as_json: bool
) -> None:
    """List all settings with their defaults, values and meaning.

    Without DIR, the defaults are those of --sensitivity. With DIR, the values that the archive was
    created with are shown. Change a setting with --set STAGE.NAME=VALUE.

    \b
    Example:
      palimpsest settings
      palimpsest settings press
      palimpsest settings --sensitivity reworded --json
    """
    from palimpsest.inspector.terminal import render_settings

    if archive is None:
        if version is not None:
            raise SettingsError(["--version: expected with an archive; name one"])
        rows = _rows(sensitivity or "edited", {})
    else:
        if sensitivity is not None:
            raise SettingsError(["--sensitivity: the level of an archive is fixed; leave it out"])
        rows = _of_archive(archive, version)
    if as_json:
        print_json(rows)
    else:
        click.echo(render_settings(rows))


def _of_archive(archive: str, version: int | None) -> list[dict[str, Any]]:
    from palimpsest.records.settings_reference import archive_values
    from palimpsest.store.address import open_archive

    values = archive_values(open_archive(archive).manifest(version).sealed["settings"])
    return _rows(values["sensitivity"], values)


def _rows(sensitivity: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each setting; ``value`` is the archive's, or None where it has none."""
    from palimpsest.records.settings_reference import list_settings

    return [asdict(one) | {"value": values.get(one.name)} for one in list_settings(sensitivity)]
