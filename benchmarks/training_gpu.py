"""Samples a second of training on one GPU: bfloat16 and compiled against float32 as it is.

    python benchmarks/training_gpu.py --runs 3 --json

The tokenizer `sma`, the encoder `direct` and the generator `semtalk` train at the papers' sizes, by
the same tasks and the same loop as on a cluster, in this process. The ratio is the tokenizer's.
`also` has of each:

- `samples_per_s` in float32, and in bfloat16 and compiled; read from takes, and `without reading`,
  where the loop is given one batch again and again;
- `batches` of other sizes, compiled and without reading;
- `flops_share`: FLOPs of forward and backward passes over what the card's matrix units did in the
  same run, a product of two bfloat16 matrices of 8192 × 8192;
- `roofline_share`: each operator would take as long as its FLOPs or as its bytes, whichever is
  more, at the rates measured here; their sum over the time of a step;
- `profile`: the kernels that take most of the GPU's time, and the share of it in which it works.

Takes are synthetic, and what is heard is noise. `on Ray` is the tokenizer again, compiled, in a
worker of Ray Train.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from corpus import synthetic_takes
from side_by_side import Comparison, main
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gestray.encoders.config import preset as encoder_preset
from gestray.encoders.task import EncoderTask
from gestray.generators.config import TrainedGenerator
from gestray.generators.config import preset as generator_preset
from gestray.generators.task import GeneratorTask
from gestray.store import Folder
from gestray.tokenizers.config import TokenizerTraining
from gestray.tokenizers.config import preset as tokenizer_preset
from gestray.tokenizers.task import TokenizerTask
from gestray.training.checkpoint import MODEL, save_config, save_model
from gestray.training.config import ComputeConfig, LoopConfig
from gestray.training.loop import Row, Worker, train, train_alone, training_data
from gestray.training.task import Task
from gestray.views.catalog import read_catalog

WARM, STEPS = 30, 80
PROFILED = 10
TAKES, TAKE_S = 32, 40.0
# Batches that are measured, as multiples of the preset's.
TIMES = {"tokenizer": (1, 8, 32), "encoder": (1, 4), "generator": (1, 8)}
WAYS: dict[str, dict[str, bool]] = {
    "float32": {"bf16": False, "compile": False},
    "bfloat16, compiled": {"bf16": True, "compile": True},
}
FASTEST = WAYS["bfloat16, compiled"]
SKIPPED = {"aten.detach.default", "aten.empty.memory_format", "aten.empty_strided.default"}


def measure(runs: int) -> Comparison:
    peak_flops, peak_bytes = _ceilings()
    also: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "bfloat16_tflops": peak_flops / 1e12,
        "memory_tb_per_s": peak_bytes / 1e12,
    }
    with tempfile.TemporaryDirectory() as name:
        takes = synthetic_takes(Path(name), TAKES, TAKE_S, noise=True)
        for what, (make, loop) in _trainings(Path(name), takes).items():
            also[what] = _measured(what, make, loop, takes, runs, peak_flops, peak_bytes)
            print(f"{what}: {also[what]}", file=sys.stderr)
        also["on Ray"] = _on_ray(Path(name), takes)
    found = also["tokenizer"]["samples_per_s"]
    return Comparison(found["bfloat16, compiled"], found["float32"], "windows/s", runs, also)


def _trainings(folder: Path, takes: Folder) -> dict[str, tuple[Callable[[], Task], LoopConfig]]:
    """What makes a task anew, since what a task compiles stays compiled; and how it trains."""
    tokenizer = tokenizer_preset("sma", "paper")
    encoder = encoder_preset("direct", "paper")
    heard = generator_preset("semtalk", "paper")
    codes = _tokenizer(folder / "codes", tokenizer_preset("semtalk", "paper"), takes)
    of_codes = tokenizer_preset("semtalk", "paper").model
    speakers = tuple(sorted({ref.speaker or "" for ref in read_catalog(takes)}))
    trained = TrainedGenerator(generator=heard.model, tokenizer=of_codes, speakers=speakers)
    return {
        "tokenizer": (lambda: TokenizerTask(tokenizer), tokenizer.loop),
        "encoder": (lambda: EncoderTask(encoder), encoder.loop),
        "generator": (lambda: GeneratorTask(heard, trained, codes), heard.loop),
    }


def _tokenizer(folder: Path, training: TokenizerTraining, takes: Folder) -> Folder:
    """One that has seen some steps: how long a generator's step takes, it does not change."""
    folder.mkdir()
    loop = training.loop.model_copy(update={"steps": 20, "validate_every": None, "keep": "last"})
    save_model(folder / MODEL, train_alone(TokenizerTask(training), loop, takes, device="cuda"))
    save_config(training.model, Folder(str(folder)))
    return Folder(str(folder))


def _measured(
    what: str,
    make: Callable[[], Task],
    loop: LoopConfig,
    takes: Folder,
    runs: int,
    peak_flops: float,
    peak_bytes: float,
) -> dict[str, Any]:
    found: dict[str, dict[str, list[dict[str, float]]]] = {"read": {}, "bare": {}}
    for _ in range(runs):
        for name, changes in WAYS.items():
            short = _short(loop, **changes)
            read = _pace(lambda told, c=short: train_alone(make(), c, takes, told, device="cuda"))
            bare = _pace(lambda told, c=short: _again_and_again(make(), c, takes, told))
            found["read"].setdefault(name, []).append(read)
            found["bare"].setdefault(name, []).append(bare)

    def medians(of: str, figure: str) -> dict[str, float]:
        rows = found[of].items()
        return {name: statistics.median(row[figure] for row in values) for name, values in rows}

    batches = {}
    for times in TIMES[what]:
        short = _short(loop, batch_size=times * loop.batch_size, **FASTEST)
        torch.cuda.reset_peak_memory_stats()
        pace = _pace(lambda told, c=short: _again_and_again(make(), c, takes, told))
        memory_gb = torch.cuda.max_memory_allocated() / 1e9
        flops, floor_s = _work(make(), short, takes, peak_flops, peak_bytes)
        step_s = short.batch_size / pace["rate"]
        batches[short.batch_size] = {
            "samples_per_s": pace["rate"],
            "gflops_a_sample": flops / short.batch_size / 1e9,
            "flops_share": flops / step_s / peak_flops,
            "roofline_share": floor_s / step_s,
            "memory_gb": memory_gb,
        }
    return {
        "samples_per_s": medians("read", "rate"),
        "wait_share": medians("read", "wait"),
        "without reading": medians("bare", "rate"),
        "batches": batches,
        "profile": _profile(make(), _short(loop, **FASTEST), takes),
    }


def _short(loop: LoopConfig, **changes: Any) -> LoopConfig:
    usual = {
        "steps": STEPS,
        "validate_every": None,
        "keep": "last",
        "log_every": 10,
        "warmup_steps": 10,
    }
    return loop.model_copy(update={**usual, "checkpoint_every": STEPS, **changes})


def _pace(run: Callable[[Callable[[Row], None]], object]) -> dict[str, float]:
    """Samples a second and share of waiting after the first `WARM` steps; rows wait for the GPU."""
    rows: list[Row] = []
    run(rows.append)
    rows = [row for row in rows if row["step"] > WARM]
    seconds = [1 / row["samples_per_s"] for row in rows]
    waited = sum(row["wait_share"] * s for row, s in zip(rows, seconds, strict=True))
    return {"rate": len(rows) / sum(seconds), "wait": waited / sum(seconds)}


def _again_and_again(
    task: Task, config: LoopConfig, takes: Folder, told: Callable[[Row], None]
) -> None:
    """Train on the first batch alone."""
    data = training_data(task, config, takes)
    lanes = data.stream.plan.lanes_of(0, 1)
    first = next(iter(data.stream.local_batches(lanes, 0, 1)))

    def batches(number: int) -> Iterator[Any]:
        return itertools.repeat(first)

    train(task, config, data, batches, Worker(device="cuda"), told)


def _ceilings() -> tuple[float, float]:
    """FLOPs a second of a bfloat16 matrix product, and bytes a second of a copy, both ways."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    return (
        2 * 8192**3 / _seconds(lambda: a @ b),
        2 * source.numel() / _seconds(lambda: target.copy_(source)),
    )


def _seconds(work: Callable[[], object], times: int = 20) -> float:
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / times


class _Counting(TorchDispatchMode):
    """FLOPs of every operator, and the time it would take at the peaks: its FLOPs or its bytes."""

    def __init__(self, peak_flops: float, peak_bytes: float) -> None:
        super().__init__()
        self.peak_flops, self.peak_bytes = peak_flops, peak_bytes
        self.flops, self.floor_s = 0.0, 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.is_view or str(func) in SKIPPED:
            return out
        counted = flop_registry.get(func.overloadpacket)
        flops = counted(*args, **(kwargs or {}), out_val=out) if counted else 0
        moved = sum(
            t.numel() * t.element_size()
            for t in torch.utils._pytree.tree_leaves((args, kwargs, out))
            if isinstance(t, torch.Tensor) and t.is_cuda
        )
        self.flops += flops
        self.floor_s += max(flops / self.peak_flops, moved / self.peak_bytes)
        return out


def _work(
    task: Task, config: LoopConfig, takes: Folder, peak_flops: float, peak_bytes: float
) -> tuple[float, float]:
    """FLOPs of the loss of a batch and its gradients, and what the operators take at the peaks."""
    data = training_data(task, config, takes)
    lanes = data.stream.plan.lanes_of(0, 1)
    table = next(iter(data.stream.local_batches(lanes, 0, 1)))
    batch = {
        key: value.cuda() if isinstance(value, torch.Tensor) else value
        for key, value in task.collate(table).items()
    }
    model = task.build().cuda().train()
    task.start(model, itertools.repeat(batch))
    with _Counting(peak_flops, peak_bytes) as counting:
        with torch.autocast("cuda", torch.bfloat16):
            loss, _ = task.loss(model, batch, 1)
        loss.backward()
    return counting.flops, counting.floor_s


def _profile(task: Task, config: LoopConfig, takes: Folder) -> dict[str, Any]:
    """Of `PROFILED` steps: the heaviest kernels, how many run, how long the GPU works."""
    from torch.profiler import ProfilerActivity, profile, schedule

    found: dict[str, Any] = {}

    def ready(profiler: Any) -> None:
        kernels: dict[str, list[float]] = {}
        spans = []
        for event in profiler.events():
            is_kernel = not event.name.startswith("ProfilerStep")
            if event.device_type == torch.autograd.DeviceType.CUDA and is_kernel:
                kernels.setdefault(event.name, []).append(event.time_range.elapsed_us())
                spans.append((event.time_range.start, event.time_range.end))
        busy = sum(map(sum, kernels.values()))
        whole = max(end for _, end in spans) - min(start for start, _ in spans)
        heaviest = sorted(kernels.items(), key=lambda item: -sum(item[1]))[:5]
        found["kernels_a_step"] = sum(map(len, kernels.values())) / PROFILED
        found["gpu_works"] = busy / whole
        found["top"] = {
            name[:110]: {"share": sum(us) / busy, "times_a_step": len(us) / PROFILED}
            for name, us in heaviest
        }

    with profile(
        activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA],
        schedule=schedule(wait=WARM - 5, warmup=5, active=PROFILED),
        on_trace_ready=ready,
    ) as profiler:
        short = config.model_copy(update={"log_every": 1, "steps": WARM + PROFILED + 5})
        _again_and_again(task, short, takes, lambda row: profiler.step())
    return found


def _on_ray(folder: Path, takes: Folder) -> dict[str, float]:
    """The compiled tokenizer in one worker of Ray Train."""
    from gestray.training.on_ray import train_on_ray
    from jobs.cluster import connect

    connect()
    training = tokenizer_preset("sma", "paper")
    compute = ComputeConfig(workers=1, device="gpu", readers=2)
    config = _short(training.loop, compute=compute, **FASTEST)
    return _pace(
        lambda told: train_on_ray(
            TokenizerTask(training), config, takes, Folder(str(folder / "ray")), told
        )
    )


if __name__ == "__main__":
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device is seen by torch; this benchmark is about one")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main("training_gpu", __doc__.splitlines()[0], measure)
