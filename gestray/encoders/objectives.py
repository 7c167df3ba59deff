"""Contrastive objectives between two sets of embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(
    a: Tensor, b: Tensor, scale: Tensor, same: Tensor | None = None, weight: Tensor | None = None
) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018; as in CLIP, Radford et al. 2021).

    Args:
        a, b: L2-normalised (N, D); row i of one belongs to row i of the other.
        scale: inverse temperature, scalar.
        same: bool (N, N); pairs other than the diagonal that belong together
            as well, such as phrases with the same words. They are left out of
            the negatives (TMR's false-negative filter, Petrovich et al. 2023,
            with identity in place of similarity).
        weight: (N,), 0 for rows without a pair; their columns are left out too.

    Returns:
        Mean over rows with weight, both directions averaged; zero if there are none.
    """
    logits = scale * a.float() @ b.float().T
    rows = torch.arange(len(a), device=a.device)
    excluded = torch.zeros_like(logits, dtype=torch.bool)
    if same is not None:
        excluded |= same
    if weight is not None:
        absent = weight == 0
        excluded |= absent[None, :] | absent[:, None]
    excluded[rows, rows] = False
    logits = logits.masked_fill(excluded, float("-inf"))
    losses = F.cross_entropy(logits, rows, reduction="none")
    losses = (losses + F.cross_entropy(logits.T, rows, reduction="none")) / 2
    if weight is None:
        return losses.mean()
    return (losses * weight).sum() / weight.sum().clamp(min=1)
