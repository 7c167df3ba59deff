"""Jumps between tokens go, and nothing else does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gestray.generators.joins import Joins
from gestray.motion.rotations import axis_angle_to_matrix, geodesic_distance
from gestray.tokenizers.parts import Frames

PER_TOKEN = 4


def frames_of(angles_T: Tensor) -> Frames:
    """A body whose joints all turn about x by angles in radians, and that walks as it turns."""
    axis_angle = torch.zeros(1, len(angles_T), 55, 3)
    axis_angle[..., 0] = angles_T[:, None]
    walked = torch.stack([angles_T, 2 * angles_T, 0 * angles_T], dim=-1)[None]
    return Frames(axis_angle_to_matrix(axis_angle), {"translation": walked})


def angles_of(frames: Frames) -> Tensor:
    return frames.extras["translation"][0, :, 0]


def test_motion_without_jumps_is_left_alone() -> None:
    given = frames_of(torch.linspace(0, 1.2, 24))
    joined = Joins(PER_TOKEN)(given)
    assert geodesic_distance(joined.rotations, given.rotations).max() < 2e-3
    assert torch.allclose(angles_of(joined), angles_of(given), atol=1e-6)


def test_a_token_begins_where_the_one_before_would_have_gone_on_to() -> None:
    # Two tokens that move by 0.01 a frame, the second 0.3 too high.
    steady = 0.01 * torch.arange(8)
    angles = angles_of(Joins(PER_TOKEN)(frames_of(steady + 0.3 * (torch.arange(8) >= 4))))
    expected = steady + 0.3 * torch.tensor([0, 0, 0, 0, 0, 0.25, 0.5, 0.75])
    assert torch.allclose(angles, expected, atol=1e-6)


def test_rotations_stay_rotations_and_no_step_is_a_jump() -> None:
    torch.manual_seed(0)
    walk = torch.randn(20).cumsum(0).repeat_interleave(PER_TOKEN) * 0.1
    joined = Joins(PER_TOKEN)(frames_of(walk))
    turned = joined.rotations @ joined.rotations.transpose(-1, -2)
    assert torch.allclose(turned, torch.eye(3).expand_as(turned), atol=1e-5)
    steps = angles_of(joined).diff().abs()
    at_joins = steps[PER_TOKEN - 1 :: PER_TOKEN]
    assert at_joins.max() <= steps.max() and at_joins.mean() < steps.mean()


@pytest.mark.parametrize("tokens", [1, 3])
def test_pieces_are_joined_as_the_whole_is(tokens: int) -> None:
    torch.manual_seed(1)
    given = frames_of(torch.randn(12 * PER_TOKEN) * 0.3)
    whole = Joins(PER_TOKEN)(given)
    joins, piece = Joins(PER_TOKEN), tokens * PER_TOKEN
    parts = [
        joins(
            Frames(
                given.rotations[:, first : first + piece],
                {"translation": given.extras["translation"][:, first : first + piece]},
            )
        )
        for first in range(0, 12 * PER_TOKEN, piece)
    ]
    assert torch.equal(torch.cat([part.rotations for part in parts], dim=1), whole.rotations)
    assert torch.equal(torch.cat([angles_of(part) for part in parts]), angles_of(whole))


def test_a_token_of_one_frame_has_nothing_to_come_back_in() -> None:
    given = frames_of(torch.tensor([0.0, 1.0, 0.0]))
    assert Joins(1)(given) is given
