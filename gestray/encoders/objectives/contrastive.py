"""Contrastive objectives between two sets of embeddings, in blocks of rows if need be.

Shapes: N pairs, R rows of a block, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from gestray.encoders.chunks import lazily, slices

#: Similarities (R, N) of the rows of a slice to everything.
Similarity = Callable[[slice], Tensor]


class Matching(Protocol):
    """Says which pairs beside the diagonal are no negatives."""

    def rows(self, rows: slice) -> Tensor:
        """bool (R, N), on the device of the embeddings."""


@dataclass(frozen=True)
class Matches:
    """Which pairs beside the diagonal belong together as well, and are no negatives.

    Args:
        keys: (N,), equal for what is the same, such as phrases with the same words.
        vectors: L2-normalised (N, E), such as sentence embeddings, and
        above: the cosine from which two of them count as the same: TMR's filter of false
            negatives (Petrovich et al. 2023).
    """

    keys: Tensor
    vectors: Tensor | None = None
    above: float = 1.0

    def rows(self, rows: slice) -> Tensor:
        """bool (R, N)."""
        same_RN = self.keys[rows, None] == self.keys
        if self.vectors is not None:
            same_RN = same_RN | (self.vectors[rows] @ self.vectors.T >= self.above)
        return same_RN


def cosines(a: Tensor, b: Tensor) -> Similarity:
    """Between L2-normalised (N, D), in float32 at least."""
    kind = torch.promote_types(a.dtype, torch.float32)
    a, b = a.to(kind), b.to(kind)
    return lambda rows: a[rows] @ b.T


def info_nce(
    similarity: Similarity,
    count: int,
    scale: Tensor,
    matches: Matching | None = None,
    weight: Tensor | None = None,
    block: int | None = None,
) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018; as in CLIP, Radford et al. 2021).

    −1/2N Σᵢ [log exp(γ sᵢᵢ) / Σⱼ exp(γ sᵢⱼ) + log exp(γ sᵢᵢ) / Σⱼ exp(γ sⱼᵢ)].

    Args:
        similarity: s; row i belongs to column i.
        count: N.
        scale: γ, inverse temperature, scalar.
        matches: pairs that are left out of the sums.
        weight: (N,), 0 for rows without a pair; their columns are left out too.
        block: rows compared at a time, their logits computed again in the backward pass: memory
            grows with N and not with N²; sums over columns go from block to block.

    Returns:
        Mean over rows with weight, both directions averaged; zero if there are none.
    """

    def compare(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        logits_RN = scale * similarity(rows)
        left_out = _left_out(rows, count, matches, weight)
        if left_out is not None:
            logits_RN = logits_RN.masked_fill(left_out, float("-inf"))
        # A copy of the diagonal: a view of it would keep the block.
        paired_R = logits_RN.diagonal(rows.start).clone()
        return logits_RN.logsumexp(1), logits_RN.logsumexp(0), paired_R

    by_row, by_column, paired = zip(*_by_block(compare, count, block), strict=True)
    total_N = torch.cat(by_row) + torch.stack(by_column).logsumexp(0) - 2 * torch.cat(paired)
    if weight is None:
        return total_N.mean() / 2
    return (total_N * weight).sum() / 2 / weight.sum().clamp(min=1)


def siglip(
    similarity: Similarity,
    count: int,
    scale: Tensor,
    bias: Tensor,
    matches: Matching | None = None,
    weight: Tensor | None = None,
    block: int | None = None,
) -> Tensor:
    """Every pair by itself, right or wrong (SigLIP, Zhai et al. 2023).

    −1/N Σᵢⱼ log σ(zᵢⱼ (γ sᵢⱼ + b)), z = 1 on the diagonal and −1 elsewhere. No pair waits for
    the others' sum. Arguments as of `info_nce`; `bias` is b, a scalar.
    """

    def compare(rows: slice) -> tuple[Tensor]:
        logits_RN = scale * similarity(rows) + bias
        index = torch.arange(count, device=logits_RN.device)
        sign_RN = 2.0 * (index[rows, None] == index) - 1
        losses_RN = -F.logsigmoid(sign_RN * logits_RN)
        left_out = _left_out(rows, count, matches, weight)
        if left_out is not None:
            losses_RN = losses_RN.masked_fill(left_out, 0)
        if weight is not None:
            losses_RN = losses_RN * weight[rows, None]
        return (losses_RN.sum(),)

    total = torch.stack([part for (part,) in _by_block(compare, count, block)]).sum()
    return total / (count if weight is None else weight.sum().clamp(min=1))


def _left_out(
    rows: slice, count: int, matches: Matching | None, weight: Tensor | None
) -> Tensor | None:
    """Pairs that are neither right nor wrong, bool (R, N); None where all of them are."""
    left_out = None if matches is None else matches.rows(rows)
    if weight is not None:
        absent_RN = (weight == 0) | (weight[rows, None] == 0)
        left_out = absent_RN if left_out is None else left_out | absent_RN
    if left_out is None:
        return None
    index = torch.arange(count, device=left_out.device)
    return left_out & (index[rows, None] != index)


def _by_block(
    compare: Callable[[slice], tuple[Tensor, ...]], count: int, block: int | None
) -> list[tuple[Tensor, ...]]:
    if block is None or block >= count:
        return [compare(slice(0, count))]
    return [lazily(compare, rows) for rows in slices(count, block)]
