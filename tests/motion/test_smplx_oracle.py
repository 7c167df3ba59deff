"""Our SMPL-X surface and joints against the PyPI package `smplx`, where that is installed.

The package comes with the extra `smplx`, for holders of the SMPL-X licence. The
model here is a stand-in of random arrays in the official file's layout.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gestray.motion.kinematics import joint_positions
from gestray.motion.skeleton import PARENTS
from gestray.motion.smplx_body import SmplxModel

# The package's own vertex ids for face and feet reach 9929.
VERTICES = 9930


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    regressor = rng.random((55, VERTICES), np.float32) ** 8
    weights = rng.random((VERTICES, 55), np.float32) ** 8
    arrays = {
        "v_template": rng.normal(size=(VERTICES, 3)).astype(np.float32),
        "shapedirs": rng.normal(size=(VERTICES, 3, 400)).astype(np.float32) * 0.02,
        "posedirs": rng.normal(size=(VERTICES, 3, 486)).astype(np.float32) * 0.01,
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "f": rng.integers(0, VERTICES, (20, 3)),
        "kintree_table": np.stack([np.where(PARENTS < 0, 2**32 - 1, PARENTS), np.arange(55)]),
        "lmk_faces_idx": np.zeros(51, np.int64),
        "lmk_bary_coords": np.full((51, 3), 1 / 3, np.float32),
    }
    for side in "lr":
        arrays[f"hands_components{side}"] = np.eye(45, dtype=np.float32)
        arrays[f"hands_mean{side}"] = np.zeros(45, np.float32)
    path = tmp_path / "SMPLX_NEUTRAL.npz"
    np.savez(path, **arrays)
    return path


def test_surface_and_joints_agree_with_the_package(model_path: Path) -> None:
    smplx = pytest.importorskip("smplx", reason="the extra gestray[smplx] is not installed")
    rng = np.random.default_rng(1)
    poses = torch.from_numpy(rng.normal(size=(3, 165)).astype(np.float32) * 0.4)
    trans = torch.from_numpy(rng.normal(size=(3, 3)).astype(np.float32))
    betas = torch.from_numpy(rng.normal(size=300).astype(np.float32))
    package = smplx.SMPLX(
        str(model_path), ext="npz", use_pca=False, flat_hand_mean=True, num_betas=300,
        num_expression_coeffs=100, batch_size=3,
    )  # fmt: skip
    theirs = package(
        betas=betas.expand(3, -1), expression=torch.zeros(3, 100), transl=trans,
        global_orient=poses[:, :3], body_pose=poses[:, 3:66], jaw_pose=poses[:, 66:69],
        leye_pose=poses[:, 69:72], reye_pose=poses[:, 72:75],
        left_hand_pose=poses[:, 75:120], right_hand_pose=poses[:, 120:165],
    )  # fmt: skip
    model = SmplxModel.load(model_path)
    ours = model.vertices(poses, trans, betas)
    torch.testing.assert_close(ours, theirs.vertices.detach(), atol=1e-5, rtol=1e-5)
    joints = joint_positions(poses, trans, model.rest_offsets(betas))
    torch.testing.assert_close(joints, theirs.joints[:, :55].detach(), atol=1e-5, rtol=1e-5)
