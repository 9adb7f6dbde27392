"""Access control and security headers of the pages.

Texts of an archive are hostile. All of them are escaped; should one slip through, the
content-security policy allows only scripts from our own files.
"""

from __future__ import annotations

import hashlib
import secrets
from urllib.parse import parse_qsl, quote, urlencode

from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
COOKIE = "palimpsest"
_OPEN = {"/health"}
_METHODS = {"GET", "HEAD"}


class Guard:
    """Middleware that checks the token, refuses all methods but reading, and adds the headers.

    A browser sends the token once in the address, ``?token=...``. It is then stored in a cookie and
    removed from the address, so that copied links do not contain it. Programs send a bearer token.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token
        # All ports of a host share their cookies, and cookies allow few characters: hence digests.
        self._cookie_value = _digest(f"kept {token}")
        self._cookie_name = f"{COOKIE}-{_digest(self._cookie_value)[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = {name.lower().encode(): value.encode() for name, value in HEADERS.items()}
                if scope["path"].startswith("/static/"):
                    ours[b"cache-control"] = b"no-cache"
                others = [header for header in message["headers"] if header[0].lower() not in ours]
                message = {**message, "headers": [*others, *ours.items()]}
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["method"] not in _METHODS:
            return PlainTextResponse("these pages are read-only", 405, {"Allow": "GET, HEAD"})
        if self._token is None or scope["path"] in _OPEN:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        token = dict(query).get("token")
        if token is not None and self._is_valid(token):
            return self._store_in_cookie(scope, query)
        headers = {name: value.decode("utf-8", "replace") for name, value in scope["headers"]}
        scheme, _, bearer = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_valid(bearer.strip()):
            return None
        cookie = cookie_parser(headers.get(b"cookie", "")).get(self._cookie_name, "")
        if _is_same(cookie, self._cookie_value):
            return None
        advice = "open the address that palimpsest inspect printed"
        return PlainTextResponse(f"a token is required: {advice}", 401)

    def _store_in_cookie(self, scope: Scope, query: list[tuple[str, str]]) -> Response:
        """Return a redirect to the same address without the token, which sets the cookie."""
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        path = "/" + quote(scope["path"].lstrip("/"))  # never //host, which is another site
        response = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
        response.set_cookie(
            self._cookie_name,
            self._cookie_value,
            httponly=True,
            samesite="lax",  # strict would not send it after following a link from another site
            secure=scope["scheme"] == "https",
        )
        return response

    def _is_valid(self, token: str) -> bool:
        return self._token is not None and _is_same(token, self._token)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _is_same(value: str, expected: str) -> bool:
    """Compare in constant time."""
    return secrets.compare_digest(_digest(value), _digest(expected))
