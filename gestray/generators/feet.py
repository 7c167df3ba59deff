"""Feet that stand stay where they are: the body's path gives way instead.

Codes of the legs are drawn, and so is the path, so feet that are said to stand would slide. The
path is a part's least certain channel, and the eye judges it by the feet; here it is moved by as
much as the standing feet would have slid, and comes back to what was drawn slowly.

Shapes: B streams, T frames, F = 4 points of the feet.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gestray.corpora.take import FPS
from gestray.tokenizers.parts import Frames, foot_places

RETURNS_S = 10.0
"""The path is back at what was drawn but for 1 / e after so many seconds without a slide."""

_KEPT = 1 - 1 / (RETURNS_S * FPS)


@dataclass(frozen=True)
class Stance:
    """How a stream stood in its last frame.

    Args:
        feet: where they were drawn (B, F, 3).
        stood: whether they stood (B, F).
        offset: of the path from what was drawn (B, 3).
    """

    feet: Tensor
    stood: Tensor
    offset: Tensor


class StandingFeet:
    """Keeps standing feet in place in frames as they come."""

    def __init__(self) -> None:
        self._stance: Stance | None = None

    def __call__(self, frames: Frames) -> Frames:
        """The same frames, with another `translation` where they have one."""
        frames, self._stance = keep_feet(frames, self._stance)
        return frames


def keep_feet(frames: Frames, stance: Stance | None) -> tuple[Frames, Stance | None]:
    """The frames that follow a stance, and the stance they end with: see `StandingFeet`."""
    if not {"translation", "contacts"} <= frames.extras.keys():
        return frames, None
    drawn_BT3 = frames.extras["translation"]
    feet_BTF3 = foot_places(frames.rotations, drawn_BT3)
    stands_BTF = frames.extras["contacts"] > 0
    if stance is None:
        stance = Stance(feet_BTF3[:, 0], stands_BTF[:, 0], torch.zeros_like(drawn_BT3[:, 0]))
    step_BTF3 = feet_BTF3 - torch.cat([stance.feet[:, None], feet_BTF3[:, :-1]], dim=1)
    stood_BTF = torch.cat([stance.stood[:, None], stands_BTF[:, :-1]], dim=1)
    counts_BTF1 = (stands_BTF & stood_BTF)[..., None].to(step_BTF3)
    slides_BT3 = (step_BTF3 * counts_BTF1).sum(2) / counts_BTF1.sum(2).clamp(min=1)
    # offset[t] = kept · offset[t − 1] − slides[t], of all frames at once.
    power = _KEPT ** torch.arange(1, drawn_BT3.shape[1] + 1).to(drawn_BT3)[:, None]
    offset_BT3 = power * (stance.offset[:, None] - (slides_BT3 / power).cumsum(1))
    kept = Frames(frames.rotations, frames.extras | {"translation": drawn_BT3 + offset_BT3})
    return kept, Stance(feet_BTF3[:, -1], stands_BTF[:, -1], offset_BT3[:, -1])
