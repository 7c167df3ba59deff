"""The loop: it learns, resumes to the bit, and does not care how many workers it has."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from gestray.encoders.config import preset as encoder_preset
from gestray.encoders.task import AnchorTexts, EncoderTask
from gestray.errors import UserError
from gestray.store import Folder
from gestray.tokenizers.config import preset as tokenizer_preset
from gestray.tokenizers.task import TokenizerTask
from gestray.training.checkpoint import load_checkpoint, save_checkpoint
from gestray.training.loop import ComputeConfig, stream_for, train_alone, train_on_ray


@dataclass
class Recorder:
    """Keeps what the loop tells."""

    keep: Path | None = None
    log: list[dict] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def progress(self, values):
        self.log.append(values)

    def checkpoint(self, values, folder):
        self.steps.append(values["step"])
        if self.keep is not None:
            target = self.keep / str(values["step"])
            target.mkdir()
            for file in folder.iterdir():
                (target / file.name).write_bytes(file.read_bytes())


def tokenizer_task(steps, **loop) -> tuple[TokenizerTask, object]:
    training = tokenizer_preset("sma")
    model = training.model.model_copy(update={"width": 32, "code_dim": 16, "codebook_size": 32})
    changes = {"steps": steps, "batch_size": 16, "log_every": 1, **loop}
    config = training.loop.model_copy(update=changes)
    return TokenizerTask(training.model_copy(update={"model": model, "loop": config})), config


def encoder_task(steps, **loop) -> tuple[EncoderTask, object]:
    training = encoder_preset("sma")
    motion = training.model.motion.model_copy(update={"width": 32, "layers": 1, "dropout": 0.0})
    text = training.model.text.model_copy(update={"dropout": 0.0})
    model = training.model.model_copy(update={"motion": motion, "text": text, "dim": 32})
    changes = {"steps": steps, "batch_size": 16, "log_every": 1, **loop}
    config = training.loop.model_copy(update=changes)
    return EncoderTask(training.model_copy(update={"model": model, "loop": config})), config


def with_anchors(task: EncoderTask, takes) -> EncoderTask:
    from gestray.views.catalog import read_catalog
    from gestray.views.phrases import phrases_of

    anchors = {}
    for ref in read_catalog(takes):
        for number, phrase in enumerate(phrases_of(ref, task.config.phrases)):
            intent = None if number % 3 == 0 else f"intent {number % 5}"
            anchors[phrase.phrase_id] = AnchorTexts(f"form {number % 7}", intent)
    return EncoderTask(task.config, anchors)


@pytest.mark.parametrize("kind", ["tokenizer", "encoder"])
def test_training_lowers_the_loss_on_unseen_batches(takes, kind):
    losses = {}
    for steps in (1, 80):
        task, config = tokenizer_task(steps) if kind == "tokenizer" else encoder_task(steps)
        if kind == "encoder":
            task = with_anchors(task, takes)
        seen = Recorder()
        model = train_alone(task, config, takes, seen).eval()
        assert [row["step"] for row in seen.log] == list(range(1, steps + 1))
        assert seen.steps == [steps]
        # Batches of another order of samples than the one trained on.
        stream = stream_for(task, config.model_copy(update={"seed": 99}), takes)
        with torch.no_grad():
            batches = map(task.collate, stream.local_batches(range(8), 0, 4))
            losses[steps] = sum(task.loss(model, batch, 0)[0].item() for batch in batches)
    # The tokenizer starts from principal components and k-means: it has less to gain.
    assert losses[80] < {"tokenizer": 0.9, "encoder": 0.7}[kind] * losses[1]


@pytest.mark.parametrize("kind", ["tokenizer", "encoder"])
def test_a_resumed_run_equals_an_undisturbed_one_to_the_bit(takes, tmp_path, kind):
    """10 steps, a checkpoint and 10 more are 20 steps: weights, codebooks, optimiser, log."""
    make = tokenizer_task if kind == "tokenizer" else encoder_task
    task, config = make(20, checkpoint_every=10)
    if kind == "encoder":
        task = with_anchors(task, takes)
    whole = Recorder(keep=tmp_path)
    undisturbed = train_alone(task, config, takes, whole)
    rest = Recorder()
    resumed = train_alone(task, config, takes, rest, resume_from=tmp_path / "10")
    assert [row["step"] for row in rest.log] == list(range(11, 21))
    assert [row["loss"] for row in rest.log] == [row["loss"] for row in whole.log[10:]]
    state = undisturbed.state_dict()
    assert state.keys() == resumed.state_dict().keys()
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_a_checkpoint_holds_no_pickle_and_restores_the_optimiser(tmp_path):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path, model, optimizer, 7, [{"step": 7}])
    assert {file.suffix for file in tmp_path.iterdir()} == {".safetensors", ".json"}
    other = torch.nn.Linear(3, 2)
    fresh = torch.optim.AdamW(other.parameters(), lr=0.1)
    assert load_checkpoint(tmp_path, other, fresh) == (7, [{"step": 7}])
    for (name, before), after in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(before, after), name
        for key, value in optimizer.state[before].items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(fresh.state[after][key]))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(takes):
    task, config = tokenizer_task(20, learning_rate=1e12, warmup_steps=0)
    with pytest.raises(FloatingPointError, match=r"at step \d+; the last checkpoint is from step"):
        train_alone(task, config, takes)


@pytest.mark.ray
@pytest.mark.parametrize("kind", ["tokenizer", "encoder"])
def test_one_and_two_workers_agree(takes, tmp_path, ray_cluster, kind):
    """The same global batches make the same losses: 20 steps within 1e-4."""
    make = tokenizer_task if kind == "tokenizer" else encoder_task
    losses = {}
    for workers in (1, 2):
        task, config = make(20, compute=ComputeConfig(workers=workers))
        if kind == "encoder":
            task = with_anchors(task, takes)
        shown: list[dict] = []
        target = Folder(str(tmp_path / str(workers)))
        log = train_on_ray(task, config, takes, target, shown.append)
        assert [row["step"] for row in log] == list(range(1, 21))
        assert shown == log
        losses[workers] = torch.tensor([row["loss"] for row in log], dtype=torch.float64)
        assert target.exists("model.safetensors")
    torch.testing.assert_close(losses[2], losses[1], rtol=1e-4, atol=0)
    assert losses[1].unique().numel() == 20


@pytest.mark.ray
def test_what_the_cluster_cannot_give_is_said_before_anything_starts(takes, tmp_path, ray_cluster):
    task, config = tokenizer_task(5, compute=ComputeConfig(workers=2, device="gpu"))
    with pytest.raises(UserError, match="the cluster has 0 GPUs"):
        train_on_ray(task, config, takes, Folder(str(tmp_path)), print)
    task, config = tokenizer_task(5, compute=ComputeConfig(workers=3))
    with pytest.raises(UserError, match="multiple of 3"):
        train_on_ray(task, config, takes, Folder(str(tmp_path)), print)
