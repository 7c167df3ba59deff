"""The methods of the API over gRPC: checked as over HTTP, and answered by the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from gestray.client.v1 import gestray_pb2 as pb
from gestray.client.v1.gestray_pb2_grpc import GesturesServicer
from serving.answering.answering import Answering
from serving.grpc.forms import given, heard, said, told
from serving.grpc.gate import CALLER
from serving.schemas import (
    ClipFileRequest,
    GenerateRequest,
    MotionFileRequest,
    Recording,
    RetrieveRequest,
    validated,
)
from serving.streams.messages import Ack, End, FromClient, FromServer

_PIECE_BYTES = 64 << 10
_HITS = 5


class Methods(GesturesServicer):
    """Answers of a replica."""

    def __init__(self, answering: Answering) -> None:
        self._retrieval, self._generation = answering.retrieval, answering.generation
        self._streams = answering.streams

    async def Models(self, request: pb.ModelsRequest, context: Any) -> pb.ModelList:
        models = self._retrieval.models()
        return pb.ModelList(models=[told(pb.ModelAbout, model) for model in models])

    async def Retrieve(self, request: pb.RetrieveRequest, context: Any) -> pb.Answer:
        asked = validated(RetrieveRequest, given(request))
        return told(pb.Answer, await self._retrieval.by_text(asked))

    async def RetrieveByMotion(
        self, request: pb.RetrieveByMotionRequest, context: Any
    ) -> pb.MotionAnswer:
        k = request.k if request.HasField("k") else _HITS
        model = request.model if request.HasField("model") else None
        return told(pb.MotionAnswer, await self._retrieval.by_motion(request.npz, k, model))

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> pb.Motion:
        asked = given(request)
        recording: pb.Recording | None = asked.pop("recording", None)
        if recording is None:
            motion = await self._generation.for_text(validated(GenerateRequest, asked))
            return told(pb.Motion, motion)
        asked |= {name: value for name, value in given(recording).items() if name == "transcript"}
        words = recording.words if recording.HasField("words") else None
        how = validated(Recording, asked)
        return told(pb.Motion, await self._generation.for_recording(recording.audio, words, how))

    async def ClipFile(self, request: pb.ClipFileRequest, context: Any) -> AsyncIterator[pb.Piece]:
        asked = validated(ClipFileRequest, given(request))
        content = await self._retrieval.file(asked.id, asked.model, asked.format)
        for piece in _pieces(content):
            yield piece

    async def MotionFile(
        self, request: pb.MotionFileRequest, context: Any
    ) -> AsyncIterator[pb.Piece]:
        asked = validated(MotionFileRequest, given(request))
        if asked.format == "wav":
            content = (await self._generation.kept(asked.id)).wav()
        else:
            content = await self._generation.file(asked.id, asked.format)
        for piece in _pieces(content):
            yield piece

    async def StreamGenerate(self, messages: Any, context: Any) -> None:
        await self._streams.hold(CallWire(context))


class CallWire:
    """A call as a stream has it.

    A client that closes its side has said its `end`. It cannot acknowledge any more either: the
    flow control of HTTP/2 alone holds back what it does not read.
    """

    def __init__(self, context: grpc.aio.ServicerContext) -> None:
        self._context = context
        self._closed: list[FromClient] = [End(type="end"), Ack(type="ack", chunk=2**31 - 1)]
        self.key = CALLER.get()

    async def receive(self) -> tuple[FromClient, int]:
        message = await self._context.read()
        if message is not grpc.aio.EOF:
            return heard(message), message.ByteSize()
        if not self._closed:  # whoever leaves altogether cancels the call
            await asyncio.Event().wait()
        return self._closed.pop(0), 0

    async def send(self, message: FromServer) -> None:
        await self._context.write(said(message))


def _pieces(content: bytes) -> list[pb.Piece]:
    starts = range(0, len(content), _PIECE_BYTES)
    return [pb.Piece(content=content[at : at + _PIECE_BYTES]) for at in starts]
