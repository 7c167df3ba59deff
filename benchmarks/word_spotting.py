"""What an encoder makes of single words, and whether its losses look at the hands.

    python benchmarks/word_spotting.py TAKES VARIANT...

Of a corpus with gold. Each variant is a line of changes to preset `jegal`, such as
"model.query=text model.objectives.coupling=0"; it is trained in this process, its words are spotted
on phrases of training and of validation, and its losses on validation batches are measured twice:
with everyone's own motion, and with that of other phrases. A loss that stays low without the motion
has been met by the words alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from gestray.artifacts import Artifact, open_artifact
from gestray.config import make_config, parse_overrides, with_overrides
from gestray.encoders.config import EncoderTraining, preset
from gestray.encoders.model import DualEncoder
from gestray.encoders.task import EncoderTask, phrases_for
from gestray.store import Folder
from gestray.training.loop import train_alone
from gestray.views.catalog import TakeRef, read_catalog, read_columns
from jobs.encoder import QUERIES, PhraseEmbedder
from jobs.meanings import read_meanings
from jobs.measure import RETRIEVAL, SPOTTING, PhraseSet, measure

BATCH, BATCHES = 64, 8
# Takes whose training phrases are spotted.
TRAINING_TAKES = 150


def spotted(model: DualEncoder, training: EncoderTraining, takes: Artifact, split: str) -> Any:
    """Figures of spotting and retrieval, in percent, among the phrases of a split."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        embed = PhraseEmbedder(Folder(folder), training, split, BATCH, fine=True)
    refs = [ref for ref in read_catalog(takes.folder) if embed.view.count(ref)][:TRAINING_TAKES]
    rows = pa.concat_tables(
        [embed(ref, read_columns(takes.folder, ref, list(embed.columns))) for ref in refs]
    )
    phrases = PhraseSet(rows, read_meanings(rows, takes, None), None, (RETRIEVAL, SPOTTING))
    column = QUERIES[model.config.query]
    found = measure(phrases, rows, column, is_main=True, stride=model.motion.stride)
    wanted = ("accuracy", "located", "stressed")
    figures = {f"spotting.{name}": found.values[f"spotting.{name}"] for name in wanted}
    figures["text_to_gesture.r5"] = found.values["text_to_gesture.r5"]
    result = {name: round(100 * float(np.nanmean(values)), 1) for name, values in figures.items()}
    return result | {"chance of located": round(100 * found.chance["spotting.located"], 1)}


@torch.inference_mode()
def losses(model: DualEncoder, task: EncoderTask, takes: Folder, refs: list[TakeRef]) -> Any:
    """Means over validation batches, with everyone's own motion and with that of the others."""
    view = phrases_for(task.config, "val")
    rows = pa.concat_tables(
        [
            view.cut(ref, read_columns(takes, ref, list(view.columns)), range(view.count(ref)))
            for ref in refs
            if view.count(ref)
        ]
    )
    found: dict[str, list[float]] = {}
    for first in range(0, min(len(rows), BATCH * BATCHES) - BATCH + 1, BATCH):
        batch = task.collate(rows.slice(first, BATCH))
        moved = {name: batch[name].roll(BATCH // 2, 0) for name in ("poses", "frames")}
        for whose, one in (("own", batch), ("others'", {**batch, **moved})):
            for name, value in task.loss(model, one, 0)[1].items():
                found.setdefault(f"{name}, {whose} motion", []).append(value.item())
    return {name: round(float(np.mean(values)), 2) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("takes")
    parser.add_argument("variants", nargs="+", metavar="VARIANT")
    asked = parser.parse_args()
    takes = open_artifact(Folder(asked.takes))
    refs = list(read_catalog(takes.folder))
    for variant in asked.variants:
        started = time.perf_counter()
        changes = parse_overrides(variant.split())
        values = with_overrides(preset("jegal").model_dump(mode="json"), changes)
        training = make_config(EncoderTraining, values)
        task = EncoderTask(training)
        model = train_alone(task, training.loop, takes.folder)
        assert isinstance(model, DualEncoder)
        model.eval()
        trained_s = time.perf_counter() - started
        result: dict[str, Any] = {"variant": variant, "training, s": round(trained_s)}
        result |= {split: spotted(model, training, takes, split) for split in ("train", "val")}
        result["losses"] = losses(model, task, takes.folder, refs)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
