"""A synthetic corpus, ingested without a cluster: what trainings are measured on."""

from __future__ import annotations

from pathlib import Path

from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.shards import ShardWriter
from gestray.corpora.synthetic import write_corpus
from gestray.store import Folder


def synthetic_takes(folder: Path, takes: int, seconds: float) -> Folder:
    """The folder of an artifact `takes`, below `folder`: so many takes of so many seconds."""
    corpus, ingested = folder / "corpus", Folder(str(folder / "takes"))
    write_corpus(corpus, takes=takes, seed=0, seconds=seconds)
    with ingested.open_output("shards/00000.parquet") as stream, ShardWriter(stream) as writer:
        for take_id in list_takes(corpus).take_ids:
            writer.write(read_take(corpus, take_id))
    return ingested
