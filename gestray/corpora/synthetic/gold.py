"""The gold physical form of a gesture and its phases, from the plan its motion was made from.

Hand shape, palm, path, direction, repetitions, contact, relation and the move of the head
are those of the gesture type; place, amplitude, speed and hold are continuous in the plan,
and become words here. The limits are those of the records' vocabulary in arm lengths, in
the frame of the chest; they are written down again, not shared with the code that reads
forms off motion, so that the one can check the other.
"""

from __future__ import annotations

import numpy as np

from gestray.corpora.synthetic.arms import gesture_units
from gestray.corpora.synthetic.gesture import HandStroke
from gestray.corpora.synthetic.ik import ARM_LENGTH
from gestray.corpora.synthetic.stroke import FPS, Gesture, HandPath
from gestray.form import (
    Amplitude,
    Direction,
    GesturePhases,
    HandForm,
    HandShape,
    Height,
    Hold,
    Location,
    PhysicalForm,
    Reach,
    Side,
    Speed,
    Trajectory,
    Zone,
)
from gestray.motion.skeleton import REST_OFFSETS, joint

# Lower limits of the height of the palm above the shoulder line.
HEIGHTS: tuple[tuple[float, Height], ...] = (
    (0.70, "above head"),
    (0.22, "head"),
    (-0.12, "shoulder"),
    (-0.45, "chest"),
    (-0.80, "waist"),
    (-np.inf, "below waist"),
)
# McNeill's gesture space: half width, lowest and highest point of its nested boxes.
ZONES: tuple[tuple[Zone, float, float, float], ...] = (
    ("centre-centre", 0.22, -0.60, -0.05),
    ("centre", 0.45, -0.85, 0.15),
    ("periphery", 0.95, -1.05, 0.70),
    ("extreme periphery", np.inf, -np.inf, np.inf),
)
SIDE_FROM = 0.12
REACHES: tuple[tuple[float, Reach], ...] = ((0.80, "far"), (0.40, "medium"), (-np.inf, "close"))
# Range of the wrist along its main axis.
AMPLITUDES: tuple[tuple[float, Amplitude], ...] = (
    (0.60, "large"),
    (0.25, "medium"),
    (0.0, "small"),
)
# Mean speed of the wrist while it moves, arm lengths a second, after smoothing.
SPEEDS: tuple[tuple[float, Speed], ...] = ((1.60, "fast"), (0.60, "moderate"), (0.0, "slow"))
STILL_SPEED = 0.12
SMOOTHING_S = 0.03
# Seconds that the hands stay at the end of the stroke.
HOLDS: tuple[tuple[float, Hold], ...] = ((0.5, "long"), (0.2, "brief"), (0.0, "none"))

# The palm's centre lies halfway from the wrist to the middle knuckle.
_PALM_CENTRE = float(np.linalg.norm(REST_OFFSETS[joint("left_middle1")])) / 2 / ARM_LENGTH
_STATIC = Trajectory(
    path="static", direction="none", repetitions=0, amplitude="none", speed="still"
)


def gold_form(gesture: Gesture) -> PhysicalForm:
    """The physical form of `gesture` over its span of stroke and hold."""
    left, right = (
        None if hand is None else _hand_form(hand, gesture.passes, out)
        for hand, out in ((gesture.left, 1.0), (gesture.right, -1.0))
    )
    handedness = "both" if left and right else ("left" if left else "right")
    return PhysicalForm(
        handedness=handedness,
        left=left,
        right=right,
        relation=gesture.variant.relation if handedness == "both" else "single",
        hold=next(name for limit, name in HOLDS if gesture.hold_s >= limit),
        head=gesture.variant.head,
    )


def gold_phases(gestures: list[Gesture], rest: HandStroke, frames: int) -> list[GesturePhases]:
    """When the phases of each gesture of a take begin and end.

    Args:
        gestures: of the take, in time order.
        rest: where the hands are between gestures.
        frames: length of the take.
    """
    return [
        GesturePhases(
            start_s=round(start / FPS, 4),
            stroke_s=round(gesture.first / FPS, 4),
            hold_s=round((gesture.last - 1) / FPS - gesture.hold_s, 4),
            retraction_s=round((gesture.last - 1) / FPS, 4),
            end_s=round(end / FPS, 4),
        )
        for gesture, (start, end) in zip(
            gestures, gesture_units(gestures, rest, frames), strict=True
        )
    ]


def _hand_form(hand: HandPath, passes: int, out: float) -> HandForm:
    """One hand's part; `out` is the sign of x on the hand's own side."""
    along = hand.fingers / np.linalg.norm(hand.fingers)
    is_held = passes == 0 or hand.stroke.path == "static"
    return HandForm(
        location=_location(hand.wrist.mean(axis=0) + _PALM_CENTRE * along, out),
        palm=hand.stroke.palm,
        shape=_shape(hand.stroke),
        trajectory=_STATIC if is_held else _trajectory(hand, passes, out),
        contact=hand.stroke.contact,
    )


def _shape(stroke: HandStroke) -> HandShape:
    """The shape of the hand; shapes that follow each other are fingers counted off."""
    return stroke.shapes[0] if len(set(stroke.shapes)) == 1 else "counting"


def _location(centre: np.ndarray, out: float) -> Location:
    aside, up, front = centre
    side: Side = "middle"
    if abs(aside) >= SIDE_FROM:
        side = "left" if aside * out > 0 else "right"
    return Location(
        zone=next(
            zone
            for zone, half_width, low, high in ZONES
            if abs(aside) < half_width and low <= up < high
        ),
        height=next(name for limit, name in HEIGHTS if up >= limit),
        side=side,
        reach=next(name for limit, name in REACHES if front >= limit),
    )


def _trajectory(hand: HandPath, passes: int, out: float) -> Trajectory:
    speed = np.linalg.norm(np.diff(_as_recorded(hand.wrist), axis=0), axis=1) * FPS
    moving = speed >= STILL_SPEED
    # The longest extent: the range along the principal axis.
    centred = hand.wrist - hand.wrist.mean(axis=0)
    main_axis = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    extent = float(np.ptp(centred @ main_axis))
    return Trajectory(
        path=hand.stroke.path,
        direction=_direction(hand, out),
        repetitions=passes,
        amplitude=next(name for limit, name in AMPLITUDES if extent >= limit),
        speed=next(name for limit, name in SPEEDS if speed[moving].mean() >= limit),
    )


def _as_recorded(wrist: np.ndarray) -> np.ndarray:
    """Positions (F, 3) smoothed over time as recordings are before their speed is taken."""
    sigma = SMOOTHING_S * FPS
    reach = int(np.ceil(3 * sigma))
    weight = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(wrist, ((reach, reach), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(weight), axis=0)
    return windows @ (weight / weight.sum())


def _direction(hand: HandPath, out: float) -> Direction:
    """Where the first pass goes; of a circle, where its topmost (or foremost) point goes."""
    if hand.stroke.path == "circle":
        spin = np.cross(hand.stroke.bulge, hand.stroke.travel)
        lies_flat = abs(spin[1]) > np.sqrt(0.5) * np.linalg.norm(spin)
        heading = np.cross(spin, (0, 0, 1) if lies_flat else (0, 1, 0))
    else:
        way = hand.wrist - hand.wrist[0]
        heading = way[np.linalg.norm(way, axis=1).argmax()]
    axis = int(np.abs(heading).argmax())
    positive = bool(heading[axis] > 0)
    if axis == 0:
        return "left" if positive == (out > 0) else "right"
    return ("up" if positive else "down") if axis == 1 else ("forward" if positive else "backward")
