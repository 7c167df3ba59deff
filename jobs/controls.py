"""Controls: artifacts that are wrong on purpose, to tell what a method's gain comes from."""

from __future__ import annotations

import numpy as np

from gestray.anchors.anchor import anchor_schema
from gestray.artifacts import Stage, StageResult, StageRun
from gestray.config import Config
from jobs.rows import read_rows, write_rows


class ShuffleConfig(Config):
    """What the stage `anchors.shuffle` does; `seed` chooses who gets whose anchor."""

    seed: int = 0


def _shuffle(run: StageRun[ShuffleConfig]) -> StageResult:
    """Every phrase gets the anchor of another: as many, as good, of the wrong gestures.

    What supervision by anchors still gains with them does not come from what they say.
    """
    rows = read_rows(run.inputs["anchors"].folder)
    order = np.random.default_rng(run.config.seed).permutation(len(rows))
    # Along one cycle through all phrases, so that none keeps its own.
    giver = np.empty(len(rows), np.int64)
    giver[order] = np.roll(order, 1)
    given = rows.take(giver)
    number = rows.column_names.index("phrase_id")
    shuffled = given.set_column(number, "phrase_id", rows["phrase_id"])
    metrics = dict(run.inputs["anchors"].manifest.metrics)
    metrics["grounder"] = f"{metrics['grounder']}, shuffled"
    count = write_rows(run.folder, [shuffled], anchor_schema(), "shuffle anchors", len(rows))
    return StageResult(len(rows), count, 0, metrics)


SHUFFLE = Stage(
    name="anchors.shuffle",
    makes="anchors",
    config_type=ShuffleConfig,
    run=_shuffle,
    needs={"anchors": "anchors"},
)
