"""Windows: fixed numbers of frames, for tokenizers and generators."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pydantic import Field

from gestray.config import Config
from gestray.corpora.splits import spans
from gestray.corpora.take import FPS, motion_from_column
from gestray.views.catalog import TakeRef
from gestray.views.frames import cut_frames

COLUMNS = ("poses",)


class WindowConfig(Config):
    """How takes are cut into windows; the field's usual 64 frames at stride 20 by default.

    Args:
        seconds: length of a window.
        stride_s: from one window to the next, in seconds.
        random: windows begin anywhere within their stride, drawn anew in each epoch, and
            by this seed the same in every run. None: always at its start.
    """

    seconds: float = Field(64 / 30, gt=0)
    stride_s: float = Field(20 / 30, gt=0)
    random: int | None = None

    @property
    def frames(self) -> int:
        return round(self.seconds * FPS)

    @property
    def stride(self) -> int:
        return max(1, round(self.stride_s * FPS))


@dataclass(frozen=True)
class Windows:
    """View of the windows that lie whole inside one split; rows hold `poses` bytes.

    `poses` is float32 (frames, 165) as bytes.
    """

    config: WindowConfig
    split: str

    @property
    def columns(self) -> Sequence[str]:
        return COLUMNS

    def count(self, ref: TakeRef) -> int:
        first, last = self._frames(ref)
        return max(0, (last - first - self.config.frames) // self.config.stride + 1)

    def cut(self, ref: TakeRef, take: pa.Table, samples: Sequence[int]) -> pa.Table:
        poses = motion_from_column(take["poses"])
        assert poses is not None, "a take without motion has no windows"
        starts = self._starts(ref, np.asarray(samples, dtype=np.int64))
        return pa.table({"poses": cut_frames(poses, starts, self.config.frames)})

    def _starts(self, ref: TakeRef, samples: np.ndarray) -> np.ndarray:
        """First frames of the windows numbered `samples`."""
        first, last = self._frames(ref)
        stride, seed = self.config.stride, self.config.random
        starts = first + samples % self.count(ref) * stride
        if seed is not None:
            starts += (_uniform(f"{seed}/{ref.take_id}", samples) * stride).astype(np.int64)
        return np.minimum(starts, last - self.config.frames)

    def _frames(self, ref: TakeRef) -> tuple[int, int]:
        """First frame of the split in this take, and one past its last."""
        if ref.num_frames is None:
            return 0, 0
        span = spans(ref.split, ref.num_frames / FPS).get(self.split)
        if span is None:
            return 0, 0
        return int(np.ceil(span[0] * FPS - 1e-6)), int(np.floor(span[1] * FPS + 1e-6))


def _uniform(key: str, numbers: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each of `numbers`, by `key`; the same ones everywhere.

    SplitMix64 (Steele, Lea and Flood 2014) in counter mode: a generator for every
    window would take longer than cutting it.
    """
    base = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    state = np.uint64(base) + numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)) / 2.0**53
