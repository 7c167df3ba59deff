"""Rotations in the three shapes that motion models use, and resampling in time.

Recordings hold axis-angle vectors, kinematics needs matrices, and networks learn
best on the continuous 6D representation (Zhou et al. 2019, "On the Continuity of
Rotation Representations in Neural Networks", eq. 15-16). The algebra is `roma`'s;
what this module adds is the layout of the field's data (6D is the first two
*rows* of the matrix), gradients that stay finite at the identity, and resampling
on the rotation manifold.

All functions accept any leading dimensions and keep dtype and device.
"""

from __future__ import annotations

import numpy as np
import roma
import torch
from torch import Tensor

from gestray.errors import UserError


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of axis-angle vectors (..., 3) in radians."""
    return roma.rotvec_to_rotmat(axis_angle)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Axis-angle vectors (..., 3), angle in [0, pi], of rotation matrices (..., 3, 3)."""
    return roma.rotmat_to_rotvec(matrix)


def matrix_to_sixd(matrix: Tensor) -> Tensor:
    """The 6D representation (..., 6): the first two rows of matrices (..., 3, 3)."""
    return matrix[..., :2, :].flatten(-2)


def sixd_to_matrix(sixd: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of any 6D vectors (..., 6), by Gram-Schmidt on the two rows.

    The inverse of `matrix_to_sixd`; vectors that no rotation has (a network's
    output) go to the rotation that Zhou et al. 2019, eq. 15, assign to them.
    """
    columns = sixd.unflatten(-1, (2, 3)).transpose(-1, -2)
    return roma.special_gramschmidt(columns).transpose(-1, -2)


def geodesic_distance(a: Tensor, b: Tensor) -> Tensor:
    """Angle (...) in radians, in [0, pi], of the rotation between matrices (..., 3, 3).

    From sine and cosine together, so it is accurate at small angles where an
    arccosine is not; the gradient is finite everywhere, and zero at distance 0.
    """
    relative = a.transpose(-1, -2) @ b
    # 2 sin(angle) times the axis is the skew part; 1 + 2 cos(angle) is the trace.
    skew = torch.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        dim=-1,
    )
    squared = skew.square().sum(-1)
    is_zero = squared == 0
    sine = torch.where(is_zero, torch.ones_like(squared), squared).sqrt()
    sine = torch.where(is_zero, torch.zeros_like(sine), sine)
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(sine, trace - 1)


def resample_axis_angle(poses: np.ndarray, fps_from: float, fps_to: float) -> np.ndarray:
    """Resamples joint rotations in time by spherical interpolation.

    Args:
        poses: axis-angle, radians, (T, J*3); frame i is at time i / fps_from.
        fps_from: frames per second of `poses`.
        fps_to: frames per second wanted.

    Returns:
        float32 (T', J*3); frame i is at time i / fps_to. The last frame lies at or
        before the last frame of `poses`: nothing is extrapolated.

    Raises:
        UserError: a rate is not positive, or the shape is not (T, J*3) with T >= 1.
    """
    if poses.ndim != 2 or poses.shape[1] % 3:
        raise UserError(f"poses have shape {poses.shape}, expected (T, J*3) axis-angle")
    before, after, fraction = _sample_times(len(poses), fps_from, fps_to)
    if len(before) == len(poses) and not fraction.any():
        return poses.astype(np.float32)
    quaternions = roma.rotvec_to_unitquat(
        torch.from_numpy(poses.astype(np.float64)).unflatten(-1, (-1, 3))
    )
    start, end = quaternions[before], quaternions[after]
    # Slerp as a geodesic: the same axis all the way, the shorter way round.
    step = roma.unitquat_to_rotvec(roma.quat_product(roma.quat_conjugation(start), end))
    part = roma.rotvec_to_unitquat(step * torch.from_numpy(fraction)[:, None, None])
    between = roma.unitquat_to_rotvec(roma.quat_product(start, part))
    return between.flatten(1).numpy().astype(np.float32)


def resample_linear(x: np.ndarray, fps_from: float, fps_to: float) -> np.ndarray:
    """Resamples vectors (T, C) in time linearly, as `resample_axis_angle` does rotations.

    Returns:
        float32 (T', C).

    Raises:
        UserError: a rate is not positive, or the shape is not (T, C) with T >= 1.
    """
    if x.ndim != 2:
        raise UserError(f"values have shape {x.shape}, expected (T, C)")
    before, after, fraction = _sample_times(len(x), fps_from, fps_to)
    wide = x.astype(np.float64)
    return (wide[before] + (wide[after] - wide[before]) * fraction[:, None]).astype(np.float32)


def _sample_times(
    frames: int, fps_from: float, fps_to: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new frame: the frames before and after it, and how far it lies between them."""
    if not (fps_from > 0 and fps_to > 0):
        raise UserError(f"frame rates are {fps_from} and {fps_to}, expected both above 0")
    if frames < 1:
        raise UserError("there are no frames to resample, expected at least one")
    # The tolerance keeps a frame that falls on the last one up to rounding.
    count = int(np.floor((frames - 1) * fps_to / fps_from + 1e-6)) + 1
    position = np.arange(count) * (fps_from / fps_to)
    nearest = np.rint(position)
    position = np.where(np.abs(position - nearest) < 1e-6, nearest, position)
    before = np.minimum(position.astype(np.int64), frames - 1)
    after = np.minimum(before + 1, frames - 1)
    return before, after, position - before
