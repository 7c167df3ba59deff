"""What is said over `/v1/generate/stream`: JSON by its `type`, and PCM16 as it is."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

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


_MESSAGES: TypeAdapter[Start | Resume | Words | Text | End | Ack] = TypeAdapter(
    Annotated[Start | Resume | Words | Text | End | Ack, Field(discriminator="type")]
)


def read(content: str | bytes) -> Start | Resume | Words | Text | End | Ack | Sound:
    """A client's message.

    Raises:
        Problem: it is none.
    """
    if isinstance(content, bytes):
        if len(content) % 2:
            odd = f"sound: found {len(content)} bytes, expected two a sample"
            raise Problem(HTTPStatus.BAD_REQUEST, odd)
        return Sound(pcm16=content)
    try:
        return _MESSAGES.validate_json(content)
    except ValidationError as error:
        detail = describe(error.errors(include_url=False, include_input=False))
        raise Problem(HTTPStatus.BAD_REQUEST, detail) from None
