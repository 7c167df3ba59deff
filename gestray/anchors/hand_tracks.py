"""What hands and head do, seen from the chest: the measurements that the verbalizer puts in words.

Everything is relative to the speaker's own chest (the frame of the joint spine3)
and in units of the own arm, so the place, the facing, the lean and the size of the
speaker do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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
_HEAD = joint("head")
# The order in which flexions are reported, and after it the thumb where tips are.
FOUR_FINGERS = ("index", "middle", "ring", "pinky")
FIVE_FINGERS = (*FOUR_FINGERS, "thumb")


def _hand_joints(*names: str) -> list[list[int]]:
    """Joint indices, one list a side: [[left_...], [right_...]]."""
    return [[joint(f"{side}_{name}") for name in names] for side in _SIDES]


_FINGER_JOINTS = _hand_joints(*(f"{finger}{k}" for finger in FOUR_FINGERS for k in (1, 2, 3)))
_LAST_JOINTS = _hand_joints(*(f"{finger}3" for finger in FIVE_FINGERS))
_SURFACE_JOINTS = _hand_joints(*(f"{finger}{k}" for finger in FOUR_FINGERS for k in (1, 2)))
_MIDDLE1, _THUMB1 = ([side[0] for side in _hand_joints(name)] for name in ("middle1", "thumb1"))
_INDEX, _THUMB = FIVE_FINGERS.index("index"), FIVE_FINGERS.index("thumb")


def _bearing(name: str) -> float:
    """Angle of a rest-pose bone of the left hand from +x towards the thumb, radians."""
    x, _, z = REST_OFFSETS[joint(name)]
    return math.atan2(z, x)


_REST_FAN = _bearing("left_index2") - _bearing("left_pinky2")


@dataclass(frozen=True)
class HandTracks:
    """Measurements of B clips, 2 hands (left, right) and T frames, padded at the end.

    Lengths are in arm lengths and directions in the chest's frame (x to the
    body's left, y up, z to the front), from the middle of the shoulders. What hands
    do is smoothed in time.

    Attributes:
        fps: frames per second.
        valid: bool (B, T); false where a clip is padded.
        wrist: position of the wrist (B, 2, T, 3).
        palm: centre of the palm (B, 2, T, 3).
        palm_normal: vector out of the palm, of unit length but for smoothing (B, 2, T, 3).
        points: points all over the hand: tips of `FIVE_FINGERS`, knuckles and middle joints of
            `FOUR_FINGERS`, centre of the palm (B, 2, T, 14, 3).
        flexion: radians summed over a finger's joints, for `FOUR_FINGERS` (B, 2, T, 4).
        fan: angle between index and little finger, radians (B, 2, T).
        pinch_gap: distance of the tips of thumb and index, in hand lengths (B, 2, T).
        thumb_off_palm: cosine of thumb and the hand's thumb side (B, 2, T).
        thumb_aside: how far the thumb's tip is out to the thumb side of the wrist's middle, in
            hand lengths (B, 2, T).
        thumb_upward: cosine of thumb and the chest's up (B, 2, T).
        head: position of the head's joint, the base of the skull (B, T, 3).
        head_rotation: rotation of the head against the chest (B, T, 3, 3).
    """

    fps: float
    valid: Tensor
    wrist: Tensor
    palm: Tensor
    palm_normal: Tensor
    points: Tensor
    flexion: Tensor
    fan: Tensor
    pinch_gap: Tensor
    thumb_off_palm: Tensor
    thumb_aside: Tensor
    thumb_upward: Tensor
    head: Tensor
    head_rotation: Tensor

    @cached_property
    def velocity(self) -> Tensor:
        """Velocity of the wrists, arm lengths a second (B, 2, T, 3)."""
        return velocity(self.wrist, self.fps)

    @cached_property
    def speed(self) -> Tensor:
        """Speed of the wrists, arm lengths a second (B, 2, T)."""
        return self.velocity.norm(dim=-1)


def hand_tracks(
    clips: Sequence[np.ndarray | Tensor], fps: float, rest_offsets: Tensor | None = None
) -> HandTracks:
    """Measures the hands in clips of poses.

    Args:
        clips: axis-angle poses in radians, each (T_i, 165) with T_i >= 1.
        fps: frames per second of all of them.
        rest_offsets: the speaker's skeleton (55, 3); `skeleton.REST_OFFSETS` if not given.

    Raises:
        UserError: a clip has another shape or values that are not finite.
    """
    offsets = torch.tensor(REST_OFFSETS) if rest_offsets is None else rest_offsets.float()
    if offsets.shape != REST_OFFSETS.shape:
        raise UserError(
            f"rest offsets have shape {tuple(offsets.shape)}, expected {REST_OFFSETS.shape}: "
            "one offset from its parent for each SMPL-X joint"
        )
    poses, valid = _padded(clips, fps)
    local = poses.unflatten(-1, (len(JOINT_NAMES), 3)).clone()
    local[..., _TRUNK, :] = 0.0
    local_rotations = axis_angle_to_matrix(local)
    positions, rotations = forward_kinematics(local_rotations, rest_offsets=offsets)
    positions = (positions - _shoulder_middle(offsets)) / arm_length(offsets)

    def of(source: Tensor, joints: list[int] | list[list[int]]) -> Tensor:
        """(B, T, 55, ...) to (B, 2, T, ...), one joint or one list of joints a side."""
        return source[:, :, joints].transpose(1, 2)

    last = of(rotations, _LAST_JOINTS)
    bones = offsets[torch.tensor(_LAST_JOINTS)][:, None, ..., None] / arm_length(offsets)
    # A finger's tip is a further bone, as long as the one before its last joint.
    tips = of(positions, _LAST_JOINTS) + (last @ bones).squeeze(-1)
    hand = of(rotations, _WRISTS)
    wrist = of(positions, _WRISTS)
    palm = (wrist + of(positions, _MIDDLE1)) / 2
    thumb_tip, index_tip = tips[..., _THUMB, :], tips[..., _INDEX, :]
    thumb = torch.nn.functional.normalize(thumb_tip - of(positions, _THUMB1), dim=-1)
    to_hand_lengths = arm_length(offsets) / _hand_length(offsets)
    flexion, fan = _fingers(local_rotations)
    features = [
        flexion.movedim(-1, 0),
        fan[None],
        (thumb_tip - index_tip).norm(dim=-1)[None] * to_hand_lengths,
        (thumb * hand[..., :, 2]).sum(-1)[None],
        ((thumb_tip - wrist) * hand[..., :, 2]).sum(-1)[None] * to_hand_lengths,
        thumb[None, ..., 1],
    ]
    shape = smoothed(torch.cat(features).movedim(0, -1), thresholds.SHAPE_SMOOTHING_S * fps)
    surface = of(positions, _SURFACE_JOINTS)
    place = torch.cat([wrist[..., None, :], -hand[..., None, :, 1], tips, surface], dim=-2)
    place = torch.cat([place, palm[..., None, :]], dim=-2).flatten(-2)
    place = smoothed(place, thresholds.SMOOTHING_S * fps).unflatten(-1, (-1, 3))
    return HandTracks(
        fps=fps,
        valid=valid,
        wrist=place[..., 0, :],
        palm=place[..., -1, :],
        palm_normal=place[..., 1, :],
        points=place[..., 2:, :],
        flexion=shape[..., :4],
        fan=shape[..., 4],
        pinch_gap=shape[..., 5],
        thumb_off_palm=shape[..., 6],
        thumb_aside=shape[..., 7],
        thumb_upward=shape[..., 8],
        head=positions[:, :, _HEAD],
        head_rotation=rotations[:, :, _HEAD],
    )


def arm_length(offsets: Tensor) -> float:
    """Shoulder to wrist of the left arm of a skeleton (55, 3), metres."""
    return float(sum(offsets[joint(name)].norm() for name in ("left_elbow", "left_wrist")))


def _hand_length(offsets: Tensor) -> float:
    return float(sum(offsets[joint(f"left_middle{k}")].norm() for k in (1, 2, 3, 3)))


def _shoulder_middle(offsets: Tensor) -> Tensor:
    """Middle of the shoulders (3,) at rest, from the pelvis."""
    chain = ("spine1", "spine2", "spine3", "left_collar", "left_shoulder")
    return offsets[[joint(name) for name in chain]].sum(0) * torch.tensor([0.0, 1.0, 1.0])


def _padded(clips: Sequence[np.ndarray | Tensor], fps: float) -> tuple[Tensor, Tensor]:
    """Clips as one tensor (B, T, 165), the last frame repeated, and where they are real (B, T)."""
    if not (math.isfinite(fps) and fps > 0):
        raise UserError(f"fps is {fps}, expected a rate above 0")
    tensors = [
        # A copy: arrays that come out of Arrow cannot be written to, which torch objects to.
        torch.from_numpy(np.array(clip, dtype=np.float32))
        if isinstance(clip, np.ndarray)
        else clip.detach().to("cpu", torch.float32)
        for clip in clips
    ]
    width = len(JOINT_NAMES) * 3
    for i, clip in enumerate(tensors):
        if clip.ndim != 2 or clip.shape[1] != width or len(clip) < 1:
            raise UserError(
                f"clip {i}: poses have shape {tuple(clip.shape)}, expected (T, {width}): "
                "axis-angle of 55 SMPL-X joints in at least one frame"
            )
        finite = clip.isfinite().all(dim=1)
        if not finite.all():
            raise UserError(
                f"clip {i}: poses are not finite (NaN or infinity) in {int((~finite).sum())} of "
                f"{len(clip)} frames, first in frame {int(finite.int().argmin())}; cut the clip "
                "there or repair the recording"
            )
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


def smoothed(x: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing along T of (B, 2, T, C), `sigma` in frames; clips go on as they end."""
    reach = max(1, math.ceil(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    return _extended(x, reach).unfold(2, 2 * reach + 1, 1) @ (kernel / kernel.sum()).to(x)


def velocity(x: Tensor, fps: float) -> Tensor:
    """Central differences in time, per second, of (B, 2, T, C)."""
    wide = _extended(x, 1)
    return (wide[:, :, 2:] - wide[:, :, :-2]) * (fps / 2)


def _extended(x: Tensor, frames: int) -> Tensor:
    """The first and last frame of (B, 2, T, C) repeated beyond the ends."""
    before, after = (x[:, :, i : i + 1].expand(-1, -1, frames, -1) for i in (0, x.shape[2] - 1))
    return torch.cat([before, x, after], dim=2)
