"""How far a reconstructed motion is from the recorded one."""

from __future__ import annotations

import torch
from torch import Tensor

from gestray.motion.kinematics import joint_positions
from gestray.motion.skeleton import LEFT_HAND, RIGHT_HAND, joint


def gesture_errors(recorded: Tensor, rebuilt: Tensor) -> dict[str, float]:
    """Mean distances in millimetres (MPJPE) of what gestures are made with.

    Args:
        recorded, rebuilt: axis-angle poses (T, 165).

    Returns:
        ``wrist_mm``: both wrists, relative to the pelvis; ``finger_mm``: all
        finger joints, each relative to its own wrist.
    """
    positions_NTJ3 = joint_positions(torch.stack([recorded, rebuilt]))
    positions_NTJ3 = positions_NTJ3 - positions_NTJ3[:, :, :1]
    wrists = [joint("left_wrist"), joint("right_wrist")]
    fingers = torch.cat(
        [
            positions_NTJ3[:, :, list(hand)] - positions_NTJ3[:, :, wrist : wrist + 1]
            for hand, wrist in zip((LEFT_HAND, RIGHT_HAND), wrists, strict=True)
        ],
        dim=2,
    )
    return {
        "wrist_mm": _distance_mm(positions_NTJ3[:, :, wrists]),
        "finger_mm": _distance_mm(fingers),
    }


def _distance_mm(pair_NTJ3: Tensor) -> float:
    return 1000 * torch.linalg.vector_norm(pair_NTJ3[0] - pair_NTJ3[1], dim=-1).mean().item()
