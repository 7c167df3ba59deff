"""The hand shapes of the synthetic corpus as finger rotations.

Angles are flexions at knuckle, middle and end joint of each finger, in degrees, with
the spread at the knuckle; the thumb's three rotations were fitted so that its tip
lies where the shape needs it (on the index tip for a pinch, across the fingers for
a fist). All are for the left hand; the right hand's are their mirror image.
"""

from __future__ import annotations

import numpy as np

from gestray.corpora.synthetic.ik import matrix_to_rotvec, rotvec_to_matrix
from gestray.form import HandShape
from gestray.motion.skeleton import FINGERS, REST_OFFSETS, joint

_STRAIGHT = (3.0, 4.0, 2.0)
_LOOSE = (18.0, 26.0, 12.0)
_BOWED = (48.0, 32.0, 14.0)
_CURLED = (75.0, 95.0, 60.0)

# Rotation vectors of the thumb's joints, radians.
_THUMB_LOOSE = ((0.0, 0.0, 0.0), (-0.02, 0.15, 0.15), (-0.02, 0.1, 0.12))
_THUMB_BESIDE = ((0.01, -0.07, -0.07), (-0.07, 0.39, 0.47), (-0.05, 0.25, 0.3))
_THUMB_APART = ((-0.33, -0.08, 0.24), (-0.16, -0.1, 0.12), (-0.05, -0.03, 0.04))
_THUMB_ACROSS = ((0.16, 0.26, -0.12), (0.29, 0.62, 0.21), (0.16, 0.34, 0.11))
_THUMB_UP = ((-0.68, -0.42, 0.12), (-0.17, -0.29, -0.05), (-0.04, -0.07, -0.01))
_THUMB_TO_INDEX = ((0.07, 0.07, -0.17), (0.28, 0.37, 0.04), (0.22, 0.34, 0.05))
_THUMB_OPPOSED = ((0.1, -0.1, -0.1), (0.05, 0.1, 0.05), (0.02, 0.06, 0.05))

# Sideways angle at the knuckle when the hand is fully spread, degrees, towards the thumb.
_SPREAD = {"index": 17.0, "middle": 3.0, "ring": -13.0, "pinky": -28.0}
# In the rest pose of the skeleton fingers fan out a little; side by side they are spread by this.
_CLOSED = -0.6


def _hand(
    fingers: dict[str, tuple[float, float, float]],
    thumb: tuple[tuple[float, float, float], ...],
    spread: float = _CLOSED,
    index_spread: float | None = None,
) -> np.ndarray:
    """Rotation vectors (15, 3) of a left hand in the order of SMPL-X.

    The index finger is spread like the others unless `index_spread` is given.
    """
    rows: list[np.ndarray] = []
    for finger in FINGERS:
        if finger == "thumb":
            rows += [np.array(rotvec) for rotvec in thumb]
            continue
        share = spread if finger != "index" or index_spread is None else index_spread
        aside = np.deg2rad(share * _SPREAD[finger])
        knuckle, middle, end = np.deg2rad(fingers[finger])
        # A finger bends in its own plane, so that the tips of a fist meet instead of parting.
        x, _, z = REST_OFFSETS[joint(f"left_{finger}2")]
        bend = np.array([z, 0.0, -x]) / np.hypot(x, z)
        turned = rotvec_to_matrix(np.array([0.0, -aside, 0.0])) @ rotvec_to_matrix(knuckle * bend)
        rows += [matrix_to_rotvec(turned), middle * bend, end * bend]
    return np.array(rows)


def _fingers(
    index: tuple[float, float, float],
    middle: tuple[float, float, float],
    others: tuple[float, float, float],
) -> dict[str, tuple[float, float, float]]:
    return {"index": index, "middle": middle, "ring": others, "pinky": others}


HAND_SHAPES: dict[HandShape, np.ndarray] = {
    "flat": _hand(_fingers(_STRAIGHT, _STRAIGHT, _STRAIGHT), _THUMB_BESIDE),
    "relaxed": _hand(_fingers(_LOOSE, _LOOSE, (22.0, 30.0, 14.0)), _THUMB_LOOSE, -0.5),
    "spread": _hand(_fingers(_STRAIGHT, _STRAIGHT, _STRAIGHT), _THUMB_APART, 1.0),
    "fist": _hand(_fingers(_CURLED, _CURLED, _CURLED), _THUMB_ACROSS),
    "index": _hand(_fingers(_STRAIGHT, _CURLED, _CURLED), _THUMB_ACROSS),
    "two fingers": _hand(_fingers(_STRAIGHT, _STRAIGHT, _CURLED), _THUMB_ACROSS, 0.5),
    "three fingers": _hand(
        {"index": _STRAIGHT, "middle": _STRAIGHT, "ring": _STRAIGHT, "pinky": _CURLED},
        _THUMB_ACROSS,
        0.4,
    ),
    "four fingers": _hand(_fingers(_STRAIGHT, _STRAIGHT, _STRAIGHT), _THUMB_ACROSS, 0.4),
    "pinch": _hand(
        _fingers((52.5, 51.7, 23.5), (30.0, 32.0, 14.0), (22.0, 26.0, 12.0)),
        _THUMB_TO_INDEX,
        spread=-0.3,
        index_spread=0.0,
    ),
    "ring": _hand(_fingers((52.5, 51.7, 23.5), _STRAIGHT, _STRAIGHT), _THUMB_TO_INDEX, 0.3, 0.0),
    "cupped": _hand(_fingers(_BOWED, _BOWED, _BOWED), _THUMB_OPPOSED),
    "thumb up": _hand(_fingers(_CURLED, _CURLED, _CURLED), _THUMB_UP),
}
"""Rotation vectors of the left hand's 15 joints, radians (15, 3), by the name of the shape."""


def mirror_hand(rotvecs: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) seen in a mirror at x = 0: those of the other hand."""
    return rotvecs * np.array([1.0, -1.0, -1.0])
