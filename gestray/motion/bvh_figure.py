"""SMPL-X motion as a BVH figure, for programs that animate characters.

All 55 joints under their SMPL-X names, fingers included, with the offsets of the rest
pose in centimetres. `retarget` with the map ``smplx`` is the way back.
"""

from __future__ import annotations

import numpy as np
import roma
import torch

from gestray.motion.bvh import Bvh, BvhJoint
from gestray.motion.skeleton import JOINT_NAMES, PARENTS, REST_OFFSETS

_ROTATIONS = ("Zrotation", "Xrotation", "Yrotation")
_POSITIONS = ("Xposition", "Yposition", "Zposition")
# Where a bone ends that no joint follows: a multiple of the bone before, or metres.
_FINGER_TIP = 0.8
_ENDS = {
    "jaw": (0.0, -0.03, 0.07),
    "left_eye_smplhf": (0.0, 0.0, 0.02),
    "right_eye_smplhf": (0.0, 0.0, 0.02),
    "left_foot": (0.0, 0.0, 0.07),
    "right_foot": (0.0, 0.0, 0.07),
}


def bone_end(j: int, rest_offsets: np.ndarray = REST_OFFSETS) -> np.ndarray:
    """Where the bone of a joint that no joint follows ends, metres from the joint (3,)."""
    metres = _ENDS.get(JOINT_NAMES[j])
    return _FINGER_TIP * rest_offsets[j].astype(np.float64) if metres is None else np.array(metres)


def smplx_figure(
    poses: np.ndarray,
    trans: np.ndarray | None = None,
    fps: float = 30.0,
    rest_offsets: np.ndarray = REST_OFFSETS,
) -> Bvh:
    """The BVH figure of a motion.

    Args:
        poses: axis-angle in radians (frames, 165).
        trans: translation in metres (frames, 3); none keeps the pelvis in place.
        fps: frames a second.
        rest_offsets: in metres (55, 3), as in `gestray.motion.skeleton`.

    Returns:
        A figure in centimetres, y up, whose zero pose is the T-pose.
    """
    offsets = rest_offsets.astype(np.float64) * 100
    joints = []
    for i, (name, parent) in enumerate(zip(JOINT_NAMES, PARENTS.tolist(), strict=True)):
        end = None if i in PARENTS[1:] else 100 * bone_end(i, rest_offsets)
        channels = _ROTATIONS if i else (*_POSITIONS, *_ROTATIONS)
        joints.append(BvhJoint(name, parent, offsets[i], channels, end))
    rotations = roma.rotvec_to_rotmat(
        torch.from_numpy(poses.astype(np.float64)).unflatten(-1, (len(JOINT_NAMES), 3))
    )
    angles = roma.rotmat_to_euler("ZXY", rotations, degrees=True).flatten(1).numpy()
    places = np.zeros((len(poses), 3)) if trans is None else trans.astype(np.float64)
    places = (places + rest_offsets[0]) * 100
    return Bvh(tuple(joints), np.hstack([places, angles]), fps)
