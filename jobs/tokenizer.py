"""Tokenizer stages: train it, and encode every phrase into tokens (motion primitives)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import Field

from gestray.artifacts import Stage, StageResult, StageRun
from gestray.config import Config, make_config
from gestray.store import Folder
from gestray.tokenizers.config import TokenizerTraining
from gestray.views.catalog import TakeRef, read_catalog
from gestray.views.phrases import PhraseConfig, Phrases
from jobs.cluster import connect
from jobs.phrases import count_phrases
from jobs.rows import map_takes, read_rows, write_rows
from jobs.training import last_losses, train_with_progress


def _train(run: StageRun[TokenizerTraining]) -> StageResult:
    from gestray.tokenizers.task import TokenizerTask
    from gestray.training.checkpoint import save_config

    takes = run.inputs["takes"]
    log = train_with_progress(
        "tokenizer", TokenizerTask(run.config), run.config.loop, takes, run.folder
    )
    save_config(run.config.model, run.folder)
    return StageResult(takes.manifest.rows_out, takes.manifest.rows_out, 0, last_losses(log))


TRAIN = Stage(
    name="tokenizer.train",
    makes="tokenizer",
    config_type=TokenizerTraining,
    run=_train,
    needs={"takes": "takes"},
    resumes=True,
)


class EncodeConfig(Config):
    """What `gestray tokenizer encode` does.

    Args:
        phrases: how takes are cut.
        actors: processes that encode.
    """

    EXECUTION: ClassVar[frozenset[str]] = frozenset({"actors"})

    phrases: PhraseConfig = PhraseConfig()
    actors: int = Field(2, ge=1)


CODES = "codes_"
_PHRASE_FIELDS = [
    ("phrase_id", pa.string()),
    ("take_id", pa.string()),
    ("speaker", pa.string()),
    ("split", pa.string()),
    ("start_s", pa.float64()),
    ("end_s", pa.float64()),
    ("text", pa.string()),
    ("num_frames", pa.int32()),
    ("wrist_mm", pa.float32()),
    ("finger_mm", pa.float32()),
]


def primitives_schema(parts: tuple[str, ...]) -> pa.Schema:
    """Rows of a `primitives` artifact; codes are lists (tokens) of lists (levels).

    `wrist_mm` and `finger_mm` are `gesture_errors` of the motion the codes stand for.
    """
    codes = pa.list_(pa.list_(pa.int16()))
    return pa.schema(_PHRASE_FIELDS + [(CODES + part, codes) for part in parts])


class PhraseEncoder:
    """Cuts a take into phrases and encodes each; runs in an actor."""

    columns = ("poses",)

    def __init__(self, tokenizer: Folder, phrases: PhraseConfig) -> None:
        from gestray.tokenizers.model import MotionTokenizer

        self.model = MotionTokenizer.from_folder(tokenizer)
        self.view = Phrases(phrases, split=None)
        self.schema = primitives_schema(self.model.config.parts)

    def __call__(self, ref: TakeRef, take: pa.Table) -> pa.Table:
        import torch

        from gestray.metrics.reconstruction import gesture_errors

        count = self.view.count(ref)
        if not count:
            return self.schema.empty_table()
        rows = self.view.cut(ref, take, range(count))
        buffers = rows["poses"].to_pylist()
        motions = [
            torch.from_numpy(np.frombuffer(buffer, np.float32).reshape(-1, 165).copy())
            for buffer in buffers
        ]
        encoded = [self.model.encode(motion[None]) for motion in motions]
        errors = [
            gesture_errors(motion, self.model.decode(codes)[0, : len(motion)])
            for motion, codes in zip(motions, encoded, strict=True)
        ]
        lengths = [len(motion) for motion in motions]
        rows = rows.append_column("num_frames", pa.array(lengths, pa.int32()))
        for name in ("wrist_mm", "finger_mm"):
            rows = rows.append_column(name, pa.array([error[name] for error in errors]))
        for part in self.model.config.parts:
            codes = [codes[part][0].tolist() for codes in encoded]
            column = pa.array(codes, self.schema.field(CODES + part).type)
            rows = rows.append_column(CODES + part, column)
        return rows.select(self.schema.names).cast(self.schema)


def _encode(run: StageRun[EncodeConfig]) -> StageResult:
    takes, tokenizer = run.inputs["takes"], run.inputs["tokenizer"]
    training = make_config(TokenizerTraining, tokenizer.manifest.config, tokenizer.uri)
    catalog = [ref for ref in read_catalog(takes.folder) if ref.num_frames]
    expected = count_phrases(catalog, run.config.phrases)
    connect()
    use = _CodebookUse(training.model.codebook_size, training.model.quantizers)
    setup = {"tokenizer": tokenizer.folder, "phrases": run.config.phrases}
    encoded = map_takes(takes.folder, catalog, PhraseEncoder, setup, run.config.actors)
    schema = primitives_schema(training.model.parts)
    rows = write_rows(run.folder, encoded, schema, "encode phrases", expected, use.add)
    metrics = {"phrases": rows, **_test_errors(run.folder), **use.metrics()}
    return StageResult(expected, rows, 0, metrics)


def _test_errors(primitives: Folder) -> dict[str, float]:
    """Mean reconstruction errors of the test phrases, if there are any."""
    rows = read_rows(primitives, ["split", "wrist_mm", "finger_mm"])
    test = rows.filter(pa.compute.equal(rows["split"], "test"))
    if not len(test):
        return {}
    return {
        f"test.{name}": pa.compute.mean(test[name]).as_py() for name in ("wrist_mm", "finger_mm")
    }


class _CodebookUse:
    """How often each code occurs, per stream and level."""

    def __init__(self, codebook_size: int, quantizers: int) -> None:
        self.shape = (quantizers, codebook_size)
        self.counts: dict[str, np.ndarray] = {}

    def add(self, rows: pa.Table) -> None:
        quantizers, size = self.shape
        for name in rows.column_names:
            if name.startswith(CODES) and len(rows):
                flat = rows[name].combine_chunks().flatten().flatten().to_numpy()
                counts = self.counts.setdefault(name.removeprefix(CODES), np.zeros(self.shape, int))
                for level, codes in enumerate(flat.reshape(-1, quantizers).T):
                    counts[level] += np.bincount(codes, minlength=size)

    def metrics(self) -> dict[str, float]:
        """Share of codes used, and perplexity (2 to the entropy in bits), by stream and level."""
        found: dict[str, float] = {}
        for part, counts in self.counts.items():
            for level, row in enumerate(counts):
                share = row / max(1, row.sum())
                entropy = -np.sum(share[share > 0] * np.log(share[share > 0]))
                found[f"codebook.{part}.{level}.used"] = float((row > 0).mean())
                found[f"codebook.{part}.{level}.perplexity"] = float(np.exp(entropy))
        return found


def codebook_use(metrics: Mapping[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """The figures of `_CodebookUse.metrics` as stream → [(use, perplexity) of each level]."""
    found: dict[str, list[tuple[float, float]]] = {}
    for name, used in metrics.items():
        if name.startswith("codebook.") and name.endswith(".used"):
            _, part, level, _ = name.split(".")
            perplexity = metrics[f"codebook.{part}.{level}.perplexity"]
            found.setdefault(part, []).append((used, perplexity))
    return found


ENCODE = Stage(
    name="tokenizer.encode",
    makes="primitives",
    config_type=EncodeConfig,
    run=_encode,
    needs={"takes": "takes", "tokenizer": "tokenizer"},
)
