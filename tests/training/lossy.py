"""A training as a process of its own, that says how far it is; for tests that kill things.

    python -m tests.training.lossy SETUP.json

Joins the cluster at `RAY_ADDRESS`, trains, and ends; where `node` names one, from a task there, so
that Ray Train's controller is there, too. Appends each row of the log to `told`; every worker
appends the samples of each batch it sees to a file of its own in `seen`.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from gestray.config import make_config
from gestray.encoders.config import EncoderTraining
from gestray.encoders.config import preset as encoder_preset
from gestray.encoders.task import EncoderTask
from gestray.store import Folder
from gestray.tokenizers.config import TokenizerTraining
from gestray.tokenizers.config import preset as tokenizer_preset
from gestray.tokenizers.task import TokenizerTask
from gestray.training.config import LoopConfig


@dataclass
class Watched:
    """A task that writes down what it is given: a line a batch, with the step and the samples.

    Args:
        inner: the task.
        seen: folder of the lines.
        pause_s: a step takes at least so long, so that there is a middle to kill it in; until
            a file `hurry` lies in `seen`.
    """

    inner: Any
    seen: Path
    pause_s: float = 0.0
    _rows: list[list[str]] = field(default_factory=list)

    def view(self, split: str = "train") -> Any:
        return self.inner.view(split)

    def build(self) -> Any:
        return self.inner.build()

    def start(self, model: Any, batches: Any) -> None:
        self.inner.start(model, batches)

    def compiled(self, model: Any) -> Any:
        return self.inner.compiled(model)

    def collate(self, rows: pa.Table) -> dict[str, Any]:
        import zlib

        batch = self.inner.collate(rows)
        # What a sample is, whatever its view: its motion.
        batch["_seen"] = [f"{zlib.crc32(poses):08x}" for poses in rows["poses"].to_pylist()]
        return batch

    def loss(self, model: Any, batch: dict[str, Any], step: int) -> Any:
        import time

        samples = batch.pop("_seen")
        if model.training:
            line = json.dumps({"step": step, "samples": samples})
            with (self.seen / f"{os.getpid()}.jsonl").open("a") as file:
                file.write(line + "\n")
            if not (self.seen / "hurry").exists():
                time.sleep(self.pause_s)
        return self.inner.loss(model, batch, step)


def make_task(kind: str, loop: dict[str, Any]) -> tuple[Any, LoopConfig]:
    """A tiny tokenizer or encoder and its loop."""
    if kind == "tokenizer":
        tokenizer = tokenizer_preset("sma")
        small = {"width": 32, "code_dim": 16, "codebook_size": 32, "quantizers": 2}
        values = tokenizer.model_dump() | {"model": tokenizer.model.model_dump() | small}
        config: Any = make_config(TokenizerTraining, values | {"loop": loop})
        return TokenizerTask(config), config.loop
    encoder = encoder_preset("direct")
    values = encoder.model_dump()
    values["model"]["motion"] |= {"width": 32, "layers": 1}
    values["model"]["dim"] = 32
    config = make_config(EncoderTraining, values | {"loop": loop})
    return EncoderTask(config), config.loop


def train(setup: dict[str, Any]) -> None:
    """Train from this process."""
    from gestray.training.on_ray import train_on_ray

    os.environ.update(setup["environment"])
    inner, loop = make_task(setup["kind"], setup["loop"])
    task = Watched(inner, Path(setup["seen"]), setup["pause_s"])

    def say(row: dict[str, Any]) -> None:
        with Path(setup["told"]).open("a") as file:
            file.write(json.dumps({"step": row["step"], "loss": row["loss"]}) + "\n")

    train_on_ray(task, loop, Folder(setup["takes"]), Folder(setup["target"]), say)


def main(setup: dict[str, Any]) -> None:
    from jobs.cluster import connect

    connect()
    if setup["node"] is None:
        train(setup)
        return
    import ray

    there = ray.remote(num_cpus=0, max_retries=0, label_selector={"gestray-node": setup["node"]})
    ray.get(there(train).remote(setup))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
