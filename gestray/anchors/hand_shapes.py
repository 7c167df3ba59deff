"""Which shape a hand has in the stroke, from the flexion of its fingers and where the thumb is."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from gestray.anchors import thresholds
from gestray.anchors.hand_tracks import HandTracks
from gestray.form import HandShape

_SHAPES: tuple[HandShape, ...] = get_args(HandShape)
# Shapes of a hand that counts, by the number of fingers it shows.
_COUNTS = [
    _SHAPES.index(shape) for shape in ("index", "two fingers", "three fingers", "four fingers")
]


def hand_shapes(tracks: HandTracks, expression: Tensor) -> list[list[HandShape]]:
    """The shape that the left and the right hand of each clip have in most of the gesture.

    Hands that show more and more fingers have the shape "counting".

    Args:
        tracks: measurements of B clips.
        expression: mask (B, T) of stroke and hold.
    """
    votes = torch.nn.functional.one_hot(_shape_codes(tracks), len(_SHAPES))
    votes = votes * expression[:, None, :, None]  # (B, 2, T, S)
    code = votes.sum(dim=2).argmax(dim=-1)
    code = torch.where(_counts(votes, tracks.fps), _SHAPES.index("counting"), code)
    return [[_SHAPES[c] for c in hands] for hands in code.tolist()]


def _counts(votes: Tensor, fps: float) -> Tensor:
    """Whether fingers are shown one after the other: bool (B, 2)."""
    shown = votes[..., _COUNTS]  # (B, 2, T, 4)
    seconds = shown.sum(dim=2) / fps
    is_shown = seconds >= thresholds.COUNT_SHOWN_S
    frame = torch.arange(votes.shape[2])[:, None]
    when = (shown * frame).sum(dim=2) / shown.sum(dim=2).clamp_min(1)
    follows = is_shown[..., 1:] & is_shown[..., :-1] & (when[..., 1:] > when[..., :-1])
    return follows.sum(dim=-1) >= thresholds.COUNT_STEPS


def _shape_codes(tracks: HandTracks) -> Tensor:
    """The hand shape in every frame, as an index (B, 2, T) into the vocabulary."""
    flexion = tracks.flexion  # (B, 2, T, 4), index to little finger
    curled = flexion >= thresholds.CURLED_FROM
    extended = flexion < thresholds.EXTENDED_BELOW
    is_fist = curled.all(dim=-1)
    is_pinched = tracks.pinch_gap < thresholds.PINCH_BELOW
    others_stretched = flexion[..., 1:].mean(dim=-1) < thresholds.RING_BELOW
    thumb_stands = (tracks.thumb_off_palm >= thresholds.THUMB_OFF_PALM_FROM) & (
        tracks.thumb_upward >= thresholds.THUMB_UPWARD_FROM
    )
    thumb_folded = tracks.thumb_aside < thresholds.THUMB_FOLDED_BELOW
    is_open = extended.all(dim=-1)
    is_straight = flexion.mean(dim=-1) < thresholds.FLAT_BELOW
    is_bowed = (flexion.mean(dim=-1) >= thresholds.CUPPED_FROM) & (
        flexion.amin(dim=-1) >= thresholds.CUPPED_FINGER_FROM
    )
    # From the least to the most particular; where several hold, the last one counts.
    rules: tuple[tuple[HandShape, Tensor], ...] = (
        ("flat", is_straight & is_open),
        ("cupped", is_bowed),
        ("spread", is_open & (tracks.fan >= thresholds.SPREAD_FROM)),
        ("four fingers", is_straight & is_open & thumb_folded),
        ("pinch", is_pinched),
        ("ring", is_pinched & others_stretched),
        ("three fingers", extended[..., :3].all(dim=-1) & curled[..., 3]),
        ("two fingers", extended[..., :2].all(dim=-1) & curled[..., 2:].all(dim=-1)),
        ("index", extended[..., 0] & curled[..., 1:].all(dim=-1)),
        ("fist", is_fist),
        ("thumb up", is_fist & thumb_stands),
    )
    code = torch.full(is_fist.shape, _SHAPES.index("relaxed"))
    for shape, holds in rules:
        code = torch.where(holds, _SHAPES.index(shape), code)
    return code
