"""What every tower gives: one vector a phrase, and one a position of it.

Shapes of the towers: B batch, K positions (of frames, words or speech), C channels of a tower,
D dimensions of the shared space.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gestray.encoders.config import Pool


@dataclass(frozen=True)
class Encoded:
    """A batch as a tower sees it; nothing is normalised.

    Args:
        pooled: (B, D), of a variational tower the means.
        steps: (B, K, D).
        real: bool (B, K), which positions are no padding.
        log_variance: (B, D) of a variational tower.
    """

    pooled: Tensor
    steps: Tensor
    real: Tensor
    log_variance: Tensor | None = None


class Pooling(nn.Module):
    """Positions (B, K, C) to one vector (B, C): their mean, maximum, or weighed by a query."""

    def __init__(self, kind: Pool, width: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "attention":
            self.query = nn.Linear(width, 1)

    def forward(self, x_BKC: Tensor, real_BK: Tensor) -> Tensor:
        if self.kind == "max":
            return x_BKC.masked_fill(~real_BK[..., None], float("-inf")).amax(1)
        if self.kind == "attention":
            scores_BK1 = self.query(x_BKC).masked_fill(~real_BK[..., None], float("-inf"))
            return (scores_BK1.softmax(1) * x_BKC).sum(1)
        return masked_mean(x_BKC, real_BK)


def masked_mean(x_BKC: Tensor, real_BK: Tensor) -> Tensor:
    """Mean (B, C) over the positions that are real; zero where there are none."""
    weights_BK1 = real_BK[..., None].to(x_BKC.dtype)
    return (x_BKC * weights_BK1).sum(1) / weights_BK1.sum(1).clamp(min=1)


def pool_spans(x_BKC: Tensor, real_BK: Tensor, spans_BN2: Tensor, rate: float) -> Tensor:
    """Mean (B, N, C) of the positions within each span, by how much of them lies in it.

    Args:
        x_BKC: position k lasts from k / rate to (k + 1) / rate seconds.
        real_BK: which are no padding.
        spans_BN2: start and end in seconds, NaN for the whole phrase.
        rate: positions a second.
    """
    count = x_BKC.shape[1]
    starts_BN, ends_BN = spans_BN2.nan_to_num(0.0)[..., 0], spans_BN2.nan_to_num(torch.inf)[..., 1]
    known_BN = ~spans_BN2.isnan().any(-1)
    ends_BN = torch.where(known_BN, ends_BN, count / rate) * rate
    starts_BN = starts_BN * rate
    # A span that reaches no real position takes the nearest one.
    last_B1 = real_BK.sum(1, keepdim=True) - 1
    starts_BN = torch.minimum(starts_BN, last_B1.to(starts_BN.dtype))
    ends_BN = torch.maximum(ends_BN, starts_BN + 1e-3)
    positions_K = torch.arange(count, device=x_BKC.device)
    overlap_BNK = torch.minimum(ends_BN[..., None], positions_K + 1) - torch.maximum(
        starts_BN[..., None], positions_K
    )
    weights_BNK = overlap_BNK.clamp(min=0).to(x_BKC.dtype) * real_BK[:, None]
    return weights_BNK @ x_BKC / weights_BNK.sum(-1, keepdim=True).clamp(min=1e-6)


def transformer(
    width: int, layers: int, heads: int, feedforward: int, dropout: float
) -> nn.TransformerEncoder:
    """Layers of a transformer that normalises first."""
    layer = nn.TransformerEncoderLayer(
        width, heads, feedforward, dropout, activation="gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


# Into so many groups of like length a batch is parted on a CPU.
_GROUPS = 4


def attend(layers: nn.TransformerEncoder, x_BKC: Tensor, real_BK: Tensor) -> Tensor:
    """Layers over the real positions (B, K, C); what they make of padding means nothing.

    On a CPU rows of like length go together, each group no further than its longest: where
    phrases are as long as they come, half of a batch is padding, and as expensive as the rest.
    """
    if x_BKC.device.type != "cpu" or len(x_BKC) <= _GROUPS:
        return layers(x_BKC, src_key_padding_mask=~real_BK)
    lengths_B = real_BK.sum(1)
    order_B = lengths_B.argsort(stable=True)
    parts = []
    for rows in order_B.tensor_split(_GROUPS):
        most = int(lengths_B[rows[-1]])
        part = layers(x_BKC[rows, :most], src_key_padding_mask=~real_BK[rows, :most])
        parts.append(F.pad(part, (0, 0, 0, x_BKC.shape[1] - most)))
    return torch.cat(parts)[order_B.argsort()]
