"""What every strategy does: speech in, recorded gestures for some of its words out, with reasons.

A strategy only says what it would like, and how much. Which wishes are granted (how far apart,
whether the clip shows a gesture at all, whether there is room) is decided once for all of them,
so that two strategies differ in what they retrieve and in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from gestray.generators.contract import Speech

StrategyName = Literal["encoder", "discourse", "type"]
STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)

CANDIDATES = 5
"""Clips that a strategy names for a word, at most: the first may show no gesture."""


@dataclass(frozen=True)
class Clip:
    """Where a recorded gesture is.

    Args:
        phrase_id: the phrase of the index that it lies in.
        take_id: and its take.
        start_s, end_s: in seconds of the take; the gesture begins between them.
    """

    phrase_id: str
    take_id: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Candidate:
    """A recorded gesture for a word.

    Args:
        word: number of the word, from 0, under which it would begin.
        clip: where it is.
        score: how much it is wanted; compares within one strategy.
        why: the reason, for people.
    """

    word: int
    clip: Clip
    score: float
    why: str


class Strategy(Protocol):
    """Finds recorded gestures for words."""

    name: str

    def candidates(self, speech: Speech, speaker: str | None) -> list[Candidate]:
        """Gestures that words of the speech deserve, for each word the best first.

        Args:
            speech: words with times; sound where there is any.
            speaker: who moves, where a strategy prefers gestures of the same; None: nobody.

        Raises:
            UserError: the recordings lack what the strategy goes by.
        """
