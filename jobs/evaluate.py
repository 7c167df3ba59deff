"""Evaluation stage: methods side by side on the test phrases, as a leaderboard and a report."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import Field

from gestray.artifacts import Artifact, Stage, StageResult, StageRun, provenance
from gestray.config import Config
from gestray.errors import UserError
from gestray.metrics.protocols import ALL
from gestray.metrics.retrieval import DIRECTIONS, TEXT_TO_GESTURE, recall_curve
from gestray.reports.leaderboard import leaderboard_json, leaderboard_markdown, methods_of
from gestray.reports.retrieval import (
    Comparison,
    MethodResult,
    RetrievalReport,
    render,
)
from gestray.work import Work, note
from jobs.display import progress, remarks
from jobs.drawings import confusion, gallery, space
from jobs.meanings import read_meanings
from jobs.measure import RETRIEVAL, TASKS, Measured, PhraseSet, Runs, Task, measure, query_columns
from jobs.rows import read_rows
from jobs.tokenizer import codebook_use
from jobs.vectors import matrix

REPORT = "report.html"
LEADERBOARD, MARKDOWN = "leaderboard.json", "leaderboard.md"

FACTS = ["phrase_id", "take_id", "speaker", "start_s", "end_s", "text"]


class ComparisonConfig(Config):
    """The gain of `method` over `over` in `figure`, a dotted name such as `spotting.accuracy`."""

    method: str
    over: str
    figure: str = f"{TEXT_TO_GESTURE}.r1"


class RetrievalConfig(Config):
    """What `gestray evaluate` does.

    Args:
        tasks: what is measured, as far as a method's embeddings allow.
        split: whose phrases are queries and gallery.
        baseline: method that every other is compared with, in `figure` and text → gesture R@1.
        method: whose gain over the baseline is the headline; the last one named, where
            this one is not among them.
        figure: that the headline is of, because R@1 among all phrases says nothing where it is
            near 0. Where there are too few phrases for it, the headline is of that all the same.
        comparisons: further gains; those of methods that are not among them are left out, and
            those in a figure that either method lacks, which is said.
        title: of the report.
        resamples: of the bootstrap.
        gallery_queries: example queries drawn in the report.
        space_points: gestures drawn of a method's space; 0 for none.
    """

    tasks: tuple[Task, ...] = TASKS
    split: str = "test"
    baseline: str = "direct"
    method: str = "sma"
    figure: str = f"{TEXT_TO_GESTURE}.r1"
    comparisons: tuple[ComparisonConfig, ...] = ()
    title: str = "Text ⇄ gesture retrieval"
    resamples: int = Field(2000, ge=100)
    gallery_queries: int = Field(4, ge=0)
    space_points: int = Field(500, ge=0)


def _run(run: StageRun[RetrievalConfig]) -> StageResult:
    config = run.config
    methods = _by_method({k: v for k, v in run.inputs.items() if k != "anchors"})
    first = next(iter(methods.values()))[0]
    takes = first.input("takes")
    facts = _rows(first, config.split).select(FACTS)
    embed = _text_encoder() if RETRIEVAL in config.tasks else None
    began = time.perf_counter()
    phrases = PhraseSet(
        facts,
        read_meanings(facts, takes, run.inputs.get("anchors")),
        embed(facts["text"].to_pylist()) if embed else None,
        config.tasks,
        config.resamples,
    )
    found: list[Evaluated] = []
    with progress("evaluate", len(methods)) as track:
        for done, (method, artifacts) in enumerate(methods.items(), start=1):
            found += _evaluated(method, artifacts, phrases, config.split)
            track(done)
    note(Work(unit="rows", units=len(facts), busy_s=time.perf_counter() - began))
    report = _report(run, methods, phrases, found, takes)
    run.folder.write_bytes(render(report).encode(), REPORT)
    run.folder.write_bytes(leaderboard_json(report).encode(), LEADERBOARD)
    run.folder.write_bytes(leaderboard_markdown(report).encode(), MARKDOWN)
    return StageResult(len(facts), len(facts), 0, _metrics(report))


def _by_method(inputs: Mapping[str, Artifact]) -> dict[str, list[Artifact]]:
    """Embeddings by method; role ``sma@1`` is another seed of method ``sma``."""
    if not inputs:
        raise UserError("evaluate: no embeddings given; name at least one method")
    methods: dict[str, list[Artifact]] = {}
    for role, artifact in inputs.items():
        methods.setdefault(role.split("@")[0], []).append(artifact)
    return methods


def _rows(artifact: Artifact, split: str) -> pa.Table:
    """The rows of the split, in the order of their ids."""
    rows = read_rows(artifact.folder).sort_by("phrase_id")
    rows = rows.filter(pa.compute.equal(rows["split"], split))
    if not len(rows):
        raise UserError(
            f"{artifact.uri}: none of its phrases is in split {split!r}; ingest a corpus "
            "with such a split, or set split=time:0.8 when ingesting"
        )
    return rows


def _text_encoder() -> Callable[[Sequence[str]], np.ndarray]:
    """Texts → (Q, D), by a sentence encoder that knows nothing of gestures."""
    import torch

    from gestray.encoders.config import TextTowerConfig
    from gestray.encoders.towers.text import TextEncoder

    encoder = TextEncoder(TextTowerConfig())
    return lambda texts: encoder(texts, torch.device("cpu")).numpy()


@dataclass(frozen=True)
class Evaluated:
    """A method, or another way to query it, with the embeddings of its first run for drawings."""

    runs: Runs
    seeds: list[int]
    query: np.ndarray
    motion: np.ndarray
    losses: list[dict[str, float]]

    @property
    def name(self) -> str:
        return self.runs.name

    def result(self) -> MethodResult:
        ranks = self.runs.ranks
        return MethodResult(
            self.name,
            self.runs.figures(),
            self.runs.intervals(),
            {seed: self.runs.figures(number) for number, seed in enumerate(self.seeds)},
            {
                direction: recall_curve(ranks[f"{direction}.medr"])
                for direction in DIRECTIONS
                if f"{direction}.medr" in ranks
            },
            self.losses,
        )


def _evaluated(
    method: str, artifacts: Sequence[Artifact], phrases: PhraseSet, split: str
) -> list[Evaluated]:
    """Measure every run of a method, in each of the ways it can be queried."""
    measured: dict[str, list[Measured]] = {}
    drawn: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for artifact in artifacts:
        rows = _rows(artifact, split)
        if rows["phrase_id"] != phrases.rows["phrase_id"]:
            raise UserError(
                f"{artifact.uri}: other {split} phrases than the methods before it; "
                "embed all methods from the same takes with the same `phrases` config"
            )
        metrics = artifact.manifest.metrics
        columns = query_columns(rows, metrics.get("query_column", "text_embedding"))
        for suffix, column in columns.items():
            found = measure(phrases, rows, column, not suffix, metrics.get("frame_stride"))
            measured.setdefault(method + suffix, []).append(found)
            drawn.setdefault(
                method + suffix, (matrix(rows, column), matrix(rows, "motion_embedding"))
            )
    encoders = [artifact.input("encoder") for artifact in artifacts]
    seeds = [encoder.manifest.config["loop"]["seed"] for encoder in encoders]
    if len(set(seeds)) < len(seeds):
        raise UserError(
            f"{method}: two of its {len(seeds)} runs were trained with the same seed "
            f"({', '.join(map(str, seeds))}); expected one run a seed"
        )
    losses = losses_of(encoders[0])
    return [
        Evaluated(Runs(name, found, phrases), seeds, *drawn[name], losses if name == method else [])
        for name, found in measured.items()
        if len(found) == len(artifacts)
    ]


def losses_of(trained: Artifact) -> list[dict[str, float]]:
    """The log of a training without what is no loss, and of validation the total alone."""
    from gestray.training.loop import FIGURES, LOG

    rows = [json.loads(line) for line in trained.folder.read_bytes(LOG).splitlines()]

    def is_drawn(name: str) -> bool:
        return name in ("step", "val.loss") or not (name in FIGURES or name.startswith("val."))

    return [{name: row[name] for name in row if is_drawn(name)} for row in rows]


def _report(
    run: StageRun[RetrievalConfig],
    methods: Mapping[str, list[Artifact]],
    phrases: PhraseSet,
    found: Sequence[Evaluated],
    takes: Artifact,
) -> RetrievalReport:
    """Everything the report shows; facts come from the artifacts the methods were made from."""
    config = run.config
    lineage = _lineage([a for artifacts in methods.values() for a in artifacts], run.inputs)
    by_kind = {artifact.manifest.kind: artifact for artifact in lineage}
    manifest = takes.manifest
    facts: dict[str, str | int | float] = {
        "takes": manifest.rows_out,
        "quarantined": manifest.rows_quarantined,
        "speakers": manifest.metrics.get("speakers", 0),
        "motion, hours": round(manifest.metrics.get("motion_hours", 0.0), 2),
        f"{config.split} phrases": len(phrases.rows),
    }
    if phrases.meanings.source:
        meant = int(phrases.meanings.carries.any(axis=1).sum())
        facts[f"of them with a meaning ({phrases.meanings.source})"] = meant
    by_name = {evaluated.name: evaluated for evaluated in found}
    headline = _headline(config, by_name)
    shown = [
        by_name[name] for name in dict.fromkeys((config.baseline, headline)) if name in by_name
    ]
    shown = shown or list(found[:1])
    tokenizer, primitives = by_kind.get("tokenizer"), by_kind.get("primitives")
    gains = _comparisons(config, by_name)
    shown_first = (
        c
        for c in gains
        if (c.method, c.baseline) == (headline, config.baseline) and c.figure in _figures(config)
    )
    gain = next(shown_first, None)
    if gain and gain.figure != config.figure:
        remarks.print(f"the gain shown first is in {gain.figure}: there is no {config.figure} here")
    protocols = phrases.protocols.galleries if RETRIEVAL in config.tasks else {}
    return RetrievalReport(
        title=config.title,
        synthetic=manifest.metrics["synthetic"],
        gallery_size=len(phrases.rows),
        corpus=facts,
        grounder=_grounder(run.inputs.get("anchors") or by_kind.get("anchors")),
        methods=[evaluated.result() for evaluated in found],
        comparison=gain,
        comparisons=gains,
        chance={
            name: value for e in found for run in e.runs.runs for name, value in run.chance.items()
        },
        protocols={name: members.shape for name, members in protocols.items() if name != ALL},
        meanings_from=phrases.meanings.source,
        confusions=[c for one in shown if (c := confusion(one, phrases)) is not None],
        spaces=[space(one, phrases, config.space_points) for one in shown if config.space_points],
        tokenizer_losses=losses_of(tokenizer) if tokenizer else [],
        codebook_use=codebook_use(primitives.manifest.metrics) if primitives else {},
        gallery=gallery(found, phrases, takes, config.gallery_queries),
        provenance=[(a.manifest.stage, a.uri, a.manifest.seconds) for a in lineage],
    )


def _headline(config: RetrievalConfig, found: Mapping[str, Evaluated]) -> str:
    others = [name for name in found if name != config.baseline]
    return config.method if config.method in found or not others else others[-1]


def _figures(config: RetrievalConfig) -> list[str]:
    """What methods are compared with the baseline in, the headline's first."""
    return list(dict.fromkeys((config.figure, f"{TEXT_TO_GESTURE}.r1")))


def _comparison(found: Mapping[str, Evaluated], asked: ComparisonConfig) -> Comparison | None:
    if asked.method == asked.over or not {asked.method, asked.over} <= set(found):
        return None
    gain = found[asked.method].runs.gain_over(found[asked.over].runs, asked.figure)
    return None if gain is None else Comparison(asked.method, asked.over, asked.figure, gain)


def _comparisons(config: RetrievalConfig, found: Mapping[str, Evaluated]) -> list[Comparison]:
    asked = [
        ComparisonConfig(method=name, over=config.baseline, figure=figure)
        for figure in _figures(config)
        for name in found
    ]
    made = [_comparison(found, one) for one in (*asked, *config.comparisons)]
    for one in config.comparisons:
        _remark_if_lacking(one, found)
    return [comparison for comparison in made if comparison is not None]


def _remark_if_lacking(asked: ComparisonConfig, found: Mapping[str, Evaluated]) -> None:
    for name in (asked.method, asked.over):
        if name not in found or asked.figure in (known := found[name].runs.values):
            continue
        near = ", ".join(difflib.get_close_matches(asked.figure, known)) or "none is near"
        remarks.print(
            f"comparisons: {name} has no figure {asked.figure!r} ({near}); the gain of "
            f"{asked.method} over {asked.over} in it is left out",
            markup=False,
        )
        return


def _grounder(anchors: Artifact | None) -> str:
    if anchors is None:
        return "none"
    metrics = anchors.manifest.metrics
    name = " ".join(str(metrics[key]) for key in ("grounder", "model") if key in metrics)
    counts = [f"{metrics[key]} {key}" for key in ("grounded", "ungrounded", "failed")]
    return f"{name} ({', '.join(counts)})"


def _lineage(methods: Sequence[Artifact], inputs: Mapping[str, Artifact]) -> list[Artifact]:
    found = {a.uri: a for artifact in [*inputs.values(), *methods] for a in provenance(artifact)}
    return list(found.values())


def _metrics(report: RetrievalReport) -> dict[str, Any]:
    """The figures as flat names: of each method under its name, and the headline gain."""
    flat: dict[str, Any] = {"gallery_size": report.gallery_size, "grounder": report.grounder}
    for method in report.methods:
        flat[f"{method.name}.seeds"] = method.seeds
        for name, value in method.figures.items():
            flat[f"{method.name}.{name}"] = value
            if name in method.intervals:
                flat[f"{method.name}.{name}_interval"] = list(method.intervals[name])
    if report.comparison:
        gain = report.comparison.gain
        flat["gain_of"] = report.comparison.figure
        flat["gain_absolute"] = gain.absolute
        flat["gain_absolute_interval"] = list(gain.absolute_interval)
        flat["gain_relative"] = gain.relative
        flat["gain_interval"] = list(gain.relative_interval) if gain.relative_interval else None
    return flat


RETRIEVAL_STAGE = Stage(
    name="evaluate.retrieval",
    makes="evaluation",
    config_type=RetrievalConfig,
    run=_run,
    needs={"anchors": "anchors"},
    optional=frozenset({"anchors"}),
    others="embeddings",
)


def read_methods(evaluation: Artifact) -> tuple[list[MethodResult], int, bool]:
    """An evaluation's methods, gallery size, and whether it is synthetic, for the tables."""
    return methods_of(evaluation.folder.read_bytes(LEADERBOARD).decode())
