"""The ``palimpsest`` command. Rooms are imported when a command needs them, so that help is quick.

Exit codes: 0 done; 1 done, but some sources were rejected; 2 wrong usage; 3 failed, and nothing
was written.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from records import __version__
from records.errors import ArchiveError, SettingsError

if TYPE_CHECKING:
    from records.settings import Settings

DONE, SOME_REJECTED, WRONG_USAGE, FAILED = range(4)

Command = TypeVar("Command", bound=Callable[..., Any])

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_set = click.option(
    "--set",
    "assignments",
    metavar="STAGE.NAME=VALUE",
    multiple=True,
    help="Change a setting, such as align.min_score=6; may be given many times.",
)


class _Commands(click.Group):
    """Turns errors into a message and an exit code, for every command."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            _fail("\n".join(f"error: {fault}" for fault in error.faults), WRONG_USAGE)
        except ArchiveError as error:
            _fail(f"error: {error}\nnothing was written", FAILED)
        except click.exceptions.Exit:
            raise
        except (click.ClickException, click.Abort, BrokenPipeError, KeyboardInterrupt):
            raise
        except Exception as error:
            if os.environ.get("PALIMPSEST_DEBUG"):
                raise
            told = f"error: unexpected {type(error).__name__}: {error}"
            _fail(f"{told}\nnothing was written; PALIMPSEST_DEBUG=1 shows where", FAILED)


def _fail(message: str, code: int) -> NoReturn:
    from inspector.terminal import printable

    click.echo(printable(message), err=True)
    raise click.exceptions.Exit(code)


def _print_json(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    click.echo(text.encode("utf-8", "backslashreplace").decode())  # a file name need not be UTF-8


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="palimpsest")
def main() -> None:
    """Keep every paragraph of an archive of articles once, and know each place it came from.

    \b
    Example:
      palimpsest ingest articles/ --archive press
      palimpsest passages press
    """


@main.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--archive", required=True, metavar="DIR", help="The archive; made if there is none.")
@click.option("--encoding", metavar="NAME", help="Encoding of all sources; else found for each.")
@click.option("--workers", type=int, metavar="N", help="Threads; as many as cores unless given.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where Prefect keeps its state; default: PALIMPSEST_STATE or ~/.local/state/palimpsest.",
)
@click.option("--no-prefect", is_flag=True, help="Run the same steps without Prefect.")
@_set
@_json
def ingest(
    sources: tuple[str, ...],
    archive: str,
    encoding: str | None,
    workers: int | None,
    state: Path | None,
    no_prefect: bool,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Bring articles into an archive: files, folders or patterns of raw text.

    \b
    Example:
      palimpsest ingest articles/ 'more/**/*.txt' --archive press
    """
    settings = _settings(assignments, encoding, workers)
    _expect_sources(sources)
    with _progress(as_json) as report:
        if no_prefect:
            summary = _ingest_directly(sources, archive, settings, report)
        else:
            summary = _ingest_with_prefect(sources, archive, settings, state, report)
    if as_json:
        _print_json(summary)
    else:
        from inspector.terminal import render_summary

        click.echo(render_summary(summary))
    raise click.exceptions.Exit(SOME_REJECTED if summary["sources_rejected"] else DONE)


@main.command()
@click.argument("left")
@click.argument("right")
@click.option("--encoding", metavar="NAME", help="Encoding of both files; else found for each.")
@_set
@_json
def compare(
    left: str, right: str, encoding: str | None, assignments: tuple[str, ...], as_json: bool
) -> None:
    """Show the passages that two files share, without an archive.

    \b
    Example:
      palimpsest compare monday.txt tuesday.txt
    """
    settings = _settings(assignments, encoding, None)
    from flows.compare import compare_files

    _say_if_compiling()
    result = compare_files(left, right, settings)
    if as_json:
        _print_json(result)
    else:
        from inspector.terminal import render_comparison

        click.echo(render_comparison(result))


@main.command()
@click.argument("archive", metavar="DIR")
@click.argument("table", required=False)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(min=0), help="Rows.")
@_json
def show(archive: str, table: str | None, limit: int, as_json: bool) -> None:
    """Show what an archive holds, or rows of one of its tables.

    \b
    Example:
      palimpsest show press
      palimpsest show press paragraphs --limit 3
    """
    from inspector import terminal
    from records.schemas import TABLES
    from store.archive import Archive

    snapshot = Archive(archive).snapshot()
    if table is None and as_json:
        _print_json(terminal.overview(snapshot))
        return
    if table is None:
        from rich.console import Console

        Console(highlight=False).print(terminal.render_overview(archive, snapshot))
        return
    if table not in TABLES:
        raise SettingsError([f"table {table!r}: there is none; the tables are {', '.join(TABLES)}"])
    rows = snapshot.read(table).slice(0, limit).to_pylist()
    if as_json:
        _print_json(rows)
    else:
        click.echo(terminal.render_rows(rows))


@main.command()
@click.argument("archive", metavar="DIR")
@click.option("--document", metavar="ID", help="Only passages of this document.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=0), help="Rows.")
@_json
def passages(archive: str, document: str | None, limit: int, as_json: bool) -> None:
    """Show passages that documents share, the longest first, the earlier document on the left.

    \b
    Example:
      palimpsest passages press --limit 5
      palimpsest passages press --document 5f3a0c9be1d24477a1b2c3d4e5f60718
    """
    from inspector.terminal import render_passages
    from store.archive import Archive
    from store.views import passages as find_passages

    rows = find_passages(Archive(archive).snapshot(), document, limit).to_pylist()
    if as_json:
        _print_json(rows)
    else:
        click.echo(render_passages(rows))


@main.command("compile")
def compile_kernels() -> None:
    """Compile the kernels now, instead of at the first use. They are kept on disk.

    \b
    Example:
      palimpsest compile
    """
    from flows.warm import warm_up

    _say_if_compiling()
    warm_up()


def _settings(assignments: tuple[str, ...], encoding: str | None, workers: int | None) -> Settings:
    """Return settings from the command line; every fault at once."""
    from records.settings import parse_settings

    values: dict[str, dict[str, Any]] = {}
    faults = []
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        stage, dot, field = name.partition(".")
        if equals and dot and field:
            values.setdefault(stage, {})[field] = value
        else:
            faults.append(f"--set {assignment}: expected STAGE.NAME=VALUE, as in align.min_score=6")
    if encoding is not None:
        values.setdefault("read", {})["encoding"] = encoding
    if workers is not None:
        values.setdefault("run", {})["workers"] = workers
    try:
        settings = parse_settings(values)
    except SettingsError as error:
        raise SettingsError([*faults, *error.faults]) from error
    if faults:
        raise SettingsError(faults)
    return settings


def _expect_sources(sources: tuple[str, ...]) -> None:
    """Refuse names that lead nowhere before anything is started."""
    from ingest.discover import expand_sources

    expand_sources(sources)


def _ingest_directly(
    sources: tuple[str, ...], archive: str, settings: Settings, report: Any
) -> dict[str, Any]:
    from flows.run import in_order, run_ingest

    _say_if_compiling()
    return run_ingest(sources, archive, settings, each=in_order, report=report).to_dict()


def _ingest_with_prefect(
    sources: tuple[str, ...], archive: str, settings: Settings, state: Path | None, report: Any
) -> dict[str, Any]:
    from flows.engine import prepare

    server = prepare(state)  # before Prefect is imported, and while the kernels are loaded
    _say_if_compiling()
    from flows.warm import warm_up

    warm_up()
    from flows.ingest import ingest_with

    if server:
        server.wait()
    return ingest_with(
        [str(Path(one).absolute()) for one in sources],
        str(Path(archive).absolute()),
        settings,
        report,
    )


def _say_if_compiling() -> None:
    from flows.warm import are_kernels_cached

    if not are_kernels_cached():
        click.echo("compiling kernels, once on this machine; this takes about a minute", err=True)


def _progress(as_json: bool) -> AbstractContextManager[Any]:
    """Return a progress bar on a terminal, else a reporter that keeps silent."""
    if as_json or not sys.stderr.isatty():
        from flows.run import silent

        return nullcontext(silent)
    from cli.progress import ProgressBar

    return ProgressBar()
