"""Scores of intents: known answers, and scikit-learn as a second implementation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gestray.metrics.intents import Case, score_intents

NAN = float("nan")


def case(gold: str, found: str | None, confidence: float = NAN, similarity: float = NAN) -> Case:
    return Case(gold, "grounded" if found else "ungrounded", found, confidence, similarity)


CASES = [
    case("up", "up", 0.9, 0.8),
    case("up", "down", 0.9, 0.2),
    case("down", "down", 0.55),
    case("down", None),
]


def test_known_answers():
    score = score_intents(CASES)

    assert (score.cases, score.statuses) == (4, {"grounded": 3, "ungrounded": 1})
    assert score.accuracy == 0.5
    assert score.f1 == {"down": pytest.approx(0.5), "up": pytest.approx(2 / 3)}
    assert score.macro_f1 == pytest.approx((0.5 + 2 / 3) / 2)
    assert score.similarity == pytest.approx(0.5)
    assert score.reliability == ((1, 0.55, 1.0), (2, pytest.approx(0.9), 0.5))
    # One case 0.45 too unsure, two 0.4 too sure.
    assert score.calibration_error == pytest.approx((0.45 + 2 * 0.4) / 3)


def test_nothing_found_is_nothing_right():
    score = score_intents([case("up", None)])

    assert (score.accuracy, score.macro_f1, score.reliability) == (0, 0, ())
    assert math.isnan(score.calibration_error) and math.isnan(score.similarity)


def test_full_confidence_lies_in_the_last_bin():
    assert score_intents([case("up", "up", 1.0)]).calibration_error == 0


labels = st.sampled_from(["up", "down", "left"])


@settings(deadline=None)
@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=40))
def test_as_scikit_learn_has_it(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    gold, found = zip(*pairs, strict=True)

    score = score_intents([case(*pair, 0.5) for pair in pairs])

    assert score.accuracy == pytest.approx(metrics.accuracy_score(gold, found))
    assert score.macro_f1 == pytest.approx(
        metrics.f1_score(gold, found, average="macro", zero_division=0)
    )


def test_where_gold_knows_of_no_intent_none_is_right_and_any_is_a_false_claim():
    nan = float("nan")
    cases = [
        Case("none", "ungrounded", None, nan, nan),
        Case("none", "grounded", "up", 0.5, nan),
        Case("none", "failed", None, nan, nan),
        Case("up", "grounded", "up", 0.5, nan),
    ]

    score = score_intents(cases)

    assert score.accuracy == 0.5
    assert score.f1 == {"up": pytest.approx(2 / 3)}
    assert math.isnan(score_intents(cases[:1]).macro_f1)
