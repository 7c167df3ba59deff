"""Who may come in, and with how much: before anything of a request is read or decoded.

FastAPI reads a body before it runs dependencies, so the key, the quota and the size are
checked here, around the application. Every request gets an id, and one line in the log.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette import status
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from serving.admission import admit, record
from serving.config import Limits
from serving.keys import Key, Keyring, Scope
from serving.problems import Problem, problem_response
from serving.telemetry import Telemetry, ended, trace_id

#: The subprotocol of streams; a browser offers its key as another, `gestray.key.` before it.
PROTOCOL = "gestray.v1"
_KEY = "gestray.key."

_SCOPES: tuple[tuple[str, Scope], ...] = (
    ("/v1/generate", "generate"),
    ("/v1/motions", "generate"),
    ("/v1/admin", "admin"),
    ("/metrics", "metrics"),
)
_WITH_KEY = ("/v1/", "/metrics")
#: Of everything that is answered.
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "style-src 'self'; script-src 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
}


def close_code(problem: HTTPException) -> int:
    """What a web socket is closed with, where a request would be answered this problem."""
    if problem.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return status.WS_1011_INTERNAL_ERROR
    return 4000 + problem.status_code


def scope_of(path: str) -> Scope:
    """The scope a key needs for a path of the API."""
    for prefix, scope in _SCOPES:
        if path == prefix or path.startswith((f"{prefix}/", f"{prefix}.")):
            return scope
    return "retrieve"


@dataclass
class Gate:
    """ASGI middleware around the API; `keyring` None lets everybody in, on loopback only."""

    app: ASGIApp
    keyring: Keyring | None
    limits: Limits
    request_s: float
    telemetry: Telemetry
    allow_origins: Sequence[str] = ()

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        if connection["type"] == "lifespan":
            await self.app(connection, receive, send)
            return
        if connection["type"] == "websocket":
            await self._socket(connection, receive, send)
            return
        request_id = uuid.uuid4().hex
        connection.setdefault("state", {})["request_id"] = request_id
        started, code, key, answering = time.perf_counter(), 500, None, False

        async def sending(message: Message) -> None:
            nonlocal code, answering
            if message["type"] == "http.response.start":
                code, answering = message["status"], True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers, method = Headers(scope=connection), connection["method"]
        self.telemetry.ongoing.inc()
        with self.telemetry.request(method, headers) as span:
            try:
                key = self._admit(connection["path"], headers, headers.get("authorization"))
                async with asyncio.timeout(self.request_s):
                    await self.app(connection, self._counted(receive), sending)
            except Problem as problem:
                await problem_response(problem, request_id)(connection, receive, sending)
            except TimeoutError:
                if answering:
                    raise
                late = Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    f"given up after {self.request_s:g} s",
                    {"retry-after": "5"},
                )
                await problem_response(late, request_id)(connection, receive, sending)
            finally:
                self.telemetry.ongoing.dec()
                seconds, route = time.perf_counter() - started, _route(connection)
                self.telemetry.requests.labels(route, method, code).inc()
                self.telemetry.seconds.labels(route).observe(seconds)
                ended(span, route, method, code)
                path = connection["path"]
                record(request_id, method, path, key, code, seconds, trace_id(span))

    async def _socket(self, connection: Connection, receive: Receive, send: Send) -> None:
        """A web socket: browsers cannot send headers with one, and ask from any page."""
        request_id, started, key = uuid.uuid4().hex, time.perf_counter(), None
        code = status.WS_1006_ABNORMAL_CLOSURE
        headers, offered = Headers(scope=connection), connection.get("subprotocols", ())

        async def sending(message: Message) -> None:
            nonlocal code
            if message["type"] == "websocket.close":
                code = message.get("code", status.WS_1000_NORMAL_CLOSURE)
            await send(message)

        try:
            self._check_origin(headers)
            keys = (name.removeprefix(_KEY) for name in offered if name.startswith(_KEY))
            bearer = next((f"Bearer {token}" for token in keys), headers.get("authorization"))
            key = self._admit(connection["path"], headers, bearer)
            state = connection.setdefault("state", {})
            state |= {"request_id": request_id, "key": key.id if key else None}
            await self.app(connection, receive, sending)
        except Problem as problem:
            # Browsers tell a page of a close, and nothing of a handshake that was refused.
            await receive()
            accepted = PROTOCOL if PROTOCOL in offered else None
            await send({"type": "websocket.accept", "subprotocol": accepted})
            body = {"type": "problem", "status": problem.status_code, "detail": problem.detail}
            await send({"type": "websocket.send", "text": json.dumps(body)})
            reason = str(problem.detail)[:120]
            await sending(
                {"type": "websocket.close", "code": close_code(problem), "reason": reason}
            )
        finally:
            seconds, path = time.perf_counter() - started, connection["path"]
            self.telemetry.requests.labels(_route(connection), "SOCKET", code).inc()
            record(request_id, "SOCKET", path, key, code, seconds, None)

    def _check_origin(self, headers: Headers) -> None:
        """Refuse sockets that pages of others open.

        Raises:
            Problem: the page is neither ours nor one of `allow_origins`.
        """
        origin = headers.get("origin")
        if origin is None or origin in self.allow_origins:
            return
        if urlsplit(origin).netloc != headers.get("host"):
            raise Problem(HTTPStatus.FORBIDDEN, "pages of this origin may not open streams here")

    def _admit(self, path: str, headers: Headers, bearer: str | None) -> Key | None:
        """The key of a request that may go on.

        Raises:
            Problem: it may not.
        """
        try:
            declared = int(headers.get("content-length", "0"))
        except ValueError:
            raise Problem(HTTPStatus.BAD_REQUEST, "Content-Length is no number") from None
        if declared > self.limits.body_bytes:
            raise _too_large(self.limits.body_bytes)
        if self.keyring is None or not path.startswith(_WITH_KEY):
            return None
        return admit(self.keyring, bearer, scope_of(path), path)

    def _counted(self, receive: Receive) -> Receive:
        """Receives the body up to its limit, whatever its header said, and in time."""
        arrived, whole = 0, False
        deadline = asyncio.get_running_loop().time() + self.limits.body_s

        async def receiving() -> Message:
            nonlocal arrived, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise Problem(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f"the body has not arrived within {self.limits.body_s:g} s",
                    {"connection": "close"},
                ) from None
            arrived += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if arrived > self.limits.body_bytes:
                raise _too_large(self.limits.body_bytes)
            return message

        return receiving


def _too_large(limit: int) -> Problem:
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {limit} bytes; send less")


def _route(connection: Connection) -> str:
    """The path as it is declared: of those that are asked for there may be any number."""
    return getattr(connection.get("route"), "path", "other")
