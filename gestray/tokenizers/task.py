"""How a motion tokenizer learns."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import torch
from torch import Tensor, nn

from gestray.motion.kinematics import forward_kinematics
from gestray.motion.rotations import axis_angle_to_matrix, geodesic_distance
from gestray.tokenizers.config import PART_JOINTS, TokenizerTraining
from gestray.tokenizers.model import NUM_JOINTS, MotionTokenizer
from gestray.training.task import Batch
from gestray.views.frames import stack_frames
from gestray.views.windows import Windows


@dataclass(frozen=True)
class TokenizerTask:
    """`gestray.training.task.Task` of a motion tokenizer."""

    config: TokenizerTraining

    def view(self) -> Windows:
        return Windows(self.config.windows, "train")

    def build(self) -> nn.Module:
        return MotionTokenizer(self.config.model)

    def collate(self, rows: pa.Table) -> Batch:
        poses = stack_frames(rows["poses"], self.config.windows.frames)
        return {"poses": torch.from_numpy(poses)}

    def loss(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        weights = self.config.losses
        rebuilt = model(batch["poses"], seed=step)
        joints = [j for part in self.config.model.parts for j in PART_JOINTS[part]]
        with torch.no_grad():
            target = axis_angle_to_matrix(batch["poses"].unflatten(-1, (NUM_JOINTS, 3)))
            goal_BTJ3 = forward_kinematics(target)[0][:, :, joints]
        got_BTJ3 = forward_kinematics(rebuilt.rotations)[0][:, :, joints]
        difference = got_BTJ3 - goal_BTJ3
        velocity = difference.diff(dim=1)
        angle = geodesic_distance(rebuilt.rotations[:, :, joints], target[:, :, joints])
        parts = {
            "rotation": _charbonnier(angle[..., None], 1e-2),
            "position": _charbonnier(difference, 1e-3),
            "velocity": _charbonnier(velocity, 1e-4),
            "acceleration": _charbonnier(velocity.diff(dim=1), 1e-4),
            "commitment": rebuilt.commitment,
        }
        total = sum((getattr(weights, name) * value for name, value in parts.items()), start=0.0)
        assert isinstance(total, Tensor)
        return total, parts


def _charbonnier(error: Tensor, softness: float) -> Tensor:
    """Mean length of vectors (..., C), quadratic below `softness` (Charbonnier et al. 1994).

    A plain length pulls just as hard on an error of rounding size: joints that
    hold still would steer training by noise, differently on every worker count.
    """
    return ((error.square().sum(-1) + softness**2).sqrt() - softness).mean()
