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
from palimpsest.flows.prefect_profile import use_configured_api
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
_SCHEDULE = _OFFLINE | {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
_ON_TERMINAL = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""With the user's server: logs go to its pages, not to the terminal."""
_PRIVATE = {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_LOGGING_TO_API_ENABLED": "false"}
"""With a private server, whose page nobody sees: no logs."""


def _is_loopback(cluster: str) -> bool:
    """Return whether a cluster's address, such as ``tcp://10.0.0.5:8786``, is this machine's."""
    host = urlsplit(f"//{cluster.rpartition('//')[2]}").hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def time_limit() -> float | None:
    """Return how many seconds a flow may run: ``PALIMPSEST_TIME_LIMIT``, or None for no limit.

    Deployments set it for their runs; runs that are started by hand have none.

    Raises:
        SettingsError: it is not a number above 0.
    """
    limit = os.environ.get("PALIMPSEST_TIME_LIMIT", "")
    if not limit:
        return None
    try:
        seconds = float(limit)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise SettingsError([f"PALIMPSEST_TIME_LIMIT={limit}: expected seconds, a number above 0"])
    return seconds


def _set_environment(state: Path | None, environment: dict[str, str]) -> Path:
    """Set the variables that the user has not set; return Palimpsest's state folder."""
    home = (state or state_folder()).absolute()
    home.mkdir(parents=True, exist_ok=True)
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(home / "prefect"))
    return home


def prepare_schedule(state: Path | None, port: int) -> LocalServer | None:
    """Prepare for a schedule; start a shared server unless the user has configured one.

    Raises:
        SettingsError: the port belongs to another program, or the login is not safe.
        TransientError: the server does not start.
    """
    is_configured = use_configured_api()  # before PREFECT_HOME, where profiles are, is set
    home = _set_environment(state, _SCHEDULE)
    if is_configured:
        return None
    server = LocalServer(home, login_of(home), port)
    server.ensure()
    _use(server)
    return server


def prepare_flow_run(state: Path | None = None, cluster: str | None = None) -> LocalServer | None:
    """Prepare for a flow run in this process; start a private server unless the user has one.

    Args:
        state: Palimpsest's state folder.
        cluster: address of the cluster whose workers will report to the server.

    Raises:
        SettingsError: the workers could not reach a private server.
    """
    if cluster and not _is_loopback(cluster) and not os.environ.get("PREFECT_API_URL"):
        fault = "its workers report to Prefect's server, and cannot reach the one on loopback"
        raise SettingsError(
            [f"run.cluster = {cluster}: {fault}; set PREFECT_API_URL to one that they can reach"]
        )
    logging = _ON_TERMINAL if os.environ.get("PREFECT_API_URL") else _PRIVATE
    home = _set_environment(state, _QUIET | logging)
    if os.environ.get("PREFECT_API_URL"):
        return None
    server = LocalServer(home, new_login())
    server.start()
    _use(server)
    return server


def _use(server: LocalServer) -> None:
    """Have Prefect use a server, in this process and in its child processes."""
    os.environ["PREFECT_API_URL"] = server.url
    os.environ["PREFECT_API_AUTH_STRING"] = server.login
    # The login must not be sent to a proxy.
    for name in ("NO_PROXY", "no_proxy"):
        hosts = os.environ.get(name)
        os.environ[name] = f"{hosts},127.0.0.1" if hosts else "127.0.0.1"
