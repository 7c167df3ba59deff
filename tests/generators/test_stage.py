"""`gestray generator train` on the cluster: two workers, an artifact that is all one needs."""

from __future__ import annotations

import numpy as np
import pytest

from gestray.artifacts import open_artifact
from gestray.generators.contract import Speech
from gestray.generators.model import CodeGenerator
from gestray.store import Folder
from gestray.tokenizers.model import MotionTokenizer
from gestray.training.checkpoint import MODEL, save_config
from tests.generators.artifacts import copied, given


@pytest.mark.ray
@pytest.mark.parametrize("name", ["semges", "semtalk"])
def test_a_generator_is_trained_by_two_workers_over_its_tokenizer(
    gestray, ray_cluster, speech_takes, tokenizer_folder, tmp_path, name
):
    store = Folder(str(tmp_path / "store"))
    tokenizer = tokenizer_folder(name)

    def with_config(folder: Folder) -> None:
        folder.write_bytes(tokenizer.read_bytes(MODEL), MODEL)
        save_config(MotionTokenizer.from_folder(tokenizer).config, folder)

    given(store, "takes", "takes", copied(speech_takes))
    codes = {"model": MotionTokenizer.from_folder(tokenizer).config.model_dump(mode="json")}
    given(store, "tokenizer", "codes", with_config, {**codes, "loop": {"steps": 1}})
    options = ("loop.steps=3", "loop.batch_size=16", "model.width=32", "--store", store.uri)
    made = gestray("generator", "train", "--preset", name, *options, "--json")
    assert made.code == 0, made.err
    assert made.json["metrics"]["steps"] == 3 and made.json["metrics"]["loss.gate"] > 0
    again = gestray("generator", "train", "--preset", name, *options, "--json")
    assert again.json["up_to_date"] and again.json["artifact"] == made.json["artifact"]
    artifact = open_artifact(Folder(made.json["artifact"]), "generator")
    assert set(artifact.manifest.inputs) == {"takes", "tokenizer"}
    model = CodeGenerator.from_folder(artifact.folder)
    assert len(model.config.speakers) > 1
    assert len(model.generate(Speech(np.zeros(16_000, "f4")), model.config.speakers[0])) == 30
