"""Tokenizer stages: train it, and encode every phrase into tokens (motion primitives)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import Field

from gestray.artifacts import Stage, StageResult, StageRun
from gestray.config import Config, make_config
from gestray.errors import UserError
from gestray.store import Folder
from gestray.tokenizers.config import TokenizerTraining
from gestray.views.catalog import TakeRef, read_catalog, takes_without
from gestray.views.phrases import PhraseConfig, Phrases, phrases_of
from gestray.views.windows import motion_of
from jobs.phrases import count_phrases
from jobs.rows import map_takes, read_rows, write_rows
from jobs.training import last_losses, train_with_progress

if TYPE_CHECKING:
    import torch


def _train(run: StageRun[TokenizerTraining]) -> StageResult:
    from gestray.tokenizers.task import TokenizerTask
    from gestray.training.checkpoint import save_config

    takes = run.inputs["takes"]
    _check_columns(takes.folder, run.config)
    log = train_with_progress(
        "tokenizer", TokenizerTask(run.config), run.config.loop, takes, run.folder
    )
    save_config(run.config.model, run.folder)
    return StageResult(takes.manifest.rows_out, takes.manifest.rows_out, 0, last_losses(log))


def _check_columns(takes: Folder, config: TokenizerTraining) -> None:
    """Refuse a corpus that lacks what a part is made of, before anything starts.

    Raises:
        UserError: names the takes, the column and the parts to leave out.
    """
    from gestray.tokenizers.parts import columns_of

    parts = config.model.parts
    catalog = [ref for ref in read_catalog(takes) if ref.num_frames]
    for column in columns_of(parts):
        lacking = takes_without(takes, catalog, column)
        if lacking:
            needy = [part for part in parts if column in columns_of((part,))]
            rest = ", ".join(part for part in parts if part not in needy)
            shown = ", ".join(lacking[:3]) + (", …" if len(lacking) > 3 else "")
            raise UserError(
                f"{len(lacking)} of {len(catalog)} takes have no {column} ({shown}), and "
                f"{' and '.join(needy)} is made of them; set model.parts=[{rest}], or ingest a "
                "corpus in which every take has them"
            )


TRAIN = Stage(
    name="tokenizer.train",
    makes="tokenizer",
    config_type=TokenizerTraining,
    run=_train,
    needs={"takes": "takes"},
    resumes=True,
    revision=1,  # the weights of features are kept with the model
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
    ("wrist_mm_by_level", pa.list_(pa.float32())),
    ("finger_mm_by_level", pa.list_(pa.float32())),
]
_ERRORS = [name for name, _ in _PHRASE_FIELDS if "_mm" in name]


def primitives_schema(parts: tuple[str, ...]) -> pa.Schema:
    """Rows of a `primitives` artifact; codes are lists (tokens) of lists (levels).

    `wrist_mm` and `finger_mm` are `gesture_errors` of the motion the codes stand for, and
    `…_by_level` those of the first one, two, … levels alone; of test phrases, null in others,
    because they take five times as long as the codes.
    """
    codes = pa.list_(pa.list_(pa.int16()))
    return pa.schema(_PHRASE_FIELDS + [(CODES + part, codes) for part in parts])


class PhraseEncoder:
    """Cuts a take into phrases and encodes each; runs in an actor."""

    def __init__(self, tokenizer: Folder, phrases: PhraseConfig) -> None:
        from gestray.tokenizers.model import MotionTokenizer

        self.model = MotionTokenizer.from_folder(tokenizer)
        self.view = Phrases(phrases, split=None)
        self.schema = primitives_schema(self.model.config.parts)
        self.columns = self.model.columns

    def __call__(self, ref: TakeRef, take: pa.Table) -> pa.Table:
        import torch

        count = self.view.count(ref)
        if not count:
            return self.schema.empty_table()
        rows = self.view.cut(ref, take, range(count))
        motion = {name: motion_of(ref, take, name) for name in self.columns}
        columns: dict[str, list[Any]] = {name: [] for name in self._added()}
        splits = rows["split"].to_pylist()
        for phrase, split in zip(phrases_of(ref, self.view.config), splits, strict=True):
            clip = {
                name: torch.from_numpy(values[None, phrase.first : phrase.last].copy())
                for name, values in motion.items()
            }
            codes = self.model.encode(**clip)
            errors = self._errors(clip["poses"][0], codes) if split == "test" else {}
            for name in _ERRORS:
                columns[name].append(errors.get(name))
            columns["num_frames"].append(clip["poses"].shape[1])
            for part, found in codes.items():
                columns[CODES + part].append(found[0].tolist())
        for name, values in columns.items():
            rows = rows.append_column(name, pa.array(values, self.schema.field(name).type))
        return rows.select(self.schema.names).cast(self.schema)

    def _added(self) -> list[str]:
        """Columns that rows of phrases get."""
        return ["num_frames", *_ERRORS, *(CODES + part for part in self.model.config.parts)]

    def _errors(self, recorded: torch.Tensor, codes: dict[str, torch.Tensor]) -> dict[str, Any]:
        """`gesture_errors` of (T, 165) with all of the codes' levels, and by their number."""
        import torch

        from gestray.metrics.reconstruction import gesture_errors

        levels = self.model.config.quantizers
        # One clip a number of levels, with those beyond it left out.
        beyond = torch.ones(levels, levels, dtype=torch.bool).triu(1)[:, None]
        rebuilt = self.model.decode({part: c.masked_fill(beyond, -1) for part, c in codes.items()})
        errors = [gesture_errors(recorded, clip[: len(recorded)]) for clip in rebuilt]
        by_level = {f"{name}_by_level": [error[name] for error in errors] for name in errors[-1]}
        return errors[-1] | by_level


def _encode(run: StageRun[EncodeConfig]) -> StageResult:
    takes, tokenizer = run.inputs["takes"], run.inputs["tokenizer"]
    training = make_config(TokenizerTraining, tokenizer.manifest.config, tokenizer.uri)
    _check_columns(takes.folder, training)
    catalog = [ref for ref in read_catalog(takes.folder) if ref.num_frames]
    expected = count_phrases(catalog, run.config.phrases)
    use = _CodebookUse(training.model.codebook_size, training.model.quantizers)
    setup = {"tokenizer": tokenizer.folder, "phrases": run.config.phrases}
    encoded = map_takes(takes.folder, catalog, PhraseEncoder, setup, run.config.actors)
    schema = primitives_schema(training.model.parts)
    rows = write_rows(run.folder, encoded, schema, "encode phrases", expected, use.add)
    metrics = {"phrases": rows, **_test_errors(run.folder), **use.metrics()}
    return StageResult(expected, rows, 0, metrics)


def _test_errors(primitives: Folder) -> dict[str, float]:
    """Mean reconstruction errors of the test phrases, if there are any, in all and by level."""
    names = ["wrist_mm", "finger_mm"]
    columns = ["split", *names, *(f"{name}_by_level" for name in names)]
    rows = read_rows(primitives, columns)
    test = rows.filter(pa.compute.equal(rows["split"], "test"))
    if not len(test):
        return {}
    found = {f"test.{name}": pa.compute.mean(test[name]).as_py() for name in names}
    for name in names:
        by_level = np.array(test[f"{name}_by_level"].to_pylist()).mean(axis=0)
        found |= {f"test.levels{n}.{name}": float(mm) for n, mm in enumerate(by_level, start=1)}
    return found


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
