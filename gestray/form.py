"""Records of what a gesture looks like and what it means.

The *physical form* is read off the motion by geometry alone
(`gestray.anchors.verbalize`); the *communicative intent* is grounded in form
and transcript together (`gestray.anchors.grounding`). Both are closed
vocabularies in the terms of gesture studies (McNeill 1992; Bressem 2013), so
that a record and its sentence can always be derived from each other.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Handedness = Literal["none", "left", "right", "both"]

# McNeill's gesture space, split into its two image axes and depth.
Zone = Literal["centre-centre", "centre", "periphery", "extreme periphery"]
Height = Literal["below waist", "waist", "chest", "shoulder", "head", "above head"]
Side = Literal["left", "middle", "right"]
Reach = Literal["close", "medium", "far"]

# Where the palm's normal points, in the frame of the speaker's chest.
Palm = Literal["up", "down", "inward", "outward", "to self", "to front"]

# "ring" is the tip of the thumb on that of the index finger with the others stretched (the
# O of precision), "pinch" the same with the others curved, "cupped" a bowl. "counting" are
# fingers that extend one after the other within the stroke.
HandShape = Literal[
    "flat",
    "relaxed",
    "spread",
    "fist",
    "index",
    "two fingers",
    "three fingers",
    "four fingers",
    "counting",
    "pinch",
    "ring",
    "thumb up",
    "cupped",
]

Path = Literal["static", "straight", "arc", "circle", "zigzag"]
Direction = Literal["none", "up", "down", "left", "right", "forward", "backward"]
Amplitude = Literal["none", "small", "medium", "large"]
Speed = Literal["still", "slow", "moderate", "fast"]

# What a hand touches during the stroke.
Contact = Literal["none", "head", "chest", "other hand"]

# "apart" and "together": the distance of the hands grows or shrinks; "touching": they stay on
# each other.
Relation = Literal["single", "mirror", "parallel", "alternating", "touching", "apart", "together"]

HeadMovement = Literal["none", "nod", "shake", "tilt"]

# How long the hands stay at the end of the stroke.
Hold = Literal["none", "brief", "long"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Location(_Record):
    """Where the hand is at the stroke, relative to the speaker's own body."""

    zone: Zone
    height: Height
    side: Side
    reach: Reach


class Trajectory(_Record):
    """How the wrist travels during the stroke, in the frame of the chest.

    `direction` is the dominant direction of the first pass; a repeated
    movement counts its passes in `repetitions` (1 for a single stroke, 0 for a
    static hand).
    """

    path: Path
    direction: Direction
    repetitions: int = Field(ge=0, le=20)
    amplitude: Amplitude
    speed: Speed


class HandForm(_Record):
    """One hand's part in a gesture."""

    location: Location
    palm: Palm
    shape: HandShape
    trajectory: Trajectory
    contact: Contact = "none"


class PhysicalForm(_Record):
    """What a gesture looks like: the structured half of a semantic motion anchor.

    A hand takes part (`left`, `right` present) exactly if `handedness` says
    so. `relation` is "single" unless both hands take part. `hold` is that of the
    gesture as a whole, "none" where no hand takes part.
    """

    handedness: Handedness
    left: HandForm | None = None
    right: HandForm | None = None
    relation: Relation = "single"
    hold: Hold = "none"
    head: HeadMovement = "none"

    def model_post_init(self, _context: object) -> None:
        expected = {
            "none": (False, False),
            "left": (True, False),
            "right": (False, True),
            "both": (True, True),
        }[self.handedness]
        if (self.left is not None, self.right is not None) != expected:
            raise ValueError(
                f"handedness {self.handedness!r} does not fit the hands given: "
                f"left {'present' if self.left else 'absent'}, "
                f"right {'present' if self.right else 'absent'}"
            )
        if (self.relation == "single") == (self.handedness == "both"):
            raise ValueError(
                f"relation {self.relation!r} does not fit handedness {self.handedness!r}: "
                "'single' is for one hand or none"
            )


def _terms(record: type[BaseModel], *fields: str) -> dict[str, tuple[str, ...]]:
    return {field: get_args(record.model_fields[field].annotation) for field in fields}


TERMS_OF_GESTURE = _terms(PhysicalForm, "handedness", "relation", "hold", "head")
"""What each field of a gesture as a whole may say; in the order of the vocabulary above."""

TERMS_OF_HAND = (
    _terms(Location, "zone", "height", "side", "reach")
    | _terms(HandForm, "palm", "shape", "contact")
    | _terms(Trajectory, "path", "direction", "amplitude", "speed")
)
"""What each field of a hand may say, `repetitions` aside."""


class GesturePhases(_Record):
    """When the phases of a gesture begin and end, in seconds (Kendon 1980).

    Preparation lasts from `start_s` to `stroke_s`, the stroke to `hold_s`, the hold to
    `retraction_s`, and the retraction to `end_s`; a phase without duration is absent.
    """

    start_s: float = Field(ge=0, allow_inf_nan=False)
    stroke_s: float
    hold_s: float
    retraction_s: float
    end_s: float = Field(allow_inf_nan=False)

    def model_post_init(self, _context: object) -> None:
        times = list(dict(self).values())
        if times != sorted(times):
            raise ValueError(f"phases must follow each other, found {dict(self)}")


class Intent(_Record):
    """What a gesture means here: the grounded half of a semantic motion anchor.

    `label` is one of a taxonomy (`gestray.anchors.taxonomy`); `sentence` says it for this
    transcript; `words` are the words that carry it; `confidence` is in [0, 1].
    """

    label: str
    sentence: str = Field(max_length=240)
    words: tuple[str, ...] = ()
    confidence: float = Field(ge=0.0, le=1.0)
