"""The dual encoder: transcripts and gestures in one space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gestray.encoders.config import EncoderConfig
from gestray.encoders.towers import MotionTower, TextEncoder, TextHead
from gestray.store import Folder
from gestray.training.checkpoint import load_pretrained


class DualEncoder(nn.Module):
    """Motion tower, text encoder, and a head for each kind of text its objectives use."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.motion = MotionTower(config.motion, config.dim)
        self.text = TextEncoder(config.text)
        heads = ["transcript"]
        heads += ["form"] if config.objectives.form else []
        heads += ["intent"] if config.objectives.intent else []
        self.heads = nn.ModuleDict(
            {name: TextHead(self.text.width, config.dim, config.text.dropout) for name in heads}
        )
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.objectives.temperature)))

    @property
    def scale(self) -> Tensor:
        """Inverse temperature, at most 100 (CLIP's bound)."""
        return self.log_scale.clamp(max=math.log(100)).exp()

    def embed_motion(self, poses: Tensor, frames: Tensor) -> Tensor:
        """L2-normalised (B, D) of poses (B, T, 165), axis-angle, `frames` (B,) of them real."""
        return self.motion(poses, frames)

    def embed_text(self, texts: Sequence[str], head: str = "transcript") -> Tensor:
        """L2-normalised (B, D) of texts; `head` is transcript, form or intent."""
        return self.heads[head](self.text(texts, self.log_scale.device))

    @classmethod
    def from_folder(cls, folder: Folder) -> DualEncoder:
        """Load a trained encoder, in evaluation mode on the CPU."""
        return load_pretrained(folder, cls, EncoderConfig)
