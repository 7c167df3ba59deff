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
    """The shapes of the left and the right hand in each clip's stroke."""
    flexion = masked_mean(tracks.flexion, stroke)
    single = torch.stack(
        [tracks.fan, tracks.pinch_gap, tracks.thumb_off_palm, tracks.thumb_upward], dim=-1
    )
    others = masked_mean(single, stroke)
    return [
        [_shape(flexion[b, h].tolist(), *others[b, h].tolist()) for h in range(2)]
        for b in range(len(stroke))
    ]


def _shape(
    flexion: list[float], fan: float, pinch_gap: float, thumb_off_palm: float, thumb_upward: float
) -> HandShape:
    index, middle, ring, pinky = flexion
    curled = [bend >= thresholds.CURLED_FROM for bend in flexion]
    extended = [bend < thresholds.EXTENDED_BELOW for bend in flexion]
    if all(curled):
        is_thumb_up = (
            thumb_off_palm >= thresholds.THUMB_OFF_PALM_FROM
            and thumb_upward >= thresholds.THUMB_UPWARD_FROM
        )
        return "thumb up" if is_thumb_up else "fist"
    if extended[0] and all(curled[1:]):
        return "index"
    if extended[0] and extended[1] and curled[2] and curled[3]:
        return "two fingers"
    if pinch_gap < thresholds.PINCH_BELOW:
        return "pinch"
    if all(extended) and fan >= thresholds.SPREAD_FROM:
        return "spread"
    if max(index, middle, ring, pinky) < thresholds.FLAT_BELOW:
        return "flat"
    return "relaxed"
