"""How far a reconstructed motion is from the recorded one, by part and by number of levels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gestray.corpora.take import FPS
from gestray.motion.kinematics import chain_positions, joint_positions
from gestray.motion.rotations import axis_angle_to_matrix, geodesic_distance
from gestray.motion.skeleton import LEFT_HAND, RIGHT_HAND, joint
from gestray.tokenizers.parts import PARTS, Part, foot_contacts

if TYPE_CHECKING:
    from gestray.tokenizers.model import Motion, MotionTokenizer


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


def part_errors(part: Part, recorded: Mapping[str, Tensor], rebuilt: Motion) -> dict[str, float]:
    """Mean errors of a part in one clip, in the frame the part hangs from.

    Args:
        part: what to measure.
        recorded: the clip by the columns of a take, `poses` (T, 165), and `trans` (T, 3) and
            `expressions` (T, 100) where the part has them.
        rebuilt: the clip decoded, a batch of one of at least T frames; frames beyond are left out.

    Returns:
        ``mpjpe_mm``, distance of joint positions; ``geodesic_deg``, angle between rotations;
        ``velocity_mm_s``, distance of the joints' velocities. Where the part has them,
        ``translation_mm``, ``expressions_rms`` of the FLAME coefficients, and
        ``contacts_right``, the share of feet in frames whose contact is told right. A part
        that moves no joint (the jaw's children are none) has no positions.
    """
    frames = len(recorded["poses"])
    joints = list(part.joints)
    pair = torch.stack([recorded["poses"], rebuilt.poses[0, :frames]])
    rotations_NTJ33 = axis_angle_to_matrix(pair.unflatten(-1, (-1, 3)))
    part_NTJ33 = rotations_NTJ33[:, :, joints]
    angle = geodesic_distance(part_NTJ33[0], part_NTJ33[1]).mean()
    found = {"geodesic_deg": float(angle.rad2deg())}
    at_NTM3 = chain_positions(part_NTJ33, part.joints)
    if at_NTM3.numel():
        found["mpjpe_mm"] = _distance_mm(at_NTM3)
        if frames > 1:
            found["velocity_mm_s"] = FPS * _distance_mm(at_NTM3.diff(dim=1))
    if "translation" in part.extras:
        assert rebuilt.translation is not None and rebuilt.contacts is not None
        trans = recorded["trans"] - recorded["trans"][:1]
        pair = torch.stack([trans, rebuilt.translation[0, :frames]])
        found["translation_mm"] = _distance_mm(pair[:, :, None])
        stands = foot_contacts(rotations_NTJ33[:1], trans[None], FPS)[0] > 0.5
        agree = (rebuilt.contacts[0, :frames] > 0.5) == stands
        found["contacts_right"] = agree.float().mean().item()
    if "expressions" in part.extras:
        assert rebuilt.expressions is not None
        difference = recorded["expressions"] - rebuilt.expressions[0, :frames]
        found["expressions_rms"] = difference.square().mean().sqrt().item()
    return found


def errors_by_level(
    tokenizer: MotionTokenizer, clips: Iterable[Mapping[str, Tensor]]
) -> list[dict[str, float | str]]:
    """What each further level of a tokenizer gives, on average over the frames of clips.

    Args:
        tokenizer: a trained one.
        clips: each by the columns of a take that the tokenizer is made of
            (`tokenizer.columns`), float32 (T, width).

    Returns:
        A row for each part and number of levels, in that order: ``part``, ``levels`` and the
        figures of `part_errors`; then, with part ``gesture``, those of `gesture_errors`
        for each number of levels.
    """
    sums: dict[tuple[str, int], dict[str, float]] = {}
    frames = 0

    def add(part: str, levels: int, errors: Mapping[str, float], weight: int) -> None:
        row = sums.setdefault((part, levels), {})
        for name, value in errors.items():
            row[name] = row.get(name, 0.0) + value * weight

    for clip in clips:
        length = len(clip["poses"])
        frames += length
        codes = tokenizer.encode(**{name: clip[name][None] for name in tokenizer.columns})
        for levels in range(1, tokenizer.config.quantizers + 1):
            rebuilt = tokenizer.decode_motion({p: c[..., :levels] for p, c in codes.items()})
            for part in tokenizer.config.parts:
                add(part, levels, part_errors(PARTS[part], clip, rebuilt), length)
            add("gesture", levels, gesture_errors(clip["poses"], rebuilt.poses[0, :length]), length)
    parts = [*tokenizer.config.parts, "gesture"]
    return [
        {
            "part": part,
            "levels": levels,
            **{name: value / frames for name, value in sums[part, levels].items()},
        }
        for part in parts
        for levels in range(1, tokenizer.config.quantizers + 1)
        if (part, levels) in sums
    ]
