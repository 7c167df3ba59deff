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

# No range of motion is wider than the mean plus two standard deviations of healthy adults
# (Boone and Azen 1979, "Normal range of motion of joints in male subjects").
MIN_ELBOW_FLEXION = np.deg2rad(4.0)
"""The elbow bends from nearly straight to `MAX_ELBOW_FLEXION`, radians."""
MAX_ELBOW_FLEXION = np.deg2rad(145.0)
MAX_FOREARM_TWIST = np.deg2rad(86.0)
"""The forearm turns by at most this out of the T-pose (thumb to the front) either way, radians."""
WRIST_FLEXION = (np.deg2rad(-75.0), np.deg2rad(80.0))
"""The hand bends against the forearm from extension to flexion within this, radians."""
WRIST_DEVIATION = (np.deg2rad(-30.0), np.deg2rad(40.0))
"""The hand bends towards the thumb (negative) or the little finger within this, radians."""

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
        palm: directions the palm faces (..., 3); within the limits they are met exactly.
        fingers: directions of the stretched fingers (..., 3), made orthogonal to `palm`.
        pole: direction the elbow points to (..., 3), not along shoulder to wrist.
        collar: collar rotations (..., 3, 3); none leaves the collar at rest.

    Returns:
        (..., 4, 3, 3) rotations of `ARM_JOINTS`, each relative to its parent.
    """
    shape = np.broadcast_shapes(wrist.shape, palm.shape, fingers.shape, pole.shape)
    collars = np.broadcast_to(np.eye(3) if collar is None else collar, (*shape, 3))
    shoulder = shoulder_position(collars)
    elbow, reached = _place_elbow(wrist, pole, shoulder)
    upper, fore = _forearm(elbow - shoulder, reached - elbow)
    twist, bend = _within_limits(*_split_hand(_transpose(fore) @ _hand(palm, fingers, shape)))
    at_elbow = _about_x(_TWIST_AT_ELBOW * twist)
    return np.stack(
        [
            collars,
            _transpose(collars) @ upper,
            _transpose(upper) @ fore @ at_elbow,
            _about_x((1 - _TWIST_AT_ELBOW) * twist) @ rotvec_to_matrix(bend),
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


def hand_angles(
    wrist: np.ndarray, palm: np.ndarray, fingers: np.ndarray, pole: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What `solve_arm` would ask of elbow and hand if they had no limits.

    Args:
        wrist, palm, fingers, pole: as for `solve_arm`, the collar at rest.

    Returns:
        Positions of the elbow (..., 3); twist of the forearm, flexion and deviation of the
        wrist, radians (...).
    """
    shape = np.broadcast_shapes(wrist.shape, palm.shape, fingers.shape, pole.shape)
    shoulder = shoulder_position()
    elbow, reached = _place_elbow(wrist, pole, np.broadcast_to(shoulder, shape))
    fore = _forearm(elbow - shoulder, reached - elbow)[1]
    twist, bend = _split_hand(_transpose(fore) @ _hand(palm, fingers, shape))
    return elbow, twist, -bend[..., 2], bend[..., 1]


def _forearm(upper_arm: np.ndarray, forearm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames (..., 3, 3) of both segments; in the T-pose they lie along x and bend about -y."""
    upper_axis, fore_axis = _unit(upper_arm), _unit(forearm)
    hinge = -_unit(np.cross(upper_axis, fore_axis))
    return _frame(upper_axis, hinge), _frame(fore_axis, hinge)


def _hand(palm: np.ndarray, fingers: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Frames (..., 3, 3) of a hand with the given directions."""
    down = _unit(palm)
    along = _unit(fingers - (fingers * down).sum(-1, keepdims=True) * down)
    return _frame(np.broadcast_to(along, shape), np.broadcast_to(-down, shape))


def _split_hand(relative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forearm twist in radians (...), and the bend of the wrist as rotation vectors (..., 3)."""
    trace = np.trace(relative, axis1=-2, axis2=-1)
    twist = 2 * np.arctan2(relative[..., 2, 1] - relative[..., 1, 2], 1 + trace)
    twist = (twist + np.pi) % (2 * np.pi) - np.pi
    return twist, matrix_to_rotvec(_transpose(_about_x(twist)) @ relative)


def _within_limits(twist: np.ndarray, bend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twist (...) and bend (..., 3) that forearm and wrist can make."""
    bend = np.stack(
        [
            bend[..., 0],
            np.clip(bend[..., 1], *WRIST_DEVIATION),
            -np.clip(-bend[..., 2], *WRIST_FLEXION),
        ],
        axis=-1,
    )
    return np.clip(twist, -MAX_FOREARM_TWIST, MAX_FOREARM_TWIST), bend


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
