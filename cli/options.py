"""Options that commands share, the settings they give, and the output of results and progress."""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palimpsest.cli.completion import complete_file, complete_folder
from palimpsest.records.errors import SettingsError

if TYPE_CHECKING:
    from palimpsest.records.settings import Settings

DONE, SOME_FAILED, WRONG_USAGE, FAILED = range(4)
"""Exit codes: done; done, but something was rejected or failed a check; wrong usage; failed."""

archive_argument = click.argument("archive", metavar="DIR", shell_complete=complete_folder)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
version_option = click.option(
    "--version", type=int, metavar="N", help="Read this version; palimpsest versions lists them."
)
force_option = click.option(
    "--force", is_flag=True, help="Replace the file of --output if it exists."
)
open_option = click.option(
    "--open", "in_browser", is_flag=True, help="Open it in the default browser."
)
set_option = click.option(
    "--set",
    "assignments",
    metavar="STAGE.NAME=VALUE",
    multiple=True,
    help="Change a setting, such as align.min_score=6; may be repeated. See: palimpsest settings",
)


sensitivity_option = click.option(
    "--sensitivity",
    type=click.Choice(["verbatim", "edited", "reworded"]),
    help="How much a passage may have been changed.  [default: edited]",
)


archive_option = click.option(
    "--archive",
    required=True,
    metavar="DIR",
    shell_complete=complete_folder,
    help="The archive, or s3://BUCKET/NAME; created if it does not exist.",
)
encoding_option = click.option(
    "--encoding", metavar="NAME", help="Encoding of all sources; detected for each by default."
)
date_from_path_option = click.option(
    "--date-from-path",
    metavar="PATTERN",
    help="Date pattern in paths, such as %Y%m%d, for sources without a date of their own.",
)
series_option = click.option(
    "--series",
    metavar="NAME",
    help="Series of the sources, such as a masthead: a name, or @folder or @site to name each.",
)
workers_option = click.option(
    "--workers",
    type=int,
    metavar="N",
    help="Number of parallel tasks.  [default: the number of cores]",
)
memory_option = click.option(
    "--memory",
    metavar="SIZE",
    help="Memory limit for the run, such as 512MB. Lower limits are slower.",
)
state_option = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of Prefect's state.  [default: PALIMPSEST_STATE or ~/.local/state/palimpsest]",
)
sources_argument = click.argument(
    "sources", nargs=-1, required=True, metavar="SOURCE...", shell_complete=complete_file
)
runner_option = click.option(
    "--runner",
    type=click.Choice(["threads", "processes", "dask", "ray"]),
    help="Executor of the tasks; dask and ray are extras.  [default: threads]",
)
cluster_option = click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Address of a dask or ray cluster; by default one is started on this machine.",
)


_Command = Callable[..., Any]
_Decorator = Callable[[_Command], _Command]


def _all_of(*options: _Decorator) -> _Decorator:
    """Return a decorator that adds options in this order."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


read_options = _all_of(encoding_option, date_from_path_option, series_option, sensitivity_option)


def passage_filters(formats: str = "") -> _Decorator:
    """Return a decorator that adds the options in ``PASSAGE_FILTERS``.

    Args:
        formats: the export formats that the options apply to, named in their help.
    """

    def help_text(text: str) -> str:
        return f"{formats}: {text[0].lower()}{text[1:]}" if formats else text

    return _all_of(
        click.option(
            "--clear",
            is_flag=True,
            help=help_text("Only passages too long or too alike to be chance."),
        ),
        click.option(
            "--without-recurring",
            is_flag=True,
            help=help_text("Leave out text that is in many documents."),
        ),
        click.option(
            "--across-series",
            is_flag=True,
            help=help_text("Leave out passages within one series."),
        ),
        click.option(
            "--min-words",
            default=0,
            type=click.IntRange(min=0),
            metavar="N",
            help=help_text("Only passages of at least N matched words."),
        ),
    )


PASSAGE_FILTERS = ("clear", "without_recurring", "across_series", "min_words")
"""Parameters of commands, and fields of ``evidence.passages.PassageFilter``."""


def limit_option(default: int, help_text: str) -> _Decorator:
    """Return the option ``--limit``."""
    return click.option(
        "--limit",
        default=default,
        show_default=True,
        type=click.IntRange(min=0),
        metavar="N",
        help=help_text,
    )


def output_option(help_text: str, *, required: bool = False, metavar: str = "FILE") -> _Decorator:
    """Return the option ``--output``."""
    kind = click.Path(path_type=Path)
    return click.option("--output", required=required, type=kind, metavar=metavar, help=help_text)


def open_in_browser(address: str) -> None:
    """Open an address in the default browser, without waiting for it."""
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    click.echo(text.encode("utf-8", "backslashreplace").decode())  # file names may be invalid UTF-8


def terminal_width() -> int | None:
    """Return the columns of standard output if it is a terminal, else None."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_json_rows(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows as a JSON array, one by one; the output equals that of ``print_json``."""
    text = "["
    for row in rows:
        value = json.dumps(row, ensure_ascii=False, indent=1, default=str)
        text += "\n" + textwrap.indent(value, " ")
        click.echo(text.encode("utf-8", "backslashreplace").decode(), nl=False)
        text = ","
    click.echo("[]" if text == "[" else "\n]")


def print_written(path: Path, *, as_json: bool, **counts: int) -> None:
    """Print that a file was written, with its size and the given counts."""
    size = path.stat().st_size
    if as_json:
        print_json({"output": str(path.absolute()), "bytes": size, **counts})
        return
    from palimpsest.inspector.terminal import printable

    contents = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    click.echo(printable(f"{path} written: {size / 1e3:,.1f} kB; {contents}"))


def settings_of(
    assignments: tuple[str, ...],
    read: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    sensitivity: str | None = None,
) -> Settings:
    """Return the settings that a command line asks for.

    Args:
        assignments: the values of ``--set``.
        read, run: values of the options for these stages; None if the option is absent.
        sensitivity: the value of ``--sensitivity``.

    Raises:
        SettingsError: with every fault of the options.
    """
    from palimpsest.records.settings import parse_settings

    values: dict[str, Any] = {}
    faults = []
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        stage, dot, field = name.partition(".")
        if equals and dot and field:
            values.setdefault(stage, {})[field] = value
        else:
            faults.append(
                f"--set {assignment}: expected STAGE.NAME=VALUE, as in align.min_score=6; "
                "palimpsest settings lists all"
            )
    if sensitivity is not None:
        values["sensitivity"] = sensitivity
    for stage, options in (("read", read or {}), ("run", run or {})):
        present = {name: value for name, value in options.items() if value is not None}
        if present:
            values.setdefault(stage, {}).update(present)
    try:
        settings = parse_settings(values)
    except SettingsError as error:
        raise SettingsError([*faults, *error.faults]) from error
    if faults:
        raise SettingsError(faults)
    return settings


def choose_allocator(settings: Settings) -> None:
    """Have Arrow return freed memory to the system if the memory of a run is limited.

    Must be called before Arrow is imported, which reads the variable only then.
    """
    if settings.run.memory:
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def uri_or_id(name: str) -> str:
    """Return a document's name as archives store it; the path of a file becomes its URI."""
    from palimpsest.evidence import names

    return names.uri_or_id(name)


def make_ready() -> None:
    """Skip imports that no command needs, and warn if kernels have to be compiled.

    Must be called after the rooms of the command are imported, since only their kernels are
    checked.
    """
    from palimpsest.kernels.compiled import are_kernels_cached, skip_scipy_linalg
    from palimpsest.kernels.imports import skip_pandas

    skip_pandas()
    skip_scipy_linalg()
    atexit.register(_skip_last_collection)
    if not are_kernels_cached():
        click.echo("compiling kernels, once on this machine: two or three minutes", err=True)


def _skip_last_collection() -> None:
    """Have Python exit without a last garbage collection: a quarter of the time of ``compare``.

    DuckDB needs it: without one, it lists every remaining object on standard error.
    """
    if "duckdb" not in sys.modules:
        gc.freeze()


def progress(as_json: bool) -> AbstractContextManager[Any]:
    """Return a progress bar on standard error if it is a terminal, else a silent reporter.

    Args:
        as_json: whether JSON goes to standard output; on the same terminal, a bar would disturb it.
    """
    if not sys.stderr.isatty() or (as_json and sys.stdout.isatty()):
        from palimpsest.records.progress import silent

        return nullcontext(silent)
    from palimpsest.cli.progress import ProgressBar

    return ProgressBar()
