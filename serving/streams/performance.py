"""A stream at work: speech is heard and logged, motion computed and sent.

Speech is written to a log that all replicas share before its motion is sent. The same speech
gives the same motion, so a stream whose connection or replica was lost goes on at any replica: it
hears the log again, and sends what the client does not have.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from http import HTTPStatus
from typing import Any, Protocol

import numpy as np

from gestray.corpora.take import TRANS_WIDTH
from gestray.errors import UserError
from gestray.generators.contract import Gesturing, Speech
from gestray.generators.model import Live
from gestray.generators.voice import Speaking
from gestray.speech.audio import SAMPLE_RATE, pcm16_to_float
from gestray.speech.features import frames_in
from gestray.speech.words import Word
from serving.answering.generation import Generation, as_told
from serving.config import Limits
from serving.library import Mover
from serving.listening import Heard, rounded
from serving.problems import Problem
from serving.service import at_most
from serving.shared import Piece, StreamLog
from serving.streams.messages import (
    End,
    Ended,
    FromServer,
    Moved,
    Sound,
    Spoke,
    SpokenWords,
    Start,
    Text,
    Words,
)


class Talk(Protocol):
    """Whom a stream is played for."""

    generation: Generation
    limits: Limits

    def next(self) -> Awaitable[Any]: ...
    def room_for(self, chunk: int) -> Awaitable[None]: ...
    def send(self, message: FromServer) -> Awaitable[None]: ...


def too_long(limits: Limits) -> Problem:
    """What a stream is told that does not end."""
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a stream may last {limits.stream_s:g} s; start anew"
    )


class Performance:
    """The motion of one stream, from its first chunk on."""

    def __init__(self, talk: Talk, mover: Mover, stream: str, start: Start, log: StreamLog) -> None:
        self.talk, self.mover, self.stream, self.start = talk, mover, stream, start
        self._turn, self._logged, self._ended = log.turn, list(log.pieces), log.ended
        self._live = Live(mover.generator, start.speaker, start.seed, start.temperature)
        self._speaking = Speaking()
        self._speaking.said = log.samples
        self._heard: list[Piece] = []
        self._moved: list[Gesturing] = []
        self._samples = self._frames = self._texts = 0

    async def play(self, after: int, spoken: int) -> None:
        """Hear all that comes, and send its motion.

        Args:
            after: the last chunk of motion that the client has.
            spoken: the last text whose sound it has.
        """
        for piece in self._logged:
            await self._hear(piece, after, spoken)
        while not self._ended:
            message = await self.talk.next()
            piece = await self._piece_of(message)
            self._ended = isinstance(message, End)
            if not await self.talk.generation.service.shared.add(
                self.stream, self._turn, piece, self._ended
            ):
                raise Problem(HTTPStatus.CONFLICT, "the stream was resumed elsewhere, or is over")
            await self._hear(piece, after, spoken)
        if frames_in(self._samples):
            await self._send(self._live.rest(), after)
        await self._end()

    async def _piece_of(self, message: Any) -> Piece:
        """What a message adds to the speech."""
        if isinstance(message, End):
            silence = self._speaking.end() if self._texts else Speech(np.zeros(0, np.float32))
            return Piece(rounded(silence)[1])
        if isinstance(message, Sound) and self.start.input == "audio":
            if self._samples + len(message.pcm16) // 2 > self.talk.limits.stream_s * SAMPLE_RATE:
                raise too_long(self.talk.limits)
            return Piece(message.pcm16)
        if isinstance(message, Words) and self.start.input == "audio":
            return Piece(b"", tuple(Word(w.word, w.start_s, w.end_s) for w in message.words))
        if isinstance(message, Text) and self.start.input == "text":
            return await self._said(message.text)
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"{message.type}: not in a stream of {self.start.input}"
        )

    async def _said(self, text: str) -> Piece:
        at_most("text", len(text), self.talk.limits.text_chars, "characters")
        try:
            speech = await self.talk.generation.listening.do(lambda: self._speaking.say(text))
        except UserError as error:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        if self._speaking.said > self.talk.limits.stream_s * SAMPLE_RATE:
            raise too_long(self.talk.limits)
        return Piece(rounded(speech)[1], speech.words, is_text=True)

    async def _hear(self, piece: Piece, after: int, spoken: int) -> None:
        if piece.is_text:
            if self._texts > spoken:
                await self._send_sound(piece)
            self._texts += 1
        self._heard.append(piece)
        self._samples += len(piece.pcm16) // 2
        self._live.hear(Speech(pcm16_to_float(piece.pcm16), piece.words))
        await self._send(self._live.moves(), after)

    async def _send(self, moves: Iterator[Gesturing], after: int) -> None:
        compute = self.talk.generation.service.moving.compute
        while (moved := await compute(lambda: next(moves, None))) is not None:
            number, first = len(self._moved), self._frames
            self._moved.append(moved)
            self._frames += len(moved)
            if number <= after:
                continue
            await self.talk.room_for(number)
            path = np.zeros((len(moved), TRANS_WIDTH)) if moved.trans is None else moved.trans
            values = np.concatenate([moved.poses, path], axis=1).astype("<f4")
            await self.talk.send(Moved(number, first, values))

    async def _send_sound(self, piece: Piece) -> None:
        await self.talk.send(Spoke(self._texts, self._samples, piece.pcm16))
        await self.talk.send(SpokenWords(words=[as_told(word) for word in piece.words]))

    async def _end(self) -> None:
        """Keep the whole as any other motion, and say so."""
        motion = None
        if self._moved:
            pcm16 = b"".join(piece.pcm16 for piece in self._heard)
            words = tuple(word for piece in self._heard for word in piece.words)
            heard = Heard(Speech(pcm16_to_float(pcm16), words), None)
            moved, start = Gesturing.joined(self._moved), self.start
            motion = await self.talk.generation.keep(
                self.mover, heard, moved, None, start.speaker, start.seed
            )
        await self.talk.send(Ended(chunks=len(self._moved), motion=motion))
