"""The client for programs without asyncio."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
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

# Whether the caller's speech has failed is seen this late at most, seconds.
_LOOK_UP_S = 0.25


class Client:
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
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def retrieve(self, text: str, k: int = 5, model: str | None = None) -> Answer:
        """The recorded gestures that say a text best."""
        return self._ask(calls.retrieve(text, k, model))

    def retrieve_by_motion(self, npz: bytes, k: int = 5, model: str | None = None) -> MotionAnswer:
        """Gestures like those of an npz of SMPL-X poses, and what is said with such."""
        return self._ask(calls.retrieve_by_motion(npz, k, model))

    def generate(
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
        return self._ask(calls.generate(text, how))

    def generate_for(
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
        return self._ask(calls.generate_for(audio, words, transcript, how))

    def motion(self, motion_id: str) -> Motion:
        """A motion that was generated lately."""
        return self._ask(calls.motion(motion_id))

    def motion_file(self, motion_id: str, kind: MotionFormat) -> bytes:
        """A file of it."""
        return self._ask(calls.motion_file(motion_id, kind))

    def clip(self, phrase_id: str, model: str | None = None) -> Clip:
        """A recorded phrase."""
        return self._ask(calls.clip(phrase_id, model))

    def clip_file(self, phrase_id: str, kind: MotionFormat, model: str | None = None) -> bytes:
        """A file of it."""
        return self._ask(calls.clip_file(phrase_id, kind, model))

    def models(self) -> list[ModelAbout]:
        """Who answers."""
        return self._ask(calls.models())

    def releases(self) -> Releases:
        """Which indexes answer, and what each replica has loaded; needs the scope admin."""
        return self._ask(calls.releases())

    def swap(self, index: str, model: str | None = None, share: float = 1.0) -> Releases:
        """Let another index of the server's store answer; needs the scope admin."""
        return self._ask(calls.swap(index, model, share))

    def stream(
        self,
        speech: Iterable[bytes | str | Said],
        *,
        speaker: str | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        model: str | None = None,
    ) -> Iterator[Moved | Spoken | Motion]:
        """Motion for speech as it comes.

        Args:
            speech: PCM16 of 16 kHz, mono, with `Said` words before the sound they begin in; or
                texts, which the server speaks. It is read in a thread.

        Yields:
            Chunks of motion, what was spoken of texts, and at last the whole motion. A
            connection that is lost is taken up again where it was.
        """
        how = {"speaker": speaker, "seed": seed, "temperature": temperature, "model": model}
        return _Stream(self.url, self.key, self.retries, how, speech).run()

    def _ask(self, call: Call[T]) -> T:
        attempt = 0
        while True:
            attempt += 1
            response, failed = None, None
            try:
                response = self._http.request(call.method, call.path, **call.options)
            except httpx.TransportError as error:
                failed = error
            if response is not None and response.is_success:
                return answer_of(call, response)
            wait = self.retries.wait(attempt, response)
            if wait is None:
                if response is not None:
                    return answer_of(call, response)
                raise Refused(0, f"{self.url}: {failed or 'no answer'}") from failed
            time.sleep(wait)


class _Stream:
    """A stream over web sockets, one after the other as they are lost."""

    def __init__(
        self,
        url: str,
        key: str | None,
        retries: Retries,
        how: dict[str, Any],
        speech: Iterable[bytes | str | Said],
    ) -> None:
        self.url, self.key, self.retries = url, key, retries
        self._news, self._stopped = threading.Event(), False
        self._dialogue = Dialogue(how, self._news.set)
        self._socket: Any = None
        self._failed: BaseException | None = None
        threading.Thread(target=self._feed, args=(iter(speech),), daemon=True).start()

    def run(self) -> Iterator[Moved | Spoken | Motion]:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        while not self._dialogue.begun and self._failed is None:
            self._news.wait(_LOOK_UP_S)
        if self._failed is not None:
            raise self._failed
        attempt = 0
        try:
            while not self._dialogue.over:
                arrived, wait = self._dialogue.arrived, None
                try:
                    with connect(
                        stream_url(self.url), subprotocols=protocols(self.key), max_size=None
                    ) as self._socket:
                        yield from self._talk()
                except Refused as refused:
                    attempt += 1
                    if self._dialogue.may_go_on(refused):
                        wait = self.retries.wait(attempt, None)
                    if wait is None:
                        raise
                    time.sleep(wait)
                except (OSError, WebSocketException) as error:
                    attempt = 1 if self._dialogue.arrived > arrived else attempt + 1
                    wait = self.retries.wait(attempt, None)
                    if wait is None:
                        raise Refused(0, f"{self.url}: {error}") from error
                    time.sleep(wait)
        finally:
            self._stopped = True
            self._news.set()

    def _talk(self) -> Iterator[Moved | Spoken | Motion]:
        self._socket.send(self._dialogue.hello())
        sending: threading.Thread | None = None
        left = threading.Event()
        try:
            while not self._dialogue.over:
                if self._failed is not None:
                    raise self._failed
                try:
                    message = self._socket.recv(timeout=_LOOK_UP_S)
                except TimeoutError:
                    continue
                items, reply = self._dialogue.take(message)
                if self._dialogue.greeted and sending is None:
                    sending = threading.Thread(
                        target=self._send, args=(self._socket, left), daemon=True
                    )
                    sending.start()
                yield from items  # what has arrived is not lost with the connection
                if reply is not None:
                    self._socket.send(reply)
        finally:
            left.set()
            self._news.set()
            if sending is not None:
                sending.join()

    def _send(self, socket: Any, left: threading.Event) -> None:
        try:
            while not left.is_set():
                self._news.clear()
                for message in self._dialogue.unsent():
                    socket.send(message)
                self._news.wait()
        except Exception:
            return  # whoever receives is told as well

    def _feed(self, speech: Iterator[bytes | str | Said]) -> None:
        try:
            for piece in speech:
                if self._stopped:
                    return
                self._dialogue.say(piece)
            self._dialogue.end()
        except BaseException as error:  # raised to whoever reads the stream
            self._failed = error
            self._news.set()
