"""The invented speakers of the synthetic corpus and how each of them moves and talks."""

from __future__ import annotations

from dataclasses import dataclass

from gestray.corpora.synthetic.gesture import HandStroke


@dataclass(frozen=True)
class Speaker:
    """A speaker's style.

    Attributes:
        number: the speaker's id in take ids.
        name: the speaker's name in take ids.
        words_per_s: rate of speech within an utterance.
        tempo: speed of gestures; 1 is ordinary.
        amplitude: size of gestures; 1 is ordinary.
        right_handed: share of one-handed gestures made with the right hand.
        rest: where the hands rest between gestures.
        lean: bend of the trunk to the front, radians.
        head_pitch: how far the head is lowered, radians.
        sway_m: standard deviation of the body's sway, metres.
    """

    number: int
    name: str
    words_per_s: float
    tempo: float
    amplitude: float
    right_handed: float
    rest: HandStroke
    lean: float
    head_pitch: float
    sway_m: float

    def take_id(self, number: int) -> str:
        """Id of the speaker's take `number`, from 1, in BEAT2's form (0: English monologue)."""
        return f"{self.number}_{self.name}_0_{number}_{number}"


_HANGING_POLE = (0.35, 0.0, -1.0)
_AT_SIDES = HandStroke(
    ("relaxed",), "inward", (0.1, -1, 0.1), (0.44, -0.955, 0.10), path="static", pole=_HANGING_POLE
)
_AT_THIGHS = HandStroke(
    ("relaxed",), "to self", (-0.1, -1, 0.2), (0.38, -0.91, 0.24), path="static", pole=_HANGING_POLE
)
_AT_BELLY = HandStroke(("relaxed",), "to self", (-1, -0.2, 0.1), (0.22, -0.84, 0.36), path="static")
_BEFORE_HIPS = HandStroke(
    ("fist",), "inward", (-0.2, -0.8, 0.5), (0.34, -0.88, 0.28), path="static", pole=_HANGING_POLE
)

SPEAKERS: tuple[Speaker, ...] = (
    Speaker(101, "ada", 2.75, 1.0, 1.0, 0.9, _AT_SIDES, 0.02, 0.02, 0.008),
    Speaker(102, "ben", 2.5, 0.88, 0.9, 0.85, _AT_BELLY, 0.06, 0.08, 0.006),
    Speaker(103, "chloe", 3.0, 1.12, 1.12, 0.2, _AT_SIDES, -0.02, -0.02, 0.012),
    Speaker(104, "dan", 2.6, 0.95, 1.08, 0.7, _AT_THIGHS, 0.08, 0.05, 0.01),
    Speaker(105, "eva", 2.9, 1.08, 0.94, 0.8, _BEFORE_HIPS, 0.0, 0.0, 0.009),
    Speaker(106, "finn", 2.7, 1.02, 1.04, 0.3, _AT_BELLY, 0.04, 0.06, 0.007),
)
