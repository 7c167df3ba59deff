"""Tokenizers of whole persons learn, resume to the bit, and are refused a corpus without faces."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gestray.errors import UserError
from gestray.motion.rotations import axis_angle_to_matrix
from gestray.motion.skeleton import PARENTS, REST_OFFSETS, joint
from gestray.store import Folder
from gestray.tokenizers.config import TokenizerTraining, preset
from gestray.tokenizers.model import MotionTokenizer, Reconstruction
from gestray.tokenizers.parts import FEET, PARTS, Frames, foot_contacts
from gestray.tokenizers.task import (
    ReconstructionLosses,
    TokenizerTask,
    reconstruction_losses,
    weighted_sum,
)
from gestray.training.checkpoint import MODEL, save_config, save_model
from gestray.training.loop import train_alone
from gestray.views.catalog import read_catalog, read_columns
from gestray.views.phrases import PhraseConfig, phrases_of
from jobs.tokenizer import CODES, PhraseEncoder, _check_columns


def training(name: str, steps: int, **loop) -> TokenizerTraining:
    base = preset(name)
    model = base.model.model_copy(update={"width": 32, "code_dim": 16, "codebook_size": 32})
    changes = {"steps": steps, "batch_size": 16, "log_every": 1, **loop}
    return base.model_copy(update={"model": model, "loop": base.loop.model_copy(update=changes)})


@pytest.mark.parametrize("name", ["sma", "semtalk", "semges"])
def test_a_resumed_run_equals_an_undisturbed_one_to_the_bit(takes, tmp_path, name):
    """10 steps, a checkpoint and 10 more are 20 steps, codebooks and their averages included."""
    config = training(name, 20, checkpoint_every=10)
    task = TokenizerTask(config)
    logs: tuple[list[dict], list[dict]] = ([], [])
    whole, rest = Folder(str(tmp_path / "whole")), Folder(str(tmp_path / "rest"))
    undisturbed = train_alone(task, config.loop, takes, logs[0].append, whole).state_dict()
    shutil.copytree(whole.path("step-00000010"), rest.path("step-00000010"))
    resumed = train_alone(task, config.loop, takes, logs[1].append, rest).state_dict()
    assert [row["loss"] for row in logs[1]] == [row["loss"] for row in logs[0][10:]]
    assert undisturbed.keys() == resumed.keys()
    assert {"embed", "embed_avg", "cluster_size"} <= {key.split(".")[-1] for key in undisturbed}
    for key, value in resumed.items():
        assert torch.equal(value, undisturbed[key]), key


def test_every_loss_of_a_whole_person_reaches_its_own_stream(takes):
    config = training("semtalk", 1)
    task = TokenizerTask(config)
    torch.manual_seed(0)
    model = task.build().train()
    ref = read_catalog(takes)[0]
    view = task.view()
    batch = task.collate(view.cut(ref, read_columns(takes, ref, view.columns), range(8)))
    _, losses = task.loss(model, batch, 0)
    assert 0 < losses.pop("codebook_use") <= 1
    assert set(losses) == set(type(config.losses).model_fields)
    owners = {"expressions": "face", "translation": "lower", "contacts": "lower"}
    for name, owner in owners.items():
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        moved = {
            part
            for part, stream in model.streams.items()
            if any(p.grad is not None and p.grad.any() for p in stream.parameters())
        }
        assert moved == {owner}, name


@pytest.mark.parametrize("name", ["sma", "semtalk"])
def test_compiled_losses_are_those_of_the_python_code(name):
    """In one graph, as `loop.compile` has them: what tracing takes for a constant is one."""
    config = training(name, 1)
    torch.manual_seed(0)
    model = MotionTokenizer(config.model)
    motion = {"poses": torch.randn(2, 16, 165)}
    if name == "semtalk":
        motion |= {"trans": torch.randn(2, 16, 3), "expressions": torch.randn(2, 16, 100)}
    rebuilt = model.train()(**motion)
    plain, compiled = ReconstructionLosses(), ReconstructionLosses()
    compiled.compile(backend="aot_eager", fullgraph=True)
    found = []
    for losses in (plain, compiled):
        parts = losses(rebuilt, config.model.parts)
        total = weighted_sum(parts, config.losses)
        found.append(
            (parts, torch.autograd.grad(total, rebuilt.frames.rotations, retain_graph=True))
        )
    torch.testing.assert_close(found[1], found[0])
    assert not REST_OFFSETS.flags.writeable and not PARENTS.flags.writeable


def test_hands_count_as_seen_from_the_chest(monkeypatch):
    """A chest turned by mistake: arms that turn back are in their place in the room alone."""
    turn = axis_angle_to_matrix(torch.tensor([0.0, 0.2, 0.0]))
    recorded = torch.eye(3).expand(1, 4, 55, 3, 3)
    along = recorded.clone()
    along[:, :, joint("spine3")] = turn
    back = along.clone()
    back[:, :, [joint("left_collar"), joint("right_collar")]] = turn.T

    def misplaced(rotations: torch.Tensor) -> float:
        frames = Frames(rotations, {}), Frames(recorded, {})
        rebuilt = Reconstruction(*frames, codes={}, commitment=torch.zeros(()))
        return reconstruction_losses(rebuilt, ("body",))["position"].item()

    assert misplaced(along) < misplaced(back)
    monkeypatch.setitem(PARTS, "body", replace(PARTS["body"], seen_alone=()))
    assert misplaced(back) < misplaced(along)


def test_a_foot_that_stands_is_told_from_one_that_steps():
    """The body moves at 0.6 m/s in the middle third; the threshold is 0.3 m/s."""
    rotations = torch.eye(3).expand(1, 30, 55, 3, 3)
    path = torch.zeros(1, 30, 3)
    path[0, :, 0] = torch.cat([torch.zeros(10), torch.arange(1, 11) * 0.02, torch.full((10,), 0.2)])
    stands = foot_contacts(rotations, path)
    assert stands.shape == (1, 30, len(FEET))
    expected = torch.ones(30)
    expected[9:19] = 0
    assert torch.equal(stands[0], expected[:, None].expand(30, 4))


def without(takes: Folder, column: str, rows: int, target: Path) -> Folder:
    """The takes with `column` null in the first `rows`."""
    table = pq.read_table(takes.path("shards/00000.parquet"))
    (target / "shards").mkdir(parents=True)
    with pq.ParquetWriter(target / "shards/00000.parquet", table.schema) as writer:
        for number in range(len(table)):
            row = table.slice(number, 1)
            if number < rows:
                place = row.schema.get_field_index(column)
                row = row.set_column(place, row.schema.field(place), pa.nulls(1, row[column].type))
            writer.write_table(row)
    return Folder(str(target))


def test_a_corpus_without_faces_is_refused_before_training_starts(takes, tmp_path):
    faceless = without(takes, "expressions", 2, tmp_path)
    first = ", ".join(ref.take_id for ref in read_catalog(takes)[:2])
    with pytest.raises(UserError, match=rf"2 of 12 takes have no expressions \({first}\)") as error:
        _check_columns(faceless, preset("semtalk"))
    assert "set model.parts=[upper, hands, lower]" in str(error.value)
    _check_columns(faceless, preset("sma"))
    _check_columns(takes, preset("semtalk"))


@pytest.mark.parametrize("name", ["sma", "semtalk"])
def test_phrases_are_encoded_and_test_ones_have_the_errors_of_each_number_of_levels(
    takes, tmp_path, name
):
    config = training(name, 30)
    model = train_alone(TokenizerTask(config), config.loop, takes)
    save_model(tmp_path / MODEL, model)
    save_config(config.model, Folder(str(tmp_path)))
    encoder = PhraseEncoder(Folder(str(tmp_path)), PhraseConfig())
    catalog = read_catalog(takes)
    rows = []
    for ref in (next(r for r in catalog if r.split == split) for split in ("train", "test")):
        rows += encoder(ref, read_columns(takes, ref, encoder.columns)).to_pylist()
        assert [row["phrase_id"] for row in rows if row["take_id"] == ref.take_id] == [
            phrase.phrase_id for phrase in phrases_of(ref, PhraseConfig())
        ]
    tokenizer = MotionTokenizer.from_folder(Folder(str(tmp_path)))
    for row in rows:
        for part in config.model.parts:
            assert np.shape(row[CODES + part]) == (
                -(-row["num_frames"] // 4),
                config.model.quantizers,
            )
        for name in ("wrist_mm", "finger_mm"):
            if row["split"] == "test":
                assert len(row[f"{name}_by_level"]) == config.model.quantizers
                assert row[name] == row[f"{name}_by_level"][-1]
            else:
                assert row[name] is row[f"{name}_by_level"] is None
    tests = [row["wrist_mm_by_level"] for row in rows if row["split"] == "test"]
    by_level = np.mean(tests, axis=0)
    assert by_level[-1] < by_level[0]
    codes = {part: torch.tensor(rows[0][CODES + part])[None] for part in config.model.parts}
    assert tokenizer.decode(codes).shape[-1] == 165
