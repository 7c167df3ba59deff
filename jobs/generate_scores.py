"""Evaluation of generators on test takes: how they move as a whole, and at the words.

Generators in roles NAME@0, NAME@1, … are runs of one method, and share a row. Rows beside the
methods: what was recorded, the same through the tokenizer (as good as codes
can be), a mean pose, one random training take for all, and a random one for each.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from gestray.artifacts import Artifact, Stage, StageResult, StageRun, provenance
from gestray.errors import UserError
from gestray.generators.contract import Gesturing
from gestray.generators.model import CodeGenerator
from gestray.generators.strategies.contract import StrategyName
from gestray.metrics.fgd import (
    MotionAutoencoder,
    MotionAutoencoderTask,
    MotionAutoencoderTraining,
)
from gestray.metrics.generation.measure import Moved
from gestray.reports.generation import GenerationReport, render
from gestray.store import Folder
from gestray.views.catalog import read_columns
from gestray.views.windows import motion_of
from jobs.display import progress
from jobs.generation_encoder import EncoderJudge
from jobs.generation_metrics import Corpus, Judge, MetricsConfig, fingerprint
from jobs.inserted_scores import with_gestures
from jobs.retrieved import RecordedGestures
from jobs.training import last_losses, train_with_progress

RESULT = "result.json"
REPORT = "report.html"
_UNFINISHED = "unfinished"
# What a row is scored against and by.
_JUDGES = {"takes": "takes", "fgd": "fgd", "encoder": "encoder", "index": "index"}
RECORDED, REBUILT, MEAN = "recorded", "through tokens", "mean pose"
ONE_CLIP, RANDOM = "one random clip", "random clip"


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


class ScoresConfig(MetricsConfig):
    """What `gestray evaluate generation` does; the split's speech is what generators move for.

    Args:
        seeds: each generator moves once with each.
        temperature: of the generators.
        together: takes that are moved for at once.
        strategies: a row more for each, in which every generator's motion is given gestures of
            the index, which are chosen so (`gestray generate --rag`).
        title: of the report.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"together"})

    seeds: tuple[int, ...] = (0,)
    temperature: float = Field(1.0, ge=0)
    together: int = Field(16, ge=1)
    strategies: tuple[StrategyName, ...] = ()
    title: str = "Generated motion"


def _evaluate(run: StageRun[ScoresConfig]) -> StageResult:
    config = run.config
    # First: an ancestor that is gone should not be missed only when all is scored.
    lineage = {a.uri: a for made in run.inputs.values() for a in provenance(made)}.values()
    stages = [(a.manifest.stage, a.uri, a.manifest.seconds) for a in lineage]
    generators = {role: made for role, made in run.inputs.items() if role not in _JUDGES}
    corpus = Corpus(run.inputs["takes"].folder, config)
    encoder = None
    if found := run.inputs.get("encoder"):
        encoder = EncoderJudge(corpus.takes, corpus.tested, config.split, found)
    judge = Judge(corpus, MotionAutoencoder.from_folder(run.inputs["fgd"].folder), encoder)
    rows = _Rows(run.folder)
    rows.make(RECORDED, lambda: judge.scores([corpus.recorded]))
    rows.make(MEAN, lambda: judge.scores([corpus.mean_pose()]))
    rows.make(ONE_CLIP, lambda: judge.scores([corpus.one_clip(s) for s in config.seeds]))
    rows.make(RANDOM, lambda: judge.scores([corpus.random_clips(s) for s in config.seeds]))
    for name, folder in config.motions.items():
        rows.make(name, partial(_others_motion, judge, corpus, name, folder))
    by_name: dict[str, list[Artifact]] = {}
    for role, made in generators.items():
        by_name.setdefault(role.partition("@")[0], []).append(made)
    gestures = _recorded_gestures(run)
    takes = len(corpus.tested)
    with progress("generate takes", len(generators) * len(config.seeds) * takes) as track:
        done = 0
        for name, trained in by_name.items():
            with_strategies = [f"{name} + {strategy}" for strategy in config.strategies]
            if rows.has(name, *with_strategies):
                done += len(trained) * len(config.seeds) * takes
                track(done, name)
                continue
            runs: list[list[Gesturing]] = []
            for made in trained:
                model = CodeGenerator.from_folder(made.folder)
                for seed in config.seeds:
                    runs.append([])
                    for moved in _moved(model, corpus, config, seed):
                        runs[-1] += moved
                        track(done + len(runs[-1]), name)
                    done += takes
                rebuilt = f"{REBUILT} ({'+'.join(model.config.tokenizer.parts)})"
                rows.make(rebuilt, partial(_through_tokens, judge, corpus, model))
            hop = model.tokens[1] * model.config.tokenizer.frames_per_token
            rows.make(name, partial(_generated, judge, corpus, runs, hop))
            for strategy, named in zip(config.strategies, with_strategies, strict=True):
                track(done, named)
                assert gestures is not None
                chooses = gestures.strategy(strategy)
                given = [with_gestures(gestures, chooses, moved, corpus) for moved in runs]
                motions, parts = zip(*given, strict=True)
                rows.make(named, partial(judge.scores, motions, parts))
    synthetic = bool(run.inputs["takes"].manifest.metrics.get("synthetic"))
    result: dict[str, Any] = {
        "split": config.split,
        "seeds": list(config.seeds),
        "synthetic": synthetic,
        "takes": takes,
        "smplx_model": config.smplx_model is not None,
        "beats": config.beats.model_dump(),
        "rows": rows.made,
    }
    run.folder.write_bytes(json.dumps(result, indent=2).encode(), RESULT)
    report = GenerationReport(title=config.title, provenance=stages, **result)
    run.folder.write_bytes(render(report).encode(), REPORT)
    flat = {
        f"{name}.{key}": value
        for name, scores in rows.made.items()
        for key, value in scores.items()
        if isinstance(value, float)
    }
    rows.forget()
    return StageResult(takes, takes, 0, {**flat, "synthetic": synthetic})


class _Rows:
    """Rows of the table, kept as they are made: an evaluation that was cut off goes on."""

    def __init__(self, folder: Folder) -> None:
        self.kept = folder.child(_UNFINISHED)
        self.made: dict[str, dict[str, Any]] = {}
        if self.kept.exists(RESULT):
            self.made = json.loads(self.kept.read_bytes(RESULT))

    def has(self, *names: str) -> bool:
        return all(name in self.made for name in names)

    def make(self, name: str, scores: Callable[[], dict[str, Any]]) -> None:
        """Add a row, unless it is there."""
        if name not in self.made:
            self.made[name] = scores()
            self.kept.write_bytes(json.dumps(self.made).encode(), RESULT)

    def forget(self) -> None:
        """All is in the result now."""
        self.kept.delete()


def _others_motion(judge: Judge, corpus: Corpus, name: str, folder: str) -> dict[str, Any]:
    return judge.scores([corpus.motions_of(name, folder)])


def _through_tokens(judge: Judge, corpus: Corpus, model: CodeGenerator) -> dict[str, Any]:
    return judge.scores([[Moved(poses) for poses in _rebuilt(model, corpus)]])


def _generated(
    judge: Judge, corpus: Corpus, runs: Sequence[Sequence[Gesturing]], hop: int
) -> dict[str, Any]:
    moved = [[Moved(m.poses, m.trans, m.expressions) for m in run] for run in runs]
    scores = judge.scores(moved) | _gate_scores(runs, corpus.means)
    return scores | {"seam": seam_ratio([m.poses for m in runs[0]], hop)}


def _recorded_gestures(run: StageRun[ScoresConfig]) -> RecordedGestures | None:
    """Those of the index, where a row wants them.

    Raises:
        UserError: there is no index, or it holds gestures of the takes that are scored.
    """
    if not run.config.strategies:
        return None
    if "index" not in run.inputs:
        raise UserError(
            f"strategies: found {', '.join(run.config.strategies)} and no index to retrieve from; "
            "make one with `gestray index build`, or give its URI by --input index=URI"
        )
    gestures = RecordedGestures(run.inputs["index"])
    if held := gestures.phrases_of(run.config.split):
        raise UserError(
            f"{gestures.uri}: holds {held} phrases of the split {run.config.split!r}, whose own "
            "recordings would be retrieved; build it from training takes "
            "(`gestray encoder embed split=train`, `gestray index build`)"
        )
    return gestures


def _moved(
    model: CodeGenerator, corpus: Corpus, config: ScoresConfig, seed: int
) -> Iterator[list[Gesturing]]:
    """Motion for every take of the split, in its speaker's manner where that is known."""
    together = config.together
    for first in range(0, len(corpus.tested), together):
        refs = corpus.tested[first : first + together]
        speakers = [ref.speaker if ref.speaker in model.config.speakers else None for ref in refs]
        seeds = [zlib.crc32(f"{seed}/{ref.take_id}".encode()) for ref in refs]
        speeches = corpus.speech[first : first + together]
        many = model.generate_many(speeches, speakers, seeds, config.temperature)
        frames = [len(moved.poses) for moved in corpus.recorded[first : first + together]]
        yield [moved[:count] for moved, count in zip(many, frames, strict=True)]


def _rebuilt(model: CodeGenerator, corpus: Corpus) -> Iterator[np.ndarray]:
    """Recorded motion through the generator's tokenizer: no choice of codes is better."""
    import torch

    for ref in corpus.tested:
        row = read_columns(corpus.takes, ref, model.tokenizer.columns)
        motion = {name: motion_of(ref, row, name) for name in model.tokenizer.columns}
        clip = {name: torch.from_numpy(values[None].copy()) for name, values in motion.items()}
        codes = model.tokenizer.encode(**clip)
        yield model.tokenizer.decode(codes)[0, : ref.num_frames].numpy()


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


def seam_ratio(clips: Sequence[np.ndarray], hop: int) -> float:
    """Speed of joints from one hop to the next, over that within hops; 95th percentiles.

    1 where nobody can tell the hops, however they move.

    Args:
        clips: poses (T, 165).
        hop: frames of a hop.
    """
    import torch

    from gestray.motion.kinematics import joint_positions

    between, within = [], []
    for poses in clips:
        at_TJ3 = joint_positions(torch.from_numpy(np.array(poses, np.float32)))
        speed_TJ = torch.linalg.vector_norm(at_TJ3.diff(dim=0), dim=-1).numpy()
        seam = np.arange(1, len(poses)) % hop == 0
        between.append(speed_TJ[seam].ravel())
        within.append(speed_TJ[~seam].ravel())
    p95 = [np.percentile(np.concatenate(speeds), 95) for speeds in (between, within)]
    return float(p95[0] / max(p95[1], 1e-9))


def scores_of(folder: Folder) -> Mapping[str, Any]:
    """The result of an evaluation, as it was written."""
    return json.loads(folder.read_bytes(RESULT))


SCORES = Stage(
    name="evaluate.generation",
    makes="evaluation",
    config_type=ScoresConfig,
    run=_evaluate,
    needs=_JUDGES,
    optional=frozenset({"encoder", "index"}),
    others="generator",
    resumes=True,
    fingerprint=fingerprint,
)
