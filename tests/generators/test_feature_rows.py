"""Features of speech computed once: training reads what it would have made."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from gestray.config import parse_overrides, with_overrides
from gestray.errors import UserError
from gestray.generators.config import preset
from gestray.generators.feature_rows import FEATURES_SCHEMA, read_features
from gestray.generators.windows import SpeechWindows, features_of_take
from gestray.speech.features import AudioModelConfig, JoinedConfig, MelConfig
from gestray.store import Folder
from gestray.views.catalog import read_catalog, read_columns
from gestray.views.frames import stack_frames
from jobs.generator import FeaturesConfig, TakeListener, _check_features
from jobs.rows import write_rows
from jobs.stages import stage_config


@pytest.fixture(scope="module")
def audio_model(tmp_path_factory: pytest.TempPathFactory) -> AudioModelConfig:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    folder = tmp_path_factory.mktemp("wav2vec2")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    convolutions = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16}
    groups = {"num_conv_pos_embedding_groups": 2}
    model = Wav2Vec2Model(Wav2Vec2Config(**sizes, **convolutions, **groups, intermediate_size=32))
    model.save_pretrained(folder)
    return AudioModelConfig(model=str(folder), context_s=1.0)


def test_windows_of_computed_features_are_those_made_on_the_fly(
    audio_model, generator_task, speech_takes, tmp_path
):
    catalog = read_catalog(speech_takes)
    listener = TakeListener(audio_model)
    tables = [listener(ref, read_columns(speech_takes, ref, listener.columns)) for ref in catalog]
    folder = Folder(str(tmp_path))
    # Rows come in pieces of any size.
    import pyarrow as pa

    pieces = [pa.concat_tables(tables[:2]), *tables[2:]]
    assert write_rows(folder, pieces, FEATURES_SCHEMA, "listen", len(catalog)) == len(catalog)
    ref = catalog[1]
    on_the_fly = SpeechWindows(
        generator_task("semges").config.windows(), ref.split, ("poses",), audio_model
    )
    stored = replace(on_the_fly, features=folder)
    assert "audio" in on_the_fly.columns and "audio" not in stored.columns
    frames = on_the_fly.config.frames
    cut = [
        view.cut(ref, read_columns(speech_takes, ref, view.columns), range(view.count(ref)))
        for view in (on_the_fly, stored)
    ]
    made, read = (stack_frames(rows["speech"], frames) for rows in cut)
    assert made.shape == read.shape and np.allclose(made, read, atol=2e-3)
    with pytest.raises(UserError, match="found no features of take 'x'"):
        read_features(folder, "x", 10)
    with pytest.raises(UserError, match="frames of features and 5 of motion"):
        read_features(folder, ref.take_id, 5)


def test_features_of_another_kind_are_refused(audio_model):
    made = FeaturesConfig(speech=audio_model).model_dump(mode="json")
    artifact = SimpleNamespace(manifest=SimpleNamespace(config=made), uri="store/features/x")
    config = preset("semges")
    with pytest.raises(UserError, match=r"but the generator listens by .*'mel'"):
        _check_features(config, artifact)  # type: ignore[arg-type]
    model = config.model.model_copy(update={"speech": audio_model})
    _check_features(config.model_copy(update={"model": model}), artifact)  # type: ignore[arg-type]


def test_log_mel_of_a_take_has_a_row_a_frame(speech_takes):
    ref = read_catalog(speech_takes)[0]
    values = features_of_take(ref, read_columns(speech_takes, ref, ["audio"]), MelConfig(bands=8))
    assert values.shape == (ref.num_frames, 10) and np.ptp(values[:, -2]) > 0.5


def test_features_are_chosen_on_the_command_line(audio_model):
    """Of another kind than the preset's, with nothing left of that."""
    emotion = {"kind": "classifier", "model": "emotions"}
    overrides = ["model.speech.kind=joined", "model.speech.parts=[{kind: mel}, {kind: classifier, "
                 "model: emotions}]"]  # fmt: skip
    config = stage_config("generator.train", tree(overrides), "test")
    assert config.model.speech == JoinedConfig(parts=({"kind": "mel"}, emotion))
    named = tree(["model.speech.kind=transformers", f"model.speech.model={audio_model.model}"])
    config = stage_config("generator.train", named, "test")
    assert config.model.speech == AudioModelConfig(model=audio_model.model)
    fewer = stage_config("generator.train", tree(["model.speech.bands=8"]), "test")
    assert fewer.model.speech == MelConfig(bands=8)


def tree(overrides: list[str]) -> dict:
    return with_overrides({"preset": "semges"}, parse_overrides(overrides))
