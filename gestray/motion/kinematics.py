"""Forward kinematics on the SMPL-X tree, and the mirroring of motions.

Joint positions feed metrics, losses and the geometry of anchors, and are computed
for millions of frames: the tree is walked level by level (10 levels for 55 joints),
every frame and every joint of a level at once.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from gestray.errors import UserError
from gestray.motion.rotations import axis_angle_to_matrix
from gestray.motion.skeleton import JOINT_NAMES, PARENT_OF, REST_OFFSETS, mirror_permutation

_JOINTS = len(JOINT_NAMES)
# A copy: `torch.compile` makes arrays that it comes across writeable.
_REST_OFFSETS = torch.tensor(REST_OFFSETS)


@cache
def _tree(device: torch.device) -> tuple[tuple[tuple[Tensor, Tensor], ...], Tensor]:
    """How to walk the tree on `device`.

    Returns:
        Per level below the root, its joints and where each one's parent stands in the
        level above; and each joint's place in the concatenation of all levels.
    """
    levels: list[tuple[list[int], list[int]]] = []
    order = above = [0]
    while joints := [j for j in range(_JOINTS) if PARENT_OF[j] in above]:
        levels.append((joints, [above.index(PARENT_OF[j]) for j in joints]))
        above = joints
        order = order + joints
    # Tensors made in inference mode could not take part in training later.
    with torch.inference_mode(False):
        return (
            tuple(
                (torch.tensor(j, device=device), torch.tensor(p, device=device)) for j, p in levels
            ),
            torch.tensor([order.index(j) for j in range(_JOINTS)], device=device),
        )


@torch.compiler.assume_constant_result
def _walk(device: torch.device) -> Any:
    """`_tree`, which compiled code takes as it finds it."""
    return _tree(device)


@torch.autocast("cuda", enabled=False)  # in bfloat16, hands would be millimetres away
def forward_kinematics(
    rotations: Tensor, trans: Tensor | None = None, rest_offsets: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Global joint positions and rotations of SMPL-X poses.

    A joint's rotation is relative to its parent; a joint stands at its parent's
    position plus its rest offset turned by its parent's global rotation
    (Loper et al. 2015, "SMPL", eq. 3-4, joints only).

    Args:
        rotations: local rotation matrices (..., 55, 3, 3).
        trans: translation of the body in metres (..., 3); none keeps the pelvis in
            place. As in SMPL-X it is added to the rest position of the pelvis.
        rest_offsets: offsets from the parent in metres (55, 3) or (..., 55, 3);
            default `skeleton.REST_OFFSETS`. The pelvis' own offset counts as its
            rest position.

    Returns:
        Positions in metres (..., 55, 3) and global rotation matrices (..., 55, 3, 3).
        Differentiable in all inputs.

    Raises:
        UserError: `rotations` has not the shape (..., 55, 3, 3).
    """
    if rotations.shape[-3:] != (_JOINTS, 3, 3):
        raise UserError(
            f"rotations have shape {tuple(rotations.shape)}, expected (..., {_JOINTS}, 3, 3)"
        )
    if rest_offsets is None:
        rest_offsets = _REST_OFFSETS
    # Joints come first while walking the tree, so that a level is a plain block of memory.
    local = rotations.movedim(-3, 0)
    offsets = rest_offsets.to(rotations).expand(*rotations.shape[:-2], 3).movedim(-2, 0)
    levels, joint_order = _walk(rotations.device)

    turned, placed = [local[:1]], [offsets[:1]]
    for joints, parents in levels:
        parent = turned[-1].index_select(0, parents)
        offset = offsets.index_select(0, joints).unsqueeze(-1)
        placed.append(placed[-1].index_select(0, parents) + (parent @ offset).squeeze(-1))
        turned.append(parent @ local.index_select(0, joints))
    positions = torch.cat(placed).index_select(0, joint_order).movedim(0, -2)
    global_rotations = torch.cat(turned).index_select(0, joint_order).movedim(0, -3)

    if trans is not None:
        positions = positions + trans.to(positions).unsqueeze(-2)
    return positions, global_rotations


@cache
def _chains(joints: tuple[int, ...], device: torch.device) -> tuple[Any, ...]:
    """How to walk the chains that `joints` make on `device`.

    Returns:
        Per level, first the joints that hang from none of `joints`: each one's place in
        `joints`; those among the level's that move others, by place in the level, once for each
        joint moved; the joints moved; and which of these are in `joints` and so go on.
        Last, where `moved_by` finds each in the concatenation of all levels.
    """
    level = [j for j in joints if PARENT_OF[j] not in joints]
    levels, order = [], []
    with torch.inference_mode(False):

        def tensor(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        while level:
            moved = [j for j in range(_JOINTS) if PARENT_OF[j] in level]
            onward = [j for j in moved if j in joints]
            levels.append(
                (
                    tensor([joints.index(j) for j in level]),
                    tensor([level.index(PARENT_OF[j]) for j in moved]),
                    tensor(moved),
                    tensor([moved.index(j) for j in onward]),
                )
            )
            order += moved
            level = onward
        return tuple(levels), tensor([order.index(j) for j in moved_by(joints)])


@torch.compiler.assume_constant_result
def _walk_of(joints: tuple[int, ...], device: torch.device) -> Any:
    return _chains(joints, device)


def moved_by(joints: tuple[int, ...]) -> tuple[int, ...]:
    """The joints that the rotations of `joints` move, in order: their children."""
    return tuple(j for j in range(_JOINTS) if PARENT_OF[j] in joints)


@torch.autocast("cuda", enabled=False)
def chain_positions(
    rotations: Tensor, joints: tuple[int, ...], rest_offsets: Tensor | None = None
) -> Tensor:
    """Positions of what a part of the body moves, in the frames that the part hangs from.

    Each chain of `joints` starts at a joint whose parent is not among them, and is
    seen from there: fingers from their wrist, whatever the arm does. So the error of a
    part is its own, and no more of the tree is walked than the part needs.

    Args:
        rotations: local rotation matrices (..., J, 3, 3) of `joints`.
        joints: the part.
        rest_offsets: offsets from the parent in metres (55, 3); default
            `skeleton.REST_OFFSETS`.

    Returns:
        Positions in metres (..., M, 3) of `moved_by(joints)`.
    """
    if rotations.shape[-3:] != (len(joints), 3, 3):
        raise UserError(
            f"rotations have shape {tuple(rotations.shape)}, expected (..., {len(joints)}, 3, 3)"
        )
    if rest_offsets is None:
        rest_offsets = _REST_OFFSETS
    joint_dim = rotations.ndim - 3
    local = rotations.movedim(joint_dim, 0)
    offsets = rest_offsets.to(rotations)
    levels, order = _walk_of(joints, rotations.device)
    if not len(order):
        return rotations.new_zeros(*rotations.shape[:-3], 0, 3)
    placed: list[Tensor] = []
    turned = at = None
    for own, parents, moved, onward in levels:
        own_local = local.index_select(0, own)
        turned = own_local if turned is None else turned @ own_local
        if not len(moved):
            break
        parent = turned.index_select(0, parents)
        offset = offsets.index_select(0, moved)[(slice(None), *[None] * (local.ndim - 3))]
        step = (parent @ offset[..., None]).squeeze(-1)
        placed.append(step if at is None else at.index_select(0, parents) + step)
        at = placed[-1].index_select(0, onward)
        turned = parent.index_select(0, onward)
    return torch.cat(placed).index_select(0, order).movedim(0, joint_dim)


def joint_positions(
    poses: Tensor, trans: Tensor | None = None, rest_offsets: Tensor | None = None
) -> Tensor:
    """Global joint positions (..., 55, 3) in metres of axis-angle poses (..., 165).

    Args:
        poses: axis-angle in radians (..., 165), joint by joint.
        trans: see `forward_kinematics`.
        rest_offsets: see `forward_kinematics`.
    """
    if poses.shape[-1] != _JOINTS * 3:
        raise UserError(f"poses have shape {tuple(poses.shape)}, expected (..., {_JOINTS * 3})")
    rotations = axis_angle_to_matrix(poses.unflatten(-1, (_JOINTS, 3)))
    return forward_kinematics(rotations, trans, rest_offsets)[0]


def mirror_poses(poses: Tensor) -> Tensor:
    """The motion of a speaker seen in a mirror: left and right change places.

    Args:
        poses: axis-angle in radians (..., 165).

    Returns:
        (..., 165). Reflection across x = 0 conjugates each rotation, which keeps
        the axis' x component and negates the others. Applied twice it is the
        identity; mirrored joint positions are the reflection of the original ones
        (translations mirror by negating x).
    """
    if poses.shape[-1] != _JOINTS * 3:
        raise UserError(f"poses have shape {tuple(poses.shape)}, expected (..., {_JOINTS * 3})")
    swapped = poses.unflatten(-1, (_JOINTS, 3))[..., mirror_permutation().tolist(), :]
    return (swapped * swapped.new_tensor([1.0, -1.0, -1.0])).flatten(-2)
