"""Muon, with matrices of one shape taken together.

torch.optim.Muon takes one matrix after the other, always in bfloat16: of a training step of the
small generators that was a third, and processors that cannot multiply bfloat16 make a multiple
of it. Stacked, it is calls for a shape that were calls for a matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from gestray.training.distributed import from_rank_zero

_MOMENTUM = 0.95
_MOMENT = "momentum_buffer"
# Of the polynomial whose iteration drives all singular values towards 1 (Jordan et al. 2024,
# "Muon: An optimizer for hidden layers in neural networks").
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Steps of momentum, made orthogonal: all directions of a matrix learn equally fast.

    A step changes the elements of a matrix by 0.2 of the learning rate, root mean square, as AdamW
    does by and large (Liu et al. 2025, "Muon is Scalable for LLM Training", arXiv:2502.16982). Its
    state has the names of that of torch.optim.Muon.

    Args:
        matrices: parameters of two dimensions each.
        lr: learning rate, as it would be AdamW's.
        weight_decay: a share of the learning rate, decoupled.
    """

    def __init__(self, matrices: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One step for all that have a gradient; returns what `closure` does, called before."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            learning = [matrix for matrix in group["params"] if matrix.grad is not None]
            if not learning:
                continue
            gradients = [matrix.grad for matrix in learning]
            moments = [self._moment(matrix) for matrix in learning]
            torch._foreach_lerp_(moments, gradients, 1 - _MOMENTUM)
            ahead = torch._foreach_lerp(gradients, moments, _MOMENTUM)
            torch._foreach_mul_(learning, 1 - group["lr"] * group["weight_decay"])
            # A tall matrix is taken lying, for the product with itself is smaller then.
            lying: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
            for matrix, update in zip(learning, ahead, strict=True):
                short, long = sorted(matrix.shape)
                lying.setdefault((short, long), []).append((matrix, _lying(update)))
            for (_, long), pairs in lying.items():
                directions_NSL = orthogonal(torch.stack([update for _, update in pairs]))
                # Processors round unlike each other, and would drift apart.
                directions_NSL = from_rank_zero(directions_NSL.to(pairs[0][0].dtype))
                targets = [_lying(matrix) for matrix, _ in pairs]
                length = -group["lr"] * 0.2 * long**0.5
                torch._foreach_add_(targets, list(directions_NSL), alpha=length)
        return loss

    def _moment(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if _MOMENT not in state:
            state[_MOMENT] = torch.zeros_like(matrix)
        return state[_MOMENT]


def orthogonal(matrices_NSL: Tensor) -> Tensor:
    """Each matrix with singular values near 1 (0.6 to 1.3), and its singular vectors.

    Args:
        matrices_NSL: N matrices that are no taller than wide.
    """
    first, third, fifth = _COEFFICIENTS
    norms_N11 = torch.linalg.matrix_norm(matrices_NSL, keepdim=True).clamp(min=1e-7)
    x_NSL = (matrices_NSL / norms_N11).to(_precision(matrices_NSL.device))
    for _ in range(_ITERATIONS):
        square_NSS = x_NSL @ x_NSL.mT
        factor_NSS = torch.baddbmm(square_NSS, square_NSS, square_NSS, beta=third, alpha=fifth)
        x_NSL = torch.baddbmm(x_NSL, factor_NSS, x_NSL, beta=first)
    return x_NSL


def _lying(matrix: Tensor) -> Tensor:
    return matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix


def _precision(device: torch.device) -> torch.dtype:
    """bfloat16, where products of it are not slower than others."""
    slow = device.type == "cpu" and torch.backends.cpu.get_cpu_capability() != "AVX512"
    return torch.float32 if slow else torch.bfloat16
