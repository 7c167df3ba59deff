"""Helpers over the process group that do the right thing in a single process too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce

import torch
import torch.distributed as dist

#: What spreads less than this (of a rotation about three degrees) is not blown up.
LEAST_SPREAD = 0.05

_alone = ContextVar("alone", default=False)


def world_size() -> int:
    """Ranks that work together here and now."""
    if _alone.get() or not (dist.is_available() and dist.is_initialized()):
        return 1
    return dist.get_world_size()


def leave_out_others(active: int) -> bool:
    """Go on with the first `active` ranks alone; every rank calls it.

    Returns:
        Whether the calling rank is one of them.
    """
    rank, world, backend = dist.get_rank(), dist.get_world_size(), dist.get_backend()
    if active == world:
        return True
    # The new group meets where the old one did, under names of its own.
    met = dist.distributed_c10d._get_default_store()
    dist.barrier()
    dist.destroy_process_group()
    if rank >= active:
        return False
    store = dist.PrefixStore("active", met)
    dist.init_process_group(backend, store=store, rank=rank, world_size=active)
    return True


@contextmanager
def alone() -> Iterator[None]:
    """What runs in the block is this rank's own: nothing is gathered from the others.

    For work that one rank does while the others wait for what comes of it.
    """
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


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


def least_of_ranks(value: torch.Tensor) -> torch.Tensor:
    """The least of all ranks' `value`, on every rank."""
    if world_size() > 1:
        value = value.clone()
        dist.all_reduce(value, dist.ReduceOp.MIN)
    return value


def sum_over_ranks(value: torch.Tensor) -> torch.Tensor:
    """The sum of all ranks' `value`, on every rank."""
    if world_size() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def mean_over_ranks(values: dict[str, torch.Tensor]) -> dict[str, float]:
    """Average scalars over the ranks, in one message."""
    stacked = torch.stack([value.detach().float() for value in values.values()])
    if world_size() > 1:
        dist.all_reduce(stacked)
        stacked /= world_size()
    return dict(zip(values, stacked.tolist(), strict=True))


@torch.no_grad()
def mean_and_spread(parts: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (C,) of the features of all ranks, to take off and divide by.

    Args:
        parts: features (N, C) of this rank, at least one part of them; ranks may have different
            numbers of rows.

    Returns:
        Both in float64; no deviation is below `LEAST_SPREAD`.
    """
    sums_3C = reduce(torch.add, (_sums(part_NC.double()) for part_NC in parts))
    count_C, sum_C, squares_C = gather(sums_3C[None]).sum(0)
    mean_C = sum_C / count_C
    variance_C = squares_C / count_C - mean_C.square()
    return mean_C, variance_C.clamp(min=LEAST_SPREAD**2).sqrt()


def _sums(part_NC: torch.Tensor) -> torch.Tensor:
    """Number, sums and sums of squares (3, C), which add up over parts and ranks."""
    sum_C = part_NC.sum(0)
    return torch.stack([torch.full_like(sum_C, len(part_NC)), sum_C, part_NC.square().sum(0)])
