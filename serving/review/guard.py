"""Who may talk to the page's server: the browser that was given its address, and nobody else.

The server listens on the loopback alone, but other programs and every web page that is open in a
browser of this machine can reach that. So a request has to know the token of the address that was
printed; it has to be made to this machine by name (a page elsewhere could have its own name point
here), from this page or none; and it is small.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 64 * 1024
"""Of a request's body."""

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Lets requests through to `app`, or answers them with what is wrong about them.

    Args:
        app: behind the guard.
        token: that the page's address ends in; a cookie has it afterwards.
        port: of the server.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._token = token
        # Cookies are shared by all ports of a host.
        self._cookie = f"gestray-review-{port}"
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._origins = {f"http://{host}" for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import MutableHeaders
        from starlette.responses import PlainTextResponse, RedirectResponse, Response

        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # closes a web socket: there are none

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        answer: Response | None = None
        if (wrong := self._refusal(scope["method"], headers)) is not None:
            status, text = wrong
            answer = PlainTextResponse(text, status)
        elif not self._is_known(headers):
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if scope["path"] == "/" and scope["method"] == "GET" and self._is_token(given):
                # To the address without the token: it is not left in the history.
                answer = RedirectResponse("/", 303)
                answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
            else:
                answer = PlainTextResponse(
                    "Open the address that `gestray anchors review` printed.", 401
                )
        await (answer or self._app)(scope, receive, send_guarded)

    def _refusal(self, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and reason, where a request may not be answered whoever makes it."""
        if headers.get("host") not in self._hosts:
            return 421, "not for this host"
        if headers.get("origin", next(iter(self._origins))) not in self._origins:
            return 403, "not from another page"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "not from another site"
        if method in ("GET", "HEAD", "DELETE"):
            return None
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return 411, "say how long the body is"
        if int(length) > MOST_BYTES:
            return 413, f"longer than {MOST_BYTES} bytes"
        # No form of another page can send this.
        if headers.get("content-type") != "application/json":
            return 415, "expected application/json"
        return None

    def _is_known(self, headers: dict[str, str]) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and self._is_token(cookie.value)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())
