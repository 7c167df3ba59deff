"""Samples a second in training: gestray on Ray Train against torchrun and a plain DDP script.

    python benchmarks/training.py --runs 3 --json

Both train the small tokenizer `sma` on the same synthetic corpus in global batches of 64 windows,
two processes over gloo, one thread each, in float32, with the same optimiser. The other has
all windows in memory, cut beforehand; ours cuts them from takes as it goes, in Ray tasks that
share the two cores. Its cluster is started for each measurement, and stopped for the other's.
What is compared are the steps after the first WARM. `also` has the share of time ours waits
for data, and how both scale from one worker to two, with as large a batch for each worker and with
the same batch in all, beside two processes that know nothing of each other, which is what the
machine has to give; and what `loop.by_length` saves of padding.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from corpus import synthetic_takes
from side_by_side import Comparison, alternate, main

from gestray.encoders.config import preset as encoder_preset
from gestray.encoders.task import EncoderTask
from gestray.store import Folder
from gestray.tokenizers.config import preset
from gestray.tokenizers.task import TokenizerTask
from gestray.training.config import ComputeConfig
from gestray.training.loop import training_data
from gestray.training.on_ray import train_on_ray
from gestray.views.batching import BatchPlan
from jobs.cluster import connect

BATCH = 64
WARM, STEPS = 20, 70
TAKES, TAKE_S = 48, 45.0


def measure(runs: int) -> Comparison:
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        takes = synthetic_takes(folder, TAKES, TAKE_S)
        windows = folder / "windows.npy"
        _save_windows(takes, windows)
        waits: list[float] = []
        ways: dict[str, Callable[[], float]] = {
            "ours": lambda: _ours(takes, folder / "ours", 2, BATCH, waits),
            "torchrun": lambda: _torchrun(windows, 2, BATCH),
            "ours with one worker": lambda: _ours(takes, folder / "ours", 1, BATCH, []),
            "torchrun with one process": lambda: _torchrun(windows, 1, BATCH),
            "ours, twice the batch": lambda: _ours(takes, folder / "ours", 2, 2 * BATCH, []),
            "torchrun, twice the batch": lambda: _torchrun(windows, 2, 2 * BATCH),
            "strangers": lambda: _torchrun(windows, 1, BATCH, at_once=2),
        }
        medians = alternate(ways, runs)
        alone, other_alone = medians["ours with one worker"], medians["torchrun with one process"]
        also = {
            "wait_share": max(waits),
            "one_worker_windows_per_s": alone,
            "scaling_1_to_2": medians["ours, twice the batch"] / alone,
            "torchrun_scaling_1_to_2": medians["torchrun, twice the batch"] / other_alone,
            "strangers_scaling_1_to_2": medians["strangers"] / other_alone,
            "scaling_1_to_2_of_the_same_batch": medians["ours"] / alone,
            "torchrun_scaling_1_to_2_of_the_same_batch": medians["torchrun"] / other_alone,
            "padding_of_64_phrases": _padding(takes),
            "steps": STEPS,
            "of_them_warm_up": WARM,
            "corpus": f"synthetic, {TAKES} takes of {TAKE_S:g} s",
        }
    return Comparison(medians["ours"], medians["torchrun"], "windows/s", runs, also)


def _save_windows(takes: Folder, file: Path) -> None:
    """Every training window, (N, 64, 165)."""
    training = preset("sma")
    task = TokenizerTask(training)
    stream = training_data(task, training.loop, takes).stream
    plan = BatchPlan(stream.plan.counts, batch_size=1, lanes=1)
    chunks = replace(stream, plan=plan).local_batches(range(1), 0, sum(plan.counts))
    np.save(file, np.concatenate([task.collate(rows)["poses"].numpy() for rows in chunks]))


def _ours(takes: Folder, folder: Path, workers: int, batch: int, waits: list[float]) -> float:
    training = preset("sma")
    changes = {
        "steps": STEPS,
        "batch_size": batch,
        "checkpoint_every": STEPS,
        "compute": ComputeConfig(workers=workers, device="cpu"),
    }
    config = training.loop.model_copy(update=changes)
    connect()
    import ray  # after its settings are made

    try:
        with tempfile.TemporaryDirectory(dir=folder.parent) as target:
            run = Folder(target)
            log = train_on_ray(TokenizerTask(training), config, takes, run, lambda row: None)
    finally:
        ray.shutdown()
    # Rows are of equally many steps each, so the time of all is the sum of their times.
    rows = [row for row in log if row["step"] > WARM]
    seconds = [1 / row["samples_per_s"] for row in rows]
    waits.append(float(np.average([row["wait_share"] for row in rows], weights=seconds)))
    return len(rows) / sum(seconds)


def _torchrun(windows: Path, processes: int, batch: int, at_once: int = 1) -> float:
    """Windows a second of a plain DDP run, or of several that run side by side, together."""
    script = Path(__file__).with_name("plain_ddp.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", str(script), str(windows)]
    command += map(str, (STEPS, WARM, batch))
    pipe = subprocess.PIPE
    runs = [subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) for _ in range(at_once)]
    said = [run.communicate() for run in runs]
    for run, (_, error) in zip(runs, said, strict=True):
        assert run.returncode == 0, error
    return sum(float(out.split()[-1]) for out, _ in said)


def _padding(takes: Folder) -> dict[str, float]:
    """Share of 30 batches of phrases that is padding, as they come and by length."""
    training = encoder_preset("sma")
    found = {}
    for name, by_length in (("as they come", False), ("by length", True)):
        config = training.loop.model_copy(update={"batch_size": BATCH, "by_length": True})
        plan = training_data(EncoderTask(training), config, takes).stream.plan
        lengths = plan.lengths
        assert lengths is not None
        order = plan if by_length else replace(plan, lengths=None)
        most = training.model.motion.max_frames
        frames = padded = 0
        for step in range(30):
            sizes = [min(lengths[take][number], most) for take, number in order.samples(step, 1)]
            frames += sum(sizes)
            padded += max(sizes) * len(sizes)
        found[name] = 1 - frames / padded
    return found


if __name__ == "__main__":
    main("training", __doc__.splitlines()[0], measure)
