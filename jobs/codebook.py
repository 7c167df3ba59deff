"""The tokenizer's report: what each level of codes gives, how codes are used, every code drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import Field

from gestray.artifacts import Stage, StageResult, StageRun, provenance
from gestray.config import Config, make_config
from gestray.errors import UserError
from gestray.store import Folder
from gestray.views.catalog import TakeRef, read_catalog
from gestray.views.phrases import PhraseConfig, phrases_of
from gestray.views.windows import motion_of
from jobs.rows import map_takes, read_rows, write_rows
from jobs.tokenizer import CODES, codebook_use

REPORT = "report.html"
PRIMITIVES = "primitives.html"

# One row a take: the errors of its phrases, as JSON, and how many frames they average.
_SCHEMA = pa.schema(
    [
        ("take_id", pa.string()),
        ("phrases", pa.int32()),
        ("frames", pa.int64()),
        ("errors", pa.string()),
    ]
)


class ReportConfig(Config):
    """What `gestray tokenizer report` does.

    Args:
        split: whose phrases are rebuilt.
        actors: processes that rebuild.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"actors"})

    split: str = "test"
    actors: int = Field(2, ge=1)


class Rebuilder:
    """Rebuilds a take's phrases with one, two, … levels; runs in an actor."""

    def __init__(self, tokenizer: Folder, phrases: PhraseConfig, split: str) -> None:
        from gestray.tokenizers.model import MotionTokenizer

        self.model = MotionTokenizer.from_folder(tokenizer)
        self.columns = self.model.columns
        self.phrases, self.split = phrases, split

    def __call__(self, ref: TakeRef, take: pa.Table) -> pa.Table:
        import torch

        from gestray.metrics.reconstruction import errors_by_level

        spans = _phrases(ref, self.phrases, self.split)
        if not spans:
            return _SCHEMA.empty_table()
        motion = {name: motion_of(ref, take, name) for name in self.columns}
        clips = [
            {name: torch.from_numpy(values[first:last].copy()) for name, values in motion.items()}
            for first, last in spans
        ]
        errors = json.dumps(errors_by_level(self.model, clips))
        frames = sum(last - first for first, last in spans)
        return pa.table([[ref.take_id], [len(spans)], [frames], [errors]], schema=_SCHEMA)


def _phrases(ref: TakeRef, config: PhraseConfig, split: str) -> list[tuple[int, int]]:
    """First frame and one past the last of a take's phrases in a split."""
    return [(p.first, p.last) for p in phrases_of(ref, config) if p.split == split]


def _run(run: StageRun[ReportConfig]) -> StageResult:
    from gestray.reports.primitives import primitives
    from gestray.reports.tokenizer import PrimitivesPage, TokenizerReport, render, render_primitives
    from gestray.tokenizers.model import MotionTokenizer
    from jobs.evaluate import losses_of

    takes, tokenizer, encoded = (run.inputs[name] for name in ("takes", "tokenizer", "primitives"))
    split = run.config.split
    phrases = make_config(PhraseConfig, encoded.manifest.config["phrases"], encoded.uri)
    catalog = [ref for ref in read_catalog(takes.folder) if _phrases(ref, phrases, split)]
    if not catalog:
        raise UserError(
            f"{takes.uri}: no phrase is in split {split!r}; choose another with split=…, or set "
            "split=time:0.8 when ingesting"
        )
    setup = {"tokenizer": tokenizer.folder, "phrases": phrases, "split": split}
    rebuilt = map_takes(takes.folder, catalog, Rebuilder, setup, run.config.actors)
    write_rows(run.folder, rebuilt, _SCHEMA, "rebuild takes", len(catalog))
    errors = mean_errors(run.folder)
    synthetic = bool(takes.manifest.metrics["synthetic"])
    count = sum(len(_phrases(ref, phrases, split)) for ref in catalog)
    model = MotionTokenizer.from_folder(tokenizer.folder)
    first_level = _first_level(encoded.folder, model.config.parts)
    found = primitives(model, first_level)
    title = f"Tokenizer {tokenizer.manifest.name}"
    run.folder.write_bytes(
        render_primitives(PrimitivesPage(f"{title}: primitives", synthetic, found)).encode(),
        PRIMITIVES,
    )
    lineage = {a.uri: a for artifact in run.inputs.values() for a in provenance(artifact)}
    gesture = errors.pop("gesture")
    report = TokenizerReport(
        title=title,
        synthetic=synthetic,
        split=split,
        corpus={"takes": takes.manifest.rows_out, f"{split} phrases": count},
        gesture=gesture,
        errors=errors,
        codebook_use=codebook_use(encoded.manifest.metrics),
        losses=losses_of(tokenizer),
        primitives=PRIMITIVES,
        provenance=[(a.manifest.stage, a.uri, a.manifest.seconds) for a in lineage.values()],
    )
    run.folder.write_bytes(render(report).encode(), REPORT)
    metrics: dict[str, Any] = {"split": split, "phrases": count, "synthetic": synthetic}
    for part, rows in {**errors, "gesture": gesture}.items():
        for levels, row in enumerate(rows, start=1):
            metrics |= {f"{part}.levels{levels}.{name}": value for name, value in row.items()}
    return StageResult(len(catalog), len(catalog), 0, metrics)


def mean_errors(report: Folder) -> dict[str, list[dict[str, float]]]:
    """Errors by part (and ``gesture``), one mapping of figures for 1, 2, … levels."""
    rows = read_rows(report)
    total = pa.compute.sum(rows["frames"]).as_py()
    found: dict[str, list[dict[str, float]]] = {}
    for frames, text in zip(rows["frames"].to_pylist(), rows["errors"].to_pylist(), strict=True):
        for row in json.loads(text):
            levels = found.setdefault(row.pop("part"), [])
            index = row.pop("levels") - 1
            if index == len(levels):
                levels.append({})
            for name, value in row.items():
                levels[index][name] = levels[index].get(name, 0.0) + value * frames / total
    return found


def _first_level(primitives: Folder, parts: Sequence[str]) -> dict[str, np.ndarray]:
    """First-level codes (N,) of all N tokens of all phrases, by part."""
    rows = read_rows(primitives, [CODES + part for part in parts])
    found = {}
    for part in parts:
        tokens = pa.compute.list_flatten(rows[CODES + part])
        found[part] = pa.compute.list_element(tokens, 0).to_numpy().astype(np.int64)
    return found


REPORT_STAGE = Stage(
    name="tokenizer.report",
    makes="evaluation",
    config_type=ReportConfig,
    run=_run,
    needs={"takes": "takes", "tokenizer": "tokenizer", "primitives": "primitives"},
)
