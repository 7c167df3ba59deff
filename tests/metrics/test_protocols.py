"""The field's protocols against brute force, at chance and at the top."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, rankdata

from gestray.metrics.protocols import NEAR_TEXT, Protocols, farthest_first
from gestray.metrics.retrieval import DIRECTIONS, summary


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def random_sides(count: int, dim: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    text = rng.normal(size=(count, dim))
    return text, text + 1.5 * rng.normal(size=(count, dim))


@pytest.fixture(scope="module")
def texts() -> np.ndarray:
    """700 texts in pairs of nearly the same words."""
    rng = np.random.default_rng(0)
    once = rng.normal(size=(350, 24))
    return unit(np.repeat(once, 2, axis=0) + 0.03 * rng.normal(size=(700, 24)))


def test_all_protocols_agree_with_brute_force(texts: np.ndarray) -> None:
    text, motion = random_sides(700)
    labels = np.arange(700)
    labels[5] = 4  # the same words twice
    protocols = Protocols(labels, texts)
    found = protocols.ranks(text, motion)
    similarity = unit(text) @ unit(motion).T
    near = texts @ texts.T >= 2 * NEAR_TEXT - 1
    assert 700 < near.sum() < 1500
    for direction, scores in zip(DIRECTIONS, (similarity, similarity.T), strict=True):
        for name, members in protocols.galleries.items():
            asked = np.zeros(700, bool)
            for gallery in members:
                places = rankdata(-scores[np.ix_(gallery, gallery)], method="average", axis=1)
                right = labels[gallery][:, None] == labels[gallery]
                if name == "threshold":
                    right = right | near[np.ix_(gallery, gallery)]
                expected = np.where(right, places, np.inf).min(axis=1)
                np.testing.assert_allclose(found[name][direction][gallery], expected)
                asked[gallery] = True
            assert np.isnan(found[name][direction][~asked]).all()


def test_what_is_asked(texts: np.ndarray) -> None:
    protocols = Protocols(np.arange(700), texts)
    shapes = {name: members.shape for name, members in protocols.galleries.items()}
    assert shapes == {
        "all": (1, 700),
        "threshold": (1, 700),
        "dissimilar": (1, 100),
        "batches32": (21, 32),
        "gallery500": (1, 500),
    }
    assert all(len(np.unique(m)) == m.size for m in protocols.galleries.values())
    # Of two phrases that say nearly the same, the dissimilar subset has one.
    assert len(np.unique(protocols.galleries["dissimilar"] // 2)) == 100
    assert set(Protocols(np.arange(40)).galleries) == {"all", "batches32"}


def test_the_farthest_texts_are_chosen() -> None:
    corners = np.eye(6, dtype=np.float32)
    crowd = unit(np.ones((50, 6)) + 0.01 * np.random.default_rng(0).normal(size=(50, 6)))
    chosen = farthest_first(np.concatenate((crowd, corners)), 6)
    assert sorted(chosen) == [50, 51, 52, 53, 54, 55]


def test_near_words_are_right_only_under_the_threshold(texts: np.ndarray) -> None:
    # Every text finds the gesture of its neighbour of nearly the same words.
    motion = np.eye(700)
    found = Protocols(np.arange(700), texts).ranks(motion[np.arange(700) ^ 1], motion)
    assert summary(found["threshold"]["text_to_gesture"])["r1"] == 1.0
    assert summary(found["all"]["text_to_gesture"])["r1"] == 0.0


def test_random_embeddings_score_at_chance_under_each_protocol() -> None:
    rng = np.random.default_rng(0)
    protocols = Protocols(np.arange(2000), unit(rng.normal(size=(2000, 64))))
    found = protocols.ranks(rng.normal(size=(2000, 16)), rng.normal(size=(2000, 16)))
    for name, members in protocols.galleries.items():
        size = members.shape[1]
        for direction in DIRECTIONS:
            hits = int((found[name][direction] <= 5).sum())
            low, high = binom.interval(0.9999, members.size, 5 / size)
            assert low <= hits <= high, (name, direction, hits)


def test_an_oracle_scores_one_under_each_protocol(texts: np.ndarray) -> None:
    embeddings = np.random.default_rng(0).normal(size=(700, 32))
    for by_direction in Protocols(np.arange(700), texts).ranks(embeddings, embeddings).values():
        for ranks in by_direction.values():
            assert np.nanmax(ranks) == 1.0


def test_one_point_for_everything_is_at_chance_everywhere(texts: np.ndarray) -> None:
    point = np.ones((700, 8))
    found = Protocols(np.arange(700), texts).ranks(point, point)
    assert np.nanmean(found["batches32"]["text_to_gesture"]) == pytest.approx(16.5)
    assert np.nanmean(found["gallery500"]["gesture_to_text"]) == pytest.approx(250.5)
    assert summary(found["all"]["text_to_gesture"])["r1"] == 0.0
