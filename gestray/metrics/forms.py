"""How well forms that were read off motion agree with gold: accuracy and confusions by field.

A gesture is one case of the fields that it has as a whole, and each hand that takes part
in the gold is one case of the fields of hands. A hand that was not found counts as
wrong in all its fields, so a verbalizer gains nothing by leaving out what is hard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gestray.errors import UserError
from gestray.form import TERMS_OF_GESTURE, TERMS_OF_HAND, HandForm, PhysicalForm

Hand = Literal["left", "right"]
HANDS: tuple[Hand, ...] = get_args(Hand)

ABSENT = "absent"
"""What is found of a hand that was not found."""

_OF_GESTURE: dict[str, Callable[[PhysicalForm], str]] = {
    "handedness": lambda form: form.handedness,
    "relation": lambda form: form.relation,
    "hold": lambda form: form.hold,
    "head": lambda form: form.head,
}
_OF_HAND: dict[str, Callable[[HandForm], str]] = {
    "zone": lambda hand: hand.location.zone,
    "height": lambda hand: hand.location.height,
    "side": lambda hand: hand.location.side,
    "reach": lambda hand: hand.location.reach,
    "palm": lambda hand: hand.palm,
    "shape": lambda hand: hand.shape,
    "contact": lambda hand: hand.contact,
    "path": lambda hand: hand.trajectory.path,
    "direction": lambda hand: hand.trajectory.direction,
    "repetitions": lambda hand: str(hand.trajectory.repetitions),
    "amplitude": lambda hand: hand.trajectory.amplitude,
    "speed": lambda hand: hand.trajectory.speed,
}
#: Right only if all of their fields are.
GROUPS: dict[str, tuple[str, ...]] = {
    "location": ("zone", "height", "side", "reach"),
    "path and direction": ("path", "direction"),
}
# The order in which terms are listed, where a field has one.
_TERMS = TERMS_OF_GESTURE | TERMS_OF_HAND

FIELDS: tuple[str, ...] = (*_OF_GESTURE, *_OF_HAND, *GROUPS)
"""Everything that is scored."""


@dataclass(frozen=True)
class FieldScore:
    """Agreement in one field.

    Attributes:
        field: one of `FIELDS`.
        counts: how often each pair of (gold, found) terms occurs.
    """

    field: str
    counts: Counter[tuple[str, str]]

    @property
    def total(self) -> int:
        """Cases in all."""
        return self.counts.total()

    @property
    def correct(self) -> int:
        """Cases in which gold and found agree."""
        return sum(count for (gold, found), count in self.counts.items() if gold == found)

    @property
    def accuracy(self) -> float:
        """Share of cases in which they agree, in [0, 1]; NaN without cases."""
        return self.correct / self.total if self.total else float("nan")

    def confusion(self) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """The terms that occur, and how often each (rows: gold) was found as each (columns)."""
        seen = {term for pair in self.counts for term in pair}
        order = {term: i for i, term in enumerate(_TERMS.get(self.field, ()))}
        # Numbers follow their value, ABSENT comes last.
        terms = sorted(seen, key=lambda t: (t == ABSENT, order.get(t, 0), len(t), t))
        matrix = [[self.counts[gold, found] for found in terms] for gold in terms]
        return tuple(terms), np.array(matrix, dtype=np.int64).reshape(len(terms), len(terms))


def fields_of_gesture(form: PhysicalForm) -> dict[str, str]:
    """What a form says of the gesture as a whole."""
    return {field: of_gesture(form) for field, of_gesture in _OF_GESTURE.items()}


def fields_of_hand(hand: HandForm) -> dict[str, str]:
    """What a form says of a hand."""
    return {field: of_hand(hand) for field, of_hand in _OF_HAND.items()}


def score_forms(
    gold: Sequence[PhysicalForm],
    found: Sequence[PhysicalForm],
    hands: Sequence[Hand] = HANDS,
) -> dict[str, FieldScore]:
    """Scores forms against gold, gesture by gesture.

    Args:
        gold: what the forms should be.
        found: what they were described as, in the same order.
        hands: which hands' fields count.

    Returns:
        One score a field, in the order of `FIELDS`. `relation` counts gestures of both
        hands only. "location" and "path and direction" count as right where all of
        their fields are.

    Raises:
        UserError: there are not as many forms found as gold ones.
    """
    if len(gold) != len(found):
        raise UserError(
            f"found {len(found)} forms for {len(gold)} gold ones, expected one for each"
        )
    counts: dict[str, Counter[tuple[str, str]]] = {field: Counter() for field in FIELDS}
    for wanted, given in zip(gold, found, strict=True):
        for field, of_gesture in _OF_GESTURE.items():
            if field != "relation" or wanted.handedness == "both":
                counts[field][of_gesture(wanted), of_gesture(given)] += 1
        for side in hands:
            hand, other = getattr(wanted, side), getattr(given, side)
            if hand is None:
                continue
            terms = {
                field: (of_hand(hand), of_hand(other) if other is not None else ABSENT)
                for field, of_hand in _OF_HAND.items()
            }
            for group, fields in GROUPS.items():
                pairs = [terms[field] for field in fields]
                terms[group] = (
                    ", ".join(wanted_term for wanted_term, _ in pairs),
                    ABSENT if other is None else ", ".join(term for _, term in pairs),
                )
            for field, pair in terms.items():
                counts[field][pair] += 1
    return {field: FieldScore(field, counts[field]) for field in FIELDS}
