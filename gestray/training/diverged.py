"""The end of a training whose loss is no number any more."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from gestray.errors import UserError

SHOWN = 64


class Diverged(UserError):
    """A loss or its gradient was not finite. Trying again would end the same way.

    Args:
        step: of the loop, from 1.
        samples: of the global batch of that step, as (take id, number within the take).
        checkpoint: where the last good one is, or None.
    """

    def __init__(
        self, step: int, samples: Sequence[tuple[str, int]], checkpoint: str | None
    ) -> None:
        good = (
            f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint is good"
        )
        super().__init__(
            f"training diverged: the loss or its gradient is not finite at step {step}; {good}. "
            "Lower loop.learning_rate, or look at the samples of that step, take: numbers: "
            + _listed(sorted(samples))
        )
        self.step, self.samples, self.checkpoint = step, list(samples), checkpoint

    def __reduce__(self) -> tuple:
        return type(self), (self.step, self.samples, self.checkpoint)


def _listed(samples: Sequence[tuple[str, int]]) -> str:
    groups = itertools.groupby(samples[:SHOWN], key=lambda sample: sample[0])
    shown = "; ".join(
        f"{take}: {', '.join(str(number) for _, number in group)}" for take, group in groups
    )
    more = len(samples) - SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown
