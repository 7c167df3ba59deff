"""What the hands touch: the head, the chest, or each other.

There is no skin on a skeleton, so head and chest are simple bodies about its joints: the
head a capsule from the chin to the crown that turns with the skull, the chest an
elliptic cylinder about the spine. A hand touches what one of its points is near.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gestray.anchors import thresholds
from gestray.anchors.hand_tracks import HandTracks
from gestray.anchors.phases import first_and_last
from gestray.form import Contact

_CONTACTS: tuple[Contact, ...] = ("none", "other hand", "chest", "head")


def contacts(tracks: HandTracks, expression: Tensor) -> tuple[list[list[Contact]], Tensor]:
    """What the left and the right hand of each clip touch in the gesture.

    A hand touches what it arrives at or stays on; what it sets out from or passes does not
    count.

    Args:
        tracks: measurements of B clips.
        expression: mask (B, T) of stroke and hold.

    Returns:
        The contacts, and whether the hands are on each other all through the gesture (B,).
    """
    touches = torch.stack(
        [
            between_hands(tracks)[:, None].expand(-1, 2, -1) < thresholds.HANDS_CONTACT,
            _to_chest(tracks) < thresholds.CHEST_CONTACT,
            _to_head(tracks) < thresholds.HEAD_CONTACT,
        ],
        dim=-1,
    )  # (B, 2, T, 3)
    _, last = first_and_last(expression)
    frame = torch.arange(expression.shape[1])
    arrival = expression & (frame > last[:, None] - thresholds.CONTACT_S * tracks.fps)
    share = _share(touches, expression)
    found = (share >= thresholds.CONTACT_SHARE) | (_share(touches, arrival) > 0.5)
    # Hands on the chest or the head may touch each other as well.
    code = torch.where(found, torch.arange(1, len(_CONTACTS)), 0).amax(dim=-1)
    stay = (share[..., 0] >= thresholds.TOUCHING_SHARE) & (code == 1)
    return [[_CONTACTS[c] for c in hands] for hands in code.tolist()], stay.all(dim=1)


def _share(holds: Tensor, mask: Tensor) -> Tensor:
    """Share (B, H, C) of the frames of mask (B, T) in which holds (B, H, T, C) does."""
    weight = mask[:, None, :, None]
    return (holds & weight).sum(dim=2) / weight.sum(dim=2).clamp_min(1)


def between_hands(tracks: HandTracks) -> Tensor:
    """Distance (B, T) of the nearest points of both hands."""
    left, right = tracks.points.unbind(1)
    return torch.cdist(left, right).amin(dim=(-1, -2))


def _to_head(tracks: HandTracks) -> Tensor:
    """Distance (B, 2, T) from the hand to the surface of the head; negative inside."""
    ends = torch.tensor([thresholds.CHIN, thresholds.CROWN])
    chin, crown = (tracks.head[..., None, :] + ends @ tracks.head_rotation.mT).unbind(-2)
    axis = (crown - chin)[:, None, :, None]
    from_chin = tracks.points - chin[:, None, :, None]
    share = (from_chin * axis).sum(-1, keepdim=True) / axis.square().sum(-1, keepdim=True)
    away = from_chin - share.clamp(0, 1) * axis
    return away.norm(dim=-1).amin(dim=-1) - thresholds.HEAD_RADIUS


def _to_chest(tracks: HandTracks) -> Tensor:
    """Distance (B, 2, T) from the hand to the front of the chest; negative inside."""
    x, y, z = tracks.points.unbind(-1)
    half_width, half_depth = thresholds.CHEST_HALF_WIDTH, thresholds.CHEST_HALF_DEPTH
    outward = torch.hypot(x / half_width, (z - thresholds.CHEST_MIDDLE_Z) / half_depth)
    away = (outward - 1) * half_depth
    low, high = thresholds.CHEST_HEIGHTS
    is_at_chest = (y >= low) & (y < high) & (z > thresholds.CHEST_MIDDLE_Z)
    return away.masked_fill(~is_at_chest, torch.inf).amin(dim=-1)
