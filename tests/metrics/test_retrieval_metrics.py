"""Ranks against brute force, figures of known answer, and what an interval covers."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from gestray.errors import UserError
from gestray.metrics.retrieval import (
    KS,
    ranks,
    ranks_both_ways,
    ranks_from_embeddings,
    recall_at,
    recall_curve,
    summary,
    text_labels,
)


def expected_rank(scores: list[int], relevant: list[bool]) -> float:
    """Mean position of the first relevant item over every order that the scores allow."""
    positions = [
        next(place for place, item in enumerate(order, start=1) if relevant[item])
        for order in permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    return float(np.mean(positions))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6).filter(
        lambda items: any(relevant for _, relevant in items)
    )
)
def test_rank_is_the_mean_over_all_orders_of_the_ties(items: list[tuple[int, bool]]) -> None:
    scores, relevant = [score for score, _ in items], [flag for _, flag in items]
    (rank,) = ranks(np.array([scores], float), np.array([relevant]))
    assert rank == pytest.approx(expected_rank(scores, relevant))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_one_relevant_item_agrees_with_its_mask(seed: int, items: int) -> None:
    rng = np.random.default_rng(seed)
    similarity = rng.integers(0, 4, (7, items)).astype(float)
    index = rng.integers(items, size=7)
    by_mask = ranks(similarity, np.arange(items) == index[:, None])
    np.testing.assert_array_equal(ranks(similarity, index), by_mask)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 6))
def test_ranks_and_recall_agree_with_scipy_on_ties(seed: int, items: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    similarity = rng.integers(levels, size=(9, items)).astype(float)
    index = rng.integers(items, size=9)
    expected = rankdata(-similarity, method="average", axis=1)[np.arange(9), index]
    found = ranks(similarity, index)
    np.testing.assert_allclose(found, expected)
    assert summary(found)["r5"] == np.mean(expected <= 5)
    assert summary(found)["medr"] == np.median(expected)


def test_blocks_do_not_change_ranks_from_embeddings() -> None:
    rng = np.random.default_rng(1)
    gallery = rng.normal(size=(1300, 24))
    queries = gallery + rng.normal(size=gallery.shape)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, gallery)]
    similarity = unit[0] @ unit[1].T
    own = np.diag(similarity)[:, None]
    expected = 1 + (similarity > own).sum(axis=1)
    np.testing.assert_array_equal(ranks_from_embeddings(queries, gallery), expected)


def test_one_point_for_everything_ranks_in_the_middle() -> None:
    # Sizes off any block width, where a matrix product may round edges differently.
    embeddings = np.tile(np.random.default_rng(0).normal(size=(1, 37)), (601, 1))
    np.testing.assert_allclose(ranks_from_embeddings(embeddings, embeddings), 301.0)


def test_scores_within_rounding_are_tied() -> None:
    similarity = np.array([[0.5, 0.5 + 4e-7, 0.5 - 4e-7, 0.6, 0.4]])
    assert ranks(similarity, np.array([0])).tolist() == [3.0]
    assert ranks(similarity, np.array([0]), tolerance=1e-6).tolist() == [3.0]
    assert ranks(similarity, np.array([2]), tolerance=1e-6).tolist() == [3.0]
    # Two gallery items that differ in the last bits only.
    gallery = np.array([[1.0, 0.0], [1.0, 3e-4], [0.0, 1.0]])
    queries = np.array([[1.0, 3e-4]])
    assert ranks_from_embeddings(queries, gallery, [0], [0, 1, 2]).tolist() == [1.5]


def test_random_embeddings_score_at_chance() -> None:
    rng = np.random.default_rng(0)
    found = summary(ranks_from_embeddings(rng.normal(size=(2000, 8)), rng.normal(size=(2000, 8))))
    assert found["medr"] == pytest.approx(1000.5, rel=0.06)
    # 10 in 2000, binomial: 3 standard deviations are 0.0047.
    assert found["r10"] == pytest.approx(0.005, abs=0.0048)


def test_an_oracle_scores_one() -> None:
    embeddings = np.random.default_rng(0).normal(size=(300, 16))
    for found in ranks_both_ways(embeddings, 5 * embeddings).values():
        assert summary(found) == {f"r{k}": 1.0 for k in KS} | {"medr": 1.0}


def test_ten_thousand_against_ten_thousand() -> None:
    embeddings = np.random.default_rng(0).normal(size=(10_000, 16)).astype(np.float32)
    found = ranks_from_embeddings(embeddings[::-1], embeddings, np.arange(10_000)[::-1])
    assert summary(found)["r1"] == 1.0


def test_equal_words_are_equally_right() -> None:
    labels = text_labels(["No idea.", "so BIG", "no  idea", "It’s it", "it's it!", "its it"])
    assert labels.tolist() == [0, 1, 0, 2, 2, 3]

    similarity = np.array([[0.1, 0.5, 0.9]])
    relevant = labels[:1, None] == labels[None, :3]
    assert ranks(similarity, relevant).tolist() == [1.0]
    assert ranks(similarity, np.array([0])).tolist() == [3.0]

    motion = np.eye(3)
    text = np.eye(3)[[2, 1, 0]]  # the two takes of "no idea" find each other
    both = ranks_both_ways(text, motion, labels[:3])
    assert all(found.tolist() == [1.0, 1.0, 1.0] for found in both.values())


def test_a_diverged_encoder_is_refused_and_not_ranked_first() -> None:
    similarity = np.zeros((3, 3))
    similarity[1] = np.nan
    with pytest.raises(UserError, match="query 1"):
        ranks(similarity, np.arange(3))
    broken = np.eye(3)
    broken[2] = 0.0
    with pytest.raises(UserError, match="gallery, row 2"):
        ranks_from_embeddings(np.eye(3), broken)


def test_a_query_without_its_item_is_named() -> None:
    with pytest.raises(UserError, match="query 1: found no relevant item"):
        ranks_from_embeddings(np.eye(2), np.eye(2), [0, 7], [0, 1])


def test_figures_of_known_ranks() -> None:
    found = [1, 1.5, 2, 6, 11, 40]
    expected = {"r1": 1 / 6, "r5": 0.5, "r10": 4 / 6, "medr": 4.0}
    assert summary(found, ks=(1, 5, 10)) == pytest.approx(expected)
    assert summary([*found, np.nan], ks=(1, 5, 10)) == pytest.approx(expected)
    assert recall_curve([*found, np.nan], 3) == recall_curve(found, 3)
    assert recall_curve(found, 3) == pytest.approx([1 / 6, 0.5, 0.5])
    assert [recall_at(found, k) for k in (1, 2, 3)] == pytest.approx(recall_curve(found, 3))
    # Two runs: figures are averaged, ranks are not pooled into one median.
    assert summary([[1, 1, 9], [3, 3, 3]], ks=(1,)) == pytest.approx({"r1": 1 / 3, "medr": 2.0})
