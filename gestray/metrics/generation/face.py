"""The surface of a face: what MSE and LVD are measured on.

The field poses the whole SMPL-X body at rest but for jaw and expression and takes all its
vertices. Only the jaw turns then, and nothing hangs from it: so the skinning of 55 joints comes
down to one rotation of what the jaw moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gestray.motion.rotations import axis_angle_to_matrix
from gestray.motion.skeleton import joint
from gestray.motion.smplx_body import SmplxModel

_JAW = joint("jaw")
_SHAPES = 300


@dataclass(frozen=True)
class Face:
    """The surface of one person, posed by jaw and expression.

    Args:
        model: the user's SMPL-X model.
        betas: the person's shape (n,).
    """

    model: SmplxModel
    betas: Tensor

    def vertices(self, poses: Tensor, expressions: Tensor) -> Tensor:
        """(T, V, 3) in metres, of poses (T, 165) of which the jaw alone counts, and FLAME
        coefficients (T, 100); equal to the whole skinning of such a body."""
        model = self.model
        turn = axis_angle_to_matrix(poses[:, 3 * _JAW : 3 * _JAW + 3])
        bend = (turn - torch.eye(3)).flatten(1)
        first = 9 * (_JAW - 1)
        directions = torch.cat(
            [
                model.shape_directions[..., _SHAPES : _SHAPES + expressions.shape[1]],
                model.pose_directions[..., first : first + 9],
            ],
            dim=-1,
        )
        template = model.template + model.shape_directions[..., : len(self.betas)] @ self.betas
        offset = torch.cat([expressions, bend], dim=1) @ directions.flatten(0, 1).T
        shaped = template + offset.unflatten(1, template.shape)
        place = (model.joint_regressor @ template)[_JAW]
        turned = (shaped - place) @ turn.transpose(1, 2) + place
        share = model.weights[:, _JAW, None]
        return shaped + share * (turned - shaped)
