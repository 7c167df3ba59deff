"""What grounding a corpus will cost, from a sample of it that an engine was asked about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Sample(NamedTuple):
    """What asking an engine about some of a corpus took.

    Attributes:
        tokens: generated for each question, all attempts together.
        prompt_tokens: given for each question, all attempts together.
        rounds: times the engine was started: once, and once for each kind of retry.
        start_s: until the engine took its first question, mean over the rounds.
        work_s: from then to the last answer, of all rounds, by one engine.
    """

    tokens: Sequence[int]
    prompt_tokens: Sequence[int]
    rounds: int
    start_s: float
    work_s: float


class Prices(NamedTuple):
    """In any currency; what is 0 is free."""

    device_hour: float = 0.0
    million_prompt_tokens: float = 0.0
    million_tokens: float = 0.0


class Amount(NamedTuple):
    """An estimate and the 95 % interval of it that the sample allows."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What is still to be paid for.

    Attributes:
        questions: that are still to be asked.
        tokens: to be generated.
        prompt_tokens: to be given.
        seconds: of wall time, engines' start included.
        device_hours: of all devices of all engines, for that time.
        price: by devices and tokens.
    """

    questions: int
    tokens: Amount
    prompt_tokens: Amount
    seconds: Amount
    device_hours: Amount
    price: Amount


def estimate(
    sample: Sample, questions: int, engines: int, devices: int, prices: Prices
) -> Estimate:
    """What `questions` more like those of a sample will take.

    Work goes with the tokens generated, at the pace of the sample: with more questions in flight
    than the sample had, engines are faster than that.

    Args:
        sample: at least one question.
        questions: still to be asked.
        engines: that work side by side.
        devices: of one engine.
        prices: of what is used.
    """
    tokens = _times(sample.tokens, questions)
    prompt_tokens = _times(sample.prompt_tokens, questions)
    pace_s = sample.work_s / max(1, sum(sample.tokens)) / engines

    def spent(generated: float, given: float) -> tuple[float, float, float]:
        seconds = sample.rounds * sample.start_s + generated * pace_s if questions else 0.0
        hours = seconds * engines * devices / 3600
        price = (
            hours * prices.device_hour
            + given * prices.million_prompt_tokens / 1e6
            + generated * prices.million_tokens / 1e6
        )
        return seconds, hours, price

    columns = zip(*map(spent, tokens, prompt_tokens), strict=True)
    return Estimate(questions, tokens, prompt_tokens, *(Amount(*column) for column in columns))


def _times(each: Sequence[int], count: int) -> Amount:
    """The sum over `count` further cases like these."""
    mean = float(np.mean(each))
    spread = float(np.std(each, ddof=1)) if len(each) > 1 else 0.0
    # Of the mean that the sample gives, and of the sum of what is drawn.
    error = 1.96 * spread * math.sqrt(count**2 / len(each) + count)
    return Amount(mean * count, max(0.0, mean * count - error), mean * count + error)
