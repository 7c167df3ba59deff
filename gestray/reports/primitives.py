"""A tokenizer's codes as motion: what each first-level code looks like, drawn and in words.

A code means nothing by itself where parts are tokenized apart: an arm needs a hand on it.
Each code is therefore shown beside the code of every other part that it occurs with most
often, decoded at the first level alone and held for a few tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from gestray.anchors.verbalize import describe_many, sentence
from gestray.form import HandForm, PhysicalForm
from gestray.motion.kinematics import joint_positions
from gestray.motion.skeleton import joint
from gestray.reports.strips import bars_svg, hands_svg, strip_svg
from gestray.reports.tokenizer import Primitive
from gestray.tokenizers.model import Motion, MotionTokenizer

# Tokens a code is held for: long enough for the decoder's context to be the code's own.
_TOKENS = 3
_FRAMES_DRAWN = 3
# FLAME's first expression coefficients, which carry most of a face's movement.
_FLAME = 10
# Rotation vectors that raise both hands before the chest, out of the T-pose.
_RAISED = {
    "left_shoulder": (0.0, 0.0, -0.7),
    "left_elbow": (0.0, -1.5, 0.0),
    "right_shoulder": (0.0, 0.0, 0.7),
    "right_elbow": (0.0, 1.5, 0.0),
}


def companions(first_level: Mapping[str, np.ndarray], codebook_size: int) -> dict[str, np.ndarray]:
    """For each part and code, the codes of all parts it occurs with most often.

    Args:
        first_level: part → first-level codes (N,) of the same N tokens.
        codebook_size: codes a level.

    Returns:
        part → (codebook_size, parts) in the order of `first_level`; a code that never occurs
        has the overall most frequent companions. A code's own part holds the code itself.
    """
    found = {}
    for part, codes in first_level.items():
        columns = []
        for other, others in first_level.items():
            if other == part:
                columns.append(np.arange(codebook_size))
                continue
            pairs = np.bincount(codes * codebook_size + others, minlength=codebook_size**2)
            counts = pairs.reshape(codebook_size, codebook_size)
            usual = counts.sum(axis=0).argmax()
            columns.append(np.where(counts.any(axis=1), counts.argmax(axis=1), usual))
        found[part] = np.stack(columns, axis=1)
    return found


def primitives(model: MotionTokenizer, first_level: Mapping[str, np.ndarray]) -> list[Primitive]:
    """Every first-level code that occurs, of every part, the most frequent first.

    Args:
        model: the trained tokenizer.
        first_level: part → first-level codes (N,) of the same N tokens.
    """
    size = model.config.codebook_size
    found = []
    for part, beside in companions(first_level, size).items():
        counts = np.bincount(first_level[part], minlength=size)
        used = np.flatnonzero(counts)
        motion = _decoded(model, beside[used])
        shown = zip(used, _words(part, motion), _drawings(part, motion), strict=True)
        for code, text, drawing in shown:
            share = float(counts[code] / counts.sum())
            found.append(Primitive(part, int(code), int(counts[code]), share, text, drawing))
    return sorted(found, key=lambda primitive: -primitive.count)


def _decoded(model: MotionTokenizer, codes_NP: np.ndarray) -> Motion:
    """Motions of first-level codes (N, parts), held."""
    held = torch.from_numpy(codes_NP)[:, None, :, None].expand(-1, _TOKENS, -1, -1)
    return model.decode_motion(
        {part: held[:, :, column] for column, part in enumerate(model.config.parts)}
    )


def _words(part: str, motion: Motion) -> list[str]:
    if part == "hands":
        # Hands are named where the verbalizer looks at them: raised before the chest.
        raised = motion.poses.clone().unflatten(-1, (-1, 3))
        raised[:, :, [joint(name) for name in _RAISED]] = torch.tensor(list(_RAISED.values()))
        return [_shapes(form) for form, _ in describe_many(list(raised.flatten(-2)))]
    if part == "face":
        return [f"The mouth is open by {angle:.0f}°." for angle in _jaw_deg(motion)]
    if part == "lower":
        return [_stance(feet) for feet in _stands(motion)]
    return [sentence(form) for form, _ in describe_many(list(motion.poses))]


def _shapes(form: PhysicalForm) -> str:
    def named(hand: HandForm | None) -> str:
        return "unclear" if hand is None else hand.shape

    if form.left and form.right and form.left.shape == form.right.shape:
        return f"Both hands: {form.left.shape}."
    return f"Left hand: {named(form.left)}; right hand: {named(form.right)}."


def _jaw_deg(motion: Motion) -> list[float]:
    jaw = motion.poses.unflatten(-1, (-1, 3))[:, :, joint("jaw")]
    return torch.linalg.vector_norm(jaw, dim=-1).mean(dim=1).rad2deg().tolist()


def _stands(motion: Motion) -> list[tuple[bool, bool]]:
    """Whether the left and the right foot stand, of each motion."""
    assert motion.contacts is not None, "the lower part has contacts"
    feet = motion.contacts.mean(dim=1).unflatten(-1, (2, 2)).amax(dim=1) > 0.5
    return [(left, right) for left, right in feet.tolist()]


def _stance(stands: tuple[bool, bool]) -> str:
    left, right = ("stands" if foot else "moves" for foot in stands)
    return f"Both feet {left[:-1]}." if left == right else f"Left foot {left}, right foot {right}."


def _drawings(part: str, motion: Motion) -> list[str]:
    if part == "face":
        assert motion.expressions is not None, "the face has expressions"
        return [bars_svg(values) for values in motion.expressions.mean(dim=1)[:, :_FLAME].numpy()]
    positions = joint_positions(motion.poses).numpy()
    if part == "hands":
        return [hands_svg(clip[len(clip) // 2]) for clip in positions]
    return [strip_svg(clip, _FRAMES_DRAWN, legs=part == "lower") for clip in positions]
