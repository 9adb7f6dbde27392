"""The command that writes a report on an archive, or on some of its documents, to one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palimpsest.cli.help import Command
from palimpsest.cli.options import (
    archive_argument,
    force_option,
    json_option,
    make_ready,
    open_in_browser,
    open_option,
    output_option,
    print_written,
    progress,
    uri_or_id,
    version_option,
)
from palimpsest.records.errors import SettingsError
from palimpsest.store.files import new_file

if TYPE_CHECKING:
    from palimpsest.inspector.catalogue import Catalogue
    from palimpsest.store.archive import Snapshot, StoredArchive


@click.command(cls=Command)
@archive_argument
@output_option(
    "The file: FILE.html for a browser, or FILE.md, a shorter report in Markdown.", required=True
)
@force_option
@open_option
@click.option(
    "--document",
    metavar="ID",
    help="Report on one document and what it shares instead, by its id, URI or path.",
)
@click.option(
    "--compare", nargs=2, metavar="ID OTHER", help="Show two documents side by side instead."
)
@version_option
@json_option
def report(
    archive: str,
    output: Path,
    force: bool,
    in_browser: bool,
    document: str | None,
    compare: tuple[str, str] | None,
    version: int | None,
    as_json: bool,
) -> None:
    """Write a report to one HTML or Markdown file, to send to others.

    The HTML file is self-contained and needs no server: counts and their balance, growth, dates,
    where reuse happens, the documents that share most with their passages side by side, reused
    paragraphs with their places, rejects, runs. It names sources by their paths. Like palimpsest
    inspect it needs a catalogue of the version, which is built if there is none; only --compare
    does without.

    \b
    Example:
      palimpsest report press --output press.html
      palimpsest report press --output press-20.md --version 20
      palimpsest report press --document monday.txt --output monday.html
      palimpsest report press --compare monday.txt tuesday.txt --output monday-tuesday.html
    """
    from palimpsest.inspector.report import build_report, format_of, render_report
    from palimpsest.store.address import open_archive

    file_format = format_of(str(output), "--output")
    _expect_one_subject(output, document, compare, is_html=file_format == "html")
    place = open_archive(archive)
    snapshot = place.snapshot(version)
    make_ready()
    name, counts = place.name.rstrip("/").rpartition("/")[2], {"version": snapshot.manifest.version}
    if compare:
        ids = [_id_of(snapshot, side) for side in compare]
    elif document:
        ids = [_id_of(snapshot, document)]
    with new_file(output, replace=force) as file:
        if compare:
            text, counts["passages"] = _side_by_side(name, snapshot, *ids)
        elif document:
            catalogue = _catalogue(place, snapshot, as_json)
            text, counts["documents"] = _of_document(name, catalogue, *ids)
        else:
            catalogue = _catalogue(place, snapshot, as_json)
            text = render_report(build_report(name, catalogue), file_format)
        file.write(text.encode())
    print_written(output, as_json=as_json, **counts)
    if in_browser:
        open_in_browser(output.absolute().as_uri())


def _expect_one_subject(
    output: Path, document: str | None, compare: tuple[str, str] | None, *, is_html: bool
) -> None:
    """Refuse options that exclude one another, before anything is read."""
    if document and compare:
        raise SettingsError(["--document and --compare make two reports; leave one of them out"])
    if (document or compare) and not is_html:
        expected = "expected FILE.html, the only format of reports on documents"
        raise SettingsError([f"--output {output}: {expected}"])


def _id_of(snapshot: Snapshot, name: str) -> str:
    from palimpsest.store.rebuild import find_document

    return find_document(snapshot, uri_or_id(name))


def _catalogue(place: StoredArchive, snapshot: Snapshot, as_json: bool) -> Catalogue:
    from palimpsest.inspector.catalogue import Catalogue, ensure_catalogue

    with progress(as_json) as report_progress:
        path = ensure_catalogue(place, snapshot.manifest.version, report_progress)
    return Catalogue(path, snapshot)


def _side_by_side(name: str, snapshot: Snapshot, left: str, right: str) -> tuple[str, int]:
    from palimpsest.inspector.comparison import documents_side_by_side, render_comparison_file

    comparison = documents_side_by_side(name, snapshot, left, right)
    return render_comparison_file(comparison), len(comparison["passages"])


def _of_document(name: str, catalogue: Catalogue, document_id: str) -> tuple[str, int]:
    from palimpsest.inspector.report import build_document_report, render_document_report

    report: dict[str, Any] = build_document_report(name, catalogue, document_id)
    return render_document_report(report), len(report["partners"])
