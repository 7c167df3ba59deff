"""Analytic inverse kinematics of the arm: from where the hand should be to joint rotations.

The corpus says gestures as wrist paths, palm and finger directions; SMPL-X wants
rotations of collar, shoulder, elbow and wrist. Two segments and a hinge have a
closed solution up to the swivel of the elbow about the line from shoulder to wrist
(Tolani, Goswami and Badler 2000, "Real-time inverse kinematics techniques for
anthropomorphic limbs"), which here points as nearly as it can along a given pole.

Everything is solved for the *left* arm in the frame of the chest (the frame of joint
spine3: origin at the joint, x to the speaker's left, y up, z to the front, metres).
The skeleton is symmetric, so a right arm is a left arm seen in a mirror: see
`mirror_matrices`.
"""

from __future__ import annotations

import numpy as np
import torch

from gestray.motion.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from gestray.motion.skeleton import REST_OFFSETS, joint

ARM_JOINTS = ("collar", "shoulder", "elbow", "wrist")
"""Joints of an arm whose rotations `solve_arm` returns, in this order."""

_COLLAR = REST_OFFSETS[joint("left_collar")].astype(np.float64)
_SHOULDER = REST_OFFSETS[joint("left_shoulder")].astype(np.float64)
_UPPER = float(np.linalg.norm(REST_OFFSETS[joint("left_elbow")]))
_FORE = float(np.linalg.norm(REST_OFFSETS[joint("left_wrist")]))

ARM_LENGTH: float = _UPPER + _FORE
"""Shoulder to wrist along the straight arm, metres."""

MAX_ELBOW_FLEXION = np.deg2rad(145.0)
"""The elbow bends from nearly straight (`MIN_ELBOW_FLEXION`) to this, radians."""
MIN_ELBOW_FLEXION = np.deg2rad(4.0)
MAX_FOREARM_TWIST = np.deg2rad(100.0)
"""The forearm turns by at most this out of the T-pose (palm down) either way, radians."""
MAX_WRIST_BEND = np.deg2rad(75.0)
"""The hand bends against the forearm by at most this in any direction, radians."""

# In SMPL-X recordings pronation is shared between the rotations of elbow and wrist.
_TWIST_AT_ELBOW = 0.6


def rotvec_to_matrix(rotvec: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of axis-angle vectors (..., 3), float64."""
    return axis_angle_to_matrix(torch.from_numpy(np.asarray(rotvec, dtype=np.float64))).numpy()


def matrix_to_rotvec(matrix: np.ndarray) -> np.ndarray:
    """Axis-angle vectors (..., 3) of rotation matrices (..., 3, 3), float64."""
    return matrix_to_axis_angle(torch.from_numpy(np.ascontiguousarray(matrix))).numpy()


def mirror_matrices(rotations: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) seen in a mirror at x = 0: those of the other arm."""
    flip = np.array([-1.0, 1.0, 1.0])
    return rotations * flip[:, None] * flip


def shoulder_position(collar: np.ndarray | None = None) -> np.ndarray:
    """Left shoulder in the chest frame, metres (..., 3), for collar rotations (..., 3, 3)."""
    return _COLLAR + (_SHOULDER if collar is None else collar @ _SHOULDER)


def solve_arm(
    wrist: np.ndarray,
    palm: np.ndarray,
    fingers: np.ndarray,
    pole: np.ndarray,
    collar: np.ndarray | None = None,
) -> np.ndarray:
    """Local rotations that bring the left wrist to a place and turn the hand.

    A wrist out of reach goes to the nearest point on the same line from the
    shoulder that the elbow's range allows; a hand direction that forearm and wrist
    cannot make is approached up to their limits.

    Args:
        wrist: targets in the chest frame, metres (..., 3).
        palm: directions the palm faces (..., 3); kept exactly within the limits.
        fingers: directions of the stretched fingers (..., 3), made orthogonal to `palm`.
        pole: direction the elbow points to (..., 3), not along shoulder to wrist.
        collar: collar rotations (..., 3, 3); none leaves the collar at rest.

    Returns:
        (..., 4, 3, 3) rotations of `ARM_JOINTS`, each relative to its parent.
    """
    shape = np.broadcast_shapes(wrist.shape, palm.shape, fingers.shape, pole.shape)
    collars = np.broadcast_to(np.eye(3) if collar is None else collar, (*shape, 3))
    elbow, reached = _place_elbow(wrist, pole, shoulder_position(collars))
    shoulder = shoulder_position(collars)
    upper_axis, fore_axis = _unit(elbow - shoulder), _unit(reached - elbow)

    # In the T-pose both segments lie along x and flexion turns about -y.
    hinge = -_unit(np.cross(upper_axis, fore_axis))
    upper = _frame(upper_axis, hinge)
    fore = _frame(fore_axis, hinge)
    down = _unit(palm)
    along = _unit(fingers - (fingers * down).sum(-1, keepdims=True) * down)
    hand = _frame(np.broadcast_to(along, shape), np.broadcast_to(-down, shape))

    twist, bend = _split_hand(_transpose(fore) @ hand)
    at_elbow = _about_x(_TWIST_AT_ELBOW * twist)
    return np.stack(
        [
            collars,
            _transpose(collars) @ upper,
            _transpose(upper) @ fore @ at_elbow,
            _about_x((1 - _TWIST_AT_ELBOW) * twist) @ bend,
        ],
        axis=-3,
    )


def _place_elbow(
    wrist: np.ndarray, pole: np.ndarray, shoulder: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Elbow and reachable wrist positions (..., 3)."""
    nearest = _chord(MAX_ELBOW_FLEXION)
    farthest = _chord(MIN_ELBOW_FLEXION)
    line = wrist - shoulder
    distance = np.linalg.norm(line, axis=-1, keepdims=True)
    axis = line / np.maximum(distance, 1e-9)
    distance = np.clip(distance, nearest, farthest)
    # Law of cosines: how far along the line the foot of the elbow lies.
    foot = (_UPPER**2 - _FORE**2 + distance**2) / (2 * distance)
    height = np.sqrt(np.maximum(_UPPER**2 - foot**2, 0.0))
    aside = _unit(pole - (pole * axis).sum(-1, keepdims=True) * axis)
    return shoulder + foot * axis + height * aside, shoulder + distance * axis


def _chord(flexion: float) -> float:
    """Distance from shoulder to wrist at an elbow flexion in radians."""
    return float(np.sqrt(_UPPER**2 + _FORE**2 + 2 * _UPPER * _FORE * np.cos(flexion)))


def _split_hand(relative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forearm twist in radians (...) and wrist bend (..., 3, 3), both within their limits."""
    trace = np.trace(relative, axis1=-2, axis2=-1)
    twist = 2 * np.arctan2(relative[..., 2, 1] - relative[..., 1, 2], 1 + trace)
    twist = (twist + np.pi) % (2 * np.pi) - np.pi
    bend = matrix_to_rotvec(_transpose(_about_x(twist)) @ relative)
    angle = np.linalg.norm(bend, axis=-1, keepdims=True)
    bend = bend * np.minimum(1.0, MAX_WRIST_BEND / np.maximum(angle, 1e-9))
    return np.clip(twist, -MAX_FOREARM_TWIST, MAX_FOREARM_TWIST), rotvec_to_matrix(bend)


def _frame(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) with the orthonormal columns x, y and x cross y."""
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _about_x(angle: np.ndarray) -> np.ndarray:
    zero = np.zeros_like(angle)
    return rotvec_to_matrix(np.stack([angle, zero, zero], axis=-1))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)


def _transpose(matrix: np.ndarray) -> np.ndarray:
    return matrix.swapaxes(-1, -2)
