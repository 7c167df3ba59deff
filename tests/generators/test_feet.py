"""Feet that stand do not slide, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gestray.generators.feet import RETURNS_S, StandingFeet
from gestray.motion.kinematics import joint_positions
from gestray.motion.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from gestray.motion.skeleton import joint
from gestray.tokenizers.parts import FEET, Frames

T = 60


def frames_of(poses_TJ3: Tensor, path_T3: Tensor, stands_TF: Tensor) -> Frames:
    extras = {"translation": path_T3[None], "contacts": 8 * (stands_TF[None].float() - 0.5)}
    return Frames(axis_angle_to_matrix(poses_TJ3[None]), extras)


def feet_of(frames: Frames) -> Tensor:
    """Places in the room (T, F, 3)."""
    poses = matrix_to_axis_angle(frames.rotations)[0].flatten(-2)
    at_TJ3 = joint_positions(poses) + frames.extras["translation"][0][:, None]
    return at_TJ3[:, list(FEET)]


def astray(seed: int = 0, frames: int = T) -> Tensor:
    """A path that trembles by some centimetres (T, 3)."""
    return 0.03 * torch.randn(frames, 3, generator=torch.Generator().manual_seed(seed))


def slides(frames: Frames) -> Tensor:
    """Speed of each point of the feet from frame to frame (T - 1, F), metres a frame."""
    return torch.linalg.vector_norm(feet_of(frames).diff(dim=0), dim=-1)


def test_a_person_who_stands_stays() -> None:
    path = astray()
    given = frames_of(torch.zeros(T, 55, 3), path, torch.ones(T, 4, dtype=torch.bool))
    kept = StandingFeet()(given)
    assert slides(given).mean() > 0.05
    # What is left is the way back to what was drawn, over `RETURNS_S`.
    farthest = torch.linalg.vector_norm(path - path[0], dim=-1).max()
    assert slides(kept).max() < 1.05 * farthest / (RETURNS_S * 30)
    assert torch.equal(kept.rotations, given.rotations)


def test_the_body_moves_over_the_foot_that_stands() -> None:
    """The left leg stands and turns at the hip; the right one swings."""
    poses = torch.zeros(T, 55, 3)
    poses[:, joint("left_hip"), 0] = torch.linspace(0, -0.4, T)
    poses[:, joint("right_hip"), 0] = torch.linspace(0, 0.4, T)
    left = torch.tensor([True, False, True, False])  # of `FEET`
    kept = StandingFeet()(frames_of(poses, torch.zeros(T, 3), left.expand(T, 4)))
    moved = feet_of(kept)[-1] - feet_of(kept)[0]
    apart = torch.linalg.vector_norm(moved, dim=-1)
    assert apart[left].max() < 0.06  # its two points turn about each other, and it returns a bit
    assert apart[~left].min() > 0.5
    assert kept.extras["translation"][0, -1].norm() > 0.25


def test_a_foot_that_lands_is_not_taken_back() -> None:
    """What moved until it stood has not slid; from then on it stays."""
    path = torch.zeros(T, 3)
    path[:, 2] = 0.02 * torch.arange(T).clamp(max=30)
    stands = (torch.arange(T) >= 30)[:, None].expand(T, 4)
    kept = StandingFeet()(frames_of(torch.zeros(T, 55, 3), path, stands))
    torch.testing.assert_close(kept.extras["translation"][0], path)


def test_a_path_without_a_standing_foot_is_as_drawn() -> None:
    path = astray()
    kept = StandingFeet()(frames_of(torch.zeros(T, 55, 3), path, torch.zeros(T, 4).bool()))
    torch.testing.assert_close(kept.extras["translation"][0], path)


def test_motion_without_a_path_is_left_alone() -> None:
    given = Frames(axis_angle_to_matrix(torch.randn(1, 4, 55, 3)), {})
    assert StandingFeet()(given) is given


def test_the_path_comes_back_to_what_was_drawn() -> None:
    """A slide of 10 cm is taken off at once and given back within some `RETURNS_S`."""
    frames = round(5 * RETURNS_S * 30)
    path = torch.zeros(frames, 3)
    path[10:, 0] = 0.1
    kept = StandingFeet()(frames_of(torch.zeros(frames, 55, 3), path, torch.ones(frames, 4).bool()))
    found = kept.extras["translation"][0, :, 0]
    assert abs(found[11]) < 1e-3
    assert 0.098 < found[-1] < 0.1
    assert (found.diff() >= -1e-6).all()


@pytest.mark.parametrize("piece", [4, 20])
def test_pieces_are_kept_as_the_whole_is(piece: int) -> None:
    torch.manual_seed(0)
    stands = torch.rand(T, 4) < 0.7
    given = frames_of(0.1 * torch.randn(T, 55, 3), astray(1), stands)
    whole, feet = StandingFeet()(given), StandingFeet()
    parts = [
        feet(
            Frames(
                given.rotations[:, first : first + piece],
                {name: x[:, first : first + piece] for name, x in given.extras.items()},
            )
        )
        for first in range(0, T, piece)
    ]
    joined = torch.cat([part.extras["translation"] for part in parts], dim=1)
    torch.testing.assert_close(joined, whole.extras["translation"], rtol=0, atol=1e-5)
