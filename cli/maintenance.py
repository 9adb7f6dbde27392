"""Commands that maintain an archive: remove, compact, reindex and clean."""

from __future__ import annotations

import click

from palimpsest.cli.completion import complete_file
from palimpsest.cli.help import Command
from palimpsest.cli.interrupts import interrupts
from palimpsest.cli.options import archive_argument, json_option, make_ready, print_json, uri_or_id

_wait = click.option(
    "--wait",
    "wait_seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=3600.0,
    show_default=True,
    help="How long to wait while another run is writing.",
)


@click.command(cls=Command)
@archive_argument
@click.argument(
    "documents", nargs=-1, required=True, metavar="DOCUMENT|URI...", shell_complete=complete_file
)
@click.option("--reason", required=True, metavar="TEXT", help="Why; recorded with the removal.")
@_wait
@json_option
def remove(
    archive: str, documents: tuple[str, ...], reason: str, wait_seconds: float, as_json: bool
) -> None:
    """Remove documents, and every text that only they contain.

    Text that other documents share stays, with another representative. The removal is recorded,
    and the documents are not ingested again. Earlier versions still contain them until palimpsest
    clean deletes these.

    \b
    Example:
      palimpsest remove press 5f3a0c9be1d24477a1b2c3d4e5f60718 --reason 'asked by the author'
      palimpsest remove press articles/monday.txt --reason 'licence ended'
    """
    from palimpsest.inspector.terminal import render_removal
    from palimpsest.pipeline.remove import remove as remove_documents

    make_ready()
    interrupts.writes_to(archive)
    names = [uri_or_id(name) for name in documents]
    removal = remove_documents(archive, names, reason, wait_seconds)
    if as_json:
        print_json(removal.to_dict())
    else:
        click.echo(render_removal(removal.to_dict()))


@click.command(cls=Command)
@archive_argument
@_wait
@json_option
def compact(archive: str, wait_seconds: float, as_json: bool) -> None:
    """Merge an archive's many small files into a few.

    Every run adds files to each table, and a segment to the index; readers are faster with few.
    The rows stay the same.

    \b
    Example:
      palimpsest compact press
    """
    from palimpsest.pipeline.compact import compact as compact_archive

    make_ready()
    interrupts.writes_to(archive)
    result = compact_archive(archive, wait_seconds)
    if as_json:
        print_json(result)
    else:
        files = f"{result['files_before']:,} files before, {result['files_after']:,} now"
        click.echo(f"version {result['version']}: {files}")


@click.command(cls=Command)
@archive_argument
@_wait
@json_option
def reindex(archive: str, wait_seconds: float, as_json: bool) -> None:
    """Rebuild the index from the tables if it is lost or damaged.

    \b
    Example:
      palimpsest reindex press
    """
    from palimpsest.pipeline.index_upkeep import reindex as rebuild_index

    make_ready()
    interrupts.writes_to(archive)
    result = rebuild_index(archive, wait_seconds)
    if as_json:
        print_json(result)
    else:
        click.echo(f"version {result['version']}: index of {result['texts']:,} texts")


@click.command(cls=Command)
@archive_argument
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of versions to keep, including the current one.",
)
@_wait
@json_option
def clean(archive: str, keep: int, wait_seconds: float, as_json: bool) -> None:
    """Delete old versions, and the leftovers of interrupted runs.

    A version that Palimpsest is reading is kept until the next time. Other programs take no lock:
    keep as many versions as the slowest of them may need.

    \b
    Example:
      palimpsest clean press
      palimpsest clean press --keep 7
    """
    from palimpsest.inspector.terminal import render_cleaning
    from palimpsest.store.address import open_archive
    from palimpsest.store.versions import clean as clean_archive

    interrupts.writes_to(archive)
    result = clean_archive(open_archive(archive), keep, wait_seconds)
    if as_json:
        print_json(result)
    else:
        click.echo(render_cleaning(result))
