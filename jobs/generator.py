"""Generator stages: features of speech computed once, and training."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from gestray.artifacts import Artifact, Stage, StageResult, StageRun
from gestray.config import Config, make_config
from gestray.errors import UserError
from gestray.generators.config import GeneratorTraining, TrainedGenerator
from gestray.generators.feature_rows import FEATURES_SCHEMA
from gestray.generators.words import most_said
from gestray.speech.features import FeatureConfig, MelConfig
from gestray.tokenizers.config import TokenizerTraining
from gestray.views.catalog import TakeRef, read_catalog
from jobs.cluster import connect
from jobs.display import progress
from jobs.rows import map_takes, write_rows
from jobs.training import last_losses, train_with_progress


class FeaturesConfig(Config):
    """What `gestray speech features` does.

    Args:
        speech: the features; `speech.kind=transformers speech.model=…` for an audio model.
        actors: processes that listen.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"actors"})

    speech: FeatureConfig = MelConfig()
    actors: int = Field(2, ge=1)


class TakeListener:
    """Features of a take's speech; runs in an actor."""

    columns = ("audio",)

    def __init__(self, speech: FeatureConfig) -> None:
        self.speech = speech

    def __call__(self, ref: TakeRef, take: pa.Table) -> pa.Table:
        from gestray.generators.windows import features_of_take

        values = features_of_take(ref, take, self.speech).astype("<f2")
        columns = {
            "take_id": [ref.take_id],
            "frames": [len(values)],
            "width": [values.shape[1]],
            "values": [values.tobytes()],
        }
        return pa.table(columns, FEATURES_SCHEMA)


def _features(run: StageRun[FeaturesConfig]) -> StageResult:
    takes = run.inputs["takes"]
    _check_speech(takes)
    catalog = [ref for ref in read_catalog(takes.folder) if ref.num_frames]
    connect()
    setup = {"speech": run.config.speech}
    made = map_takes(takes.folder, catalog, TakeListener, setup, run.config.actors)
    rows = write_rows(run.folder, made, FEATURES_SCHEMA, "listen", len(catalog), group_rows=1)
    return StageResult(len(catalog), rows, 0, {"takes": rows})


FEATURES = Stage(
    name="speech.features",
    makes="features",
    config_type=FeaturesConfig,
    run=_features,
    needs={"takes": "takes"},
)


def _train(run: StageRun[GeneratorTraining]) -> StageResult:
    from safetensors.torch import load

    from gestray.generators.model import CodeGenerator
    from gestray.generators.remember import remember, taught_by
    from gestray.generators.task import GeneratorTask
    from gestray.training.checkpoint import MODEL, model_bytes, save_config

    takes, tokenizer = run.inputs["takes"], run.inputs["tokenizer"]
    features, gate = run.inputs.get("features"), run.inputs.get("gate")
    _check_speech(takes)
    _check_features(run.config, features)
    of_codes = make_config(TokenizerTraining, tokenizer.manifest.config, tokenizer.uri)
    run.config.model.chunk.tokens(of_codes.model.frames_per_token)  # whole ones, or an error
    trains = [
        ref
        for ref in read_catalog(takes.folder)
        if ref.num_frames and ref.split not in ("val", "test")
    ]
    vocabulary, others = most_said(word["word"] for take in trains for word in take.words or ())
    trained = TrainedGenerator(
        generator=run.config.model,
        tokenizer=of_codes.model,
        speakers=tuple(sorted({ref.speaker for ref in trains if ref.speaker is not None})),
        vocabulary=vocabulary,
    )
    task = GeneratorTask(
        run.config,
        trained,
        tokenizer.folder,
        features.folder if features else None,
        gate.folder if gate else None,
        others,
    )
    remembered = {}

    def finish() -> None:
        model = CodeGenerator(trained)
        model.load_state_dict(load(run.folder.read_bytes(MODEL)))
        model.look_up(others)
        if model.network.memory is not None:
            refs = taught_by(task, takes.folder)
            with progress("remember gestures of takes", len(refs)) as track:
                remember(task, model, takes.folder, refs, track)
        run.folder.write_bytes(model_bytes(model), MODEL)
        save_config(model.config, run.folder)
        remembered["gestures"] = model.config.gestures

    log = train_with_progress("generator", task, run.config.loop, takes, run.folder, finish)
    metrics = {**last_losses(log), **remembered}
    return StageResult(takes.manifest.rows_out, takes.manifest.rows_out, 0, metrics)


def _check_speech(takes: Artifact) -> None:
    """Refuse a corpus that cannot be listened to, before anything starts."""
    metrics = takes.manifest.metrics
    silent, timeless = metrics.get("without_audio", 0), metrics.get("without_word_times", 0)
    if silent:
        raise UserError(
            f"{takes.uri}: {silent} of {takes.manifest.rows_out} takes have no audio, and "
            "generators learn from speech; ingest takes with wave16k/*.wav (a synthetic corpus: "
            "`gestray corpus synth --speech`)"
        )
    if timeless:
        raise UserError(
            f"{takes.uri}: {timeless} of {takes.manifest.rows_out} takes have words without times, "
            "which generators need; make TextGrids with `gestray speech align` and ingest again"
        )


def _check_features(config: GeneratorTraining, features: Artifact | None) -> None:
    if features is None:
        return
    made = make_config(FeaturesConfig, features.manifest.config, features.uri).speech
    if made != config.model.speech:
        raise UserError(
            f"{features.uri} holds features of {made.model_dump()}, but the generator listens by "
            f"{config.model.speech.model_dump()}; set model.speech to the former, or leave the "
            "input 'features' out"
        )


TRAIN = Stage(
    name="generator.train",
    makes="generator",
    config_type=GeneratorTraining,
    run=_train,
    needs={"takes": "takes", "tokenizer": "tokenizer", "features": "features", "gate": "generator"},
    optional=frozenset({"features", "gate"}),
    resumes=True,
    revision=2,  # gestures are remembered whole
)
