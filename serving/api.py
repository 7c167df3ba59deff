"""API v1: what can be asked over HTTP, and how it is described (OpenAPI).

This module knows nothing of Ray: it makes an application of whatever can `retrieve`. The
deployment of `serving.app` does, and so does a test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from numpy.typing import NDArray
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

import gestray
from gestray.corpora.npz import read_arrays
from gestray.corpora.smplx_arrays import POSE_ARRAYS, assemble_poses
from gestray.corpora.take import POSE_WIDTH, check_motion
from gestray.errors import BadInput
from gestray.retrieval.index import Hit
from serving.config import Limits
from serving.gate import Gate
from serving.keys import Keyring
from serving.library import Model
from serving.pages import mount_assets
from serving.problems import RESPONSES, Problem, describe, problem_response
from serving.recordings import skeleton
from serving.schemas import (
    Answer,
    Clip,
    Gesture,
    Health,
    ModelAbout,
    MotionAnswer,
    PhraseId,
    RetrieveRequest,
    Skeleton,
)

PAGE = Path(__file__).parent / "page"

_OCTETS = "application/octet-stream"
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {_OCTETS: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_BINARY: dict[str, Any] = {"content": {_OCTETS: {}}}


class Service(Protocol):
    """Who has the models."""

    @property
    def models(self) -> Mapping[str, Model]:
        """By name, the default last; empty until they are loaded."""

    def retrieve(self, model: Model, text: str, k: int) -> Awaitable[list[Hit]]:
        """The gestures that say a text best."""


def make_api(
    service: Service, limits: Limits, keyring: Keyring | None, allow_origins: Sequence[str] = ()
) -> ASGIApp:
    """The application, the page at its root, and the gate around both."""
    api = FastAPI(
        title="gestray",
        version=gestray.__version__,
        description="Which recorded gesture says this?",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        responses=RESPONSES,
    )
    if allow_origins:
        api.add_middleware(
            CORSMiddleware,
            allow_origins=list(allow_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
    _answer_problems(api)
    api.include_router(_health(service))
    # The gate checks the key; this tells OpenAPI that there is one.
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(HTTPBearer(auto_error=False))])
    _retrieval(v1, service, limits)
    _recordings(v1, service)
    api.include_router(v1)
    mount_assets(api)
    api.mount("/", StaticFiles(directory=PAGE, html=True))
    return Gate(api, keyring, limits.body_bytes)


def _answer_problems(api: FastAPI) -> None:
    @api.exception_handler(HTTPException)
    async def problem(request: Request, error: HTTPException) -> Response:
        return problem_response(error, request.state.request_id)

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        unreadable = any(item["type"] == "json_invalid" for item in error.errors())
        status = HTTPStatus.BAD_REQUEST if unreadable else HTTPStatus.UNPROCESSABLE_ENTITY
        return problem_response(Problem(status, describe(error.errors())), request.state.request_id)


def _health(service: Service) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> Health:
        """The process answers."""
        return Health(status="ok")

    @router.get("/readyz")
    async def readyz() -> Health:
        """Models are loaded and warm."""
        _default(service)
        return Health(status="ready")

    return router


def _default(service: Service) -> Model:
    if not service.models:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "the models are being loaded", {"retry-after": "2"}
        )
    return list(service.models.values())[-1]


def _model(service: Service, name: str | None) -> Model:
    default = _default(service)
    if name is None:
        return default
    if name not in service.models:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            f"there is no model {name[:64]!r}; there are {', '.join(service.models)}",
        )
    return service.models[name]


def _retrieval(router: APIRouter, service: Service, limits: Limits) -> None:
    @router.get("/models", tags=["retrieval"])
    async def models() -> list[ModelAbout]:
        """The models that answer; the last is the default."""
        default = _default(service)
        return [
            ModelAbout(
                name=name,
                default=model is default,
                gestures=len(model.gestures),
                source=model.source,
            )
            for name, model in service.models.items()
        ]

    @router.post("/retrieve", tags=["retrieval"])
    async def retrieve(asked: RetrieveRequest) -> Answer:
        """Which recorded gestures say this?"""
        _at_most("text", len(asked.text), limits.text_chars, "characters")
        _at_most("k", asked.k, limits.hits, "gestures")
        model = _model(service, asked.model)
        hits = await service.retrieve(model, asked.text, asked.k)
        return Answer(model=model.name, source=model.source, gestures=_gestures(hits))

    @router.post("/retrieve/by-motion", tags=["retrieval"], openapi_extra=_UPLOAD)
    async def by_motion(request: Request, k: int = 5, model: str | None = None) -> MotionAnswer:
        """What does this motion resemble, and what is said with it?

        The body is an npz of SMPL-X poses as BEAT2, AMASS or SHOW have them, at 30 frames a
        second.
        """
        if k < 1:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"k: found {k}, expected 1 or more")
        _at_most("k", k, limits.hits, "gestures")
        chosen = _model(service, model)
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
    _at_most("motion", len(poses), most_frames, "frames")
    return np.ascontiguousarray(poses, np.float32)


def _recordings(router: APIRouter, service: Service) -> None:
    @router.get("/skeleton", tags=["recordings"])
    async def bones() -> Skeleton:
        """How the joints of a motion make a figure."""
        return Skeleton(**skeleton())

    @router.get("/clips/{phrase_id}", tags=["recordings"])
    def clip(phrase_id: PhraseId, model: str | None = None) -> Clip:
        """A recorded phrase: its words in time, its gesture in words."""
        found = _model(service, model).clip(phrase_id)
        if found is None:
            raise _no_clip(phrase_id)
        return found

    @router.get(
        "/clips/{phrase_id}/motion", tags=["recordings"], responses={200: _BINARY},
        response_class=Response,
    )  # fmt: skip
    def motion(phrase_id: PhraseId, model: str | None = None) -> Response:
        """Its joints: frames and joints as uint32, rate as float32, then int16 millimetres."""
        packed = _model(service, model).packed_motion(phrase_id)
        if packed is None:
            raise _no_clip(phrase_id)
        return Response(packed, media_type=_OCTETS)

    @router.get(
        "/clips/{phrase_id}/turns", tags=["recordings"], responses={200: _BINARY},
        response_class=Response,
    )  # fmt: skip
    def turns(phrase_id: PhraseId, model: str | None = None) -> Response:
        """How its joints are turned: the same header, then int16 quaternions in 1/32767."""
        packed = _model(service, model).packed_turns(phrase_id)
        if packed is None:
            raise _no_clip(phrase_id)
        return Response(packed, media_type=_OCTETS)

    @router.get(
        "/clips/{phrase_id}/audio", tags=["recordings"], response_class=Response,
        responses={200: {"content": {"audio/wav": {}}}},
    )  # fmt: skip
    def audio(phrase_id: PhraseId, model: str | None = None) -> Response:
        """Its sound as WAV."""
        wav = _model(service, model).wav(phrase_id)
        if wav is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"there is no sound of {phrase_id}")
        return Response(wav, media_type="audio/wav")


def _no_clip(phrase_id: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, f"the model's corpus has no phrase {phrase_id}")


def _at_most(what: str, found: int, most: int, unit: str) -> None:
    if found > most:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"{what}: found {found} {unit}, at most {most}"
        )


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
