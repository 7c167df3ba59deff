"""A stream as its client sees it, whatever carries the messages.

All that was said is kept until the end, so that a lost connection is taken up again: what the
server still knows is left out; and where it knows nothing any more, all is said again, since
the same speech gives the same motion, and what has arrived before is passed over.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from gestray.client.answers import Motion
from gestray.client.calls import Refused

_HEADER = struct.Struct("<4sIII")
_COLUMNS, _POSE_COLUMNS = 168, 165
_SOUND_BYTES = 32_000
_NOT_FOUND, _TOO_MANY, _FAULT = 404, 429, 500


@dataclass(frozen=True)
class Said:
    """Words of what is said next: (word, start, end), in seconds from the stream's start."""

    words: Sequence[tuple[str, float, float]]


@dataclass(frozen=True, eq=False)
class Moved:
    """A chunk of motion, at 30 frames a second.

    Args:
        number: of the chunk.
        first: its first frame.
        poses: SMPL-X axis-angle, float32 (T, 165).
        path: metres (T, 3).
    """

    number: int
    first: int
    poses: np.ndarray
    path: np.ndarray


@dataclass(frozen=True)
class Spoken:
    """What the server spoke of a text: PCM16 of 16 kHz, from the sample `first`."""

    number: int
    first: int
    pcm16: bytes


class _End:
    """Nothing more is said."""


class Dialogue:
    """What was said, what of it was sent, and what came.

    Args:
        how: speaker, seed, temperature, model.
        news: called when there is more to send.
    """

    def __init__(self, how: Mapping[str, Any], news: Callable[[], None]) -> None:
        self._how, self._news = {k: v for k, v in how.items() if v is not None}, news
        self._lock = threading.Lock()
        self._said: list[bytes | str | Said | _End] = []
        self._unsent: list[str | bytes] = []
        self._stream: str | None = None
        self._last = self._spoken = -1
        self.greeted = self.over = False
        self.arrived = 0

    def say(self, piece: bytes | str | Said) -> None:
        """What comes next."""
        self._add(piece)

    def end(self) -> None:
        """Nothing more comes."""
        self._add(_End())

    @property
    def begun(self) -> bool:
        """Whether it is known by now whether texts or sounds are said."""
        return bool(self._said)

    def hello(self) -> str:
        """The first message on a connection."""
        self.greeted = False
        if self._stream is not None:
            told = {"stream": self._stream, "after": self._last, "spoken": self._spoken}
            return json.dumps({"type": "resume", **told})
        kind = "text" if isinstance(self._said[0], str) else "audio"
        return json.dumps({"type": "start", "input": kind, **self._how})

    def unsent(self) -> list[str | bytes]:
        """Messages to send now."""
        with self._lock:
            found, self._unsent = self._unsent, []
        return found

    def take(self, message: str | bytes) -> tuple[list[Moved | Spoken | Motion], str | None]:
        """What came: what it means, and what to reply.

        Raises:
            Refused: the server says that something is wrong.
        """
        self.arrived += 1
        if isinstance(message, bytes):
            return self._binary(message)
        told = json.loads(message)
        if told["type"] == "problem":
            raise Refused(told["status"], told["detail"])
        if told["type"] in ("started", "resumed"):
            self._greet(told)
        if told["type"] == "end":
            self.over = True
            motion = told["motion"]
            return ([] if motion is None else [Motion.model_validate(motion)]), None
        return [], None

    def may_go_on(self, error: Refused) -> bool:
        """Whether another connection may do what this one was refused."""
        if error.status == _NOT_FOUND and self._stream is not None and not self.greeted:
            self._stream = None  # no longer known there: from the beginning
            return True
        return error.status == _TOO_MANY or error.status >= _FAULT

    def _add(self, piece: bytes | str | Said | _End) -> None:
        with self._lock:
            self._said.append(piece)
            if self.greeted:
                self._unsent += _messages(piece)
        self._news()

    def _greet(self, told: Mapping[str, Any]) -> None:
        with self._lock:
            self._stream, self.greeted = told["stream"], True
            left = {bytes: 2 * told["samples"], str: told["texts"], Said: told["words"]}
            self._unsent = []
            for piece in self._said:
                self._unsent += _messages(_beyond(piece, left))
        self._news()

    def _binary(self, message: bytes) -> tuple[list[Moved | Spoken | Motion], str | None]:
        tag, number, first, count = _HEADER.unpack_from(message)
        if tag == b"pcm ":
            new = number > self._spoken
            self._spoken = max(self._spoken, number)
            return ([Spoken(number, first, message[_HEADER.size :])] if new else []), None
        values = np.frombuffer(message, "<f4", offset=_HEADER.size).reshape(count, _COLUMNS)
        new = number > self._last
        self._last = max(self._last, number)
        chunk = Moved(number, first, values[:, :_POSE_COLUMNS], values[:, _POSE_COLUMNS:])
        return ([chunk] if new else []), json.dumps({"type": "ack", "chunk": number})


def _beyond(piece: Any, left: dict[type, int]) -> Any:
    """What of a piece the server does not know; `left` of each kind it does, counted down."""
    kind = type(piece)
    if kind is str:
        left[str] -= 1
        return piece if left[str] < 0 else b""
    if kind is _End:
        return piece
    known = min(left[kind], len(piece if kind is bytes else piece.words))
    left[kind] -= known
    return piece[known:] if kind is bytes else Said(piece.words[known:])


def _messages(piece: bytes | str | Said | _End) -> list[str | bytes]:
    if isinstance(piece, bytes):
        return [piece[at : at + _SOUND_BYTES] for at in range(0, len(piece), _SOUND_BYTES)]
    if isinstance(piece, str):
        return [json.dumps({"type": "text", "text": piece})]
    if isinstance(piece, Said):
        words = [{"word": w, "start_s": start, "end_s": end} for w, start, end in piece.words]
        return [json.dumps({"type": "words", "words": words})] if words else []
    return [json.dumps({"type": "end"})]


def stream_url(url: str) -> str:
    """Where streams of a server are."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = f"{parts.path.rstrip('/')}/v1/generate/stream"
    return urlunsplit((scheme, parts.netloc, path, "", ""))


def protocols(key: str | None) -> list[Any]:
    """The subprotocols that a stream is asked for with."""
    return ["gestray.v1", *([f"gestray.key.{key}"] if key else [])]
