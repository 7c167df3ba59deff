"""What is exported: a motion of the 55 joints, and what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gestray.errors import UserError
from gestray.motion.skeleton import JOINT_NAMES, joint

_WIDTH = 3 * len(JOINT_NAMES)
_FEET = tuple(joint(f"{side}_{part}") for side in ("left", "right") for part in ("ankle", "foot"))


@dataclass(frozen=True, eq=False)
class MotionClip:
    """A motion to export.

    Args:
        poses: axis-angle in radians (T, 165).
        trans: of the pelvis in metres, y up (T, 3); None keeps it in place.
        expressions: FLAME (T, 100), or None.
        betas: SMPL-X shape (300,), or None.
        audio: speech, PCM16 mono 16 kHz, little-endian, or None.
        fps: frames a second.
    """

    poses: np.ndarray
    trans: np.ndarray | None = None
    expressions: np.ndarray | None = None
    betas: np.ndarray | None = None
    audio: bytes | None = None
    fps: float = 30.0

    def __post_init__(self) -> None:
        if self.poses.ndim != 2 or self.poses.shape[1] != _WIDTH or not len(self.poses):
            raise UserError(f"poses have shape {self.poses.shape}, expected (frames, {_WIDTH})")
        for name, width in (("trans", 3), ("expressions", 100)):
            values = getattr(self, name)
            if values is not None and values.shape != (len(self.poses), width):
                raise UserError(
                    f"{name} have shape {values.shape}, expected ({len(self.poses)}, {width}), "
                    "as poses has frames"
                )

    def __len__(self) -> int:
        return len(self.poses)

    @property
    def seconds(self) -> float:
        return len(self) / self.fps


def grounded(clip: MotionClip) -> MotionClip:
    """The clip on the floor y = 0: moved up or down as a whole.

    A recording's floor is not the avatar's, since their legs differ in length. The lower
    foot of the motion comes to stand where the avatar's stands in the T-pose, of all frames
    the lowest but for the lowest hundredth.
    """
    import torch

    from gestray.motion.export.avatar import load_avatar, rest_places
    from gestray.motion.kinematics import joint_positions

    trans = np.zeros((len(clip), 3), np.float32) if clip.trans is None else clip.trans
    places = joint_positions(torch.tensor(clip.poses).float(), torch.tensor(trans).float())
    feet = list(_FEET)
    above_sole = places[:, feet, 1].numpy() - (rest_places()[feet, 1] - load_avatar().sole)
    floor = np.quantile(above_sole.min(axis=1), 0.01)
    return replace(clip, trans=(trans - np.array([0, floor, 0])).astype(np.float32))
