"""Speech to motion: asked for as a whole, then played or taken away as files."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import FormData, UploadFile

from gestray.client.answers import Motion, MotionFormat
from serving.answering.generation import KIND, Generation
from serving.problems import Problem
from serving.routes.binary import BINARY, OCTETS
from serving.routes.recordings import WAV, as_file
from serving.schemas import GenerateRequest, MotionId, Recording, validated

# Fields of an upload besides its files are this long at most.
_FIELD_BYTES = 64 << 10


def _body() -> dict[str, Any]:
    """How OpenAPI describes the two bodies."""
    file = {"type": "string", "format": "binary"}
    upload = Recording.model_json_schema()
    upload["properties"] = {
        "audio": {**file, "description": "WAV, FLAC, MP3 or Ogg."},
        "words": {**file, "description": "Its words in time, a TextGrid or JSON."},
        **upload["properties"],
    }
    upload["required"] = ["audio"]
    contents = {
        "application/json": {"schema": GenerateRequest.model_json_schema()},
        "multipart/form-data": {"schema": upload},
    }
    return {"requestBody": {"required": True, "content": contents}}


def generation(router: APIRouter, answering: Generation) -> None:
    """Add the routes."""

    @router.post("/generate", tags=[KIND], openapi_extra=_body())
    async def generate(request: Request) -> Motion:
        """Move for a text, which is spoken, or for a recording.

        The motion is kept for a while: its joints, sound and files are at `/v1/motions/{id}…`.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            async with request.form(max_files=2, max_fields=8, max_part_size=_FIELD_BYTES) as form:
                audio, words = await _file(form, "audio"), await _file(form, "words")
                fields = {name: value for name, value in form.items() if isinstance(value, str)}
            if audio is None:
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "audio: found none, expected a file")
            return await answering.for_recording(audio, words, validated(Recording, fields))
        if kind in ("application/json", ""):
            return await answering.for_text(validated(GenerateRequest, await request.body()))
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"content-type: found {kind[:64]}, expected application/json or multipart/form-data",
        )

    @router.get(
        "/motions/{motion_id}.{kind}", tags=[KIND], responses={200: BINARY},
        response_class=Response,
    )  # fmt: skip
    async def file(motion_id: MotionId, kind: MotionFormat) -> Response:
        """A file of it, as `gestray export` writes them."""
        return as_file(await answering.file(motion_id, kind), motion_id, kind)

    @router.get("/motions/{motion_id}", tags=[KIND])
    async def about(motion_id: MotionId) -> Motion:
        """A generated motion: its words in time, and what it was made by."""
        return Motion.model_validate_json((await answering.kept(motion_id)).about)

    @router.get(
        "/motions/{motion_id}/motion", tags=[KIND], responses={200: BINARY},
        response_class=Response,
    )  # fmt: skip
    async def joints(motion_id: MotionId) -> Response:
        """Where its joints are, as of a clip."""
        return Response((await answering.kept(motion_id)).places(), media_type=OCTETS)

    @router.get(
        "/motions/{motion_id}/turns", tags=[KIND], responses={200: BINARY},
        response_class=Response,
    )  # fmt: skip
    async def turns(motion_id: MotionId) -> Response:
        """How its joints are turned, as of a clip."""
        return Response((await answering.kept(motion_id)).turns(), media_type=OCTETS)

    @router.get("/motions/{motion_id}/audio", tags=[KIND], responses=WAV, response_class=Response)
    async def audio(motion_id: MotionId) -> Response:
        """Its speech as WAV."""
        return Response((await answering.kept(motion_id)).wav(), media_type="audio/wav")


async def _file(form: FormData, name: str) -> bytes | None:
    value = form.get(name)
    return await value.read() if isinstance(value, UploadFile) else None
