"""Rotations in the three shapes that motion models use, and resampling in time.

Recordings hold axis-angle vectors, kinematics needs matrices, and networks learn
best on the continuous 6D representation (Zhou et al. 2019, "On the Continuity of
Rotation Representations in Neural Networks", eq. 15-16). Most of the algebra is `roma`'s;
what this module adds is the layout of the field's data (6D is the first two
*rows* of the matrix), gradients that stay finite at the identity, and resampling
on the rotation manifold.

All functions accept any leading dimensions and keep dtype and device.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import roma
import torch
from torch import Tensor

from gestray.errors import UserError


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of axis-angle vectors (..., 3) in radians.

    Rodrigues' formula, entry by entry: whatever looks at motion begins with it, and `roma`, which
    makes whole matrices twice and chooses between them, takes 1.8 times as long.
    """
    x, y, z = axis_angle.unbind(-1)
    # Below this angle the quotients are their limits, but for 2e-13.
    angle = torch.linalg.vector_norm(axis_angle, dim=-1).clamp(min=1e-6)
    sine = angle.sin() / angle
    versine = 2 * ((angle / 2).sin() / angle).square()
    sx, sy, sz = sine * x, sine * y, sine * z
    vx, vy, vz = versine * x, versine * y, versine * z
    xx, yy, zz, xy, xz, yz = vx * x, vy * y, vz * z, vx * y, vx * z, vy * z
    entries = [
        *(1 - yy - zz, xy - sz, xz + sy),
        *(xy + sz, 1 - xx - zz, yz - sx),
        *(xz - sy, yz + sx, 1 - xx - yy),
    ]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Axis-angle vectors (..., 3), angle in [0, pi], of rotation matrices (..., 3, 3).

    By way of the quaternion (Markley 2008, "Unit Quaternion from Rotation Matrix", eq. 7-9): of
    four multiples of it the longest, entry by entry.
    """
    a, b, c, d, e, f, g, h, i = matrix.flatten(-2).unbind(-1)
    xx, yy, zz, ww = 1 + a - e - i, 1 + e - i - a, 1 + i - a - e, 1 + a + e + i
    xy, xz, yz, xw, yw, zw = b + d, c + g, f + h, h - f, c - g, d - b
    is_w = ww >= torch.maximum(torch.maximum(xx, yy), zz)
    is_x, is_y = (xx >= yy) & (xx >= zz), yy >= zz

    def longest(by_x: Tensor, by_y: Tensor, by_z: Tensor, by_w: Tensor) -> Tensor:
        by_axis = torch.where(is_x, by_x, torch.where(is_y, by_y, by_z))
        return torch.where(is_w, by_w, by_axis)

    x, y, z = longest(xx, xy, xz, xw), longest(xy, yy, yz, yw), longest(xz, yz, zz, zw)
    w = longest(xw, yw, zw, ww)
    # Below this sine the quotient is its limit.
    sine = (x * x + y * y + z * z).clamp(min=1e-24).sqrt()
    scale = 2 * torch.atan2(sine, w.abs()) / torch.where(w > 0, sine, -sine)
    return torch.stack([scale * x, scale * y, scale * z], dim=-1)


def matrix_to_sixd(matrix: Tensor) -> Tensor:
    """The 6D representation (..., 6): the first two rows of matrices (..., 3, 3)."""
    return matrix[..., :2, :].flatten(-2)


def sixd_to_matrix(sixd: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of any 6D vectors (..., 6), by Gram-Schmidt on the two rows.

    The inverse of `matrix_to_sixd`; vectors that no rotation has (a network's
    output) go to the rotation that Zhou et al. 2019, eq. 15, assign to them.
    """
    # Entry by entry, as in `axis_angle_to_matrix`.
    ax, ay, az, bx, by, bz = sixd.unbind(-1)
    length = (ax * ax + ay * ay + az * az).sqrt()
    ax, ay, az = ax / length, ay / length, az / length
    along = ax * bx + ay * by + az * bz
    bx, by, bz = bx - along * ax, by - along * ay, bz - along * az
    length = (bx * bx + by * by + bz * bz).sqrt()
    bx, by, bz = bx / length, by / length, bz / length
    cx, cy, cz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    return torch.stack([ax, ay, az, bx, by, bz, cx, cy, cz], dim=-1).unflatten(-1, (3, 3))


@torch.autocast("cuda", enabled=False)  # bfloat16 knows no angle below a few degrees
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
    """Resamples joint rotations in time on the rotation manifold.

    To a higher rate by spherical interpolation. To a lower one through a low-pass
    filter first, see `resample_quaternions`.

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
    if fps_from == fps_to and len(poses):
        return poses.astype(np.float32)
    quaternions = roma.rotvec_to_unitquat(
        torch.from_numpy(poses.astype(np.float64)).unflatten(-1, (-1, 3))
    )
    resampled = resample_quaternions(quaternions, fps_from, fps_to)
    return roma.unitquat_to_rotvec(resampled).flatten(1).numpy().astype(np.float32)


def resample_quaternions(quaternions: Tensor, fps_from: float, fps_to: float) -> Tensor:
    """Resamples rotations in time; the work of `resample_axis_angle`.

    To a lower rate, what moves faster than the new rate can show (a tremor of 20 Hz at
    30 frames a second) would come back as a slow movement that nobody made. It is
    filtered out by a Lanczos kernel over unit quaternions of one hemisphere; for the
    narrow spans of a kernel their normalised mean is the mean rotation (Markley et al.
    2007, "Averaging Quaternions"). Before the first and after the last frame the motion
    is continued by its point reflection, so that the ends stay in place.

    Args:
        quaternions: unit, xyzw, (T, J, 4), float64.

    Returns:
        (T', J, 4).

    Raises:
        UserError: see `resample_axis_angle`.
    """
    before, after, fraction = _sample_times(len(quaternions), fps_from, fps_to)
    if fps_from > fps_to:
        signs = (quaternions[1:] * quaternions[:-1]).sum(-1, keepdim=True).sign()
        signs = torch.where(signs == 0, torch.ones_like(signs), signs)
        smooth = torch.cat([quaternions[:1], quaternions[1:] * signs.cumprod(0)])

        def reflect(inner: Tensor, edge: Tensor) -> Tensor:
            return roma.quat_product(
                roma.quat_product(edge, roma.quat_conjugation(inner)), edge.expand_as(inner)
            )

        mean = _low_pass(smooth, before, fraction, fps_from / fps_to, reflect)
        return mean / mean.norm(dim=-1, keepdim=True)
    if len(before) == len(quaternions) and not fraction.any():
        return quaternions
    start, end = quaternions[before], quaternions[after]
    # Slerp as a geodesic: the same axis all the way, the shorter way round.
    step = roma.unitquat_to_rotvec(roma.quat_product(roma.quat_conjugation(start), end))
    part = roma.rotvec_to_unitquat(step * torch.from_numpy(fraction)[:, None, None])
    return roma.quat_product(start, part)


def resample_linear(x: np.ndarray, fps_from: float, fps_to: float) -> np.ndarray:
    """Resamples vectors (T, C) in time as `resample_axis_angle` does rotations.

    Linearly to a higher rate, through the same low-pass filter to a lower one.

    Returns:
        float32 (T', C).

    Raises:
        UserError: a rate is not positive, or the shape is not (T, C) with T >= 1.
    """
    if x.ndim != 2:
        raise UserError(f"values have shape {x.shape}, expected (T, C)")
    before, after, fraction = _sample_times(len(x), fps_from, fps_to)
    wide = x.astype(np.float64)
    if fps_from > fps_to:
        ratio = fps_from / fps_to
        smooth = _low_pass(
            torch.from_numpy(wide), before, fraction, ratio, lambda inner, edge: 2 * edge - inner
        )
        return smooth.numpy().astype(np.float32)
    return (wide[before] + (wide[after] - wide[before]) * fraction[:, None]).astype(np.float32)


_LOBES = 3  # of the Lanczos kernel, in new frames at either side


def _low_pass(
    values: Tensor,
    before: np.ndarray,
    fraction: np.ndarray,
    ratio: float,
    reflect: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Lanczos means of `values` (T, ...) around each new frame.

    Args:
        before, fraction: see `_sample_times`.
        ratio: old frames a new one, above 1.
        reflect: continues the motion: point reflection of (n, ...) in an edge (1, ...).
    """
    reach = int(np.ceil(_LOBES * ratio))
    # A motion shorter than the kernel's reach stands still beyond its own length.
    inner = torch.arange(1, reach + 1).clamp(max=len(values) - 1)
    head = reflect(values[inner].flip(0), values[:1])
    tail = reflect(values[len(values) - 1 - inner], values[-1:])
    padded = torch.cat([head, values, tail])

    taps = np.arange(1 - reach, reach + 1)
    distance = (taps[None] - fraction[:, None]) / ratio
    weights = np.sinc(distance) * np.sinc(distance / _LOBES) * (np.abs(distance) < _LOBES)
    weights /= weights.sum(axis=1, keepdims=True)
    mean = torch.zeros_like(values[before])
    shape = (-1, *[1] * (values.ndim - 1))
    for tap, weight in zip(taps, weights.T, strict=True):
        index = (before + reach + tap).clip(max=len(padded) - 1)
        mean += padded[index] * torch.from_numpy(weight.copy()).reshape(shape)
    return mean


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
