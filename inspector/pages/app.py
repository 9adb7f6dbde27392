"""The web application: routes each address to a page or to its JSON twin."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from palimpsest.inspector.catalogue.read import Catalogue, DocumentQuery
from palimpsest.inspector.pages import views
from palimpsest.inspector.pages.current import READ_ERRORS, CurrentCatalogue
from palimpsest.inspector.pages.guard import Guard
from palimpsest.inspector.pages.rendering import render
from palimpsest.records.errors import SettingsError

View = Callable[[Catalogue, Request], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Options:
    """How an archive is shown.

    Attributes:
        name: name of the archive on the pages.
        hosts: allowed values of the Host header, without port; "*" for any.
        token: secret that clients must send; None if there is none.
        prefect: address of the Prefect page that runs link to; None for no links.
    """

    name: str
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    token: str | None = None
    prefect: str | None = None


def create_app(current: CurrentCatalogue, options: Options) -> ASGIApp:
    """Return the application that shows an archive."""
    pages: list[tuple[str, str, View]] = [
        ("/", "overview", lambda catalogue, _: views.overview(catalogue)),
        ("/documents", "documents", _documents),
        ("/documents/{id}", "document", _document),
        ("/documents/{id}/bytes/{ordinal}", "bytes", _excerpt),
        ("/compare/{left}/{right}", "compare", _compare),
        ("/paragraphs/{id}", "paragraph", _paragraph),
        ("/explain/{kind}/{left}/{right}", "explain", _explain),
        ("/rejects", "rejects", _rejects),
    ]
    handlers = _Handlers(current, options)
    routes = [Route("/health", handlers.health), Route("/documents/{id}/raw", handlers.raw)]
    for path, template, view in pages:
        twin = "/index.json" if path == "/" else f"{path}.json"
        routes.append(Route(twin, handlers.twin(view)))
        routes.append(Route(path, handlers.page(template, view), name=template))
    static = StaticFiles(directory=str(files("palimpsest.inspector.pages").joinpath("static")))
    app = Starlette(
        routes=[*routes, Mount("/static", static, name="static")],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(options.hosts))],
        exception_handlers={
            HTTPException: handlers.refusal,
            Exception: handlers.failure,
        },
    )
    app.router.redirect_slashes = False  # would redirect to whatever host the request names
    return Guard(app, options.token)  # outermost, so that errors get its headers too


class _Handlers:
    """Answers requests with pages and their JSON twins."""

    def __init__(self, current: CurrentCatalogue, options: Options) -> None:
        self._current = current
        self._options = options

    def page(self, template: str, view: View) -> Callable[[Request], Response]:
        """Return a request handler that renders a page."""

        def answer(request: Request) -> Response:
            catalogue = self._current.catalogue()
            if catalogue is None:
                return self._preparing(request)
            values = self._view(view, catalogue, request)
            version = catalogue.snapshot.manifest.version
            return self._html(request, template, values, version=version)

        return answer

    def twin(self, view: View) -> Callable[[Request], Response]:
        """Return a request handler that answers with the JSON twin of a page."""

        def answer(request: Request) -> Response:
            catalogue = self._current.catalogue()
            if catalogue is None:
                return JSONResponse({"error": self._current.status()}, 503, _RETRY)
            try:
                values = self._view(view, catalogue, request)
            except HTTPException as error:
                return JSONResponse({"error": error.detail}, error.status_code)
            text = json.dumps(values, ensure_ascii=False, default=str)
            content = text.encode("utf-8", "backslashreplace")
            return Response(content, media_type="application/json")

        return answer

    def raw(self, request: Request) -> Response:
        """Answer with the raw bytes of a document as a download, never displayed."""
        catalogue = self._current.catalogue()
        if catalogue is None:
            return self._preparing(request)
        content = self._view(_raw, catalogue, request)
        disposition = f'attachment; filename="{request.path_params["id"]}.bin"'
        headers = {"Content-Disposition": disposition}
        return Response(content, media_type="application/octet-stream", headers=headers)

    def health(self, _: Request) -> Response:
        """Answer that the server is up and whether it is ready; this needs no token."""
        is_ready = self._current.catalogue() is not None
        return PlainTextResponse("ready" if is_ready else "not ready yet")

    def refusal(self, request: Request, error: Exception) -> Response:
        """Answer with a page that says why a request was refused."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else "internal error"
        return self._html(request, "message", {"status": status, "detail": detail}, status=status)

    def failure(self, request: Request, error: Exception) -> Response:
        """Answer that the server failed, without internal details."""
        detail = f"unexpected {type(error).__name__}; see the server's log"
        return self._html(request, "message", {"status": 500, "detail": detail}, status=500)

    def _view(
        self, view: Callable[[Catalogue, Request], Any], catalogue: Catalogue, request: Request
    ) -> Any:
        try:
            return view(catalogue, request)
        except views.NotFoundError as error:
            raise HTTPException(404, str(error)) from error
        except SettingsError as error:
            raise HTTPException(400, "; ".join(error.faults)) from error
        except sqlite3.DatabaseError as error:
            self._current.discard(catalogue)
            detail = f"the catalogue is damaged ({error}) and is being rebuilt"
            raise HTTPException(503, detail) from error
        except READ_ERRORS as error:
            raise HTTPException(
                503, f"the archive cannot be read at the moment: {error}"
            ) from error

    def _preparing(self, request: Request) -> Response:
        values = {"status": 503, "detail": self._current.status(), "is_waiting": True}
        return self._html(request, "message", values, status=503, headers=_RETRY)

    def _html(
        self,
        request: Request,
        template: str,
        values: Mapping[str, Any],
        *,
        version: int | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        path = quote(request.scope["path"])
        query = request.scope["query_string"].decode("latin-1")
        layout = {
            "archive": self._options.name,
            "prefect": self._options.prefect,
            "version": version,
            "template": template,
            "pending_version": self._current.pending_version(),
            "twin": ("/index.json" if path == "/" else f"{path}.json") + (query and f"?{query}"),
            "with_page": lambda page: f"{path}?{urlencode({**request.query_params, 'page': page})}",
        }
        text = render(f"{template}.html", {**layout, **values}).translate(_CONTROL_CHARACTERS)
        return HTMLResponse(text.encode("utf-8", "backslashreplace"), status, headers)


_RETRY = {"Retry-After": "2"}
# Invisible, and not allowed in HTML.
_CONTROL_CHARACTERS = dict.fromkeys(
    [*range(9), 11, 12, *range(14, 32), *range(0x7F, 0xA0)], "\ufffd"
)
_DAY = re.compile(r"(\d{4}(-\d{2}(-\d{2})?)?)?")


def _documents(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    parameters = request.query_params
    percent = _number(parameters.get("reuse"), "reuse", 0, 100)
    query = DocumentQuery(
        words=parameters.get("words", "")[:400],
        origin=parameters.get("origin", ""),
        since=_day(parameters.get("since", ""), "since"),
        until=_day(parameters.get("until", ""), "until"),
        least_reuse=percent / 100,
        order=parameters.get("order") or ("relevance" if parameters.get("words") else "date"),
    )
    values = views.documents(catalogue, query, _page(request))
    by = catalogue.overview()["origins"]["by"]
    return values | {"origins": catalogue.origins(), "origin_by": by}


def _document(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    return views.document(catalogue, request.path_params["id"])


def _excerpt(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    parameters = request.path_params
    ordinal = _number(parameters["ordinal"], "paragraph", 0, views.MAX_ORDINAL)
    return views.excerpt(catalogue, parameters["id"], ordinal)


def _raw(catalogue: Catalogue, request: Request) -> bytes:
    return views.raw(catalogue, request.path_params["id"])


def _compare(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    parameters = request.path_params
    return views.compare(catalogue, parameters["left"], parameters["right"])


def _paragraph(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    return views.paragraph(catalogue, request.path_params["id"])


def _explain(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    parameters = request.path_params
    kinds = {"documents": "document", "texts": "text"}
    kind = parameters["kind"]
    if kind not in kinds:
        raise views.NotFoundError(f"explain {kind!r}: expected documents or texts")
    return views.explain(catalogue, kinds[kind], parameters["left"], parameters["right"])


def _rejects(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    return views.rejects(catalogue, request.query_params.get("reason", ""), _page(request))


def _page(request: Request) -> int:
    return _number(request.query_params.get("page"), "page", 1, 1_000_000)


def _number(value: str | None, name: str, least: int, most: int) -> int:
    if not value:
        return least
    is_number = value.isascii() and value.isdigit() and len(value) <= len(str(most))
    if not is_number or not least <= int(value) <= most:
        raise SettingsError([f"{name} {value!r}: expected a whole number from {least} to {most}"])
    return int(value)


def _day(value: str, name: str) -> str:
    value = value.strip()
    if not _DAY.fullmatch(value) or not value.isascii():
        raise SettingsError([f"{name} {value!r}: expected a day, month or year, as in 2024-11-12"])
    return value
