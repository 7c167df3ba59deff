"""Fréchet gesture distance (Yoon et al. 2020): how far generated motion as a whole is from real.

Motion goes through an autoencoder trained on recorded motion; its latent frames, pooled over
all clips, are taken for a Gaussian on either side, and the distance is that of two Gaussians.
The autoencoder must be that of the corpus: a figure compares with those of the same one only.

Shapes: B clips, T frames, K latent frames (T / 4), D latent width.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from gestray.config import Config
from gestray.motion.rotations import axis_angle_to_matrix, matrix_to_sixd
from gestray.store import Folder
from gestray.training.checkpoint import load_pretrained
from gestray.training.config import LoopConfig
from gestray.training.distributed import mean_and_spread
from gestray.training.task import Batch
from gestray.views.frames import stack_frames
from gestray.views.windows import WindowConfig, Windows

FRAMES_PER_LATENT = 4

_SIXD = 330
# Batches that mean and spread are measured on.
_STARTS_FROM = 8


class MotionAutoencoderConfig(Config):
    """Args:
    width: channels of the convolutions.
    dim: D.
    """

    width: int = Field(160, ge=8)
    dim: int = Field(64, ge=2)


class AutoencoderLoop(LoopConfig):
    """A loop whose usual length and rate are those of the autoencoder."""

    steps: int = Field(400, ge=1)
    learning_rate: float = Field(1e-3, gt=0)


class MotionAutoencoderTraining(Config):
    """Everything that training the autoencoder needs."""

    model: MotionAutoencoderConfig = MotionAutoencoderConfig()
    windows: WindowConfig = WindowConfig(random=0)
    loop: AutoencoderLoop = AutoencoderLoop()


class MotionAutoencoder(nn.Module):
    """6D rotations of all 55 joints to latent frames and back, by convolutions.

    Their mean over the corpus is taken off and their spread divided by: joints hardly turn from
    their mean, and an autoencoder of rotations as they are learns that mean and nothing else.
    """

    def __init__(self, config: MotionAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        width, joints = config.width, _SIXD
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.zeros(joints))
        self.register_buffer("spread", torch.ones(joints))
        self.encoder = nn.Sequential(
            nn.Conv1d(joints, width, 3, padding=1), nn.SiLU(),
            nn.Conv1d(width, width, 4, stride=2, padding=1), nn.SiLU(),
            nn.Conv1d(width, width, 4, stride=2, padding=1), nn.SiLU(),
            nn.Conv1d(width, config.dim, 3, padding=1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv1d(config.dim, width, 3, padding=1), nn.SiLU(),
            nn.ConvTranspose1d(width, width, 4, stride=2, padding=1), nn.SiLU(),
            nn.ConvTranspose1d(width, width, 4, stride=2, padding=1), nn.SiLU(),
            nn.Conv1d(width, joints, 3, padding=1),
        )  # fmt: skip

    def forward(self, poses: Tensor) -> tuple[Tensor, Tensor]:
        """Of axis-angle poses (B, T, 165), what is learnt and what is rebuilt of it (B, T, 330)."""
        recorded = self._features(poses)
        return recorded, self.decoder(self.encoder(recorded.transpose(1, 2))).transpose(1, 2)

    @torch.no_grad()
    def start(self, poses: Tensor) -> None:
        """Measure mean and spread on poses (B, T, 165) of every rank."""
        mean, spread = mean_and_spread([_sixd(poses).flatten(0, 1)])
        self.mean.copy_(mean)
        self.spread.copy_(spread)

    def _features(self, poses: Tensor) -> Tensor:
        return (_sixd(poses) - self.mean) / self.spread

    @torch.inference_mode()
    def latents(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Latent frames (N, D) of clips of poses (T, 165), float64; less than a frame's rest
        is left out."""
        found = []
        for clip in clips:
            whole = len(clip) // FRAMES_PER_LATENT * FRAMES_PER_LATENT
            features = self._features(torch.from_numpy(np.array(clip[None, :whole], np.float32)))
            found.append(self.encoder(features.transpose(1, 2))[0].T.numpy())
        return np.concatenate(found).astype(np.float64)

    @classmethod
    def from_folder(cls, folder: Folder) -> MotionAutoencoder:
        """Load a trained one, in evaluation mode on the CPU."""
        return load_pretrained(folder, cls, MotionAutoencoderConfig)


def _sixd(poses: Tensor) -> Tensor:
    return matrix_to_sixd(axis_angle_to_matrix(poses.unflatten(-1, (-1, 3)))).flatten(-2)


@dataclass(frozen=True)
class MotionAutoencoderTask:
    """`gestray.training.task.Task` of the autoencoder."""

    config: MotionAutoencoderTraining

    def view(self, split: str = "train") -> Windows:
        return Windows(self.config.windows, split)

    def build(self) -> nn.Module:
        return MotionAutoencoder(self.config.model)

    def start(self, model: nn.Module, batches: Iterator[Batch]) -> None:
        """The weights start at random; what motion looks like is measured."""
        assert isinstance(model, MotionAutoencoder)
        first = itertools.islice(batches, _STARTS_FROM)
        model.start(torch.cat([batch["poses"] for batch in first]))

    def compiled(self, model: nn.Module) -> Iterator[nn.Module]:
        yield from model.children()

    def collate(self, rows: pa.Table) -> Batch:
        return {"poses": torch.from_numpy(stack_frames(rows["poses"], self.config.windows.frames))}

    def loss(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        recorded, rebuilt = model(batch["poses"])
        parts = {
            "rotation": functional.l1_loss(rebuilt, recorded),
            "velocity": functional.l1_loss(rebuilt.diff(dim=1), recorded.diff(dim=1)),
        }
        return parts["rotation"] + parts["velocity"], parts


class Moments(NamedTuple):
    """What a Gaussian is estimated from: of a union of sets of vectors, moments add up.

    Attributes:
        number: of vectors (…), at least 2 where a Gaussian is asked for.
        sum: of the vectors (…, D).
        outer: sum of their outer products (…, D, D).
    """

    number: np.ndarray
    sum: np.ndarray
    outer: np.ndarray

    @classmethod
    def of(cls, sets: Sequence[np.ndarray]) -> Moments:
        """One row for each of S sets of vectors (N, D)."""
        number = np.array([len(x) for x in sets], float)
        return cls(number, np.stack([x.sum(0) for x in sets]), np.stack([x.T @ x for x in sets]))

    def drawn(self, times_RS: np.ndarray) -> Moments:
        """Those of R unions, which hold each of the S sets so many times."""
        size = self.sum.shape[-1]
        outer = times_RS @ self.outer.reshape(-1, size * size)
        return Moments(times_RS @ self.number, times_RS @ self.sum, outer.reshape(-1, size, size))

    def gaussian(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (…, D) and covariance (…, D, D)."""
        mean = self.sum / self.number[..., None]
        centred = self.outer - self.sum[..., :, None] * mean[..., None, :]
        return mean, centred / (self.number - 1)[..., None, None]


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Between the Gaussians of two sets of vectors (N, D) and (M, D), N and M at least 2."""
    means = [np.mean(x, axis=0) for x in (one, other)]
    spreads = [np.atleast_2d(np.cov(x, rowvar=False)) for x in (one, other)]
    return float(_distance(means[0], _root(spreads[0]), spreads[0], means[1], spreads[1]))


def frechet_distances(one: Moments, other: Moments) -> np.ndarray:
    """Of many pairs at once (…)."""
    (mean, spread), theirs = one.gaussian(), other.gaussian()
    return _distance(mean, _root(spread), spread, *theirs)


def _root(spread: np.ndarray) -> np.ndarray:
    """Symmetric square root of covariances (…, D, D)."""
    values, vectors = np.linalg.eigh(spread)
    return (vectors * np.sqrt(np.maximum(values, 0))[..., None, :]) @ vectors.swapaxes(-1, -2)


def _distance(
    mean: np.ndarray,
    root: np.ndarray,
    spread: np.ndarray,
    other_mean: np.ndarray,
    other_spread: np.ndarray,
) -> np.ndarray:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) (Dowson and Landau 1982), never below 0.

    The trace of the root is taken of √Σ₁ Σ₂ √Σ₁, which has the same eigenvalues and is
    symmetric, so that no complex numbers and no iteration come in.
    """
    shared = np.linalg.eigvalsh(root @ other_spread @ root)
    apart = np.square(mean - other_mean).sum(-1)
    traces = np.trace(spread + other_spread, axis1=-2, axis2=-1)
    return np.maximum(0.0, apart + traces - 2 * np.sqrt(np.maximum(shared, 0)).sum(-1))
