"""Both arms of a take: strokes solved from their paths, and the ways between them.

A stroke follows its path in space, frame by frame, through inverse kinematics.
Preparation, retraction and rest are interpolated between joint rotations, along the
shortest way and a minimum-jerk profile: whatever lies between two natural poses is
natural too, and no path runs into the poles of the elbow's swivel. The durations keep
motion within human bounds: wrists stay below 4 m/s, and no joint turns by more than 0.45 rad
from one frame to the next.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from gestray.corpora.synthetic.gesture import HandStroke
from gestray.corpora.synthetic.hands import mirror_hand
from gestray.corpora.synthetic.ik import (
    ARM_LENGTH,
    matrix_to_rotvec,
    mirror_matrices,
    rotvec_to_matrix,
    shoulder_position,
    solve_arm,
)
from gestray.corpora.synthetic.stroke import Gesture, HandPath, minimum_jerk, still_path

# Frames of a way between two poses: at least, at most, and for each radian of its widest turn.
_SHORTEST_WAY, _LONGEST_WAY, _FRAMES_PER_RADIAN = 13, 24, 10.0
# A rest shorter than this is skipped: the hand goes straight to the next stroke.
_SHORTEST_REST = 8

_SHOULDER_HEIGHT: np.ndarray = shoulder_position() * (0.0, 1.0, 1.0)


def chest_frame(hand_space: np.ndarray) -> np.ndarray:
    """Places (..., 3) of a left hand, arm lengths in hand space, as metres from joint spine3."""
    return hand_space * ARM_LENGTH + _SHOULDER_HEIGHT


def solve_path(path: HandPath, raised: np.ndarray) -> np.ndarray:
    """Rotations (F, 4, 3, 3) of `ik.ARM_JOINTS` of a left arm that follows `path`.

    Args:
        path: the hand's path over F frames.
        raised: how far the collar is raised, radians (F,).
    """
    zero = np.zeros_like(raised)
    collar = rotvec_to_matrix(np.stack([zero, zero, raised], axis=-1))
    pole = np.array(path.stroke.elbow, dtype=np.float64)
    return solve_arm(chest_frame(path.wrist), path.palm, path.fingers, pole, collar)


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
    rest_arm, rest_hand = solve_path(still, np.zeros(1))[0], still.fingers_rotvec[0]
    arm = np.tile(rest_arm, (frames, 1, 1, 1))
    hand = np.tile(rest_hand, (frames, 1, 1))
    spans = []
    for gesture in gestures:
        path = gesture.left if side == "left" else gesture.right
        if path is not None:
            span = slice(gesture.first, gesture.last)
            arm[span] = solve_path(path, gesture.variant.shrug * gesture.effort)
            hand[span] = path.fingers_rotvec
            spans.append((gesture.first, gesture.last - 1))

    if spans:
        first, last = spans[0][0], spans[-1][1]
        _travel(arm, hand, max(first - _way_frames(rest_arm, arm[first]), 0), first)
        home = min(last + _way_frames(arm[last], rest_arm), frames - 1)
        _travel(arm, hand, last, home)
    for (_, left), (arrived, _) in pairwise(spans):
        home = left + _way_frames(arm[left], rest_arm)
        leave = arrived - _way_frames(rest_arm, arm[arrived])
        if leave - home >= _SHORTEST_REST:
            _travel(arm, hand, left, home)
        else:
            # No time to rest: hold, then go on to the next stroke.
            leave = max(left, arrived - _way_frames(arm[left], arm[arrived]))
            arm[left : leave + 1], hand[left : leave + 1] = arm[left], hand[left]
        _travel(arm, hand, leave, arrived)

    rotvecs = matrix_to_rotvec(mirror_matrices(arm) if side == "right" else arm)
    return rotvecs, mirror_hand(hand) if side == "right" else hand


def _way_frames(a: np.ndarray, b: np.ndarray) -> int:
    """Frames from arm pose `a` to `b` (4, 3, 3): the wider they turn, the longer."""
    widest = np.linalg.norm(_turn(a, b), axis=-1).max()
    return int(np.clip(round(_FRAMES_PER_RADIAN * widest), _SHORTEST_WAY, _LONGEST_WAY))


def _travel(arm: np.ndarray, hand: np.ndarray, start: int, end: int) -> None:
    """Fills the frames between poses `start` and `end`."""
    share = minimum_jerk(np.arange(1, end - start) / max(end - start, 1))[:, None, None]
    steps = rotvec_to_matrix(share * _turn(arm[start], arm[end]))
    arm[start + 1 : end] = arm[start] @ steps
    hand[start + 1 : end] = hand[start] + share * (hand[end] - hand[start])


def _turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotation vectors (4, 3) that lead from `a` to `b` (4, 3, 3), the shorter way round."""
    return matrix_to_rotvec(a.swapaxes(-1, -2) @ b)
