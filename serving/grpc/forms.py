"""Between messages of gRPC and what the service knows: the same fields under the same names."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypeVar

from google.protobuf.message import Message
from pydantic import BaseModel

from gestray.client.v1 import gestray_pb2 as pb
from serving.problems import Problem
from serving.streams.messages import (
    Begun,
    Ended,
    FromClient,
    FromServer,
    Moved,
    Spoke,
    read,
    sound,
)

Told = TypeVar("Told", bound=Message)


def given(message: Message) -> dict[str, Any]:
    """The fields that a client has set, to be checked as those of JSON are."""
    return {field.name: value for field, value in message.ListFields()}


def told(kind: type[Told], answer: BaseModel) -> Told:
    """An answer as a message; what is None stays unset."""
    return kind(**answer.model_dump())


def heard(message: pb.Say) -> FromClient:
    """What the client of a stream says.

    Raises:
        Problem: it is nothing.
    """
    kind = message.WhichOneof("what")
    if kind is None:
        raise Problem(HTTPStatus.BAD_REQUEST, "found an empty message")
    if kind == "sound":
        return sound(message.sound)
    if kind == "text":
        values: dict[str, Any] = {"text": message.text}
    elif kind == "ack":
        values = {"chunk": message.ack}
    elif kind == "words":
        values = {"words": [given(word) for word in message.words.words]}
    else:
        values = given(getattr(message, kind))
    return read({"type": kind, **values})


def said(message: FromServer) -> pb.Told:
    """What the client of a stream is told."""
    if isinstance(message, Moved):
        poses = message.poses.tobytes()
        frames = len(message.poses)
        return pb.Told(
            moved=pb.Moved(number=message.number, first=message.first, frames=frames, poses=poses)
        )
    if isinstance(message, Spoke):
        return pb.Told(
            spoke=pb.Spoke(number=message.number, first=message.first, pcm16=message.pcm16)
        )
    values = message.model_dump(exclude={"type"})
    if isinstance(message, Begun):
        return pb.Told(begun=pb.Begun(resumed=message.type == "resumed", **values))
    if isinstance(message, Ended):
        return pb.Told(ended=pb.Ended(**values))
    return pb.Told(words=pb.Words(**values))
