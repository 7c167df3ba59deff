"""How a motion tokenizer learns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from gestray.motion.kinematics import chain_positions
from gestray.motion.rotations import geodesic_distance
from gestray.tokenizers.config import LossWeights, TokenizerTraining
from gestray.tokenizers.model import MotionTokenizer, Reconstruction
from gestray.tokenizers.parts import PARTS, Extra, Part, PartName, columns_of
from gestray.training.task import Batch
from gestray.views.frames import stack_frames
from gestray.views.windows import Windows

START_WINDOWS = 1024
"""Windows that a tokenizer starts from: 16,384 tokens, 32 for each of 512 codes."""


class ReconstructionLosses(nn.Module):
    """`reconstruction_losses`, a module because those can be compiled: it is many small steps."""

    def forward(self, rebuilt: Reconstruction, parts: tuple[PartName, ...]) -> dict[str, Tensor]:
        return reconstruction_losses(rebuilt, parts)


@dataclass(frozen=True)
class TokenizerTask:
    """`gestray.training.task.Task` of a motion tokenizer."""

    config: TokenizerTraining
    losses: nn.Module = field(default_factory=ReconstructionLosses, compare=False, repr=False)

    def view(self, split: str = "train") -> Windows:
        return Windows(self.config.windows, split, columns_of(self.config.model.parts))

    def build(self) -> nn.Module:
        return MotionTokenizer(self.config.model)

    def start(self, model: nn.Module, batches: Iterator[Batch]) -> None:
        """Principal components and k-means, of `START_WINDOWS` windows of all ranks."""
        assert isinstance(model, MotionTokenizer)
        loop = self.config.loop
        wanted = math.ceil(START_WINDOWS * loop.accumulate / loop.batch_size)
        model.start(list(itertools.islice(batches, wanted)))

    def compiled(self, model: nn.Module) -> Iterator[nn.Module]:
        """What is around the quantizer, whose draws depend on the step."""
        assert isinstance(model, MotionTokenizer)
        for stream in model.streams.values():
            yield from (stream.get_submodule("encoder"), stream.get_submodule("decoder"))
        yield self.losses

    def collate(self, rows: pa.Table) -> Batch:
        frames = self.config.windows.frames
        return {
            name: torch.from_numpy(stack_frames(rows[name], frames))
            for name in columns_of(self.config.model.parts)
        }

    def loss(self, model: nn.Module, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        rebuilt = model(**batch, step=step)
        parts = self.losses(rebuilt, self.config.model.parts)
        figures = {}
        if model.training:
            assert isinstance(model, MotionTokenizer)
            figures["codebook_use"] = model.codebook_use()
        return weighted_sum(parts, self.config.losses), parts | figures


def reconstruction_losses(
    rebuilt: Reconstruction, parts: tuple[PartName, ...]
) -> dict[str, Tensor]:
    """The losses named in `LossWeights`, those that the parts have; each a mean over the parts.

    Each part is judged in the frame it hangs from, so that an error of the arm is no error
    of the fingers; positions of a part with translation are those in the room. Places count
    as the part says, and so do those of its chains that are `seen_alone`.
    """
    found: dict[str, list[Tensor]] = {}

    def add(name: str, loss: Tensor) -> None:
        found.setdefault(name, []).append(loss)

    for name in parts:
        part = PARTS[name]
        joints = list(part.joints)
        got, goal = rebuilt.frames.rotations[:, :, joints], rebuilt.recorded.rotations[:, :, joints]
        add("rotation", _charbonnier(geodesic_distance(got, goal)[..., None], 1e-2))
        difference = _misplaced(rebuilt, part, part.joints)
        if "translation" in part.extras:
            astray = _astray(rebuilt, "translation")
            difference = difference + astray[:, :, None]
            add("translation", _charbonnier(astray, 1e-3))
        if part.seen_alone:
            alone = [_misplaced(rebuilt, part, joints) for joints in part.seen_alone]
            difference = torch.cat([difference, *alone], dim=2)
        if "contacts" in part.extras:
            logits, stands = (f.extras["contacts"] for f in (rebuilt.frames, rebuilt.recorded))
            add("contacts", functional.binary_cross_entropy_with_logits(logits, stands))
        if "expressions" in part.extras:
            add("expressions", _astray(rebuilt, "expressions").square().mean())
        if difference.numel():
            velocity = difference.diff(dim=1)
            add("position", _charbonnier(difference, 1e-3))
            add("velocity", _charbonnier(velocity, 1e-4))
            add("acceleration", _charbonnier(velocity.diff(dim=1), 1e-4))
    losses = {name: torch.stack(values).mean() for name, values in found.items()}
    return losses | {"commitment": rebuilt.commitment}


def weighted_sum(losses: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """The loss to minimise."""
    return torch.stack([getattr(weights, name) * value for name, value in losses.items()]).sum()


def _misplaced(rebuilt: Reconstruction, part: Part, joints: tuple[int, ...]) -> Tensor:
    """How far what some joints of a part move is from its place (B, T, M, 3), as it counts."""
    got_BTM3 = chain_positions(rebuilt.frames.rotations[:, :, list(joints)], joints)
    with torch.no_grad():
        goal_BTM3 = chain_positions(rebuilt.recorded.rotations[:, :, list(joints)], joints)
    return (got_BTM3 - goal_BTM3) * part.place_weights(joints).to(got_BTM3)[:, None]


def _astray(rebuilt: Reconstruction, extra: Extra) -> Tensor:
    return rebuilt.frames.extras[extra] - rebuilt.recorded.extras[extra]


def _charbonnier(error: Tensor, softness: float) -> Tensor:
    """Mean length of vectors (..., C), quadratic below `softness` (Charbonnier et al. 1994).

    A plain length pulls just as hard on an error of rounding size: joints that
    hold still would steer training by noise, differently on every worker count.
    """
    return ((error.square().sum(-1) + softness**2).sqrt() - softness).mean()
