"""The command that ingests on a schedule, on one machine."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from palimpsest.cli.help import Command
from palimpsest.cli.interrupts import interrupts
from palimpsest.cli.options import (
    archive_option,
    choose_allocator,
    make_ready,
    memory_option,
    read_options,
    set_option,
    settings_of,
    sources_argument,
    state_option,
    workers_option,
)
from palimpsest.records.errors import SettingsError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class _Interval(click.ParamType[timedelta]):
    """A time span such as 30m, 1h or 1d12h."""

    name = "interval"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        parts = re.findall(r"(\d+)([smhdw])", value)
        if not parts or "".join(map("".join, parts)) != value:
            self.fail(f"{value!r}: expected a time span such as 30m, 1h or 1d12h", param, ctx)
        seconds = sum(int(count) * _SECONDS[unit] for count, unit in parts)
        if seconds < 10:
            self.fail(f"{value!r}: expected at least 10s", param, ctx)
        return timedelta(seconds=seconds)


@click.command(cls=Command)
@sources_argument
@archive_option
@click.option("--cron", metavar="EXPRESSION", help="When, as in crontab: '0 5 * * *'.")
@click.option("--every", type=_Interval(), metavar="SPAN", help="How often: 30m, 1h, 1d12h.")
@click.option("--watch", is_flag=True, help="Run whenever a source changes.")
@click.option(
    "--timezone", metavar="NAME", help="Time zone of --cron.  [default: that of this machine]"
)
@click.option(
    "--port",
    default=4200,
    show_default=True,
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Port of Prefect's page on 127.0.0.1.",
)
@read_options
@workers_option
@memory_option
@state_option
@set_option
def schedule(
    sources: tuple[str, ...],
    archive: str,
    cron: str | None,
    every: timedelta | None,
    watch: bool,
    timezone: str | None,
    port: int,
    encoding: str | None,
    date_from_path: str | None,
    series: str | None,
    sensitivity: str | None,
    workers: int | None,
    memory: str | None,
    state: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """Ingest articles at set times until stopped, with Prefect's page.

    Starts a Prefect server on 127.0.0.1, which asks for a login, unless PREFECT_API_URL or the
    active Prefect profile names another one. Schedules with the same port and state folder share
    a server.

    Stop it with Ctrl-C or SIGTERM. To resume, start it again with the same arguments: missed runs
    are caught up by a single run. A run that is due while another one is running is skipped.

    \b
    Example:
      palimpsest schedule articles/ --archive press --cron '0 5 * * *'
      palimpsest schedule articles/ --archive press --every 1h
      palimpsest schedule articles/ --archive press --watch
    """
    read = {"encoding": encoding, "date_from_path": date_from_path, "series": series}
    settings = settings_of(assignments, read, {"workers": workers, "memory": memory}, sensitivity)
    choose_allocator(settings)
    import asyncio

    from palimpsest.ingest.finding.discover import absolute_source, expand_sources
    from palimpsest.store.address import absolute

    zone = timezone or _local_zone()
    _expect(cron, every, zone, watch=watch)
    expand_sources(sources)  # refuses sources that do not exist
    from palimpsest.flows.prefect_environment import prepare_schedule

    server = prepare_schedule(state, port)  # before Prefect is imported
    interrupts.serves("stopped: the server keeps the schedule; to resume it, run the command again")
    try:
        from palimpsest.flows.schedule import Timetable, keep_schedule
        from palimpsest.pipeline.warm_up import are_kernels_cached, warm_up

        if not are_kernels_cached():  # each run has a process of its own
            make_ready()
            warm_up()
        if server:
            click.echo(f"Prefect's page: {server.page}; its login is in {server.login_file}")
        else:
            click.echo(f"Prefect's server: {os.environ['PREFECT_API_URL']}")
        click.echo("stop with Ctrl-C")
        asyncio.run(
            keep_schedule(
                [absolute_source(source) for source in sources],
                absolute(archive),
                settings,
                Timetable(cron, every, watch, zone),
                server,
                log=click.echo,
            )
        )
    finally:
        if server:
            server.stop()


def _local_zone() -> str:
    from tzlocal import get_localzone_name

    return get_localzone_name() or "UTC"


def _expect(cron: str | None, every: timedelta | None, zone: str, *, watch: bool) -> None:
    """Check the options that say when to run.

    Raises:
        SettingsError: with every fault in them.
    """
    from zoneinfo import available_timezones

    from cronsim import CronSim, CronSimError

    faults = []
    if cron is None and every is None and not watch:
        faults.append("no schedule: expected --cron EXPRESSION, --every SPAN or --watch")
    if cron is not None and every is not None:
        faults.append("--cron and --every: expected one of them")
    if cron is not None:
        from datetime import UTC, datetime

        try:
            CronSim(cron, datetime.now(UTC))
        except CronSimError as error:
            faults.append(f"--cron {cron!r}: {error}; expected five fields, as in '0 5 * * *'")
    if zone not in available_timezones():
        faults.append(f"--timezone {zone}: unknown; expected a name such as Europe/Berlin")
    if faults:
        raise SettingsError(faults)
