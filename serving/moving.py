"""The generators at work: one hop at a time, for whoever waits longest.

A thread computes; whole speeches are moved for in batches and streams by themselves, and after
each hop, some tens of milliseconds, another may have its turn: a stream does not wait for
somebody's two minutes. What nobody waits for any more is not computed: a request whose client
has left is taken out of the queue, and a batch that all have left is given up at its next hop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from gestray.errors import UserError
from gestray.generators.contract import Gesturing, Speech
from serving.library import Mover
from serving.problems import Problem
from serving.telemetry import Telemetry

# A batch computes for as long as its longest speech lasts.
_LIKE_LENGTH = 2.0
_RETRY_AFTER_S = "2"
_KIND = "generation"

T = TypeVar("T")


@dataclass(eq=False)
class Wanted:
    """A speech that somebody waits for the motion of.

    `started` and `ended` (ns) are of the batch it was moved for in, `size` is of that.
    """

    mover: Mover
    speech: Speech
    speaker: str | None
    seed: int
    temperature: float
    answer: asyncio.Future[Gesturing]
    started: int = 0
    ended: int = 0
    size: int = 0

    def goes_with(self, other: Wanted) -> bool:
        """Whether the two can be moved for at once."""
        lengths = sorted(len(each.speech.samples) for each in (self, other))
        alike = (self.mover, self.temperature) == (other.mover, other.temperature)
        return alike and lengths[1] <= _LIKE_LENGTH * lengths[0]


class Moving:
    """Computes motion in a thread.

    Args:
        batch: speeches that are moved for at once.
        queued: speeches that may wait.
        telemetry: is told of batches.
    """

    def __init__(self, batch: int, queued: int, telemetry: Telemetry) -> None:
        self.batch, self.queued, self.telemetry = batch, queued, telemetry
        self.waiting: list[Wanted] = []
        self._thread = ThreadPoolExecutor(1, "generator")
        self._work: asyncio.Task[None] | None = None

    async def generate(
        self, mover: Mover, speech: Speech, speaker: str | None, seed: int, temperature: float
    ) -> Gesturing:
        """The motion of a speech.

        Raises:
            Problem: the speaker is unknown, the speech too short, or too many wait already.
        """
        check_speaker(mover, speaker)
        if len(self.waiting) >= self.queued + self.batch:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{len(self.waiting)} speeches wait for their motion already",
                {"retry-after": _RETRY_AFTER_S},
            )
        answer: asyncio.Future[Gesturing] = asyncio.get_running_loop().create_future()
        wanted = Wanted(mover, speech, speaker, seed, temperature, answer)
        self.waiting.append(wanted)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._until_done())
        self.telemetry.waiting.labels(_KIND).set(len(self.waiting))
        try:
            motion = await answer
        finally:
            if wanted in self.waiting:
                self.waiting.remove(wanted)
        about = {"gestray.model": mover.name, "gestray.batch": wanted.size}
        self.telemetry.worked("generate", wanted.started, wanted.ended, **about)
        return motion

    async def compute(self, work: Callable[[], T]) -> T:
        """What `work` gives, computed when the thread has time for it."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _until_done(self) -> None:
        while self.waiting:
            first = self.waiting[0]
            group = [each for each in self.waiting if each.goes_with(first)][: self.batch]
            for each in group:
                self.waiting.remove(each)
                each.started, each.size = time.time_ns(), len(group)
            self.telemetry.waiting.labels(_KIND).set(len(self.waiting))
            try:
                motions = await self._moved(group)
            except Exception as error:
                for each in group:
                    if not each.answer.done():
                        each.answer.set_exception(error)
                continue
            for each, motion in zip(group, motions, strict=False):
                each.ended = time.time_ns()
                if not each.answer.done():
                    each.answer.set_result(motion)

    async def _moved(self, group: list[Wanted]) -> list[Gesturing]:
        """Their motions; none where nobody waits any more."""
        from gestray.generators.model import apart

        speeches = [each.speech for each in group]
        first = group[0]
        hops = first.mover.generator.hops(
            speeches, [x.speaker for x in group], [x.seed for x in group], first.temperature
        )
        parts: list[Gesturing] = []
        while not all(each.answer.done() for each in group):
            part = await self.compute(lambda: next(hops, None))
            if part is None:
                seconds = (time.time_ns() - first.started) / 1e9
                self.telemetry.batch(_KIND, first.mover.name, len(group), seconds)
                return apart(parts, speeches)
            parts.append(part)
        return []


def check_speaker(mover: Mover, speaker: str | None) -> None:
    """Refuse a speaker whom the generator does not know.

    Raises:
        Problem: names those it knows.
    """
    try:
        mover.generator.number_of(speaker)
    except UserError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
