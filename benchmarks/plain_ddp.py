"""Training as one would write it without gestray's loop: what benchmarks/training.py compares with.

    torchrun --standalone --nproc-per-node 2 benchmarks/plain_ddp.py WINDOWS.npy STEPS WARM BATCH

The windows lie in memory, cut beforehand. Rank 0 prints samples a second over all steps after
the first WARM.
"""

from __future__ import annotations

import itertools
import sys
import time

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from gestray.tokenizers.config import preset
from gestray.tokenizers.task import TokenizerTask


class LossModule(nn.Module):
    def __init__(self, task: TokenizerTask) -> None:
        super().__init__()
        self.task, self.model = task, task.build()

    def forward(self, batch, step):
        return self.task.loss(self.model, batch, step)[0]


def main(windows: str, steps: int, warm: int, batch_size: int) -> None:
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    training = preset("sma")
    data = TensorDataset(torch.from_numpy(np.load(windows)))
    sampler = DistributedSampler(data, seed=0, drop_last=True)
    share = batch_size // dist.get_world_size()
    loader = DataLoader(data, share, sampler=sampler, drop_last=True)
    module = nn.parallel.DistributedDataParallel(
        LossModule(TokenizerTask(training)), broadcast_buffers=False
    )
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-4, betas=(0.9, 0.99), fused=True)
    batches = itertools.chain.from_iterable(loader for _ in itertools.count())
    for step, (poses,) in enumerate(itertools.islice(batches, steps)):
        if step == warm:
            dist.barrier()
            began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        module({"poses": poses}, step).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    dist.barrier()
    if dist.get_rank() == 0:
        print((steps - warm) * batch_size / (time.perf_counter() - began), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
