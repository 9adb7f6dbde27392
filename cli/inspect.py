"""The command that shows an archive in a browser."""

from __future__ import annotations

import os
import secrets
from typing import Any
from urllib.parse import urlencode

import click

from palimpsest.cli.help import Command
from palimpsest.cli.interrupts import interrupts
from palimpsest.cli.options import (
    archive_argument,
    make_ready,
    open_in_browser,
    open_option,
    progress,
    version_option,
)
from palimpsest.records.errors import SettingsError

DEFAULT_PORT = 8470
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.command(cls=Command)
@archive_argument
@click.option(
    "--port",
    default=DEFAULT_PORT,
    show_default=True,
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Port to listen on; 0 for any free port.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on.",
)
@click.option(
    "--token",
    metavar="WORDS",
    envvar="PALIMPSEST_TOKEN",
    help="Secret that a browser must send once; generated if other machines may connect.",
)
@click.option(
    "--prefect",
    metavar="URL",
    help="Prefect's page, to which runs are linked.  [default: that of PREFECT_API_URL]",
)
@click.option("--wait", is_flag=True, help="Start even if the archive does not exist yet.")
@open_option
@version_option
def inspect(
    archive: str,
    port: int,
    host: str,
    token: str | None,
    prefect: str | None,
    wait: bool,
    in_browser: bool,
    version: int | None,
) -> None:
    """Browse an archive: documents, passages side by side, search.

    Pages are read-only, and served to this machine only unless --host says otherwise; then a
    token is required. The first time a version is shown, a catalogue of it is built in the state
    folder, which takes about a second for each thousand articles, and two to three times as much
    disk as their text.

    \b
    Example:
      palimpsest inspect press --open
      palimpsest inspect press --port 8080 --version 20
      palimpsest inspect press --host 0.0.0.0 --token 'a secret of your choice'
    """
    import logging
    import socket

    import uvicorn

    from palimpsest.inspector.pages.app import Options, create_app
    from palimpsest.inspector.pages.current import CurrentCatalogue
    from palimpsest.store.address import open_archive

    is_local = host in _LOOPBACK
    if token is not None and not token.strip():
        raise SettingsError(["--token: expected some words; leave it out to have one generated"])
    token = token or (None if is_local else secrets.token_urlsafe(24))
    place = open_archive(archive)
    if not wait:
        place.manifest(version)  # refuses a wrong archive before anything is served
    make_ready()
    listener = _listen(socket, host, port)
    port = listener.getsockname()[1]
    shown_host = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104
    address = f"http://{shown_host}:{port}/" + (f"?{urlencode({'token': token})}" if token else "")
    logging.getLogger("palimpsest.inspector").addHandler(logging.StreamHandler())
    with progress(as_json=False) as report:
        current = CurrentCatalogue(place, version, report)
        if not wait:
            current.wait()
    interrupts.serves("stopped")
    options = Options(
        name=place.name.rstrip("/").rpartition("/")[2],
        hosts=("127.0.0.1", "localhost", "[::1]") if is_local else ("*",),
        token=token,
        prefect=prefect or _prefect_page(),
    )
    click.echo(f"{place.name} is shown at {address}\nCtrl-C ends it")
    if in_browser:
        open_in_browser(address)
    config = uvicorn.Config(
        create_app(current, options),
        log_level="warning",
        access_log=False,
        server_header=False,
    )
    uvicorn.Server(config).run([listener])


def _listen(socket: Any, host: str, port: int) -> Any:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # from now on a browser waits instead of being refused
    except OSError as error:
        listener.close()
        fault = f"--host {host} --port {port}: {error.strerror}"
        raise SettingsError([f"{fault}; choose another port, or 0 for any free one"]) from error
    return listener


def _prefect_page() -> str | None:
    """Return the address of the Prefect server's page, or None."""
    address = os.environ.get("PREFECT_UI_URL") or os.environ.get("PREFECT_API_URL")
    return address.rstrip("/").removesuffix("/api") if address else None
