"""Makes `rest_offsets.json`: a neutral adult's SMPL-X rest pose from a free body model.

SMPL-X itself may not be redistributed. This script reads the bone heads of a
neutral young adult from Anny (Bregier et al. 2025; code Apache-2.0, body data
CC0), maps them to the 55 SMPL-X joints and lays the limbs out in SMPL-X's
T-pose: y up, facing +z, the body's left at +x, arms and fingers along ±x, palms
down. Segment lengths are Anny's; directions are set as follows.

- Legs hang straight down; the foot keeps its direction.
- Arms and fingers lie straight along x. The palm keeps its own flat shape: it is
  turned as a rigid piece so that the middle finger's knuckle is straight ahead
  of the wrist and its plane, fitted to wrist and knuckles, is level.
- Each finger is in line with its metacarpal, as in SMPL-X: it points where its
  knuckle lies from the wrist, so the fingers fan out.
- The thumb keeps the oblique position that it has in the palm of Anny.
- The result is averaged with its mirror image, so it is exactly symmetric.

Run with ``python -m gestray.motion.make_rest_offsets`` (needs ``pip install anny``).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gestray.motion.skeleton import JOINT_NAMES, PARENTS, REST_OFFSETS_FILE, mirror_permutation

# Anny's names (MakeHuman rig) of the bones whose heads are SMPL-X joints; left side.
_AXIAL = {
    "pelvis": "spine05",
    "spine1": "spine04",
    "spine2": "spine02",
    "spine3": "spine01",
    "neck": "neck01",
    "head": "head",
    "jaw": "jaw",
}
_LEFT = {
    "left_hip": "upperleg01.L",
    "left_knee": "lowerleg01.L",
    "left_ankle": "foot.L",
    "left_collar": "clavicle.L",
    "left_shoulder": "upperarm01.L",
    "left_elbow": "lowerarm01.L",
    "left_wrist": "wrist.L",
    "left_eye_smplhf": "eye.L",
}
_FINGERS = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
_LEFT_HAND = {
    f"left_{finger}{segment}": f"finger{number}-{segment}.L"
    for finger, number in _FINGERS.items()
    for segment in (1, 2, 3)
}
_TOE_ROOTS = tuple(f"toe{number}-1.L" for number in range(1, 6))


def anny_bone_heads() -> dict[str, np.ndarray]:
    """Bone heads of Anny's neutral young adult, in metres, y up and facing +z."""
    import anny
    import torch

    model = anny.Anny(rig="makehuman")
    phenotype = {name: torch.tensor([0.5]) for name in model.phenotype_labels}
    phenotype["age"] = torch.tensor([2 / 3])  # Anny's "young adult"
    heads = model(phenotype_kwargs=phenotype)["rest_bone_heads"][0].numpy()
    heads = np.stack([heads[:, 0], heads[:, 2], -heads[:, 1]], axis=-1)  # from z up, facing -y
    return dict(zip(model.bone_labels, heads, strict=True))


def rest_offsets(heads: dict[str, np.ndarray]) -> np.ndarray:
    """Offsets (55, 3) in metres from parent to joint in the T-pose, from Anny's bone heads."""
    source = {**_AXIAL, **_LEFT, **_LEFT_HAND}
    at = {joint: heads[bone] for joint, bone in source.items()}
    at["left_foot"] = np.mean([heads[toe] for toe in _TOE_ROOTS], axis=0)

    offsets = {
        name: at[name] - at[JOINT_NAMES[PARENTS[i]]]
        for i, name in enumerate(JOINT_NAMES)
        if i > 0 and name in at
    }
    for name in ("left_knee", "left_ankle"):
        offsets[name] = np.array([0.0, -np.linalg.norm(offsets[name]), 0.0])
    for name in ("left_elbow", "left_wrist"):
        offsets[name] = np.array([np.linalg.norm(offsets[name]), 0.0, 0.0])
    offsets.update(_hand_offsets(offsets))

    table = np.zeros((len(JOINT_NAMES), 3))
    for i, name in enumerate(JOINT_NAMES):
        if name in offsets:
            table[i] = offsets[name]
    mirror = mirror_permutation()
    is_right = np.array([name.startswith("right_") for name in JOINT_NAMES])
    table[is_right] = table[mirror][is_right] * (-1, 1, 1)
    return (table + table[mirror] * (-1, 1, 1)) / 2


def _hand_offsets(raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turns the left hand so that it points along +x, palm down, fingers straight."""
    knuckles = np.stack([raw[f"left_{f}1"] for f in ("index", "middle", "ring", "pinky")])
    ahead = raw["left_middle1"] / np.linalg.norm(raw["left_middle1"])
    # The plane's normal: least variance of wrist and knuckles among directions across `ahead`.
    points = np.vstack([np.zeros(3), knuckles])
    across = points - points @ ahead[:, None] * ahead
    thumbwards = np.linalg.svd(across)[2][0]
    if thumbwards @ (raw["left_index1"] - raw["left_pinky1"]) < 0:
        thumbwards = -thumbwards
    up = np.cross(thumbwards, ahead)  # back of the hand, since z cross x is y
    to_rest = np.stack([ahead, up, thumbwards])  # rows: the rest pose's x, y, z

    turned = {name: to_rest @ raw[name] for name in raw if name in _LEFT_HAND}
    for finger in ("index", "middle", "ring", "pinky"):
        knuckle = turned[f"left_{finger}1"]
        direction = np.array([knuckle[0], 0.0, knuckle[2]]) / np.hypot(knuckle[0], knuckle[2])
        for segment in (2, 3):
            name = f"left_{finger}{segment}"
            turned[name] = np.linalg.norm(turned[name]) * direction
    return turned


def main() -> None:
    """Writes `rest_offsets.json` beside this file."""
    table = rest_offsets(anny_bone_heads())
    rows = [
        f"  {json.dumps(name)}: {json.dumps([round(float(v), 5) + 0.0 for v in row])}"
        for name, row in zip(JOINT_NAMES, table, strict=True)
    ]
    note = (
        "Offset of each joint from its parent in the SMPL-X T-pose, metres: y up, facing +z, "
        "the body's left at +x. Derived from the bone heads of Anny's neutral young adult "
        "(body data CC0) by gestray/motion/make_rest_offsets.py."
    )
    text = '{\n "note": ' + json.dumps(note) + ',\n "offsets": {\n' + ",\n".join(rows) + "\n }\n}\n"
    Path(REST_OFFSETS_FILE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
