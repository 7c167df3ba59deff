"""Speech to motion: asked for as a whole, then played or taken away as files."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile

from gestray.client.answers import Motion, MotionFormat, Word
from gestray.corpora.take import FPS
from gestray.generators.contract import Gesturing
from gestray.speech.words import Word as SpokenWord
from serving.config import Limits
from serving.kept import Kept, new_id
from serving.library import Mover
from serving.listening import (
    Heard,
    check_voice,
    rounded,
    speech_of_recording,
    speech_of_text,
)
from serving.motions import Exports, formats
from serving.moving import check_speaker
from serving.problems import Problem, describe
from serving.routes.recordings import WAV, as_file
from serving.routes.service import BINARY, OCTETS, Service, at_most, find
from serving.schemas import GenerateRequest, MotionId, Name, Seed, Speaker, Temperature
from serving.work import Bounded

_KIND = "generation"
# Fields of an upload besides its files are this long at most.
_FIELD_BYTES = 64 << 10


class _Upload(BaseModel):
    """What comes with a recording."""

    model_config = ConfigDict(extra="forbid")
    transcript: str | None = Field(None, description="What is said in it; is aligned.")
    speaker: Speaker = None
    seed: Seed = 0
    temperature: Temperature = 1.0
    model: Name = None


def _body() -> dict[str, Any]:
    """How OpenAPI describes the two bodies."""
    file = {"type": "string", "format": "binary"}
    upload = _Upload.model_json_schema()
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


def generation(
    router: APIRouter,
    service: Service,
    limits: Limits,
    kept_s: float,
    exports: Exports,
    listening: Bounded,
) -> None:
    """Add the routes.

    Args:
        kept_s: how long motions are kept.
        listening: speaks texts, decodes and aligns recordings.
    """

    @router.post("/generate", tags=[_KIND], openapi_extra=_body())
    async def generate(request: Request) -> Motion:
        """Move for a text, which is spoken, or for a recording.

        The motion is kept for a while: its joints, sound and files are at `/v1/motions/{id}…`.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        asked: GenerateRequest | _Upload
        if kind == "multipart/form-data":
            async with request.form(max_files=2, max_fields=8, max_part_size=_FIELD_BYTES) as form:
                audio, words = await _file(form, "audio"), await _file(form, "words")
                fields = {name: value for name, value in form.items() if isinstance(value, str)}
            if audio is None:
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "audio: found none, expected a file")
            asked = upload = _validated(_Upload, fields)
            at_most("transcript", len(upload.transcript or ""), limits.text_chars, "characters")
            mover = _mover(service, asked)
            heard = await listening.do(
                lambda: speech_of_recording(audio, words, upload.transcript, limits.speech_s)
            )
            text = None
        elif kind in ("application/json", ""):
            asked = said = _validated(GenerateRequest, await request.body())
            at_most("text", len(said.text), limits.text_chars, "characters")
            mover = _mover(service, asked)
            check_voice()
            heard = await listening.do(lambda: speech_of_text(said.text, limits.speech_s))
            text = said.text
        else:
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"content-type: found {kind[:64]}, expected application/json or "
                "multipart/form-data",
            )
        moved = await service.moving.generate(
            mover, heard.speech, asked.speaker, asked.seed, asked.temperature
        )
        return await keep(service, mover, heard, moved, text, asked.speaker, asked.seed, kept_s)

    @router.get(
        "/motions/{motion_id}.{kind}", tags=[_KIND], responses={200: BINARY},
        response_class=Response,
    )  # fmt: skip
    async def file(motion_id: MotionId, kind: MotionFormat) -> Response:
        """A file of it, as `gestray export` writes them."""
        kept = await _kept(service, motion_id)
        return as_file(await exports.file(kept.clip, kind), motion_id, kind)

    @router.get("/motions/{motion_id}", tags=[_KIND])
    async def about(motion_id: MotionId) -> Motion:
        """A generated motion: its words in time, and what it was made by."""
        return Motion.model_validate_json((await _kept(service, motion_id)).about)

    @router.get(
        "/motions/{motion_id}/motion", tags=[_KIND], responses={200: BINARY},
        response_class=Response,
    )  # fmt: skip
    async def joints(motion_id: MotionId) -> Response:
        """Where its joints are, as of a clip."""
        return Response((await _kept(service, motion_id)).places(), media_type=OCTETS)

    @router.get(
        "/motions/{motion_id}/turns", tags=[_KIND], responses={200: BINARY},
        response_class=Response,
    )  # fmt: skip
    async def turns(motion_id: MotionId) -> Response:
        """How its joints are turned, as of a clip."""
        return Response((await _kept(service, motion_id)).turns(), media_type=OCTETS)

    @router.get("/motions/{motion_id}/audio", tags=[_KIND], responses=WAV, response_class=Response)
    async def audio(motion_id: MotionId) -> Response:
        """Its speech as WAV."""
        return Response((await _kept(service, motion_id)).wav(), media_type="audio/wav")


async def keep(
    service: Service,
    mover: Mover,
    heard: Heard,
    moved: Gesturing,
    text: str | None,
    speaker: str | None,
    seed: int,
    kept_s: float,
) -> Motion:
    """Keep a motion for a while, and say what is told of it."""
    meaning = None if moved.meaning is None else np.round(moved.meaning, 2).astype(float).tolist()
    motion = Motion(
        id=new_id(),
        model=mover.name,
        source=mover.source,
        seconds=len(moved) / FPS,
        frames=len(moved),
        fps=FPS,
        speaker=speaker,
        seed=seed,
        text=text,
        words=[_word(word) for word in heard.speech.words],
        meaning=meaning,
        has_audio=True,
        expires_s=kept_s,
        formats=list(formats()),
        remark=heard.remark,
    )
    await service.shared.keep(
        motion.id, Kept(motion.model_dump_json(), moved, rounded(heard.speech)[1])
    )
    return motion


def _word(word: SpokenWord) -> Word:
    return Word(word=word.word, start_s=word.start_s, end_s=word.end_s)


def _mover(service: Service, asked: GenerateRequest | _Upload) -> Mover:
    """The generator that is asked for, which knows the speaker."""
    mover = find(service, _KIND, service.movers, asked.model)
    check_speaker(mover, asked.speaker)
    return mover


async def _kept(service: Service, motion_id: str) -> Kept:
    kept = await service.shared.kept(motion_id)
    service.telemetry.cache.labels("motions", kept is not None).inc()
    if kept is None:
        raise Problem(
            HTTPStatus.NOT_FOUND, f"there is no motion {motion_id}, or it is no longer kept"
        )
    return kept


async def _file(form: FormData, name: str) -> bytes | None:
    value = form.get(name)
    return await value.read() if isinstance(value, UploadFile) else None


def _validated(kind: type[Any], given: bytes | dict[str, str]) -> Any:
    """What was given, as `kind` has it.

    Raises:
        Problem: it is not that; names where.
    """
    try:
        if isinstance(given, bytes):
            return kind.model_validate_json(given)
        return kind.model_validate(given)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        unreadable = errors[0]["type"] == "json_invalid"
        status = HTTPStatus.BAD_REQUEST if unreadable else HTTPStatus.UNPROCESSABLE_ENTITY
        raise Problem(status, describe(errors)) from None
