"""What the head does with a gesture: a nod, a shake or a tilt.

Only the head's turns against the chest count. Nods and shakes are quick swings to and fro,
so slow changes of posture are taken off first; a tilt is a lean to one side that comes
and goes with the gesture, so it is measured against the time just before and after.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gestray.anchors import thresholds
from gestray.anchors.hand_tracks import HandTracks, smoothed
from gestray.form import HeadMovement

_MOVEMENTS: tuple[HeadMovement, ...] = ("none", "nod", "shake", "tilt")


def head_movements(tracks: HandTracks, expression: Tensor) -> list[HeadMovement]:
    """The head movement of each clip while it gestures.

    Args:
        tracks: measurements of B clips.
        expression: mask (B, T) of stroke and hold; the whole clip where there is no gesture.
    """
    fps = tracks.fps
    angles = _angles(tracks.head_rotation)[:, None]  # (B, 1, T, 3): pitch, yaw, roll
    margin = round(thresholds.HEAD_MARGIN_S * fps)
    around = _widened(expression, margin) & tracks.valid
    calm = smoothed(angles, thresholds.SMOOTHING_S * fps)
    quick = (calm - smoothed(angles, thresholds.HEAD_DRIFT_S * fps))[:, 0]
    swing = _swing(quick[..., :2], around)
    nods, shakes = (swing >= torch.tensor([thresholds.NOD_FROM, thresholds.SHAKE_FROM])).unbind(-1)
    shakes &= swing[:, 1] >= swing[:, 0]
    nods &= ~shakes

    outside = _widened(expression, 2 * margin) & ~around & tracks.valid
    lean = (_mean(angles[:, 0, :, 2], expression) - _mean(angles[:, 0, :, 2], outside)).abs()
    tilts = (lean >= thresholds.TILT_FROM) & outside.any(dim=1) & ~nods & ~shakes
    code = nods * 1 + shakes * 2 + tilts * 3
    return [_MOVEMENTS[c] for c in code.tolist()]


def _angles(rotation: Tensor) -> Tensor:
    """Pitch (down), yaw (to the left) and roll (B, T, 3), radians, of rotations (B, T, 3, 3)."""
    pitch = torch.atan2(-rotation[..., 1, 2], torch.hypot(rotation[..., 0, 2], rotation[..., 2, 2]))
    yaw = torch.atan2(rotation[..., 0, 2], rotation[..., 2, 2])
    roll = torch.atan2(rotation[..., 1, 0], rotation[..., 1, 1])
    return torch.stack([pitch, yaw, roll], dim=-1)


def _swing(angle: Tensor, mask: Tensor) -> Tensor:
    """Typical half range (B, C) of swings of an angle (B, T, C): root 2 times its RMS."""
    weight = mask[..., None].to(angle)
    power = (angle.square() * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)
    return (2 * power).sqrt()


def _widened(mask: Tensor, frames: int) -> Tensor:
    """Masks (B, T) with as many more frames at either side of what holds."""
    wide = torch.nn.functional.max_pool1d(mask.float()[:, None], 2 * frames + 1, 1, frames)
    return wide[:, 0] > 0


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean (B,) of x (B, T) where mask (B, T) holds."""
    return (x * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
