"""Samples a second of TMR's training: gestray on Ray Train against a plain loop of the same model.

    python benchmarks/encoder_training.py --runs 3 --json

The preset `tmr` at the paper's size (variational towers of six layers of 256, a motion decoder,
batches of 32) on the same synthetic corpus, in float32, with AdamW; average and validation are off
in both. Ours reads takes, cuts phrases and trains in two Ray workers of one thread each; its
cluster is started for each measurement, and stopped for the other's. The other is one process with
two threads, which has all phrases in memory as tensors, and encodes no text it has seen before,
as ours does not. What is compared are the steps after the first WARM, in which every text has
come by. `also` has the share of time ours waits for data, and ours beside the middle of the 8 to 10
samples a second of TMR's own code on two cores, which was measured on another day and machine.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from corpus import synthetic_takes
from side_by_side import Comparison, alternate, main

from gestray.encoders.config import EncoderTraining, preset
from gestray.encoders.task import EncoderTask
from gestray.store import Folder
from gestray.training.config import ComputeConfig
from gestray.training.loop import training_data
from gestray.training.on_ray import train_on_ray
from jobs.cluster import connect

BATCH = 32
WARM, STEPS = 14, 40
TAKES, TAKE_S = 48, 45.0
TMR_OWN = 9.0


def measure(runs: int) -> Comparison:
    os.environ["OMP_NUM_THREADS"] = "1"  # of Ray's workers; this process has two, set below
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        takes = synthetic_takes(folder, TAKES, TAKE_S)
        waits: list[float] = []
        ways: dict[str, Callable[[], float]] = {
            "plain": lambda: _plain(takes),
            "ours": lambda: _ours(takes, folder, waits),
        }
        medians = alternate(ways, runs)
    also = {
        "overhead": 1 - medians["ours"] / medians["plain"],
        "wait_share": max(waits),
        "times_tmr_own": medians["ours"] / TMR_OWN,
        "batch_size": BATCH,
        "steps": STEPS,
        "of_them_warm_up": WARM,
        "corpus": f"synthetic, {TAKES} takes of {TAKE_S:g} s",
    }
    return Comparison(medians["ours"], medians["plain"], "samples/s", runs, also)


def _training() -> EncoderTraining:
    training = preset("tmr", "paper")
    changes: dict[str, Any] = {
        "steps": STEPS, "batch_size": BATCH, "ema_decay": None, "validate_every": None,
        "keep": "last", "log_every": 2, "checkpoint_every": STEPS,
        "compute": ComputeConfig(workers=2, device="cpu"),
    }  # fmt: skip
    return training.model_copy(update={"loop": training.loop.model_copy(update=changes)})


def _ours(takes: Folder, folder: Path, waits: list[float]) -> float:
    training = _training()
    connect()
    import ray  # after its settings are made

    try:
        with tempfile.TemporaryDirectory(dir=folder) as target:
            run = Folder(target)
            log = train_on_ray(EncoderTask(training), training.loop, takes, run, lambda row: None)
    finally:
        ray.shutdown()
    # Rows are of equally many steps each, so the time of all is the sum of their times.
    rows = [row for row in log if row["step"] > WARM]
    seconds = [1 / row["samples_per_s"] for row in rows]
    waits.append(float(np.average([row["wait_share"] for row in rows], weights=seconds)))
    return len(rows) / sum(seconds)


def _plain(takes: Folder) -> float:
    """The same as a loop over tensors, as one would write it for one machine."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    training = _training()
    task = EncoderTask(training)
    model = task.build().train()
    parameters = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=1e-4, fused=True)
    stream = training_data(task, training.loop, takes).stream
    # The batches that ours sees, made beforehand.
    made: Iterator[Any] = stream.local_batches(range(training.loop.lanes), 0, STEPS)
    batches = [task.collate(rows) for rows in made]
    began = 0.0
    for step, batch in enumerate(itertools.islice(batches, STEPS)):
        if step == WARM:
            began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        task.loss(model, batch, step)[0].backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    return (STEPS - WARM) * BATCH / (time.perf_counter() - began)


if __name__ == "__main__":
    main("encoder_training", __doc__.splitlines()[0], measure)
