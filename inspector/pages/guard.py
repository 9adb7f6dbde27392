"""Who may see the pages, and what browsers may do with them.

Texts of an archive are hostile: all of them are escaped, and should one slip through, the policy
lets no script run that did not come as a file of ours.
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
    """Asks for the token, if there is one, refuses all but reading, and adds the headers.

    The token is told once in the address, ``?token=...``; a cookie remembers it, and the address is
    left without it, so that it is not passed on with a link. Programs send it as a bearer token.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token
        # Cookies are shared by all ports of a host, and are of few letters.
        self._kept = _digest(f"kept {token}")
        self._cookie = f"{COOKIE}-{_digest(self._kept)[:8]}"

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
        headers = {name: value.decode("utf-8", "replace") for name, value in scope["headers"]}
        scheme, _, bearer = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_right(bearer.strip()):
            return None
        kept = cookie_parser(headers.get(b"cookie", "")).get(self._cookie, "")
        if _is_same(kept, self._kept):
            return None
        told = "a token is needed: open the address that palimpsest inspect printed"
        return PlainTextResponse(told, 401)

    def _remembered(self, scope: Scope, query: list[tuple[str, str]]) -> Response:
        rest = urlencode([one for one in query if one[0] != "token"])
        path = "/" + quote(scope["path"].lstrip("/"))  # never //host, which leads elsewhere
        answer = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
        answer.set_cookie(
            self._cookie,
            self._kept,
            httponly=True,
            samesite="lax",  # strict would forget it where somebody follows a link from elsewhere
            secure=scope["scheme"] == "https",
        )
        return answer

    def _is_right(self, given: str) -> bool:
        return self._token is not None and _is_same(given, self._token)


def _digest(told: str) -> str:
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()


def _is_same(given: str, expected: str) -> bool:
    return secrets.compare_digest(_digest(given), _digest(expected))
