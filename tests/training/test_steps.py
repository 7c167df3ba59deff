"""What a step is made of, by known answers: rate, accumulation, average, validation, the end."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load

from gestray.config import make_config
from gestray.errors import UserError
from gestray.store import Folder
from gestray.training.checkpoint import MODEL
from gestray.training.checkpoints import CHECKPOINTS, copy_checkpoint
from gestray.training.config import ComputeConfig, LoopConfig
from gestray.training.diverged import Diverged
from gestray.training.loop import train_alone, train_here, training_data
from gestray.training.on_ray import train_on_ray
from gestray.training.validation import validation_chunks
from gestray.views.catalog import read_catalog
from gestray.views.phrases import PhraseConfig, phrases_of
from tests.training.toy import Toy


def loop(steps: int, **changes) -> LoopConfig:
    values = {"batch_size": 16, "log_every": 1, "warmup_steps": 0, "learning_rate": 1e-3}
    return LoopConfig(steps=steps, **{**values, **changes})


def test_the_learning_rate_warms_up_and_follows_its_schedule():
    config = LoopConfig(steps=110, warmup_steps=10, learning_rate=2.0, final_lr=0.1)
    expected = {0: 0.2, 4: 1.0, 9: 2.0, 10: 2.0, 60: 2 * (0.1 + 0.9 * 0.5)}
    expected[35] = 2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert {step: config.learning_rate_at(step) for step in expected} == pytest.approx(expected)
    assert config.learning_rate_at(109) == pytest.approx(0.2, abs=1e-3)
    constant = config.model_copy(update={"schedule": "constant"})
    assert constant.learning_rate_at(4) == pytest.approx(1.0)
    assert {constant.learning_rate_at(step) for step in (9, 60, 109)} == {2.0}


def test_the_rate_in_the_log_is_the_one_the_step_had(takes):
    config = loop(4, warmup_steps=2, final_lr=0.5)
    rows: list[dict] = []
    train_alone(Toy(), config, takes, rows.append)
    assert [row["lr"] for row in rows] == [config.learning_rate_at(step) for step in range(4)]
    assert all(0 <= row["wait_share"] < 1 and row["samples_per_s"] > 0 for row in rows)
    assert all(row["step_ms_p95"] >= row["step_ms_p50"] > 0 for row in rows)


def test_micro_batches_add_up_to_the_batch(takes):
    """A mean over samples is the same in one piece or in two, and so are the samples."""
    tasks = {parts: Toy() for parts in (1, 2)}
    for parts, task in tasks.items():
        train_alone(task, loop(6, accumulate=parts), takes, task.remember)
    for whole, parts in zip(tasks[1].weights, tasks[2].weights, strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-12, atol=1e-12)
    assert len(tasks[2].seen) == 2 * len(tasks[1].seen) == 12
    for step, batch in enumerate(tasks[1].seen):
        first, second = tasks[2].seen[2 * step : 2 * step + 2]
        assert len(first) == len(second) == 8
        # Each micro-batch has the same share of every lane, in the lane's order.
        assert batch == [phrase for pair in zip(first, second, strict=True) for phrase in pair]


def test_the_average_is_that_of_the_weights_after_each_step(takes):
    task = Toy()
    kept = train_alone(task, loop(5, ema_decay=0.8), takes, task.remember)
    average = task.weights[0]
    for weight in task.weights[1:]:
        average = 0.8 * average + 0.2 * weight
    torch.testing.assert_close(kept.weight, average, rtol=1e-12, atol=1e-12)
    assert not torch.equal(kept.weight, task.weights[-1])


@pytest.mark.parametrize("keep", ["best", "last"])
def test_training_ends_when_validation_no_longer_improves(takes, keep):
    task = Toy(val_losses=[5.0, 4.0, math.nan, 4.0, 1.0])
    config = loop(40, validate_every=2, validate_batches=1, patience=2, keep=keep)
    rows: list[dict] = []

    def on_row(row):
        rows.append(row)
        task.remember(row)

    kept = train_alone(task, config, takes, on_row)
    found = {row["step"]: row["val.loss"] for row in rows if "val.loss" in row}
    assert found == pytest.approx({2: 5.0, 4: 4.0, 6: math.nan, 8: 4.0}, nan_ok=True)
    assert rows[-1]["step"] == 8
    assert torch.equal(kept.weight, task.weights[3 if keep == "best" else 7])


def test_a_run_that_was_stopped_stays_so(takes, tmp_path):
    task = Toy(val_losses=[1.0, 2.0])
    config = loop(40, validate_every=2, patience=1, keep="best")
    first = train_alone(task, config, takes, checkpoints=Folder(str(tmp_path)))
    again = Toy()
    rows: list[dict] = []
    second = train_alone(again, config, takes, rows.append, Folder(str(tmp_path)))
    assert rows == [] and again.seen == []
    assert torch.equal(first.weight, second.weight)


def test_a_paused_run_goes_on_and_another_may_start_from_where_it_was(takes, tmp_path):
    config = loop(12, checkpoint_every=4)
    whole, parts, other = (Folder(str(tmp_path / name)) for name in ("whole", "parts", "other"))
    log = train_here(Toy(), config, takes, whole, print)
    assert train_here(Toy(), config, takes, parts, print, until=4) is None
    assert not parts.exists(MODEL)
    copy_checkpoint(parts.child(CHECKPOINTS), other.child(CHECKPOINTS), 4)
    assert train_here(Toy(), config, takes, parts, print, until=8) is None
    rest = train_here(Toy(), config, takes, parts, print)
    assert [row["loss"] for row in rest] == [row["loss"] for row in log]
    assert parts.read_bytes(MODEL) == whole.read_bytes(MODEL)

    rows: list[dict] = []
    faster = config.model_copy(update={"learning_rate": 1e-2})
    theirs = train_here(Toy(), faster, takes, other, rows.append)
    assert [row["step"] for row in rows] == list(range(5, 13))
    assert theirs[4]["loss"] == log[4]["loss"]  # of the same weights
    assert theirs[5]["loss"] != log[5]["loss"]
    with pytest.raises(UserError, match="no whole checkpoint"):
        copy_checkpoint(whole.child(CHECKPOINTS), other, 4)


def test_the_best_model_of_no_finite_validation_is_refused(takes):
    task = Toy(val_losses=[math.nan])
    with pytest.raises(UserError, match="the validation loss was never finite"):
        train_alone(task, loop(2, validate_every=2, keep="best"), takes)


def test_validation_reads_its_own_split_once_and_evenly(takes):
    task = Toy()
    train_alone(task, loop(4, validate_every=2, validate_batches=2), takes)
    catalog = read_catalog(takes)
    split = {
        phrase.phrase_id: phrase.split
        for ref in catalog
        for phrase in phrases_of(ref, PhraseConfig())
    }
    of_val = [batch for batch in task.seen if {split[phrase] for phrase in batch} == {"val"}]
    of_train = [batch for batch in task.seen if {split[phrase] for phrase in batch} == {"train"}]
    assert len(of_train) == 4 and len(task.seen) == 4 + len(of_val)
    read = [phrase for batch in of_val for phrase in batch]
    assert len(set(read)) == len(read) > 0


def test_validation_batches_hold_no_sample_twice():
    chunks = validation_chunks((5, 0, 40, 3), size=8, batches=3, seed=1)
    samples = [pair for chunk in chunks for pair in zip(chunk.takes, chunk.samples, strict=True)]
    assert [len(chunk) for chunk in chunks] == [8, 8, 8]
    assert len(set(samples)) == 24
    assert all(number < (5, 0, 40, 3)[take] for take, number in samples)
    assert {take for take, _ in samples} == {0, 2, 3}
    assert [len(chunk) for chunk in validation_chunks((2, 3), 8, 3, 0)] == [5]


def test_a_corpus_without_a_val_split_is_refused_before_training(takes):
    class NoVal(Toy):
        def view(self, split="train"):
            return super().view("no such split" if split == "val" else split)

    with pytest.raises(UserError, match=r"no take of the split 'val'.*loop.validate_every=null"):
        training_data(NoVal(), loop(4, validate_every=2), takes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 16, "accumulate": 3}, "set batch_size to 24"),
        ({"keep": "best"}, "keep=best goes by the validation loss; set validate_every"),
        ({"patience": 3}, "patience goes by the validation loss"),
    ],
)
def test_settings_that_do_not_fit_together_say_what_to_change(changes, message):
    with pytest.raises(UserError, match=message):
        make_config(LoopConfig, {"steps": 3, **changes})


def phrases_at(takes: Folder, samples: list[tuple[str, int]]) -> list[str]:
    refs = {ref.take_id: ref for ref in read_catalog(takes)}
    of_train = {
        take: [p for p in phrases_of(ref, PhraseConfig()) if p.split == "train"]
        for take, ref in refs.items()
    }
    return [of_train[take][number].phrase_id for take, number in samples]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_that_is_not_finite_names_step_samples_and_checkpoint(takes, tmp_path, accumulate):
    """Noticed at the next row or checkpoint, with nothing written after it."""
    task = Toy(nan_at=5 * accumulate)
    config = loop(20, log_every=50, checkpoint_every=4, accumulate=accumulate)
    store = Folder(str(tmp_path))
    with pytest.raises(Diverged, match=r"at step 6; .*of step 4 in ") as found:
        train_alone(task, config, takes, checkpoints=store)
    assert found.value.step == 6
    batch = [phrase for part in task.seen[5 * accumulate : 6 * accumulate] for phrase in part]
    assert sorted(phrases_at(takes, found.value.samples)) == sorted(batch)
    assert len(task.seen) == 8 * accumulate
    assert [name for name in store.list() if name.startswith("step")] == ["step-00000004"]
    for take, number in found.value.samples:
        assert take in str(found.value) and str(number) in str(found.value)


@pytest.mark.ray
def test_a_diverged_run_is_not_tried_again(takes, tmp_path, ray_cluster):
    task = Toy(nan_at=6, builds=tmp_path / "builds")
    config = loop(20, checkpoint_every=4, compute=ComputeConfig(workers=2, max_failures=2))
    rows: list[dict] = []
    with pytest.raises(Diverged, match=r"at step 7; .*of step 4 in .*") as found:
        train_on_ray(task, config, takes, Folder(str(tmp_path / "run")), rows.append)
    assert len(found.value.samples) == 16
    assert len((tmp_path / "builds").read_text().splitlines()) == 2
    assert [row["step"] for row in rows] == list(range(1, 7))


@pytest.mark.ray
def test_a_killed_worker_goes_on_from_the_last_checkpoint(takes, tmp_path, ray_cluster):
    """And ends as a run that nothing happened to, to the bit: here the one without Ray."""
    changes = {"checkpoint_every": 4, "ema_decay": 0.9, "validate_every": 5, "keep": "best"}
    config = loop(12, **changes, compute=ComputeConfig(workers=1, max_failures=1))
    task = Toy(kill_at=9, builds=tmp_path / "builds")
    target, rows = Folder(str(tmp_path / "run")), []
    log = train_on_ray(task, config, takes, target, rows.append)
    assert len((tmp_path / "builds").read_text().splitlines()) == 2
    # Step 10 was not done; 9 was, perhaps with a checkpoint of 8 still on its way.
    assert [row["step"] for row in log] == list(range(1, 13))
    told = [row["step"] for row in rows]
    assert told[-4:] == [9, 10, 11, 12] and told.count(12) == 1
    alone: list[dict] = []
    undisturbed = train_alone(Toy(), config, takes, alone.append)
    assert [row["loss"] for row in log] == [row["loss"] for row in alone]
    kept = load(target.read_bytes(MODEL))
    assert torch.equal(kept["weight"], undisturbed.weight)
