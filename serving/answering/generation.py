"""Speech to motion: asked for as a whole, kept for a while, taken away as files."""

from __future__ import annotations

from http import HTTPStatus

import numpy as np

from gestray.client.answers import Motion, MotionFormat, Word
from gestray.corpora.take import FPS
from gestray.generators.contract import Gesturing
from gestray.speech.words import Word as SpokenWord
from serving.config import Limits
from serving.kept import Kept, new_id
from serving.library import Mover
from serving.listening import Heard, check_voice, rounded, speech_of_recording, speech_of_text
from serving.motions import Exports, formats
from serving.moving import check_speaker
from serving.problems import Problem
from serving.schemas import GenerateRequest, Recording
from serving.service import Service, at_most, find
from serving.work import Bounded

KIND = "generation"


class Generation:
    """Answers of generators.

    Args:
        service: has the models.
        limits: of a question.
        kept_s: how long motions are kept.
        exports: makes files of them.
        listening: speaks texts, decodes and aligns recordings.
    """

    def __init__(
        self,
        service: Service,
        limits: Limits,
        kept_s: float,
        exports: Exports,
        listening: Bounded,
    ) -> None:
        self.service, self.limits, self.kept_s = service, limits, kept_s
        self.exports, self.listening = exports, listening

    async def for_text(self, asked: GenerateRequest) -> Motion:
        """Move for a text, which is spoken.

        Raises:
            Problem: it cannot be spoken or is too long, or there is no such model or speaker.
        """
        at_most("text", len(asked.text), self.limits.text_chars, "characters")
        mover = self._mover(asked)
        check_voice()
        heard = await self.listening.do(lambda: speech_of_text(asked.text, self.limits.speech_s))
        return await self._move(mover, heard, asked, asked.text)

    async def for_recording(self, audio: bytes, words: bytes | None, asked: Recording) -> Motion:
        """Move for a recording.

        Args:
            audio: WAV, FLAC, MP3 or Ogg.
            words: its words in time, a TextGrid or JSON.

        Raises:
            Problem: it is none or too long, or there is no such model or speaker.
        """
        at_most("transcript", len(asked.transcript or ""), self.limits.text_chars, "characters")
        mover = self._mover(asked)
        heard = await self.listening.do(
            lambda: speech_of_recording(audio, words, asked.transcript, self.limits.speech_s)
        )
        return await self._move(mover, heard, asked, None)

    async def keep(
        self,
        mover: Mover,
        heard: Heard,
        moved: Gesturing,
        text: str | None,
        speaker: str | None,
        seed: int,
    ) -> Motion:
        """Keep a motion for a while, and say what is told of it."""
        meaning = (
            None if moved.meaning is None else np.round(moved.meaning, 2).astype(float).tolist()
        )
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
            words=[as_told(word) for word in heard.speech.words],
            meaning=meaning,
            has_audio=True,
            expires_s=self.kept_s,
            formats=list(formats()),
            remark=heard.remark,
        )
        await self.service.shared.keep(
            motion.id, Kept(motion.model_dump_json(), moved, rounded(heard.speech)[1])
        )
        return motion

    async def kept(self, motion_id: str) -> Kept:
        """A motion that was generated lately.

        Raises:
            Problem: there is none.
        """
        kept = await self.service.shared.kept(motion_id)
        self.service.telemetry.cache.labels("motions", kept is not None).inc()
        if kept is None:
            raise Problem(
                HTTPStatus.NOT_FOUND, f"there is no motion {motion_id}, or it is no longer kept"
            )
        return kept

    async def file(self, motion_id: str, kind: MotionFormat) -> bytes:
        """A file of it, as `gestray export` writes them.

        Raises:
            Problem: there is no such motion, or it cannot be written so.
        """
        return await self.exports.file((await self.kept(motion_id)).clip, kind)

    def _mover(self, asked: GenerateRequest | Recording) -> Mover:
        """The generator that is asked for, which knows the speaker."""
        mover = find(self.service, KIND, self.service.movers, asked.model)
        check_speaker(mover, asked.speaker)
        return mover

    async def _move(
        self, mover: Mover, heard: Heard, asked: GenerateRequest | Recording, text: str | None
    ) -> Motion:
        moved = await self.service.moving.generate(
            mover, heard.speech, asked.speaker, asked.seed, asked.temperature
        )
        return await self.keep(mover, heard, moved, text, asked.speaker, asked.seed)


def as_told(word: SpokenWord) -> Word:
    """A word as it is told."""
    return Word(word=word.word, start_s=word.start_s, end_s=word.end_s)
