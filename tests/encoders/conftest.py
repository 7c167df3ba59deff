"""A corpus that speaks, for methods that listen."""

from __future__ import annotations

import pytest

from gestray.corpora.beat2 import list_takes, read_take
from gestray.corpora.shards import ShardWriter
from gestray.corpora.synthetic import write_corpus
from gestray.store import Folder


@pytest.fixture(scope="session")
def spoken_takes(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Takes of a small synthetic corpus with speech, words and stress."""
    corpus = tmp_path_factory.mktemp("spoken-corpus")
    write_corpus(corpus, takes=10, seed=5, seconds=15.0, speech=True)
    folder = Folder(str(tmp_path_factory.mktemp("spoken-takes")))
    with folder.open_output("shards/00000.parquet") as stream, ShardWriter(stream) as writer:
        for take_id in list_takes(corpus).take_ids:
            writer.write(read_take(corpus, take_id))
    return folder
