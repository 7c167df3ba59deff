"""Muon: torch's own as an oracle, singular values, and which weights it is given."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gestray.tokenizers.config import preset
from gestray.training.muon import Muon, orthogonal
from gestray.training.optimizers import make_optimizers

SHAPES = [(16, 16), (32, 16), (16, 32), (24, 40), (32, 16), (16, 16), (1, 16), (16, 1)]


def matrices() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def test_it_learns_as_torchs_own_does():
    """Within 2 % of the way that weights have gone: products of bfloat16 round to 2⁻⁹."""
    ours, theirs, before = matrices(), matrices(), matrices()
    one = Muon(ours, lr=1e-2, weight_decay=0.1)
    other = torch.optim.Muon(theirs, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(5):
        torch.manual_seed(step)
        for mine, its in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            its.grad = mine.grad.clone()
        one.step()
        other.step()
    for mine, its, old in zip(ours, theirs, before, strict=True):
        assert (mine - its).norm() < 0.02 * (its - old).norm(), mine.shape
        for moment, torchs in zip(one.state[mine].values(), other.state[its].values(), strict=True):
            torch.testing.assert_close(moment, torchs)
    assert one.state[ours[0]].keys() == other.state[theirs[0]].keys()


def test_processors_without_bfloat16_learn_the_same(monkeypatch):
    steps = {}
    for capability in ("AVX512", "AVX2"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda now=capability: now)
        torch.manual_seed(0)
        steps[capability] = orthogonal(torch.randn(3, 16, 40))
    assert [x.dtype for x in steps.values()] == [torch.bfloat16, torch.float32]
    torch.testing.assert_close(
        steps["AVX512"].float(), steps["AVX2"], rtol=0, atol=0.02 * steps["AVX2"].abs().max().item()
    )


@given(
    short=st.integers(1, 24),
    wider=st.integers(0, 24),
    scale=st.floats(1e-4, 1e4),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None)
def test_directions_stay_and_become_equally_long(short, wider, scale, seed):
    """Those at least a hundredth as long as the whole, which five iterations reach; in float32."""
    torch.manual_seed(seed)
    matrix = scale * torch.randn(1, short, short + wider)
    left, values, right = torch.linalg.svd(matrix[0], full_matrices=False)
    with mock.patch.object(torch.backends.cpu, "get_cpu_capability", return_value="AVX2"):
        turned = left.T @ orthogonal(matrix)[0] @ right.T
    reached = values > 0.01 * values.square().sum().sqrt()
    lengths = turned.diagonal()[reached]
    assert ((lengths > 0.6) & (lengths < 1.3)).all(), lengths
    assert (turned - turned.diagonal().diag()).abs().max() < 0.1


def _one_of_two(rank: int, meet: str, results: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=2)
    capability = ("AVX512", "AVX2")[rank]
    torch.backends.cpu.get_cpu_capability = lambda: capability  # type: ignore[assignment]
    ours = matrices()
    optimizer = Muon(ours, lr=1e-2, weight_decay=0.1)
    for step in range(3):
        torch.manual_seed(step)
        for matrix in ours:
            matrix.grad = torch.randn_like(matrix)
        optimizer.step()
    torch.save([matrix.detach() for matrix in ours], f"{results}/{rank}.pt")
    dist.destroy_process_group()


def test_ranks_on_unlike_processors_stay_together(tmp_path):
    meet, results = str(tmp_path / "meet"), str(tmp_path)
    torch.multiprocessing.spawn(_one_of_two, (meet, results), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for one, other, start in zip(first, second, matrices(), strict=True):
        assert torch.equal(one, other) and not torch.equal(one, start)


def test_what_has_no_gradient_stays():
    ours = matrices()
    ours[2].grad = torch.ones_like(ours[2])
    optimizer = Muon(ours, lr=0.1, weight_decay=0.1)
    optimizer.step()
    moved = [not torch.equal(new, old) for new, old in zip(ours, matrices(), strict=True)]
    assert moved == [index == 2 for index in range(len(SHAPES))]
    optimizer.zero_grad()
    optimizer.step()
    assert not torch.equal(ours[2], matrices()[2])


def of(optimizer: torch.optim.Optimizer) -> list[int]:
    return [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]


def test_each_weight_has_one_optimiser():
    first, tied = nn.Linear(4, 6), nn.Linear(4, 6)
    tied.weight = first.weight
    frozen = nn.Linear(6, 6).requires_grad_(False)
    model = nn.ModuleList([first, nn.LayerNorm(6), nn.Embedding(3, 6), frozen, tied])
    config = preset("sma").loop
    (alone,) = make_optimizers(model, config)
    adamw, muon = make_optimizers(model, config.model_copy(update={"optimizer": "muon"}))
    learns = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert of(alone) == [id(parameter) for parameter in learns]
    assert of(muon) == [id(first.weight)]
    assert sorted([*of(adamw), *of(muon)]) == sorted(of(alone))


@pytest.mark.parametrize("model", [nn.LayerNorm(6), nn.Linear(6, 6, bias=False)])
def test_one_optimiser_is_enough_where_all_weights_are_of_a_kind(model):
    config = preset("sma").loop.model_copy(update={"optimizer": "muon"})
    (optimizer,) = make_optimizers(model, config)
    assert isinstance(optimizer, Muon if isinstance(model, nn.Linear) else torch.optim.AdamW)
