"""Evaluation of generators on test takes: how they move as a whole, and at the words.

Generators in roles NAME@0, NAME@1, … are runs of one method, and share a row. Rows beside the
methods: what was recorded, the same through the tokenizer (as good as codes
can be), a mean pose, and motion of a random training take.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from rich.table import Table

from gestray.artifacts import Artifact, Stage, StageResult, StageRun
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
from gestray.views.windows import motion_of
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
        resamples: bootstrap draws of takes for an interval; 0: no intervals.
        temperature: of the generators.
        margin_s: motion before and after a gold gesture that is described with it.
        together: takes that are moved for at once.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"together"})

    split: str = "test"
    seeds: tuple[int, ...] = (0,)
    resamples: int = Field(200, ge=0)
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
    by_name: dict[str, list[Artifact]] = {}
    for role, made in generators.items():
        by_name.setdefault(role.partition("@")[0], []).append(made)
    with progress("generate", len(generators) * len(config.seeds)) as track:
        done = 0
        for name, trained in by_name.items():
            runs: list[list[Gesturing]] = []
            for made in trained:
                model = CodeGenerator.from_folder(made.folder)
                for seed in config.seeds:
                    runs.append(_moved(model, corpus, seed))
                    done += 1
                    track(done, name)
                rebuilt = f"{REBUILT} ({'+'.join(model.config.tokenizer.parts)})"
                if rebuilt not in rows:
                    rows[rebuilt] = judge.scores([list(_rebuilt(model, corpus))])
            rows[name] = judge.scores([[m.poses for m in moved] for moved in runs])
            rows[name] |= _gate_scores(runs, corpus.means)
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


def _rebuilt(model: CodeGenerator, corpus: _Corpus) -> Iterator[np.ndarray]:
    """Recorded motion through the generator's tokenizer: no choice of codes is better."""
    import torch

    for ref in corpus.tested:
        row = read_columns(corpus.takes, ref, model.tokenizer.columns)
        motion = {name: motion_of(ref, row, name) for name in model.tokenizer.columns}
        clip = {name: torch.from_numpy(values[None].copy()) for name, values in motion.items()}
        codes = model.tokenizer.encode(**clip)
        yield model.tokenizer.decode(codes)[0, : ref.num_frames].numpy()


@dataclass(frozen=True)
class _OfTake:
    """What figures are made of, of one motion of one take.

    Attributes:
        latents: of the autoencoder (K, D).
        intent, fields: of its gold gestures, as `Kept` has them (N,).
        gestures: whether the verbalizer saw any gesture there (N,).
        speed: mean speed of all angles, radians a second.
    """

    latents: np.ndarray
    intent: np.ndarray
    fields: np.ndarray
    gestures: np.ndarray
    speed: float


class _Judge:
    """Scores motions of the split's takes."""

    def __init__(self, corpus: _Corpus, autoencoder: MotionAutoencoder) -> None:
        self.corpus, self.autoencoder = corpus, autoencoder
        self.real = [autoencoder.latents([poses]) for poses in corpus.recorded]
        takes = len(self.real)
        rng = np.random.default_rng(0)
        self.draws = rng.integers(takes, size=(corpus.config.resamples, takes))

    def scores(self, runs: Sequence[Sequence[np.ndarray]]) -> dict[str, Any]:
        """Means over runs, their intervals over takes, and each run's own figures.

        An interval is the middle 95 % of bootstrap draws of takes, the same for every row.
        """
        judged = [self._judged(run) for run in runs]
        whole = np.arange(len(self.real))
        each = [self._figures(run, whole) for run in judged]
        found: dict[str, Any] = _means(each)
        drawn = [_means([self._figures(run, draw) for run in judged]) for draw in self.draws]
        for name in ("fgd", "semantic.intent") if drawn else ():
            # A draw may have no gold gesture at all.
            values = [figures[name] for figures in drawn if name in figures]
            if not values:
                continue
            low, high = np.nanpercentile(values, [2.5, 97.5])
            found |= {f"{name}.low": float(low), f"{name}.high": float(high)}
        return found | {"runs": each}

    def _judged(self, clips: Sequence[np.ndarray]) -> list[_OfTake]:
        from gestray.anchors.verbalize import describe_many

        promised, cut, margin = [], [], self.corpus.config.margin_s
        for poses, golds in zip(clips, self.corpus.golds, strict=True):
            for promise, (start_s, end_s) in golds:
                first = max(0, round((start_s - margin) * FPS))
                promised.append(promise)
                cut.append(np.array(poses[first : round((end_s + margin) * FPS)]))
        described = [description.form for description in describe_many(cut)]
        result = kept(promised, described, self.corpus.known)
        gestures = np.array([form.handedness != "none" for form in described])
        edges = np.cumsum([len(golds) for golds in self.corpus.golds])[:-1]
        columns = [np.split(x, edges) for x in (result.intent, result.fields, gestures)]
        return [
            _OfTake(
                self.autoencoder.latents([clip]),
                intent,
                fields,
                seen,
                float(np.abs(np.diff(clip, axis=0)).mean() * FPS),
            )
            for clip, intent, fields, seen in zip(clips, *columns, strict=True)
        ]

    def _figures(self, run: Sequence[_OfTake], takes: np.ndarray) -> dict[str, float]:
        chosen = [run[take] for take in takes]
        real = np.concatenate([self.real[take] for take in takes])
        found = {
            "fgd": frechet_distance(real, np.concatenate([take.latents for take in chosen])),
            "speed": float(np.mean([take.speed for take in chosen])),
        }
        if any(self.corpus.golds):  # which a corpus of recordings seldom has
            for name in ("intent", "fields", "gestures"):
                values = np.concatenate([getattr(take, name) for take in chosen])
                found[f"semantic.{name}"] = float(values.mean()) if len(values) else math.nan
        return found


def _means(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([figures[name] for figures in each])) for name in each[0]}


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


def scores_table(result: Mapping[str, Any], synthetic: bool) -> Table:
    """Rows of an evaluation beside each other, with their intervals."""
    seeds = f"{len(result['seeds'])} seed{'s' if len(result['seeds']) > 1 else ''}"
    corpus = "synthetic, " if synthetic else ""
    title = f"generation: {corpus}split {result['split']}, {seeds}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for name in ("FGD ↓", "intent at the word ↑", "form's fields ↑", "gestures", "gate, balanced"):
        table.add_column(name, justify="right")
    for name, scores in result["rows"].items():
        table.add_row(
            name,
            _with_interval(scores, "fgd", "{:.3f}"),
            _with_interval(scores, "semantic.intent", "{:.1%}"),
            *(_shown(scores, f"semantic.{field}", "{:.1%}") for field in ("fields", "gestures")),
            _shown(scores, "gate.balanced_accuracy", "{:.1%}"),
        )
    return table


def _with_interval(scores: Mapping[str, Any], name: str, form: str) -> str:
    text = _shown(scores, name, form)
    if f"{name}.low" in scores:
        edges = (form.format(scores[f"{name}.{edge}"]) for edge in ("low", "high"))
        text += f" ({' to '.join(edges)})"
    return text


def _shown(scores: Mapping[str, Any], name: str, form: str) -> str:
    return form.format(scores[name]) if name in scores else ""


SCORES = Stage(
    name="evaluate.generation",
    makes="evaluation",
    config_type=ScoresConfig,
    run=_evaluate,
    needs={"takes": "takes", "fgd": "fgd"},
    others="generator",
)
