"""What a stage's time went into: what is told apart here, another corpus's time is told from.

A stage says of its main work how many units there were and how long they kept its workers busy.
What is left of its time is its start, which does not grow with the corpus. Both go into the
manifest, so every artifact that was ever made says what it cost (`jobs/rates.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pydantic import BaseModel, ConfigDict, Field


class Work(BaseModel):
    """The main work of a stage.

    Attributes:
        unit: what there are many of: takes, phrases, or samples of a training.
        units: how many were timed.
        workers: that shared them, at the same time.
        busy_s: of all workers together.
        driver_s: in the one process that gathers what they make, while they go on.
        whole: units of one pass over the data, of a training.
        first_s: what the first pass takes beyond that of all workers together: texts are encoded
            and takes cut that later ones find made.
    """

    model_config = ConfigDict(frozen=True)
    unit: str
    units: float = Field(gt=0)
    workers: int = Field(1, ge=1)
    busy_s: float = Field(ge=0)
    driver_s: float = Field(0.0, ge=0)
    whole: float | None = Field(None, gt=0)
    first_s: float = Field(0.0, ge=0)

    @property
    def seconds(self) -> float:
        """Of wall time."""
        passed = min(1.0, self.units / self.whole) if self.whole else 0.0
        return max((self.busy_s + passed * self.first_s) / self.workers, self.driver_s)


_noted: ContextVar[list[Work] | None] = ContextVar("noted", default=None)


@contextmanager
def noting() -> Iterator[list[Work]]:
    """What is noted in the block, of this stage and not of one around it."""
    works: list[Work] = []
    token = _noted.set(works)
    try:
        yield works
    finally:
        _noted.reset(token)


def note(work: Work) -> None:
    """Add to what the stage that runs has noted; outside of a stage it is forgotten."""
    works = _noted.get()
    if works is not None:
        works.append(work)
