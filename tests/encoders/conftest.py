"""A corpus that speaks, for methods that listen."""

from __future__ import annotations

import pytest

from gestray.corpora.synthetic import write_corpus
from gestray.store import Folder
from tests.conftest import ingested


@pytest.fixture(scope="session")
def spoken_takes(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Takes of a small synthetic corpus with speech, words and stress."""
    corpus = tmp_path_factory.mktemp("spoken-corpus")
    write_corpus(corpus, takes=10, seed=5, seconds=15.0, speech=True)
    return ingested(corpus, Folder(str(tmp_path_factory.mktemp("spoken-takes"))))
