"""Batches larger than memory: a function of a batch, slice by slice.

A contrastive loss needs the embeddings of all samples at once, and not their activations. So each
slice runs under `torch.utils.checkpoint`: its activations are thrown away, and computed again,
with the same random numbers, when the gradient of its embeddings has come. That is GradCache
(Gao et al. 2021), without a cache of its own. What it costs is a second forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gestray.training.task import Batch

Embeddings = dict[str, Tensor]


def slices(count: int, size: int | None) -> Iterator[slice]:
    """Of `count` samples, `size` at a time; all at once where it is None."""
    size = count if size is None else size
    return (slice(first, first + size) for first in range(0, count, size))


def lazily(function: Callable[..., Any], *values: Any) -> Any:
    """`function(*values)`, whose activations are computed again in the backward pass."""
    return checkpoint(function, *values, use_reentrant=False)


def in_chunks(
    embed: Callable[[Batch], Embeddings], batch: Batch, count: int, size: int | None
) -> Embeddings:
    """`embed(batch)` of a batch of `count` samples, `size` at a time.

    Every entry of the batch has one row or item a sample, and so has everything `embed` returns.
    """
    if size is None or size >= count or not torch.is_grad_enabled():
        return embed(batch)
    parts = [
        lazily(embed, {name: values[rows] for name, values in batch.items()})
        for rows in slices(count, size)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
