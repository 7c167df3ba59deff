"""Windows a second in training: the tokenizer against a convolutional RVQ-VAE of equal width.

    python benchmarks/tokenizer.py --json

The other is the shape that SemTalk and MoMask publish, on the same quantizer library: it
convolves at the rate of the frames, halves it twice, and mirrors that in the decoder. Both
have two streams (body, hands), width 256, depth 3, dilations by 3, six quantizers of
256 × 256 codes, the same losses, the same batches of 64 windows of 64 frames, AdamW, one
thread. Seconds are those of the CPU, which other work on the machine hardly changes.

`also` has how well both rebuild windows of takes of a synthetic corpus that neither has seen:
ours after the same steps, after the same time, and when it first rebuilds both wrists and
fingers as well as the other does in the end, its start from data included in all times; and
our step against the other's with its losses through the skinned mesh, as the field's trainer
has them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import torch
from side_by_side import Comparison, alternate, main
from smplx_standin import write_standin
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ

from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.synthetic import write_corpus
from gestray.metrics.reconstruction import gesture_errors
from gestray.motion.rotations import matrix_to_axis_angle
from gestray.motion.smplx_body import SmplxModel
from gestray.tokenizers.config import TokenizerTraining, preset
from gestray.tokenizers.model import MotionTokenizer
from gestray.tokenizers.parts import PARTS, Frames, Part, PartFrames
from gestray.tokenizers.task import (
    START_WINDOWS,
    TokenizerTask,
    reconstruction_losses,
    weighted_sum,
)
from gestray.training.task import Batch
from gestray.views.catalog import TakeRef

BATCH = 64
TAKES = 24
WARMUP_STEPS = 20
QUALITY_STEPS = 80
QUALITY_BATCH = 32
QUALITY_EVERY = 5
# The mesh of a full batch would take tens of gigabytes; its cost is in proportion to frames.
MESH_WINDOWS = 2


class ConvolutionalStream(nn.Module):
    """The published shape: 4× down in time by strided convolutions, and up again."""

    def __init__(self, part: Part, width: int, depth: int, quantizers: int, size: int) -> None:
        super().__init__()
        self.part = part
        down: list[nn.Module] = [nn.Conv1d(part.channels, width, 3, padding=1), nn.ReLU()]
        for _ in range(2):
            down += [nn.Conv1d(width, width, 4, stride=2, padding=1), _resnet(width, depth)]
        self.encoder = nn.Sequential(*down, nn.Conv1d(width, width, 3, padding=1))
        self.quantizer = ResidualVQ(
            dim=width, num_quantizers=quantizers, codebook_size=size, decay=0.99,
            kmeans_init=True, threshold_ema_dead_code=1, quantize_dropout=True,
        )  # fmt: skip
        up: list[nn.Module] = [nn.Conv1d(width, width, 3, padding=1), nn.ReLU()]
        for _ in range(2):
            up += [_resnet(width, depth), nn.Upsample(scale_factor=2)]
            up += [nn.Conv1d(width, width, 3, padding=1)]
        up += [nn.Conv1d(width, width, 3, padding=1), nn.ReLU()]
        self.decoder = nn.Sequential(*up, nn.Conv1d(width, part.channels, 3, padding=1))

    def forward(self, recorded: Frames, step: int) -> tuple[PartFrames, Tensor, Tensor]:
        self.quantizer.quantize_dropout = step % 5 == 4  # every level starts in the first step
        latent = self.encoder(self.part.features(recorded).transpose(1, 2)).transpose(1, 2)
        quantized, codes, losses = self.quantizer(latent)
        features = self.decoder(quantized.transpose(1, 2)).transpose(1, 2)
        return self.part.frames(features), codes, losses.sum()


def _resnet(width: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*[_Residual(width, 3**level) for level in reversed(range(depth))])


class _Residual(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def convolutional(training: TokenizerTraining) -> MotionTokenizer:
    """A tokenizer with the published streams in place of ours."""
    config = training.model
    model = MotionTokenizer(config)
    sizes = (config.width, config.depth, config.quantizers, config.codebook_size)
    model.streams = nn.ModuleDict(
        {part: ConvolutionalStream(PARTS[part], *sizes) for part in config.parts}
    )
    return model


class Trainer:
    """A model, its optimiser and its loss; `step` is one step of training."""

    def __init__(self, model: MotionTokenizer, training: TokenizerTraining, rate: float) -> None:
        self.model, self.training, self.rate, self.steps = model.train(), training, rate, 0
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99))

    def loss(self, batch: Batch) -> Tensor:
        rebuilt = self.model(**batch, step=self.steps)
        losses = reconstruction_losses(rebuilt, self.training.model.parts)
        return weighted_sum(losses, self.training.losses)

    def step(self, batch: Batch) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * min(1.0, (self.steps + 1) / WARMUP_STEPS)
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(batch).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1


class MeshTrainer(Trainer):
    """The same model with positions, velocities and accelerations of the mesh's vertices."""

    def __init__(self, *arguments, body: SmplxModel) -> None:
        super().__init__(*arguments)
        self.body = body

    def loss(self, batch: Batch) -> Tensor:
        rebuilt = self.model(**batch, step=self.steps)
        poses = matrix_to_axis_angle(rebuilt.frames.rotations).flatten(-2)
        with torch.no_grad():
            goal = self._vertices(batch["poses"])
        difference = self._vertices(poses) - goal
        velocity = difference.diff(dim=1)
        losses = reconstruction_losses(rebuilt, self.training.model.parts)
        through_mesh = [x.abs().mean() for x in (difference, velocity, velocity.diff(dim=1))]
        return losses["rotation"] + losses["commitment"] + torch.stack(through_mesh).sum()

    def _vertices(self, poses: Tensor) -> Tensor:
        frames = poses.flatten(0, 1)
        still = torch.zeros(len(frames), 3)
        return self.body.vertices(frames, still, torch.zeros(16)).unflatten(0, poses.shape[:2])


def measure(runs: int) -> Comparison:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    training = preset("sma", "paper")
    with tempfile.TemporaryDirectory() as folder:
        train, unseen = _windows(Path(folder), training)
        body = SmplxModel.load(write_standin(Path(folder)))
    rate = training.loop.learning_rate
    ours = Trainer(MotionTokenizer(training.model), training, rate)
    other = Trainer(convolutional(training), training, rate)
    mesh = MeshTrainer(convolutional(training), training, rate, body=body)
    batch = {"poses": train[:BATCH]}
    few = {"poses": train[:MESH_WINDOWS]}
    ours.model.start([batch])
    ours.step(batch)
    other.step(batch)
    mesh.step(few)
    ways: dict[str, Callable[[], float]] = {
        "ours": lambda: _rate(ours, batch, 3),
        "convolutional": lambda: _rate(other, batch, 1),
        "through the mesh": lambda: _rate(mesh, few, 1),
    }
    medians = alternate(ways, runs)
    also = {
        "parameters": _millions(ours), "other_parameters": _millions(other),
        "mesh_windows_per_s": medians["through the mesh"],
        "ratio_to_mesh": medians["ours"] / medians["through the mesh"],
        "threads": torch.get_num_threads(),
        "corpus": "synthetic",
        **_quality(training, train, unseen),
    }  # fmt: skip
    return Comparison(medians["ours"], medians["convolutional"], "windows/s", runs, also)


def _rate(trainer: Trainer, batch: Batch, steps: int) -> float:
    started = time.process_time()
    for _ in range(steps):
        trainer.step(batch)
    return steps * len(batch["poses"]) / (time.process_time() - started)


def _millions(trainer: Trainer) -> str:
    return f"{sum(p.numel() for p in trainer.model.parameters()) / 1e6:.1f} M"


def _quality(training: TokenizerTraining, train: Tensor, unseen: Tensor) -> dict[str, object]:
    """Errors of both on unseen windows, by steps and by seconds of training."""
    other = Trainer(convolutional(training), training, training.loop.learning_rate)
    seconds = sum(
        _timed(lambda: other.step(_batch(train, other.steps))) for _ in range(QUALITY_STEPS)
    )
    goal = _errors(other.model, unseen)

    ours = Trainer(MotionTokenizer(training.model), training, training.loop.learning_rate)
    start = [{"poses": windows} for windows in train[:START_WINDOWS].split(QUALITY_BATCH)]
    spent = _timed(lambda: ours.model.start(start))
    errors = _errors(ours.model, unseen)
    found: dict[str, object] = {}
    while len(found) < 3 and ours.steps < 10 * QUALITY_STEPS:
        state = {"steps": ours.steps, "seconds": spent, **errors}
        if all(errors[name] <= goal[name] for name in goal):
            found.setdefault("ours_at_equal_reconstruction", state)
        if ours.steps == QUALITY_STEPS:
            found["ours_at_equal_steps"] = state
        if spent >= seconds:
            found.setdefault("ours_at_equal_time", state)
        for _ in range(QUALITY_EVERY):
            spent += _timed(lambda: ours.step(_batch(train, ours.steps)))
        errors = _errors(ours.model, unseen)
    return {"convolutional": {"steps": QUALITY_STEPS, "seconds": seconds, **goal}, **found}


def _batch(windows: Tensor, step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    return {"poses": windows[torch.randint(len(windows), (QUALITY_BATCH,), generator=generator)]}


def _timed(act: Callable[[], object]) -> float:
    started = time.process_time()
    act()
    return time.process_time() - started


@torch.no_grad()
def _errors(model: MotionTokenizer, unseen: Tensor) -> dict[str, float]:
    rotations = model.eval()(unseen).frames.rotations
    model.train()
    rebuilt = matrix_to_axis_angle(rotations).flatten(-2)
    return gesture_errors(unseen.flatten(0, 1), rebuilt.flatten(0, 1))


def _windows(folder: Path, training: TokenizerTraining) -> tuple[Tensor, Tensor]:
    """Windows of a synthetic corpus, (N, 64, 165), of takes to train on and of others."""
    write_corpus(folder / "corpus", takes=TAKES, seed=0)
    view = TokenizerTask(training).view()
    found: list[Tensor] = []
    for take_id in list_takes(folder / "corpus").take_ids:
        take = read_take(folder / "corpus", take_id)
        frames = take.num_frames
        ref = TakeRef("", 0, take_id, None, "train", frames, take.duration_s, None)
        rows = view.cut(ref, take.to_table(), range(view.count(ref)))
        found.append(TokenizerTask(training).collate(pa.table(rows))["poses"])
    return torch.cat(found[: TAKES * 3 // 4]), torch.cat(found[TAKES * 3 // 4 :])[::4]


if __name__ == "__main__":
    main("tokenizer", __doc__.splitlines()[0], measure)
