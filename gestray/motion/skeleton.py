"""The SMPL-X skeleton: names, tree, groups and a free rest pose of its 55 joints.

Every module that touches motion takes joint order and rest pose from here. The
order is that of the SMPL-X model (Pavlakos et al. 2019): 0-21 body, 22 jaw, 23-24
eyes, 25-39 left hand, 40-54 right hand, and in each hand index, middle, *pinky,
ring*, thumb with three joints each.

`REST_OFFSETS` is not taken from SMPL-X, whose licence forbids redistribution: it
is a neutral adult of a CC0 body model, laid out in SMPL-X's T-pose (see
`make_rest_offsets.py`). For the true offsets of a subject's betas, see
`gestray.motion.smplx_body.rest_offsets_from_smplx`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gestray.errors import UserError

_BODY_NAMES = (
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "jaw",
    "left_eye_smplhf",
    "right_eye_smplhf",
)
FINGERS = ("index", "middle", "pinky", "ring", "thumb")

JOINT_NAMES: tuple[str, ...] = _BODY_NAMES + tuple(
    f"{side}_{finger}{segment}"
    for side in ("left", "right")
    for finger in FINGERS
    for segment in (1, 2, 3)
)
"""Names of the 55 joints in the order of `poses`."""

_BODY_PARENTS = (
    *(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19),
    *(15, 15, 15),
)


def _parents() -> np.ndarray:
    fingers = [
        wrist if segment == 0 else first + segment - 1
        for wrist, hand in ((20, 25), (21, 40))
        for first in range(hand, hand + 15, 3)
        for segment in range(3)
    ]
    parents = np.array([*_BODY_PARENTS, *fingers], dtype=np.int64)
    parents.flags.writeable = False
    return parents


PARENTS: np.ndarray = _parents()
"""Index of each joint's parent, int64 (55,); -1 for the pelvis. A parent precedes its children."""

PARENT_OF: tuple[int, ...] = tuple(PARENTS.tolist())
"""`PARENTS` as plain numbers: `torch.compile` takes elements of an array for tensors."""

BODY: tuple[int, ...] = tuple(range(22))
FACE: tuple[int, ...] = (22, 23, 24)
LEFT_HAND: tuple[int, ...] = tuple(range(25, 40))
RIGHT_HAND: tuple[int, ...] = tuple(range(40, 55))
HANDS: tuple[int, ...] = LEFT_HAND + RIGHT_HAND
UPPER: tuple[int, ...] = (3, 6, 9, *range(12, 22))
LOWER: tuple[int, ...] = (0, 1, 2, 4, 5, 7, 8, 10, 11)
ARMS: tuple[int, ...] = (13, 14, *range(16, 22))
"""From the collars to the wrists; they hang from the chest, spine3."""

REST_OFFSETS_FILE = Path(__file__).with_name("rest_offsets.json")

_INDEX = {name: i for i, name in enumerate(JOINT_NAMES)}


def joint(name: str) -> int:
    """Index of the joint called `name`.

    Raises:
        UserError: no joint is called so; the message names the nearest ones.
    """
    if name not in _INDEX:
        import difflib

        near = ", ".join(difflib.get_close_matches(name, JOINT_NAMES)) or "none is near"
        raise UserError(f"unknown joint {name!r}: expected one of the SMPL-X joints ({near})")
    return _INDEX[name]


def mirror_permutation() -> np.ndarray:
    """Index (55,) of each joint's partner on the other side; a midline joint is its own."""
    swap = {"left": "right", "right": "left"}
    partners = []
    for name in JOINT_NAMES:
        side, _, rest = name.partition("_")
        partners.append(_INDEX[f"{swap[side]}_{rest}"] if side in swap else _INDEX[name])
    return np.array(partners, dtype=np.int64)


def _load_rest_offsets() -> np.ndarray:
    offsets = json.loads(REST_OFFSETS_FILE.read_text(encoding="utf-8"))["offsets"]
    table = np.array([offsets[name] for name in JOINT_NAMES], dtype=np.float32)
    table.flags.writeable = False
    return table


REST_OFFSETS: np.ndarray = _load_rest_offsets()
"""Offset of each joint from its parent in the T-pose, metres, float32 (55, 3): y up, facing
+z, the body's left at +x, palms down, fingers along ±x; zero for the pelvis."""
