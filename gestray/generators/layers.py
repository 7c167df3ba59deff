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
    """Codes of all parts: token after token, and within each level by level.

    Drawn each by itself, the tokens of a hop would be likely one by one and together a motion
    that nobody makes: so a token's codes depend on the vectors of the token before it, of all
    parts. And each level sees what the levels before it stand for, since that is how residual
    codes are made: a finer code means nothing without the coarser ones (RQ-Transformer, Lee et
    al. 2022, has both orders too; there a transformer runs over the levels).
    """

    def __init__(self, parts: int, levels: int, codes: int, dim: int, width: int) -> None:
        super().__init__()

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape) * shape[-2] ** -0.5)

        self.from_before = nn.Linear(parts * dim, parts * width)
        self.from_coarser = weights(levels, parts, dim, width)
        self.inner = weights(levels, parts, width, width)
        self.inner_bias = nn.Parameter(torch.zeros(levels, 1, parts, width))
        self.to_logits = weights(levels, parts, width, codes)
        self.bias = nn.Parameter(torch.zeros(levels, 1, parts, codes))

    def _after(self, hidden_NPW: Tensor, before_NPD: Tensor) -> Tensor:
        """What is known of tokens (N, P, W) when the vectors of those before them are."""
        return hidden_NPW + self.from_before(before_NPD.flatten(1)).view_as(hidden_NPW)

    def _level(self, level: int, known_NPW: Tensor, coarser_NPD: Tensor) -> Tensor:
        """Logits (N, P, S) of a level; `coarser` is the sum of the code vectors before it."""
        given = torch.einsum("npd,pdw->npw", coarser_NPD, self.from_coarser[level])
        inner = torch.einsum("npw,pwv->npv", known_NPW + given, self.inner[level])
        inner = known_NPW + functional.gelu(inner + self.inner_bias[level])
        return torch.einsum("npw,pws->nps", inner, self.to_logits[level]) + self.bias[level]

    def logits(
        self, hidden_BKPW: Tensor, before_BKPD: Tensor, codes_BKPL: Tensor, books_LPSD: Tensor
    ) -> list[Tensor]:
        """Logits (B, K, P, S) of every level, given the token before and the coarser codes."""
        shape = hidden_BKPW.shape[:2]
        known = self._after(hidden_BKPW.flatten(0, 1), before_BKPD.flatten(0, 1))
        codes_NPL = codes_BKPL.flatten(0, 1)
        coarser = torch.zeros_like(before_BKPD.flatten(0, 1))
        found = []
        for level in range(len(books_LPSD)):
            found.append(self._level(level, known, coarser).unflatten(0, shape))
            coarser = coarser + look_up(books_LPSD[level], codes_NPL[..., level])
        return found

    def draw(
        self, hidden_BPW: Tensor, before_BPD: Tensor, books_LPSD: Tensor, noise_BPS: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Codes (B, P, L) of one token, and their vectors' sums (B, P, D).

        `noise` is added to the first level's logits before the likeliest code is taken; finer
        levels, which say how exactly, are the likeliest.
        """
        known, vectors = self._after(hidden_BPW, before_BPD), torch.zeros_like(before_BPD)
        chosen = []
        for level in range(len(books_LPSD)):
            logits = self._level(level, known, vectors)
            if noise_BPS is not None and not level:
                logits = logits + noise_BPS
            chosen.append(logits.argmax(-1))
            vectors = vectors + look_up(books_LPSD[level], chosen[-1])
        return torch.stack(chosen, dim=-1), vectors


def look_up(books_PSD: Tensor, codes: Tensor) -> Tensor:
    """Vectors (…, P, D) of one level's codes (…, P)."""
    return books_PSD[torch.arange(len(books_PSD), device=codes.device), codes]


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
