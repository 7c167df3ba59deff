"""`gestray generator train` on the cluster: two workers, an artifact that is all one needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gestray.artifacts import open_artifact
from gestray.errors import UserError
from gestray.generators.contract import Speech
from gestray.generators.model import CodeGenerator
from gestray.store import Folder
from gestray.tokenizers.model import MotionTokenizer
from gestray.training.checkpoint import MODEL, save_config
from tests.generators.artifacts import copied, given


def store_of(takes: Folder, tokenizer: Folder, folder: Path) -> Folder:
    """A store with takes and a tokenizer."""
    store, config = Folder(str(folder)), MotionTokenizer.from_folder(tokenizer).config

    def with_config(made: Folder) -> None:
        made.write_bytes(tokenizer.read_bytes(MODEL), MODEL)
        save_config(config, made)

    given(store, "takes", "takes", copied(takes))
    of_stage = {"model": config.model_dump(mode="json"), "loop": {"steps": 1}}
    given(store, "tokenizer", "codes", with_config, of_stage)
    return store


@pytest.mark.ray
@pytest.mark.parametrize("name", ["semges", "semtalk"])
def test_a_generator_is_trained_by_two_workers_over_its_tokenizer(
    gestray, ray_cluster, speech_takes, tokenizer_folder, tmp_path, name
):
    store = store_of(speech_takes, tokenizer_folder(name), tmp_path / "store")
    options = (
        "loop.steps=3", "loop.batch_size=16", "model.width=32", "loop.compute.workers=2",
        "--store", store.uri,
    )  # fmt: skip
    made = gestray("generator", "train", "--preset", name, *options, "--json")
    assert made.code == 0, made.err
    assert made.json["metrics"]["steps"] == 3 and made.json["metrics"]["loss.gate"] > 0
    again = gestray("generator", "train", "--preset", name, *options, "--json")
    assert again.json["up_to_date"] and again.json["artifact"] == made.json["artifact"]
    artifact = open_artifact(Folder(made.json["artifact"]), "generator")
    assert set(artifact.manifest.inputs) == {"takes", "tokenizer"}
    model = CodeGenerator.from_folder(artifact.folder)
    assert made.json["metrics"]["gestures"] == model.config.gestures > 0
    assert len(model.config.speakers) > 1
    assert len(model.generate(Speech(np.zeros(16_000, "f4")), model.config.speakers[0])) == 30


def test_a_training_that_is_cut_off_at_its_end_is_not_made_again(
    gestray, speech_takes, tokenizer_folder, tmp_path, monkeypatch
):
    """When it is trained it has yet to be given its gestures."""
    store = store_of(speech_takes, tokenizer_folder("semtalk"), tmp_path / "store")
    options = ("loop.steps=3", "loop.batch_size=16", "model.width=32", "loop.compute.workers=1")
    command = ("generator", "train", "--preset", "semtalk", *options, "--store", store.uri)

    def cut_off(*about: object) -> None:
        raise UserError("the store is full")

    with monkeypatch.context() as patched:
        patched.setattr("gestray.generators.remember.remember", cut_off)
        assert "the store is full" in gestray(*command, "--json").err
    monkeypatch.setattr("gestray.generators.task.GeneratorTask.loss", cut_off)
    made = gestray(*command, "--json")
    assert made.code == 0, made.err
    assert made.json["metrics"]["steps"] == 3 and made.json["metrics"]["gestures"] > 0
