"""Offsets and surface from a stand-in for the user's SMPL-X model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gestray.errors import UserError
from gestray.motion.kinematics import forward_kinematics, joint_positions
from gestray.motion.rotations import axis_angle_to_matrix
from gestray.motion.skeleton import PARENTS, joint
from gestray.motion.smplx_body import SmplxModel, rest_offsets_from_smplx

VERTICES = 60


def _arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    weights = rng.random((VERTICES, 55)) ** 8
    regressor = rng.random((55, VERTICES)) ** 8
    return {
        "v_template": rng.normal(size=(VERTICES, 3)),
        "shapedirs": rng.normal(size=(VERTICES, 3, 400)) * 0.05,
        "posedirs": rng.normal(size=(VERTICES, 3, 486)) * 0.01,
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "f": rng.integers(0, VERTICES, (20, 3)),
    }


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "SMPLX_STANDIN.npz"
    np.savez(path, **_arrays())
    return path


def test_offsets_follow_betas(model_path: Path) -> None:
    betas = np.random.default_rng(1).normal(size=16)
    arrays = _arrays()
    offsets = rest_offsets_from_smplx(model_path, betas)
    assert offsets.shape == (55, 3) and offsets.dtype == np.float32
    shaped = arrays["v_template"].copy()
    for k, beta in enumerate(betas):
        shaped += arrays["shapedirs"][:, :, k] * beta
    joints = arrays["J_regressor"] @ shaped
    rest = joint_positions(torch.zeros(165), rest_offsets=torch.from_numpy(offsets))
    np.testing.assert_allclose(rest.numpy(), joints, atol=1e-5)


def test_surface_agrees_with_skinning_vertex_by_vertex(model_path: Path) -> None:
    arrays, rng = _arrays(), np.random.default_rng(2)
    poses = torch.from_numpy(rng.normal(size=(2, 165)).astype(np.float32) * 0.5)
    trans, betas = torch.randn(2, 3), torch.randn(10)
    expressions = torch.randn(2, 7)
    model = SmplxModel.load(model_path)
    found = model.vertices(poses, trans, betas, expressions)

    rotations = axis_angle_to_matrix(poses.reshape(2, 55, 3))
    offsets = model.rest_offsets(betas)
    at, turned = (x.numpy() for x in forward_kinematics(rotations, None, offsets))
    rest = joint_positions(torch.zeros(165), rest_offsets=offsets).numpy()
    for t in range(2):
        bend = (rotations[t, 1:].numpy() - np.eye(3)).reshape(-1)
        for v in range(0, VERTICES, 7):
            point = arrays["v_template"][v] + arrays["shapedirs"][v, :, :10] @ betas.numpy()
            point = point + arrays["shapedirs"][v, :, 300:307] @ expressions[t].numpy()
            point = point + arrays["posedirs"][v] @ bend
            expected = trans[t].numpy() + sum(
                arrays["weights"][v, j] * (turned[t, j] @ (point - rest[j]) + at[t, j])
                for j in range(55)
            )
            np.testing.assert_allclose(found[t, v].numpy(), expected, atol=1e-4)


def test_a_vertex_of_one_bone_moves_with_it(tmp_path: Path) -> None:
    arrays = _arrays()
    arrays["weights"] = np.eye(55)[np.full(VERTICES, joint("left_elbow"))]
    arrays["posedirs"] *= 0
    np.savez(tmp_path / "model.npz", **arrays)
    model = SmplxModel.load(tmp_path / "model.npz")
    poses = torch.zeros(1, 165)
    poses[0, 3 * joint("left_elbow") + 1] = -np.pi / 2
    elbow = torch.from_numpy(arrays["J_regressor"] @ arrays["v_template"])[joint("left_elbow")]
    arm = torch.from_numpy(arrays["v_template"]) - elbow
    expected = elbow + torch.stack([-arm[:, 2], arm[:, 1], arm[:, 0]], dim=-1)
    found = model.vertices(poses, torch.zeros(1, 3), torch.zeros(0))[0]
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
    assert PARENTS[joint("left_wrist")] == joint("left_elbow")


def test_files_that_are_no_model_are_refused(tmp_path: Path, model_path: Path) -> None:
    with pytest.raises(UserError, match="pickles can run code"):
        SmplxModel.load(tmp_path / "SMPLX_NEUTRAL.pkl")
    with pytest.raises(UserError, match="cannot be read"):
        SmplxModel.load(tmp_path / "absent.npz")
    np.savez(tmp_path / "few.npz", v_template=np.zeros((4, 3)))
    with pytest.raises(UserError, match="no shapedirs"):
        SmplxModel.load(tmp_path / "few.npz")
    np.savez(tmp_path / "old.npz", **{**_arrays(), "shapedirs": np.zeros((VERTICES, 3, 20))})
    with pytest.raises(UserError, match=r"shapedirs has shape .*, expected \(60, 3, 400\)"):
        SmplxModel.load(tmp_path / "old.npz")
    np.savez(tmp_path / "pickled.npz", **{**_arrays(), "f": np.array([object()], dtype=object)})
    with pytest.raises(UserError, match="cannot be read"):
        SmplxModel.load(tmp_path / "pickled.npz")
    with pytest.raises(UserError, match="at most 300"):
        rest_offsets_from_smplx(model_path, np.zeros(301))
