"""What a study holds, and what each participant sees of it.

Who sees which pairs, in which order and with which method on which side is a pure function of
the study and the participant's number: a page that is opened again, by a server that was started
again, shows the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Side = Literal["left", "right"]
Choice = Literal["left", "right", "same"]

#: What the papers of this field ask about two motions.
QUESTIONS: Mapping[str, str] = {
    "naturalness": "Whose movements look more natural?",
    "semantics": "Whose gestures fit better what is being said?",
    "synchrony": "Whose movements are better in time with the speech?",
    "diversity": "Whose gestures are more varied?",
    "overall": "Whom do you prefer overall?",
}
#: Questions that cannot be asked where nothing is heard.
NEEDS_AUDIO = frozenset({"synchrony"})


class Word(BaseModel):
    """A word of a pair; seconds from its start, null where it has no times."""

    model_config = ConfigDict(frozen=True)
    word: str
    start_s: float | None
    end_s: float | None


class Pair(BaseModel):
    """Two motions for the same words.

    Attributes:
        key: what both methods call it; participants never see it.
        text: what is said, or what the gestures should say.
        seconds: length of the first method's motion and of the second's.
    """

    model_config = ConfigDict(frozen=True)
    key: str
    text: str
    words: tuple[Word, ...]
    seconds: tuple[float, float]
    has_audio: bool


class Plan(BaseModel):
    """A study.

    Attributes:
        methods: the two names, which participants never see.
        questions: by name, as they are asked.
        pairs: what there is to be seen.
        pairs_each: how many of them one participant sees.
        checks: attention checks among them, further pairs.
        ties: a participant may say that there is no difference.
        intro: read before the first pair.
        thanks: read after the last, such as a code for the panel that sent the participant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    methods: tuple[str, str]
    questions: dict[str, str]
    pairs: tuple[Pair, ...]
    pairs_each: int = Field(ge=1)
    checks: int = Field(ge=0)
    ties: bool
    participants: int = Field(ge=1)
    seed: int
    title: str
    intro: str
    thanks: str
    synthetic: bool


@dataclass(frozen=True)
class Showing:
    """One pair as one participant sees it.

    Attributes:
        pair: its number.
        swapped: the second method is on the left.
        check: the side that an attention check asks for; None where it is none.
    """

    pair: int
    swapped: bool
    check: Side | None

    def method_on(self, side: Side) -> int:
        """0 or 1: the method whose motion is on a side."""
        return int(self.swapped) if side == "left" else int(not self.swapped)


def showings(plan: Plan, participant: int) -> list[Showing]:
    """What a participant sees, in order.

    Pairs are dealt in turn from one shuffled round of them, so that all are seen equally often.
    Half of a participant's pairs have the second method on the left. Attention checks stand
    apart from each other, and never come first.
    """
    rng = np.random.default_rng((plan.seed, participant))
    count, each = len(plan.pairs), min(plan.pairs_each, len(plan.pairs))
    rounds = np.random.default_rng(plan.seed).permutation(count)
    mine = rounds[(participant * each + np.arange(each)) % count]
    rng.shuffle(mine)
    seen = [
        Showing(int(pair), bool(swapped), None)
        for pair, swapped in zip(mine, _halves(each, rng), strict=True)
    ]
    others = np.setdiff1d(np.arange(count), mine)
    of_checks = rng.choice(others if len(others) else mine, plan.checks)
    asked = _halves(plan.checks, rng)
    # From the last place backwards, so that places before stay what they are.
    for number in reversed(range(plan.checks)):
        low, high = (each * part / plan.checks for part in (number, number + 1))
        place = int(rng.integers(max(1, int(low)), max(1, int(high)) + 1))
        side: Side = "right" if asked[number] else "left"
        seen.insert(place, Showing(int(of_checks[number]), bool(rng.integers(2)), side))
    return seen


def _halves(count: int, rng: np.random.Generator) -> np.ndarray:
    """Yes for half of `count`, the odd one by chance, in any order."""
    yes = np.arange(count) < (count + rng.integers(2)) // 2
    rng.shuffle(yes)
    return yes
