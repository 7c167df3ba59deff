"""Population-based training (Jaderberg et al. 2017): values change while models train.

All members train to the next comparison; then the worst take over weights, optimiser and
values of members drawn from the best, with the values changed a little, and all go on. A
generation waits for its last member: what comes out does not depend on how many run at a time.
"""

from __future__ import annotations

import random
from typing import Any

from gestray.artifacts import StageResult
from jobs.sweeps.config import Dimension
from jobs.sweeps.records import Change, Record, State, final_params
from jobs.sweeps.study import Assignment, Study, seed_of


class PopulationStudy(Study):
    """A `Study` whose trials go generation by generation."""

    def next(self) -> Assignment | None:
        if len(self.records) < self.config.count and not self.is_spent:
            for number in range(len(self.records), self.config.count):
                record = Record(number=number, params=self._draw(number))
                self.records.append(record)
                self._write(record)
        alive = [record for record in self.records if record.state == "running"]
        if not alive or self.is_spent:
            return None
        every = self.config.pbt.every
        generation = min(record.steps for record in alive) // every
        for record in alive:
            if record.number not in self._in_work and record.steps // every == generation:
                return self._member(record, generation)
        return None

    def end(
        self,
        number: int,
        seconds: float,
        state: State,
        why: str | None = None,
        result: StageResult | None = None,
    ) -> None:
        if state == "complete" and self.records[number].steps < self.loop.steps:
            state = "running"  # to the end of a generation
        super().end(number, seconds, state, why, result)

    def _member(self, record: Record, generation: int) -> Assignment:
        step = generation * self.config.pbt.every
        until = min(step + self.config.pbt.every, self.loop.steps)
        change = next((c for c in record.changes if c.step == step), None)
        if change is None and step and (source := self._better(record, step)) is not None:
            draws = random.Random(seed_of(self.config.seed, record.number, step))
            params = {
                key: self._changed(self.config.space[key], value, draws)
                for key, value in self._params_at(source, step).items()
            }
            change = Change(step=step, source=source.number, params=params)
            record.changes.append(change)
            self._write(record)
        self._in_work[record.number] = 0.0
        values = self.config.values(final_params(record))
        # Its own steps since then, if it was cut off, are done again.
        source_of = (change.source, step) if change and record.steps <= step else None
        return Assignment(record.number, values, until, source_of)

    def _better(self, record: Record, step: int) -> Record | None:
        """Whom a member takes over from after a step; None: it is not among the worst."""
        known = [r for r in self.records if step in r.figures and r.state != "failed"]
        sign = 1 if self.mode == "min" else -1
        known.sort(key=lambda r: (sign * r.figures[step][self.metric], r.number))
        share = int(len(known) * self.config.pbt.share)
        if not share or record not in known[-share:]:
            return None
        draws = random.Random(seed_of(self.config.seed, step, record.number, 1))
        return draws.choice(known[:share])

    def _params_at(self, record: Record, step: int) -> dict[str, Any]:
        """Those it trained with up to a step."""
        before = [change for change in record.changes if change.step < step]
        return before[-1].params if before else record.params

    def _changed(self, dimension: Dimension, value: Any, draws: random.Random) -> Any:
        if dimension.choice is not None:
            anew = draws.random() < 0.25
            return draws.randrange(len(dimension.choice)) if anew else value
        low, high = dimension.ends
        factor = self.config.pbt.change
        moved = value * (factor if draws.random() < 0.5 else 1 / factor)
        moved = min(max(moved, low), high)
        return round(moved) if dimension.is_whole else moved
