"""The arrays of SMPL-X motion as different programs name and cut them, as one array.

AMASS (Mahmood et al. 2019) stores all joints in ``poses``: 165 numbers a frame for
SMPL-X, 156 for SMPL-H, which has no jaw and eyes. SHOW (Yi et al. 2023) and the `smplx`
package store one array a body part, hands perhaps as coefficients of principal components
that only the body model's file holds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from gestray.corpora.parts import as_float32
from gestray.corpora.take import NUM_JOINTS, POSE_WIDTH
from gestray.errors import BadInput
from gestray.motion.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from gestray.motion.skeleton import FACE

SMPLH_WIDTH = 156

#: Body parts in the order of `poses`: width, names of SHOW and AMASS, and whether needed.
_PARTS: tuple[tuple[int, tuple[str, ...], bool], ...] = (
    (3, ("global_orient", "root_orient"), True),
    (63, ("body_pose", "pose_body", "body_pose_axis"), True),
    (3, ("jaw_pose", "pose_jaw"), False),
    (3, ("leye_pose",), False),
    (3, ("reye_pose",), False),
    (45, ("left_hand_pose",), False),
    (45, ("right_hand_pose",), False),
)
# AMASS joins these: both eyes, and both hands.
_JOINED = {
    "pose_eye": ("leye_pose", "reye_pose"),
    "pose_hand": ("left_hand_pose", "right_hand_pose"),
}

#: Arrays that hold poses, under any of their names.
POSE_ARRAYS = (
    "poses",
    *(name for _, names, _ in _PARTS for name in names),
    *_JOINED,
    *(f"{side}_hand_{kind}" for side in ("left", "right") for kind in ("components", "mean")),
)


def assemble_poses(arrays: Mapping[str, np.ndarray], file: str) -> tuple[np.ndarray, np.ndarray]:
    """All joints of a motion, and which of them it has.

    Args:
        arrays: those of `POSE_ARRAYS` that the file holds.
        file: its name, for errors.

    Returns:
        Axis-angle float32 (frames, 165) and a mask bool (55,).

    Raises:
        BadInput: no poses, of another width or length, or hands as coefficients without
            the components they belong to.
    """
    if "poses" in arrays:
        return _whole(as_float32(file, "poses", arrays["poses"]), file)
    parts = dict(arrays)
    for joined, (left_name, right_name) in _JOINED.items():
        if joined in parts:
            left, right = np.array_split(_frames(file, joined, parts.pop(joined)), 2, axis=1)
            parts |= {left_name: left, right_name: right}
    columns: list[np.ndarray] = []
    mask: list[bool] = []
    length: int | None = None
    for width, names, needed in _PARTS:
        name = next((name for name in names if name in parts), None)
        if name is None:
            if needed:
                expected = "poses (frames, 165 or 156), or global_orient, body_pose, ..."
                raise BadInput(file, " or ".join(names), "no such array", expected)
            assert length is not None, "needed parts come first"
            columns.append(np.zeros((length, width), np.float32))
        else:
            values = _frames(file, name, parts[name])
            if name.endswith("hand_pose") and values.shape[1] != width:
                values = _decoded_hand(values, name, parts, file)
            length = len(values) if length is None else length
            if values.shape != (length, width):
                expected = f"shape ({length}, {width})"
                raise BadInput(file, name, f"shape {values.shape}", expected)
            columns.append(values)
        mask += [name is not None] * (width // 3)
    return np.concatenate(columns, axis=1), np.array(mask)


def _whole(poses: np.ndarray, file: str) -> tuple[np.ndarray, np.ndarray]:
    poses = poses.reshape(len(poses), -1) if poses.ndim > 2 else poses
    mask = np.ones(NUM_JOINTS, dtype=np.bool_)
    if poses.ndim == 2 and poses.shape[1] == SMPLH_WIDTH:
        whole = np.zeros((len(poses), POSE_WIDTH), np.float32)
        face = slice(3 * FACE[0], 3 * FACE[-1] + 3)
        whole[:, : face.start], whole[:, face.stop :] = np.split(poses, [face.start], axis=1)
        mask[list(FACE)] = False
        return whole, mask
    if poses.ndim != 2 or poses.shape[1] != POSE_WIDTH:
        expected = f"(frames, {POSE_WIDTH}) of SMPL-X or (frames, {SMPLH_WIDTH}) of SMPL-H"
        raise BadInput(file, "poses", f"shape {poses.shape}", expected)
    return poses, mask


def _frames(file: str, name: str, values: np.ndarray) -> np.ndarray:
    """An array with everything behind its first axis in one."""
    if values.ndim < 2:
        raise BadInput(file, name, f"shape {values.shape}", "(frames, ...)")
    return as_float32(file, name, values).reshape(len(values), -1)


def _decoded_hand(
    values: np.ndarray, name: str, parts: Mapping[str, np.ndarray], file: str
) -> np.ndarray:
    """A hand's axis-angle (frames, 45) from coefficients, if the file says of what."""
    prefix = name.removesuffix("_pose")
    found = f"{values.shape[1]} numbers a frame"
    if f"{prefix}_components" not in parts:
        expected = (
            f"45, or the array {prefix}_components besides: coefficients of principal "
            "components mean nothing without them (store the hands with use_pca=False)"
        )
        raise BadInput(file, name, found, expected)
    components = as_float32(file, f"{prefix}_components", parts[f"{prefix}_components"])
    mean = as_float32(file, f"{prefix}_mean", parts.get(f"{prefix}_mean", np.zeros(45)))
    if components.ndim != 2 or components.shape[1] != 45 or len(components) < values.shape[1]:
        expected = f"shape (n, 45) with n >= {values.shape[1]}"
        raise BadInput(file, f"{prefix}_components", f"shape {components.shape}", expected)
    if mean.shape != (45,):
        raise BadInput(file, f"{prefix}_mean", f"shape {mean.shape}", "shape (45,)")
    return values @ components[: values.shape[1]] + mean


def detect_up(poses: np.ndarray, file: str) -> str:
    """The axis, ``y`` or ``z``, along which the figure stands on average.

    Args:
        poses: axis-angle (frames, 165); the first three turn the pelvis, whose own up is y.

    Raises:
        BadInput: it stands along neither.
    """
    mean = axis_angle_to_matrix(torch.from_numpy(poses[:, :3].astype(np.float64)))[..., 1].mean(0)
    axis = "xyz"[int(mean.abs().argmax())]
    if axis == "x" or float(mean["xyz".index(axis)]) < 0.5 * float(mean.norm()):
        found = "a pelvis that points to " + ", ".join(f"{float(value):.2f}" for value in mean)
        raise BadInput(file, "up axis", found, "one along +y or +z; state up=y or up=z")
    return axis


def to_y_up(poses: np.ndarray, trans: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Motion of a world with z up in one with y up: a quarter turn about x.

    The turn is about the world's origin. As the model turns about the pelvis' rest position,
    which the file does not hold, heights are off by a constant of a few decimetres.
    """
    turn = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
    orient = axis_angle_to_matrix(torch.from_numpy(poses[:, :3].astype(np.float64)))
    turned = poses.copy()
    turned[:, :3] = matrix_to_axis_angle(turn @ orient).numpy()
    if trans is not None:
        trans = np.ascontiguousarray(trans @ turn.numpy().T.astype(np.float32))
    return turned, trans
