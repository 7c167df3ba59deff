"""Figures as real recordings have them, made up: their joints' names and tree are those of
the skeletons that maps ship for; proportions, rest pose and motion come from a seed."""

from __future__ import annotations

import itertools
import re

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from gestray.motion.bvh import Bvh, BvhJoint
from gestray.motion.kinematics import forward_kinematics
from gestray.motion.skeleton import FINGERS, JOINT_NAMES, REST_OFFSETS, joint
from gestray.motion.skeleton_map import UNITS, load_map

_ARM = "{S}Shoulder {S}Arm {S}ForeArm {S}Hand"
_LEG = "Hips {S}UpLeg {S}Leg {S}Foot"
_FINGERS = ("Thumb", "Index", "Middle", "Ring", "Pinky")

#: Chains of joints; each begins at a joint of an earlier one. X1-4 is X1 X2 X3 X4.
CHAINS: dict[str, list[str]] = {
    "beat": [
        "Hips Spine Spine1-3 Neck Neck1 Head HeadEnd",
        f"Spine3 {_ARM} {{S}}HandMiddle1-4",
        "{S}Hand {S}HandRing {S}HandRing1-4",
        "{S}HandRing {S}HandPinky {S}HandPinky1-4",
        "{S}Hand {S}HandIndex {S}HandIndex1-4",
        "{S}HandIndex {S}HandThumb1-4",
        f"{_LEG} {{S}}ForeFoot {{S}}ToeBase {{S}}ToeBaseEnd",
    ],
    "mixamo": [
        "mixamorig:Hips Spine Spine1-2 Neck Head HeadTop_End",
        f"Spine2 {_ARM}",
        *(f"{{S}}Hand {{S}}Hand{finger}1-4" for finger in _FINGERS),
        f"{_LEG} {{S}}ToeBase {{S}}Toe_End",
    ],
    "cmu": [
        "Hips LowerBack Spine Spine1 Neck Neck1 Head",
        f"Spine1 {_ARM} {{S}}FingerBase {{S}}HandIndex1",
        "{S}Hand {S}Thumb",
        "Hips {S}HipJoint {S}UpLeg {S}Leg {S}Foot {S}ToeBase",
    ],
    "fingers51": [
        "Hips Chest Chest2 Neck Head",
        "Chest2 {S}Collar {S}Shoulder {S}Elbow {S}Wrist",
        *(f"{{S}}Wrist {{S}}Finger{n} {{S}}Finger{n}1-2" for n in range(5)),
        "Hips {S}Hip {S}Knee {S}Ankle {S}Toe",
    ],
}
_HIP_JOINTS = {"LeftHipJoint": "LHipJoint", "RightHipJoint": "RHipJoint"}
_THUMBS = {"LeftThumb": "LThumb", "RightThumb": "RThumb"}


def tree_of(name: str) -> dict[str, str | None]:
    """Parent of every joint of the skeleton, parents first."""
    parents: dict[str, str | None] = {}
    prefix = "mixamorig:" if name == "mixamo" else ""
    rename = _HIP_JOINTS | _THUMBS if name == "cmu" else {}
    for chain in CHAINS[name]:
        for side in ("Left", "Right") if "{S}" in chain else ("",):
            names = []
            for word in chain.replace("{S}", side).split():
                match = re.fullmatch(r"(.*)(\d)-(\d)", word)
                numbers = range(int(match[2]), int(match[3]) + 1) if match else ()
                names += [f"{match[1]}{n}" for n in numbers] if match else [word]
            names = [prefix + rename.get(n, n).removeprefix(prefix) for n in names]
            parents.setdefault(names[0], None)
            for parent, child in itertools.pairwise(names):
                parents.setdefault(child, parent)
    return parents


def rest_pose(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Local rotation matrices (55, 3, 3) of the pose a figure rests in.

    ``T``; or ``A``: arms lowered, legs apart, hands rolled, fingers bent a little; feet flat.
    """
    local = np.tile(np.eye(3), (55, 1, 1))
    if kind == "T":
        return local

    def turn(name: str, axis: str, degrees: float) -> None:
        local[joint(name)] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()

    for side, sign in (("left", 1), ("right", -1)):
        turn(f"{side}_shoulder", "z", -sign * 50)
        turn(f"{side}_elbow", "y", -sign * 12)
        turn(f"{side}_wrist", "x", 25)
        turn(f"{side}_hip", "z", sign * 15)
        turn(f"{side}_ankle", "z", -sign * 15)
        for finger in FINGERS:
            for n in (1, 2):
                turn(f"{side}_{finger}{n}", "z", -sign * rng.uniform(0, 15))
    return local


def make_figure(
    name: str,
    seed: int = 0,
    rest: str = "T",
    up: str = "y",
    unit: str = "cm",
    frames: int = 40,
    fps: float = 30.0,
    own_frames: bool = False,
) -> Bvh:
    """A figure of skeleton `name` in motion.

    Args:
        rest: see `rest_pose`; what the zero pose is.
        up, unit: of the recording.
        own_frames: each joint has axes of its own, so that the zero pose is a heap of bones
            and only the first frame is the rest pose.
    """
    rng = np.random.default_rng(seed)
    parents = tree_of(name)
    skeleton = load_map(name)
    targets: dict[str, str | None] = dict.fromkeys(parents)
    for target, names in skeleton.joints.items():
        for n in parents:
            if n.removeprefix("mixamorig:") in names and targets[n] is None:
                targets[n] = target
                break
    local = torch.from_numpy(rest_pose(rest, rng))
    # Bones of other lengths.
    offsets = torch.from_numpy(REST_OFFSETS * rng.uniform(0.85, 1.15, size=(55, 1)))
    places = forward_kinematics(local, rest_offsets=offsets)[0].numpy()
    places = _place_all(parents, targets, places)
    to_world = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]) if up == "z" else np.eye(3)
    places = {n: to_world @ place / UNITS[unit] for n, place in places.items()}

    axes = {n: Rotation.random(rng=rng) if own_frames else Rotation.identity() for n in parents}
    joints, blocks = [], []
    index = {n: i for i, n in enumerate(parents)}
    time = np.arange(frames)[:, None] / fps
    for n, parent in parents.items():
        order = "".join(rng.permutation(list("XYZ")))
        channels = tuple(f"{axis}rotation" for axis in order)
        offset = np.zeros(3)
        if parent is not None:
            offset = axes[parent].inv().apply(places[n] - places[parent])
        # Swings of a few hertz and degrees about axes of the joint's own.
        swing = np.deg2rad(25) * np.sin(time * rng.uniform(2, 12, 3) + rng.uniform(0, 6, 3))
        if parent is None:
            heading = np.zeros((frames, 3))
            heading[:, "xyz".index(up)] = rng.uniform(-3, 3) + 0.3 * time[:, 0]
            base = axes[n]
            turned = Rotation.from_rotvec(heading) * base * Rotation.from_rotvec(0.2 * swing)
        else:
            base = axes[parent].inv() * axes[n]
            turned = base * Rotation.from_rotvec(swing)
        if own_frames:
            turned = Rotation.concatenate([base, turned[1:]])
        block = turned.as_euler(order, degrees=True)
        if parent is None:
            moved = places[n] + np.sin(time * [0.5, 0.9, 1.3]) * 0.03 / UNITS[unit]
            channels = ("Xposition", "Yposition", "Zposition", *channels)
            block = np.hstack([moved, block])
        elif name == "beat":  # every joint of BEAT v1 has six channels
            channels = (*channels, "Xposition", "Yposition", "Zposition")
            block = np.hstack([block, np.tile(offset, (frames, 1))])
        joints.append(BvhJoint(n, -1 if parent is None else index[parent], offset, channels))
        blocks.append(block)
    return Bvh(tuple(joints), np.hstack(blocks), fps)


def _place_all(
    parents: dict[str, str | None], targets: dict[str, str | None], places: np.ndarray
) -> dict[str, np.ndarray]:
    """Places of all joints: mapped ones as given, others between or beyond their neighbours."""
    found = {n: places[JOINT_NAMES.index(t)] for n, t in targets.items() if t is not None}
    for n, parent in parents.items():
        if n in found:
            continue
        assert parent is not None
        below = [m for m in parents if _leads(parents, n, m) and targets[m] is not None]
        if below:
            found[n] = found[parent] + 0.3 * (found[below[0]] - found[parent])
        else:
            grand = parents[parent]
            assert grand is not None
            bone = found[parent] - found[grand]
            found[n] = found[parent] + (bone if np.any(bone) else np.array([0, 0.02, 0]))
    return found


def _leads(parents: dict[str, str | None], upper: str, lower: str) -> bool:
    parent: str | None = lower
    while parent is not None:
        parent = parents[parent]
        if parent == upper:
            return True
    return False
