"""Running a pipeline on a part of its corpus, to find out what the whole will take."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gestray.artifacts import Artifact, Stage, StageResult, StageRun, open_artifact
from gestray.config import Config
from gestray.corpora.source import Listing, Source, TakeEntry
from gestray.corpora.take import Take
from gestray.store import Folder
from jobs.display import remarks
from jobs.pipeline import Pipeline, check_pipeline, expanded
from jobs.rates import Rates, rates_of
from jobs.rows import actors_wait_for_each_other
from jobs.stages import run_named, stage_named

#: A step is timed in rows of the log; the first row is of the first step, which warms up.
LOG_EVERY = 5


@dataclass(frozen=True)
class Part:
    """A share of a corpus, drawn at random, with some of every split."""

    source: Source
    share: float

    @property
    def root(self) -> str:
        return self.source.root

    def list_takes(self) -> Listing:
        listing = self.source.list_takes()
        by_split: dict[str, list[TakeEntry]] = {}
        for entry in listing.entries:
            by_split.setdefault(entry.split, []).append(entry)
        rng = np.random.default_rng(0)
        chosen: set[str] = set()
        for entries in by_split.values():
            count = math.ceil(self.share * len(entries))
            chosen |= {entries[i].take_id for i in rng.permutation(len(entries))[:count]}
        kept = tuple(entry for entry in listing.entries if entry.take_id in chosen)
        return Listing(kept, remarks=listing.remarks)

    def read_take(self, entry: TakeEntry) -> Take:
        return self.source.read_take(entry)

    def remark(self, take: Take) -> str | None:
        return self.source.remark(take)


def calibrate(pipeline: Pipeline, store: Folder, share: float, steps: int) -> Rates:
    """Run every stage on a share of the corpus, trainings for a few steps, and take its time.

    Args:
        pipeline: its first stages make or read a corpus.
        store: gets the artifacts. Those of a part are good for nothing else: not that of results.
        share: of the corpus, in (0, 1].
        steps: of every training.
    """
    configs = check_pipeline(pipeline)
    made: dict[str, Artifact] = {}
    real = share
    for stage in expanded(pipeline):
        inputs = {
            role: made[name] if name in made else open_artifact(Folder(name))
            for role, name in stage.inputs.items()
        }
        whole, config = stage_named(stage.stage), configs[stage.name]
        if whole.name == "corpus.synth":
            config, real = _fewer_takes(config, share)
        elif whole.makes == "takes" and "corpus" not in inputs:
            whole, real = _part_of(whole, config, share)
        else:
            config = _fewer_steps(config, steps)
        # Of little work the first actor would do all while others still start, and what that takes
        # would be missing from the stage's start.
        with actors_wait_for_each_other():
            made[stage.name] = run_named(whole, store, stage.name, config, inputs).artifact
    rates = rates_of(list(made.values()), real)
    remarks.print(f"measured on {rates.hours:.2f} of {rates.corpus_hours:.2f} hours")
    return rates


def _fewer_takes(config: Any, share: float) -> tuple[Config, float]:
    """Of the synthetic corpus, whose splits come in every ten takes; and the share they are."""
    takes = min(config.takes, max(10, round(share * config.takes)))
    return config.model_copy(update={"takes": takes}), takes / config.takes


def _part_of(stage: Stage[Any], config: Config, share: float) -> tuple[Stage[Any], float]:
    """A stage that ingests a share of its corpus; and the share that it is, of takes."""
    from jobs.ingest import ingest, source_of

    whole = source_of(config)
    part = Part(whole, share)
    count = len(part.list_takes().entries)

    def run(stage_run: StageRun[Any]) -> StageResult:
        return ingest(part, stage_run)

    return replace(stage, run=run), count / max(1, len(whole.list_takes().entries))


def _fewer_steps(config: Any, steps: int) -> Config:
    """A training with a few steps, a row of the log every few; others as they are."""
    loop = getattr(config, "loop", None)
    if loop is None:
        return config
    fewer = {"steps": min(loop.steps, steps), "log_every": LOG_EVERY, "patience": None, "track": ()}
    return config.model_copy(update={"loop": loop.model_copy(update=fewer)})
