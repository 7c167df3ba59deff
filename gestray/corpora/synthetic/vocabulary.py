"""The gesture types of the synthetic corpus: what hands do to mean something.

A *type* pairs an intent of `gestray.form.INTENTS` with one to three physical
*variants*, as people make the same gesture in several ways. Places and ways are in the
hand space of `gestray.corpora.synthetic.gesture`: (out, up, forward) in arm lengths.
"""

from __future__ import annotations

from gestray.corpora.synthetic.gesture import GestureType, HandStroke, Variant, Vector
from gestray.form import HandShape, Palm

_FORWARD: Vector = (0, 0, 1)
_UP: Vector = (0, 1, 0)
_LONG_HOLD = (0.6, 1.0)


def _still(shape: HandShape, palm: Palm, fingers: Vector, at: Vector) -> HandStroke:
    return HandStroke((shape,), palm, fingers, at, path="static")


def _move(
    shape: HandShape, palm: Palm, fingers: Vector, start: Vector, travel: Vector
) -> HandStroke:
    return HandStroke((shape,), palm, fingers, start, travel)


def _wag(
    shape: HandShape, palm: Palm, fingers: Vector, start: Vector, travel: Vector
) -> HandStroke:
    return HandStroke((shape,), palm, fingers, start, travel, path="zigzag")


def _curve(
    shape: HandShape, palm: Palm, fingers: Vector, start: Vector, travel: Vector, bulge: Vector
) -> HandStroke:
    return HandStroke((shape,), palm, fingers, start, travel, path="arc", bulge=bulge)


def _circle(
    shape: HandShape, palm: Palm, fingers: Vector, start: Vector, travel: Vector, across: Vector
) -> HandStroke:
    return HandStroke((shape,), palm, fingers, start, travel, path="circle", bulge=across)


_COUNT: tuple[HandShape, ...] = ("index", "two fingers", "two fingers")

_SHRUG = (
    Variant(
        "both",
        _move("spread", "up", (0.5, 0, 0.8), (0.58, -0.58, 0.42), (0.10, 0.30, 0.04)),
        "mirror",
        head="tilt",
        shrug=0.22,
    ),
    Variant(
        "both",
        _move("flat", "up", (0.6, 0, 0.8), (0.48, -0.76, 0.42), (0.10, 0.26, 0.04)),
        "mirror",
        head="tilt",
        shrug=0.3,
    ),
    Variant(
        "both",
        _still("relaxed", "up", (0.5, 0, 0.8), (0.62, -0.36, 0.42)),
        "mirror",
        hold_s=_LONG_HOLD,
        head="shake",
        shrug=0.15,
    ),
)

_POINT_TO_SELF = (
    Variant(
        "preferred",
        _move("flat", "to self", (-0.9, 0.3, 0), (0.16, -0.30, 0.60), (0, 0.04, -0.30)),
    ),
    Variant(
        "preferred",
        _move("index", "to self", (-0.8, 0.4, 0), (0.20, -0.30, 0.62), (0, 0.04, -0.28)),
        pass_s=0.4,
    ),
    Variant(
        "both",
        _move("flat", "to self", (-0.6, 0.7, 0), (0.26, -0.38, 0.60), (-0.02, 0.02, -0.30)),
        "mirror",
        head="nod",
    ),
)

_POINT_TO_LISTENER = (
    Variant(
        "preferred",
        _move("index", "down", _FORWARD, (0.30, -0.28, 0.42), (-0.03, 0.04, 0.40)),
        pass_s=0.4,
    ),
    Variant(
        "preferred",
        _move("flat", "up", (0.1, 0, 1), (0.32, -0.42, 0.40), (0, 0.08, 0.38)),
        head="nod",
    ),
    Variant(
        "both",
        _move("relaxed", "up", (0.1, 0, 1), (0.34, -0.40, 0.38), (0.04, 0.05, 0.38)),
        "mirror",
    ),
)

_COUNT_FINGERS = (
    Variant(
        "preferred",
        HandStroke(_COUNT, "inward", (0, 1, 0.2), (0.42, 0.0, 0.50), (0, -0.14, 0.03)),
        passes=(3, 3),
        pass_s=0.24,
        hold_s=(0.3, 0.5),
    ),
    Variant(
        "preferred",
        HandStroke(_COUNT, "to self", (-0.1, 1, 0), (0.36, -0.34, 0.52), (0, -0.14, 0.03)),
        passes=(3, 3),
        pass_s=0.24,
        hold_s=(0.3, 0.5),
    ),
)

_LIST_STEPS = (
    Variant(
        "preferred",
        _move("flat", "down", _FORWARD, (0.34, -0.38, 0.58), (0, -0.30, 0)),
        passes=(3, 3),
        pass_s=0.24,
    ),
    Variant(
        "both",
        _move("flat", "inward", _FORWARD, (0.24, -0.40, 0.54), (0.06, -0.30, 0)),
        "mirror",
        passes=(3, 3),
        pass_s=0.24,
    ),
)

_WAVE_OFF = (
    Variant(
        "preferred",
        _wag("flat", "to front", _UP, (0.28, 0.0, 0.52), (0.36, 0, 0)),
        passes=(2, 3),
        pass_s=0.34,
        head="shake",
    ),
    Variant(
        "both",
        _move("flat", "down", (-0.1, 0, 1), (0.14, -0.34, 0.52), (0.44, 0, -0.03)),
        "apart",
        pass_s=0.4,
        head="shake",
    ),
    Variant(
        "preferred",
        _wag("index", "to front", _UP, (0.30, 0.02, 0.52), (0.19, 0, 0)),
        passes=(3, 3),
        pass_s=0.2,
        head="shake",
    ),
)

_THUMB_UP = (
    Variant(
        "preferred",
        _still("thumb up", "inward", _FORWARD, (0.34, -0.28, 0.62)),
        hold_s=_LONG_HOLD,
        head="nod",
    ),
    Variant(
        "preferred",
        _move("thumb up", "inward", _FORWARD, (0.36, -0.32, 0.46), (0, 0.06, 0.28)),
        head="nod",
    ),
    Variant(
        "both",
        _still("thumb up", "inward", _FORWARD, (0.36, -0.30, 0.60)),
        "mirror",
        hold_s=_LONG_HOLD,
        head="nod",
    ),
)

_WIDE_ARMS = (
    Variant(
        "both",
        _move("flat", "inward", (0.1, 0, 1), (0.20, -0.28, 0.62), (0.66, 0.08, -0.14)),
        "apart",
        pass_s=0.65,
    ),
    Variant(
        "both",
        _move("spread", "inward", (0, 0.4, 1), (0.34, -0.04, 0.62), (0.48, 0.06, -0.10)),
        "apart",
        pass_s=0.55,
    ),
)

_TALL = (
    Variant(
        "preferred",
        _move("flat", "down", (-0.3, 0, 1), (0.42, 0.46, 0.44), (0, 0.40, -0.02)),
        pass_s=0.55,
    ),
    Variant(
        "preferred",
        _still("flat", "down", (-0.3, 0, 1), (0.40, 0.80, 0.40)),
        hold_s=_LONG_HOLD,
    ),
)

_PINCH_SMALL = (
    Variant(
        "preferred",
        _still("pinch", "inward", (0, 0.6, 0.8), (0.26, -0.10, 0.52)),
        hold_s=_LONG_HOLD,
    ),
    Variant(
        "both",
        _still("flat", "inward", _FORWARD, (0.11, -0.32, 0.50)),
        "together",
        hold_s=_LONG_HOLD,
    ),
    Variant(
        "preferred",
        _still("pinch", "to front", (-0.3, 1, 0), (0.32, 0.18, 0.46)),
        hold_s=_LONG_HOLD,
    ),
)

_RISE = (
    Variant(
        "preferred",
        _move("flat", "up", (0, 0, 1), (0.40, -0.76, 0.46), (0, 0.58, 0.04)),
        pass_s=0.65,
    ),
    Variant(
        "preferred",
        _move("flat", "down", (-0.2, 0, 1), (0.42, -0.56, 0.50), (0.02, 0.66, 0)),
        pass_s=0.65,
    ),
    Variant(
        "both",
        _move("spread", "up", (0.2, 0, 1), (0.44, -0.70, 0.46), (0.02, 0.50, 0.04)),
        "mirror",
        pass_s=0.6,
    ),
)

_FALL = (
    Variant(
        "preferred",
        _move("flat", "down", (-0.2, 0, 1), (0.42, 0.10, 0.52), (0, -0.66, -0.04)),
        pass_s=0.6,
    ),
    Variant(
        "both",
        _move("relaxed", "down", (-0.1, 0, 1), (0.40, -0.04, 0.54), (0.04, -0.54, -0.06)),
        "mirror",
        pass_s=0.6,
    ),
    Variant(
        "preferred",
        _move("index", "down", _FORWARD, (0.24, 0.04, 0.56), (0.20, -0.48, -0.04)),
        pass_s=0.55,
    ),
)

_PALM_OUT = (
    Variant(
        "preferred",
        _move("flat", "to front", _UP, (0.34, -0.14, 0.46), (0, 0.04, 0.34)),
        pass_s=0.4,
        hold_s=(0.35, 0.7),
    ),
    Variant(
        "both",
        _move("spread", "to front", _UP, (0.40, -0.14, 0.46), (0, 0.04, 0.30)),
        "mirror",
        pass_s=0.4,
        hold_s=(0.35, 0.7),
    ),
    Variant(
        "preferred",
        _still("spread", "to front", _UP, (0.36, -0.06, 0.68)),
        hold_s=_LONG_HOLD,
    ),
)

_POINT_LEFT = (
    Variant(
        "left",
        _move("index", "down", (1, 0, 0.5), (0.52, -0.20, 0.46), (0.42, 0.12, 0.02)),
        pass_s=0.45,
        hold_s=(0.3, 0.6),
    ),
    Variant(
        "right",
        _move("index", "down", (-1, 0, 0.7), (0.26, -0.22, 0.56), (-0.34, 0.10, 0.10)),
        pass_s=0.45,
        hold_s=(0.3, 0.6),
    ),
    Variant(
        "left",
        _move("flat", "up", (1, 0, 0.5), (0.50, -0.36, 0.46), (0.42, 0.12, 0.0)),
        pass_s=0.5,
        hold_s=(0.3, 0.6),
    ),
)
_OTHER_SIDE = {"left": "right", "right": "left"}
_POINT_RIGHT = tuple(
    Variant(_OTHER_SIDE[v.hands], v.stroke, pass_s=v.pass_s, hold_s=v.hold_s)  # type: ignore[arg-type]
    for v in _POINT_LEFT
)

_CIRCLE = (
    Variant(
        "preferred",
        _circle("index", "down", _FORWARD, (0.30, -0.16, 0.56), (0.28, 0, 0), (0, 0.28, 0)),
        passes=(2, 2),
        pass_s=0.65,
    ),
    Variant(
        "both",
        _circle("relaxed", "to self", (-1, 0, 0), (0.20, -0.3, 0.4), (0, 0, 0.26), (0, 0.26, 0)),
        "alternating",
        passes=(2, 3),
        pass_s=0.5,
    ),
    Variant(
        "preferred",
        _circle("relaxed", "down", _FORWARD, (0.24, -0.38, 0.56), (0.28, 0, 0), (0, 0, 0.26)),
        passes=(2, 2),
        pass_s=0.6,
    ),
)

_PINCH_POINT = (
    Variant(
        "preferred",
        _move("pinch", "down", (-0.1, 0, 1), (0.30, -0.26, 0.46), (-0.02, 0.02, 0.24)),
        pass_s=0.35,
        hold_s=(0.3, 0.6),
    ),
    Variant(
        "preferred",
        _move("pinch", "inward", (0, 0.3, 1), (0.30, -0.16, 0.56), (0, -0.16, 0.02)),
        passes=(2, 3),
        pass_s=0.2,
    ),
)

_FIST_DOWN = (
    Variant(
        "preferred",
        _move("fist", "inward", (0, 0.3, 1), (0.36, 0.04, 0.50), (0, -0.46, 0.06)),
        pass_s=0.22,
        hold_s=(0.3, 0.6),
        head="nod",
    ),
    Variant(
        "both",
        _move("fist", "inward", _FORWARD, (0.34, -0.20, 0.50), (0.06, -0.44, 0.04)),
        "mirror",
        pass_s=0.22,
        hold_s=(0.3, 0.5),
        head="nod",
    ),
    Variant(
        "preferred",
        _move("fist", "inward", (0, 0.2, 1), (0.36, -0.18, 0.54), (0, -0.30, 0.04)),
        passes=(2, 2),
        pass_s=0.22,
    ),
)

_CHOP = (
    Variant(
        "preferred",
        _move("flat", "inward", (0, 0.2, 1), (0.30, -0.06, 0.56), (0, -0.42, 0.06)),
        pass_s=0.28,
        hold_s=(0.3, 0.5),
        head="nod",
    ),
    Variant(
        "preferred",
        _move("index", "down", _FORWARD, (0.34, 0.0, 0.58), (0, -0.28, 0.06)),
        passes=(2, 2),
        pass_s=0.22,
    ),
)

_HAND_TO_CHIN = (
    Variant(
        "preferred",
        _still("fist", "to self", (-0.5, 0.8, 0), (0.16, 0.19, 0.32)),
        hold_s=_LONG_HOLD,
        head="tilt",
    ),
    Variant(
        "preferred",
        _still("index", "inward", (-0.2, 0.9, -0.2), (0.22, 0.20, 0.32)),
        hold_s=_LONG_HOLD,
        head="tilt",
    ),
)

_HAND_TO_TEMPLE = (
    Variant(
        "preferred",
        _still("index", "to self", (-0.3, 0.9, 0), (0.36, 0.30, 0.27)),
        hold_s=_LONG_HOLD,
    ),
    Variant(
        "preferred",
        _wag("two fingers", "inward", (-0.1, 0.9, -0.3), (0.48, 0.32, 0.28), (-0.16, 0, -0.02)),
        passes=(2, 2),
        pass_s=0.22,
    ),
)

_TWO_SIDES = (
    Variant(
        "both",
        _move("flat", "up", (0.2, 0, 1), (0.46, -0.58, 0.48), (0, 0.36, 0.02)),
        "alternating",
        passes=(2, 2),
        pass_s=0.42,
    ),
    Variant(
        "preferred",
        _curve("flat", "up", _FORWARD, (0.0, -0.42, 0.6), (0.64, 0, -0.04), (0, 0.26, 0.06)),
        pass_s=0.6,
        hold_s=(0.3, 0.5),
        head="tilt",
    ),
)

_BEAT = (
    Variant(
        "preferred",
        _move("relaxed", "inward", (-0.1, 0.1, 1), (0.34, -0.37, 0.54), (0, -0.20, 0.03)),
    ),
    Variant(
        "both",
        _move("relaxed", "inward", (-0.1, 0, 1), (0.30, -0.54, 0.50), (0.04, -0.19, 0.03)),
        "mirror",
    ),
    Variant(
        "preferred",
        _move("spread", "up", (0, 0, 1), (0.36, -0.56, 0.50), (0, -0.20, 0.03)),
    ),
)

BEAT = GestureType("beat", "beat", _BEAT)
"""Small flicks on stressed words; the script says how many and when."""

GESTURES: dict[str, GestureType] = {
    "shrug": GestureType("uncertainty", "metaphoric", _SHRUG),
    "point_to_self": GestureType("self-reference", "deictic", _POINT_TO_SELF),
    "point_to_listener": GestureType("addressee", "deictic", _POINT_TO_LISTENER),
    "count_fingers": GestureType("listing", "metaphoric", _COUNT_FINGERS),
    "list_steps": GestureType("listing", "metaphoric", _LIST_STEPS),
    "wave_off": GestureType("negation", "metaphoric", _WAVE_OFF),
    "thumb_up": GestureType("affirmation", "metaphoric", _THUMB_UP),
    "wide_arms": GestureType("large", "iconic", _WIDE_ARMS),
    "tall": GestureType("large", "iconic", _TALL),
    "pinch_small": GestureType("small", "iconic", _PINCH_SMALL),
    "rise": GestureType("growth", "iconic", _RISE),
    "fall": GestureType("decline", "iconic", _FALL),
    "palm_out": GestureType("stop", "metaphoric", _PALM_OUT),
    "point_left": GestureType("pointing away", "deictic", _POINT_LEFT),
    "point_right": GestureType("pointing away", "deictic", _POINT_RIGHT),
    "circle": GestureType("cycle", "iconic", _CIRCLE),
    "pinch_point": GestureType("precision", "metaphoric", _PINCH_POINT),
    "fist_down": GestureType("emphasis", "metaphoric", _FIST_DOWN),
    "chop": GestureType("emphasis", "metaphoric", _CHOP),
    "hand_to_chin": GestureType("thinking", "metaphoric", _HAND_TO_CHIN),
    "hand_to_temple": GestureType("thinking", "metaphoric", _HAND_TO_TEMPLE),
    "two_sides": GestureType("contrast", "metaphoric", _TWO_SIDES),
}
"""Semantic gesture types by name; the sentences that go with them are in `lexicon.PATTERNS`."""
