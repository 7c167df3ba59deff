"""From a physical form back to a motion that has it: a typical performance, without style.

The way back closes the circle: `describe(prototype(form)).form == form`. It makes motion
for the forms of the synthetic corpus's vocabulary and for what lies between them, with
that corpus's inverse kinematics and hand shapes. Where a form leaves several places or
directions of the fingers, a few are tried, and the first motion that reads back as the form
is taken; a form that none of them has (a hand in a place out of reach, a path
that cannot be told from another) is outside the domain.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.ndimage import distance_transform_edt

from gestray.anchors.gesture_space import location
from gestray.anchors.verbalize import describe_many, mirrored
from gestray.corpora.synthetic.arms import arm_motion
from gestray.corpora.synthetic.gesture import GestureType, HandStroke, Variant, Vector
from gestray.corpora.synthetic.ik import ARM_JOINTS, ARM_LENGTH
from gestray.corpora.synthetic.stroke import FPS, Gesture, HandPath, minimum_jerk, nominal_path
from gestray.errors import UserError
from gestray.form import (
    Amplitude,
    Direction,
    HandForm,
    HandShape,
    Hold,
    Location,
    Palm,
    PhysicalForm,
    Speed,
)
from gestray.motion.skeleton import LEFT_HAND, REST_OFFSETS, RIGHT_HAND, joint

_REST = HandStroke(
    ("relaxed",),
    "inward",
    (0.1, -1, 0.1),
    (0.44, -0.955, 0.10),
    path="static",
    pole=(0.35, 0.0, -1.0),
)
# In the middle of what the words mean: arm lengths, arm lengths a second, seconds.
_AMPLITUDE: dict[Amplitude, float] = {"none": 0.0, "small": 0.18, "medium": 0.4, "large": 0.72}
_SPEED: dict[Speed, float] = {"still": 0.0, "slow": 0.42, "moderate": 1.0, "fast": 2.6}
_HOLD_S: dict[Hold, float] = {"none": 0.0, "brief": 0.33, "long": 0.8}
# Typical directions of the stretched fingers for each way to face, in hand space.
_FINGERS: dict[Palm, tuple[Vector, ...]] = {
    "up": ((0.3, 0, 1), (0, 0, 1), (0.8, 0, 0.6), (0.5, 0, 0.8), (-0.3, 0, 1)),
    "down": ((-0.2, 0, 1), (-1, 0, 0.3), (0.4, 0, 1)),
    "inward": ((0, 0.3, 1), (-0.35, 0.9, -0.2), (0, 1, 0.3), (0, -0.3, 1), (-0.3, 0.9, 0.2)),
    "outward": ((0, 0.3, 1), (0, 1, 0.2)),
    "to self": ((-0.9, 0.4, 0), (-0.4, 0.9, 0), (-1, 0, 0), (-0.2, 1, 0)),
    "to front": ((0, 1, 0), (-0.3, 1, 0)),
}
_WAYS: dict[Direction, Vector] = {
    "none": (0, 0, 0),
    "left": (1, 0, 0),
    "right": (-1, 0, 0),
    "up": (0, 1, 0),
    "down": (0, -1, 0),
    "forward": (0, 0, 1),
    "backward": (0, 0, -1),
}
_COUNTED: tuple[HandShape, ...] = ("index", "two fingers", "three fingers", "four fingers")
_PALM_CENTRE = float(np.linalg.norm(REST_OFFSETS[joint("left_middle1")])) / 2 / ARM_LENGTH
# Half the distance of hands that are on each other: flat ones, fists.
_HALF_HAND = (0.05, 0.11)
# Still the same amplitude, for hands that are further away on average than where they touch.
_FROM_AFAR = 1.35
_PLACES, _CONTACT_PLACES = 4, 12
_LEAD_FRAMES, _MARGIN_FRAMES = 36, 40
_NOD, _SHAKE, _TILT = 0.13, 0.22, 0.2
_NOD_HZ, _SHAKE_HZ = 1.6, 2.0


@dataclass(frozen=True)
class _Choice:
    """What a form leaves open: number of the place, direction of the fingers, bend of a path."""

    place: int
    fingers: int
    bulge: int


def prototype(form: PhysicalForm) -> np.ndarray:
    """A motion of `form`: from rest to rest, axis-angle (T, 165) at 30 fps, float32.

    Raises:
        UserError: no motion was found that reads back as `form`; the message names the terms
            in which the nearest one differs.
    """
    hands = [hand for hand in (form.left, form.right) if hand is not None]
    choices = [
        _Choice(*numbers)
        for numbers in itertools.product(
            range(_CONTACT_PLACES if any(h.contact != "none" for h in hands) else _PLACES),
            range(max((len(_FINGERS[h.palm]) for h in hands), default=1)),
            range(2),
        )
    ]
    nearest: list[str] | None = None
    for start in range(0, len(choices), 8):
        motions = [_motion(form, choice) for choice in choices[start : start + 8]]
        for motion, (found, _) in zip(motions, describe_many(motions, FPS), strict=True):
            differs = _differences(form, found)
            if not differs:
                return motion
            if nearest is None or len(differs) < len(nearest):
                nearest = differs
    raise UserError(
        f"no prototype motion: the nearest differs in {', '.join(nearest or [])}; prototypes are "
        "made for forms as the synthetic corpus has them, so change these terms"
    )


def _differences(form: PhysicalForm, found: PhysicalForm) -> list[str]:
    """The fields in which two forms differ, with both terms."""
    pairs = zip(_flat(form).items(), _flat(found).items(), strict=False)
    if _flat(form).keys() != _flat(found).keys():
        return [f"handedness ({found.handedness} for {form.handedness})"] + ["all else"] * 20
    return [f"{name} ({b} for {a})" for (name, a), (_, b) in pairs if a != b]


def _flat(form: PhysicalForm) -> dict[str, object]:
    def walk(prefix: str, values: dict[str, object]) -> dict[str, object]:
        flat: dict[str, object] = {}
        for name, value in values.items():
            if isinstance(value, dict):
                flat |= walk(f"{prefix}{name} ", value)
            elif value is not None:
                flat[prefix + name] = value
        return flat

    return walk("", form.model_dump())


def _motion(form: PhysicalForm, choice: _Choice) -> np.ndarray:
    # A right hand is made as a left one in a mirror.
    in_hand_space = (form.left, mirrored(form).left)
    strokes = [None if hand is None else _stroke(hand, choice) for hand in in_hand_space]
    moving_s = max([_seconds(hand) for hand in in_hand_space if hand is not None], default=0.6)
    span = int(np.ceil((moving_s + _HOLD_S[form.hold]) * FPS)) + 1
    seconds = np.arange(span) / FPS
    paths: list[HandPath | None] = []
    for number, (hand, stroke) in enumerate(zip(in_hand_space, strokes, strict=True)):
        if hand is None or stroke is None:
            paths.append(None)
            continue
        progress = _progress(hand, seconds, moving_s)
        if form.relation == "alternating" and hand.trajectory.path == "circle":
            progress = progress + 0.5 * number
        paths.append(_placed(hand, nominal_path(stroke, progress), choice))

    joints = np.zeros((_LEAD_FRAMES + span + _MARGIN_FRAMES, 55, 3))
    if any(strokes):
        stroke = next(stroke for stroke in strokes if stroke is not None)
        variant = Variant("both", stroke)
        gesture = Gesture(
            kind=GestureType("beat", "beat", (variant,)),
            variant=variant,
            first=_LEAD_FRAMES,
            frames=span,
            moving_s=moving_s,
            passes=1,
            left=paths[0],
            right=paths[1],
            effort=np.zeros(span),
        )
        gestures = [gesture]
    else:
        gestures = []
    for side, fingers in (("left", LEFT_HAND), ("right", RIGHT_HAND)):
        arm, hand_joints = arm_motion(gestures, side, _REST, len(joints))
        joints[:, [joint(f"{side}_{name}") for name in ARM_JOINTS]] = arm
        joints[:, fingers] = hand_joints
    _move_head(joints, form, span)
    return joints.reshape(len(joints), -1).astype(np.float32)


def _stroke(hand: HandForm, choice: _Choice) -> HandStroke:
    """One hand's part in hand space; where it starts is settled by `_placed`."""
    path, way = hand.trajectory.path, np.array(_WAYS[hand.trajectory.direction], dtype=np.float64)
    length = _AMPLITUDE[hand.trajectory.amplitude]
    if hand.contact != "none" and choice.bulge:
        length *= _FROM_AFAR
    aside = np.array([(0.0, 1.0, 0.0), (0.0, 0.0, 1.0)][choice.bulge])
    if abs(way @ aside) > 0.5:
        aside = np.array([(1.0, 0.0, 0.0), (0.0, 0.0, 1.0)][choice.bulge])
        if abs(way @ aside) > 0.5:
            aside = np.array((1.0, 0.0, 0.0))
    travel, bulge = way * length, np.zeros(3)
    if path == "arc":
        bulge = 0.36 * length * aside
    elif path == "circle":
        # Around the horizontal axis across the way at the top: it rises first, then goes that way.
        travel, bulge = way * length, np.array((0.0, 1.0, 0.0)) * length
        if choice.bulge == 1 and abs(way[2]) < 0.5:
            travel, bulge = way * length, np.array((0.0, 0.0, 1.0)) * length
    shapes: tuple[HandShape, ...] = (hand.shape,)
    if hand.shape == "counting":
        shapes = _COUNTED[: max(3, min(hand.trajectory.repetitions, 4))]
    directions = _FINGERS[hand.palm]
    fingers = directions[choice.fingers % len(directions)]
    x, y, z = travel.tolist()
    u, v, w = bulge.tolist()
    return HandStroke(shapes, hand.palm, fingers, (0, 0, 0), (x, y, z), path, (u, v, w))


def _seconds(hand: HandForm) -> float:
    """How long a hand's stroke takes at its speed."""
    travel = hand.trajectory
    if travel.path == "static":
        return 0.0
    length, speed = _AMPLITUDE[travel.amplitude], _SPEED[travel.speed]
    if travel.path == "circle":
        return travel.repetitions * np.pi * length / speed
    way = 1.3 * length if travel.path == "arc" else length
    return (2 * travel.repetitions - 1) * way / speed


def _progress(hand: HandForm, seconds: np.ndarray, moving_s: float) -> np.ndarray:
    """Passes and returns done, or rounds, at each time (F,)."""
    travel = hand.trajectory
    if travel.path == "static" or moving_s == 0:
        return np.zeros_like(seconds)
    share = np.clip(seconds / moving_s, 0, 1)
    if travel.path == "circle":
        return travel.repetitions * share
    legs = 2 * travel.repetitions - 1
    leg = np.minimum(np.floor(share * legs), legs - 1)
    return leg + minimum_jerk(share * legs - leg)


def _placed(hand: HandForm, path: HandPath, choice: _Choice) -> HandPath:
    """The path moved to where its palm is on average where the form says."""
    along = np.array(path.fingers) / np.linalg.norm(path.fingers)
    mean = path.wrist.mean(axis=0)
    places = _contact_places(hand, path.wrist[-1] - mean, choice) if hand.contact != "none" else []
    places = places or _places(hand.location)
    shift = np.array(places[choice.place % len(places)]) - mean - _PALM_CENTRE * along
    # Where the elbow points is chosen for the stroke's place.
    x, y, z = (np.array(path.stroke.start) + shift).tolist()
    stroke = replace(path.stroke, start=(x, y, z))
    return HandPath(stroke, path.wrist + shift, path.palm, path.fingers, path.fingers_rotvec)


_GRID = [np.arange(-0.6, 1.25, 0.03), np.arange(-1.05, 1.15, 0.03), np.arange(0.0, 1.0, 0.03)]


@cache
def _locations() -> dict[Location, np.ndarray]:
    """Of each location, the points (N, 3) of a grid within reach of a left hand."""
    cells: dict[Location, list[tuple[float, ...]]] = {}
    for point in itertools.product(*(axis.tolist() for axis in _GRID)):
        if np.linalg.norm(np.array(point) - (0.34, 0, 0)) < 1.05:
            cells.setdefault(location(list(point)), []).append(point)
    return {name: np.array(points) for name, points in cells.items()}


@cache
def _places(where: Location) -> list[tuple[float, ...]]:
    """Points of a location, the innermost first, each well away from the ones before."""
    points = _locations().get(where)
    if points is None:
        raise UserError(f"no prototype motion: a left or right hand does not reach {where}")
    low = points.min(axis=0)
    index = np.rint((points - low) / 0.03).astype(int)
    inside = np.zeros(index.max(axis=0) + 3, bool)
    inside[tuple((index + 1).T)] = True
    margin = distance_transform_edt(inside)[tuple((index + 1).T)]
    # Of places as far inside, hands prefer those in front of their own shoulder.
    comfort = np.linalg.norm(points - (0.36, -0.35, 0.5), axis=1)
    score = np.minimum(margin, 4) - 2 * comfort
    return _apart(points, -score, 0.1, _PLACES)


def _contact_places(hand: HandForm, to_end: np.ndarray, choice: _Choice) -> list[tuple[float, ...]]:
    """Points of the location from which a hand comes to touch what it should.

    Args:
        hand: what it is like.
        to_end: from where the hand is on average to where it ends (3,).
        choice: hands have no bend on their way to what they touch; it stands for their size.
    """
    points = _locations().get(hand.location)
    if points is None:
        return []
    x, y, z = (points + to_end).T
    if hand.contact == "chest":
        away = np.abs(np.hypot(x / 0.32, z / 0.2) - 1.22) + 0.2 * np.abs(y + 0.3)
    elif hand.contact == "head":
        away = np.abs(np.linalg.norm(np.stack([x - 0.05, 0.7 * (y - 0.3), z - 0.14]), axis=0) - 0.2)
    else:
        away = np.abs(x - _HALF_HAND[choice.bulge]) + 0.3 * np.abs(z - 0.5)
    return _apart(points, away, 0.05, _CONTACT_PLACES)


def _apart(
    points: np.ndarray, cost: np.ndarray, least: float, count: int
) -> list[tuple[float, ...]]:
    """The `count` cheapest of points (N, 3) that are at least so far from each other."""
    chosen: list[tuple[float, ...]] = []
    for number in np.argsort(cost, kind="stable").tolist():
        point = points[number]
        if all(np.linalg.norm(point - np.array(other)) > least for other in chosen):
            chosen.append(tuple(point.tolist()))
        if len(chosen) == count:
            break
    return chosen


def _move_head(joints: np.ndarray, form: PhysicalForm, span: int) -> None:
    margin = round(0.25 * FPS)
    local = np.arange(span + 2 * margin) / FPS
    ramp = minimum_jerk(np.minimum(local, local[::-1]) / 0.25)
    when = slice(_LEAD_FRAMES - margin, _LEAD_FRAMES + span + margin)
    angle = np.zeros((len(local), 3))
    if form.head == "nod":
        angle[:, 0] = _NOD * ramp * np.sin(2 * np.pi * _NOD_HZ * local)
    elif form.head == "shake":
        angle[:, 1] = _SHAKE * ramp * np.sin(2 * np.pi * _SHAKE_HZ * local)
    elif form.head == "tilt":
        angle[:, 2] = _TILT * ramp
    for name in ("neck", "head"):
        joints[when, joint(name)] = 0.5 * angle
