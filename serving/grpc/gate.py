"""Who may come in over gRPC, and with how much: before anything of a message is read.

Of a call the key, the scope and the quota are checked by its metadata. Every method is answered
as if its client streamed, so that a message is waited for only then, and not for ever.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving.admission import admit, record
from serving.config import Limits, Load
from serving.keys import Key, Keyring, Scope
from serving.problems import Problem, problem_body
from serving.streams.conversation import Gone, check_size
from serving.telemetry import Telemetry, ended, trace_id

log = logging.getLogger("gestray.grpc")

#: Id of the key that the current call was let in with.
CALLER: ContextVar[str | None] = ContextVar("caller", default=None)

#: What a key must be for.
SCOPES: dict[str, Scope] = {
    "Models": "retrieve",
    "Retrieve": "retrieve",
    "RetrieveByMotion": "retrieve",
    "ClipFile": "retrieve",
    "Generate": "generate",
    "MotionFile": "generate",
    "StreamGenerate": "generate",
}
_SERVICE = "/gestray.v1.Gestures/"

_CODES = {
    HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    HTTPStatus.CONFLICT: grpc.StatusCode.ABORTED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNPROCESSABLE_ENTITY: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.NOT_IMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
# Clients take some kilobytes of metadata, and it is sent twice.
_DETAIL_CHARS = 1_000
# As proxies log requests whose client has left.
_LEFT = 499


class Gate(grpc.aio.ServerInterceptor):
    """Around every method of the API; `keyring` None lets everybody in, on loopback only."""

    def __init__(
        self, keyring: Keyring | None, limits: Limits, load: Load, telemetry: Telemetry
    ) -> None:
        self.keyring, self.limits, self.load, self.telemetry = keyring, limits, load, telemetry
        self._ongoing = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(handler_call_details)
        path = handler_call_details.method
        if handler is None or not path.startswith(_SERVICE):  # unknown, or health
            return handler
        metadata = {
            name: value
            for name, value in handler_call_details.invocation_metadata
            if isinstance(value, str)
        }

        async def answer(messages: Any, context: grpc.aio.ServicerContext) -> None:
            await self._answer(path, metadata, handler, messages, context)

        return grpc.stream_stream_rpc_method_handler(
            answer, _careful(handler), handler.response_serializer
        )

    async def _answer(
        self,
        path: str,
        metadata: dict[str, str],
        handler: Any,
        messages: Any,
        context: grpc.aio.ServicerContext,
    ) -> None:
        request_id, started = uuid.uuid4().hex, time.perf_counter()
        context.set_trailing_metadata((("x-request-id", request_id),))
        key: Key | None = None
        problem: Problem | None = None
        code = int(HTTPStatus.OK)
        self.telemetry.ongoing.inc()
        with self.telemetry.request(path, metadata) as span:
            try:
                if self.keyring is not None:
                    name = path.removeprefix(_SERVICE)
                    key = admit(self.keyring, metadata.get("authorization"), SCOPES[name], name)
                    CALLER.set(key.id)
                await self._work(handler, messages, context)
            except Problem as found:
                problem, code = found, found.status_code
            except (asyncio.CancelledError, Gone):
                code = _LEFT
                raise
            except Exception:
                log.exception("%s failed", path)
                problem = Problem(
                    HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the server; it is logged"
                )
                code = problem.status_code
            finally:
                self.telemetry.ongoing.dec()
                seconds = time.perf_counter() - started
                self.telemetry.requests.labels(path, "GRPC", code).inc()
                self.telemetry.seconds.labels(path).observe(seconds)
                ended(span, path, "GRPC", code)
                record(request_id, "GRPC", path, key, code, seconds, trace_id(span))
        if problem is not None:
            await _refuse(context, problem, request_id)

    async def _work(self, handler: Any, messages: Any, context: Any) -> None:
        if handler.request_streaming:  # bounds its time by itself
            await handler.stream_stream(messages, context)
            return
        try:
            with self._room():
                async with asyncio.timeout(self.load.request_s):
                    request = await self._message(context)
                    if handler.response_streaming:
                        async for piece in handler.unary_stream(request, context):
                            await context.write(piece)
                    else:
                        await context.write(await handler.unary_unary(request, context))
        except TimeoutError:
            late = f"given up after {self.load.request_s:g} s"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, late, {"retry-after": "5"}) from None

    @contextmanager
    def _room(self) -> Iterator[None]:
        """For one more call, or a refusal at once: what Serve's queue is to HTTP."""
        if self._ongoing >= self.load.ongoing + self.load.queued:
            busy = f"{self._ongoing} calls are being answered or wait already"
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, busy, {"retry-after": "1"})
        self._ongoing += 1
        try:
            yield
        finally:
            self._ongoing -= 1

    async def _message(self, context: Any) -> Any:
        """The one message of a call, in time."""
        try:
            async with asyncio.timeout(self.limits.body_s):
                message = await context.read()
        except TimeoutError:
            late = f"the message has not arrived within {self.limits.body_s:g} s"
            raise Problem(HTTPStatus.REQUEST_TIMEOUT, late) from None
        if message is grpc.aio.EOF:
            raise Problem(HTTPStatus.BAD_REQUEST, "found no message, expected one")
        return message


def _careful(handler: Any) -> Callable[[bytes], Any]:
    """Reads a message, and refuses what is none; those of streams have a limit of their own."""
    read = handler.request_deserializer

    def reading(raw: bytes) -> Any:
        if handler.request_streaming:
            check_size(raw)
        try:
            return read(raw)
        except DecodeError:
            raise Problem(
                HTTPStatus.BAD_REQUEST, "the message is none that this method takes"
            ) from None

    return reading


async def _refuse(context: grpc.aio.ServicerContext, problem: Problem, request_id: str) -> None:
    """End a call with a problem's status; the problem itself goes behind it."""
    code = _CODES.get(HTTPStatus(problem.status_code), grpc.StatusCode.INTERNAL)
    headers, detail = problem.headers or {}, str(problem.detail)[:_DETAIL_CHARS]
    body = problem_body(problem, request_id).model_copy(update={"detail": detail})
    behind = [
        ("x-request-id", request_id),
        ("problem-json", json.dumps(body.model_dump())),
        # Those of HTTP that mean something here.
        *((name, headers[name]) for name in ("retry-after",) if name in headers),
    ]
    if "retry-after" in headers:
        # What gRPC's own policies of retries wait for.
        behind.append(("grpc-retry-pushback-ms", str(1000 * int(headers["retry-after"]))))
    await context.abort(code, detail, tuple(behind))
