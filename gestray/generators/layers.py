"""Attention and code heads: what the networks over codes are made of.

Shapes: B batch, K tokens, W width, P parts, L levels, S codes of a codebook, D width of a code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention from tokens to tokens (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BKW: Tensor, memory_BMW: Tensor) -> Tensor:
        query = self.query(x_BKW).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        both = self.key_value(memory_BMW).unflatten(-1, (2, self.heads, -1))
        key, value = both.permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value)
        return self.out(found.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """Self-attention, attention to a memory where it has one, and two layers, each normed first."""

    def __init__(self, width: int, heads: int, dropout: float, crosses: bool = False) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if crosses else 2))
        self.own = Attention(width, heads)
        self.other = Attention(width, heads) if crosses else None
        self.layers = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BKW: Tensor, memory_BMW: Tensor | None = None) -> Tensor:
        normed = self.norms[0](x_BKW)
        x_BKW = x_BKW + self.dropout(self.own(normed, normed))
        if self.other is not None:
            assert memory_BMW is not None
            x_BKW = x_BKW + self.dropout(self.other(self.norms[1](x_BKW), memory_BMW))
        return x_BKW + self.dropout(self.layers(self.norms[-1](x_BKW)))


class Blocks(nn.Module):
    """Blocks over the tokens of a window, each token at a place of its own, and a last norm."""

    def __init__(
        self,
        layers: int,
        tokens: int,
        width: int,
        heads: int,
        dropout: float,
        crosses: bool = False,
    ) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads, dropout, crosses) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BKW: Tensor, memory_BMW: Tensor | None = None) -> Tensor:
        x_BKW = x_BKW + self.place
        for block in self.blocks:
            x_BKW = block(x_BKW, memory_BMW)
        return self.norm(x_BKW)


class CodeHeads(nn.Module):
    """Codes of all parts, level by level: each level sees what the levels before it stand for.

    That is how residual codes are made: a finer code means nothing without the coarser ones.
    """

    def __init__(self, parts: int, levels: int, codes: int, dim: int, width: int) -> None:
        super().__init__()

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape) * shape[-2] ** -0.5)

        self.from_coarser = weights(levels, parts, dim, width)
        self.inner = weights(levels, parts, width, width)
        self.inner_bias = nn.Parameter(torch.zeros(levels, 1, 1, parts, width))
        self.to_logits = weights(levels, parts, width, codes)
        self.bias = nn.Parameter(torch.zeros(levels, 1, 1, parts, codes))

    def level(self, level: int, hidden_BKPW: Tensor, coarser_BKPD: Tensor) -> Tensor:
        """Logits (B, K, P, S) of a level; `coarser` is the sum of the code vectors before it."""
        given = torch.einsum("bkpd,pdw->bkpw", coarser_BKPD, self.from_coarser[level])
        inner = torch.einsum("bkpw,pwv->bkpv", hidden_BKPW + given, self.inner[level])
        inner = hidden_BKPW + functional.gelu(inner + self.inner_bias[level])
        return torch.einsum("bkpw,pws->bkps", inner, self.to_logits[level]) + self.bias[level]

    def logits(self, hidden_BKPW: Tensor, codes_BKPL: Tensor, books_LPSD: Tensor) -> list[Tensor]:
        """Logits of every level where the true codes of coarser ones are given."""
        coarser = hidden_BKPW.new_zeros(*hidden_BKPW.shape[:3], books_LPSD.shape[-1])
        found = []
        for level in range(len(books_LPSD)):
            found.append(self.level(level, hidden_BKPW, coarser))
            coarser = coarser + look_up(books_LPSD[level], codes_BKPL[..., level])
        return found

    def sample(self, hidden_BKPW: Tensor, books_LPSD: Tensor, noise_BKPS: Tensor | None) -> Tensor:
        """Codes (B, K, P, L). `noise` is added to the first level's logits before the likeliest
        code is taken; finer levels, which say how exactly, are the likeliest."""
        coarser = hidden_BKPW.new_zeros(*hidden_BKPW.shape[:3], books_LPSD.shape[-1])
        chosen = []
        for level in range(len(books_LPSD)):
            logits = self.level(level, hidden_BKPW, coarser)
            if noise_BKPS is not None and not level:
                logits = logits + noise_BKPS
            chosen.append(logits.argmax(-1))
            coarser = coarser + look_up(books_LPSD[level], chosen[-1])
        return torch.stack(chosen, dim=-1)


def look_up(books_PSD: Tensor, codes_BKP: Tensor) -> Tensor:
    """Vectors (B, K, P, D) of one level's codes."""
    return books_PSD[torch.arange(len(books_PSD), device=codes_BKP.device), codes_BKP]


def vectors_of(books_LPSD: Tensor, codes_BKPL: Tensor) -> Tensor:
    """Sums over the levels (B, K, P, D) of the codes' vectors."""
    levels = zip(books_LPSD, codes_BKPL.unbind(-1), strict=True)
    return torch.stack([look_up(books, codes) for books, codes in levels]).sum(0)


def code_losses(logits: list[Tensor], codes_BKPL: Tensor, weight_BK: Tensor) -> Tensor:
    """Cross-entropy of codes in nats, a weighted mean over tokens and parts.

    Level i counts 1 / (i + 1), as in SemTalk.
    """
    total, counts = logits[0].new_zeros(()), 0.0
    weight = weight_BK / weight_BK.sum().clamp(min=1e-6)
    for level, found in enumerate(logits):
        loss_BKP = functional.cross_entropy(
            found.flatten(0, 2), codes_BKPL[..., level].flatten(), reduction="none"
        ).view(found.shape[:3])
        total = total + (loss_BKP.mean(-1) * weight).sum() / (level + 1)
        counts += 1 / (level + 1)
    return total / counts
