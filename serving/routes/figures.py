"""`/metrics`: the figures of all replicas, as Prometheus reads them."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from serving.service import Service
from serving.telemetry import page


def figures(router: APIRouter, service: Service) -> None:
    """Add the route."""

    @router.get("/metrics", tags=["health"], response_class=Response)
    async def metrics() -> Response:
        """Requests, queues, batches, models and caches of all replicas; wants the scope metrics."""
        left = await service.shared.figures(service.replica, service.telemetry.figures())
        return Response(page(left), media_type=CONTENT_TYPE_LATEST)
