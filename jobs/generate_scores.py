"""Evaluation of generators on test takes: how they move as a whole, and at the words.

Rows beside the methods: what was recorded, the same through the tokenizer (as good as codes
can be), a mean pose, and motion of a random training take.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from gestray.artifacts import Stage, StageResult, StageRun
from gestray.config import Config
from gestray.corpora.take import FPS, motion_from_column
from gestray.errors import UserError
from gestray.form import GesturePhases, PhysicalForm
from gestray.generators.contract import Gesturing, Speech
from gestray.generators.model import CodeGenerator
from gestray.generators.windows import meaning_of
from gestray.metrics.fgd import (
    MotionAutoencoder,
    MotionAutoencoderTask,
    MotionAutoencoderTraining,
    frechet_distance,
)
from gestray.metrics.promises import Promise, kept
from gestray.speech.audio import SAMPLE_RATE, pcm16_to_float
from gestray.speech.words import Word
from gestray.store import Folder
from gestray.views.catalog import TakeRef, read_catalog, read_columns
from jobs.display import progress
from jobs.training import last_losses, train_with_progress

RESULT = "result.json"
RECORDED, REBUILT, MEAN, RANDOM = "recorded", "through tokens", "mean pose", "random clip"


def _train_fgd(run: StageRun[MotionAutoencoderTraining]) -> StageResult:
    from gestray.training.checkpoint import save_config

    takes = run.inputs["takes"]
    task = MotionAutoencoderTask(run.config)
    log = train_with_progress("autoencoder", task, run.config.loop, takes, run.folder)
    save_config(run.config.model, run.folder)
    return StageResult(takes.manifest.rows_out, takes.manifest.rows_out, 0, last_losses(log))


TRAIN_FGD = Stage(
    name="metrics.train-fgd",
    makes="fgd",
    config_type=MotionAutoencoderTraining,
    run=_train_fgd,
    needs={"takes": "takes"},
    resumes=True,
)


class ScoresConfig(Config):
    """What `gestray evaluate generation` does.

    Args:
        split: whose speech is moved for.
        seeds: each generator moves once with each.
        temperature: of the generators.
        margin_s: motion before and after a gold gesture that is described with it.
        together: takes that are moved for at once.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"together"})

    split: str = "test"
    seeds: tuple[int, ...] = (0,)
    temperature: float = Field(1.0, ge=0)
    margin_s: float = Field(0.2, ge=0)
    together: int = Field(16, ge=1)


class _Corpus:
    """Takes of the split and of training, as far as figures need them."""

    def __init__(self, takes: Folder, config: ScoresConfig) -> None:
        self.takes, self.config = takes, config
        self.catalog = [ref for ref in read_catalog(takes) if ref.num_frames]
        self.tested = [ref for ref in self.catalog if ref.split == config.split]
        if not self.tested:
            raise UserError(f"{takes.uri}: found no take of the split {config.split!r} with motion")
        rows = [self._read(ref, ["poses", "audio", "gold", "semantics"]) for ref in self.tested]
        self.recorded = [_poses(row) for row in rows]
        self.speech = [_speech(ref, row) for ref, row in zip(self.tested, rows, strict=True)]
        self.golds = [_golds(row) for row in rows]
        self.means = [
            meaning_of(row, len(poses))[:, 1]
            for row, poses in zip(rows, self.recorded, strict=True)
        ]
        trained = [ref for ref in self.catalog if ref.split == "train"]
        self.trained = trained
        self.known = [
            promise for ref in trained for promise, _ in _golds(self._read(ref, ["gold"]))
        ]

    def _read(self, ref: TakeRef, columns: Sequence[str]) -> Any:
        return read_columns(self.takes, ref, columns)

    def mean_pose(self) -> list[np.ndarray]:
        """The mean of training poses, held."""
        some = self.trained[:: max(1, len(self.trained) // 32)]
        mean = np.mean([_poses(self._read(ref, ["poses"])).mean(0) for ref in some], axis=0)
        return [np.tile(mean.astype(np.float32), (len(p), 1)) for p in self.recorded]

    def random_clips(self, seed: int) -> list[np.ndarray]:
        """For each take the motion of a random training take, over and over."""
        found = []
        for ref, poses in zip(self.tested, self.recorded, strict=True):
            rng = np.random.default_rng([seed, zlib.crc32(ref.take_id.encode())])
            other = _poses(self._read(self.trained[rng.integers(len(self.trained))], ["poses"]))
            found.append(np.resize(other, poses.shape))
        return found


def _poses(row: Any) -> np.ndarray:
    poses = motion_from_column(row["poses"])
    assert poses is not None
    return poses


def _speech(ref: TakeRef, row: Any) -> Speech:
    audio = row["audio"][0].as_buffer()
    if audio is None:
        raise UserError(f"take {ref.take_id!r} has no audio to move for")
    samples = pcm16_to_float(memoryview(audio))
    # As long as the motion, so that rows compare frame by frame.
    wanted = int(np.ceil((ref.num_frames or 0) * SAMPLE_RATE / FPS)) + 1
    samples = np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))
    return Speech(samples, tuple(Word(**word) for word in ref.words or ()))


def _golds(row: Any) -> list[tuple[Promise, tuple[float, float]]]:
    """Gold gestures that mean something, and when they are made."""
    found = []
    for gold in row["gold"][0].as_py() or ():
        if gold["form"] is None or gold["intent"] in (None, "beat"):
            continue
        span = gold["start_s"], gold["end_s"]
        if gold["phases"] is not None:
            phases = GesturePhases.model_validate_json(gold["phases"])
            span = phases.start_s, phases.end_s
        form = PhysicalForm.model_validate_json(gold["form"])
        found.append((Promise(form, gold["intent"]), span))
    return found


def _evaluate(run: StageRun[ScoresConfig]) -> StageResult:
    config = run.config
    generators = {role: made for role, made in run.inputs.items() if role not in ("takes", "fgd")}
    corpus = _Corpus(run.inputs["takes"].folder, config)
    judge = _Judge(corpus, MotionAutoencoder.from_folder(run.inputs["fgd"].folder))
    rows: dict[str, dict[str, Any]] = {RECORDED: judge.scores([corpus.recorded])}
    rows[MEAN] = judge.scores([corpus.mean_pose()])
    rows[RANDOM] = judge.scores([corpus.random_clips(seed) for seed in config.seeds])
    with progress("generate", len(generators) * len(config.seeds)) as track:
        for number, (name, made) in enumerate(generators.items()):
            model = CodeGenerator.from_folder(made.folder)
            runs = []
            for count, seed in enumerate(config.seeds, start=1):
                runs.append(_moved(model, corpus, seed))
                track(number * len(config.seeds) + count, name)
            scores = judge.scores([[m.poses for m in moved] for moved in runs])
            scores |= _gate_scores(runs, corpus.means)
            rows[name] = scores
            rebuilt = f"{REBUILT} ({'+'.join(model.config.tokenizer.parts)})"
            if rebuilt not in rows and len(model.tokenizer.columns) == 1:
                rows[rebuilt] = judge.scores([list(_rebuilt(model, corpus.recorded))])
    result = {"split": config.split, "seeds": list(config.seeds), "rows": rows}
    run.folder.write_bytes(json.dumps(result, indent=2).encode(), RESULT)
    flat = {
        f"{name}.{key}": value
        for name, scores in rows.items()
        for key, value in scores.items()
        if isinstance(value, float)
    }
    synthetic = bool(run.inputs["takes"].manifest.metrics.get("synthetic"))
    takes = len(corpus.tested)
    return StageResult(takes, takes, 0, {**flat, "synthetic": synthetic})


def _moved(model: CodeGenerator, corpus: _Corpus, seed: int) -> list[Gesturing]:
    """Motion for every take of the split, in its speaker's manner where that is known."""
    together = corpus.config.together
    found: list[Gesturing] = []
    for first in range(0, len(corpus.tested), together):
        refs = corpus.tested[first : first + together]
        speakers = [ref.speaker if ref.speaker in model.config.speakers else None for ref in refs]
        seeds = [zlib.crc32(f"{seed}/{ref.take_id}".encode()) for ref in refs]
        speeches = corpus.speech[first : first + together]
        many = model.generate_many(speeches, speakers, seeds, corpus.config.temperature)
        frames = [len(poses) for poses in corpus.recorded[first : first + together]]
        found += [moved[:count] for moved, count in zip(many, frames, strict=True)]
    return found


def _rebuilt(model: CodeGenerator, recorded: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    import torch

    for poses in recorded:
        codes = model.tokenizer.encode(torch.from_numpy(poses.copy())[None])
        yield model.tokenizer.decode(codes)[0, : len(poses)].numpy()


class _Judge:
    """Scores motions of the split's takes."""

    def __init__(self, corpus: _Corpus, autoencoder: MotionAutoencoder) -> None:
        self.corpus, self.autoencoder = corpus, autoencoder
        self.real = autoencoder.latents(corpus.recorded)

    def scores(self, runs: Sequence[Sequence[np.ndarray]]) -> dict[str, Any]:
        """Means over runs, and each run's own figures."""
        each = [self._scores(run) for run in runs]
        found: dict[str, Any] = {
            name: float(np.mean([scores[name] for scores in each])) for name in each[0]
        }
        return found | {"runs": each}

    def _scores(self, clips: Sequence[np.ndarray]) -> dict[str, float]:
        from gestray.anchors.verbalize import describe_many

        promised, cut = [], []
        for poses, golds in zip(clips, self.corpus.golds, strict=True):
            for promise, (start_s, end_s) in golds:
                margin = self.corpus.config.margin_s
                first = max(0, round((start_s - margin) * FPS))
                promised.append(promise)
                cut.append(np.array(poses[first : round((end_s + margin) * FPS)]))
        described = [description.form for description in describe_many(cut)]
        result = kept(promised, described, self.corpus.known)
        speed = np.concatenate([np.abs(np.diff(clip, axis=0)).mean(1) for clip in clips])
        return {
            "fgd": frechet_distance(self.real, self.autoencoder.latents(clips)),
            "semantic.intent": float(result.intent.mean()),
            "semantic.fields": float(result.fields.mean()),
            "semantic.gestures": float(np.mean([f.handedness != "none" for f in described])),
            "speed": float(speed.mean() * FPS),
        }


def _gate_scores(
    runs: Sequence[Sequence[Gesturing]], means: Sequence[np.ndarray]
) -> dict[str, float]:
    """How well a gate tells frames that mean something, where a method has one."""
    pairs = [
        (moved.meaning, wanted[: len(moved)])
        for run in runs
        for moved, wanted in zip(run, means, strict=True)
        if moved.meaning is not None and (wanted >= 0).all()
    ]
    if not pairs:
        return {}
    says = np.concatenate([meaning > 0.5 for meaning, _ in pairs])
    wanted = np.concatenate([truth > 0.5 for _, truth in pairs])
    hit, left = says[wanted].mean(), (~says[~wanted]).mean()
    return {
        "gate.accuracy": float((says == wanted).mean()),
        "gate.balanced_accuracy": float((hit + left) / 2),
        "gate.recall": float(hit),
        "gate.share": float(says.mean()),
    }


def scores_of(folder: Folder) -> Mapping[str, Any]:
    """The result of an evaluation, as it was written."""
    return json.loads(folder.read_bytes(RESULT))


SCORES = Stage(
    name="evaluate.generation",
    makes="evaluation",
    config_type=ScoresConfig,
    run=_evaluate,
    needs={"takes": "takes", "fgd": "fgd"},
    others="generator",
)
