"""`/v1/generate/stream`: a stream over a web socket, as JSON, and sound and motion as they are."""

from __future__ import annotations

import contextlib
import json
import logging
import struct
from http import HTTPStatus

from fastapi import APIRouter, WebSocket

from serving.gate import PROTOCOL, close_code
from serving.problems import Problem
from serving.streams.conversation import Gone, Streams, check_size
from serving.streams.messages import FromClient, FromServer, Moved, Spoke, read, sound

log = logging.getLogger("gestray.stream")

_HEADER = struct.Struct("<4sIII")


def stream(router: APIRouter, streams: Streams) -> None:
    """Add the route."""

    @router.websocket("/generate/stream")
    async def generate_stream(socket: WebSocket) -> None:
        offered = PROTOCOL in socket.scope.get("subprotocols", ())
        await socket.accept(subprotocol=PROTOCOL if offered else None)
        try:
            await streams.hold(SocketWire(socket))
            await socket.close(1000)
        except Gone:
            pass
        except Problem as problem:
            await _close(socket, problem)
        except Exception:
            log.exception("a stream failed")
            fault = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the server")
            await _close(socket, fault)


class SocketWire:
    """A web socket as a stream has it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self.key: str | None = getattr(socket.state, "key", None)

    async def receive(self) -> tuple[FromClient, int]:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise Gone
        pcm16: bytes | None = message.get("bytes")
        content = message.get("text") or "" if pcm16 is None else pcm16
        check_size(content)
        return read(content) if isinstance(content, str) else sound(content), len(content)

    async def send(self, message: FromServer) -> None:
        if isinstance(message, Moved):
            header = _HEADER.pack(b"pose", message.number, message.first, len(message.poses))
            await self._socket.send_bytes(header + message.poses.tobytes())
        elif isinstance(message, Spoke):
            samples = len(message.pcm16) // 2
            header = _HEADER.pack(b"pcm ", message.number, message.first, samples)
            await self._socket.send_bytes(header + message.pcm16)
        else:
            await self._socket.send_text(message.model_dump_json())


async def _close(socket: WebSocket, problem: Problem) -> None:
    """Say what is wrong, and close."""
    body = {"type": "problem", "status": problem.status_code, "detail": problem.detail}
    with contextlib.suppress(Exception):  # the client may have left before it was told
        await socket.send_text(json.dumps(body))
        # A reason has 123 bytes at most.
        reason = str(problem.detail).encode()[:120].decode(errors="ignore")
        await socket.close(close_code(problem), reason)
