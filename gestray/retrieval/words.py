"""Search by words: what was said, and what anchors say of the gesture (BM25).

A query's own words find what an embedding may miss: a name, a rare word, "circle" where
somebody looks for a circle. The two rankings are joined by reciprocal rank fusion (Cormack et
al. 2009), which needs no common scale.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

RANK_OFFSET = 60
"""Of reciprocal rank fusion, as published."""

_COLUMNS = ("text", "intent", "intent_text", "form_text")


def words_of(text: str) -> list[str]:
    """Words of a text as they are compared: lower case, without punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return re.findall(r"\w+(?:'\w+)*", folded)


class WordIndex:
    """The transcripts and anchors of N phrases, ranked by BM25 (Robertson et al. 1995).

    Args:
        rows: of an index, one a phrase.
    """

    def __init__(self, rows: pa.Table) -> None:
        import bm25s

        columns = [rows[name].to_pylist() for name in _COLUMNS]
        documents = [
            words_of(" ".join(part for part in parts if part))
            for parts in zip(*columns, strict=True)
        ]
        self._count = len(documents)
        self._index = bm25s.BM25()
        if any(documents):
            self._index.index(documents, show_progress=False)
            self._known = set(self._index.vocab_dict)
        else:
            self._known = set()

    def scores(self, text: str) -> NDArray[np.float32]:
        """(N,) of a query; 0 for phrases that share no word with it."""
        words = [word for word in words_of(text) if word in self._known]
        if not words:
            return np.zeros(self._count, np.float32)
        return np.asarray(self._index.get_scores(words), np.float32)


def best(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Numbers of the k highest scores above zero, best first."""
    most = min(k, int((scores > 0).sum()))
    if not most:
        return np.empty(0, np.int64)
    chosen = np.argpartition(-scores, most - 1)[:most]
    return chosen[np.argsort(-scores[chosen], kind="stable")]


def fused(rankings: Sequence[NDArray[np.int64]], k: int) -> list[int]:
    """The first k of several rankings together, by the sum of 1 / (60 + rank)."""
    totals: dict[int, float] = {}
    for ranking in rankings:
        for rank, number in enumerate(ranking.tolist(), start=1):
            totals[number] = totals.get(number, 0.0) + 1.0 / (RANK_OFFSET + rank)
    return sorted(totals, key=lambda number: (-totals[number], number))[:k]
