"""Who may come in, and with how much: before anything of a request is read or decoded.

FastAPI reads a body before it runs dependencies, so the key, the quota and the size are
checked here, around the application. Every request gets an id, and one line in the log
that says who asked for what and how it ended; never what was said, and never a key.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette import status
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from serving.config import Limits
from serving.keys import Key, Keyring, Scope
from serving.problems import Problem, problem_response

audit = logging.getLogger("gestray.audit")

_API = "/v1/"
_SCOPES: tuple[tuple[str, Scope], ...] = (
    ("/v1/generate", "generate"),
    ("/v1/motions", "generate"),
    ("/v1/admin", "admin"),
)
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

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        if connection["type"] == "lifespan":
            await self.app(connection, receive, send)
            return
        if connection["type"] != "http":
            # There are no web sockets yet, and none may come that nobody checks.
            await send({"type": "websocket.close", "code": status.WS_1008_POLICY_VIOLATION})
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

        try:
            key = self._admit(connection["path"], Headers(scope=connection))
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
            _log(connection, request_id, key, code, time.perf_counter() - started)

    def _admit(self, path: str, headers: Headers) -> Key | None:
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
        if self.keyring is None or not path.startswith(_API):
            return None
        key = self.keyring.find(headers.get("authorization"))
        if key is None:
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "send a key of this server as `Authorization: Bearer …`",
                {"www-authenticate": "Bearer"},
            )
        needed = scope_of(path)
        if needed not in key.scopes:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"this key may {', '.join(key.scopes)}; {path} needs the scope {needed}",
            )
        if wait := self.keyring.wait(key):
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"this key may ask {key.per_minute} times a minute",
                {"retry-after": str(math.ceil(wait))},
            )
        return key

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


def _log(
    connection: Connection, request_id: str, key: Key | None, status: int, seconds: float
) -> None:
    line: dict[str, Any] = {
        "request_id": request_id,
        "method": connection["method"],
        "path": connection["path"],
        "status": status,
        "ms": round(1000 * seconds, 1),
        "key": key.id if key else None,
    }
    audit.info(json.dumps(line))
