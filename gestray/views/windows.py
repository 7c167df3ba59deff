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
from gestray.errors import UserError
from gestray.views.catalog import TakeRef
from gestray.views.frames import cut_frames


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
    """View of the windows that lie whole inside one split.

    Rows hold the columns of motion asked for as bytes of float32 (frames, width). `trans`
    counts from the first frame of the take, so that a window's place does not depend on
    where in the room the recording was made.
    """

    config: WindowConfig
    split: str
    columns: tuple[str, ...] = ("poses",)

    def count(self, ref: TakeRef) -> int:
        first, last = self.frames_of(ref)
        return max(0, (last - first - self.config.frames) // self.config.stride + 1)

    def lengths(self, ref: TakeRef) -> list[int]:
        return [self.config.frames] * self.count(ref)

    def cut(self, ref: TakeRef, take: pa.Table, samples: Sequence[int]) -> pa.Table:
        starts = self.starts(ref, np.asarray(samples, dtype=np.int64))
        return pa.table(
            {
                name: cut_frames(motion_of(ref, take, name), starts, self.config.frames)
                for name in self.columns
            }
        )

    def starts(self, ref: TakeRef, samples: np.ndarray) -> np.ndarray:
        """First frames of the windows numbered `samples`."""
        first, last = self.frames_of(ref)
        stride, seed = self.config.stride, self.config.random
        starts = first + samples % self.count(ref) * stride
        if seed is not None:
            starts += (_uniform(f"{seed}/{ref.take_id}", samples) * stride).astype(np.int64)
        return np.minimum(starts, last - self.config.frames)

    def frames_of(self, ref: TakeRef) -> tuple[int, int]:
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


def motion_of(ref: TakeRef, take: pa.Table, column: str) -> np.ndarray:
    """A column of motion, float32 (frames, width); `trans` from where the take begins.

    Raises:
        UserError: the take does not have it.
    """
    values = motion_from_column(take[column])
    if values is None:
        raise UserError(f"take {ref.take_id!r} has no {column}, which the samples are cut of")
    return values - values[:1] if column == "trans" else values
