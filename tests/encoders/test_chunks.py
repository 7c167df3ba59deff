"""Batches in chunks, and on two ranks: the gradient is that of the plain loss."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gestray.encoders.chunks import in_chunks
from gestray.encoders.model import DualEncoder
from gestray.encoders.objectives.contrastive import Matches, cosines, info_nce, siglip
from gestray.encoders.objectives.coupling import coupling
from gestray.encoders.task import EncoderTask
from tests.encoders.test_encoders import model_of, some_batch
from tests.encoders.test_objectives import unit
from tests.jobs.test_encoder import training_of

COUNT = 13


class Towers(nn.Module):
    """Two small towers with dropout, in float64: four positions of motion, and four words."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 32))
        self.b = nn.Sequential(nn.Linear(5, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 32))
        self.log_scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, batch: dict) -> dict[str, Tensor]:
        return {
            name: F.normalize(tower(batch[name]).unflatten(-1, (4, 8)), dim=-1)
            for name, tower in (("a", self.a), ("b", self.b))
        }


def plain_loss(kind: str, found: dict[str, Tensor], scale: Tensor, keys: Tensor) -> Tensor:
    """As one would write it for a batch that fits: one matrix, cross-entropy over it."""
    a, b = found["a"], found["b"]
    if kind == "coupling":
        weights = (scale * torch.einsum("ikd,jwd->ijwk", a, b)).softmax(-1)
        gestures = F.normalize(torch.einsum("ijwk,ikd->ijwd", weights, a), dim=-1)
        similarity = torch.einsum("ijwd,jvd->ijwv", gestures, b).amax(-1).mean(-1)
    else:
        similarity = a[:, 0] @ b[:, 0].T
    same = (keys[:, None] == keys) & ~torch.eye(len(keys), dtype=torch.bool)
    if kind == "siglip":
        sign = 2 * torch.eye(len(keys), dtype=a.dtype) - 1
        losses = -F.logsigmoid(sign * (scale * similarity - 2.0))
        return losses.masked_fill(same, 0).sum() / len(keys)
    logits = (scale * similarity).masked_fill(same, float("-inf"))
    rows = torch.arange(len(keys))
    return (F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, rows)) / 2


def our_loss(
    kind: str, found: dict[str, Tensor], scale: Tensor, keys: Tensor, block: int | None
) -> Tensor:
    a, b = found["a"], found["b"]
    matches = Matches(keys)
    if kind == "coupling":
        real = torch.ones(a.shape[:2], dtype=torch.bool)
        untimed = torch.full((*b.shape[:2], 2), torch.nan, dtype=b.dtype)
        similarity = coupling(a, real, b, real, untimed, 15.0, 0.4, scale)
        return info_nce(similarity, len(a), scale, matches, block=block)
    similarity = cosines(a[:, 0], b[:, 0])
    if kind == "siglip":
        bias = torch.tensor(-2.0, dtype=a.dtype)
        return siglip(similarity, len(a), scale, bias, matches, block=block)
    return info_nce(similarity, len(a), scale, matches, block=block)


def gradients(model: nn.Module, loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    torch.manual_seed(5)
    value = loss()
    value.backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": value.detach(), **grads}


def inputs(count: int = COUNT) -> tuple[dict, Tensor]:
    batch = {"a": unit(count, 6), "b": unit(count, 5, seed=1)}
    keys = torch.arange(count)
    keys[3] = keys[8]
    return batch, keys


@pytest.mark.parametrize("kind", ["infonce", "siglip", "coupling"])
@pytest.mark.parametrize("chunk", [1, 4, 13])
def test_gradients_in_chunks_are_those_of_the_plain_loss(kind, chunk):
    """In float64, to a relative 1e-9; also in chunks that do not divide the batch."""
    torch.manual_seed(0)
    model = Towers(dropout=0.0).double()
    batch, keys = inputs()
    plain = gradients(model, lambda: plain_loss(kind, model(batch), model.log_scale.exp(), keys))
    ours = gradients(
        model,
        lambda: our_loss(
            kind, in_chunks(model, batch, COUNT, chunk), model.log_scale.exp(), keys, chunk
        ),
    )
    assert plain.keys() == ours.keys()
    for name, expected in plain.items():
        torch.testing.assert_close(ours[name], expected, rtol=1e-9, atol=1e-12, msg=name)


def test_a_chunk_draws_the_same_dropout_when_it_is_computed_again():
    """Against the same slices without recomputation, which draw in the same order."""
    torch.manual_seed(0)
    model = Towers(dropout=0.5).double()
    batch, keys = inputs()

    def sliced() -> Tensor:
        parts = [model({k: v[i : i + 4] for k, v in batch.items()}) for i in range(0, COUNT, 4)]
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return our_loss("infonce", found, model.log_scale.exp(), keys, None)

    def chunked() -> Tensor:
        found = in_chunks(model, batch, COUNT, 4)
        return our_loss("infonce", found, model.log_scale.exp(), keys, 4)

    expected, found = gradients(model, sliced), gradients(model, chunked)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("name", ["sma", "jegal", "tmr", "gestsync"])
def test_a_whole_method_in_chunks_has_the_same_gradients(name):
    """Through the task: words, speech, anchors and all. What is drawn is not compared."""
    found = {}
    for chunk in (None, 3):
        changes = model_of(name).objectives.model_dump() | {"chunk": chunk}
        training = training_of(name, objectives=changes, modality_dropout=0.0)
        task = EncoderTask(training)
        torch.manual_seed(0)
        model = task.build()
        assert isinstance(model, DualEncoder)
        # Nothing is drawn in evaluation mode: no windows, no latent vectors.
        model.double().eval()
        if model.text is not None:
            model.text.backbone.double()  # frozen, and so not among the model's own modules
        batch = some_batch(5)
        for key, value in batch.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                batch[key] = value.double()
        found[chunk] = gradients(model, lambda: task.loss(model, batch, 0)[0])  # noqa: B023
    assert found[None].keys() == found[3].keys() and len(found[3]) > 10
    for key, expected in found[None].items():
        torch.testing.assert_close(found[3][key], expected, rtol=1e-5, atol=1e-9, msg=key)


TWO_RANKS = """
import sys, torch, torch.distributed as dist
from gestray.encoders.chunks import in_chunks
from gestray.training.distributed import gather
from tests.encoders.test_chunks import Towers, gradients, inputs, our_loss
rank, file = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{file}.store", rank=rank, world_size=2)
torch.manual_seed(0)
model = Towers(0.0).double()
module = torch.nn.parallel.DistributedDataParallel(model)
batch, keys = inputs(12)
half = slice(6 * rank, 6 * rank + 6)
mine = {name: value[half] for name, value in batch.items()}
class Loss(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model
    def forward(self, kind):
        found = {k: gather(v) for k, v in in_chunks(model, mine, 6, 4).items()}
        return our_loss(kind, found, model.log_scale.exp(), gather(keys[half]), 5)
module = torch.nn.parallel.DistributedDataParallel(Loss())
found = {kind: gradients(model, lambda: module(kind)) for kind in ("infonce", "siglip", "coupling")}
if rank == 0:
    torch.save(found, file)
dist.barrier()  # who goes first would tear the other's connection
dist.destroy_process_group()
"""


def test_gradients_on_two_ranks_in_chunks_are_those_of_one_plain_process(tmp_path):
    file = tmp_path / "found.pt"
    root = Path(__file__).parents[2]
    ranks = [
        subprocess.Popen([sys.executable, "-c", TWO_RANKS, str(rank), str(file)], cwd=root)
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in ranks] == [0, 0]
    torch.manual_seed(0)
    model = Towers(0.0).double()
    batch, keys = inputs(12)
    for kind, found in torch.load(file, weights_only=True).items():
        expected = gradients(
            model,
            lambda: plain_loss(kind, model(batch), model.log_scale.exp(), keys),  # noqa: B023
        )
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-12, msg=name)


MEMORY = """
import sys, torch
from torch import nn
from gestray.encoders.chunks import in_chunks
from gestray.encoders.objectives.contrastive import cosines, info_nce
count, chunk = int(sys.argv[1]), int(sys.argv[2]) or None
torch.set_num_threads(1)
torch.manual_seed(0)
tower = nn.Sequential(nn.Linear(32, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(),
                      nn.Flatten(), nn.Linear(16 * 256, 64))
batch = {"x": torch.randn(count, 16, 32), "y": torch.randn(count, 16, 32)}
def embed(part):
    return {name: nn.functional.normalize(tower(x), dim=-1) for name, x in part.items()}
def step(batch, count, chunk):
    found = in_chunks(embed, batch, count, chunk)
    info_nce(cosines(found["x"], found["y"]), count, torch.tensor(10.0), block=chunk).backward()
def kilobytes(name):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status[name].split()[0])
step({name: x[:128] for name, x in batch.items()}, 128, 64)  # what libraries take once
open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
before = kilobytes("VmRSS")
step(batch, count, chunk)
print((kilobytes("VmHWM") - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_batch():
    """Peak of a step above what the process holds before it, from 256 to 4,096 pairs.

    Chunks of 64, of a tower with 16 positions of 256 channels; the plain loss beside it.
    """

    def peak(count: int, chunk: int) -> float:
        # Left to itself, glibc keeps what is freed in pieces too small for the next chunk.
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", MEMORY, str(count), str(chunk)]
        root = Path(__file__).parents[2]
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=True
        )
        return float(done.stdout)

    chunked = {count: peak(count, 64) for count in (256, 1024, 4096)}
    plain = {count: peak(count, 0) for count in (256, 1024)}
    print({"chunked MB": chunked, "plain MB": plain})
    # What is left to grow are the embeddings, 64 figures a side and pair, and sums over columns.
    assert chunked[4096] < chunked[256] + 24
    assert plain[1024] > 3 * plain[256] > 6 * chunked[256]
