"""What is said of why a hit was found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from gestray.retrieval.explain import explain
from gestray.retrieval.index import Hit

WORDS = {"a": 0, "huge": 1, "box": 2, "really": 3}


def embed(texts: Sequence[str]) -> np.ndarray:
    """A bag of words, of length 1."""
    bags = np.zeros((len(texts), 4), np.float32)
    for bag, text in zip(bags, texts, strict=True):
        for word in text.split():
            bag[WORDS[word.casefold()]] = 1
    return bags / np.linalg.norm(bags, axis=1, keepdims=True)


def hit(**facts: str | None) -> Hit:
    values = {"text": "", "form_text": None, "intent": None, "intent_text": None}
    return Hit(1, 0.5, "p", "t", "ada", 0.0, 1.0, handedness=None, **(values | facts))


def test_the_words_that_carry_a_hit_are_those_it_would_not_be_found_without() -> None:
    vectors = embed(["huge", "box"])
    size = hit(text="A big one", intent="size", intent_text="Shows that something is huge.")
    shape = hit(text="this box", form_text="Both hands make the outline of a box.")
    first, second = explain("a huge box", [size, shape], vectors, embed)
    assert first.carrying() == ["huge"]
    assert second.carrying() == ["box"]
    losses = dict(first.words)
    assert losses["huge"] == pytest.approx(1 / np.sqrt(3))
    assert losses["a"] == losses["box"] == pytest.approx(1 / np.sqrt(3) - 1 / np.sqrt(2))
    assert first.shared == ("a", "huge")
    assert second.shared == ("a", "box")
    assert (first.intent, second.form_text) == ("size", shape.form_text)


def test_one_word_carries_all_of_it() -> None:
    (only,) = explain("Huge", [hit()], embed(["huge box"]), embed)
    assert only.words == (("Huge", pytest.approx(1 / np.sqrt(2))),)
    assert only.carrying() == ["Huge"]
    assert only.shared == ()
