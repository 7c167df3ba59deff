"""SMPL-X motion as an npz archive with BEAT2's keys.

It is what the field's models read and write, and what the SMPL-X add-on of Blender opens
as an animation (*Add Animation*, format AMASS, 30 frames a second).
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from gestray.motion.export.clip import MotionClip

_BETAS, _EXPRESSIONS = 300, 100


def write_npz(clip: MotionClip, stream: BinaryIO) -> None:
    """Write a clip; what it does not have is zero, as in BEAT2 every key is there."""
    frames = len(clip)
    absent = {"trans": (frames, 3), "expressions": (frames, _EXPRESSIONS), "betas": (_BETAS,)}
    parts = {
        name: np.zeros(shape) if getattr(clip, name) is None else getattr(clip, name)
        for name, shape in absent.items()
    }
    np.savez_compressed(
        stream,
        poses=clip.poses.astype(np.float32),
        betas=parts["betas"].astype(np.float32),
        # In double precision, as in BEAT2.
        expressions=parts["expressions"].astype(np.float64),
        trans=parts["trans"].astype(np.float64),
        model=np.array("smplx2020"),
        gender=np.array("neutral"),
        mocap_frame_rate=np.array(clip.fps if clip.fps % 1 else int(clip.fps)),
    )
