"""A stream: speech goes in as it comes, motion comes out as it is decided.

A stream is a place where memory could grow without end, so everything on the way is bounded: what
a client sends, by how long a stream may last; what it is sent, by what it has acknowledged, since
a proxy in between would read for a client that does not. Who neither sends nor acknowledges for
a while has left. What is said in between is `serving.streams.messages`, what is done about it
`serving.streams.performance`; what carries it is a `Wire`.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Protocol

from gestray.corpora.take import FPS
from serving.answering.generation import KIND, Generation
from serving.kept import new_id
from serving.listening import check_voice
from serving.moving import check_speaker
from serving.problems import Problem
from serving.service import find
from serving.shared import StreamLog
from serving.streams.messages import Ack, Begun, FromClient, FromServer, Resume, Start
from serving.streams.performance import Performance, too_long

#: Chunks of motion that are sent beyond the last that was acknowledged.
WINDOW = 64
#: A message of a client has so many bytes at most.
MESSAGE_BYTES = 64 << 10

# Of a stream, beside its speech: words and acknowledgements.
_SLACK_BYTES = 4 << 20
_BYTES_A_S = 32_000


class Gone(Exception):
    """The client has left; there is nobody to tell."""


class Wire(Protocol):
    """What carries the messages of one stream."""

    @property
    def key(self) -> str | None:
        """Id of the key it was opened with."""

    async def receive(self) -> tuple[FromClient, int]:
        """What the client said, and how many bytes that had.

        Raises:
            Gone: it has left.
            Problem: it is no message, or too large.
        """

    async def send(self, message: FromServer) -> None:
        """Tell the client; raises whatever the wire does when it is cut."""


def check_size(message: str | bytes) -> None:
    """Refuse a message before it is read.

    Raises:
        Problem: it is too large.
    """
    if len(message) > MESSAGE_BYTES:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a message may have {MESSAGE_BYTES} bytes"
        )


class Streams:
    """The streams that are open in a replica, whatever carries them."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self._open = 0

    async def hold(self, wire: Wire) -> None:
        """One stream, until it ends.

        Raises:
            Problem: there are too many, or something is wrong with it.
        """
        if self._open >= self.generation.limits.streams:
            crowded = f"{self._open} streams are open already; come again later"
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, crowded, {"retry-after": "5"})
        self._count(1)
        try:
            await Conversation(wire, self.generation).run()
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        self._open += more
        self.generation.service.telemetry.streams.set(self._open)


class Conversation:
    """One stream: what came and is not heard yet, what was sent and is not acknowledged yet."""

    def __init__(self, wire: Wire, generation: Generation) -> None:
        self.wire, self.generation, self.limits = wire, generation, generation.limits
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._over: Exception | None = None  # why nothing more comes
        self._acknowledged = -1
        self._news = asyncio.Event()
        self._alive_at = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Talk until the stream ends.

        Raises:
            Gone: the client has left.
            Problem: something is wrong with it.
        """
        receiving = asyncio.create_task(self._receive())
        try:
            async with asyncio.timeout(2 * self.limits.stream_s):
                await self._talk()
        except TimeoutError:
            raise too_long(self.limits) from None
        finally:
            receiving.cancel()
            await asyncio.wait([receiving])

    async def _talk(self) -> None:
        first, shared = await self.next(), self.generation.service.shared
        key = self.wire.key
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
        mover = find(self.generation.service, KIND, self.generation.service.movers, start.model)
        check_speaker(mover, start.speaker)
        if start.input == "text":
            check_voice()
        await self.send(
            Begun(
                type="started" if isinstance(first, Start) else "resumed",
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
        )
        await Performance(self, mover, stream, start, found).play(after, spoken)

    async def _receive(self) -> None:
        """Put what comes into the inbox; nothing of it waits for motion to be computed."""
        most, arrived = _BYTES_A_S * self.limits.stream_s + _SLACK_BYTES, 0
        try:
            while True:
                found, size = await self.wire.receive()
                self._alive_at = asyncio.get_running_loop().time()
                arrived += size
                if arrived > most:
                    raise Problem(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"a whole stream may have {most:.0f} bytes; start anew",
                    )
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

    async def send(self, message: FromServer) -> None:
        """Send a message.

        Raises:
            Gone: the client has left.
        """
        if isinstance(self._over, Gone):
            raise self._over
        try:
            await self.wire.send(message)
        except Exception:
            raise Gone from None
