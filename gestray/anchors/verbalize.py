"""What a gesture looks like, read off the motion by geometry alone.

The physical form supervises the motion branch of the dual encoder, so it must
say the same of the same motion every time and nothing that is not there: no
model takes part, and every limit is in `gestray.anchors.thresholds`. The words
are those of gesture studies (McNeill 1992 for gesture space; Bressem 2013 for
hand shape, orientation, movement and position).

    form = describe(poses)              # a clip of a few seconds
    sentence(form)                      # "The right hand, flat and palm up, ..."
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from gestray.anchors import thresholds
from gestray.anchors.hand_tracks import HandTracks, hand_tracks
from gestray.anchors.stroke import masked_mean, participating, stroke_window
from gestray.anchors.trajectory import relations, trajectories
from gestray.anchors.wording import mirrored, sentence
from gestray.form import (
    Handedness,
    HandForm,
    HandShape,
    Height,
    Location,
    Palm,
    PhysicalForm,
    Reach,
    Relation,
    Side,
    Zone,
)

__all__ = ["describe", "describe_many", "mirrored", "sentence"]

_SHAPES: tuple[HandShape, ...] = get_args(HandShape)
# Clips that are measured at once; bounds memory (a clip of 5 s takes about 3 MB).
_CLIPS_AT_ONCE = 128


def describe(poses: np.ndarray | Tensor, fps: float = 30.0) -> PhysicalForm:
    """The physical form of the gesture in a clip of a few seconds.

    Args:
        poses: axis-angle in radians (T, 165), in the order of SMPL-X.
        fps: frames per second.

    Raises:
        UserError: the shape is another, or values are not finite.
    """
    return describe_many([poses], fps)[0]


def describe_many(clips: Sequence[np.ndarray | Tensor], fps: float = 30.0) -> list[PhysicalForm]:
    """The physical forms of many clips of any lengths; see `describe`."""
    # Clips of like length together waste no padding; each is read as if it were alone.
    order = sorted(range(len(clips)), key=lambda i: len(clips[i]))
    forms: dict[int, PhysicalForm] = {}
    with torch.no_grad():
        for start in range(0, len(order), _CLIPS_AT_ONCE):
            chunk = order[start : start + _CLIPS_AT_ONCE]
            tracks = hand_tracks([clips[i] for i in chunk], fps)
            forms.update(zip(chunk, _forms(tracks), strict=True))
    return [forms[i] for i in range(len(clips))]


def _forms(tracks: HandTracks) -> list[PhysicalForm]:
    stroke = stroke_window(tracks)
    takes_part = participating(tracks, stroke).tolist()
    travels = trajectories(tracks, stroke)
    related = relations(tracks, stroke)
    places = masked_mean(tracks.palm, stroke).tolist()
    normals = masked_mean(tracks.palm_normal, stroke).tolist()
    shapes = _shapes(tracks, stroke)

    forms = []
    for b, (left, right) in enumerate(takes_part):
        hands = [
            HandForm(
                location=_location(places[b][h]),
                palm=_palm(normals[b][h], is_left=h == 0),
                shape=shapes[b][h],
                trajectory=travels[b][h],
            )
            if takes_part[b][h]
            else None
            for h in range(2)
        ]
        relation: Relation = related[b] if left and right else "single"
        handedness: Handedness = (
            "both" if left and right else "left" if left else "right" if right else "none"
        )
        forms.append(
            PhysicalForm(handedness=handedness, left=hands[0], right=hands[1], relation=relation)
        )
    return forms


def _location(place: list[float]) -> Location:
    """The place in gesture space of a palm at (x, y, z) arm lengths from the shoulders' middle."""
    x, y, z = place
    return Location(zone=_zone(abs(x), y), height=_height(y), side=_side(x), reach=_reach(z))


def _zone(aside: float, y: float) -> Zone:
    zones: tuple[tuple[Zone, float, tuple[float, float]], ...] = (
        (
            "centre-centre",
            thresholds.CENTRE_CENTRE_HALF_WIDTH,
            thresholds.CENTRE_CENTRE_HEIGHTS,
        ),
        ("centre", thresholds.CENTRE_HALF_WIDTH, thresholds.CENTRE_HEIGHTS),
        ("periphery", thresholds.PERIPHERY_HALF_WIDTH, thresholds.PERIPHERY_HEIGHTS),
    )
    for zone, half_width, (low, high) in zones:
        if aside < half_width and low <= y < high:
            return zone
    return "extreme periphery"


def _height(y: float) -> Height:
    steps: tuple[tuple[float, Height], ...] = (
        (thresholds.ABOVE_HEAD_FROM, "above head"),
        (thresholds.HEAD_FROM, "head"),
        (thresholds.SHOULDER_FROM, "shoulder"),
        (thresholds.CHEST_FROM, "chest"),
        (thresholds.WAIST_FROM, "waist"),
    )
    return next((height for start, height in steps if y >= start), "below waist")


def _side(x: float) -> Side:
    if abs(x) < thresholds.SIDE_FROM:
        return "middle"
    return "left" if x > 0 else "right"


def _reach(z: float) -> Reach:
    if z >= thresholds.FAR_REACH_FROM:
        return "far"
    return "medium" if z >= thresholds.MEDIUM_REACH_FROM else "close"


def _palm(normal: list[float], *, is_left: bool) -> Palm:
    """The nearest of six directions; inward is across the body."""
    axis = max(range(3), key=lambda i: abs(normal[i]))
    is_positive = normal[axis] > 0
    if axis == 1:
        return "up" if is_positive else "down"
    if axis == 2:
        return "to front" if is_positive else "to self"
    return "outward" if is_positive == is_left else "inward"


def _shapes(tracks: HandTracks, stroke: Tensor) -> list[list[HandShape]]:
    """The shape that the left and the right hand of each clip have in most of its stroke."""
    votes = torch.nn.functional.one_hot(_shape_codes(tracks), len(_SHAPES))
    code = (votes * stroke[:, None, :, None]).sum(dim=2).argmax(dim=-1)
    return [[_SHAPES[c] for c in hands] for hands in code.tolist()]


def _shape_codes(tracks: HandTracks) -> Tensor:
    """The hand shape in every frame, as an index (B, 2, T) into the vocabulary."""
    curled = tracks.flexion >= thresholds.CURLED_FROM  # (B, 2, T, 4), index to little finger
    extended = tracks.flexion < thresholds.EXTENDED_BELOW
    is_fist = curled.all(dim=-1)
    thumb_stands = (tracks.thumb_off_palm >= thresholds.THUMB_OFF_PALM_FROM) & (
        tracks.thumb_upward >= thresholds.THUMB_UPWARD_FROM
    )
    # From the least to the most particular; where several hold, the last one counts.
    rules: tuple[tuple[HandShape, Tensor], ...] = (
        ("flat", (tracks.flexion < thresholds.FLAT_BELOW).all(dim=-1)),
        ("spread", extended.all(dim=-1) & (tracks.fan >= thresholds.SPREAD_FROM)),
        ("pinch", tracks.pinch_gap < thresholds.PINCH_BELOW),
        ("two fingers", extended[..., :2].all(dim=-1) & curled[..., 2:].all(dim=-1)),
        ("index", extended[..., 0] & curled[..., 1:].all(dim=-1)),
        ("fist", is_fist),
        ("thumb up", is_fist & thumb_stands),
    )
    code = torch.full(is_fist.shape, _SHAPES.index("relaxed"))
    for shape, holds in rules:
        code = torch.where(holds, _SHAPES.index(shape), code)
    return code
