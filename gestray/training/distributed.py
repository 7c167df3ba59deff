"""Helpers over the process group that do the right thing in a single process too."""

from __future__ import annotations

import torch
import torch.distributed as dist


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _GatherWithGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, local: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(local) for _ in range(world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[dist.get_rank()]


def gather(local: torch.Tensor) -> torch.Tensor:
    """Concatenate (B, …) of all ranks to (W·B, …), differentiably; every rank has the same B.

    When every rank computes the same loss from the gathered tensor, the
    gradients of all ranks are summed here and averaged by DDP: the result is
    the gradient of that loss over the global batch.
    """
    return local if world_size() == 1 else _GatherWithGrad.apply(local)


def from_rank_zero(value: torch.Tensor) -> torch.Tensor:
    """Rank 0's `value` on every rank."""
    value = value.contiguous()
    if world_size() > 1:
        dist.broadcast(value, src=0)
    return value


def mean_over_ranks(values: dict[str, torch.Tensor]) -> dict[str, float]:
    """Average scalars over the ranks, in one message."""
    stacked = torch.stack([value.detach().float() for value in values.values()])
    if world_size() > 1:
        dist.all_reduce(stacked)
        stacked /= world_size()
    return dict(zip(values, stacked.tolist(), strict=True))
