"""A client over gRPC, as anybody makes one of the generated stub."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from gestray.client.v1 import gestray_pb2 as pb
from gestray.client.v1.gestray_pb2_grpc import GesturesStub


class Caller:
    """Methods of the API by name, with a key and a deadline."""

    def __init__(self, channel: grpc.Channel, token: str | None) -> None:
        self.channel, self.stub = channel, GesturesStub(channel)
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def __call__(self, method: str, request: Any, **options: Any) -> Any:
        call = getattr(self.stub, method)
        return call(request, metadata=self.metadata, **({"timeout": 30} | options))

    def refused(self, method: str, request: Any, **options: Any) -> tuple[grpc.StatusCode, dict]:
        """The status of a call, and its trailing metadata; a problem among it is whole."""
        with pytest.raises(grpc.RpcError) as error:
            answer = self(method, request, **options)
            if hasattr(answer, "__next__"):
                list(answer)
        behind = dict(error.value.trailing_metadata() or ())
        if (problem := behind.get("problem-json")) is not None:
            behind["problem"] = json.loads(problem)
            assert behind["problem"]["detail"] == error.value.details()
            assert behind["problem"]["request_id"] == behind["x-request-id"]
        return error.value.code(), behind


@contextmanager
def calling(port: int, token: str | None, **options: Any) -> Iterator[Caller]:
    """A channel of its own to a port of this machine."""
    with grpc.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)], **options
    ) as channel:
        yield Caller(channel, token)


def says(**what: Any) -> pb.Say:
    return pb.Say(**what)


class Talk:
    """A stream, as its client has it."""

    def __init__(self, call: Caller) -> None:
        self._sent: queue.SimpleQueue[pb.Say | None] = queue.SimpleQueue()
        self.told: Any = call("StreamGenerate", iter(self._sent.get, None))
        self.chunks: dict[int, np.ndarray] = {}
        self.others: list[pb.Told] = []

    def say(self, **what: Any) -> None:
        self._sent.put(says(**what))

    def close(self) -> None:
        """Nothing more is said."""
        self._sent.put(None)

    def listen(self, until: str, acknowledge: bool = True) -> Any:
        for message in self.told:
            kind = message.WhichOneof("what")
            if kind == "moved":
                poses = np.frombuffer(message.moved.poses, "<f4").reshape(-1, 168)
                assert len(poses) == message.moved.frames
                self.chunks[message.moved.number] = poses
                if acknowledge:
                    self.say(ack=message.moved.number)
            else:
                self.others.append(message)
            if kind == until:
                return getattr(message, kind)
        raise AssertionError(f"ended without {until}")

    @property
    def poses(self) -> np.ndarray:
        assert sorted(self.chunks) == list(range(len(self.chunks)))
        return np.concatenate([self.chunks[n][:, :165] for n in sorted(self.chunks)])
