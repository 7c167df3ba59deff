"""SMPL-X motion on another skeleton, as BVH: the way back from `gestray.motion.retarget`.

There, G(t) = W · Q(t) · R⁻¹ · M gives the joints' rotations in the world from those of a
BVH figure; here the figure's follow from the joints', Q(t) = W⁻¹ · G(t) · M⁻¹ · R, and
so the bones of its limbs point where the motion's do. Joints of the figure that the map does
not name keep their rest relative to their parent. The path is scaled back by the ratio of
standing heights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from gestray.errors import BadInput, UserError
from gestray.motion.bvh import Bvh, BvhJoint, format_bvh, parse_bvh
from gestray.motion.bvh_figure import bone_end, smplx_figure
from gestray.motion.export.clip import MotionClip, grounded
from gestray.motion.kinematics import forward_kinematics
from gestray.motion.retarget import BvhFigure
from gestray.motion.skeleton import JOINT_NAMES, PARENTS, REST_OFFSETS, joint
from gestray.motion.skeleton_map import UNITS, SkeletonMap, load_map

_CHANNELS = ("Zrotation", "Xrotation", "Yrotation")
_PATH = ("Xposition", "Yposition", "Zposition")


def bvh_of(clip: MotionClip, skeleton: str | None = None, rig: str | None = None) -> str:
    """A clip, standing on the floor, as the text of a BVH file.

    Args:
        clip: the motion.
        skeleton: name or YAML file of a skeleton map; None: the 55 joints.
        rig: BVH file with the figure to move; None: one with SMPL-X's bones and the map's names.

    Raises:
        UserError: no such map or file, or the rig is not what the map says.
    """
    clip = grounded(clip)
    if skeleton is None:
        return format_bvh(smplx_figure(clip.poses, clip.trans, clip.fps))
    names = load_map(skeleton)
    if rig is None:
        # Its zero pose is the T-pose, whatever that of the recordings is that the map is for.
        names = names.model_copy(update={"rest": "zero"})
        figure = figure_of(names)
    else:
        try:
            with Path(rig).open("rb") as stream:
                figure = parse_bvh(stream, rig)
        except OSError as error:
            raise UserError(f"rig {rig}: cannot be read: {error.strerror}") from None
    return format_bvh(moved(figure, names, clip, rig or skeleton))


def figure_of(skeleton: SkeletonMap) -> Bvh:
    """A figure with the names, units and up axis of a map and the bones of SMPL-X, at rest.

    Joints that the map does not name are not there; where a map has several names for a
    joint, the first one that is free is taken.
    """
    units = 0.01 if skeleton.units == "detect" else skeleton.units
    scale = 1 / (UNITS[units] if isinstance(units, str) else units)
    turn = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]) if skeleton.up == "z" else np.eye(3)
    used: dict[int, str] = {}
    for name, choices in skeleton.joints.items():  # in the map's order, as it is read
        if free := [choice for choice in choices if choice not in used.values()]:
            used[joint(name)] = free[0]
    number: dict[int, int] = {}
    joints: list[BvhJoint] = []
    for j in sorted(used):
        offset, above = REST_OFFSETS[j].astype(np.float64), int(PARENTS[j])
        while above >= 0 and above not in used:
            offset, above = offset + REST_OFFSETS[above], int(PARENTS[above])
        children = [c for c in range(len(JOINT_NAMES)) if PARENTS[c] == j]
        is_last = not any(_descends(c, j) for c in used if c != j)
        end = None
        if is_last:
            end = bone_end(j) if not children else REST_OFFSETS[children[0]].astype(np.float64)
        number[j] = len(joints)
        joints.append(
            BvhJoint(
                used[j],
                number.get(above, -1),
                scale * turn @ offset,
                _CHANNELS if joints else (*_PATH, *_CHANNELS),
                None if end is None else scale * turn @ end,
            )
        )
    return Bvh(tuple(joints), np.zeros((1, sum(len(j.channels) for j in joints))), 30.0)


def _descends(child: int, parent: int) -> bool:
    while child > parent:
        child = int(PARENTS[child])
    return child == parent


def moved(figure: Bvh, skeleton: SkeletonMap, clip: MotionClip, file: str) -> Bvh:
    """The figure in the clip's motion.

    Args:
        figure: its own motion counts only where the map's rest pose is its first frame.
        skeleton: names its joints.
        clip: with a path.
        file: the figure's name, for errors.

    Raises:
        BadInput: the figure does not fit the map, or nothing in it can take the path.
    """
    if not figure.num_frames:
        figure = Bvh(figure.joints, np.zeros((1, figure.motion.shape[1])), figure.fps)
    target = BvhFigure(figure, skeleton, file)
    rotations = roma.rotvec_to_rotmat(
        torch.from_numpy(clip.poses.astype(np.float64)).unflatten(-1, (-1, 3))
    )
    wanted = roma.rotmat_to_unitquat(forward_kinematics(rotations)[1])
    to_figure = roma.quat_conjugation(target.to_y_up)
    alignment, at_rest = target.rest_alignment(), target.rest_rotations(skeleton)
    source = {int(b): j for j, b in enumerate(target.match.sources) if b >= 0}
    columns = figure.columns("rotation")
    frames = len(clip)
    turned: list[Tensor] = []
    local: list[Tensor] = []
    for b, bone in enumerate(figure.joints):
        parent = turned[bone.parent] if bone.parent >= 0 else _still(frames)
        if b in source and len(columns[b]) == 3:
            j = source[b]
            ours = _product(to_figure, wanted[:, j])
            turned.append(_product(ours, roma.quat_conjugation(alignment[j])))
            local.append(_product(roma.quat_conjugation(parent), turned[-1]))
        else:
            local.append(at_rest[b].expand(frames, 4))
            turned.append(_product(parent, local[-1]))
    motion = np.zeros((frames, figure.motion.shape[1]))
    for bone, quaternions, where in zip(figure.joints, local, columns, strict=True):
        order = "".join(name[0] for name in bone.channels if "rotation" in name)
        if len(order) == 3:
            motion[:, where] = roma.unitquat_to_euler(order, quaternions, degrees=True).numpy()
    _set_path(motion, figure, target, turned, clip, file)
    return Bvh(figure.joints, motion, clip.fps)


def _set_path(
    motion: np.ndarray,
    figure: Bvh,
    target: BvhFigure,
    turned: list[Tensor],
    clip: MotionClip,
    file: str,
) -> None:
    """Fill in the position channels: the pelvis' path, and everywhere else the offset."""
    columns = figure.columns("position")
    axes = [["XYZ".index(n[0]) for n in j.channels if "position" in n] for j in figure.joints]
    for b, bone in enumerate(figure.joints):
        motion[:, columns[b]] = bone.offset[axes[b]]
    assert clip.trans is not None, "grounded clips have a path"
    metres = torch.from_numpy(clip.trans.astype(np.float64))
    place = roma.quat_action(_spread(roma.quat_conjugation(target.to_y_up), metres), metres)
    place = place / (target.figure.units * target.height_ratio())
    chain = [int(target.match.sources[joint("pelvis")])]
    while figure.joints[chain[-1]].parent >= 0:
        chain.append(figure.joints[chain[-1]].parent)
    offsets = [torch.from_numpy(bone.offset).expand(len(motion), 3) for bone in figure.joints]
    while chain and len(axes[chain[0]]) < 3:
        # What cannot move hangs from what can.
        b = chain.pop(0)
        if chain:
            place = place - roma.quat_action(turned[chain[0]], offsets[b])
    if not chain:
        raise BadInput(file, "CHANNELS", "no joint with a position at or above the pelvis", "one")
    mover, *above = chain
    for b in above:
        parent = figure.joints[b].parent
        step = offsets[b] if parent < 0 else roma.quat_action(turned[parent], offsets[b])
        place = place - step
    if above:
        place = roma.quat_action(roma.quat_conjugation(turned[above[0]]), place)
    motion[:, columns[mover]] = place.numpy()[:, axes[mover]]


def _still(frames: int) -> Tensor:
    return torch.tensor([0.0, 0, 0, 1], dtype=torch.float64).expand(frames, 4)


def _spread(one: Tensor, many: Tensor) -> Tensor:
    return one.expand(len(many), 4)


def _product(a: Tensor, b: Tensor) -> Tensor:
    a, b = torch.broadcast_tensors(a, b)
    return roma.quat_product(a, b)
