"""Windows a second: our stream against reading files again for every window.

    python benchmarks/ingest.py --json

Ours is the way training takes: Ray Data tasks read takes from shards and cut the
windows, and a rank, an actor as Ray Train's are, makes torch batches of what
arrives. The other is how the field's data sets work: `__getitem__` opens the
take's npz and wav, cuts a window out of each and closes them again; a torch
`DataLoader` with one process reads. Both shuffle, with global batches of 64
windows of 64 frames, one thread a process. Rates are steady ones; ours starts
later, which `first_batch_s` states for a long run.

`two_workers_to_one` gives each worker one core: one rank, its reader and all of
Ray's processes on one core, against two of each on two. `ours` is one rank that
has both cores.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile
import torch
from side_by_side import Comparison, alternate, main

from gestray.store import Folder
from gestray.views.batching import BatchPlan
from gestray.views.catalog import read_catalog
from gestray.views.frames import stack_frames
from gestray.views.stream import SampleStream
from gestray.views.windows import WindowConfig, Windows
from jobs.cluster import connect
from jobs.ingest import IngestConfig
from jobs.stages import run_named

TAKES = 48
SECONDS = 64  # as long as recordings of BEAT2 are
FRAMES, STRIDE = 64, 20
BATCH = 64
OUR_STEPS, WARM_STEPS, FIELD_STEPS = 700, 200, 8
LONG_RUN_STEPS = 10_000


class FieldDataset(torch.utils.data.Dataset):
    """Opens the recording of every window anew, as public data sets of the field do."""

    def __init__(self, corpus: Path, with_audio: bool) -> None:
        self.with_audio = with_audio
        self.windows = [
            (path, corpus / "wave16k" / f"{path.stem}.wav", start)
            for path in sorted((corpus / "smplxflame_30").glob("*.npz"))
            for start in range(0, SECONDS * 30 - FRAMES + 1, STRIDE)
        ]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        npz, wav, start = self.windows[index]
        stop = start + FRAMES
        with np.load(npz) as arrays:
            poses, trans, expressions = (arrays[k] for k in ("poses", "trans", "expressions"))
        window = tuple(
            values[start:stop].astype(np.float32) for values in (poses, trans, expressions)
        )
        if not self.with_audio:
            return window
        audio, rate = soundfile.read(wav, dtype="float32")
        first = start * rate // 30
        return *window, audio[first : first + FRAMES * rate // 30]


def field_rate(dataset: FieldDataset) -> float:
    """Windows a second of the field's way."""
    loader = torch.utils.data.DataLoader(dataset, BATCH, shuffle=True, num_workers=1)
    batches = iter(loader)
    next(batches)  # starts the clock
    started = time.perf_counter()
    for _ in range(FIELD_STEPS - 1):
        next(batches)
    return BATCH * (FIELD_STEPS - 1) / (time.perf_counter() - started)


class Rank:
    """One worker of a training that does nothing but make batches."""

    def arrivals(self, stream: SampleStream, rank: int, workers: int) -> list[float]:
        """When each batch was there, by the machine's clock."""
        torch.set_num_threads(1)
        tables = stream.ray_batches(stream.plan.lanes_of(rank, workers), 0, OUR_STEPS)
        times = []
        for table in tables:
            torch.from_numpy(stack_frames(table["poses"], FRAMES))
            times.append(time.monotonic())
        return times


def our_rate(stream: SampleStream, workers: int, cores: Collection[int]) -> float:
    """Windows a second of all workers together, while each of them was at work."""
    import ray

    ranks: list[Any] = [ray.remote(num_cpus=1)(Rank).remote() for _ in range(workers)]
    try:
        ray.get([rank.__ray_ready__.remote() for rank in ranks])
        run_on(cores)
        asked = [rank.arrivals.remote(stream, number, workers) for number, rank in enumerate(ranks)]
        times = np.array(ray.get(asked))
    finally:
        run_on(range(os.cpu_count() or 1))
        for rank in ranks:
            ray.kill(rank)
    began, ended = times[:, WARM_STEPS].max(), times[:, -1].min()
    batches = ((times > began) & (times <= ended)).sum()
    return float(batches * BATCH / workers / (ended - began))


def run_on(cores: Collection[int]) -> None:
    """Keep this process and the cluster below it to some cores, what they start included."""
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        try:
            for thread in process.threads():
                os.sched_setaffinity(thread.id, cores)
        except (psutil.Error, ProcessLookupError):
            continue  # ended meanwhile


def first_batch_s(stream: SampleStream) -> float:
    """Seconds until the first batch of a long run."""
    started = time.perf_counter()
    next(stream.ray_batches(range(stream.plan.lanes), 0, LONG_RUN_STEPS))
    return time.perf_counter() - started


def write_recordings(root: Path) -> None:
    """Smooth random motion and noise in BEAT2's layout, made quickly."""
    random = np.random.default_rng(0)
    seconds = np.arange(SECONDS * 30)[:, None] / 30
    for folder in ("smplxflame_30", "wave16k"):
        (root / folder).mkdir(parents=True)

    def smooth(width: int) -> np.ndarray:
        waves = zip(random.uniform(0.02, 0.2, (4, width)), random.uniform(0.1, 3, 4), strict=True)
        return sum(a * np.sin(2 * np.pi * f * seconds + 9 * a) for a, f in waves)

    for number in range(TAKES):
        take_id = f"{number % 8 + 1}_nobody_0_{number}_{number}"
        np.savez(
            root / "smplxflame_30" / f"{take_id}.npz",
            poses=smooth(165).astype(np.float32),
            trans=smooth(3),
            expressions=smooth(100),
            betas=np.zeros(300, np.float32),
            mocap_frame_rate=np.array(30),
        )
        noise = random.normal(0, 0.1, 16_000 * SECONDS)
        soundfile.write(root / "wave16k" / f"{take_id}.wav", noise, 16_000, subtype="PCM_16")
    ids = "".join(f"{path.stem},train\n" for path in (root / "smplxflame_30").iterdir())
    (root / "train_test_split.csv").write_text(f"id,type\n{ids}")


def measure(runs: int) -> Comparison:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="gestray-benchmark-") as folder:
        corpus, store = Path(folder) / "corpus", Folder(f"{folder}/store")
        write_recordings(corpus)
        connect()
        config = IngestConfig(source=str(corpus))
        takes = run_named("ingest.beat2", store, "takes", config, {}).artifact.folder
        view = Windows(WindowConfig(), "train")
        catalog = tuple(read_catalog(takes))
        plan = BatchPlan(tuple(view.count(ref) for ref in catalog), BATCH)
        stream = SampleStream(takes, catalog, view, plan)
        first = first_batch_s(stream)  # in a cluster that has not read yet
        ways: dict[str, Callable[[], float]] = {
            "field": lambda: field_rate(FieldDataset(corpus, with_audio=True)),
            "ours": lambda: our_rate(stream, 1, (0, 1)),
            "one worker on one core": lambda: our_rate(stream, 1, (0,)),
            "two workers on two cores": lambda: our_rate(stream, 2, (0, 1)),
            "field without audio": lambda: field_rate(FieldDataset(corpus, with_audio=False)),
        }
        found = alternate(ways, runs)
    one, two = found["one worker on one core"], found["two workers on two cores"]
    return Comparison(
        ours=found["ours"],
        other=found["field"],
        unit="windows/s",
        runs=runs,
        also={
            "one_worker_on_one_core_windows_per_s": one,
            "two_workers_on_two_cores_windows_per_s": two,
            "two_workers_to_one": two / one,
            "two_workers_to_one_on_two_cores": two / found["ours"],
            "field_without_audio_windows_per_s": found["field without audio"],
            "ratio_without_audio": found["ours"] / found["field without audio"],
            "first_batch_s": first,
        },
    )


if __name__ == "__main__":
    main("ingest", "windows a second, ours against rereading files", measure)
