"""Records of a gesture type: what the hands do, and in how many ways.

A hand's part is written once, in its own *hand space*, and serves left and right: the
first coordinate is *out*, to the hand's own side of the midline, the second up, the
third to the front; the origin lies midway between the shoulders, and the unit is the
arm's length (shoulder to wrist). The shoulder joint is at about (0.34, 0, 0), the
chest's surface at depth 0.2, the chin at (0, 0.26, 0.2) and the temple at (0.14, 0.48, 0.12).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict

from gestray.form import Contact, HandShape, HeadMovement, Hold, Palm, Path, Relation

Vector = tuple[float, float, float]
# A misspelt field in the vocabulary's file is an error.
_STRICT = ConfigDict(extra="forbid")

Hands = Literal["preferred", "left", "right", "both"]

PALM_NORMALS: dict[Palm, Vector] = {
    "up": (0.0, 1.0, 0.0),
    "down": (0.0, -1.0, 0.0),
    "inward": (-1.0, 0.0, 0.0),
    "outward": (1.0, 0.0, 0.0),
    "to self": (0.0, 0.0, -1.0),
    "to front": (0.0, 0.0, 1.0),
}
"""Direction the palm faces, in hand space."""


@dataclass(frozen=True)
class HandStroke:
    """What one hand does in the stroke, in hand space.

    Attributes:
        shapes: the hand shape, or one a pass where it changes (counting).
        palm: where the palm faces, as nearly as the fingers allow.
        fingers: direction of the stretched fingers.
        start: wrist at the start of the stroke; where it is held if it does not move.
        travel: wrist displacement of one pass; of a circle its first diameter.
        path: kind of the path.
        bulge: sideways displacement at the middle of an arc; of a circle the second diameter.
        rolls: how far the hand is turned out of `palm` about its fingers at the start and at
            the far end of a pass, degrees; supinating is positive.
        contact: what the hand touches; such a hand is placed by where it ends.
        pole: direction the elbow points to, where it is not the most comfortable one.
    """

    __pydantic_config__ = _STRICT

    shapes: tuple[HandShape, ...]
    palm: Palm
    fingers: Vector
    start: Vector
    travel: Vector = (0.0, 0.0, 0.0)
    path: Path = "straight"
    bulge: Vector = (0.0, 0.0, 0.0)
    rolls: tuple[float, float] = (0.0, 0.0)
    contact: Contact = "none"
    pole: Vector | None = None


@dataclass(frozen=True)
class Variant:
    """One way to make a gesture.

    Attributes:
        hands: which hands make it; `preferred` is the speaker's choice.
        stroke: what a hand does; with both hands, what the leading one does. The other one
            mirrors it, or moves to the same side if `relation` is parallel; then the stroke
            is written for the left hand.
        other: what the other hand does where it is neither.
        relation: how two hands relate; `alternating` hands are half a pass apart.
        passes: fewest and most repetitions.
        pass_s: seconds of one way, there or back, or of one round; at ordinary tempo.
        hold: how long the hands stay at the end of the stroke. A static hand is held long.
        head: what the head does with it.
        shrug: how far the collars rise, radians.
    """

    __pydantic_config__ = _STRICT

    hands: Hands
    stroke: HandStroke
    other: HandStroke | None = None
    relation: Relation = "single"
    passes: tuple[int, int] = (1, 1)
    pass_s: float = 0.5
    hold: Hold = "brief"
    head: HeadMovement = "none"
    shrug: float = 0.0


@dataclass(frozen=True)
class GestureType:
    """A gesture with a meaning, and the ways to make it.

    Attributes:
        intent: a label of the shipped taxonomy (`gestray/anchors/intents.yaml`).
        family: BEAT2's class of semantic gestures it belongs to.
        variants: at least one; each is as likely as the others.
    """

    __pydantic_config__ = _STRICT

    intent: str
    family: Literal["beat", "deictic", "iconic", "metaphoric"]
    variants: tuple[Variant, ...]
