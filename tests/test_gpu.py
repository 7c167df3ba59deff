"""What a GPU computes is what the CPU does: training, codes, search, motion.

pytest -m gpu tests/test_gpu.py
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from gestray.encoders.task import EncoderTask
from gestray.generators.contract import Speech
from gestray.generators.model import CodeGenerator
from gestray.motion.kinematics import chain_positions, forward_kinematics
from gestray.motion.rotations import axis_angle_to_matrix
from gestray.store import Folder
from gestray.tokenizers.config import preset
from gestray.tokenizers.task import TokenizerTask
from gestray.training.loop import train_alone
from tests.encoders.test_encoders import some_batch
from tests.generators.conftest import generator_task, speech_takes, tokenizer_folder
from tests.jobs.test_encoder import training_of

__all__ = ["generator_task", "speech_takes", "tokenizer_folder"]

pytestmark = [
    pytest.mark.gpu,
    # Not run unless asked for; asked for where there is no GPU, there is nothing to compare.
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(autouse=True)
def whole_float32():
    """Products of float32 as they are, not rounded to TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def losses_of(task, loop: dict, takes: Folder, device: str, target: Folder | None = None):
    rows: list[dict] = []
    config = task.config.loop.model_copy(update={"log_every": 1, **loop})
    model = train_alone(task, config, takes, rows.append, target, device)
    return model, np.array([row["loss"] for row in rows])


@dataclass(frozen=True)
class Begun(TokenizerTask):
    """Starts as it did the first time, and without equal codes.

    K-means finds equal codes in as few windows as there are here. Which of two is taken, and so
    which of them learns, is the device's choice.
    """

    state: dict[str, torch.Tensor] = field(default_factory=dict)

    def start(self, model, batches):
        if not self.state:
            super().start(model, batches)
            generator = torch.Generator().manual_seed(0)
            for _, stream in model.parts():
                for book in stream.quantizer.codebooks:
                    shift = 1e-3 * torch.randn(book.embed.shape, generator=generator)
                    book.embed += shift
                    book.embed_avg += shift * book.cluster_size[..., None]
            self.state.update({name: value.clone() for name, value in model.state_dict().items()})
        model.load_state_dict(self.state)


@pytest.mark.parametrize("name", ["sma", "semtalk", "semges"])
def test_a_tokenizer_learns_as_on_the_cpu(takes, name):
    """Five steps; sums are rounded in another order, so a code near two may be the other one."""
    task = Begun(preset(name))
    loop = {"steps": 5, "batch_size": 64}
    _, expected = losses_of(task, loop, takes, "cpu")
    _, found = losses_of(task, loop, takes, "cuda")
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_training_goes_on_from_a_checkpoint(takes, tmp_path):
    """Up to how a GPU adds, which is not the same twice."""
    task = TokenizerTask(preset("sma"))
    whole, rest = Folder(str(tmp_path / "whole")), Folder(str(tmp_path / "rest"))
    loop = {"steps": 20, "batch_size": 32, "checkpoint_every": 10}
    _, expected = losses_of(task, loop, takes, "cuda", whole)
    (tmp_path / "rest").mkdir()
    (tmp_path / "whole" / "step-00000010").rename(tmp_path / "rest" / "step-00000010")
    _, found = losses_of(task, loop, takes, "cuda", rest)
    assert len(found) == 10
    np.testing.assert_allclose(found, expected[10:], rtol=0.02)


def test_bfloat16_and_compiled_modules_learn_the_same(takes):
    """What must be exact, codes and the places of joints, is in float32 all the same."""
    loop = {"steps": 30, "batch_size": 64}
    _, expected = losses_of(TokenizerTask(preset("sma")), loop, takes, "cuda")
    fast = {**loop, "bf16": True, "compile": True}
    _, found = losses_of(TokenizerTask(preset("sma")), fast, takes, "cuda")
    np.testing.assert_allclose(found[-10:].mean(), expected[-10:].mean(), rtol=0.05)


def test_codes_and_motion_are_those_of_the_cpu(takes):
    task = TokenizerTask(preset("sma"))
    model, _ = losses_of(task, {"steps": 2, "batch_size": 64}, takes, "cuda")
    poses = 0.3 * torch.randn(4, 64, 165)
    on_gpu = model.eval().encode(poses.cuda())
    motion = model.decode({part: codes for part, codes in on_gpu.items()}).cpu()
    model.cpu()
    on_cpu = model.encode(poses)
    for part, stream in model.parts():
        # By what they stand for: see `Begun`.
        for level, book in enumerate(stream.quantizer.codebooks):
            found, expected = (book.embed[0][c[part][..., level].cpu()] for c in (on_gpu, on_cpu))
            assert (found == expected).all(-1).float().mean() > 0.99, (part, level)
    again = model.decode({part: codes.cpu() for part, codes in on_gpu.items()})
    rotations, expected = (axis_angle_to_matrix(x.unflatten(-1, (55, 3))) for x in (motion, again))
    torch.testing.assert_close(rotations, expected, rtol=0, atol=1e-4)


def test_places_of_joints_and_their_gradients():
    torch.manual_seed(0)
    poses = 0.5 * torch.randn(3, 20, 55, 3)
    joints = tuple(range(25, 55))
    results = []
    for device in ("cpu", "cuda"):
        leaf = poses.to(device, copy=True).requires_grad_()
        rotations = axis_angle_to_matrix(leaf)
        places, _ = forward_kinematics(rotations)
        of_hands = chain_positions(rotations[:, :, list(joints)], joints)
        (places.square().sum() + of_hands.square().sum()).backward()
        assert leaf.grad is not None
        results.append([x.detach().cpu() for x in (places, of_hands, leaf.grad)])
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["direct", "sma", "tmr", "jegal", "gestsync"])
def test_an_encoder_has_the_same_loss_whole_and_in_chunks(name):
    found = {}
    for device, chunk in (("cpu", None), ("cuda", None), ("cuda", 3)):
        base = training_of(name).model
        training = training_of(
            name,
            objectives=base.objectives.model_dump() | {"chunk": chunk},
            modality_dropout=0.0,
        )
        task = EncoderTask(training)
        torch.manual_seed(0)
        model = task.build().eval().to(device)  # nothing is drawn in evaluation mode
        batch = {
            key: value.to(device) if isinstance(value, torch.Tensor) else value
            for key, value in some_batch(5).items()
        }
        loss, _ = task.loss(model, batch, 0)
        loss.backward()
        norm = sum(p.grad.square().sum().item() for p in model.parameters() if p.grad is not None)
        found[device, chunk] = (loss.item(), norm**0.5)
    expected = found.pop(("cpu", None))
    for values in found.values():
        np.testing.assert_allclose(values, expected, rtol=1e-3)


@pytest.mark.parametrize("name", ["semges", "semtalk"])
def test_a_generator_learns_and_moves(generator_task, speech_takes, name):
    """Training runs on the GPU; what was learnt there moves as it does on the CPU."""
    task = generator_task(name, steps=5)
    model, losses = losses_of(task, {"steps": 5}, speech_takes, "cuda")
    assert np.isfinite(losses).all()
    assert isinstance(model, CodeGenerator)
    samples = 0.1 * np.random.default_rng(0).standard_normal(16_000 * 3).astype(np.float32)
    on_gpu = model.eval().generate(Speech(samples), temperature=0.0)
    on_cpu = model.cpu().generate(Speech(samples), temperature=0.0)
    assert len(on_gpu) == len(on_cpu) == 90
    apart = np.abs(on_gpu.poses - on_cpu.poses).max(axis=1)
    assert np.median(apart) < 1e-3


def test_exact_search_finds_what_a_scan_finds():
    from gestray.retrieval.vectors import exact_on_device

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20_000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[:50]
    scores, numbers = exact_on_device(torch.from_numpy(vectors).cuda(), queries, 10)
    similarity = queries @ vectors.T
    expected = np.argsort(-similarity, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(numbers, expected)
    np.testing.assert_allclose(
        scores, np.take_along_axis(similarity, expected, axis=1), rtol=1e-5, atol=1e-5
    )
