"""Commands that read an archive: show, passages, explain, verify, rebuild, digest and lists."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from palimpsest.cli.completion import complete_file, complete_table
from palimpsest.cli.help import Command
from palimpsest.cli.options import (
    DONE,
    SOME_FAILED,
    archive_argument,
    force_option,
    json_option,
    limit_option,
    make_ready,
    output_option,
    passage_filters,
    print_json,
    print_json_rows,
    progress,
    set_option,
    settings_of,
    terminal_width,
    uri_or_id,
    version_option,
)
from palimpsest.records.errors import SettingsError
from palimpsest.store.files import new_file

ROWS_AT_ONCE = 1_000
"""Rows of a table that are converted to Python objects at a time."""


@click.command(cls=Command)
@archive_argument
@click.argument("table", required=False, shell_complete=complete_table)
@limit_option(10, "Maximum number of rows to show.")
@version_option
@json_option
def show(archive: str, table: str | None, limit: int, version: int | None, as_json: bool) -> None:
    """Show an archive's tables, or the first rows of one of them.

    \b
    Example:
      palimpsest show press
      palimpsest show press paragraphs --limit 3
      palimpsest show press --version 20
    """
    from palimpsest.inspector import terminal
    from palimpsest.records.schemas import TABLES
    from palimpsest.store.address import open_archive

    snapshot = open_archive(archive).snapshot(version)
    if table is None and as_json:
        print_json(terminal.overview(snapshot))
        return
    if table is None:
        from rich.console import Console

        Console(highlight=False).print(terminal.render_overview(archive, snapshot))
        return
    if table not in TABLES:
        raise _unknown_table(table)
    rows = snapshot.read(table).slice(0, limit)
    if as_json:
        print_json_rows(row for batch in rows.to_batches(ROWS_AT_ONCE) for row in batch.to_pylist())
    else:
        click.echo(terminal.render_rows(rows.to_pylist()))


@click.command(cls=Command)
@archive_argument
@click.option(
    "--document", metavar="ID", help="Only passages of this document: its id, URI or path."
)
@limit_option(20, "Maximum number of passages to show.")
@passage_filters()
@output_option(
    "Write all passages to FILE instead of showing some: .parquet, .csv or .jsonl; the latter two "
    "are compressed if .gz or .zst follows."
)
@force_option
@version_option
@set_option
@json_option
def passages(
    archive: str,
    document: str | None,
    limit: int,
    output: Path | None,
    force: bool,
    version: int | None,
    assignments: tuple[str, ...],
    as_json: bool,
    **filters: Any,
) -> None:
    """Show the passages that documents share, the longest first.

    The earlier document is on the left.

    \b
    Example:
      palimpsest passages press --limit 5
      palimpsest passages press --document 5f3a0c9be1d24477a1b2c3d4e5f60718
      palimpsest passages press --clear --without-recurring --output passages.parquet
    """
    from palimpsest.evidence.passages import PassageFilter, ranked_passages
    from palimpsest.exports.passages import expect_format, write_passages
    from palimpsest.store.address import open_archive
    from palimpsest.store.rebuild import find_document

    settings_of(assignments)  # refuses wrong ones before anything is read
    if output is not None:
        expect_format(output)
    snapshot = open_archive(archive).snapshot(version)
    level = snapshot.settings().sensitivity
    settings = settings_of(assignments, sensitivity=level).passages
    make_ready()
    document_id = find_document(snapshot, uri_or_id(document)) if document else None
    selection = PassageFilter(document_id=document_id, **filters)
    if output is not None:
        with progress(as_json) as report:
            count = write_passages(
                snapshot, output, selection, settings, replace=force, report=report
            )
        if as_json:
            print_json({"output": str(output.absolute()), "passages": count})
        else:
            click.echo(f"{count:,} passages written to {output}")
        return
    with progress(as_json=True) as report:
        parts = ranked_passages(snapshot, selection, limit, settings, report=report)
        rows = (row for part in parts for row in part.to_pylist())
        if as_json:
            print_json_rows(rows)
        else:
            _print_passages(rows)


def _print_passages(rows: Iterator[dict[str, Any]]) -> None:
    from palimpsest.inspector.terminal import render_passages

    first, width = next(rows, None), terminal_width()
    click.echo(render_passages([first] if first else [], width))
    for row in rows:
        click.echo("\n" + render_passages([row], width))


@click.command(cls=Command)
@archive_argument
@click.argument("name", metavar="ID", shell_complete=complete_file)
@click.argument("other", metavar="[OTHER]", required=False, shell_complete=complete_file)
@limit_option(3, "Maximum number of text pairs to show.")
@version_option
@json_option
def explain(
    archive: str, name: str, other: str | None, limit: int, version: int | None, as_json: bool
) -> None:
    """Explain why two texts or documents match, or do not.

    Shows shared buckets, scores beside their thresholds, and the words, aligned. ID and OTHER are
    each a document_id or text_id, at least the first 8 letters of one, or the URI or path of a
    source; ID is the left side. Without OTHER, ID is a text, and everything that overlaps with it
    is shown. Words that only the left side has are marked [-so-], those that only the right side
    has {+so+}.

    \b
    Example:
      palimpsest explain press articles/monday.txt articles/tuesday.txt
      palimpsest explain press 5f3a0c9b 77a1b2c3 --json
      palimpsest explain press 5f3a0c9b --limit 10
    """
    from palimpsest.evidence.explain import explain as explain_match
    from palimpsest.inspector.terminal import render_explanation
    from palimpsest.store.address import open_archive

    make_ready()
    snapshot = open_archive(archive).snapshot(version)
    names = uri_or_id(name), None if other is None else uri_or_id(other)
    explanation = explain_match(snapshot, *names, limit)
    if as_json:
        print_json(explanation)
    else:
        click.echo(render_explanation(explanation))


@click.command(cls=Command)
@archive_argument
@click.option("--tables-only", is_flag=True, help="Skip the checks that need the raw files.")
@version_option
@json_option
def verify(archive: str, tables_only: bool, version: int | None, as_json: bool) -> None:
    """Check an archive's files, keys, references and raw files.

    Every text is compared with the bytes that it came from. Exits with 0 if nothing failed, with 1
    if something did. What cannot be checked, such as a raw file that no longer exists, is counted
    as not checked, which is neither a failure nor a success.

    \b
    Example:
      palimpsest verify press
      palimpsest verify press --tables-only --json
    """
    from palimpsest.pipeline.verify import verify as verify_archive
    from palimpsest.store.address import absolute, open_archive

    make_ready()
    place = open_archive(archive)
    snapshot = place.snapshot(version)
    with progress(as_json) as report:
        verification = verify_archive(place, snapshot, tables_only=tables_only, report=report)
    result = {"archive": absolute(archive), **verification.to_dict()}
    if as_json:
        print_json(result)
    else:
        from palimpsest.inspector.terminal import render_verification

        click.echo(render_verification(result))
    raise click.exceptions.Exit(SOME_FAILED if verification.failed else DONE)


@click.command(cls=Command)
@archive_argument
@click.argument("document", shell_complete=complete_file)
@output_option("Write the text to this file, as UTF-8.")
@force_option
@version_option
@json_option
def rebuild(
    archive: str,
    document: str,
    output: Path | None,
    force: bool,
    version: int | None,
    as_json: bool,
) -> None:
    """Rebuild a document's text from the tables alone.

    The digest of the normalised text is checked. DOCUMENT is a document_id, at least the first 8
    letters of one, or the URI or path of a source.

    \b
    Example:
      palimpsest rebuild press 5f3a0c9b
      palimpsest rebuild press articles/monday.txt --output monday-as-kept.txt
    """
    import hashlib

    from palimpsest.store.address import open_archive
    from palimpsest.store.find import uris_of
    from palimpsest.store.rebuild import find_document, rebuild_document

    snapshot = open_archive(archive).snapshot(version)
    document_id = find_document(snapshot, uri_or_id(document))
    text = rebuild_document(snapshot, document_id)
    if output is not None:
        with new_file(output, replace=force) as file:
            file.write(text.encode())
    if as_json:
        result = {
            "document_id": document_id,
            "uri": next(iter(uris_of(snapshot, document_id)), None),
            "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "text": text,
        }
        print_json(result)
    elif output is None:
        _print_text(text)


@click.command(cls=Command)
@archive_argument
@version_option
@json_option
def digest(archive: str, version: int | None, as_json: bool) -> None:
    """Print a digest of each table, equal if the rows are equal.

    The order of rows, their distribution over files, and the columns that record when and by which
    run they were written make no difference. The last line is one digest of all tables.

    \b
    Example:
      palimpsest digest press
    """
    from palimpsest.inspector.terminal import render_digests
    from palimpsest.store.address import open_archive
    from palimpsest.store.digest import digest_tables, join_digests

    tables = digest_tables(open_archive(archive).snapshot(version))
    whole = join_digests(tables)
    if as_json:
        print_json({"archive": whole, "tables": tables})
    else:
        click.echo(render_digests(tables, whole))


@click.command(cls=Command)
@archive_argument
@json_option
def versions(archive: str, as_json: bool) -> None:
    """List the versions of an archive.

    Each can be read with --version, or at its path.

    \b
    Example:
      palimpsest versions press
      palimpsest passages press --version 20
    """
    from palimpsest.inspector.terminal import render_versions
    from palimpsest.store.address import open_archive
    from palimpsest.store.versions import list_versions

    listed = list_versions(open_archive(archive))
    if as_json:
        print_json(listed)
    else:
        click.echo(render_versions(listed))


@click.command(cls=Command)
@archive_argument
@click.option(
    "--table", metavar="TABLE", help="Only files of this table.", shell_complete=complete_table
)
@version_option
@json_option
def files(archive: str, table: str | None, version: int | None, as_json: bool) -> None:
    """List the Parquet files of a version, for other programs to read.

    They are paths or s3:// addresses. The files of a version are complete and consistent, and stay
    as they are until palimpsest clean deletes the version.

    \b
    Example:
      palimpsest files press
      palimpsest files s3://news/press --table paragraphs --json
    """
    from palimpsest.records.schemas import TABLES
    from palimpsest.store.address import absolute, open_archive

    if table is not None and table not in TABLES:
        raise _unknown_table(table)
    place = open_archive(archive)
    manifest = place.manifest(version)
    names = [table] if table else list(TABLES)
    addresses = {name: place.addresses(manifest, name) for name in names}
    if as_json:
        print_json({"archive": absolute(archive), "version": manifest.version, "files": addresses})
    else:
        click.echo("\n".join(address for name in names for address in addresses[name]))


def _unknown_table(table: str) -> SettingsError:
    from palimpsest.records.schemas import TABLES

    return SettingsError([f"table {table!r}: unknown; the tables are {', '.join(TABLES)}"])


def _print_text(text: str) -> None:
    """Print a text: byte for byte, but on a terminal without control characters."""
    from palimpsest.inspector.terminal import printable

    if sys.stdout.isatty():
        click.echo(printable(text))
    else:
        click.echo(text.encode(), nl=False)
