"""A synthetic corpus, ingested without a cluster: what trainings are measured on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.shards import ShardWriter
from gestray.corpora.synthetic import write_corpus
from gestray.speech.audio import SAMPLE_RATE
from gestray.store import Folder


def synthetic_takes(folder: Path, takes: int, seconds: float, noise: bool = False) -> Folder:
    """The folder of an artifact `takes`, below `folder`: so many takes of so many seconds.

    Args:
        noise: is heard; to a network, it is as much work as speech.
    """
    corpus, ingested = folder / "corpus", Folder(str(folder / "takes"))
    write_corpus(corpus, takes=takes, seed=0, seconds=seconds)
    rng = np.random.default_rng(0)
    with ingested.open_output("shards/00000.parquet") as stream, ShardWriter(stream) as writer:
        for take_id in list_takes(corpus).take_ids:
            take = read_take(corpus, take_id)
            if noise:
                sound = rng.integers(-3000, 3000, round(seconds * SAMPLE_RATE)).astype(np.int16)
                take = replace(take, audio=sound.tobytes())
            writer.write(take)
    return ingested
