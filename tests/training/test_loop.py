"""The loop: it learns, resumes to the bit, and does not care how many workers it has."""

from __future__ import annotations

import shutil

import pytest
import torch

from gestray.encoders.config import preset as encoder_preset
from gestray.encoders.task import AnchorTexts, EncoderTask
from gestray.errors import UserError
from gestray.store import Folder
from gestray.tokenizers.config import preset as tokenizer_preset
from gestray.tokenizers.task import TokenizerTask
from gestray.training.checkpoint import TrainingState
from gestray.training.config import ComputeConfig
from gestray.training.loop import train_alone, training_data
from gestray.training.on_ray import train_on_ray
from gestray.training.optimizers import make_optimizers
from tests.training.toy import one_thread


def tokenizer_task(steps, **loop) -> tuple[TokenizerTask, object]:
    training = tokenizer_preset("sma")
    model = training.model.model_copy(update={"width": 32, "code_dim": 16, "codebook_size": 32})
    changes = {"steps": steps, "batch_size": 16, "log_every": 1, **loop}
    config = training.loop.model_copy(update=changes)
    return TokenizerTask(training.model_copy(update={"model": model, "loop": config})), config


def with_levels(task: TokenizerTask, levels: int) -> TokenizerTask:
    model = task.config.model.model_copy(update={"quantizers": levels})
    return TokenizerTask(task.config.model_copy(update={"model": model}))


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
        log: list[dict] = []
        model = train_alone(task, config, takes, log.append).eval()
        assert [row["step"] for row in log] == list(range(1, steps + 1))
        # Batches of another order of samples than the one trained on.
        stream = training_data(task, config.model_copy(update={"seed": 99}), takes).stream
        with torch.no_grad():
            batches = map(task.collate, stream.local_batches(range(8), 0, 4))
            losses[steps] = sum(task.loss(model, batch, 0)[0].item() for batch in batches)
    # The tokenizer starts from principal components and k-means: it has less to gain.
    assert losses[80] < {"tokenizer": 0.9, "encoder": 0.7}[kind] * losses[1]


ALL_OF_IT = {
    "accumulate": 2,
    "ema_decay": 0.9,
    "validate_every": 4,
    "validate_batches": 2,
    "keep": "best",
    "patience": 9,
    "checkpoint_every": 6,
    "keep_checkpoints": 9,
    "optimizer": "muon",
}


@pytest.mark.parametrize("kind", ["tokenizer", "encoder"])
@pytest.mark.parametrize("extras", [{"checkpoint_every": 6, "keep_checkpoints": 9}, ALL_OF_IT])
def test_a_resumed_run_equals_an_undisturbed_one_to_the_bit(takes, tmp_path, kind, extras):
    """6 steps, a checkpoint and 10 more are 16: weights, codebooks, averages, best, log.

    The checkpoint lies between two validations, and validation between two checkpoints.
    """
    make = tokenizer_task if kind == "tokenizer" else encoder_task
    task, config = make(16, **extras)
    if kind == "encoder":
        task = with_anchors(task, takes)
    logs: tuple[list[dict], list[dict]] = ([], [])
    whole, rest = Folder(str(tmp_path / "whole")), Folder(str(tmp_path / "rest"))
    undisturbed = train_alone(task, config, takes, logs[0].append, whole)
    shutil.copytree(whole.path("step-00000006"), rest.path("step-00000006"))
    resumed = train_alone(task, config, takes, logs[1].append, rest)
    assert [row["step"] for row in logs[1]] == list(range(7, 17))
    for before, after in zip(logs[0][6:], logs[1], strict=True):
        same = {name for name in before if name == "loss" or name.startswith("val.")}
        assert {name: before[name] for name in same} == {name: after[name] for name in same}
    assert [row["step"] for row in logs[0] if "val.loss" in row] == (
        [4, 8, 12, 16] if "validate_every" in extras else []
    )
    state = undisturbed.state_dict()
    assert state.keys() == resumed.state_dict().keys()
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert whole.list("step-00000016") == rest.list("step-00000016")
    for file in whole.list("step-00000016"):
        if file.endswith(".safetensors"):
            assert whole.read_bytes(file) == rest.read_bytes(file), file


def test_a_checkpoint_holds_no_pickle_and_restores_the_optimiser(tmp_path):
    config = encoder_preset("sma").loop.model_copy(update={"optimizer": "muon"})

    def fresh() -> TrainingState:
        model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2))
        return TrainingState(model, make_optimizers(model, config))

    before, after = fresh(), fresh()
    before.model(torch.ones(1, 3)).sum().backward()
    for optimizer in before.optimizers:
        optimizer.step()
    before.step, before.log, before.best_loss, before.stale = 7, [{"step": 7}], 0.5, 2
    before.save(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} == {".safetensors", ".json"}
    after.load(tmp_path)
    assert (after.step, after.log, after.best_loss, after.stale) == (7, [{"step": 7}], 0.5, 2)
    pairs = zip(before.model.parameters(), after.model.parameters(), strict=True)
    for old, new in pairs:
        assert torch.equal(old, new)
    for saved, loaded in zip(before.optimizers, after.optimizers, strict=True):
        states = saved.state_dict()["state"], loaded.state_dict()["state"]
        assert states[0].keys() == states[1].keys() == set(range(2))
        for index, state in states[0].items():
            assert state.keys() == states[1][index].keys()
            for key, value in state.items():
                restored = states[1][index][key]
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(restored))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tokenizer", "encoder"])
def test_a_compiled_model_learns_the_same(takes, kind):
    """Within 1e-3: its kernels round otherwise. Its weights have the same names."""
    make = tokenizer_task if kind == "tokenizer" else encoder_task
    logs: dict[bool, list[dict]] = {False: [], True: []}
    states = {}
    for compiled, log in logs.items():
        task, config = make(8, compile=compiled, ema_decay=0.9, validate_every=4)
        if kind == "encoder":
            task = with_anchors(task, takes)
        states[compiled] = train_alone(task, config, takes, log.append).state_dict()
    losses = {key: [row["loss"] for row in log] for key, log in logs.items()}
    assert losses[True] == pytest.approx(losses[False], rel=1e-3)
    assert states[True].keys() == states[False].keys()


@pytest.mark.ray
@pytest.mark.parametrize("kind", ["tokenizer", "encoder"])
def test_one_and_two_workers_agree(takes, tmp_path, ray_cluster, kind):
    """The same global batches make the same losses, and the same validation: within 1e-4.

    The one is this process; a worker of Ray's is its equal to the bit (test_losses, test_steps).

    The tokenizer has two levels: a vector halfway between two codes of a late one goes to either by
    rounding, and losses part. Of 18 trainings of ten levels whose weights began 1e-7 off, 11 were
    more than 1e-4 off within the twenty steps; of 15 of two levels none, 3e-5 at most.
    """
    make = tokenizer_task if kind == "tokenizer" else encoder_task
    extras = {"accumulate": 2, "validate_every": 10, "validate_batches": 2, "ema_decay": 0.9}
    task, config = make(20, compute=ComputeConfig(workers=2), **extras)
    if kind == "tokenizer":
        task = with_levels(task, 2)
    if kind == "encoder":
        task = with_anchors(task, takes)
    target, shown, alone = Folder(str(tmp_path)), [], []
    log = train_on_ray(task, config, takes, target, shown.append)
    assert shown == log
    assert target.exists("model.safetensors")
    with one_thread():
        train_alone(task, config, takes, alone.append)
    losses, validation = {}, {}
    for workers, rows in ((1, alone), (2, log)):
        assert [row["step"] for row in rows] == list(range(1, 21))
        losses[workers] = torch.tensor([row["loss"] for row in rows], dtype=torch.float64)
        validation[workers] = [row["val.loss"] for row in rows if "val.loss" in row]
    assert len(validation[1]) == 2
    assert validation[2] == pytest.approx(validation[1], rel=1e-4)
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
