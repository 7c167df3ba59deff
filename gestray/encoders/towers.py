"""The towers of the dual encoder: motion and text to vectors.

Shapes: B batch, T frames, K transformer positions (T / stride), C channels,
D dimensions of the shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gestray.encoders.config import MotionTowerConfig, TextTowerConfig
from gestray.motion.rotations import axis_angle_to_matrix, matrix_to_sixd
from gestray.motion.skeleton import HANDS, UPPER

# Gestures live in the upper body and the hands; where the speaker stands or
# faces, and the face, are not part of them.
GESTURE_JOINTS = (*UPPER, *HANDS)


class MotionTower(nn.Module):
    """Transformer over upper body and hands, pooled over the frames of the phrase."""

    def __init__(self, config: MotionTowerConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        channels = len(GESTURE_JOINTS) * 6
        # Rotation and its change, `stride` frames to a position.
        self.patch = nn.Linear(2 * channels * config.stride, config.width)
        positions = config.max_frames // config.stride + 1
        self.position = nn.Parameter(torch.randn(positions, config.width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            config.width,
            config.heads,
            config.feedforward,
            config.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, dim)

    def forward(self, poses: Tensor, frames: Tensor) -> Tensor:
        """L2-normalised (B, D) of axis-angle poses (B, T, 165), `frames` (B,) of them real."""
        rotations = axis_angle_to_matrix(poses.unflatten(-1, (-1, 3))[:, :, list(GESTURE_JOINTS)])
        sixd_BTC = matrix_to_sixd(rotations).flatten(-2)
        change_BTC = F.pad(sixd_BTC.diff(dim=1), (0, 0, 1, 0))
        # Padding is zero in the features as well: how far others in the batch
        # reach must not show in an embedding.
        real_BT1 = (torch.arange(poses.shape[1], device=poses.device) < frames[:, None])[..., None]
        features_BTC = torch.cat([sixd_BTC, 10 * change_BTC], dim=-1) * real_BT1
        stride = self.config.stride
        missing = -features_BTC.shape[1] % stride
        features_BTC = F.pad(features_BTC, (0, 0, 0, missing))
        patches_BKC = self.patch(features_BTC.unflatten(1, (-1, stride)).flatten(-2))
        count = patches_BKC.shape[1]
        real_BK = torch.arange(count, device=poses.device) * stride < frames[:, None]
        hidden_BKC = self.layers(patches_BKC + self.position[:count], src_key_padding_mask=~real_BK)
        weights_BK1 = real_BK[..., None].to(hidden_BKC.dtype)
        pooled_BC = (self.norm(hidden_BKC) * weights_BK1).sum(1) / weights_BK1.sum(1)
        return F.normalize(self.head(pooled_BC), dim=-1)


class TextEncoder(nn.Module):
    """A `transformers` model, mean-pooled over tokens (Reimers & Gurevych 2019).

    Frozen, it is no part of the module's parameters or state (it is loaded by
    name again) and its outputs are kept, so that a text is encoded once.
    """

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        from gestray.models import resolve_model

        self.config = config
        source = resolve_model(config.model)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
        backbone = _quietly(AutoModel.from_pretrained, source, dtype=torch.float32)
        self.width: int = backbone.config.hidden_size
        self._known: dict[str, Tensor] = {}
        if config.train == "full":
            self.backbone = backbone
        else:
            backbone.eval().requires_grad_(False)
            # Kept out of nn.Module's registry: neither saved nor synchronised.
            object.__setattr__(self, "backbone", backbone)

    def forward(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """(B, width) of B texts."""
        if self.config.train == "full":
            return self._encode(texts, device)
        unknown = sorted({text for text in texts if text not in self._known})
        # On a CPU one by one: in a batch, a text's embedding depends in its last
        # bits on its neighbours, and with it a resumed run on where it resumed.
        at_once = 1 if device.type == "cpu" else 256
        with torch.no_grad():
            for first in range(0, len(unknown), at_once):
                part = unknown[first : first + at_once]
                self._known |= dict(zip(part, self._encode(part, device).cpu(), strict=True))
        return torch.stack([self._known[text] for text in texts]).to(device)

    def _encode(self, texts: Sequence[str], device: torch.device) -> Tensor:
        backbone = self.backbone.to(device)
        tokens = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.config.max_tokens,
            return_tensors="pt",
        ).to(device)
        hidden_BTC = backbone(**tokens).last_hidden_state
        mask_BT1 = tokens["attention_mask"][..., None].to(hidden_BTC.dtype)
        return (hidden_BTC * mask_BT1).sum(1) / mask_BT1.sum(1)


def _quietly(load: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Load a model without transformers' own progress bar, which would break ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return load(*args, **kwargs)
    finally:
        if shown:
            logging.enable_progress_bar()


class TextHead(nn.Module):
    """From the text model's width to the shared space; one a kind of text."""

    def __init__(self, width: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * dim), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(2 * dim, dim),
        )  # fmt: skip

    def forward(self, x_BC: Tensor) -> Tensor:
        """L2-normalised (B, D)."""
        return F.normalize(self.layers(x_BC), dim=-1)
