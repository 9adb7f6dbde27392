"""The command that writes what an archive holds, or two of its documents, to a file to be sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import (
    archive_argument,
    json_option,
    print_written,
    progress,
    say_if_compiling,
    uri_or_id,
    version_option,
)
from records.errors import SettingsError
from records.files import new_file

if TYPE_CHECKING:
    from store.archive import Snapshot


@click.command()
@archive_argument
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The new file: FILE.html for a browser, or FILE.md, which has less.",
)
@click.option(
    "--compare",
    nargs=2,
    metavar="ID OTHER",
    help="Not the archive, but two of its documents side by side: ids, URIs or paths.",
)
@version_option
@json_option
def report(
    archive: str, out: Path, compare: tuple[str, str] | None, version: int | None, as_json: bool
) -> None:
    """Write what an archive holds to one file, which can be sent to somebody.

    The HTML file has everything in it, loads nothing and needs no server: counts and their balance,
    growth, dates, where reuse happens, documents that share most with their passages side by side,
    reused paragraphs with where they stand, rejects, runs. It names sources by their paths. Like
    palimpsest inspect, it takes a catalogue of the version, which is made if there is none.

    \b
    Example:
      palimpsest report press --out press.html
      palimpsest report press --out press-20.md --version 20
      palimpsest report press --compare monday.txt tuesday.txt --out monday-tuesday.html
    """
    from inspector.report import format_of
    from store.address import open_archive

    shown_as = format_of(str(out), "--out")
    if compare and shown_as != "html":
        raise SettingsError([f"--out {out}: documents side by side are HTML; name a FILE.html"])
    place = open_archive(archive)
    snapshot = place.snapshot(version)
    say_if_compiling()
    name = place.name.rstrip("/").rpartition("/")[2]
    if compare:
        _write_comparison(out, name, snapshot, compare, as_json=as_json)
        return
    from inspector.catalogue import Catalogue, find_catalogue
    from inspector.report import render_report, tell_report

    number = snapshot.manifest.version
    with new_file(out, "--out") as file:
        with progress(as_json) as told:
            catalogue = Catalogue(find_catalogue(place, number, told), snapshot)
        text = render_report(tell_report(name, catalogue), shown_as)
        file.write(text.encode())
    print_written(out, as_json=as_json, version=number)


def _write_comparison(
    out: Path, archive: str, snapshot: Snapshot, names: tuple[str, str], *, as_json: bool
) -> None:
    from inspector.comparison import comparison_file, tell_documents
    from store.rebuild import find_document

    left, right = (find_document(snapshot, uri_or_id(name)) for name in names)
    with new_file(out, "--out") as file:
        told = tell_documents(archive, snapshot, left, right)
        file.write(comparison_file(told).encode())
    counts = {"version": snapshot.manifest.version, "passages": len(told["passages"])}
    print_written(out, as_json=as_json, **counts)
