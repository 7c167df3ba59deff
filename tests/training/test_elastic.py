"""Any number of workers: who trains and who waits, and what the cluster must have."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from gestray.config import make_config
from gestray.errors import UserError
from gestray.training.config import ComputeConfig
from gestray.training.distributed import (
    gather,
    leave_out_others,
    mean_and_spread,
    mean_over_ranks,
)
from gestray.training.on_ray import _use_gpu
from gestray.views.batching import BatchPlan


def test_the_largest_number_that_shares_the_lanes_evenly_trains():
    plan = BatchPlan((100,), batch_size=16, lanes=8)
    assert [plan.active(workers) for workers in range(1, 10)] == [1, 2, 2, 4, 4, 4, 4, 8, 8]
    plan = BatchPlan((100,), batch_size=96, lanes=24)
    assert [plan.active(workers) for workers in (3, 5, 6, 7)] == [3, 4, 6, 6]
    # At every size, the same samples make a step.
    whole = plan.samples(5, 1)
    for workers in (1, 2, 3, 4, 6, 8):
        shares = [len(plan.lanes_of(rank, workers)) for rank in range(workers)]
        assert sum(shares) == 24 and len(set(shares)) == 1
        assert plan.samples(5, 1) == whole


def _one_of_three(rank: int, meeting: str, found: str) -> None:
    store = dist.FileStore(meeting, 3)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=3)
    trains = leave_out_others(2)
    told = "waits"
    if trains:
        here = torch.tensor([float(rank)], requires_grad=True)
        together = gather(here)
        together.square().sum().backward()
        mean = mean_over_ranks({"rank": torch.tensor(float(rank))})["rank"]
        # Ranks have different numbers of rows: 0 here, and twice 1 there.
        rows = torch.full((rank + 1, 1), float(rank))
        spread = [round(x.item(), 4) for x in mean_and_spread([rows[:1], rows[1:]])]
        told = f"{dist.get_world_size()} {together.tolist()} {mean} {here.grad.tolist()} {spread}"
        dist.destroy_process_group()
    Path(found, str(rank)).write_text(told)


def test_ranks_that_are_left_out_wait_and_the_others_are_a_group(tmp_path):
    torch.multiprocessing.spawn(_one_of_three, (str(tmp_path / "meet"), str(tmp_path)), nprocs=3)
    told = [(tmp_path / str(rank)).read_text() for rank in range(3)]
    assert told[2] == "waits"
    # Each rank's loss is the whole one; gradients of both are summed, and DDP would average.
    assert told[0] == "2 [0.0, 1.0] 0.5 [0.0] [0.6667, 0.4714]"
    assert told[1] == "2 [0.0, 1.0] 0.5 [4.0] [0.6667, 0.4714]"


@pytest.mark.parametrize(
    ("compute", "cluster", "message"),
    [
        (
            {"workers": 4, "device": "gpu"},
            {"CPU": 64, "GPU": 2},
            "4 workers, but the cluster has 2",
        ),
        ({"workers": 4}, {"CPU": 4}, r"need 5 CPUs .* has 4; lower compute.workers"),
        (
            {"workers": 8, "min_workers": 4, "device": "gpu"},
            {"CPU": 64, "GPU": 2},
            "lower compute.min_workers",
        ),
    ],
)
def test_what_the_cluster_lacks_is_said(compute, cluster, message):
    with pytest.raises(UserError, match=message):
        _use_gpu(ComputeConfig(**compute), cluster)


def test_an_elastic_group_needs_its_fewest_only():
    compute = ComputeConfig(workers=8, min_workers=2)
    assert _use_gpu(compute, {"CPU": 16, "GPU": 2}) is True
    assert _use_gpu(compute, {"CPU": 3}) is False
    with pytest.raises(UserError, match="min_workers 9 is more than workers 8"):
        make_config(ComputeConfig, {"workers": 8, "min_workers": 9})
