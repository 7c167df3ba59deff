"""What was recorded: the words, motion and sound of phrases, and files of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from gestray.client.answers import Clip, MotionFormat, Skeleton
from serving.answering.retrieval import Retrieval
from serving.recordings import skeleton
from serving.routes.binary import BINARY, OCTETS
from serving.schemas import PhraseId

WAV: dict[int | str, dict[str, Any]] = {200: {"content": {"audio/wav": {}}}}


def recordings(router: APIRouter, answering: Retrieval) -> None:
    """Add the routes."""

    @router.get("/skeleton", tags=["recordings"])
    async def bones() -> Skeleton:
        """How the joints of a motion make a figure."""
        return Skeleton(**skeleton())

    @router.get("/clips/{phrase_id}", tags=["recordings"])
    def clip(phrase_id: PhraseId, model: str | None = None) -> Clip:
        """A recorded phrase: its words in time, its gesture in words and phases."""
        return answering.of_phrase(phrase_id, model, lambda pair: pair.clip(phrase_id))

    @router.get(
        "/clips/{phrase_id}/motion", tags=["recordings"], responses={200: BINARY},
        response_class=Response,
    )  # fmt: skip
    def motion(phrase_id: PhraseId, model: str | None = None) -> Response:
        """Its joints: frames and joints as uint32, rate as float32, then int16 millimetres."""
        packed = answering.of_phrase(phrase_id, model, lambda pair: pair.packed_motion(phrase_id))
        return Response(packed, media_type=OCTETS)

    @router.get(
        "/clips/{phrase_id}/turns", tags=["recordings"], responses={200: BINARY},
        response_class=Response,
    )  # fmt: skip
    def turns(phrase_id: PhraseId, model: str | None = None) -> Response:
        """How its joints are turned: the same header, then int16 quaternions in 1/32767."""
        packed = answering.of_phrase(phrase_id, model, lambda pair: pair.packed_turns(phrase_id))
        return Response(packed, media_type=OCTETS)

    @router.get(
        "/clips/{phrase_id}/audio", tags=["recordings"], responses=WAV, response_class=Response
    )
    def audio(phrase_id: PhraseId, model: str | None = None) -> Response:
        """Its sound as WAV."""
        wav = answering.of_phrase(phrase_id, model, lambda pair: pair.wav(phrase_id))
        return Response(wav, media_type="audio/wav")

    @router.get(
        "/clips/{phrase_id}/export.{kind}", tags=["recordings"], responses={200: BINARY},
        response_class=Response,
    )  # fmt: skip
    async def export(phrase_id: PhraseId, kind: MotionFormat, model: str | None = None) -> Response:
        """A file of it, as `gestray export` writes them."""
        content = await answering.file(phrase_id, model, kind)
        return as_file(content, phrase_id.replace(":", "_"), kind)


def as_file(content: bytes, name: str, kind: MotionFormat) -> Response:
    """The answer that a browser saves as a file."""
    media = {"mp4": "video/mp4", "glb": "model/gltf-binary", "vrma": "model/gltf-binary"}
    headers = {"content-disposition": f'attachment; filename="{name}.{kind}"'}
    return Response(content, headers=headers, media_type=media.get(kind, OCTETS))
