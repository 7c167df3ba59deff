"""What a body cannot do: its solid parts and its speed limits, stated once and measured.

The corpus is made within these bounds, and its tests measure them on the motion that comes
out. Bodies are simple solids in the frame of the chest, metres: the trunk a flat plate with
a round rim, the head an ellipsoid of an adult's mean breadth, length and height, arms and
hands spheres along their bones. Flesh gives way, and so simple a body is wrong by as much:
`MAX_OVERLAP_M` says how far solids may sink into each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gestray.motion.kinematics import forward_kinematics
from gestray.motion.rotations import axis_angle_to_matrix
from gestray.motion.skeleton import FINGERS, REST_OFFSETS, joint

MAX_WRIST_SPEED_M_S = 4.0
"""Fast gestures of real speakers reach 3 m/s; a thrown ball leaves the hand at 10."""
MAX_TURN_PER_FRAME = 0.45
"""Radians between two frames at 30 fps, of any joint of the body: 770 degrees a second."""
MAX_FINGER_TURN_PER_FRAME = 0.7
"""The same for the joints of fingers, which are light: 1200 degrees a second."""
MAX_COLLAR_RAISE = np.deg2rad(30.0)
"""How far a collar turns out of the T-pose."""
FINGER_FLEXION = (np.deg2rad(-10.0), np.deg2rad(110.0))
"""Range of each joint of the four fingers, from overstretched to bent."""
FINGER_SPREAD = np.deg2rad(30.0)
"""The four fingers move sideways at the knuckle by at most this."""
MAX_OVERLAP_M = 0.025
"""How far a hand may sink into the trunk, the head or the other hand."""

_TRUNK = [joint(name) for name in ("pelvis", "spine1", "spine2", "spine3")]
_SHOULDER_HEIGHT = float(REST_OFFSETS[[joint("left_collar"), joint("left_shoulder")], 1].sum())
# The plate: half its width, its lowest and highest point, and the radius of its rim.
_PLATE_HALF_WIDTH, _PLATE_RADIUS = 0.055, 0.105
_PLATE_HEIGHTS = (_SHOULDER_HEIGHT - 0.52, _SHOULDER_HEIGHT - 0.07)
_PLATE_DEPTH = 0.045
# The head from its joint: centre and half axes.
_HEAD_CENTRE = np.array([0.0, 0.0415, 0.0])
_HEAD_AXES = np.array([0.0775, 0.115, 0.0975])
# Radii of the spheres along forearm, palm, fingers and thumb.
_FOREARM_M, _PALM_M, _FINGER_M, _THUMB_M = 0.03, 0.014, 0.008, 0.01
_FINGER_TIP = 0.8  # the last bone, as a share of the one before


@dataclass(frozen=True)
class Clearance:
    """Distances between surfaces over F frames, metres; negative where solids overlap.

    Attributes:
        trunk, head: of the left and the right hand (F, 2).
        hands: of the two hands (F,).
        elbows: of the left and the right elbow from the trunk (F, 2).
    """

    trunk: np.ndarray
    head: np.ndarray
    hands: np.ndarray
    elbows: np.ndarray


def clearance(poses: np.ndarray) -> Clearance:
    """Measures the free space around the hands in poses, radians (F, 55, 3)."""
    local = torch.from_numpy(np.array(poses, dtype=np.float64))
    local[:, _TRUNK] = 0.0
    placed, turned = forward_kinematics(axis_angle_to_matrix(local))
    positions = (placed - placed[:, joint("spine3"), None]).numpy()
    rotations = turned.numpy()
    spheres, radii = zip(*(_arm(positions, rotations, s) for s in ("left", "right")), strict=True)
    points = np.stack(spheres, axis=1)  # (F, 2, P, 3)
    head = joint("head")
    in_head = (points - positions[:, None, None, head]) @ rotations[:, None, head]
    between = np.linalg.norm(points[:, 0, :, None] - points[:, 1, None], axis=-1)
    elbows = positions[:, [joint("left_elbow"), joint("right_elbow")]]
    return Clearance(
        trunk=(trunk_distance(points) - radii[0]).min(axis=-1),
        head=(_head_distance(in_head) - radii[0]).min(axis=-1),
        hands=(between - radii[0][:, None] - radii[1]).min(axis=(-2, -1)),
        elbows=trunk_distance(elbows) - _FOREARM_M,
    )


def trunk_distance(points: np.ndarray) -> np.ndarray:
    """Signed distance (...) of points (..., 3) in the chest frame from the trunk, metres."""
    x, y, z = np.moveaxis(points, -1, 0)
    aside = np.maximum(np.abs(x) - _PLATE_HALF_WIDTH, 0)
    beyond = y - np.clip(y, *_PLATE_HEIGHTS)
    return np.sqrt(aside**2 + beyond**2 + (z - _PLATE_DEPTH) ** 2) - _PLATE_RADIUS


def _head_distance(points: np.ndarray) -> np.ndarray:
    """Signed distance (...) of points (..., 3) in the head's frame from its ellipsoid, metres.

    First-order: exact on the surface, right within a few per cent near it.
    """
    scaled = (points - _HEAD_CENTRE) / _HEAD_AXES
    length = np.linalg.norm(scaled, axis=-1)
    gradient = np.linalg.norm(scaled / _HEAD_AXES, axis=-1)
    return length * (length - 1) / np.maximum(gradient, 1e-9)


def _arm(positions: np.ndarray, rotations: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Centres (F, P, 3) and radii (P,) of the spheres of one forearm and hand."""
    elbow, wrist = positions[:, joint(f"{side}_elbow")], positions[:, joint(f"{side}_wrist")]
    points, radii = [], []
    for share in (0.4, 0.6, 0.8, 1.0):
        points.append(elbow + share * (wrist - elbow))
        radii.append(_FOREARM_M if share < 1 else _PALM_M)
    for finger in FINGERS:
        bones = [joint(f"{side}_{finger}{k}") for k in (1, 2, 3)]
        last = bones[-1]
        tip = positions[:, last] + _FINGER_TIP * rotations[:, last] @ REST_OFFSETS[last]
        along = [positions[:, bone] for bone in bones]
        if finger != "thumb":
            points += [wrist + share * (along[0] - wrist) for share in (1 / 3, 2 / 3)]
            radii += [_PALM_M, _PALM_M]
        points += [*along, tip]
        thick = _THUMB_M if finger == "thumb" else _FINGER_M
        radii += [_PALM_M if finger != "thumb" else thick, thick, thick, thick]
    return np.stack(points, axis=1), np.array(radii)
