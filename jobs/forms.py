"""Evaluation of anchors beside gold: what is read off motion, and what it is said to mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from gestray.anchors.gold import GoldClip, read_gold
from gestray.anchors.review import as_gold
from gestray.anchors.taxonomy import load_taxonomy
from gestray.artifacts import Artifact, Stage, StageResult, StageRun, provenance
from gestray.config import Config
from gestray.corpora.splits import spans
from gestray.errors import UserError
from gestray.form import PhysicalForm
from gestray.metrics.forms import FieldScore, score_forms
from gestray.metrics.intents import IntentScore
from gestray.store import Folder
from gestray.views.catalog import TakeRef, read_catalog, read_columns
from jobs.intents import (
    file_digest,
    gold_of_clips,
    gold_of_phrases,
    grader_agreement,
    write_intents,
)
from jobs.reviews import read_reviews
from jobs.rows import ROWS, map_takes, read_rows, write_rows

REPORT = "report.html"
RECORDED, REBUILT = "recorded", "through tokens"

_SCHEMA = pa.schema(
    [
        ("take_id", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("gold", pa.string()),
        (RECORDED, pa.string()),
        (REBUILT, pa.string()),
    ]
)


class EvaluateConfig(Config):
    """What `gestray anchors evaluate` does.

    Args:
        split: whose gestures are described.
        gold: a file of gold clips (`gestray.anchors.gold`) in the place of a corpus's gold; then
            anchors alone are evaluated, and no motion is read. So it is with the input `reviews`.
        taxonomy: a YAML file of the intents that `gold` names, in the place of the shipped one.
        margin_s: motion before and after a gold gesture whose phases are unknown, seconds.
        actors: processes that describe.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"actors"})

    split: str = "test"
    gold: str = ""
    taxonomy: str = ""
    margin_s: float = Field(0.6, ge=0)
    actors: int = Field(2, ge=1)


class GestureDescriber:
    """Describes the gold gestures of a take; runs in an actor."""

    columns = ("poses", "gold")

    def __init__(self, config: EvaluateConfig, tokenizer: Folder | None) -> None:
        from gestray.tokenizers.model import MotionTokenizer

        self.config = config
        self.model = MotionTokenizer.from_folder(tokenizer) if tokenizer else None

    def __call__(self, ref: TakeRef, take: pa.Table) -> pa.Table:
        import torch

        from gestray.anchors.verbalize import describe_many
        from gestray.corpora.take import motion_from_column

        golds = _golds(ref, take, self.config.split)
        if not golds:
            return _SCHEMA.empty_table()
        poses = motion_from_column(take["poses"])
        assert poses is not None, "a take without motion has no gestures"
        clips = [torch.from_numpy(poses[self._frames(ref, gold)].copy()) for gold in golds]
        found = {RECORDED: describe_many(clips)}
        if self.model is not None:
            rebuilt = [self.model.decode(self.model.encode(clip[None]))[0] for clip in clips]
            found[REBUILT] = describe_many(
                [motion[: len(clip)] for motion, clip in zip(rebuilt, clips, strict=True)]
            )
        columns = {
            "take_id": [ref.take_id] * len(golds),
            "start_s": [gold["start_s"] for gold in golds],
            "end_s": [gold["end_s"] for gold in golds],
            "gold": [gold["form"] for gold in golds],
            **{
                name: [description.form.model_dump_json() for description in descriptions]
                for name, descriptions in found.items()
            },
        }
        return pa.table({**dict.fromkeys(_SCHEMA.names, [None] * len(golds)), **columns}, _SCHEMA)

    def _frames(self, ref: TakeRef, gold: Mapping[str, Any]) -> slice:
        from gestray.corpora.take import FPS
        from gestray.form import GesturePhases

        if gold["phases"] is None:
            start_s = gold["start_s"] - self.config.margin_s
            end_s = gold["end_s"] + self.config.margin_s
        else:
            phases = GesturePhases.model_validate_json(gold["phases"])
            start_s, end_s = phases.start_s, phases.end_s
        return slice(max(0, round(start_s * FPS)), min(ref.num_frames or 0, round(end_s * FPS)))


def _golds(ref: TakeRef, take: pa.Table, split: str) -> list[dict[str, Any]]:
    """A take's gold gestures that have a form and lie in the split."""
    first, last = spans(ref.split, ref.duration_s)[split]
    return [
        gold
        for gold in take["gold"][0].as_py() or ()
        if gold["form"] is not None and first <= gold["start_s"] and gold["end_s"] <= last
    ]


def _run(run: StageRun[EvaluateConfig]) -> StageResult:
    grounders = {
        role: artifact for role, artifact in run.inputs.items() if role not in EVALUATE.needs
    }
    metrics: dict[str, Any]
    reviews = run.inputs.get("reviews")
    if run.config.gold or reviews:
        if run.config.gold and reviews:
            raise UserError("anchors.evaluate: expected reviews or gold=FILE, not both")
        clips = (
            as_gold(read_reviews(reviews))
            if reviews
            else read_gold(run.config.gold, load_taxonomy(run.config.taxonomy))
        )
        gold = gold_of_clips(clips)
        scores = _clip_scores(clips, grounders)
        intents = write_intents(
            run.folder, {name: (artifact, gold) for name, artifact in grounders.items()}
        )
        count = len(clips)
        metrics = {"clips": count, **_numbers({"graders.kappa": grader_agreement(clips)})}
        corpus = {"clips": count}
        synthetic = any(_synthetic(a) for a in _lineage(run) if a.manifest.kind == "takes")
    else:
        takes = run.inputs.get("takes")
        if takes is None:
            raise UserError("anchors.evaluate: expected takes with gold, or a file (gold=FILE)")
        catalog = [
            ref
            for ref in read_catalog(takes.folder)
            if ref.num_frames and run.config.split in spans(ref.split, ref.duration_s)
        ]
        golds = {
            ref.take_id: _golds(ref, read_columns(takes.folder, ref, ["gold"]), run.config.split)
            for ref in catalog
        }
        count, synthetic = _describe(run, takes, catalog, golds), _synthetic(takes)
        scores = scores_of(run.folder)
        intents = {}
        if grounders:
            beside = {
                name: (artifact, gold_of_phrases(artifact, takes, golds))
                for name, artifact in grounders.items()
            }
            intents = write_intents(run.folder, beside)
        metrics = {"gestures": count}
        corpus = {"takes": takes.manifest.rows_out, f"{run.config.split} gestures": count}
    run.folder.write_bytes(_page(run, scores, intents, count, synthetic, corpus).encode(), REPORT)
    metrics |= {"synthetic": synthetic}
    for source, fields in scores.items():
        for name, field in fields.items():
            key = f"{source.replace(' ', '_')}.{name.replace(' ', '_')}"
            metrics |= _numbers({key: field.accuracy})
    for grounder, score in intents.items():
        metrics |= _intent_metrics(grounder, score)
    return StageResult(count, count, 0, metrics)


def _describe(
    run: StageRun[EvaluateConfig],
    takes: Artifact,
    catalog: list[TakeRef],
    golds: Mapping[str, list[dict[str, Any]]],
) -> int:
    """Write the forms of all gold gestures, recorded and through the tokenizer; their number."""
    expected = sum(map(len, golds.values()))
    if not expected:
        raise UserError(
            f"{takes.uri}: no take of split {run.config.split!r} has gold physical forms; evaluate "
            "on a corpus that has them, such as the one of `gestray corpus synth`"
        )
    tokenizer = run.inputs.get("tokenizer")
    setup = {"config": run.config, "tokenizer": tokenizer.folder if tokenizer else None}
    described = map_takes(takes.folder, catalog, GestureDescriber, setup, run.config.actors)
    count = write_rows(run.folder, described, _SCHEMA, "describe gestures", expected)
    assert count == expected, f"{expected} gold gestures, {count} described"
    return count


def _clip_scores(
    clips: Sequence[GoldClip], grounders: Mapping[str, Artifact]
) -> dict[str, dict[str, FieldScore]]:
    """Grounder → field → score of its anchors' forms, of the clips that have one in both."""
    found = {}
    for name, artifact in grounders.items():
        rows = read_rows(artifact.folder, ["phrase_id", "form"]).to_pylist()
        forms = {row["phrase_id"]: PhysicalForm.model_validate_json(row["form"]) for row in rows}
        pairs = [
            (clip.form, forms[clip.clip])
            for clip in clips
            if clip.form is not None and clip.clip in forms
        ]
        if pairs:
            found[name] = score_forms(*zip(*pairs, strict=True))
    return found


def _intent_metrics(grounder: str, score: IntentScore) -> dict[str, Any]:
    figures = {
        "intent_accuracy": score.accuracy,
        "intent_macro_f1": score.macro_f1,
        "sentence_similarity": score.similarity,
        "calibration_error": score.calibration_error,
    }
    counts = {"cases": score.cases, **score.statuses}
    return {f"{grounder}.{name}": value for name, value in (_numbers(figures) | counts).items()}


def _numbers(figures: Mapping[str, float]) -> dict[str, float]:
    """Those there are: JSON has no NaN."""
    return {name: value for name, value in figures.items() if not math.isnan(value)}


def scores_of(folder: Folder) -> dict[str, dict[str, FieldScore]]:
    """Source of the motion → field → score, of an evaluation's rows; none of a file's clips."""
    if not folder.exists(ROWS):
        return {}
    rows = read_rows(folder)

    def forms(column: str) -> list[PhysicalForm]:
        return [PhysicalForm.model_validate_json(form) for form in rows[column].to_pylist()]

    sources = [name for name in (RECORDED, REBUILT) if not rows[name].null_count]
    return {source: score_forms(forms("gold"), forms(source)) for source in sources}


def _page(
    run: StageRun[EvaluateConfig],
    scores: Mapping[str, Mapping[str, FieldScore]],
    intents: Mapping[str, IntentScore],
    count: int,
    synthetic: bool,
    corpus: Mapping[str, int],
) -> str:
    from gestray.reports.forms import FormReport, render

    return render(
        FormReport(
            title="What the verbalizer sees" if not intents else "What the anchors say",
            synthetic=synthetic,
            split="gold" if run.config.gold or "reviews" in run.inputs else run.config.split,
            gestures=count,
            scores=scores,
            intents=intents,
            corpus=corpus,
            provenance=[(a.manifest.stage, a.uri, a.manifest.seconds) for a in _lineage(run)],
        )
    )


def _lineage(run: StageRun[EvaluateConfig]) -> list[Artifact]:
    found = {a.uri: a for artifact in run.inputs.values() for a in provenance(artifact)}
    return list(found.values())


def _synthetic(takes: Artifact) -> bool:
    return bool(takes.manifest.metrics["synthetic"])


EVALUATE = Stage(
    name="anchors.evaluate",
    makes="evaluation",
    config_type=EvaluateConfig,
    run=_run,
    needs={"takes": "takes", "tokenizer": "tokenizer", "reviews": "reviews"},
    optional=frozenset({"takes", "tokenizer", "reviews"}),
    others="anchors",
    fingerprint=lambda config: file_digest(config.gold, config.taxonomy) if config.gold else None,
)
