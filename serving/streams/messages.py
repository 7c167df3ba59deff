"""What is said in a stream, by its client and by the server.

Over a web socket it is JSON by its `type`, but for sound and motion (`serving.routes.stream`); over
gRPC each has a message of its own (`serving.grpc.wire`).
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gestray.client.answers import Motion, Word
from serving.problems import Problem, describe
from serving.schemas import Name, Seed, Speaker, Temperature

_Time = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Start(_Message):
    """A stream begins."""

    type: Literal["start"] = "start"
    input: Literal["audio", "text"]
    model: Name = None
    speaker: Speaker = None
    seed: Seed = 0
    temperature: Temperature = 1.0


class Resume(_Message):
    """A stream goes on whose connection was lost.

    `after` is the last chunk of motion that arrived, `spoken` the last text whose sound did; -1
    for none.
    """

    type: Literal["resume"]
    stream: str = Field(pattern=r"^[0-9a-f]{32}$")
    after: int = Field(ge=-1, lt=2**31)
    spoken: int = Field(-1, ge=-1, lt=2**31)


class SaidWord(_Message):
    """A word with its times in the stream."""

    word: str = Field(max_length=128)
    start_s: _Time
    end_s: _Time


class Words(_Message):
    """Words of speech that begin in what comes next."""

    type: Literal["words"]
    words: list[SaidWord]


class Text(_Message):
    """What to say next."""

    type: Literal["text"]
    text: str = Field(min_length=1)


class End(_Message):
    """Nothing more comes."""

    type: Literal["end"]


class Ack(_Message):
    """The chunks of motion up to this one were played or kept."""

    type: Literal["ack"]
    chunk: int = Field(ge=-1, lt=2**31)


class Sound(BaseModel):
    """Little-endian PCM16, mono, 16 kHz; the one message that is no JSON."""

    type: Literal["sound"] = "sound"
    pcm16: bytes


class Begun(BaseModel):
    """The stream begins, or goes on; what of it is known already."""

    type: Literal["started", "resumed"]
    stream: str
    model: str
    source: dict[str, str]
    fps: float
    delay_s: float
    window: int
    samples: int
    texts: int
    words: int


class SpokenWords(BaseModel):
    """Words of the text whose sound was sent last; seconds from the stream's start."""

    type: Literal["words"] = "words"
    words: list[Word]


class Ended(BaseModel):
    """Nothing more comes; the whole is kept as any other motion."""

    type: Literal["end"] = "end"
    chunks: int
    motion: Motion | None


@dataclass(frozen=True, eq=False)
class Spoke:
    """The sound of a text: PCM16 from the sample `first`."""

    number: int
    first: int
    pcm16: bytes


@dataclass(frozen=True, eq=False)
class Moved:
    """A chunk of motion from the frame `first`.

    Args:
        poses: SMPL-X axis-angle (165) and metres of path (3), float32 (T, 168).
    """

    number: int
    first: int
    poses: NDArray[np.float32]


FromClient: TypeAlias = Start | Resume | Words | Text | End | Ack | Sound
FromServer: TypeAlias = Begun | SpokenWords | Ended | Spoke | Moved

_MESSAGES: TypeAdapter[Start | Resume | Words | Text | End | Ack] = TypeAdapter(
    Annotated[Start | Resume | Words | Text | End | Ack, Field(discriminator="type")]
)


def sound(pcm16: bytes) -> Sound:
    """A client's sound.

    Raises:
        Problem: it is none.
    """
    if len(pcm16) % 2:
        odd = f"sound: found {len(pcm16)} bytes, expected two a sample"
        raise Problem(HTTPStatus.BAD_REQUEST, odd)
    return Sound(pcm16=pcm16)


def read(content: str | dict[str, object]) -> FromClient:
    """A client's message as JSON, or what that is read to.

    Raises:
        Problem: it is none.
    """
    try:
        if isinstance(content, str):
            return _MESSAGES.validate_json(content)
        return _MESSAGES.validate_python(content)
    except ValidationError as error:
        detail = describe(error.errors(include_url=False, include_input=False))
        raise Problem(HTTPStatus.BAD_REQUEST, detail) from None
