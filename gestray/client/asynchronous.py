"""The client for asyncio: as `Client`, to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from gestray.client import calls
from gestray.client.answers import (
    Answer,
    Clip,
    ModelAbout,
    Motion,
    MotionAnswer,
    MotionFormat,
    Releases,
)
from gestray.client.calls import Call, Refused, answer_of
from gestray.client.dialogue import Dialogue, Moved, Said, Spoken, protocols, stream_url
from gestray.client.retries import Retries

T = TypeVar("T")


class AsyncClient:
    """Asks a server of gestray.

    Args:
        url: where it is, such as http://127.0.0.1:8000.
        key: what it is asked with (`gestray serve keys add`).
        retries: how patient it is.
        timeout_s: how long an answer may take.

    Every method raises `Refused` for what is not answered.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        retries: Retries | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self.url, self.key, self.retries = url, key, retries or Retries()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def retrieve(self, text: str, k: int = 5, model: str | None = None) -> Answer:
        """The recorded gestures that say a text best."""
        return await self._ask(calls.retrieve(text, k, model))

    async def retrieve_by_motion(
        self, npz: bytes, k: int = 5, model: str | None = None
    ) -> MotionAnswer:
        """Gestures like those of an npz of SMPL-X poses, and what is said with such."""
        return await self._ask(calls.retrieve_by_motion(npz, k, model))

    async def generate(
        self,
        text: str,
        *,
        speaker: str | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        model: str | None = None,
    ) -> Motion:
        """A motion for a text, which the server speaks."""
        how = {"speaker": speaker, "seed": seed, "temperature": temperature, "model": model}
        return await self._ask(calls.generate(text, how))

    async def generate_for(
        self,
        audio: bytes,
        *,
        words: bytes | None = None,
        transcript: str | None = None,
        speaker: str | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        model: str | None = None,
    ) -> Motion:
        """A motion for a recording (WAV, FLAC, MP3, Ogg).

        Args:
            audio: the file's content.
            words: its words in time, content of a TextGrid or JSON.
            transcript: what is said in it, where `words` are not known.
        """
        how = {"speaker": speaker, "seed": seed, "temperature": temperature, "model": model}
        return await self._ask(calls.generate_for(audio, words, transcript, how))

    async def motion(self, motion_id: str) -> Motion:
        """A motion that was generated lately."""
        return await self._ask(calls.motion(motion_id))

    async def motion_file(self, motion_id: str, kind: MotionFormat) -> bytes:
        """A file of it."""
        return await self._ask(calls.motion_file(motion_id, kind))

    async def clip(self, phrase_id: str, model: str | None = None) -> Clip:
        """A recorded phrase."""
        return await self._ask(calls.clip(phrase_id, model))

    async def clip_file(
        self, phrase_id: str, kind: MotionFormat, model: str | None = None
    ) -> bytes:
        """A file of it."""
        return await self._ask(calls.clip_file(phrase_id, kind, model))

    async def models(self) -> list[ModelAbout]:
        """Who answers."""
        return await self._ask(calls.models())

    async def releases(self) -> Releases:
        """Which indexes answer, and what each replica has loaded; needs the scope admin."""
        return await self._ask(calls.releases())

    async def swap(self, index: str, model: str | None = None, share: float = 1.0) -> Releases:
        """Let another index of the server's store answer; needs the scope admin."""
        return await self._ask(calls.swap(index, model, share))

    def stream(
        self,
        speech: AsyncIterable[bytes | str | Said],
        *,
        speaker: str | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        model: str | None = None,
    ) -> AsyncIterator[Moved | Spoken | Motion]:
        """Motion for speech as it comes.

        Args:
            speech: PCM16 of 16 kHz, mono, with `Said` words before the sound they begin in; or
                texts, which the server speaks.

        Yields:
            Chunks of motion, what was spoken of texts, and at last the whole motion. A
            connection that is lost is taken up again where it was.
        """
        how = {"speaker": speaker, "seed": seed, "temperature": temperature, "model": model}
        return _Stream(self.url, self.key, self.retries, how, speech).run()

    async def _ask(self, call: Call[T]) -> T:
        attempt = 0
        while True:
            attempt += 1
            response, failed = None, None
            try:
                response = await self._http.request(call.method, call.path, **call.options)
            except httpx.TransportError as error:
                failed = error
            if response is not None and response.is_success:
                return answer_of(call, response)
            wait = self.retries.wait(attempt, response)
            if wait is None:
                if response is not None:
                    return answer_of(call, response)
                raise Refused(0, f"{self.url}: {failed or 'no answer'}") from failed
            await asyncio.sleep(wait)


class _Stream:
    """A stream over web sockets, one after the other as they are lost."""

    def __init__(
        self,
        url: str,
        key: str | None,
        retries: Retries,
        how: dict[str, Any],
        speech: AsyncIterable[bytes | str | Said],
    ) -> None:
        self.url, self.key, self.retries = url, key, retries
        self._news = asyncio.Event()
        self._dialogue = Dialogue(how, self._news.set)
        self._speech = speech

    async def run(self) -> AsyncIterator[Moved | Spoken | Motion]:
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        feeding = asyncio.create_task(self._feed())
        attempt = 0
        try:
            while not self._dialogue.begun:
                await self._news.wait()
                self._news.clear()
                if feeding.done():
                    feeding.result()
            while not self._dialogue.over:
                arrived, wait = self._dialogue.arrived, None
                try:
                    async with connect(
                        stream_url(self.url), subprotocols=protocols(self.key), max_size=None
                    ) as socket:
                        async for item in self._talk(socket, feeding):
                            yield item
                except Refused as refused:
                    attempt += 1
                    if self._dialogue.may_go_on(refused):
                        wait = self.retries.wait(attempt, None)
                    if wait is None:
                        raise
                    await asyncio.sleep(wait)
                except (OSError, WebSocketException) as error:
                    attempt = 1 if self._dialogue.arrived > arrived else attempt + 1
                    wait = self.retries.wait(attempt, None)
                    if wait is None:
                        raise Refused(0, f"{self.url}: {error}") from error
                    await asyncio.sleep(wait)
        finally:
            feeding.cancel()

    async def _talk(
        self, socket: Any, feeding: asyncio.Task[None]
    ) -> AsyncIterator[Moved | Spoken | Motion]:
        await socket.send(self._dialogue.hello())
        sending: asyncio.Task[None] | None = None
        try:
            while not self._dialogue.over:
                receiving = asyncio.ensure_future(socket.recv())
                try:
                    watched = {receiving} if feeding.done() else {receiving, feeding}
                    await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                    if feeding.done():
                        feeding.result()  # what the caller's speech raises is the caller's
                    items, reply = self._dialogue.take(await receiving)
                finally:
                    receiving.cancel()
                if self._dialogue.greeted and sending is None:
                    sending = asyncio.create_task(self._send(socket))
                for item in items:  # what has arrived is not lost with the connection
                    yield item
                if reply is not None:
                    await socket.send(reply)
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.wait([sending])

    async def _send(self, socket: Any) -> None:
        while True:
            self._news.clear()
            for message in self._dialogue.unsent():
                await socket.send(message)
            await self._news.wait()

    async def _feed(self) -> None:
        try:
            async for piece in self._speech:
                self._dialogue.say(piece)
            self._dialogue.end()
        finally:
            self._news.set()
