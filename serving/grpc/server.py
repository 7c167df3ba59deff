"""The server of a replica: where it listens, and what bounds connections before any call."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import OVERALL_HEALTH, aio

from gestray.client.v1 import gestray_pb2
from gestray.client.v1.gestray_pb2_grpc import add_GesturesServicer_to_server
from gestray.errors import UserError
from serving.answering.answering import Answering
from serving.config import Limits, ServingConfig
from serving.grpc.gate import Gate
from serving.grpc.methods import Methods
from serving.keys import Keyring
from serving.service import Service

_NAME = gestray_pb2.DESCRIPTOR.services_by_name["Gestures"].full_name
# Who watches the health of a replica at once; it is nobody's secret, so a key is not asked for.
_WATCHERS = 16
# Calls beyond those that are answered, streamed or watched: they are being refused.
_REFUSALS = 64
_S = 1000


def options(limits: Limits) -> list[tuple[str, Any]]:
    """Of gRPC's core."""
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", limits.body_bytes),
        # What is small may be large when it is unpacked: nothing packed is taken.
        ("grpc.compression_enabled_algorithms_bitset", 1),
        ("grpc.server_handshake_timeout_ms", 10 * _S),
        ("grpc.max_concurrent_streams", 128),
        # Who has vanished is noticed.
        ("grpc.keepalive_time_ms", 30 * _S),
        ("grpc.keepalive_timeout_ms", 10 * _S),
        ("grpc.max_connection_idle_ms", 300 * _S),
        # New replicas get their share of long-lived clients, too.
        ("grpc.max_connection_age_ms", 600 * _S),
        ("grpc.max_connection_age_grace_ms", round(2 * limits.stream_s * _S)),
    ]


@asynccontextmanager
async def listening(
    answering: Answering, config: ServingConfig, keyring: Keyring | None
) -> AsyncIterator[None]:
    """Answer over gRPC at the config's address; at the end calls may be answered to their end.

    Raises:
        UserError: the port is another program's.
    """
    limits, load = config.limits, config.load
    server = grpc.aio.server(
        interceptors=[Gate(keyring, limits, load, answering.service.telemetry)],
        options=options(limits),
        maximum_concurrent_rpcs=load.ongoing + load.queued + limits.streams + _WATCHERS + _REFUSALS,
    )
    health = Health(answering.service)
    add_GesturesServicer_to_server(Methods(answering), server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    host = f"[{config.host}]" if ipaddress.ip_address(config.host).version == 6 else config.host
    try:
        server.add_insecure_port(f"{host}:{config.grpc_port}")
    except RuntimeError:
        raise UserError(
            f"grpc_port {config.grpc_port}: cannot listen there; another program may"
        ) from None
    await server.start()
    try:
        yield
    finally:
        await health.enter_graceful_shutdown()
        await server.stop(load.request_s)


class Health(aio.HealthServicer):
    """`grpc.health.v1`: SERVING when models are loaded and warm."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._service, self._watchers = service, 0

    async def Check(self, request: Any, context: Any) -> Any:
        await self._look()
        return await super().Check(request, context)

    async def Watch(self, request: Any, context: Any) -> None:
        if self._watchers >= _WATCHERS:
            many = f"{self._watchers} watch already"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, many)
        self._watchers += 1
        try:
            await self._look()
            await super().Watch(request, context)
        finally:
            self._watchers -= 1

    async def _look(self) -> None:
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if self._service.ready else states.NOT_SERVING
        for name in (OVERALL_HEALTH, _NAME):
            await self.set(name, state)
