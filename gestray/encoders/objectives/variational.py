"""Objectives of a variational encoder: TEMOS (Petrovich et al. 2022), which TMR builds on.

Shapes: B batch, K positions, C channels, D dimensions. Every loss is one figure a sample (B,).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gestray.encoders.towers.encoded import Encoded


class MotionDecoder(nn.Module):
    """A latent vector back to motion: ACTOR's decoder (Petrovich et al. 2021).

    Queries of time attend to the one latent vector and to each other.
    """

    def __init__(
        self, dim: int, width: int, layers: int, heads: int, feedforward: int, dropout: float,
        positions: int, channels: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.enter = nn.Linear(dim, width)
        self.position = nn.Parameter(torch.randn(positions, width) * 0.02)
        layer = nn.TransformerDecoderLayer(
            width, heads, feedforward, dropout, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerDecoder(layer, max(layers, 1))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, channels)

    def forward(self, latent_BD: Tensor, real_BK: Tensor) -> Tensor:
        """Patches (B, K, C)."""
        memory_B1C = self.enter(latent_BD)[:, None]
        queries_BKC = self.position[: real_BK.shape[1]].expand(len(latent_BD), -1, -1)
        hidden_BKC = self.layers(queries_BKC, memory_B1C, tgt_key_padding_mask=~real_BK)
        return self.leave(self.norm(hidden_BKC))


def draw(encoded: Encoded) -> Tensor:
    """A latent vector (B, D) of each distribution: μ + σ ε, ε normal."""
    assert encoded.log_variance is not None
    return encoded.pooled + (encoded.log_variance / 2).exp() * torch.randn_like(encoded.pooled)


def reconstruction(decoded_BKC: Tensor, patches_BKC: Tensor, real_BK: Tensor) -> Tensor:
    """Smooth L1 between decoded and true patches, mean over what is real."""
    errors_BK = F.smooth_l1_loss(decoded_BKC, patches_BKC, reduction="none").mean(-1)
    return (errors_BK * real_BK).sum(1) / real_BK.sum(1)


def divergence(p: Encoded, q: Encoded | None = None) -> Tensor:
    """KL(p ‖ q) of diagonal normal distributions, mean over D; q is N(0, 1) where it is None.

    ½ [σp²/σq² + (μp − μq)²/σq² − 1 − log σp²/σq²].
    """
    assert p.log_variance is not None
    mean, log_variance = torch.zeros_like(p.pooled), torch.zeros_like(p.log_variance)
    if q is not None:
        assert q.log_variance is not None
        mean, log_variance = q.pooled, q.log_variance
    ratio = p.log_variance - log_variance
    distance = (p.pooled - mean).square() / log_variance.exp()
    return ((ratio.exp() + distance - 1 - ratio) / 2).mean(-1)
