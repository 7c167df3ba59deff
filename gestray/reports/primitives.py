"""A tokenizer's codes as motion: what each first-level code looks like, drawn and in words.

A code means nothing by itself where parts are tokenized apart: an arm needs a hand on it.
Each code is therefore shown beside the code of every other part that it occurs with most
often, decoded at the first level alone and held for a few tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from gestray.anchors.verbalize import describe_many, sentence
from gestray.form import HandForm, PhysicalForm
from gestray.motion.kinematics import joint_positions
from gestray.motion.skeleton import joint
from gestray.reports.strips import hands_svg, strip_svg
from gestray.reports.tokenizer import Primitive
from gestray.tokenizers.model import MotionTokenizer

# Tokens a code is held for: long enough for the decoder's context to be the code's own.
_TOKENS = 3
_FRAMES_DRAWN = 3
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
        poses_NTC = _decoded(model, beside[used])
        words = _words(part, poses_NTC)
        for code, poses_TC, text in zip(used, poses_NTC, words, strict=True):
            found.append(
                Primitive(
                    part=part,
                    code=int(code),
                    count=int(counts[code]),
                    share=float(counts[code] / counts.sum()),
                    sentence=text,
                    drawing=_drawing(part, poses_TC),
                )
            )
    return sorted(found, key=lambda primitive: -primitive.count)


def _decoded(model: MotionTokenizer, codes_NP: np.ndarray) -> Tensor:
    """Poses (N, T, 165) of first-level codes (N, parts), held."""
    levels = model.config.quantizers
    held: dict[str, Tensor] = {}
    for column, part in enumerate(model.config.parts):
        codes_NKQ = torch.full((len(codes_NP), _TOKENS, levels), -1)
        codes_NKQ[..., 0] = torch.from_numpy(codes_NP[:, column])[:, None]
        held[part] = codes_NKQ
    return model.decode(held)


def _words(part: str, poses_NTC: Tensor) -> list[str]:
    if part != "hands":
        return [sentence(form) for form, _ in describe_many(list(poses_NTC))]
    # Hands are named where the verbalizer looks at them: raised before the chest.
    raised = poses_NTC.clone().unflatten(-1, (-1, 3))
    raised[:, :, [joint(name) for name in _RAISED]] = torch.tensor(list(_RAISED.values()))
    return [_shapes(form) for form, _ in describe_many(list(raised.flatten(-2)))]


def _shapes(form: PhysicalForm) -> str:
    def named(hand: HandForm | None) -> str:
        return "unclear" if hand is None else hand.shape

    if form.left and form.right and form.left.shape == form.right.shape:
        return f"Both hands: {form.left.shape}."
    return f"Left hand: {named(form.left)}; right hand: {named(form.right)}."


def _drawing(part: str, poses_TC: Tensor) -> str:
    positions = joint_positions(poses_TC).numpy()
    if part == "hands":
        return hands_svg(positions[len(positions) // 2])
    return strip_svg(positions, frames=_FRAMES_DRAWN)
