"""Did the promised gesture happen at the word? What the verbalizer reads, beside gold.

Where gold says that a gesture belongs, the motion is described as if it were a recording, and
the description is looked up among gold gestures of training takes: the promise is kept if
those it looks most like have the promised intent. No encoder takes part, so no model is
judged by its own kind, and words take no part, so nothing is recognised by what was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gestray.form import HandForm, PhysicalForm

# Gold gestures whose intents are counted; a type has a few in training.
_NEIGHBOURS = 5


@dataclass(frozen=True)
class Promise:
    """A gold gesture: how it looks and what it means."""

    form: PhysicalForm
    intent: str


@dataclass(frozen=True)
class Kept:
    """How promises were kept.

    Attributes:
        intent: of each, whether the gestures it looks most like have its intent (N,).
        fields: of each, the share of the form's fields that agree (N,).
    """

    intent: np.ndarray
    fields: np.ndarray


def kept(
    promised: Sequence[Promise], described: Sequence[PhysicalForm], known: Sequence[Promise]
) -> Kept:
    """How far what was described is what was promised.

    Args:
        promised: gold.
        described: what the verbalizer says of the motion, in the same order.
        known: gold gestures of other takes, which descriptions are looked up among.
    """
    found = _coded(described)
    fields = (found == _coded([p.form for p in promised])).mean(axis=1)
    alike = (found[:, None] == _coded([k.form for k in known])).sum(axis=2)
    intents = np.array([k.intent for k in known])
    right = np.zeros(len(promised))
    for number, (row, promise) in enumerate(zip(alike, promised, strict=True)):
        # Of equally near ones, all count: which come first is no matter of looks.
        least = np.sort(row)[-min(_NEIGHBOURS, len(row))]
        names, counts = np.unique(intents[row >= least], return_counts=True)
        best = names[counts == counts.max()]
        right[number] = (promise.intent in best) / len(best)
    return Kept(right, fields)


def _coded(forms: Sequence[PhysicalForm]) -> np.ndarray:
    """Terms of all fields (N, F); a hand that takes no part has none."""
    return np.array([terms_of(form) for form in forms], dtype=str)


def terms_of(form: PhysicalForm) -> list[str]:
    """All that a form says, field by field."""
    return [
        form.handedness,
        form.relation,
        form.hold,
        form.head,
        *_hand_terms(form.left),
        *_hand_terms(form.right),
    ]


def _hand_terms(hand: HandForm | None) -> list[str]:
    if hand is None:
        return ["absent"] * 12
    place, path = hand.location, hand.trajectory
    return [
        place.zone, place.height, place.side, place.reach, hand.palm, hand.shape, hand.contact,
        path.path, path.direction, str(path.repetitions), path.amplitude, path.speed,
    ]  # fmt: skip
