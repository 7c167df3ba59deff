"""Makes `avatar.npz`: a free body with fingers, skinned to the 55 joints in their T-pose.

SMPL-X's own surface may not be redistributed. The surface here is a neutral young adult
of Anny (Bregier et al. 2025; code Apache-2.0, body data CC0), the same one that the rest
offsets come from. Its skinning weights are summed over the bones that hang from one
SMPL-X joint, and the surface is carried from Anny's rest pose to SMPL-X's T-pose by linear
blend skinning with these weights: trunk and feet only move, limbs are swung straight, the
palm is turned as a rigid piece and each finger straightened within it.

Run with ``python -m gestray.motion.export.make_avatar`` (needs ``pip install anny``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gestray.motion.export.avatar import AVATAR_FILE
from gestray.motion.make_rest_offsets import (
    _AXIAL,
    _LEFT,
    _LEFT_HAND,
    _TOE_ROOTS,
)
from gestray.motion.skeleton import FINGERS, JOINT_NAMES, PARENTS, REST_OFFSETS, joint

INFLUENCES = 4


def anny_surface() -> dict[str, np.ndarray | list[str]]:
    """Anny's neutral young adult at rest: metres, y up, facing +z.

    Returns:
        ``vertices`` (V, 3), ``faces`` (F, 3), ``weights`` (V, B) of the bones, their
        ``heads`` (B, 3), ``parents`` (B,) and ``bones``, their names.
    """
    import anny
    import torch
    from anny.models.model_data import TopologyConfig

    model = anny.Anny(rig="makehuman", topology=TopologyConfig(base_mesh="makehuman", tongue=False))
    phenotype = {name: torch.tensor([0.5]) for name in model.phenotype_labels}
    phenotype["age"] = torch.tensor([2 / 3])  # Anny's "young adult"
    found = model(phenotype_kwargs=phenotype)
    vertices, heads = (found[name][0].numpy() for name in ("rest_vertices", "rest_bone_heads"))
    count = len(model.bone_labels)
    weights = np.zeros((len(vertices), count))
    np.add.at(
        weights,
        (np.arange(len(vertices))[:, None], model.vertex_bone_indices.numpy()),
        model.vertex_bone_weights.numpy(),
    )
    return {
        "vertices": _y_up(vertices),
        "faces": np.asarray(model.faces),
        "weights": weights,
        "heads": _y_up(heads),
        "parents": np.asarray(model.bone_parents),
        "bones": list(model.bone_labels),
    }


def _y_up(points: np.ndarray) -> np.ndarray:
    """From z up, facing -y."""
    return np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=-1)


def joint_of_bones(bones: list[str], parents: np.ndarray) -> np.ndarray:
    """The SMPL-X joint that each bone moves with, int (B,): the next one above it."""
    source = {bone: joint(name) for name, bone in {**_AXIAL, **_both_sides(_LEFT)}.items()}
    source |= {bone: joint(name) for name, bone in _both_sides(_LEFT_HAND).items()}
    for toe in _TOE_ROOTS:
        source |= {toe: joint("left_foot"), toe.replace(".L", ".R"): joint("right_foot")}
    found = np.zeros(len(bones), dtype=np.int64)
    for i, bone in enumerate(bones):
        above = parents[i]
        found[i] = source.get(bone, found[above] if above >= 0 else joint("pelvis"))
    return found


def _both_sides(left: dict[str, str]) -> dict[str, str]:
    right = {k.replace("left", "right"): v.replace(".L", ".R") for k, v in left.items()}
    return {**left, **right}


def joint_places(heads: dict[str, np.ndarray]) -> np.ndarray:
    """Where the 55 joints lie in Anny's rest pose (55, 3)."""
    source = {**_AXIAL, **_both_sides(_LEFT), **_both_sides(_LEFT_HAND)}
    places = np.zeros((len(JOINT_NAMES), 3))
    for name, bone in source.items():
        places[joint(name)] = heads[bone]
    for side, letter in (("left", "L"), ("right", "R")):
        toes = [heads[toe.replace(".L", f".{letter}")] for toe in _TOE_ROOTS]
        places[joint(f"{side}_foot")] = np.mean(toes, axis=0)
    return places


def to_t_pose(places: np.ndarray) -> np.ndarray:
    """Rotation of each joint from Anny's rest pose to the T-pose, (55, 3, 3)."""
    turned = np.tile(np.eye(3), (len(JOINT_NAMES), 1, 1))

    def bone(child: str) -> np.ndarray:
        return places[joint(child)] - places[PARENTS[joint(child)]]

    for side in ("left", "right"):
        for part, child in (
            *(("hip", "knee"), ("knee", "ankle")),
            *(("shoulder", "elbow"), ("elbow", "wrist")),
        ):
            name = f"{side}_{child}"
            turned[joint(f"{side}_{part}")] = _swing(bone(name), REST_OFFSETS[joint(name)])
        knuckles = [f"{side}_{finger}1" for finger in FINGERS if finger != "thumb"]
        ours = np.stack([REST_OFFSETS[joint(name)] for name in knuckles])
        theirs = np.stack([bone(name) for name in knuckles])
        hand = _procrustes(theirs, ours)
        turned[joint(f"{side}_wrist")] = hand
        for finger in FINGERS:
            matrix = hand
            for segment in (1, 2, 3):
                if finger != "thumb" and segment < 3:
                    child = f"{side}_{finger}{segment + 1}"
                    matrix = _swing(matrix @ bone(child), REST_OFFSETS[joint(child)]) @ matrix
                turned[joint(f"{side}_{finger}{segment}")] = matrix
    return turned


def _swing(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest turn from one direction to another (Rodrigues' formula)."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    x, y, z = np.cross(start, end)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + skew + skew @ skew / (1 + start @ end)


def _procrustes(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The rotation that brings directions (N, 3) nearest to others (Kabsch 1976)."""
    u, _, v = np.linalg.svd(end.T @ start)
    return u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v


def main() -> None:
    """Writes `avatar.npz` beside this file."""
    surface = anny_surface()
    bones = surface["bones"]
    vertices, faces = np.asarray(surface["vertices"]), np.asarray(surface["faces"])
    heads = dict(zip(bones, np.asarray(surface["heads"]), strict=True))
    owner = joint_of_bones(list(bones), np.asarray(surface["parents"]))
    weights = np.zeros((len(vertices), len(JOINT_NAMES)))
    np.add.at(weights.T, owner, np.asarray(surface["weights"]).T)
    strongest = np.argsort(-weights, axis=1)[:, :INFLUENCES]
    weights = np.take_along_axis(weights, strongest, axis=1)
    weights /= weights.sum(axis=1, keepdims=True)

    places, turned = joint_places(heads), to_t_pose(joint_places(heads))
    rest = np.zeros_like(places)
    for j in range(1, len(rest)):
        rest[j] = rest[PARENTS[j]] + REST_OFFSETS[j]
    carried = rest - np.einsum("jab,jb->ja", turned, places)
    skin = np.einsum("vk,vkab->vab", weights, turned[strongest])
    moved = np.einsum("vab,vb->va", skin, vertices)
    moved += np.einsum("vk,vka->va", weights, carried[strongest])

    whole = np.rint(weights * 255).astype(np.int64)
    whole[:, 0] += 255 - whole.sum(axis=1)  # glTF wants each vertex' weights to sum to one
    np.savez_compressed(
        Path(AVATAR_FILE),
        vertices=np.rint(moved * 1e4).astype(np.int16),
        faces=faces.astype(np.uint16),
        joints=np.where(whole > 0, strongest, 0).astype(np.uint8),
        weights=whole.astype(np.uint8),
    )


if __name__ == "__main__":
    main()
