"""What every generator does: speech in, motion out, whole or as it comes.

A generator hears speech in hops: at each it has heard a little beyond what it moves for, knows
what it did before, and never takes back what it gave. So a recording and a stream of it
give the same motion, delay and memory are bounded, and there is no seam to hide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from gestray.speech.audio import SAMPLE_RATE
from gestray.speech.words import Word


@dataclass(frozen=True, eq=False)
class Speech:
    """What is said, or the next piece of it.

    Args:
        samples: float32 (N,) at 16 kHz, in [-1, 1).
        words: in order, with times in seconds since the start of the whole. Of a stream, words
            come at the latest with the samples that they begin in; earlier is welcome.
    """

    samples: np.ndarray
    words: tuple[Word, ...] = ()

    def pieces(self, seconds: float = 1.0) -> Iterator[Speech]:
        """The same as a stream, piece by piece, each with the words that begin in it."""
        size, given = round(seconds * SAMPLE_RATE), 0
        for first in range(0, len(self.samples) or 1, size):
            end_s = (first + size) / SAMPLE_RATE
            known = given
            while known < len(self.words) and (self.words[known].start_s or 0) < end_s:
                known += 1
            yield Speech(self.samples[first : first + size], self.words[given:known])
            given = known


@dataclass(frozen=True, eq=False)
class Gesturing:
    """Motion of a speaker, at 30 frames a second.

    Args:
        poses: axis-angle, float32 (T, 165); joints that the generator has nothing to say
            about are at rest.
        trans: metres from where it begins (T, 3), or None.
        expressions: FLAME (T, 100), or None.
        meaning: how much each frame is meant, in [0, 1] (T,), or None where the method
            does not say.
    """

    poses: np.ndarray
    trans: np.ndarray | None = None
    expressions: np.ndarray | None = None
    meaning: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, key: slice | int | tuple[slice, slice]) -> Gesturing:
        """The same of some frames; or, where motions lie side by side (B, T, …), of one of them."""
        return Gesturing(*(None if x is None else x[key] for x in self._arrays()))  # type: ignore[arg-type]

    @staticmethod
    def joined(parts: Sequence[Gesturing]) -> Gesturing:
        """One motion of several, one after the other."""
        columns = zip(*(part._arrays() for part in parts), strict=True)
        return Gesturing(*(None if c[0] is None else np.concatenate(c) for c in columns))  # type: ignore[arg-type]

    def _arrays(self) -> list[np.ndarray | None]:
        return [getattr(self, field.name) for field in fields(self)]


class Generator(Protocol):
    """Moves for speech. The same speech, speaker, seed and temperature give the same motion."""

    def generate(
        self, speech: Speech, speaker: str | None = None, seed: int = 0, temperature: float = 1.0
    ) -> Gesturing:
        """The motion of a whole speech: as many frames as it lasts.

        Args:
            speech: at least a frame of it.
            speaker: whose manner; None: nobody's in particular.
            seed: of all that is drawn.
            temperature: 0 takes what is likeliest; 1 draws as likely as it is.

        Raises:
            UserError: the speaker is unknown, or words have no times.
        """

    def generate_many(
        self,
        speeches: Sequence[Speech],
        speakers: Sequence[str | None],
        seeds: Sequence[int],
        temperature: float = 1.0,
    ) -> list[Gesturing]:
        """`generate` of many at once; up to rounding the same as one by one."""

    def stream(
        self,
        chunks: Iterable[Speech],
        speaker: str | None = None,
        seed: int = 0,
        temperature: float = 1.0,
    ) -> Iterator[Gesturing]:
        """Motion as speech comes, in chunks of any size: together what `generate` gives.

        Memory and the time of a hop do not grow with what came before.
        """
