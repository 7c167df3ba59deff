"""Words or motion to recorded gestures."""

from __future__ import annotations

from fastapi import APIRouter, Request

from gestray.client.answers import Answer, ModelAbout, MotionAnswer
from serving.answering.retrieval import KIND, Retrieval
from serving.routes.binary import OCTETS
from serving.schemas import RetrieveRequest

_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
    }
}


def retrieval(router: APIRouter, answering: Retrieval) -> None:
    """Add the routes."""

    @router.get("/models", tags=["models"])
    async def models() -> list[ModelAbout]:
        """The models that answer; of each kind the last is the default."""
        return answering.models()

    @router.post("/retrieve", tags=[KIND])
    async def retrieve(asked: RetrieveRequest) -> Answer:
        """Which recorded gestures say this?"""
        return await answering.by_text(asked)

    @router.post("/retrieve/by-motion", tags=[KIND], openapi_extra=_UPLOAD)
    async def by_motion(request: Request, k: int = 5, model: str | None = None) -> MotionAnswer:
        """What does this motion resemble, and what is said with it?

        The body is an npz of SMPL-X poses as BEAT2, AMASS or SHOW have them, at 30 frames a
        second.
        """
        return await answering.by_motion(await request.body(), k, model)
