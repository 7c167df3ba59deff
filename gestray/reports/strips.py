"""Stick-figure strips: a gesture at a glance, as a few poses in a row.

A strip is an inline SVG of some kilobytes that takes the page's text colour
for the body and its accent for the hands, so it needs no renderer, no body
model, and no second version for dark pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gestray.errors import UserError
from gestray.motion.skeleton import FINGERS, JOINT_NAMES, joint

_SIDES = ("left", "right")
_HEAD, _NECK = joint("head"), joint("neck")
_SHOULDERS = [joint(f"{side}_shoulder") for side in _SIDES]
_WRISTS = [joint(f"{side}_wrist") for side in _SIDES]

_TRUNK = [
    joint(name) for name in ("left_shoulder", "neck", "right_shoulder", "right_hip", "left_hip")
]
_ARMS = [[joint(f"{side}_{part}") for part in ("shoulder", "elbow", "wrist")] for side in _SIDES]
_LEGS = [[joint(f"{side}_{part}") for part in ("hip", "knee", "ankle", "foot")] for side in _SIDES]
_FINGERS = [
    [wrist, *(joint(f"{side}_{finger}{segment}") for segment in (1, 2, 3))]
    for side, wrist in zip(_SIDES, _WRISTS, strict=True)
    for finger in FINGERS
]
_UPPER = sorted({index for line in (_TRUNK, *_ARMS, *_FINGERS) for index in line})
_WHOLE = sorted({*_UPPER, *(index for line in _LEGS for index in line)})

# The last finger joint is the knuckle before the tip; the tip continues it by
# this share of the bone before.
_TIP = 0.8
_HEAD_RADIUS_MM = 95
_MARGIN_MM = 45
# From one pose to the next: wide gestures reach into each other rather than
# shrink the whole strip.
_CELL_MM = (600, 1100)


def strip_svg(
    positions: ArrayLike,
    frames: int = 6,
    label: str = "Gesture, upper body from the front",
    legs: bool = False,
) -> str:
    """A gesture seen from the front: upper body, arms and fingers, poses left to right.

    The view turns with the speaker: the line of the shoulders, averaged over
    the clip, faces the reader, so the speaker's left hand is on the right.
    Each pose trails the way of its wrists since the pose before.

    Args:
        positions: (T, 55, 3) joint positions in metres, y up.
        frames: poses to show, evenly spread; fewer where the clip is shorter.
        label: what the picture is, for those who do not see it.
        legs: draw the legs as well.

    Returns:
        One `<svg>` element. It scales to its container's width.

    Raises:
        UserError: the positions have another shape, or are not finite.
    """
    points = np.asarray(positions, np.float64)
    if points.ndim != 3 or points.shape[1:] != (len(JOINT_NAMES), 3) or not len(points):
        raise UserError(
            f"positions: found shape {points.shape}, expected (frames, {len(JOINT_NAMES)}, 3) "
            "with one frame at least"
        )
    if not np.isfinite(points).all():
        raise UserError("positions: found NaN or infinity, expected finite metres")
    drawn_TJ2 = _front_view(points)
    shown = np.unique(((np.arange(frames) + 0.5) / frames * len(points)).astype(int))

    upper = drawn_TJ2[shown][:, _WHOLE if legs else _UPPER]
    reach = int(np.abs(upper[..., 0]).max()) + _MARGIN_MM
    top = int(min(upper[..., 1].min(), drawn_TJ2[shown, _HEAD, 1].min() - 200)) - _MARGIN_MM
    bottom = int(upper[..., 1].max()) + _MARGIN_MM
    cell = int(np.clip(2 * reach, *_CELL_MM))
    poses = [
        _pose(drawn_TJ2, start, frame, reach + column * cell, legs)
        for column, (start, frame) in enumerate(zip((0, *shown[:-1]), shown, strict=True))
    ]
    width = cell * (len(shown) - 1) + 2 * reach
    return (
        f'<svg class="strip" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 {top} {width} {bottom - top}" fill="none" stroke="currentColor" '
        f'stroke-linecap="round" stroke-linejoin="round">{"".join(poses)}</svg>'
    )


def hands_svg(positions: ArrayLike, label: str = "Both hands, seen from the palm") -> str:
    """Both hands of one pose, palms to the reader, fingers up, the speaker's left hand right.

    Args:
        positions: (55, 3) joint positions in metres.
        label: what the picture is, for those who do not see it.

    Returns:
        One `<svg>` element. It scales to its container's width.
    """
    points = np.asarray(positions, np.float64)
    hands = []
    for side, place in (("left", 150), ("right", -150)):
        wrist = points[joint(f"{side}_wrist")]
        up = _unit(points[joint(f"{side}_middle1")] - wrist)
        to_thumb = points[joint(f"{side}_index1")] - points[joint(f"{side}_pinky1")]
        to_thumb = _unit(to_thumb - (to_thumb @ up) * up)
        # Facing a left palm, its thumb is on the reader's left.
        x = -to_thumb if side == "left" else to_thumb
        for finger in FINGERS:
            names = ("wrist", *(f"{finger}{segment}" for segment in (1, 2, 3)))
            line = points[[joint(f"{side}_{name}") for name in names]] - wrist
            drawn = np.rint(1000 * np.stack([line @ x, -(line @ up)], axis=-1)).astype(np.int64)
            hands.append(_with_tip(drawn) + np.array([place, 0]))
    return (
        f'<svg class="strip" role="img" aria-label="{escape(label)}" viewBox="-280 -230 560 270" '
        'fill="none" stroke="var(--accent, currentColor)" stroke-width="14" stroke-linecap="round" '
        f'stroke-linejoin="round"><path d="{_path(hands)}"/></svg>'
    )


def bars_svg(values: ArrayLike, label: str = "Coefficients, from -2 to 2") -> str:
    """Signed values as bars about a line, for what has no shape of its own to draw.

    Args:
        values: (N,), cut off beyond ±2.
        label: what the picture is, for those who do not see it.
    """
    heights = np.rint(60 * np.clip(np.asarray(values, np.float64), -2, 2)).astype(int)
    bars = "".join(f"M{30 * (column + 1)} 0V{-height}" for column, height in enumerate(heights))
    width = 30 * (len(heights) + 1)
    return (
        f'<svg class="strip" role="img" aria-label="{escape(label)}" viewBox="0 -130 {width} 260" '
        f'fill="none" stroke="currentColor"><path d="M0 0H{width}" stroke-width="3" opacity=".3"/>'
        f'<path d="{bars}" stroke="var(--accent, currentColor)" stroke-width="16"/></svg>'
    )


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def _front_view(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """(T, J, 2) whole millimetres: x to the right, y down, the pelvis at the origin."""
    shoulders = points[:, _SHOULDERS[0]] - points[:, _SHOULDERS[1]]
    across = shoulders[:, [0, 2]].mean(axis=0)
    length = np.hypot(*across)
    across = across / length if length > 1e-6 else np.array((1.0, 0.0))
    centred = points - points[:, :1]
    x = centred[..., [0, 2]] @ across
    return np.rint(1000 * np.stack((x, -centred[..., 1]), axis=-1)).astype(np.int64)


def _pose(drawn: NDArray[np.int64], start: int, frame: int, x: int, legs: bool) -> str:
    joints = drawn[frame]
    head, neck = joints[_HEAD], joints[_NECK]
    up = (head - neck) / max(float(np.hypot(*(head - neck))), 1.0)
    skull = np.rint(head + 0.8 * _HEAD_RADIUS_MM * up).astype(int)
    trails = [drawn[start : frame + 1, wrist] for wrist in _WRISTS]
    fingers = [_with_tip(joints[line]) for line in _FINGERS]
    limbs = [*_ARMS, *_LEGS] if legs else _ARMS
    return (
        f'<g transform="translate({x} 0)">'
        f'<path d="{_path(trails)}" stroke="var(--accent, currentColor)" stroke-width="14" '
        'opacity=".4"/>'
        f'<path d="{_path([joints[_TRUNK]])}z" fill="currentColor" '
        'stroke-width="40" opacity=".15"/>'
        f'<circle cx="{skull[0]}" cy="{skull[1]}" r="{_HEAD_RADIUS_MM}" fill="currentColor" '
        'stroke="none" opacity=".3"/>'
        f'<path d="{_path(joints[line] for line in limbs)}" stroke-width="24"/>'
        f'<path d="{_path(fingers)}" stroke="var(--accent, currentColor)" stroke-width="13"/>'
        "</g>"
    )


def _with_tip(finger: NDArray[np.int64]) -> NDArray[np.int64]:
    """A finger from wrist to last joint, and its tip."""
    tip = np.rint(finger[-1] + _TIP * (finger[-1] - finger[-2])).astype(np.int64)
    return np.vstack((finger, tip))


def _path(lines: Iterable[NDArray[np.int64]]) -> str:
    return "".join("M" + " ".join(f"{x},{y}" for x, y in line) for line in lines)
