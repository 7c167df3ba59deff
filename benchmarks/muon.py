"""Steps of Muon a second: matrices of one shape together, against torch's own, one by one.

    python benchmarks/muon.py --json

Both take the weights of linear layers that a small SemTalk has, with the same gradients; that
they go the same way is checked first.
"""

from __future__ import annotations

import time

import torch
from side_by_side import Comparison, alternate, main
from torch import nn

from gestray.training.muon import Muon

SHAPES = {
    (128, 128): 33,
    (256, 128): 19,
    (128, 256): 8,
    (512, 128): 2,
    (128, 168): 2,
    (128, 386): 2,
    (1, 128): 1,
}
STEPS = 5


def measure(runs: int) -> Comparison:
    ours, torchs = _matrices(), _matrices()
    optimizers = {
        "ours": Muon(ours, lr=1e-2, weight_decay=1e-2),
        "torch": torch.optim.Muon(
            torchs, lr=1e-2, weight_decay=1e-2, adjust_lr_fn="match_rms_adamw"
        ),
    }
    for optimizer in optimizers.values():
        optimizer.step()
    ways = zip(ours, torchs, _matrices(), strict=True)
    with torch.no_grad():
        apart = max(float((a - b).norm() / (b - start).norm()) for a, b, start in ways)

    def rate(name: str) -> float:
        began = time.perf_counter()
        for _ in range(STEPS):
            optimizers[name].step()
        return STEPS / (time.perf_counter() - began)

    medians = alternate({name: lambda name=name: rate(name) for name in optimizers}, runs)
    also = {
        "matrices": len(ours),
        "threads": torch.get_num_threads(),
        "ms": 1000 / medians["ours"],
        "other_ms": 1000 / medians["torch"],
        "apart_of_a_step": apart,
    }
    return Comparison(medians["ours"], medians["torch"], "steps/s", runs, also)


def _matrices() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for shape, count in SHAPES.items():
        for _ in range(count):
            matrix = nn.Parameter(torch.randn(shape, generator=generator) * shape[1] ** -0.5)
            matrix.grad = torch.randn(shape, generator=generator)
            found.append(matrix)
    return found


if __name__ == "__main__":
    main("muon", (__doc__ or "").splitlines()[0], measure)
