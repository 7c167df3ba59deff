"""A stand-in for the SMPL-X model file: the real one's size and layout, random contents.

SMPL-X is not gestray's to ship. What skinning costs depends on the arrays' shapes alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gestray.motion.skeleton import PARENTS

VERTICES, FACES = 10_475, 20_908
_COEFFICIENTS, _POSE_FEATURES, _JOINTS = 400, 486, 55


def write_standin(folder: Path) -> Path:
    """Write `SMPLX_NEUTRAL.npz` to `folder`; about 120 MB."""
    rng = np.random.default_rng(0)

    def random(*shape: int, scale: float) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) * np.float32(scale)

    regressor = rng.random((_JOINTS, VERTICES), np.float32) ** 8
    weights = rng.random((VERTICES, _JOINTS), np.float32) ** 8
    arrays = {
        "v_template": random(VERTICES, 3, scale=0.5),
        "f": rng.integers(0, VERTICES, (FACES, 3)),
        "shapedirs": random(VERTICES, 3, _COEFFICIENTS, scale=0.01),
        "posedirs": random(VERTICES, 3, _POSE_FEATURES, scale=0.01),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.stack([np.where(PARENTS < 0, 2**32 - 1, PARENTS), np.arange(_JOINTS)]),
        "lmk_faces_idx": np.zeros(51, np.int64),
        "lmk_bary_coords": np.full((51, 3), 1 / 3, np.float32),
    }
    for side in "lr":
        arrays[f"hands_components{side}"] = np.eye(45, dtype=np.float32)
        arrays[f"hands_mean{side}"] = np.zeros(45, np.float32)
    path = folder / "SMPLX_NEUTRAL.npz"
    np.savez(path, **arrays)
    return path
