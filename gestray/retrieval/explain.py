"""Why a hit was found: the words that carry it, and what its anchor says.

How much a word of the query counts is measured, not guessed: the query is embedded again
without it, and what the similarity loses is the word's part (occlusion; Li et al. 2016,
"Understanding Neural Networks through Representation Erasure"). That works for every text
tower, whether it has an embedding of each word or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gestray.retrieval.index import Hit
from gestray.retrieval.words import words_of

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Explanation:
    """Why a query found a hit.

    Attributes:
        words: (word of the query, what the similarity loses without it), in their order.
        shared: words of the query that were said there or that the anchor says.
        intent, intent_text, form_text: of the anchor; None without one.
    """

    words: tuple[tuple[str, float], ...]
    shared: tuple[str, ...]
    intent: str | None
    intent_text: str | None
    form_text: str | None

    def carrying(self, most: int = 3) -> list[str]:
        """The words without which the similarity loses most, the first first."""
        losing = [(loss, word) for word, loss in self.words if loss > 0]
        return [word for _, word in sorted(losing, key=lambda pair: -pair[0])[:most]]


def explain(
    text: str, hits: Sequence[Hit], vectors: NDArray[np.float32], embed: Embed
) -> list[Explanation]:
    """Explain each hit of a query.

    Args:
        text: the query.
        hits: what it found.
        vectors: (K, D) their embeddings, of length 1.
        embed: texts to (n, D), of length 1: the encoder that the query was embedded with.
    """
    words = text.split()
    # Without its only word a query says nothing, and there is nothing to compare with.
    without = [" ".join(words[:n] + words[n + 1 :]) for n in range(len(words))] if words[1:] else []
    embedded = embed([text, *without])
    similarity = embedded @ vectors.T
    losses = similarity[0] - similarity[1:] if without else similarity[:1]
    return [
        Explanation(
            words=tuple(zip(words, losses[:, number].tolist(), strict=True)),
            shared=_shared(text, hit),
            intent=hit.intent,
            intent_text=hit.intent_text,
            form_text=hit.form_text,
        )
        for number, hit in enumerate(hits)
    ]


def _shared(text: str, hit: Hit) -> tuple[str, ...]:
    said = [hit.text, hit.intent, hit.intent_text, hit.form_text]
    there = set(words_of(" ".join(part for part in said if part)))
    return tuple(dict.fromkeys(word for word in words_of(text) if word in there))
