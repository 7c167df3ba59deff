"""`/v1/generate/stream`: speech goes in as it comes, motion comes out as it is decided.

A socket is a place where memory could grow without end, so everything on the way is bounded: what
a client sends, by how long a stream may last; what it is sent, by what it has acknowledged, since
a proxy in between would read for a client that does not. Who neither sends nor acknowledges for
a while has left. What is said in between is `serving.routes.messages`, what is done about it
`serving.performance`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, WebSocket

from gestray.corpora.take import FPS
from serving.config import Limits
from serving.gate import PROTOCOL, close_code
from serving.kept import new_id
from serving.listening import check_voice
from serving.moving import check_speaker
from serving.performance import Performance, too_long
from serving.problems import Problem
from serving.routes.messages import Ack, Resume, Start, read
from serving.routes.service import Service, find
from serving.shared import StreamLog
from serving.work import Bounded

log = logging.getLogger("gestray.stream")

#: Chunks of motion that are sent beyond the last that was acknowledged.
WINDOW = 64

_MESSAGE_BYTES = 64 << 10
# Of a stream, beside its speech: words and acknowledgements.
_SLACK_BYTES = 4 << 20
_BYTES_A_S = 32_000


class Gone(Exception):
    """The client has left; there is nobody to tell."""


def stream(
    router: APIRouter, service: Service, limits: Limits, kept_s: float, listening: Bounded
) -> None:
    """Add the route."""
    open_now: set[Conversation] = set()

    @router.websocket("/generate/stream")
    async def generate_stream(socket: WebSocket) -> None:
        offered = PROTOCOL in socket.scope.get("subprotocols", ())
        await socket.accept(subprotocol=PROTOCOL if offered else None)
        conversation = Conversation(socket, service, limits, kept_s, listening)
        if len(open_now) >= limits.streams:
            crowded = f"{len(open_now)} streams are open already; come again later"
            await conversation.close(Problem(HTTPStatus.TOO_MANY_REQUESTS, crowded))
            return
        open_now.add(conversation)
        service.telemetry.streams.set(len(open_now))
        try:
            await conversation.run()
        finally:
            open_now.discard(conversation)
            service.telemetry.streams.set(len(open_now))


class Conversation:
    """One socket: what came and is not heard yet, what was sent and is not acknowledged yet."""

    def __init__(
        self,
        socket: WebSocket,
        service: Service,
        limits: Limits,
        kept_s: float,
        listening: Bounded,
    ) -> None:
        self.socket, self.service, self.limits = socket, service, limits
        self.kept_s, self.listening = kept_s, listening
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._over: Exception | None = None  # why nothing more comes
        self._acknowledged = -1
        self._news = asyncio.Event()
        self._alive_at = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Talk until the stream ends, or until something is wrong with it."""
        receiving = asyncio.create_task(self._receive())
        try:
            async with asyncio.timeout(2 * self.limits.stream_s):
                await self._talk()
            await self.socket.close(1000)
        except Gone:
            pass
        except Problem as problem:
            await self.close(problem)
        except TimeoutError:
            await self.close(too_long(self.limits))
        except Exception:
            log.exception("a stream failed")
            await self.close(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the server"))
        finally:
            receiving.cancel()
            await asyncio.wait([receiving])

    async def close(self, problem: Problem) -> None:
        """Say what is wrong, and close."""
        body = {"type": "problem", "status": problem.status_code, "detail": problem.detail}
        with contextlib.suppress(Exception):  # the client may have left before it was told
            await self.socket.send_text(json.dumps(body))
            # A reason has 123 bytes at most.
            reason = str(problem.detail).encode()[:120].decode(errors="ignore")
            await self.socket.close(close_code(problem), reason)

    async def _talk(self) -> None:
        first, shared = await self.next(), self.service.shared
        key: str | None = getattr(self.socket.state, "key", None)
        if isinstance(first, Start):
            stream, found = new_id(), StreamLog(first.model_dump(), key)
            await shared.begin(stream, found)
            after, spoken = -1, -1
        elif isinstance(first, Resume):
            stream, after, spoken = first.stream, first.after, first.spoken
            known = await shared.take_over(stream, key)
            if known is None:
                raise Problem(
                    HTTPStatus.NOT_FOUND, "there is no such stream, or it is over; start anew"
                )
            found, self._acknowledged = known, after
        else:
            raise Problem(HTTPStatus.BAD_REQUEST, f"expected start or resume, found {first.type}")
        start = Start(**found.start)
        mover = find(self.service, "generation", self.service.movers, start.model)
        check_speaker(mover, start.speaker)
        if start.input == "text":
            check_voice()
        await self.tell(
            "started" if isinstance(first, Start) else "resumed",
            stream=stream,
            model=mover.name,
            source=mover.source,
            fps=FPS,
            delay_s=mover.delay_s,
            window=WINDOW,
            samples=found.samples,
            texts=found.texts,
            words=found.words,
        )
        await Performance(self, mover, stream, start, found).play(after, spoken)

    async def _receive(self) -> None:
        """Put what comes into the inbox; nothing of it waits for motion to be computed."""
        most, arrived = _BYTES_A_S * self.limits.stream_s + _SLACK_BYTES, 0
        try:
            while True:
                message = await self.socket.receive()
                if message["type"] == "websocket.disconnect":
                    raise Gone
                self._alive_at = asyncio.get_running_loop().time()
                content = message.get("bytes")
                content = message.get("text") or "" if content is None else content
                arrived += len(content)
                if len(content) > _MESSAGE_BYTES or arrived > most:
                    raise Problem(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"a message may have {_MESSAGE_BYTES} bytes, a whole stream {most:.0f}",
                    )
                found = read(content)
                if isinstance(found, Ack):
                    self._acknowledged = max(self._acknowledged, found.chunk)
                    self._news.set()
                else:
                    self._inbox.put_nowait(found)
        except Exception as error:
            self._over = Gone() if not isinstance(error, Problem) else error
            self._inbox.put_nowait(self._over)
            self._news.set()

    async def next(self) -> Any:
        """What came next.

        Raises:
            Gone: the client has left.
            Problem: nothing has come for too long, or nothing that can be understood.
        """
        while True:
            deadline = self._alive_at + self.limits.stall_s
            try:
                async with asyncio.timeout_at(deadline):
                    message = await self._inbox.get()
            except TimeoutError:
                if self._alive_at + self.limits.stall_s > deadline:
                    continue  # it has acknowledged something meanwhile
                nothing = f"nothing has come for {self.limits.stall_s:g} s"
                raise Problem(HTTPStatus.REQUEST_TIMEOUT, nothing) from None
            if isinstance(message, Exception):
                raise message
            return message

    async def room_for(self, chunk: int) -> None:
        """Wait until the client has acknowledged enough to be sent a chunk.

        Raises:
            Gone, Problem: see `next`; or it acknowledges nothing.
        """
        while chunk - self._acknowledged > WINDOW:
            self._news.clear()
            if self._over is not None:
                raise self._over
            try:
                async with asyncio.timeout(self.limits.stall_s):
                    await self._news.wait()
            except TimeoutError:
                raise Problem(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f"{WINDOW} chunks were sent and none acknowledged for "
                    f"{self.limits.stall_s:g} s",
                ) from None

    async def tell(self, kind: str, **values: Any) -> None:
        """Send a message."""
        await self.send(json.dumps({"type": kind, **values}))

    async def send(self, message: str | bytes) -> None:
        """Send a message, or what lies behind a header."""
        if isinstance(self._over, Gone):
            raise self._over
        try:
            if isinstance(message, bytes):
                await self.socket.send_bytes(message)
            else:
                await self.socket.send_text(message)
        except Exception:
            raise Gone from None
