"""Words or motion to recorded gestures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from io import BytesIO

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray

from gestray.client.answers import Answer, Gesture, ModelAbout, MotionAnswer
from gestray.corpora.npz import read_arrays
from gestray.corpora.smplx_arrays import POSE_ARRAYS, assemble_poses
from gestray.corpora.take import POSE_WIDTH, check_motion
from gestray.errors import BadInput
from gestray.retrieval.index import Hit
from serving.config import Limits
from serving.library import Model
from serving.problems import Problem
from serving.routes.service import OCTETS, Service, at_most, find
from serving.schemas import RetrieveRequest

_KIND = "retrieval"
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
    }
}


def retrieval(router: APIRouter, service: Service, limits: Limits) -> None:
    """Add the routes."""

    @router.get("/models", tags=["models"])
    async def models() -> list[ModelAbout]:
        """The models that answer; of each kind the last is the default."""
        models, movers = service.models, service.movers
        retrieving = [
            ModelAbout(
                name=name,
                kind="retrieval",
                default=name == list(models)[-1],
                gestures=len(model.gestures),
                speakers=None,
                source=model.source,
            )
            for name, model in models.items()
        ]
        return retrieving + [
            ModelAbout(
                name=name,
                kind="generation",
                default=name == list(movers)[-1],
                gestures=None,
                speakers=mover.speakers,
                source=mover.source,
            )
            for name, mover in movers.items()
        ]

    @router.post("/retrieve", tags=[_KIND])
    async def retrieve(asked: RetrieveRequest) -> Answer:
        """Which recorded gestures say this?"""
        at_most("text", len(asked.text), limits.text_chars, "characters")
        at_most("k", asked.k, limits.hits, "gestures")
        model = service.pick(find(service, _KIND, service.models, asked.model))
        hits = await service.retrieve(model, asked.text, asked.k)
        return Answer(model=model.name, source=model.source, gestures=_gestures(hits))

    @router.post("/retrieve/by-motion", tags=[_KIND], openapi_extra=_UPLOAD)
    async def by_motion(request: Request, k: int = 5, model: str | None = None) -> MotionAnswer:
        """What does this motion resemble, and what is said with it?

        The body is an npz of SMPL-X poses as BEAT2, AMASS or SHOW have them, at 30 frames a
        second.
        """
        if k < 1:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"k: found {k}, expected 1 or more")
        at_most("k", k, limits.hits, "gestures")
        chosen = service.pick(find(service, _KIND, service.models, model))
        body = await request.body()
        return await asyncio.to_thread(_search_by_motion, chosen, body, k, limits)


def _search_by_motion(model: Model, body: bytes, k: int, limits: Limits) -> MotionAnswer:
    query = model.embed_motion(read_motion(body, limits.motion_frames))
    return MotionAnswer(
        model=model.name,
        source=model.source,
        similar=_gestures(model.gestures.search(query, k)[0]),
        texts=_gestures(model.texts.search(query, k)[0]),
    )


def read_motion(body: bytes, most_frames: int) -> NDArray[np.float32]:
    """Axis-angle poses (frames, 165) of an uploaded npz.

    Raises:
        Problem: it is no such thing, or longer than `most_frames`; nothing larger is unpacked.
    """
    try:
        arrays = read_arrays(
            BytesIO(body), "upload", POSE_ARRAYS, max_bytes=most_frames * POSE_WIDTH * 8 + 4096
        )
        poses, _ = assemble_poses(arrays, "upload")
        check_motion("upload", poses)
    except BadInput as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    at_most("motion", len(poses), most_frames, "frames")
    return np.ascontiguousarray(poses, np.float32)


def _gestures(hits: Sequence[Hit]) -> list[Gesture]:
    return [
        Gesture(
            rank=hit.rank,
            score=hit.score,
            id=hit.phrase_id,
            speaker=hit.speaker,
            seconds=hit.end_s - hit.start_s,
            text=hit.text,
            form=hit.form_text,
            intent=hit.intent,
        )
        for hit in hits
    ]
