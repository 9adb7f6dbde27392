"""The ``palimpsest`` command. Rooms are imported when a command needs them, so that help is quick.

Commands that read an archive are in ``cli.reading``, those that maintain it in ``cli.maintenance``.
Exit codes: 0 done; 1 done, but this run rejected sources that no run before it had rejected, or
something failed verification; 2 wrong usage; 3 failed; 130 interrupted by Ctrl-C, 143 by SIGTERM (0
for ``schedule`` and ``inspect``, which run until they are stopped).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from palimpsest.cli.completion import complete_file
from palimpsest.cli.export import export
from palimpsest.cli.help import Sections
from palimpsest.cli.inspect import inspect
from palimpsest.cli.interrupts import INTERRUPTED, interrupts
from palimpsest.cli.maintenance import clean, compact, reindex, remove
from palimpsest.cli.options import (
    DONE,
    FAILED,
    SOME_FAILED,
    WRONG_USAGE,
    archive_option,
    choose_allocator,
    cluster_option,
    force_option,
    json_option,
    make_ready,
    memory_option,
    output_option,
    print_json,
    print_written,
    progress,
    read_options,
    runner_option,
    sensitivity_option,
    set_option,
    settings_of,
    sources_argument,
    state_option,
    terminal_width,
    workers_option,
)
from palimpsest.cli.reading import (
    digest,
    explain,
    files,
    passages,
    rebuild,
    show,
    verify,
    versions,
)
from palimpsest.cli.report import report
from palimpsest.cli.schedule import schedule
from palimpsest.cli.settings import settings
from palimpsest.records import __version__
from palimpsest.records.errors import ArchiveError, SettingsError, UnsureError
from palimpsest.records.garbage import collect_rarely
from palimpsest.records.progress import Step
from palimpsest.store.files import expect_ending, new_file

if TYPE_CHECKING:
    from palimpsest.records.settings import Settings


_STARTING_PREFECT = Step("prefect", "starting Prefect")
_ALGEBRA_THREADS = "OPENBLAS_NUM_THREADS"
"""numpy and scipy start threads for linear algebra, which is never used; idle threads spin."""


class _Commands(Sections):
    """Turns errors into a message and an exit code, for every command."""

    def invoke(self, ctx: click.Context) -> Any:
        collect_rarely()
        os.environ.setdefault(_ALGEBRA_THREADS, "1")
        with interrupts:
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            _fail("\n".join(f"error: {fault}" for fault in error.faults), WRONG_USAGE)
        except UnsureError as error:
            _fail(f"error: {error}", FAILED)
        except ArchiveError as error:
            _fail(f"error: {error}\n{interrupts.outcome()}", FAILED)
        except KeyboardInterrupt:
            _fail("interrupted", INTERRUPTED)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get("PALIMPSEST_DEBUG"):
                raise
            message = f"error: unexpected {type(error).__name__}: {error}"
            _fail(f"{message}\n{interrupts.outcome()}; PALIMPSEST_DEBUG=1 shows where", FAILED)


def _fail(message: str, code: int) -> NoReturn:
    if interrupts.code:  # the error is a consequence of the interrupt
        interrupts.leave()
    from palimpsest.inspector.terminal import printable

    click.echo(printable(message), err=True)
    raise click.exceptions.Exit(code)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="palimpsest")
def main() -> None:
    """Find the passages that articles share, and keep every paragraph once.

    \b
    Example:
      palimpsest ingest articles/ --archive press
      palimpsest passages press
    """


@main.command()
@sources_argument
@archive_option
@read_options
@workers_option
@memory_option
@runner_option
@cluster_option
@state_option
@click.option(
    "--prefect/--no-prefect",
    "with_prefect",
    default=None,
    help="Run as a Prefect flow or directly.  [default: a flow if a Prefect API is configured]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be read and how; change nothing.")
@set_option
@json_option
def ingest(
    sources: tuple[str, ...],
    archive: str,
    encoding: str | None,
    date_from_path: str | None,
    series: str | None,
    sensitivity: str | None,
    workers: int | None,
    memory: str | None,
    runner: str | None,
    cluster: str | None,
    state: Path | None,
    with_prefect: bool | None,
    dry_run: bool,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Add articles to an archive; what it already has is skipped.

    SOURCE is a file, a folder, a quoted pattern, or a URL of files: plain text, web pages, JSON
    Lines, WARC, ZIP or tar, compressed or not.

    Runs directly by default. It is a Prefect flow run if PREFECT_API_URL or the active Prefect
    profile names a Prefect API, or with --prefect, or with a --runner other than threads.

    \b
    Example:
      palimpsest ingest articles/ 'more/**/*.txt' --archive press
      palimpsest ingest crawl.warc.gz --archive press --dry-run
      palimpsest ingest papers/ --archive press --date-from-path %Y%m%d --series @folder
    """
    read = {"encoding": encoding, "date_from_path": date_from_path, "series": series}
    run = {"workers": workers, "memory": memory, "runner": runner, "cluster": cluster}
    settings = settings_of(assignments, read, run, sensitivity)
    choose_allocator(settings)
    _expect_sources(sources)
    if dry_run:
        _preview(sources, archive, settings, as_json=as_json)
    interrupts.writes_to(archive)
    with progress(as_json) as report:
        if _is_flow_run(settings, with_prefect=with_prefect):
            summary = _ingest_with_prefect(sources, archive, settings, state, report)
        else:
            summary = _ingest_directly(sources, archive, settings, report)
    if as_json:
        print_json(summary)
    else:
        from palimpsest.inspector.terminal import render_summary

        click.echo(render_summary(summary))
        _print_flow_run(summary)
    raise click.exceptions.Exit(SOME_FAILED if summary["sources_rejected_new"] else DONE)


@main.command()
@click.argument("left", shell_complete=complete_file)
@click.argument("right", shell_complete=complete_file)
@click.option(
    "--encoding", metavar="NAME", help="Encoding of both files; detected for each by default."
)
@output_option("Write both side by side, with all their text, to FILE.html for a browser.")
@force_option
@sensitivity_option
@set_option
@json_option
def compare(
    left: str,
    right: str,
    encoding: str | None,
    output: Path | None,
    force: bool,
    sensitivity: str | None,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show the passages that two files share, without an archive.

    \b
    Example:
      palimpsest compare monday.txt tuesday.txt
      palimpsest compare monday.txt tuesday.txt --output side-by-side.html
    """
    settings = settings_of(assignments, {"encoding": encoding}, None, sensitivity)
    if output is not None:
        expect_ending(output, (".html", ".htm"))
    from palimpsest.evidence.compare import compare_files, read_and_compare

    make_ready()
    if output is not None:
        from palimpsest.inspector.comparison import files_side_by_side, render_comparison_file

        with new_file(output, replace=force) as file:
            comparison = files_side_by_side(read_and_compare(left, right, settings))
            file.write(render_comparison_file(comparison).encode())
        print_written(output, as_json=as_json, passages=len(comparison["passages"]))
        return
    result = compare_files(left, right, settings)
    if as_json:
        print_json(result)
    else:
        from palimpsest.inspector.terminal import render_comparison

        click.echo(render_comparison(result, terminal_width()))


@main.command("compile")
def compile_kernels() -> None:
    """Compile the kernels now instead of at first use.

    The compiled kernels are cached on disk for each machine.

    \b
    Example:
      palimpsest compile
    """
    from palimpsest.pipeline.warm_up import warm_up

    make_ready()
    warm_up()


def _expect_sources(sources: tuple[str, ...]) -> None:
    """Refuse sources that do not exist before anything is started."""
    from palimpsest.ingest.finding.discover import expand_sources

    expand_sources(sources)


def _preview(sources: tuple[str, ...], archive: str, settings: Settings, *, as_json: bool) -> None:
    """Print what a run would read, and exit."""
    from palimpsest.pipeline.preview import preview

    make_ready()
    with progress(as_json) as report:
        found = preview(sources, archive, settings, report)
    if as_json:
        print_json(found)
    else:
        from palimpsest.inspector.terminal import render_preview

        click.echo(render_preview(found))
    raise click.exceptions.Exit(SOME_FAILED if found["rejects_new"] else DONE)


def _is_flow_run(settings: Settings, *, with_prefect: bool | None) -> bool:
    """Return whether an ingest should be a Prefect flow run.

    Raises:
        SettingsError: the runner needs Prefect, and ``--no-prefect`` was given.
    """
    from palimpsest.flows.prefect_profile import use_configured_api

    needs_prefect = settings.run.runner != "threads"
    if needs_prefect and with_prefect is False:
        fault = f"expected --runner threads, found {settings.run.runner}; leave one of them out"
        raise SettingsError([f"--no-prefect: {fault}"])
    if with_prefect is False:
        return False
    is_configured = use_configured_api()  # also with --prefect, which then uses that API
    return bool(with_prefect) or needs_prefect or is_configured


def _ingest_directly(
    sources: tuple[str, ...], archive: str, settings: Settings, report: Any
) -> dict[str, Any]:
    from palimpsest.pipeline.executors import executor_for
    from palimpsest.pipeline.run import run_ingest

    make_ready()
    executor = executor_for(settings.run)
    return run_ingest(sources, archive, settings, executor=executor, report=report).to_dict()


def _ingest_with_prefect(
    sources: tuple[str, ...], archive: str, settings: Settings, state: Path | None, report: Any
) -> dict[str, Any]:
    from palimpsest.flows.prefect_environment import prepare_flow_run

    report(_STARTING_PREFECT, 0, 1)
    # Before Prefect is imported, and while the kernels are loaded.
    server = prepare_flow_run(state, settings.run.cluster)
    from palimpsest.pipeline.warm_up import are_kernels_cached, warm_up

    make_ready()
    warm_up(to_look=not are_kernels_cached())
    from palimpsest.flows.ingest import ingest_with
    from palimpsest.ingest.finding.discover import absolute_source
    from palimpsest.store.address import absolute

    if server:
        server.wait()
    report(_STARTING_PREFECT, 1, 1)
    return ingest_with(
        [absolute_source(source) for source in sources],
        absolute(archive),
        settings,
        report,
    )


def _print_flow_run(summary: dict[str, Any]) -> None:
    """Print the state of the flow run in Prefect, if there was one."""
    from palimpsest.inspector.terminal import printable

    if flow_run := summary.get("flow_run"):
        click.echo(printable(f"flow run    {flow_run['name']}: {flow_run['state']}"))
        click.echo(printable(f"            {flow_run['message']}"))


main.add_section("Start", ingest, schedule, compare, settings)
main.add_section("Look", inspect, passages, explain, show, rebuild, versions, files, digest)
main.add_section("Share", report, export)
main.add_section("Look after", verify, remove, compact, clean, reindex, compile_kernels)
