"""Windows: fixed numbers of frames, for tokenizers and generators."""

from __future__ import annotations

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
    """Length and stride in seconds; the field's usual 64 frames at stride 20 by default."""

    seconds: float = Field(64 / 30, gt=0)
    stride_s: float = Field(20 / 30, gt=0)

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
        starts = self._frames(ref)[0] + np.asarray(samples) * self.config.stride
        return pa.table({"poses": cut_frames(poses, starts, self.config.frames)})

    def _frames(self, ref: TakeRef) -> tuple[int, int]:
        """First frame of the split in this take, and one past its last."""
        if ref.num_frames is None:
            return 0, 0
        span = spans(ref.split, ref.num_frames / FPS).get(self.split)
        if span is None:
            return 0, 0
        return int(np.ceil(span[0] * FPS - 1e-6)), int(np.floor(span[1] * FPS + 1e-6))
