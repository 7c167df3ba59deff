"""Forward kinematics against a plain recursion and against poses known by heart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from gestray.errors import UserError
from gestray.motion.kinematics import (
    chain_positions,
    forward_kinematics,
    joint_positions,
    mirror_poses,
    moved_by,
)
from gestray.motion.rotations import axis_angle_to_matrix
from gestray.motion.skeleton import JOINT_NAMES, PARENTS, REST_OFFSETS, joint, mirror_permutation
from gestray.tokenizers.parts import PARTS


def _poses(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, 165, generator=torch.Generator().manual_seed(seed)).double() * 0.6


def _recursion(pose: np.ndarray, trans: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """One frame, joint by joint, with scipy's rotations."""

    def place(i: int) -> tuple[np.ndarray, Rotation]:
        turn = Rotation.from_rotvec(pose[3 * i : 3 * i + 3])
        if i == 0:
            return offsets[0] + trans, turn
        at, parent = place(int(PARENTS[i]))
        return at + parent.apply(offsets[i]), parent * turn

    return np.stack([place(i)[0] for i in range(55)])


def test_agrees_with_a_plain_recursion() -> None:
    poses, trans = _poses(4), torch.randn(4, 3).double()
    offsets = torch.randn(55, 3).double()
    found = joint_positions(poses, trans, offsets).numpy()
    for i in range(4):
        expected = _recursion(poses[i].numpy(), trans[i].numpy(), offsets.numpy())
        np.testing.assert_allclose(found[i], expected, atol=1e-10)


@pytest.mark.parametrize("part", ["body", "hands", "upper", "lower", "face"])
def test_a_chain_is_the_whole_tree_seen_from_what_it_hangs_from(part: str) -> None:
    """With the rest of the body at rest, up to where the part begins."""
    joints = PARTS[part].joints
    rotations = axis_angle_to_matrix(_poses(5).unflatten(-1, (55, 3)))
    found = chain_positions(rotations[:, list(joints)], joints)
    at_rest = torch.eye(3).double().expand(5, 55, 3, 3).clone()
    at_rest[:, list(joints)] = rotations[:, list(joints)]
    whole = forward_kinematics(at_rest)[0]
    assert found.shape == (5, len(moved_by(joints)), 3)
    for place, moved in enumerate(moved_by(joints)):
        start = moved
        while start in joints or start == moved:
            above, start = start, int(PARENTS[start])
            if start < 0 or (start not in joints and above in joints):
                break
        torch.testing.assert_close(found[:, place], whole[:, moved] - whole[:, above])


def test_rest_pose_is_the_sum_of_offsets() -> None:
    positions, turned = forward_kinematics(torch.eye(3).expand(55, 3, 3))
    moved = (positions - positions[torch.from_numpy(PARENTS.clip(min=0))]).numpy()
    np.testing.assert_allclose(moved, REST_OFFSETS, atol=1e-6)
    torch.testing.assert_close(turned, torch.eye(3).expand(55, 3, 3))


def test_an_elbow_bent_by_a_right_angle() -> None:
    pose = torch.zeros(55, 3)
    pose[joint("left_elbow")] = torch.tensor([0.0, -np.pi / 2, 0.0])
    at = joint_positions(pose.flatten())
    rest = joint_positions(torch.zeros(165))
    forearm = float(REST_OFFSETS[joint("left_wrist"), 0])
    # About -y, the left forearm turns from +x to the front.
    expected = rest[joint("left_elbow")] + torch.tensor([0.0, 0.0, forearm])
    torch.testing.assert_close(at[joint("left_wrist")], expected)
    right = [i for i, name in enumerate(JOINT_NAMES) if name.startswith("right")]
    torch.testing.assert_close(at[right], rest[right])


def test_turning_and_moving_the_root_moves_the_body_as_one() -> None:
    poses = _poses(3)
    poses[:, :3] = 0
    at = joint_positions(poses)
    turn = torch.tensor([0.3, -1.0, 0.5]).double()
    poses[:, :3] = turn
    trans = torch.tensor([1.0, 2.0, 3.0]).double()
    expected = at @ axis_angle_to_matrix(turn).T + trans
    torch.testing.assert_close(joint_positions(poses, trans.expand(3, 3)), expected)


def test_bones_keep_their_lengths() -> None:
    at = joint_positions(_poses(10))
    bones = (at[:, 1:] - at[:, torch.from_numpy(PARENTS[1:].copy())]).norm(dim=-1)
    lengths = torch.from_numpy(np.linalg.norm(REST_OFFSETS[1:].astype(np.float64), axis=-1))
    torch.testing.assert_close(bones, lengths.expand_as(bones))


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 1, 3)])
def test_any_leading_shape(shape: tuple[int, ...]) -> None:
    poses = _poses(*shape)
    at = joint_positions(poses)
    assert at.shape == (*shape, 55, 3)
    flat = joint_positions(poses.reshape(-1, 165))
    torch.testing.assert_close(at.reshape(-1, 55, 3), flat)


def test_offsets_of_each_frame() -> None:
    poses, offsets = _poses(3), torch.randn(3, 55, 3).double()
    found = joint_positions(poses, rest_offsets=offsets)
    for i in range(3):
        torch.testing.assert_close(found[i], joint_positions(poses[i], rest_offsets=offsets[i]))


def test_gradients() -> None:
    poses = _poses(2).requires_grad_()
    offsets = torch.randn(55, 3).double().requires_grad_()
    trans = torch.randn(2, 3).double().requires_grad_()

    def ends(p: torch.Tensor, t: torch.Tensor, o: torch.Tensor) -> torch.Tensor:
        return joint_positions(p, t, o)[:, [10, 24, 27, 54]]

    assert torch.autograd.gradcheck(ends, (poses, trans, offsets))
    rest = torch.zeros(1, 165, requires_grad=True)
    joint_positions(rest).square().sum().backward()
    assert rest.grad is not None and rest.grad.isfinite().all()


def test_usable_for_training_after_inference_mode() -> None:
    with torch.inference_mode():
        joint_positions(torch.zeros(165))
    poses = torch.zeros(165, requires_grad=True)
    joint_positions(poses).sum().backward()
    assert poses.grad is not None


def test_mirrored_motion_is_the_reflection() -> None:
    poses = _poses(6)
    reflected = joint_positions(poses)[:, mirror_permutation().tolist()]
    reflected = reflected * torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(joint_positions(mirror_poses(poses)), reflected)
    torch.testing.assert_close(mirror_poses(mirror_poses(poses)), poses)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(UserError, match=r"\(2, 156\)"):
        joint_positions(torch.zeros(2, 156))
    with pytest.raises(UserError, match=r"55, 3, 3"):
        forward_kinematics(torch.zeros(2, 24, 3, 3))
    with pytest.raises(UserError, match="165"):
        mirror_poses(torch.zeros(3))
