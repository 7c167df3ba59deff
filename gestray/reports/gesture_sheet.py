"""A contact sheet of the synthetic corpus: every gesture type at a glance, every variant drawn.

    python -m gestray.reports.gesture_sheet docs/images

A cell shows one variant from the speaker's left front (a left hand alone from the right):
pale where the stroke begins, solid where it ends (a circle: halfway round), the way of the
hands between, and the leading hand once more from between palm and thumb. One-handed gestures
are drawn with the right hand unless they belong to the left one.
"""

from __future__ import annotations

from dataclasses import replace
from html import escape
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
import typer

from gestray.corpora.synthetic.arms import solve_path
from gestray.corpora.synthetic.gesture import GestureType, Variant
from gestray.corpora.synthetic.hands import mirror_hand
from gestray.corpora.synthetic.ik import ARM_JOINTS, matrix_to_rotvec, mirror_matrices
from gestray.corpora.synthetic.speakers import SPEAKERS
from gestray.corpora.synthetic.stroke import Gesture, HandPath, make_gesture, still_path
from gestray.corpora.synthetic.vocabulary import GESTURES
from gestray.motion.kinematics import joint_positions
from gestray.motion.skeleton import FINGERS, JOINT_NAMES, LEFT_HAND, RIGHT_HAND, joint

TYPES_A_SHEET = 8

# The camera looks from this far on the speaker's left and above, degrees.
_YAW, _PITCH = 36.0, 12.0
_CELL_MM, _ROW_MM, _MARGIN_MM = (1200, 1120), 60, 20
# The pelvis in the cell, and the palm view's place and scale.
_PELVIS_AT, _PALM_AT, _PALM_SCALE = (690, 880), (1060, 270), 1.1
# Seen from the other side, the speaker stands so much further to the left of the cell.
_NARROW_MM = 330
_PALM_YAW = np.deg2rad(35.0)
_HEAD_TILT, _HEAD_WORDS = 0.16, {"nod": "nods", "shake": "shakes", "tilt": "tilts"}
_COLOURS = {"left": "#c2571a", "right": "#1f5f9e"}
_SIDES = ("left", "right")
_LEFT_HANDED, _RIGHT_HANDED = 0.0, 1.0


def sheet_svg(types: dict[str, GestureType]) -> str:
    """A sheet of gesture types, a row each.

    Args:
        types: gesture types by name.

    Returns:
        One `<svg>` document.
    """
    columns = max(len(kind.variants) for kind in types.values())
    width, height = _CELL_MM
    rows = []
    for row, (name, kind) in enumerate(types.items()):
        cells = "".join(
            f'<g transform="translate({width * column} 0)">{_cell(kind, variant)}</g>'
            for column, variant in enumerate(kind.variants)
        )
        rows.append(
            f'<g transform="translate(0 {row * (height + _ROW_MM)})">'
            f'<text x="{_MARGIN_MM}" y="64" font-size="62" fill="#222" stroke="none">'
            f"{escape(name)}: {escape(kind.intent)}</text>"
            f'<g transform="translate(0 {_ROW_MM})">{cells}</g></g>'
        )
    whole = (width * columns, (height + _ROW_MM) * len(types))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole[0]} {whole[1]}" '
        f'width="{whole[0] // 4}" font-family="sans-serif" fill="none" stroke-linecap="round" '
        f'stroke-linejoin="round"><rect width="{whole[0]}" height="{whole[1]}" fill="#fff"/>'
        f"{''.join(rows)}</svg>\n"
    )


def _cell(kind: GestureType, variant: Variant) -> str:
    gesture = _performance(kind, variant)
    positions = joint_positions(torch.from_numpy(_poses(gesture)).flatten(1)).numpy()
    moving = max(round(gesture.moving_s * 30), 1)
    shown = moving // (2 * gesture.passes) if variant.stroke.path == "circle" else moving - 1
    if variant.relation == "alternating" and variant.stroke.path != "circle":
        shown = round(variant.pass_s * 30)
    drawn = _projected(positions, _YAW if gesture.right is not None else -_YAW)
    parts = []
    if variant.stroke.path != "static" or variant.other is not None:
        parts += [f'<g opacity=".22">{_arms(drawn[0], gesture)}</g>']
    ways = "".join(
        _trail(drawn[: moving + 1, joint(f"{side}_middle1"), :2], _COLOURS[side])
        for side in _SIDES
        if _path_of(gesture, side) is not None
    )
    notes = [f"{gesture.passes} times"] if gesture.passes > 1 else []
    if variant.head != "none":
        notes.append(f"head {_HEAD_WORDS[variant.head]}")
    said = "".join(
        f'<text x="{_PALM_AT[0]}" y="{390 + 52 * line}" font-size="44" fill="#555" stroke="none" '
        f'text-anchor="middle">{note}</text>'
        for line, note in enumerate(notes)
    )
    return (
        f"{_body(drawn[shown])}{''.join(parts)}{_arms(drawn[shown], gesture)}{ways}"
        f"{_palm_view(positions[shown], gesture)}{said}"
    )


def _performance(kind: GestureType, variant: Variant) -> Gesture:
    """The variant as a middling speaker makes it, with the right hand leading."""
    ordinary = replace(SPEAKERS[0], tempo=1.0, amplitude=1.0, right_handed=_RIGHT_HANDED)
    only = replace(kind, variants=(variant,))
    return make_gesture(only, ordinary, 0.0, 0.0, np.random.default_rng(0))


def _poses(gesture: Gesture) -> np.ndarray:
    """Rotation vectors (F, 55, 3) of a body that makes the gesture, its trunk upright."""
    poses = np.zeros((gesture.frames, len(JOINT_NAMES), 3))
    raised = gesture.variant.shrug * gesture.effort
    for side, fingers in zip(_SIDES, (LEFT_HAND, RIGHT_HAND), strict=True):
        path = _path_of(gesture, side) or still_path(SPEAKERS[0].rests[0], gesture.frames)
        arm = solve_path(path, raised if _path_of(gesture, side) else np.zeros(gesture.frames))
        hand = path.fingers_rotvec
        if side == "right":
            arm, hand = mirror_matrices(arm), mirror_hand(hand)
        poses[:, [joint(f"{side}_{name}") for name in ARM_JOINTS]] = matrix_to_rotvec(arm)
        poses[:, fingers] = hand
    if gesture.variant.head == "tilt":
        poses[:, joint("head"), 2] = _HEAD_TILT
    return poses


def _path_of(gesture: Gesture, side: str) -> HandPath | None:
    return gesture.left if side == "left" else gesture.right


def _projected(positions: np.ndarray, yaw_degrees: float) -> np.ndarray:
    """Whole millimetres in the cell, x to the right and y down, and nearness (F, 55, 3)."""
    yaw, pitch = np.deg2rad((yaw_degrees, _PITCH))
    x, y, z = np.moveaxis(positions - positions[:1, :1], -1, 0)
    across, near = x * np.cos(yaw) - z * np.sin(yaw), x * np.sin(yaw) + z * np.cos(yaw)
    up, near = y * np.cos(pitch) - near * np.sin(pitch), y * np.sin(pitch) + near * np.cos(pitch)
    screen = np.stack([across, -up, near], axis=-1) * 1000
    x_pelvis, y_pelvis = _PELVIS_AT
    place = (x_pelvis if yaw_degrees > 0 else x_pelvis - _NARROW_MM, y_pelvis, 0)
    return np.rint(screen + place).astype(np.int64)


def _body(pose: np.ndarray) -> str:
    trunk = pose[[joint(n) for n in ("left_shoulder", "right_shoulder", "right_hip", "left_hip")]]
    head, neck = pose[joint("head"), :2], pose[joint("neck"), :2]
    up = (head - neck) / max(float(np.hypot(*(head - neck))), 1.0)
    skull = np.rint(head + 45 * up).astype(int)
    face = np.rint(pose[joint("left_eye_smplhf")] / 2 + pose[joint("right_eye_smplhf")] / 2)
    nose = (face[:2] + np.array((0, 28))).astype(int)
    eyes = "".join(
        f'<circle cx="{x}" cy="{y}" r="9" fill="#555"/>'
        for x, y in pose[[joint("left_eye_smplhf"), joint("right_eye_smplhf")], :2]
    )
    return (
        f'<path d="{_line(trunk[:, :2])}z" fill="#ddd" stroke="#ddd" stroke-width="90"/>'
        f'<path d="{_line([neck, head])}" stroke="#ccc" stroke-width="80"/>'
        f'<ellipse cx="{skull[0]}" cy="{skull[1]}" rx="84" ry="112" fill="#ccc" '
        f'transform="rotate({np.rad2deg(np.arctan2(up[0], -up[1])):.0f} {skull[0]} {skull[1]})"/>'
        f'{eyes}<circle cx="{nose[0]}" cy="{nose[1]}" r="11" fill="#aaa"/>'
    )


def _arms(pose: np.ndarray, gesture: Gesture) -> str:
    """Both arms with their hands, the nearer one on top."""
    order = sorted(_SIDES, key=lambda side: pose[joint(f"{side}_wrist"), 2])
    return "".join(
        _arm(pose, side, _COLOURS[side] if _path_of(gesture, side) else "#aaa") for side in order
    )


def _arm(pose: np.ndarray, side: str, colour: str) -> str:
    line = pose[[joint(f"{side}_{name}") for name in ("shoulder", "elbow", "wrist")], :2]
    return (
        f'<path d="{_line(line)}" stroke="#fff" stroke-width="62"/>'
        f'<path d="{_line(line)}" stroke="{colour}" stroke-width="46" opacity=".75"/>'
        f"{_hand(pose[:, :2], side, colour)}"
    )


def _hand(points: np.ndarray, side: str, colour: str) -> str:
    wrist = points[joint(f"{side}_wrist")]
    knuckles = [points[joint(f"{side}_{f}1")] for f in ("index", "middle", "ring", "pinky")]
    fingers = []
    for finger in FINGERS:
        bones = np.array([points[joint(f"{side}_{finger}{k}")] for k in (1, 2, 3)])
        tip = np.rint(bones[2] + 0.8 * (bones[2] - bones[1])).astype(np.int64)
        start = [wrist] if finger == "thumb" else []
        fingers.append(_line([*start, *bones, tip]))
    return (
        f'<path d="{_line([wrist, *knuckles])}z" fill="{colour}" stroke="{colour}" '
        f'stroke-width="22"/><path d="{"".join(fingers)}" stroke="{colour}" stroke-width="16"/>'
    )


def _palm_view(positions: np.ndarray, gesture: Gesture) -> str:
    """The leading hand with its fingers up, seen from between palm and thumb."""
    side = "right" if gesture.right is not None else "left"
    wrist = positions[joint(f"{side}_wrist")]
    up = positions[joint(f"{side}_middle1")] - wrist
    up = up / np.linalg.norm(up)
    to_thumb = positions[joint(f"{side}_index1")] - positions[joint(f"{side}_pinky1")]
    to_thumb = to_thumb - (to_thumb @ up) * up
    to_thumb = to_thumb / np.linalg.norm(to_thumb)
    out_of_palm = np.cross(up, to_thumb) if side == "left" else np.cross(to_thumb, up)
    # Facing a left palm, its thumb is on the reader's left.
    turned = np.cos(_PALM_YAW) * to_thumb + np.sin(_PALM_YAW) * out_of_palm
    x = (positions - wrist) @ (-turned if side == "left" else turned)
    flat = np.stack([x, -(positions - wrist) @ up], axis=-1) * 1000 * _PALM_SCALE
    flat = np.rint(flat + _PALM_AT).astype(np.int64)
    return f'<g opacity=".85">{_hand(flat, side, "#777")}</g>'


def _trail(way: np.ndarray, colour: str) -> str:
    """The way of a hand, with a dot where it ends."""
    steps = [point for point, _ in groupby(map(tuple, way))]
    if len(steps) < 3:
        return ""
    x, y = steps[-1]
    return (
        f'<path d="{_line(steps[::2])}" stroke="{colour}" stroke-width="10" opacity=".6" '
        f'stroke-dasharray="1 22"/><circle cx="{x}" cy="{y}" r="13" fill="#fff" '
        f'stroke="{colour}" stroke-width="8"/>'
    )


def _line(points: object) -> str:
    return "M" + " ".join(f"{x},{y}" for x, y in points)  # type: ignore[attr-defined]


def main(out: Path) -> None:
    """Writes the sheets gestures-1.svg, gestures-2.svg, … into OUT."""
    out.mkdir(parents=True, exist_ok=True)
    names = list(GESTURES)
    for number, first in enumerate(range(0, len(names), TYPES_A_SHEET), 1):
        types = {name: GESTURES[name] for name in names[first : first + TYPES_A_SHEET]}
        file = out / f"gestures-{number}.svg"
        file.write_text(sheet_svg(types), encoding="utf-8")
        typer.echo(f"{file}  {', '.join(types)}")


if __name__ == "__main__":
    typer.run(main)
