"""Both arms of a take: strokes solved from their paths, and the ways between them.

A stroke follows its path in space, frame by frame, through inverse kinematics.
Preparation, retraction and rest are interpolated between joint rotations, along the
shortest way and a minimum-jerk profile: whatever lies between two natural poses is
natural too, and no path runs into the poles of the elbow's swivel. The durations keep
motion within human bounds, see `gestray.corpora.synthetic.bounds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from gestray.corpora.synthetic.bounds import trunk_distance
from gestray.corpora.synthetic.gesture import HandStroke, Vector
from gestray.corpora.synthetic.hands import mirror_hand
from gestray.corpora.synthetic.ik import (
    ARM_JOINTS,
    ARM_LENGTH,
    hand_angles,
    matrix_to_rotvec,
    mirror_matrices,
    rotvec_to_matrix,
    shoulder_position,
    solve_arm,
)
from gestray.corpora.synthetic.stroke import (
    Gesture,
    HandPath,
    minimum_jerk,
    nominal_path,
    still_path,
)

# Frames of a way between two poses: at least, at most, and for each radian of its widest turn.
_SHORTEST_WAY, _LONGEST_WAY, _FRAMES_PER_RADIAN = 13, 24, 10.0
# On its way to or from what it touches an arm swings out by this, radians, so as to come from
# the side and not through it.
_SWERVE = 0.2
# A rest shorter than this is skipped: the hand goes straight to the next stroke.
_SHORTEST_REST = 8

_SHOULDER = ARM_JOINTS.index("shoulder")
_SHOULDER_HEIGHT: np.ndarray = shoulder_position() * (0.0, 1.0, 1.0)

# Where the elbow may point: from this far in under the arm to this far out and up, as people
# hold it, and towards the back by these amounts. The first of three is the usual place.
_ELBOW_OUT = np.deg2rad([30.0, *range(-20, 30, 10), *range(40, 101, 10)])
_ELBOW_BACK = (0.35, 0.0, 0.8)
# Comfort: angles beyond these shares of their range cost, and so does an elbow near the trunk,
# away from its usual place, or on the line from shoulder to wrist, where its swivel is undefined.
_EASY_TWIST = np.deg2rad(60.0)
_EASY_FLEXION, _EASY_DEVIATION = np.deg2rad((-45.0, 50.0)), np.deg2rad((-15.0, 25.0))
_ELBOW_FROM_TRUNK_M, _CLEAR_OF_LINE = 0.06, 0.35


def chest_frame(hand_space: np.ndarray) -> np.ndarray:
    """Places (..., 3) of a left hand, arm lengths in hand space, as metres from joint spine3."""
    return hand_space * ARM_LENGTH + _SHOULDER_HEIGHT


@cache
def elbow_direction(stroke: HandStroke) -> Vector:
    """Direction the elbow points to: the stroke's own, or the one that asks least of the joints."""
    if stroke.pole is not None:
        return stroke.pole
    poles = np.array(
        [(np.sin(out), -np.cos(out), -back) for back in _ELBOW_BACK for out in _ELBOW_OUT]
    )
    rounds = np.linspace(0.0, 1.0, 1 if stroke.path == "static" else 9)
    paths = [nominal_path(stroke, rounds, size) for size in (0.85, 1.2)]
    wrist = chest_frame(np.concatenate([path.wrist for path in paths]))
    palm = np.concatenate([path.palm for path in paths])
    fingers = np.array(stroke.fingers, dtype=np.float64)
    elbow, twist, flexion, deviation = hand_angles(
        wrist, palm, np.broadcast_to(fingers, wrist.shape), poles[:, None]
    )
    line = wrist - shoulder_position()
    across = np.linalg.norm(np.cross(poles[:, None], line), axis=-1) / (
        np.linalg.norm(poles, axis=-1)[:, None] * np.linalg.norm(line, axis=-1)
    )
    strain = (
        _beyond(twist, -_EASY_TWIST, _EASY_TWIST) ** 2
        + _beyond(flexion, *_EASY_FLEXION) ** 2
        + _beyond(deviation, *_EASY_DEVIATION) ** 2
        + (20 * np.maximum(_ELBOW_FROM_TRUNK_M - trunk_distance(elbow), 0)) ** 2
        + (5 * np.maximum(_CLEAR_OF_LINE - across, 0)) ** 2
    ).max(axis=1)
    usual = (0.4 * (np.tile(_ELBOW_OUT, len(_ELBOW_BACK)) - _ELBOW_OUT[0])) ** 2
    x, y, z = poles[(strain + usual).argmin()].tolist()
    return x, y, z


def solve_path(path: HandPath, raised: np.ndarray) -> np.ndarray:
    """Rotations (F, 4, 3, 3) of `ik.ARM_JOINTS` of a left arm that follows `path`.

    Args:
        path: the hand's path over F frames.
        raised: how far the collar is raised, radians (F,).
    """
    return _solve([path], [raised])


def arm_motion(
    gestures: list[Gesture], side: str, rest: HandStroke, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """One arm over a whole take.

    Args:
        gestures: of the take, in time order.
        side: `left` or `right`.
        rest: where the hand is between gestures.
        frames: length of the take.

    Returns:
        Rotation vectors of collar, shoulder, elbow and wrist (T, 4, 3), and of the 15
        finger joints (T, 15, 3), radians.
    """
    still = still_path(rest)
    made = [(gesture, path) for gesture in gestures if (path := _path(gesture, side))]
    solved = _solve(
        [still, *(path for _, path in made)],
        [np.zeros(1), *(gesture.variant.shrug * gesture.effort for gesture, _ in made)],
    )
    arm = np.tile(solved[0], (frames, 1, 1, 1))
    hand = np.tile(still.fingers_rotvec[0], (frames, 1, 1))
    if made:
        spans = [np.arange(gesture.first, gesture.last) for gesture, _ in made]
        arm[np.concatenate(spans)] = solved[1:]
        hand[np.concatenate(spans)] = np.concatenate([path.fingers_rotvec for _, path in made])
        first, last = (np.array([span[end] for span in spans]) for end in (0, -1))
        leave, home = _ways(solved[0], arm[first], arm[last], first, last, frames)
        swerve = np.array([_SWERVE * (path.stroke.contact != "none") for _, path in made])
        # A way that comes straight from the stroke before swerves for both.
        before = np.append(0.0, np.where(home[:-1] == last[:-1], swerve[:-1], 0.0))
        _travel(
            arm,
            hand,
            np.append(leave, last),
            np.append(first, home),
            np.append(np.maximum(swerve, before), swerve),
        )
    rotvecs = matrix_to_rotvec(mirror_matrices(arm) if side == "right" else arm)
    return rotvecs, mirror_hand(hand) if side == "right" else hand


def gesture_units(gestures: list[Gesture], rest: HandStroke, frames: int) -> list[tuple[int, int]]:
    """First and last frame of each gesture with its ways from and to rest, as `arm_motion` has it.

    A hand that goes straight on to the next stroke has no way to rest.
    """
    units = [(gesture.first, gesture.last - 1) for gesture in gestures]
    still = still_path(rest)
    for side in ("left", "right"):
        numbers = [n for n, gesture in enumerate(gestures) if _path(gesture, side)]
        if not numbers:
            continue
        made = [gestures[n] for n in numbers]
        ends = [_ends(path) for gesture in made if (path := _path(gesture, side))]
        raised = [gesture.variant.shrug * gesture.effort[[0, -1]] for gesture in made]
        solved = _solve([still, *ends], [np.zeros(1), *raised])
        first, last = np.array([(g.first, g.last - 1) for g in made]).T
        leave, home = _ways(solved[0], solved[1::2], solved[2::2], first, last, frames)
        for n, start, end in zip(numbers, leave.tolist(), home.tolist(), strict=True):
            units[n] = (min(units[n][0], start), max(units[n][1], end))
    return units


def _path(gesture: Gesture, side: str) -> HandPath | None:
    return gesture.left if side == "left" else gesture.right


def _ends(path: HandPath) -> HandPath:
    """The first and the last frame of a path."""
    return HandPath(
        path.stroke,
        path.wrist[[0, -1]],
        path.palm[[0, -1]],
        path.fingers,
        path.fingers_rotvec[[0, -1]],
    )


def _solve(paths: Sequence[HandPath], raised: Sequence[np.ndarray]) -> np.ndarray:
    """Rotations (F, 4, 3, 3) of a left arm for the frames of all paths, one after the other."""
    counts = [len(path.wrist) for path in paths]
    lift = np.concatenate(raised)
    zero = np.zeros_like(lift)
    return solve_arm(
        chest_frame(np.concatenate([path.wrist for path in paths])),
        np.concatenate([path.palm for path in paths]),
        np.repeat([path.fingers for path in paths], counts, axis=0),
        np.repeat([elbow_direction(path.stroke) for path in paths], counts, axis=0),
        rotvec_to_matrix(np.stack([zero, zero, lift], axis=-1)),
    )


def _ways(
    rest: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    frames: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Frames (G,) at which a hand leaves for each stroke, and (G,) at which it is home again.

    A hand that goes straight on to the next stroke leaves it at its end, and is home at once.

    Args:
        rest: the arm at rest (4, 3, 3).
        begin, end: the arm at the beginning and at the end of each stroke (G, 4, 3, 3).
        first, last: frames of these (G,).
        frames: length of the take.
    """
    leave = np.maximum(first - _way_frames(rest, begin), 0)
    home = np.minimum(last + _way_frames(end, rest), frames - 1)
    # Without time to rest, one unhurried way leads from stroke to stroke.
    hurries = leave[1:] - home[:-1] < _SHORTEST_REST
    leave[1:] = np.where(hurries, last[:-1], leave[1:])
    home[:-1] = np.where(hurries, last[:-1], home[:-1])
    return leave, home


def _way_frames(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Frames (...) from arm pose `a` to `b` (..., 4, 3, 3): the wider they turn, the longer."""
    widest = np.linalg.norm(_turn(a, b), axis=-1).max(axis=-1)
    return np.clip(np.rint(_FRAMES_PER_RADIAN * widest), _SHORTEST_WAY, _LONGEST_WAY).astype(int)


def _travel(
    arm: np.ndarray, hand: np.ndarray, leave: np.ndarray, arrive: np.ndarray, swerve: np.ndarray
) -> None:
    """Fills the frames between each pair of frames in `leave` and `arrive` (W,).

    In the middle of its way the whole arm is turned out by `swerve` (W,), radians.
    """
    inner = np.maximum(arrive - leave - 1, 0)
    way = np.repeat(np.arange(len(leave)), inner)
    start, end = leave[way], arrive[way]
    frame = start + 1 + np.arange(len(way)) - np.repeat(np.cumsum(inner) - inner, inner)
    share = minimum_jerk((frame - start) / (end - start))
    turn = _turn(arm[leave], arm[arrive])
    arm[frame] = arm[start] @ rotvec_to_matrix(share[:, None, None] * turn[way])
    hand[frame] = hand[start] + share[:, None, None] * (hand[end] - hand[start])
    zero = np.zeros_like(share)
    outward = np.stack([zero, swerve[way] * np.sin(np.pi * share), zero], axis=-1)
    arm[frame, _SHOULDER] = rotvec_to_matrix(outward) @ arm[frame, _SHOULDER]


def _turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) that lead from `a` to `b` (..., 3, 3), the shorter way round."""
    return matrix_to_rotvec(a.swapaxes(-1, -2) @ b)


def _beyond(angle: np.ndarray, low: float, high: float) -> np.ndarray:
    """How far angles lie outside a range, radians."""
    return np.maximum(low - angle, 0) + np.maximum(angle - high, 0)
