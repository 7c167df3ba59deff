"""What the hands do, seen from the chest: the measurements that the verbalizer puts in words.

Everything is relative to the speaker's own chest (the frame of the joint spine3)
and in units of the own arm, so the place, the facing, the lean and the size of the
speaker do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gestray.anchors import thresholds
from gestray.errors import UserError
from gestray.motion.kinematics import forward_kinematics
from gestray.motion.rotations import axis_angle_to_matrix
from gestray.motion.skeleton import JOINT_NAMES, REST_OFFSETS, joint

# Setting these joints to their rest rotation leaves the world frame at the chest's.
_TRUNK = [joint(name) for name in ("pelvis", "spine1", "spine2", "spine3")]
_SIDES = ("left", "right")
_WRISTS = [joint(f"{side}_wrist") for side in _SIDES]
# The order in which flexions are reported.
FOUR_FINGERS = ("index", "middle", "ring", "pinky")


def _hand_joints(*names: str) -> list[list[int]]:
    """Joint indices, one list a side: [[left_...], [right_...]]."""
    return [[joint(f"{side}_{name}") for name in names] for side in _SIDES]


_FINGER_JOINTS = _hand_joints(*(f"{finger}{k}" for finger in FOUR_FINGERS for k in (1, 2, 3)))
_MIDDLE1, _THUMB1, _THUMB3, _INDEX3 = (
    [side[0] for side in _hand_joints(name)] for name in ("middle1", "thumb1", "thumb3", "index3")
)

ARM_LENGTH: float = float(
    sum(np.linalg.norm(REST_OFFSETS[joint(name)]) for name in ("left_elbow", "left_wrist"))
)
"""Shoulder to wrist of the rest skeleton, metres."""

_HAND_LENGTH = float(
    sum(np.linalg.norm(REST_OFFSETS[joint(f"left_middle{k}")]) for k in (1, 2, 3, 3))
)
_SHOULDER_MIDDLE = sum(
    REST_OFFSETS[joint(name)] * (0, 1, 1)
    for name in ("spine1", "spine2", "spine3", "left_collar", "left_shoulder")
)


def _bearing(name: str) -> float:
    """Angle of a rest-pose bone of the left hand from +x towards the thumb, radians."""
    x, _, z = REST_OFFSETS[joint(name)]
    return math.atan2(z, x)


_REST_FAN = _bearing("left_index2") - _bearing("left_pinky2")


@dataclass(frozen=True)
class HandTracks:
    """Measurements of B clips, 2 hands (left, right) and T frames, padded at the end.

    Lengths are in arm lengths and directions in the chest's frame (x to the
    body's left, y up, z to the front), from the middle of the shoulders.

    Attributes:
        fps: frames per second.
        valid: bool (B, T); false where a clip is padded.
        wrist: position of the wrist, smoothed in time (B, 2, T, 3).
        velocity: of the wrist, arm lengths a second (B, 2, T, 3).
        palm: centre of the palm (B, 2, T, 3).
        palm_normal: unit vector out of the palm (B, 2, T, 3).
        flexion: radians summed over a finger's joints, for `FOUR_FINGERS` (B, 2, T, 4).
        fan: angle between index and little finger, radians (B, 2, T).
        pinch_gap: distance of the tips of thumb and index, in hand lengths (B, 2, T).
        thumb_off_palm: cosine of thumb and the hand's thumb side (B, 2, T).
        thumb_upward: cosine of thumb and the chest's up (B, 2, T).
    """

    fps: float
    valid: Tensor
    wrist: Tensor
    velocity: Tensor
    palm: Tensor
    palm_normal: Tensor
    flexion: Tensor
    fan: Tensor
    pinch_gap: Tensor
    thumb_off_palm: Tensor
    thumb_upward: Tensor

    @property
    def speed(self) -> Tensor:
        """Speed of the wrists, arm lengths a second (B, 2, T)."""
        return self.velocity.norm(dim=-1)


def hand_tracks(clips: Sequence[np.ndarray | Tensor], fps: float) -> HandTracks:
    """Measures the hands in clips of poses.

    Args:
        clips: axis-angle poses in radians, each (T_i, 165) with T_i >= 1.
        fps: frames per second of all of them.

    Raises:
        UserError: a clip has another shape or values that are not finite.
    """
    poses, valid = _padded(clips, fps)
    local = poses.unflatten(-1, (len(JOINT_NAMES), 3)).clone()
    local[..., _TRUNK, :] = 0.0
    local_rotations = axis_angle_to_matrix(local)
    positions, rotations = forward_kinematics(local_rotations)
    positions = (positions - torch.tensor(_SHOULDER_MIDDLE, dtype=torch.float32)) / ARM_LENGTH

    def of(source: Tensor, joints: list[int]) -> Tensor:  # (B, T, 55, ...) to (B, 2, T, ...)
        return source[:, :, joints].transpose(1, 2)

    hand = of(rotations, _WRISTS)
    wrist = of(positions, _WRISTS)
    flexion, fan = _fingers(local_rotations)
    thumb_tip = _tip(of(positions, _THUMB3), of(rotations, _THUMB3), _THUMB3)
    index_tip = _tip(of(positions, _INDEX3), of(rotations, _INDEX3), _INDEX3)
    thumb = torch.nn.functional.normalize(thumb_tip - of(positions, _THUMB1), dim=-1)
    smooth = _smoothed(wrist, fps)
    return HandTracks(
        fps=fps,
        valid=valid,
        wrist=smooth,
        velocity=_velocity(smooth, fps),
        palm=(wrist + of(positions, _MIDDLE1)) / 2,
        palm_normal=-hand[..., :, 1],
        flexion=flexion,
        fan=fan,
        pinch_gap=(thumb_tip - index_tip).norm(dim=-1) * (ARM_LENGTH / _HAND_LENGTH),
        thumb_off_palm=(thumb * hand[..., :, 2]).sum(-1),
        thumb_upward=thumb[..., 1],
    )


def _padded(clips: Sequence[np.ndarray | Tensor], fps: float) -> tuple[Tensor, Tensor]:
    """Clips as one tensor (B, T, 165), the last frame repeated, and where they are real (B, T)."""
    if not fps > 0:
        raise UserError(f"fps is {fps}, expected a rate above 0")
    tensors = [torch.as_tensor(clip).detach().to("cpu", torch.float32) for clip in clips]
    width = len(JOINT_NAMES) * 3
    for i, clip in enumerate(tensors):
        if clip.ndim != 2 or clip.shape[1] != width or len(clip) < 1:
            raise UserError(
                f"clip {i}: poses have shape {tuple(clip.shape)}, expected (T, {width}) "
                "axis-angle with at least one frame"
            )
        if not clip.isfinite().all():
            raise UserError(f"clip {i}: poses hold values that are not finite (NaN or infinity)")
    lengths = torch.tensor([len(clip) for clip in tensors])
    frame = torch.arange(int(lengths.max()))
    poses = torch.stack([clip[frame.clamp(max=len(clip) - 1)] for clip in tensors])
    return poses, frame < lengths[:, None]


def _fingers(local_rotations: Tensor) -> tuple[Tensor, Tensor]:
    """Flexion (B, 2, T, 4) of the four fingers, and the fan of index to little finger (B, 2, T).

    Read joint by joint from where its rotation takes a bone that lies along the
    straight finger, so a finger may bend beyond half a turn in all.
    """
    along = local_rotations[:, :, _FINGER_JOINTS, :, 0].transpose(1, 2)  # (B, 2, T, 12, 3)
    # In the right hand straight fingers point to -x, so its bones are seen in the mirror.
    mirrored = along.new_tensor([1.0, -1.0])[:, None, None]
    x, y, z = along[..., 0], along[..., 1] * mirrored, along[..., 2] * mirrored
    bends = torch.atan2(-y, x).unflatten(-1, (len(FOUR_FINGERS), 3))
    towards_thumb = torch.atan2(z, torch.hypot(x, y)).unflatten(-1, (len(FOUR_FINGERS), 3))
    fan = _REST_FAN + towards_thumb[..., 0, 0] - towards_thumb[..., -1, 0]
    return bends.sum(-1), fan


def _tip(last: Tensor, rotation: Tensor, joints: list[int]) -> Tensor:
    """Finger tips (B, 2, T, 3): a further bone as long as the one before the last joint."""
    bone = torch.tensor(REST_OFFSETS[joints])[:, None, :, None] / ARM_LENGTH
    return last + (rotation @ bone).squeeze(-1)


def _smoothed(x: Tensor, fps: float) -> Tensor:
    """Gaussian smoothing in time of (B, 2, T, 3); clips go on as they end."""
    sigma = thresholds.SMOOTHING_S * fps
    reach = max(1, math.ceil(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    return _extended(x, reach).unfold(2, 2 * reach + 1, 1) @ (kernel / kernel.sum()).to(x)


def _velocity(x: Tensor, fps: float) -> Tensor:
    """Central differences in time of (B, 2, T, 3)."""
    wide = _extended(x, 1)
    return (wide[:, :, 2:] - wide[:, :, :-2]) * (fps / 2)


def _extended(x: Tensor, frames: int) -> Tensor:
    """The first and last frame of (B, 2, T, 3) repeated beyond the ends."""
    before, after = (x[:, :, i : i + 1].expand(-1, -1, frames, -1) for i in (0, x.shape[2] - 1))
    return torch.cat([before, x, after], dim=2)
