"""The parts of the body that streams of tokens cover, each as data.

A part is joints and, for some, what else of a motion belongs to them. Motion
becomes a part's features, channels of comparable weight, and features become
motion again; a stream (`gestray.tokenizers.model`) knows only features.

Shapes: B batch, T frames, J joints of a part, C channels of its features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from gestray.errors import UserError
from gestray.motion.kinematics import chain_positions, moved_by
from gestray.motion.rotations import matrix_to_sixd
from gestray.motion.skeleton import ARMS, BODY, HANDS, LOWER, PARENT_OF, UPPER, joint

NUM_JOINTS = 55

PartName = Literal["body", "hands", "face", "upper", "lower"]
Extra = Literal["translation", "contacts", "expressions"]

EXTRA_WIDTHS: dict[Extra, int] = {"translation": 3, "contacts": 4, "expressions": 100}

# How much a unit of each extra counts in the features, where a radian of a joint that
# carries nothing counts `_OWN_WEIGHT`: a metre of the whole body, a foot's contact (0 or 1), a
# FLAME coefficient (their deviation is about 0.5).
_EXTRA_WEIGHTS: dict[Extra, float] = {"translation": 4.0, "contacts": 0.2, "expressions": 0.1}
_OWN_WEIGHT = 2.0

FEET = tuple(joint(f"{side}_{name}") for name in ("ankle", "foot") for side in ("left", "right"))
"""Joints whose contact with the floor is told: 7, 8, 10, 11."""

CONTACT_BELOW_M_S = 0.3
"""A foot slower than this stands on the floor (EMAGE's threshold: 1 cm a frame)."""


@dataclass(frozen=True)
class Frames:
    """Motion as networks see it, recorded or rebuilt.

    Args:
        rotations: local (B, T, 55, 3, 3).
        extras: of those that are known, by name: `translation` in metres from where the
            clip begins (B, T, 3); `contacts` of `FEET` (B, T, 4), 0 or 1 where recorded and
            logits where rebuilt; `expressions` (B, T, 100).
    """

    rotations: Tensor
    extras: dict[Extra, Tensor]


@dataclass(frozen=True)
class PartFrames:
    """Motion of a part, as a network tells it.

    Args:
        sixd: local rotations of its joints, as any 6D vectors (B, T, J, 6).
        extras: its own; see `Frames`.
    """

    sixd: Tensor
    extras: dict[Extra, Tensor]


@dataclass(frozen=True)
class Part:
    """Joints and extras that one stream of tokens stands for.

    Features are the 6D rotations of the joints as deviations from rest, then the extras.
    Each joint's channels are weighted by how far it moves what hangs from it, so that
    the distance between features is about the distance between postures: an error of the
    shoulder moves the hand by half a metre a radian, one of the ankle hardly anything.

    Args:
        joints: whose rotations it has.
        extras: what else it has.
        emphasis: how much the rotation of a joint, and the place of its children, count
            where not 1.
        seen_alone: chains of its joints whose places count once more as seen from what the chain
            hangs from. A hand can be in its place in the room while trunk and arm err, each
            making up for the other; then it is not where it should be before the chest.
    """

    joints: tuple[int, ...]
    extras: tuple[Extra, ...] = ()
    emphasis: Mapping[int, float] = field(default_factory=dict)
    seen_alone: tuple[tuple[int, ...], ...] = ()

    @cached_property
    def channels(self) -> int:
        """C: 6 a joint, and the extras'."""
        return 6 * len(self.joints) + sum(EXTRA_WIDTHS[extra] for extra in self.extras)

    def place_weights(self, joints: tuple[int, ...]) -> Tensor:
        """How much the place of each joint that some of its joints move counts (M,)."""
        return torch.tensor([self.emphasis.get(PARENT_OF[j], 1.0) for j in moved_by(joints)])

    def weights(self) -> Tensor:
        """Weight of each channel (C,); their mean square is 1."""
        at_rest = torch.eye(3).expand(len(self.joints), 3, 3)
        lever = torch.zeros(len(self.joints))
        for number in range(len(self.joints)):
            turned = at_rest.clone()
            turned[number] = -torch.eye(3)  # puts what a joint carries on its other side
            shift = chain_positions(turned, self.joints) - chain_positions(at_rest, self.joints)
            lever[number] = (shift / 2).square().sum()
        emphasis = torch.tensor([self.emphasis.get(j, 1.0) for j in self.joints])
        weights = [(emphasis * (lever + _OWN_WEIGHT**2).sqrt()).repeat_interleave(6)]
        for extra in self.extras:
            weights.append(torch.full((EXTRA_WIDTHS[extra],), _EXTRA_WEIGHTS[extra]))
        all_C = torch.cat(weights)
        return all_C / all_C.square().mean().sqrt()

    def features(self, frames: Frames) -> Tensor:
        """Unweighted features (B, T, C)."""
        # Rows that 6D leaves out are not copied.
        sixd_BTJ6 = frames.rotations[..., :2, :][:, :, list(self.joints)].flatten(-2)
        rest_6 = matrix_to_sixd(torch.eye(3, device=sixd_BTJ6.device, dtype=sixd_BTJ6.dtype))
        parts = [(sixd_BTJ6 - rest_6).flatten(-2)]
        parts += [frames.extras[extra].to(sixd_BTJ6.dtype) for extra in self.extras]
        return torch.cat(parts, dim=-1)

    def frames(self, features: Tensor) -> PartFrames:
        """The motion of unweighted features (B, T, C)."""
        widths = [6 * len(self.joints), *(EXTRA_WIDTHS[extra] for extra in self.extras)]
        deviation, *extras = features.split(widths, dim=-1)
        rest_6 = matrix_to_sixd(torch.eye(3, device=features.device, dtype=features.dtype))
        sixd = deviation.unflatten(-1, (-1, 6)) + rest_6
        found = dict(zip(self.extras, extras, strict=True))
        if "contacts" in found:
            # Features are 0 or 1; as a logit, their middle is undecided.
            found["contacts"] = 8 * (found["contacts"] - 0.5)
        return PartFrames(sixd, found)


# What a gesture says is in the hands, and how they are turned is the wrists' doing; the idle
# steps of the legs would take codes from them.
_WRISTS = {joint("left_wrist"): 3.0, joint("right_wrist"): 3.0}
_LEGS = {
    joint(f"{side}_{name}"): 0.3
    for side in ("left", "right")
    for name in ("hip", "knee", "ankle", "foot")
}

PARTS: dict[PartName, Part] = {
    "body": Part(tuple(BODY), emphasis=_WRISTS | _LEGS, seen_alone=(ARMS,)),
    "hands": Part(tuple(HANDS)),
    "face": Part((joint("jaw"),), ("expressions",)),
    "upper": Part(UPPER, emphasis=_WRISTS, seen_alone=(ARMS,)),
    "lower": Part(LOWER, ("translation", "contacts")),
}
"""`body` has the legs and the body's orientation, and no translation: what gestures look
like depends on neither place nor path. The others are SemTalk's: 106, 78, 180 and 61 channels."""


def columns_of(parts: Iterable[PartName]) -> tuple[str, ...]:
    """Columns of a take that the parts are made of."""
    extras = {extra for part in parts for extra in PARTS[part].extras}
    columns = ["poses"]
    columns += ["trans"] if "translation" in extras else []
    columns += ["expressions"] if "expressions" in extras else []
    return tuple(columns)


def foot_places(rotations: Tensor, translation: Tensor) -> Tensor:
    """Where `FEET` are (B, T, 4, 3): local rotations (B, T, 55, 3, 3), translation in metres."""
    lower = moved_by(LOWER)
    feet = [lower.index(foot) for foot in FEET]
    at_BTM3 = chain_positions(rotations[:, :, list(LOWER)], LOWER)
    return at_BTM3[:, :, feet] + translation[:, :, None]


def foot_contacts(rotations: Tensor, translation: Tensor, fps: float = 30.0) -> Tensor:
    """Which of `FEET` stand, 0 or 1 (B, T, 4): those slower than `CONTACT_BELOW_M_S`.

    A frame's speed is that of the step to the next one; the last frame repeats its neighbour.

    Args:
        rotations: local (B, T, 55, 3, 3).
        translation: in metres (B, T, 3).
        fps: frames per second.
    """
    step_BTF3 = foot_places(rotations, translation).diff(dim=1)
    stands = (torch.linalg.vector_norm(step_BTF3, dim=-1) * fps < CONTACT_BELOW_M_S).float()
    return torch.cat([stands, stands[:, -1:]], dim=1)


def check_parts(parts: tuple[PartName, ...]) -> None:
    """Refuse parts that share joints.

    Raises:
        UserError: names the parts and what to do.
    """
    if not parts:
        raise UserError(f"parts are empty, expected some of {', '.join(PARTS)}")
    owner: dict[int, PartName] = {}
    for part in parts:
        for number in PARTS[part].joints:
            if number in owner:
                raise UserError(
                    f"parts {owner[number]!r} and {part!r} share joints; leave one of them out "
                    "(body and hands make a whole, as do face, upper, hands and lower)"
                )
            owner[number] = part
