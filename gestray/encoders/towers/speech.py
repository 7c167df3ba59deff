"""The speech tower: sound to one vector a phrase, and some tens a second.

Shapes: B batch, S samples, M mel bands, K positions, C channels, D dimensions of the shared space.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gestray.encoders.config import SpeechTowerConfig
from gestray.encoders.towers.encoded import Encoded, masked_mean
from gestray.errors import UserError
from gestray.speech.audio import SAMPLE_RATE
from gestray.speech.mel import slaney_filters

_WINDOW, _HOP, _BANDS = 400, 160, 80


class SpeechTower(nn.Module):
    """Features of sound, averaged where a phrase needs one vector."""

    def __init__(self, config: SpeechTowerConfig, dim: int) -> None:
        super().__init__()
        self.features = _MelNetwork(config) if config.model == "mel" else _AudioModel(config)
        self.head = nn.Sequential(
            nn.LayerNorm(self.features.width),
            nn.Dropout(config.dropout),
            nn.Linear(self.features.width, dim),
        )

    @property
    def rate(self) -> float:
        """Positions a second."""
        return self.features.rate

    def forward(self, waveform: Tensor, samples: Tensor) -> Encoded:
        """Of sound (B, S) in [-1, 1] at 16 kHz, `samples` (B,) of them real."""
        features_BKC, real_BK = self.features(waveform, samples)
        steps_BKD = self.head(features_BKC)
        return Encoded(masked_mean(steps_BKD, real_BK), steps_BKD, real_BK)


def log_mel(waveform: Tensor) -> Tensor:
    """Log-mel frames (B, M, S / 160) of sound (B, S): windows of 25 ms, one every 10 ms.

    Slaney's filters on Hann windows, base 10, silence (below −100 dB) at −1.5 and loud speech
    near 1. A frame begins at its place and sees what follows; beyond the end there is silence.
    """
    padded = F.pad(waveform, (0, _WINDOW))
    window = torch.hann_window(_WINDOW, device=waveform.device, dtype=waveform.dtype)
    spectrum = torch.stft(
        padded, _WINDOW, _HOP, window=window, center=False, return_complex=True
    ).abs()
    frames = -(-waveform.shape[1] // _HOP)
    power_BFT = spectrum[..., :frames].square()
    # Copied, so that rows of it lie together as they do in what it is multiplied with.
    filters_MF = torch.from_numpy(slaney_filters(_WINDOW, SAMPLE_RATE, _BANDS).T.copy())
    mel_BMT = filters_MF.to(power_BFT) @ power_BFT
    return mel_BMT.clamp(min=1e-10).log10() / 4 + 1


class _MelNetwork(nn.Module):
    """Convolutions over time and frequency; the last layer's frequencies become channels.

    Activations beyond a phrase's end are set to zero after each layer, which is what a
    convolution pads with: the rest of the batch does not show.
    """

    def __init__(self, config: SpeechTowerConfig) -> None:
        super().__init__()
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        before, bands, self.strides = 1, _BANDS, []
        for number, channels in enumerate(config.channels):
            stride = 2 if number < 2 else 1
            self.strides.append(stride)
            self.convolutions.append(nn.Conv2d(before, channels, 3, stride=(2, stride), padding=1))
            self.norms.append(nn.LayerNorm(channels))
            before, bands = channels, -(-bands // 2)
        self.width = before * bands
        self.rate = SAMPLE_RATE / _HOP / math.prod(self.strides)

    def forward(self, waveform: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, K, C) and which are real (B, K)."""
        x_BCMT = log_mel(waveform)[:, None]
        lengths_B = -(-samples // _HOP)
        x_BCMT = x_BCMT * _real(x_BCMT.shape[-1], lengths_B)[:, None, None]
        for convolution, norm, stride in zip(
            self.convolutions, self.norms, self.strides, strict=True
        ):
            lengths_B = -(-lengths_B // stride)
            x_BCMT = F.gelu(norm(convolution(x_BCMT).movedim(1, -1)).movedim(-1, 1))
            x_BCMT = x_BCMT * _real(x_BCMT.shape[-1], lengths_B)[:, None, None]
        return x_BCMT.flatten(1, 2).mT, _real(x_BCMT.shape[-1], lengths_B)


class _AudioModel(nn.Module):
    """HuBERT, wav2vec 2.0 or another `transformers` model of raw sound at 16 kHz.

    Phrases are encoded one by one: these models normalise over the length of what they hear, so
    that padding would show.
    """

    def __init__(self, config: SpeechTowerConfig) -> None:
        super().__init__()
        from transformers import AutoModel

        from gestray.encoders.towers.text import quietly

        self.frozen = config.train == "frozen"
        backbone: Any = quietly(AutoModel.from_pretrained, config.model, dtype=torch.float32)
        strides = getattr(backbone.config, "conv_stride", None)
        if strides is None:
            raise UserError(
                f"speech.model={config.model}: expected a model of raw sound such as HuBERT or "
                f"wav2vec 2.0, found {type(backbone).__name__}"
            )
        self.width: int = backbone.config.hidden_size
        self.hop = math.prod(strides)
        self.rate = SAMPLE_RATE / self.hop
        if self.frozen:
            backbone.eval().requires_grad_(False)
            # Kept out of nn.Module's registry: neither saved nor synchronised.
            object.__setattr__(self, "backbone", backbone)
        else:
            self.backbone = backbone

    def forward(self, waveform: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, K, C) and which are real (B, K)."""
        backbone = self.backbone.to(waveform.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            found = [
                backbone(_standardised(sound[:length])[None]).last_hidden_state[0]
                for sound, length in zip(waveform, samples.tolist(), strict=True)
            ]
        count = waveform.shape[1] // self.hop + 1
        padded = torch.stack([F.pad(x_KC, (0, 0, 0, count - len(x_KC))) for x_KC in found])
        lengths = torch.tensor([len(x_KC) for x_KC in found], device=waveform.device)
        return padded, _real(count, lengths)


def _standardised(sound: Tensor) -> Tensor:
    """Of mean 0 and variance 1, as these models were trained."""
    return (sound - sound.mean()) / (sound.std() + 1e-5)


def _real(count: int, lengths_B: Tensor) -> Tensor:
    return torch.arange(count, device=lengths_B.device) < lengths_B[:, None]
