"""The application: which address shows what, as a page or as its JSON twin."""

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

from inspector.catalogue.read import Asked, Catalogue
from inspector.pages import views
from inspector.pages.guard import Guard
from inspector.pages.rendering import render
from inspector.pages.shelf import UNREADABLE, Shelf
from records.errors import SettingsError

View = Callable[[Catalogue, Request], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Options:
    """How an archive is shown.

    Attributes:
        name: what the archive is called on the pages.
        hosts: names by which browsers may call the server, without port; "*" for any.
        token: what a browser must show once; None if nobody is asked.
        prefect: address of Prefect's page, to which runs are linked; None for no links.
    """

    name: str
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    token: str | None = None
    prefect: str | None = None


def create_app(shelf: Shelf, options: Options) -> ASGIApp:
    """Return the application that shows an archive.

    Args:
        shelf: gives the catalogue of the current version.
        options: how it is shown.
    """
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
    show = _Shown(shelf, options)
    routes = [Route("/health", show.health), Route("/documents/{id}/raw", show.raw)]
    for path, template, view in pages:
        twin = "/index.json" if path == "/" else f"{path}.json"
        routes.append(Route(twin, show.twin(view)))
        routes.append(Route(path, show.page(template, view), name=template))
    static = StaticFiles(directory=str(files("inspector.pages").joinpath("static")))
    app = Starlette(
        routes=[*routes, Mount("/static", static, name="static")],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(options.hosts))],
        exception_handlers={HTTPException: show.refusal, Exception: show.failure},
    )
    app.router.redirect_slashes = False  # would lead to whatever host the request names
    return Guard(app, options.token)  # around all else, or errors would come without its headers


class _Shown:
    """Answers requests with pages and their twins."""

    def __init__(self, shelf: Shelf, options: Options) -> None:
        self._shelf = shelf
        self._options = options

    def page(self, template: str, view: View) -> Callable[[Request], Response]:
        """Return what answers with a page."""

        def answer(request: Request) -> Response:
            catalogue = self._shelf.catalogue()
            if catalogue is None:
                return self._preparing(request)
            told = self._viewed(view, catalogue, request)
            return self._html(request, template, told, version=catalogue.snapshot.manifest.version)

        return answer

    def twin(self, view: View) -> Callable[[Request], Response]:
        """Return what answers with the JSON twin of a page."""

        def answer(request: Request) -> Response:
            catalogue = self._shelf.catalogue()
            if catalogue is None:
                return JSONResponse({"error": self._shelf.state()}, 503, _RETRY)
            try:
                told = self._viewed(view, catalogue, request)
            except HTTPException as error:
                return JSONResponse({"error": error.detail}, error.status_code)
            text = json.dumps(told, ensure_ascii=False, default=str)
            content = text.encode("utf-8", "backslashreplace")
            return Response(content, media_type="application/json")

        return answer

    def raw(self, request: Request) -> Response:
        """Answer with the raw bytes of a document, to be saved and never shown."""
        catalogue = self._shelf.catalogue()
        if catalogue is None:
            return self._preparing(request)
        content = self._viewed(_raw, catalogue, request)
        name = f'attachment; filename="{request.path_params["id"]}.bin"'
        headers = {"Content-Disposition": name}
        return Response(content, media_type="application/octet-stream", headers=headers)

    def health(self, _: Request) -> Response:
        """Answer that the server is up, and whether it shows anything: who asks has no token."""
        is_ready = self._shelf.catalogue() is not None
        return PlainTextResponse("ready" if is_ready else "nothing is shown yet")

    def refusal(self, request: Request, error: Exception) -> Response:
        """Answer with a page that says what is wrong with a request."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else "something went wrong"
        return self._html(request, "message", {"status": status, "detail": detail}, status=status)

    def failure(self, request: Request, error: Exception) -> Response:
        """Answer that the server failed, without what it knows of itself."""
        told = f"unexpected {type(error).__name__}; the server's log tells more"
        return self._html(request, "message", {"status": 500, "detail": told}, status=500)

    def _viewed(
        self, view: Callable[[Catalogue, Request], Any], catalogue: Catalogue, request: Request
    ) -> Any:
        try:
            return view(catalogue, request)
        except views.NotThereError as error:
            raise HTTPException(404, str(error)) from error
        except SettingsError as error:
            raise HTTPException(400, "; ".join(error.faults)) from error
        except sqlite3.DatabaseError as error:
            self._shelf.give_up(catalogue)
            raise HTTPException(
                503, f"the catalogue is damaged ({error}); it is made again"
            ) from error
        except UNREADABLE as error:
            raise HTTPException(503, f"the archive cannot be read just now: {error}") from error

    def _preparing(self, request: Request) -> Response:
        told = {"status": 503, "detail": self._shelf.state(), "is_waiting": True}
        return self._html(request, "message", told, status=503, headers=_RETRY)

    def _html(
        self,
        request: Request,
        template: str,
        told: Mapping[str, Any],
        *,
        version: int | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        path = quote(request.scope["path"])
        query = request.scope["query_string"].decode("latin-1")
        around = {
            "archive": self._options.name,
            "prefect": self._options.prefect,
            "version": version,
            "template": template,
            "newer": self._shelf.newer(),
            "twin": ("/index.json" if path == "/" else f"{path}.json") + (query and f"?{query}"),
            "with_page": lambda page: f"{path}?{urlencode({**request.query_params, 'page': page})}",
        }
        text = render(f"{template}.html", {**around, **told}).translate(_NO_CHARACTERS)
        return HTMLResponse(text.encode("utf-8", "backslashreplace"), status, headers)


_RETRY = {"Retry-After": "2"}
# Code points that no page may have, nor any reader would see.
_NO_CHARACTERS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(0x7F, 0xA0)], "\ufffd")
_DAY = re.compile(r"(\d{4}(-\d{2}(-\d{2})?)?)?")


def _documents(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    given = request.query_params
    percent = _number(given.get("reuse"), "reuse", 0, 100)
    asked = Asked(
        words=given.get("words", "")[:400],
        origin=given.get("origin", ""),
        since=_day(given.get("since", ""), "since"),
        until=_day(given.get("until", ""), "until"),
        least_reuse=percent / 100,
        order=given.get("order") or ("relevance" if given.get("words") else "date"),
    )
    told = views.documents(catalogue, asked, _page(request))
    by = catalogue.overview()["origins"]["by"]
    return told | {"origins": catalogue.origins(), "origin_by": by}


def _document(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    return views.document(catalogue, request.path_params["id"])


def _excerpt(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    given = request.path_params
    ordinal = _number(given["ordinal"], "paragraph", 0, views.MAX_ORDINAL)
    return views.excerpt(catalogue, given["id"], ordinal)


def _raw(catalogue: Catalogue, request: Request) -> bytes:
    return views.raw(catalogue, request.path_params["id"])


def _compare(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    given = request.path_params
    return views.compare(catalogue, given["left"], given["right"])


def _paragraph(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    return views.paragraph(catalogue, request.path_params["id"])


def _explain(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    given = request.path_params
    kinds = {"documents": "document", "texts": "text"}
    if given["kind"] not in kinds:
        raise views.NotThereError(f"explain {given['kind']!r}: expected documents or texts")
    return views.explain(catalogue, kinds[given["kind"]], given["left"], given["right"])


def _rejects(catalogue: Catalogue, request: Request) -> dict[str, Any]:
    return views.rejects(catalogue, request.query_params.get("reason", ""), _page(request))


def _page(request: Request) -> int:
    return _number(request.query_params.get("page"), "page", 1, 1_000_000)


def _number(told: str | None, name: str, least: int, most: int) -> int:
    if not told:
        return least
    is_number = told.isascii() and told.isdigit() and len(told) <= len(str(most))
    if not is_number or not least <= int(told) <= most:
        raise SettingsError([f"{name} {told!r}: expected a whole number from {least} to {most}"])
    return int(told)


def _day(told: str, name: str) -> str:
    told = told.strip()
    if not _DAY.fullmatch(told) or not told.isascii():
        raise SettingsError([f"{name} {told!r}: expected a day, month or year, as in 2024-11-12"])
    return told
