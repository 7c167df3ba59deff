"""How loosely arms and fingers move: idle motion on top of what the hands mean to do.

Between gestures arms wander like the rest of the body, in a stroke they hardly do. Hands
that rest close to the body would wander into it; they wander less there.
"""

from __future__ import annotations

import numpy as np

from gestray.corpora.synthetic.bounds import clearance
from gestray.corpora.synthetic.idle import wander
from gestray.corpora.synthetic.ik import ARM_JOINTS, matrix_to_rotvec, rotvec_to_matrix
from gestray.corpora.synthetic.stroke import FPS, Gesture, minimum_jerk
from gestray.motion.skeleton import HANDS, JOINT_NAMES, joint

ARMS: tuple[int, ...] = tuple(
    joint(f"{side}_{name}") for side in ("left", "right") for name in ARM_JOINTS
)
"""Joints of both arms in the order of the skeleton's sides."""

# In a stroke arms and fingers keep this share of their wandering, which fades over so many
# frames before and after.
_STROKE_SHARE, _FADE_FRAMES = 0.12, 10
# Wandering may bring no two solids of the body closer than this, metres; see `bounds`.
_LEAST_GAP_M = 0.003
# The gap is measured at every third frame, for idle motion is slow, and what it forbids holds
# for this long before and after, seconds.
_STRIDE, _AROUND_S = 3, 0.4


def loosen(
    joints: np.ndarray, gestures: list[Gesture], liveliness: float, rng: np.random.Generator
) -> None:
    """Adds idle motion to arms and fingers of rotation vectors (T, 55, 3), in place.

    Args:
        joints: poses with arms and fingers as the gestures want them.
        gestures: of the take.
        liveliness: share of `idle.IDLE`.
        rng: source of the noise.
    """
    frames = len(joints)
    amount = liveliness * _between_strokes(gestures, frames)[:, None, None]
    arms = amount * np.stack([wander(JOINT_NAMES[j], frames, rng) for j in ARMS], axis=1)
    fingers = amount * np.stack([wander(JOINT_NAMES[j], frames, rng) for j in HANDS], axis=1)
    planned = rotvec_to_matrix(joints[:, ARMS])
    meant = joints[::_STRIDE].copy()
    joints[:, HANDS] += fingers
    joints[:, ARMS] = matrix_to_rotvec(planned @ rotvec_to_matrix(arms))
    room = _room(meant, joints[::_STRIDE], frames)[:, None, None]
    joints[:, ARMS] = matrix_to_rotvec(planned @ rotvec_to_matrix(room * arms))


def _between_strokes(gestures: list[Gesture], frames: int) -> np.ndarray:
    """1 between gestures and `_STROKE_SHARE` in them (T,), with smooth ways between."""
    frame = np.arange(frames)
    loose = np.ones(frames)
    for gesture in gestures:
        away = np.maximum(gesture.first - frame, frame - (gesture.last - 1))
        loose = np.minimum(loose, minimum_jerk(away / _FADE_FRAMES))
    return _STROKE_SHARE + (1 - _STROKE_SHARE) * loose


def _room(meant: np.ndarray, loose: np.ndarray, frames: int) -> np.ndarray:
    """Share (T,) of the arms' wandering for which there is room.

    Where `loose` comes too close to the body, as much of the way from `meant` as leaves the
    least gap, were the gap to shrink evenly.
    """
    before, after = _gap(meant), _gap(loose)
    least = np.minimum(before, _LEAST_GAP_M)
    lost = np.maximum(before - after, 1e-6)
    share = np.where(after < least, np.clip((before - least) / lost, 0.0, 1.0), 1.0)
    reach = round(_AROUND_S * FPS / _STRIDE)
    lowest = _windows(share, reach).min(axis=1)
    smooth = _windows(lowest, reach).mean(axis=1)
    return np.interp(np.arange(frames), np.arange(0, frames, _STRIDE), smooth)


def _windows(x: np.ndarray, reach: int) -> np.ndarray:
    """Each value with its neighbours within `reach` on either side (T, 2 reach + 1)."""
    padded = np.pad(x, reach, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)


def _gap(joints: np.ndarray) -> np.ndarray:
    """Smallest distance (F,) of arms and hands from the body and from each other, metres."""
    free = clearance(joints)
    return np.minimum.reduce(
        [free.trunk.min(axis=1), free.head.min(axis=1), free.hands, free.elbows.min(axis=1)]
    )
