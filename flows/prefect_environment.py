"""Prefect's environment variables, and a server where the user has none.

``prepare_flow_run`` or ``prepare_schedule`` must be called before Prefect is imported, since it
reads its settings then. Variables that the user has set are never changed. The rest makes Prefect
stay offline, log little, and keep its state in Palimpsest's state folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from palimpsest.flows.local_server import LocalServer, login_of, new_login
from palimpsest.records.errors import SettingsError
from palimpsest.store.files import state_folder

_OFFLINE = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
}
_QUIET = _OFFLINE | {
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "DASK_LOGGING__DISTRIBUTED": "error",
}
_STANDING = _OFFLINE | {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
_ON_TERMINAL = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""With a server of the user's own: logs are for its pages, not for the command line."""
_PRIVATE = {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_LOGGING_TO_API_ENABLED": "false"}
"""With a private server, whose pages nobody sees, there are no logs."""


def _is_loopback(cluster: str) -> bool:
    """Tell whether a cluster's address, such as ``tcp://10.0.0.5:8786``, is of this machine."""
    host = urlsplit(f"//{cluster.rpartition('//')[2]}").hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def time_limit() -> float | None:
    """Return how many seconds a flow may run: ``PALIMPSEST_TIME_LIMIT``, or None for ever.

    Deployments set it for their runs; what is started by hand takes as long as it takes.

    Raises:
        SettingsError: it is set to something else than a number above 0.
    """
    told = os.environ.get("PALIMPSEST_TIME_LIMIT", "")
    if not told:
        return None
    try:
        seconds = float(told)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise SettingsError([f"PALIMPSEST_TIME_LIMIT={told}: expected seconds, a number above 0"])
    return seconds


def _home(state: Path | None, environment: dict[str, str]) -> Path:
    """Set what the user has not set in Prefect's environment; return the folder of its state."""
    home = (state or state_folder()).absolute()
    home.mkdir(parents=True, exist_ok=True)
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(home / "prefect"))
    return home


def prepare_schedule(state: Path | None, port: int) -> LocalServer | None:
    """Set up the environment of scheduled runs; start a shared server unless the user has one.

    Raises:
        SettingsError: the port belongs to another program, or the login is not safe.
        TransientError: the server does not start.
    """
    home = _home(state, _STANDING)
    if os.environ.get("PREFECT_API_URL"):
        return None
    server = LocalServer(home, login_of(home), port)
    server.ensure()
    _use(server)
    return server


def prepare_flow_run(state: Path | None = None, cluster: str | None = None) -> LocalServer | None:
    """Set up the environment of Prefect; start a private server unless the user has one.

    Args:
        state: folder of Palimpsest's state.
        cluster: address of the cluster whose workers will report to the server.

    Raises:
        SettingsError: its workers could not reach a private server.
    """
    if cluster and not _is_loopback(cluster) and not os.environ.get("PREFECT_API_URL"):
        told = "its workers report to Prefect's server; found none but a private one on loopback"
        raise SettingsError(
            [f"run.cluster = {cluster}: {told}; set PREFECT_API_URL to one that they can reach"]
        )
    quiet = _ON_TERMINAL if os.environ.get("PREFECT_API_URL") else _PRIVATE
    home = _home(state, _QUIET | quiet)
    if os.environ.get("PREFECT_API_URL"):
        return None
    server = LocalServer(home, new_login())
    server.start()
    _use(server)
    return server


def _use(server: LocalServer) -> None:
    """Let Prefect in this process, and in processes that it starts, use a server."""
    os.environ["PREFECT_API_URL"] = server.url
    os.environ["PREFECT_API_AUTH_STRING"] = server.login
    # The login must not be sent to a proxy.
    for name in ("NO_PROXY", "no_proxy"):
        others = os.environ.get(name)
        os.environ[name] = f"{others},127.0.0.1" if others else "127.0.0.1"
