"""The avatar: a free body with fingers, skinned to the 55 joints.

The surface is CC0 (`make_avatar.py` says where it comes from), so every export shows a
person without anyone's licence. It is 1.84 m tall and dressed by colour alone: hands and
head are light, for they are what one looks at.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from gestray.motion.skeleton import HANDS, JOINT_NAMES, PARENTS, REST_OFFSETS, joint

AVATAR_FILE = Path(__file__).with_name("avatar.npz")

# Linear RGB of what each part of the body wears.
_SKIN, _SHIRT, _TROUSERS, _SHOES = (
    np.array(color, np.float32)
    for color in ((0.74, 0.47, 0.34), (0.05, 0.16, 0.30), (0.06, 0.06, 0.08), (0.02, 0.02, 0.02))
)
_EYES = np.array((0.6, 0.6, 0.6), np.float32)


@dataclass(frozen=True, eq=False)
class Avatar:
    """A skinned surface in the T-pose of `gestray.motion.skeleton`, V vertices, F triangles.

    Attributes:
        vertices: metres, the pelvis at the origin, float32 (V, 3).
        normals: unit, float32 (V, 3).
        colors: linear RGB, float32 (V, 3).
        faces: counter-clockwise from outside, uint16 (F, 3).
        joints: that move each vertex, uint8 (V, 4).
        weights: of these, in 1/255 and 255 together, uint8 (V, 4).
    """

    vertices: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    faces: np.ndarray
    joints: np.ndarray
    weights: np.ndarray

    @property
    def sole(self) -> float:
        """Height of the soles in the T-pose, metres; below the pelvis, so negative."""
        return float(self.vertices[:, 1].min())

    def shares(self) -> np.ndarray:
        """How much each joint moves each vertex, float32 (V, 55); a vertex' sum to 1."""
        found = np.zeros((len(self.vertices), len(JOINT_NAMES)), np.float32)
        # Added up, since what is without weight names the pelvis, too.
        places = np.arange(len(found))[:, None], self.joints.astype(np.int64)
        np.add.at(found, places, self.weights / np.float32(255))
        return found


@cache
def load_avatar() -> Avatar:
    """The avatar that comes with gestray."""
    with np.load(AVATAR_FILE, allow_pickle=False) as file:
        faces, joints, weights = file["faces"], file["joints"], file["weights"]
        vertices = file["vertices"].astype(np.float32) * np.float32(1e-4)
    normals = vertex_normals(vertices[None], faces)[0]
    return Avatar(vertices, normals, _colors(joints, weights), faces, joints, weights)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (T, V, 3) of surfaces (T, V, 3): the mean of the triangles', by area."""
    a, b, c = (vertices[:, faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    order = np.argsort(faces.reshape(-1), kind="stable")
    owner = faces.reshape(-1)[order]
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    sums = np.add.reduceat(across[:, order // 3], starts, axis=1)
    found = np.zeros_like(vertices)
    found[:, owner[starts]] = sums
    return found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-12)


def rest_places() -> np.ndarray:
    """The joints in the T-pose (55, 3), the pelvis at the origin."""
    places = np.zeros((len(JOINT_NAMES), 3), np.float32)
    for j in range(1, len(places)):
        places[j] = places[PARENTS[j]] + REST_OFFSETS[j]
    return places


def _colors(joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What each vertex wears, by the joints that move it."""
    worn = np.tile(_SHIRT, (len(JOINT_NAMES), 1))
    names = ("hip", "knee")
    for name in ("pelvis", *(f"{side}_{part}" for side in ("left", "right") for part in names)):
        worn[joint(name)] = _TROUSERS
    for side in ("left", "right"):
        worn[[joint(f"{side}_ankle"), joint(f"{side}_foot")]] = _SHOES
        worn[joint(f"{side}_wrist")] = _SKIN
        worn[joint(f"{side}_eye_smplhf")] = _EYES
    worn[[*HANDS, joint("neck"), joint("head"), joint("jaw")]] = _SKIN
    share = (weights / np.float32(255)) ** 4  # a seam, not a gradient
    return np.einsum("vk,vkc->vc", share / share.sum(axis=1, keepdims=True), worn[joints])
