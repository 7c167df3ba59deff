"""Evaluation stage: methods side by side on the test phrases, as figures and as a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import Field

from gestray.artifacts import Artifact, Stage, StageResult, StageRun, provenance
from gestray.config import Config
from gestray.errors import UserError
from gestray.metrics.retrieval import (
    DIRECTIONS,
    TEXT_TO_GESTURE,
    paired_bootstrap,
    ranks_both_ways,
    recall_curve,
    summary,
    summary_intervals,
    text_labels,
)
from gestray.reports.retrieval import (
    Comparison,
    GalleryHit,
    GalleryQuery,
    MethodResult,
    RetrievalReport,
    render,
)
from gestray.views.catalog import read_catalog, read_columns
from jobs.display import progress
from jobs.index import matrix
from jobs.rows import read_rows
from jobs.tokenizer import codebook_use

REPORT = "report.html"
RESULT = "result.json"


class RetrievalConfig(Config):
    """What `gestray evaluate retrieval` does.

    Args:
        split: whose phrases are queries and gallery.
        baseline: method the last one named is compared with, where it is among them.
        title: of the report.
        resamples: of the bootstrap.
        gallery_queries: example queries drawn in the report.
    """

    split: str = "test"
    baseline: str = "direct"
    title: str = "Text ⇄ gesture retrieval"
    resamples: int = Field(2000, ge=100)
    gallery_queries: int = Field(4, ge=0)


def _run(run: StageRun[RetrievalConfig]) -> StageResult:
    config = run.config
    runs = _by_method({k: v for k, v in run.inputs.items() if k != "anchors"})
    rows = _test_rows(runs, config.split)
    ranks: dict[str, dict[str, np.ndarray]] = {}
    methods = []
    with progress("evaluate", len(rows)) as track:
        for done, (method, tables) in enumerate(rows.items(), start=1):
            ranks[method] = _ranks(tables)
            methods.append(_method_result(method, runs[method], ranks[method], config))
            track(done)
    comparison = _comparison(ranks, config)
    gallery = _gallery(rows, runs, ranks, config)
    first = next(iter(rows.values()))[0]
    report = _report(run, runs, methods, comparison, gallery, len(first))
    run.folder.write_bytes(render(report).encode(), REPORT)
    run.folder.write_bytes(_result_json(report).encode(), RESULT)
    return StageResult(len(first), len(first), 0, _metrics(report, len(first)))


def _by_method(inputs: Mapping[str, Artifact]) -> dict[str, list[Artifact]]:
    """Embeddings by method; role ``sma@1`` is another seed of method ``sma``."""
    if not inputs:
        raise UserError("evaluate retrieval: no embeddings given; name at least one method")
    methods: dict[str, list[Artifact]] = {}
    for role, artifact in inputs.items():
        methods.setdefault(role.split("@")[0], []).append(artifact)
    return methods


def _test_rows(runs: Mapping[str, list[Artifact]], split: str) -> dict[str, list[pa.Table]]:
    """Rows of the split for each run, checked to be the same phrases in the same order."""
    found: dict[str, list[pa.Table]] = {}
    phrases: list[str] | None = None
    for method, artifacts in runs.items():
        for artifact in artifacts:
            rows = read_rows(artifact.folder).sort_by("phrase_id")
            keep = pa.compute.equal(rows["split"], split)
            rows = rows.filter(keep)
            if not len(rows):
                raise UserError(
                    f"{artifact.uri}: none of its phrases is in split {split!r}; ingest a corpus "
                    "with such a split, or set split=time:0.8 when ingesting"
                )
            ids = rows["phrase_id"].to_pylist()
            if phrases is not None and ids != phrases:
                raise UserError(
                    f"{artifact.uri}: other test phrases than the methods before it; "
                    "embed all methods from the same takes with the same `phrases` config"
                )
            phrases = ids
            found.setdefault(method, []).append(rows)
    return found


def _ranks(tables: Sequence[pa.Table]) -> dict[str, np.ndarray]:
    """Ranks (S, Q) in both directions; phrases with the same words are all correct."""
    runs = [
        ranks_both_ways(
            matrix(rows, "text_embedding"),
            matrix(rows, "motion_embedding"),
            text_labels(rows["text"].to_pylist()),
        )
        for rows in tables
    ]
    return {direction: np.stack([ranks[direction] for ranks in runs]) for direction in DIRECTIONS}


def _method_result(
    name: str,
    artifacts: Sequence[Artifact],
    ranks: Mapping[str, np.ndarray],
    config: RetrievalConfig,
) -> MethodResult:
    encoders = [artifact.input("encoder") for artifact in artifacts]
    return MethodResult(
        name=name,
        metrics={direction: summary(found) for direction, found in ranks.items()},
        intervals={
            direction: summary_intervals(found, resamples=config.resamples)
            for direction, found in ranks.items()
        },
        seeds=[encoder.manifest.config["loop"]["seed"] for encoder in encoders],
        recall_curve={direction: recall_curve(found) for direction, found in ranks.items()},
        losses=losses_of(encoders[0]),
    )


def _comparison(
    ranks: Mapping[str, Mapping[str, np.ndarray]], config: RetrievalConfig
) -> Comparison | None:
    others = [method for method in ranks if method != config.baseline]
    if config.baseline not in ranks or not others:
        return None
    method = others[-1]
    gain = paired_bootstrap(
        ranks[method][TEXT_TO_GESTURE],
        ranks[config.baseline][TEXT_TO_GESTURE],
        resamples=config.resamples,
    )
    return Comparison(method, config.baseline, TEXT_TO_GESTURE, gain)


def losses_of(trained: Artifact) -> list[dict[str, float]]:
    """The log of a training without what is no loss, and of validation the total alone."""
    from gestray.training.loop import FIGURES, LOG

    rows = [json.loads(line) for line in trained.folder.read_bytes(LOG).splitlines()]

    def is_drawn(name: str) -> bool:
        return name in ("step", "val.loss") or not (name in FIGURES or name.startswith("val."))

    return [{name: row[name] for name in row if is_drawn(name)} for row in rows]


def _gallery(
    rows: Mapping[str, list[pa.Table]],
    runs: Mapping[str, list[Artifact]],
    ranks: Mapping[str, Mapping[str, np.ndarray]],
    config: RetrievalConfig,
    hits: int = 3,
) -> list[GalleryQuery]:
    """Example queries with each method's first hits drawn.

    The queries are spread over the difficulty the first method has with them,
    so that the page shows failures as well.
    """
    first = next(iter(rows.values()))[0]
    order = np.argsort(next(iter(ranks.values()))[TEXT_TO_GESTURE][0], kind="stable")
    count = min(config.gallery_queries, len(order))
    chosen = order[np.linspace(0, len(order) - 1, count).astype(int)] if count else []
    takes = next(iter(runs.values()))[0].input("takes")
    strips = _Strips(takes)
    labels = text_labels(first["text"].to_pylist())
    texts = first["text"].to_pylist()
    queries = []
    for query in chosen:
        found = {}
        for method, tables in rows.items():
            text = matrix(tables[0], "text_embedding")[query]
            scores = matrix(tables[0], "motion_embedding") @ text
            best = np.argsort(-scores, kind="stable")[:hits]
            found[method] = [
                GalleryHit(
                    text=texts[item],
                    score=float(scores[item]),
                    take_id=first["take_id"][item].as_py(),
                    start_s=first["start_s"][item].as_py(),
                    end_s=first["end_s"][item].as_py(),
                    correct=bool(labels[item] == labels[query]),
                    strip_svg=strips.draw(first.slice(item, 1).to_pylist()[0]),
                )
                for item in best.tolist()
            ]
        queries.append(GalleryQuery(texts[query], found))
    return queries


class _Strips:
    """Stick figures of phrases, each drawn once."""

    def __init__(self, takes: Artifact) -> None:
        self.folder = takes.folder
        self.refs = {ref.take_id: ref for ref in read_catalog(takes.folder)}
        self.drawn: dict[str, str] = {}

    def draw(self, phrase: Mapping[str, Any]) -> str:
        import torch

        from gestray.corpora.take import FPS, motion_from_column
        from gestray.motion.kinematics import joint_positions
        from gestray.reports.strips import strip_svg

        if phrase["phrase_id"] not in self.drawn:
            column = read_columns(self.folder, self.refs[phrase["take_id"]], ["poses"])["poses"]
            motion = motion_from_column(column)
            assert motion is not None
            span = slice(round(phrase["start_s"] * FPS), round(phrase["end_s"] * FPS))
            positions = joint_positions(torch.from_numpy(motion[span].copy())).numpy()
            self.drawn[phrase["phrase_id"]] = strip_svg(positions)
        return self.drawn[phrase["phrase_id"]]


def _report(
    run: StageRun[RetrievalConfig],
    runs: Mapping[str, list[Artifact]],
    methods: Sequence[MethodResult],
    comparison: Comparison | None,
    gallery: Sequence[GalleryQuery],
    gallery_size: int,
) -> RetrievalReport:
    """Everything the report shows; facts come from the artifacts the methods were made from."""
    lineage = _lineage([a for artifacts in runs.values() for a in artifacts], run.inputs)
    by_kind = {artifact.manifest.kind: artifact for artifact in lineage}
    takes = by_kind["takes"].manifest
    facts: dict[str, str | int | float] = {
        "takes": takes.rows_out,
        "quarantined": takes.rows_quarantined,
        "speakers": takes.metrics.get("speakers", 0),
        "motion, hours": round(takes.metrics.get("motion_hours", 0.0), 2),
        f"{run.config.split} phrases": gallery_size,
    }
    grounder = "none"
    if anchors := by_kind.get("anchors"):
        metrics = anchors.manifest.metrics
        grounder = " ".join(str(metrics[key]) for key in ("grounder", "model") if key in metrics)
        counts = ("grounded", "ungrounded", "failed")
        grounder += f" ({', '.join(f'{metrics[name]} {name}' for name in counts)})"
    tokenizer, primitives = by_kind.get("tokenizer"), by_kind.get("primitives")
    return RetrievalReport(
        title=run.config.title,
        synthetic=takes.metrics["synthetic"],
        gallery_size=gallery_size,
        corpus=facts,
        grounder=grounder,
        methods=methods,
        comparison=comparison,
        tokenizer_losses=losses_of(tokenizer) if tokenizer else [],
        codebook_use=codebook_use(primitives.manifest.metrics) if primitives else {},
        gallery=gallery,
        provenance=[(a.manifest.stage, a.uri, a.manifest.seconds) for a in lineage],
    )


def _lineage(methods: Sequence[Artifact], inputs: Mapping[str, Artifact]) -> list[Artifact]:
    found = {a.uri: a for artifact in [*inputs.values(), *methods] for a in provenance(artifact)}
    return list(found.values())


def _metrics(report: RetrievalReport, gallery_size: int) -> dict[str, Any]:
    """The figures as flat names: of the last method plainly, of each method under its name."""
    flat: dict[str, Any] = {"gallery_size": gallery_size, "grounder": report.grounder}
    for method in report.methods:
        flat[f"{method.name}.seeds"] = list(method.seeds)
        for direction, figures in method.metrics.items():
            for name, value in figures.items():
                flat[f"{method.name}.{direction}.{name}"] = value
                low_high = method.intervals[direction][name]
                flat[f"{method.name}.{direction}.{name}_interval"] = list(low_high)
    if report.comparison:
        gain = report.comparison.gain
        flat["gain_absolute"] = gain.absolute
        flat["gain_absolute_interval"] = list(gain.absolute_interval)
        flat["gain_relative"] = gain.relative
        flat["gain_interval"] = list(gain.relative_interval) if gain.relative_interval else None
    return flat


def _result_json(report: RetrievalReport) -> str:
    """All figures of the report, without drawings."""
    plain = asdict(replace(report, gallery=()))
    return json.dumps(plain, indent=2, default=str)


RETRIEVAL = Stage(
    name="evaluate.retrieval",
    makes="evaluation",
    config_type=RetrievalConfig,
    run=_run,
    needs={"anchors": "anchors"},
    optional=frozenset({"anchors"}),
    others="embeddings",
)


def methods_of(evaluation: Artifact) -> tuple[list[MethodResult], int, bool]:
    """An evaluation's methods, gallery size, and whether it is synthetic, for the table."""
    result = json.loads(evaluation.folder.read_bytes(RESULT))
    methods = [MethodResult(**method) for method in result["methods"]]
    return methods, result["gallery_size"], result["synthetic"]
