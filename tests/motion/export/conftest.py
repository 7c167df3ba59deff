"""A motion that turns every joint, and where its joints are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gestray.motion.export import MotionClip, grounded
from gestray.motion.kinematics import forward_kinematics
from gestray.motion.rotations import axis_angle_to_matrix
from gestray.motion.skeleton import JOINT_NAMES

FRAMES = 60


def make_clip(seed: int = 0, frames: int = FRAMES) -> MotionClip:
    """Every joint swings about an axis of its own, by up to 60 degrees; the body walks a curve."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(frames)[:, None, None] / 30
    axes = rng.standard_normal((1, len(JOINT_NAMES), 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    rate, phase = rng.uniform(0.5, 2, (2, 1, len(JOINT_NAMES), 1))
    swing = np.deg2rad(rng.uniform(20, 60, (1, len(JOINT_NAMES), 1))) * np.sin(
        seconds * rate + phase
    )
    trans = np.stack([np.sin(seconds), 1 + 0.1 * np.cos(seconds), seconds / 3], -1)[:, 0, 0]
    return MotionClip(
        (axes * swing).reshape(frames, -1).astype(np.float32), trans.astype(np.float32)
    )


def joints_of(clip: MotionClip) -> tuple[np.ndarray, np.ndarray]:
    """Positions (T, 55, 3) and rotation matrices (T, 55, 3, 3) of a clip on the floor."""
    clip = grounded(clip)
    poses = torch.tensor(clip.poses, dtype=torch.float64).unflatten(-1, (-1, 3))
    trans = torch.tensor(clip.trans, dtype=torch.float64)
    places, turned = forward_kinematics(axis_angle_to_matrix(poses), trans)
    return places.numpy(), turned.numpy()


@pytest.fixture(scope="session")
def clip() -> MotionClip:
    return make_clip()
