"""Who may see the pages, and what browsers may do with them.

Texts of an archive are hostile: all of them are escaped, and should one slip through, the policy
lets no script run that did not come as a file of ours.
"""

from __future__ import annotations

import secrets
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

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
COOKIE = "palimpsest_token"
_OPEN = {"/health"}
_METHODS = {"GET", "HEAD"}


class Guard:
    """Asks for the token, if there is one, refuses all but reading, and adds the headers.

    The token is told once in the address, ``?token=...``; a cookie remembers it, and the address is
    left without it, so that it is not passed on with a link. Programs send it as a bearer token.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = {name.lower().encode(): value.encode() for name, value in HEADERS.items()}
                if scope["path"].startswith("/static/"):
                    told[b"cache-control"] = b"no-cache"
                kept = [one for one in message["headers"] if one[0].lower() not in told]
                message = {**message, "headers": [*kept, *told.items()]}
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["method"] not in _METHODS:
            return PlainTextResponse("pages are read only", 405, {"Allow": "GET, HEAD"})
        if self._token is None or scope["path"] in _OPEN:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token")
        if given is not None and self._is_right(given):
            return self._remembered(scope, query)
        headers = dict(scope["headers"])
        cookie = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
        bearer = headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ")
        if self._is_right(cookie.value if cookie else bearer):
            return None
        told = "a token is needed: open the address that palimpsest inspect printed"
        return PlainTextResponse(told, 401)

    def _remembered(self, scope: Scope, query: list[tuple[str, str]]) -> Response:
        rest = urlencode([one for one in query if one[0] != "token"])
        path = "/" + scope["path"].lstrip("/")  # never //host, which leads elsewhere
        answer = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
        told: dict[str, Any] = {"httponly": True, "samesite": "strict", "path": "/"}
        answer.set_cookie(COOKIE, str(self._token), secure=scope["scheme"] == "https", **told)
        return answer

    def _is_right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), str(self._token).encode())
