"""Whether the process answers, and whether it has something to answer with."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter

from gestray.client.answers import Health
from serving.problems import Problem
from serving.service import Service


def health(service: Service) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> Health:
        """The process answers."""
        return Health(status="ok")

    @router.get("/readyz")
    async def readyz() -> Health:
        """Models are loaded and warm."""
        if not service.ready:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "the models are being loaded", {"retry-after": "2"}
            )
        return Health(status="ready")

    return router
