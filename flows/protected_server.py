"""A Prefect server that accepts requests only with its login, from its own page or from clients.

``prefect server start`` asks for no login, allows pages of any origin and accepts any Host header.
Since a deployment may contain shell commands, any web page that the user opens could then run
commands. This server does not start without a login or with all origins allowed, and refuses
requests to host names other than those of the origins, since an attacker's host name may resolve to
this machine.

The login is ``PREFECT_SERVER_API_AUTH_STRING``, the origins are
``PREFECT_SERVER_CORS_ALLOWED_ORIGINS``; both come from the environment, never from arguments.
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
import time
from urllib.parse import urlsplit

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from starlette.middleware.trustedhost import TrustedHostMiddleware

_PARENT_CHECK_SECONDS = 0.5


def protected_app() -> TrustedHostMiddleware:
    """Return Prefect's ASGI application behind the checks of this module.

    Raises:
        SystemExit: no login is set, or pages of any origin would be allowed.
    """
    api = get_current_settings().server.api
    if api.auth_string is None or not api.auth_string.get_secret_value().strip():
        raise SystemExit("PREFECT_SERVER_API_AUTH_STRING is not set; expected user:password")
    origins = [origin.strip() for origin in api.cors_allowed_origins.split(",")]
    hosts = {urlsplit(origin).hostname or "*" for origin in origins}
    if any("*" in host for host in hosts):
        raise SystemExit(
            f"PREFECT_SERVER_CORS_ALLOWED_ORIGINS is {api.cors_allowed_origins!r}; expected the "
            "addresses of this server, such as http://127.0.0.1:4200"
        )
    return TrustedHostMiddleware(create_app(final=True), sorted(hosts), www_redirect=False)


def main() -> None:
    """Serve until terminated, or until the process ``--parent`` has ended."""
    parser = argparse.ArgumentParser(prog="python -m palimpsest.flows.protected_server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument("--socket", type=int, help="inherited listening socket; replaces the port")
    parser.add_argument("--parent", type=int, help="process id; the server ends when it does")
    options = parser.parse_args()
    if options.parent is not None:
        threading.Thread(target=_end_with, args=(options.parent,), daemon=True).start()
    config = uvicorn.Config(
        protected_app(),
        host=options.host,
        port=options.port,
        lifespan="on",
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    inherited = None if options.socket is None else [socket.socket(fileno=options.socket)]
    uvicorn.Server(config).run(inherited)


def _end_with(parent: int) -> None:
    """End this process as soon as its parent has ended, for whatever reason."""
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
