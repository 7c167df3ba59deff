"""Ingest and an epoch of training on a cluster of its own with a small object store.

Run by test_memory as a process by itself. Prints one JSON object: bytes of the
corpus, of the object store, spilled by each stage, and peak memory.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import soundfile
import torch
from torch import Tensor, nn

import jobs.cluster
from gestray.store import Folder
from gestray.training.config import ComputeConfig, LoopConfig
from gestray.training.loop import training_data
from gestray.training.on_ray import train_on_ray
from gestray.views.frames import stack_frames
from gestray.views.windows import WindowConfig, Windows
from jobs.ingest import IngestConfig
from jobs.stages import run_named

OBJECT_STORE_BYTES = 100 << 20
TAKES, SECONDS = 110, 64
BATCH = 64


@dataclass(frozen=True)
class MeanPose:
    """A task of three hundred numbers: what is measured is the stream, not the model."""

    def view(self, split: str = "train") -> Windows:
        return Windows(WindowConfig(), split)

    def build(self) -> nn.Module:
        return nn.Linear(165, 1)

    def start(self, model, batches):
        pass

    def compiled(self, model: nn.Module) -> list[nn.Module]:
        return []

    def collate(self, rows: pa.Table) -> dict[str, Tensor]:
        return {"poses": torch.from_numpy(stack_frames(rows["poses"], 64))}

    def loss(self, model: nn.Module, batch: Any, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return model(batch["poses"]).square().mean(), {}


def write_corpus(root: Path) -> int:
    """Smooth random motion and noise in BEAT2's layout; returns its bytes as takes hold it."""
    random = np.random.default_rng(0)
    for folder in ("smplxflame_30", "wave16k"):
        (root / folder).mkdir(parents=True)
    seconds = np.arange(SECONDS * 30)[:, None] / 30
    for number in range(TAKES):
        phase = random.uniform(0, 6, 268)
        values = 0.2 * np.sin(random.uniform(0.2, 6, 268) * seconds + phase)
        np.savez(
            root / "smplxflame_30" / f"take-{number}.npz",
            poses=values[:, :165].astype(np.float32),
            trans=values[:, 165:168],
            expressions=values[:, 168:],
        )
        noise = random.normal(0, 0.1, SECONDS * 16_000)
        soundfile.write(root / "wave16k" / f"take-{number}.wav", noise, 16_000, subtype="PCM_16")
    ids = "".join(f"take-{number},train\n" for number in range(TAKES))
    (root / "train_test_split.csv").write_text(f"id,type\n{ids}")
    return TAKES * SECONDS * (30 * 4 * 268 + 2 * 16_000)


def spilled_bytes() -> int:
    import ray
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    state = get_state_from_address(ray.get_runtime_context().gcs_address)
    return get_memory_info_reply(state).store_stats.spilled_bytes_total


class PeakMemory:
    """The most memory this process and any one below it held, shared memory left out."""

    def __init__(self) -> None:
        self.driver = self.worker = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(0.1):
            self.driver = max(self.driver, _private_bytes(me))
            self.worker = max(self.worker, *map(_private_bytes, me.children(recursive=True)), 0)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _private_bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0
    return memory.rss - memory.shared


def main(folder: Path) -> None:
    jobs.cluster.OBJECT_STORE_BYTES = OBJECT_STORE_BYTES
    jobs.cluster.LOGICAL_CPUS = 4
    corpus_bytes = write_corpus(folder / "corpus")
    jobs.cluster.connect()
    with PeakMemory() as peak:
        started = time.monotonic()
        config = IngestConfig(source=str(folder / "corpus"), shard_mb=128)
        store = Folder(str(folder / "store"))
        report = run_named("ingest.beat2", store, "takes", config, {})
        ingest_s, ingest_spilled = time.monotonic() - started, spilled_bytes()
        task, takes = MeanPose(), report.artifact.folder
        loop = LoopConfig(
            steps=1, batch_size=BATCH, log_every=100, compute=ComputeConfig(workers=1)
        )
        windows = sum(training_data(task, loop, takes).stream.plan.counts)
        loop = loop.model_copy(update={"steps": -(-windows // BATCH), "checkpoint_every": 10**6})
        started = time.monotonic()
        log = train_on_ray(task, loop, takes, store.child("training"), lambda row: None)
    found = {
        "corpus_bytes": corpus_bytes,
        "object_store_bytes": OBJECT_STORE_BYTES,
        "takes": report.artifact.manifest.rows_out,
        "windows": windows,
        "steps": log[-1]["step"],
        "ingest_s": ingest_s,
        "epoch_s": time.monotonic() - started,
        "ingest_spilled_bytes": ingest_spilled,
        "epoch_spilled_bytes": spilled_bytes() - ingest_spilled,
        "driver_bytes": peak.driver,
        "worker_bytes": peak.worker,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
