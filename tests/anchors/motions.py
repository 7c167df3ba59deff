"""Motions whose form is known because they are made joint by joint, for the verbalizer's tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from gestray.anchors.verbalize import describe
from gestray.form import HandShape, PhysicalForm
from gestray.motion.kinematics import mirror_poses
from gestray.motion.skeleton import JOINT_NAMES, joint

FPS = 30
# What an arm does, in degrees; all zero is an arm that hangs with the palm to the thigh.
#   raised   upper arm swung to the front      aside   upper arm lifted to the side
#   out      forearm swung outward about the upper arm (with a bent elbow)
#   elbow    bend of the elbow                 palm_up twist of the forearm, -90 is palm down
#   back     hand bent backward at the wrist
Arm = dict[str, Any]
HANGING: Arm = {"elbow": 8.0}
# Flexion of each joint of (index, middle, ring, pinky), the thumb's first joint, and spread.
FINGERS: dict[HandShape, tuple[tuple[float, ...], float]] = {
    "relaxed": ((16, 18, 20, 20), 0),
    "flat": ((3, 3, 3, 3), 0),
    "spread": ((3, 3, 3, 3), 12),
    "fist": ((75, 75, 75, 75), 0),
    "index": ((4, 75, 75, 75), 0),
    "two fingers": ((4, 4, 75, 75), 0),
}


def arm_angles(arm: dict[str, np.ndarray], frames: int) -> dict[int, np.ndarray]:
    """Axis-angle (frames, 3) of the left arm's joints."""

    def angle(name: str) -> np.ndarray:
        return np.broadcast_to(np.asarray(arm.get(name, 0.0), dtype=float), (frames,))

    def turn(axis: str, degrees: np.ndarray) -> Rotation:
        return Rotation.from_rotvec(np.deg2rad(degrees)[:, None] * np.eye(3)["xyz".index(axis)])

    shoulder = (
        turn("x", -angle("raised")) * turn("z", angle("aside") - 90) * turn("x", -angle("out"))
    )
    elbow = turn("y", -angle("elbow"))
    wrist = turn("x", -angle("palm_up")) * turn("z", angle("back"))
    names = ("left_shoulder", "left_elbow", "left_wrist")
    return {joint(n): r.as_rotvec() for n, r in zip(names, (shoulder, elbow, wrist), strict=True)}


def finger_angles(shape: HandShape) -> dict[int, np.ndarray]:
    bends, spread = FINGERS[shape]
    found = {}
    for finger, bend, aside in zip(
        ("index", "middle", "ring", "pinky"), bends, (1, 0, -0.5, -1.5), strict=True
    ):
        for k in (1, 2, 3):
            vector = (0.0, -aside * spread if k == 1 else 0.0, -bend)
            found[joint(f"left_{finger}{k}")] = np.deg2rad(vector)
    return found


def move(
    *keys: tuple[float, Arm], shape: HandShape = "relaxed", side: str = "right", fps: int = FPS
) -> np.ndarray:
    """One arm's motion (T, 165): eased from key to key, each (seconds, arm); the other hangs."""
    seconds = np.arange(round(keys[-1][0] * fps) + 1) / fps
    times = np.array([t for t, _ in keys])
    span = np.clip(np.searchsorted(times, seconds, side="right") - 1, 0, len(keys) - 2)
    part = (seconds - times[span]) / np.diff(times)[span]
    eased = 10 * part**3 - 15 * part**4 + 6 * part**5  # minimum jerk (Flash & Hogan 1985)
    names = {name for _, arm in keys for name in arm}
    tracks = {}
    for name in names:
        values = np.array([arm.get(name, 0.0) for _, arm in keys])
        tracks[name] = values[span] + np.diff(values)[span] * eased
    return animate(tracks, len(seconds), shape, side)


def animate(
    tracks: dict[str, np.ndarray], frames: int, shape: HandShape = "relaxed", side: str = "right"
) -> np.ndarray:
    poses = np.zeros((frames, 55, 3))
    for i, angles in {**arm_angles(tracks, frames), **finger_angles(shape)}.items():
        poses[:, i] = angles
    if side == "right":
        poses = mirror(poses.reshape(frames, 165)).reshape(frames, 55, 3)
    hanging = arm_angles({k: np.array(v) for k, v in HANGING.items()}, frames)
    other = np.zeros((frames, 55, 3))
    for i, angles in {**hanging, **finger_angles("relaxed")}.items():
        other[:, i] = angles
    if side == "left":
        other = mirror(other.reshape(frames, 165)).reshape(frames, 55, 3)
    return (poses + other).reshape(frames, 165)


def mirror(poses: np.ndarray) -> np.ndarray:
    return mirror_poses(torch.from_numpy(poses)).numpy()


def form_of(poses: np.ndarray, fps: float = FPS) -> PhysicalForm:
    return describe(poses, fps).form


def both(right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """The right arm of one motion with the left arm of another."""
    poses = right.copy().reshape(-1, 55, 3)
    for i in range(55):
        if JOINT_NAMES[i].startswith("left_"):
            poses[:, i] = left.reshape(-1, 55, 3)[:, i]
    return poses.reshape(-1, 165)


def held(arm: Arm, shape: HandShape = "relaxed", side: str = "right") -> np.ndarray:
    """From rest to a posture, held for a second, and back to rest."""
    rest = HANGING
    return move(
        (0, rest),
        (0.4, rest),
        (1.0, arm),
        (2.2, arm),
        (2.8, rest),
        (3.2, rest),
        shape=shape,
        side=side,
    )


def stroke(start: Arm, end: Arm, side: str = "right", seconds: float = 0.5) -> np.ndarray:
    """Rest, preparation, a stroke from start to end, a hold, and back to rest."""
    return move(
        (0, HANGING), (0.4, HANGING), (1.0, start), (1.15, start), (1.15 + seconds, end),
        (1.5 + seconds, end), (2.1 + seconds, HANGING), (2.5 + seconds, HANGING), side=side,
    )  # fmt: skip


BEFORE_WAIST: Arm = {"elbow": 80.0}
BEFORE_CHEST: Arm = {"elbow": 105.0, "raised": 10.0}


def sway(frames: int, degrees: float, seed: int = 0) -> np.ndarray:
    """Slow wobble of a standing person (frames,)."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames) / FPS
    waves = [np.sin(2 * np.pi * (f * t + rng.random())) for f in (0.15, 0.3, 0.7)]
    return degrees * np.sum(waves, axis=0) / 3


def repeated(tracks: dict[str, np.ndarray]) -> np.ndarray:
    """The movement `tracks` (arrays of angles), with a way to it from rest and back."""
    start, end = ({name: float(track[i]) for name, track in tracks.items()} for i in (0, -1))
    way_in = move((0, HANGING), (0.3, HANGING), (0.9, start), (1.0, start))
    way_out = move((0, end), (0.2, end), (0.8, HANGING), (1.1, HANGING))
    frames = len(next(iter(tracks.values())))
    return np.concatenate([way_in, animate(tracks, frames), way_out])


GESTURES = {
    "held": held(BEFORE_CHEST, shape="index"),
    "stroke": stroke({"elbow": 90.0, "out": -15.0}, {"elbow": 90.0, "out": 50.0}),
    "left": stroke({"elbow": 75.0}, {"elbow": 115.0}, side="left"),
    "rest": animate({"elbow": 12 + sway(90, 3)}, 90),
    "both": both(
        stroke({"elbow": 75.0}, {"elbow": 115.0}),
        stroke({"elbow": 90.0, "out": 0.0}, {"elbow": 90.0, "out": 40.0}, side="left"),
    ),
}
