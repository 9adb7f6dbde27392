"""An S3 server on this machine: moto, one request at a time, with faults on request.

``python -m tests.store.s3`` serves until its input ends, and prints the address first.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Fault = Callable[[dict[str, Any]], str | None]
"""Called with the WSGI environment of a request, which it may change. Returns None to let it be
answered, "refuse" to answer 503 without executing it, or "lose" to execute it and answer 503."""


class Server:
    """A server with one bucket, ``shelves``.

    Attributes:
        url: its address.
        fault: looks at each request.
        requests: method and path of each that came.
    """

    bucket = "shelves"

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Silent(WSGIRequestHandler):
            def log(self, *_: Any, **__: Any) -> None:
                pass

        self.fault: Fault = lambda _: None
        self.requests: list[tuple[str, str]] = []
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._answer, True, request_handler=Silent)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        # Moto checks whether an object exists and writes it in two steps; real stores in one.
        with self._lock:
            self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
            what = self.fault(environ)
            if what != "refuse":
                answered: list[Any] = []
                body = list(self._app(environ, lambda *response: answered.append(response)))
        if what is None:
            start(*answered[0][:2])
            return body
        start("503 Service Unavailable", [("Content-Length", "0"), ("Connection", "close")])
        return [b""]


def environment(url: str) -> dict[str, str]:
    """Return only the usual environment variables with which a client finds a server."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "reader",
        "AWS_SECRET_ACCESS_KEY": "of-nothing",
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def client() -> Any:
    """Return a plain client, independent of Palimpsest."""
    return _client_of(os.environ["AWS_ENDPOINT_URL"])


@functools.cache
def _client_of(_: str) -> Any:
    import boto3

    return boto3.client("s3", region_name=os.environ["AWS_REGION"])


def keys(address: str) -> dict[str, int]:
    """Return the objects under an address: their keys relative to it, with their sizes."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    pages = client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    return {
        one["Key"].removeprefix(f"{prefix}/"): one["Size"]
        for page in pages
        for one in page.get("Contents", [])
    }


@contextmanager
def on_another_machine(folder: Path) -> Iterator[None]:
    """Use another folder for local copies, as another machine does."""
    before = os.environ.get("PALIMPSEST_CACHE")
    os.environ["PALIMPSEST_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PALIMPSEST_CACHE"]
        else:
            os.environ["PALIMPSEST_CACHE"] = before


def main() -> None:
    """Serve until the other end of standard input is closed."""
    server = Server()
    print(server.url, flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
