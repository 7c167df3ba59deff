"""Semantic retrieval against scikit-learn and enumeration, at chance and at the top."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import average_precision_score

from gestray.errors import UserError
from gestray.metrics.semantic import semantic_retrieval


def carried(labels: np.ndarray, intents: int) -> np.ndarray:
    return labels[:, None] == np.arange(intents)


def test_figures_agree_with_scikit_learn_and_sorting() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 5, 120)  # -1: a beat
    carries = carried(labels, 5)
    carries[7, [1, 3]] = True  # two gestures in one phrase
    text, motion = rng.normal(size=(2, 120, 10))
    found = semantic_retrieval(text, motion, carries)
    similarity = text @ (motion / np.linalg.norm(motion, axis=1, keepdims=True)).T
    for query in range(120):
        figures = {name: values[query] for name, values in found.figures.items()}
        if not carries[query].any():
            assert all(np.isnan(value) for value in figures.values())
            assert found.top[query] == -1
            continue
        others = np.delete(np.arange(120), query)
        order = others[np.argsort(-similarity[query, others])]
        right = (carries[order] & carries[query]).any(axis=1)
        assert found.top[query] == order[0]
        for k in (1, 5, 10):
            assert figures[f"precision{k}"] == pytest.approx(right[:k].mean())
            assert figures[f"hit{k}"] == float(right[:k].any())
            assert figures[f"meaningless{k}"] == pytest.approx(
                (~carries[order[:k]].any(axis=1)).mean()
            )
        expected = average_precision_score(right, similarity[query, order])
        assert figures["map"] == pytest.approx(expected)


def test_ties_count_as_if_drawn_at_random() -> None:
    # One query, its own gesture, and six others on two scores.
    scores = np.array([1.0, 0.8, 0.8, 0.8, 0.2, 0.2, 0.2])
    motion = np.stack((scores, np.sqrt(1 - scores**2)), axis=1)
    text = np.tile([1.0, 0.0], (7, 1))
    labels = np.array([0, 0, 1, -1, 0, 0, 1])
    found = semantic_retrieval(text, motion, carried(labels, 2), ks=(2, 5))
    orders = [
        [*first, *second] for first in permutations((1, 2, 3)) for second in permutations((4, 5, 6))
    ]
    for k in (2, 5):
        right = np.array([[labels[item] == 0 for item in order[:k]] for order in orders])
        beats = np.array([[labels[item] == -1 for item in order[:k]] for order in orders])
        assert found.figures[f"precision{k}"][0] == pytest.approx(right.mean())
        assert found.figures[f"hit{k}"][0] == pytest.approx(right.any(axis=1).mean())
        assert found.figures[f"meaningless{k}"][0] == pytest.approx(beats.mean())
    expected = average_precision_score(labels[1:] == 0, scores[1:])
    assert found.figures["map"][0] == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 12), st.integers(2, 5))
def test_any_similarities_agree_with_scikit_learn(seed: int, count: int, levels: int) -> None:
    """Similarities on few levels, so that many are tied."""
    rng = np.random.default_rng(seed)
    similarity = rng.integers(levels, size=(count, count)) / (levels * count)
    # Item j has the similarity to query i as its i-th component, and one more to be of length 1.
    rest = np.sqrt(1 - (similarity**2).sum(axis=0))
    motion = np.concatenate((similarity, rest[None])).T
    text = np.eye(count, count + 1)
    labels = rng.integers(-1, 3, count)
    labels[0] = 0
    carries = carried(labels, 3)
    found = semantic_retrieval(text, motion, carries, ks=(1, 3))
    for query in np.flatnonzero(labels >= 0):
        others = np.delete(np.arange(count), query)
        right = labels[others] == labels[query]
        figures = {name: values[query] for name, values in found.figures.items()}
        if right.any():
            expected = average_precision_score(right, similarity[query, others])
            assert figures["map"] == pytest.approx(expected)
        for k in (1, 3):
            precision, hit = figures[f"precision{k}"], figures[f"hit{k}"]
            assert -1e-12 <= precision <= hit + 1e-12 <= 1 + 2e-12
            assert precision + figures[f"meaningless{k}"] <= 1 + 1e-12
            if not right.any() or right.all():
                assert precision == pytest.approx(float(right.all()))


def test_random_embeddings_score_at_chance_and_an_oracle_one() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([-1, 0, 1, 2, 3, 4], 200)
    carries = carried(labels, 5)
    found = semantic_retrieval(rng.normal(size=(1200, 8)), rng.normal(size=(1200, 8)), carries)
    low, high = binom.interval(0.9999, 1000, found.chance)
    assert found.chance == pytest.approx(199 / 1199)
    assert low <= np.nansum(found.figures["precision1"]) <= high
    assert np.nanmean(found.figures["map"]) == pytest.approx(found.chance, rel=0.1)
    beats = np.nansum(found.figures["meaningless1"])
    assert binom.ppf(1e-4, 1000, 200 / 1199) <= beats <= binom.ppf(1 - 1e-4, 1000, 200 / 1199)

    meaning = np.eye(6)[labels + 1]
    perfect = semantic_retrieval(meaning, meaning, carries)
    for name, values in perfect.figures.items():
        assert np.nanmean(values) == (0.0 if name.startswith("meaningless") else 1.0), name


def test_ones_own_recording_is_no_find() -> None:
    embeddings = np.eye(4)
    found = semantic_retrieval(embeddings, embeddings, carried(np.arange(4), 4))
    assert np.nansum(found.figures["hit10"]) == 0
    assert np.nansum(found.figures["map"]) == 0


def test_a_corpus_without_meaning_is_said() -> None:
    with pytest.raises(UserError, match="no phrase whose gesture carries an intent"):
        semantic_retrieval(np.eye(3), np.eye(3), np.zeros((3, 2), bool))
