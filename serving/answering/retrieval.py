"""Words or motion to recorded gestures, and what there is of these."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from io import BytesIO
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gestray.client.answers import Answer, Gesture, ModelAbout, MotionAnswer, MotionFormat
from gestray.corpora.npz import read_arrays
from gestray.corpora.smplx_arrays import POSE_ARRAYS, assemble_poses
from gestray.corpora.take import POSE_WIDTH, check_motion
from gestray.errors import BadInput
from gestray.retrieval.index import Hit
from serving.config import Limits
from serving.library import Model
from serving.motions import Exports
from serving.problems import Problem
from serving.schemas import RetrieveRequest
from serving.service import Service, at_most, find

T = TypeVar("T")

KIND = "retrieval"


class Retrieval:
    """Answers of indexes.

    Args:
        service: has the models.
        limits: of a question.
        exports: makes files of recorded motion.
    """

    def __init__(self, service: Service, limits: Limits, exports: Exports) -> None:
        self.service, self.limits, self.exports = service, limits, exports

    def models(self) -> list[ModelAbout]:
        """The models that answer; of each kind the last is the default."""
        models, movers = self.service.models, self.service.movers
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

    async def by_text(self, asked: RetrieveRequest) -> Answer:
        """The gestures that say a text best.

        Raises:
            Problem: the text or `k` is too large, or there is no such model.
        """
        at_most("text", len(asked.text), self.limits.text_chars, "characters")
        at_most("k", asked.k, self.limits.hits, "gestures")
        model = self.service.pick(find(self.service, KIND, self.service.models, asked.model))
        hits = await self.service.retrieve(model, asked.text, asked.k)
        return Answer(model=model.name, source=model.source, gestures=_gestures(hits))

    async def by_motion(self, npz: bytes, k: int, name: str | None) -> MotionAnswer:
        """What a motion resembles, and what is said with such.

        Raises:
            Problem: it is no motion or too long, or `k` or the model is none.
        """
        if k < 1:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"k: found {k}, expected 1 or more")
        at_most("k", k, self.limits.hits, "gestures")
        chosen = self.service.pick(find(self.service, KIND, self.service.models, name))
        return await asyncio.to_thread(_search_by_motion, chosen, npz, k, self.limits)

    def of_phrase(self, phrase_id: str, name: str | None, what: Callable[[Model], T | None]) -> T:
        """What a phrase has, of whichever pair knows it: one that has just changed may be meant.

        Raises:
            Problem: none knows it, or it has no such part.
        """
        model = find(self.service, KIND, self.service.models, name)
        for pair in self.service.pairs(model):
            if (found := what(pair)) is not None:
                return found
        raise Problem(HTTPStatus.NOT_FOUND, f"the model's corpus has no such part of {phrase_id}")

    async def file(self, phrase_id: str, name: str | None, kind: MotionFormat) -> bytes:
        """A file of a phrase's motion, as `gestray export` writes them.

        Raises:
            Problem: there is no such phrase, or it cannot be written so.
        """
        clip = await asyncio.to_thread(
            self.of_phrase, phrase_id, name, lambda pair: pair.motion_clip(phrase_id)
        )
        return await self.exports.file(clip, kind)


def _search_by_motion(model: Model, npz: bytes, k: int, limits: Limits) -> MotionAnswer:
    query = model.embed_motion(read_motion(npz, limits.motion_frames))
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
