"""Scores of forms: known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gestray.errors import UserError
from gestray.form import HandForm, Location, PhysicalForm, Trajectory
from gestray.metrics.forms import ABSENT, FIELDS, score_forms

HAND = HandForm(
    location=Location(zone="periphery", height="chest", side="right", reach="far"),
    palm="down",
    shape="index",
    trajectory=Trajectory(
        path="straight", direction="forward", repetitions=2, amplitude="medium", speed="fast"
    ),
)
RIGHT = PhysicalForm(handedness="right", right=HAND)
BOTH = PhysicalForm(handedness="both", left=HAND, right=HAND, relation="parallel")
NONE = PhysicalForm(handedness="none")


def changed(hand: HandForm, **terms: object) -> HandForm:
    parts = {"location": hand.location, "trajectory": hand.trajectory}
    for part, record in parts.items():
        of_part = {name: term for name, term in terms.items() if name in dict(record)}
        parts[part] = record.model_copy(update=of_part)
    own = {name: term for name, term in terms.items() if name in ("palm", "shape", "contact")}
    return hand.model_copy(update=parts | own)


def test_forms_agree_with_themselves() -> None:
    scores = score_forms([RIGHT, BOTH, NONE], [RIGHT, BOTH, NONE])
    assert tuple(scores) == FIELDS
    assert all(score.accuracy == 1 for score in scores.values())
    assert scores["handedness"].total == 3
    assert scores["relation"].total == 1
    assert scores["palm"].total == 3  # one hand and two


def test_a_wrong_term_counts_in_its_field_and_its_group() -> None:
    other = RIGHT.model_copy(update={"right": changed(HAND, height="waist", direction="up")})
    scores = score_forms([RIGHT] * 4, [RIGHT, RIGHT, RIGHT, other])
    wrong = {field for field, score in scores.items() if score.total and score.accuracy < 1}
    assert wrong == {"height", "location", "direction", "path and direction"}
    assert all(scores[field].accuracy == 0.75 for field in wrong)
    assert scores["height"].counts == {("chest", "chest"): 3, ("chest", "waist"): 1}


def test_a_hand_that_is_not_found_is_wrong_in_everything() -> None:
    scores = score_forms([BOTH, BOTH], [BOTH, RIGHT])
    assert scores["handedness"].accuracy == 0.5
    assert scores["relation"].counts == {("parallel", "parallel"): 1, ("parallel", "single"): 1}
    assert scores["shape"].counts == {("index", "index"): 3, ("index", ABSENT): 1}
    assert scores["location"].accuracy == 0.75


def test_a_hand_too_many_is_an_error_of_handedness() -> None:
    scores = score_forms([RIGHT], [BOTH])
    assert scores["handedness"].correct == 0
    assert scores["palm"].counts == {("down", "down"): 1}


def test_hands_can_be_scored_apart() -> None:
    left_wrong = BOTH.model_copy(update={"left": changed(HAND, palm="up")})
    assert score_forms([BOTH], [left_wrong], hands=["left"])["palm"].accuracy == 0
    assert score_forms([BOTH], [left_wrong], hands=["right"])["palm"].accuracy == 1


def test_confusion_matrix_lists_terms_in_the_order_of_the_vocabulary() -> None:
    shapes = ["flat", "index", "fist", "flat"]
    gold = [RIGHT.model_copy(update={"right": changed(HAND, shape=shape)}) for shape in shapes]
    found = [gold[0], gold[0], gold[2], NONE]
    terms, matrix = score_forms(gold, found)["shape"].confusion()
    assert terms == ("flat", "fist", "index", ABSENT)
    assert np.array_equal(matrix, [[1, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])


def test_numbers_are_listed_by_their_value() -> None:
    gold = [RIGHT.model_copy(update={"right": changed(HAND, repetitions=n)}) for n in (10, 2, 1)]
    assert score_forms(gold, gold)["repetitions"].confusion()[0] == ("1", "2", "10")


def test_nothing_to_score() -> None:
    scores = score_forms([], [])
    assert math.isnan(scores["handedness"].accuracy)
    assert scores["palm"].confusion()[1].shape == (0, 0)
    with pytest.raises(UserError, match="found 1 forms for 2 gold ones"):
        score_forms([RIGHT, RIGHT], [RIGHT])
