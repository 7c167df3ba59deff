"""What is known of a sweep's trials, and which of them are good."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, Field

from gestray.artifacts import StageResult
from gestray.store import Folder
from jobs.sweeps.config import SweepConfig

RECORD = "trial.json"

State = Literal["running", "complete", "stopped", "failed"]


class Change(BaseModel):
    """Weights and values that a member of a population took over.

    Args:
        step: after which it did.
        source: the trial they are from.
        params: its parameters from then on.
    """

    step: int
    source: int
    params: dict[str, Any]


class Record(BaseModel):
    """All that is known of a trial.

    Args:
        params: as the search has drawn them; of a choice, the place in its list.
        state: a trial that is running in no process goes on from its checkpoint.
        why: it was stopped, or failed.
        figures: step → the sweep's metrics.
        rungs: what the scheduler noted.
        seconds: it ran, over all attempts.
        failures: attempts that lost their process.
        changes: of a population, in time order.
        result: of the stage, once it is complete.
    """

    number: int
    params: dict[str, Any]
    state: State = "running"
    why: str | None = None
    figures: dict[int, dict[str, float]] = Field(default_factory=dict)
    rungs: dict[str, Any] = Field(default_factory=dict)
    seconds: float = 0.0
    failures: int = 0
    changes: list[Change] = Field(default_factory=list)
    result: StageResult | None = None

    @property
    def steps(self) -> int:
        return max(self.figures, default=0)


def trial_folder(study: Folder, number: int) -> Folder:
    return study.child(f"{number:04d}")


def read_records(study: Folder) -> list[Record]:
    """All trials of a study's folder, by number."""
    records: list[Record] = []
    while (folder := trial_folder(study, len(records))).exists(RECORD):
        records.append(Record.model_validate_json(folder.read_bytes(RECORD)))
    return records


def kept_figures(record: Record, keep: str, step: int | None = None) -> dict[str, float]:
    """Figures of the model that the loop keeps of a trial, were it to end at `step`.

    Those of the best validation, or of the last figures there are.
    """
    known = {at: f for at, f in record.figures.items() if step is None or at <= step}
    if keep == "best":
        judged = {at: f.get("val.loss", math.nan) for at, f in known.items()}
        finite = [at for at in sorted(known) if math.isfinite(judged[at])]
        if finite:
            return known[min(finite, key=lambda at: judged[at])]
    return known[max(known)]


def final_values(record: Record, config: SweepConfig, keep: str) -> list[float] | None:
    """The metrics of a trial that has ended; None where there are none, or none finite."""
    if not record.figures:
        return None
    figures = kept_figures(record, keep)
    values = [figures[metric] for metric in config.metrics]
    return values if all(map(math.isfinite, values)) else None


def ranked(records: list[Record], config: SweepConfig) -> list[Record]:
    """Complete trials, the best by the first metric first; of equals, the first one."""
    keep = config.config_of({}, "base").loop.keep
    mode = next(iter(config.metrics.values()))
    scored = [
        (values[0] if mode == "min" else -values[0], record.number, record)
        for record in records
        if record.state == "complete" and (values := final_values(record, config, keep))
    ]
    return [record for _, _, record in sorted(scored, key=lambda item: item[:2])]


def front(records: list[Record], config: SweepConfig) -> list[int]:
    """Numbers of the complete trials that no other is at least as good as in every metric."""
    keep = config.config_of({}, "base").loop.keep
    signs = [1 if mode == "min" else -1 for mode in config.metrics.values()]
    points = {}
    for record in ranked(records, config):
        figures = kept_figures(record, keep)
        points[record.number] = [
            sign * figures[metric] for sign, metric in zip(signs, config.metrics, strict=True)
        ]
    return [
        number
        for number, point in points.items()
        if not any(
            other != point and all(o <= p for o, p in zip(other, point, strict=True))
            for other in points.values()
        )
    ]


def final_params(record: Record) -> dict[str, Any]:
    """What a trial ended with."""
    return record.changes[-1].params if record.changes else record.params
