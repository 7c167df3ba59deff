"""The gold physical form of a gesture, from the plan its motion was made from.

Hand shape, palm, path, direction, repetitions and relation are those of the gesture
type; place, amplitude and speed are continuous in the plan, and become words here. The
limits are those of the records' vocabulary in arm lengths, in the frame of the
chest; they are written down again, not shared with the code that reads forms off motion,
so that the one can check the other.
"""

from __future__ import annotations

import numpy as np

from gestray.corpora.synthetic.ik import ARM_LENGTH
from gestray.corpora.synthetic.stroke import FPS, Gesture, HandPath
from gestray.form import (
    Amplitude,
    Direction,
    HandForm,
    Height,
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
    )


def _hand_form(hand: HandPath, passes: int, out: float) -> HandForm:
    """One hand's part; `out` is the sign of x on the hand's own side."""
    palm = hand.palm / np.linalg.norm(hand.palm)
    along = hand.fingers - (hand.fingers @ palm) * palm
    centre = hand.wrist.mean(axis=0) + _PALM_CENTRE * along / np.linalg.norm(along)
    shapes = hand.stroke.shapes
    return HandForm(
        location=_location(centre, out),
        palm=hand.stroke.palm,
        shape=max(shapes, key=shapes.count),
        trajectory=_STATIC if passes == 0 else _trajectory(hand, passes, out),
    )


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
