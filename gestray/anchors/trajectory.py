"""How a wrist travels during the stroke, and how two wrists travel together."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gestray.anchors import thresholds
from gestray.anchors.hand_tracks import HandTracks
from gestray.anchors.phases import first_and_last, masked_mean
from gestray.form import Amplitude, Direction, Path, Relation, Speed, Trajectory

STATIC = Trajectory(path="static", direction="none", repetitions=0, amplitude="none", speed="still")

# Of the chest's axes x, y, z: where their positive and negative ends point.
_ENDS: tuple[tuple[Direction, Direction], ...] = (
    ("left", "right"),
    ("up", "down"),
    ("forward", "backward"),
)
_MOST_REPETITIONS = 20
_MIRROR = torch.tensor([-1.0, 1.0, 1.0])


def trajectories(tracks: HandTracks, stroke: Tensor) -> list[tuple[Trajectory, Trajectory]]:
    """The trajectories of the left and the right hand in each clip's stroke.

    The path is classified in the plane of its two principal axes: by how often it
    swings along the first, by how far it bows out to one side on the way, and by how
    far it turns about its centre. The direction of a circle is that of its topmost point
    (its foremost point where it lies flat), which does not depend on where it starts.

    Args:
        tracks: measurements of B clips.
        stroke: mask (B, T), one unbroken run a clip.
    """
    mask = stroke[:, None].expand(-1, 2, -1)
    points = tracks.wrist - masked_mean(tracks.wrist, stroke)[:, :, None]
    points = points * mask[..., None]
    # Columns are the principal axes; eigh sorts them by growing variance.
    axes = torch.linalg.eigh(points.transpose(-1, -2) @ points)[1].flip(-1)
    along = points @ axes  # (B, 2, T, 3)
    extent = _range(along, mask[..., None])
    length, width = extent[..., 0], extent[..., 1] / extent[..., 0].clamp_min(1e-6)

    swings, sense = _swings(along[..., 0], mask)
    turn = _turn(along, mask)
    is_circle = (turn.abs() >= thresholds.CIRCLE_FROM_TURN) & (
        width >= thresholds.CIRCLE_FROM_WIDTH
    )
    heading = axes[..., 0] * sense[..., None]
    is_zigzag = (heading.abs().argmax(dim=-1) == 0) & (swings >= thresholds.ZIGZAG_FROM_SWINGS)
    is_arc = _bow(along, mask) >= thresholds.ARC_FROM_BOW * length
    heading = torch.where(is_circle[..., None], _circling(axes, turn), heading)
    rounds = (turn.abs() / (2 * math.pi)).round()
    # A pass is a swing in the direction of the first; the way back is not counted.
    repetitions = torch.where(is_circle, rounds, (swings + 1) // 2).clamp(1, _MOST_REPETITIONS)
    speed = _speed_while_moving(tracks.speed, mask)

    # 0 straight, 1 arc, 2 zigzag, 3 circle: the later wins.
    path = is_arc.long()
    path = torch.where(is_zigzag, 2, path)
    path = torch.where(is_circle, 3, path)
    hands = [
        _trajectory(*values)
        for values in zip(
            path.flatten().tolist(),
            heading.flatten(0, 1).tolist(),
            repetitions.flatten().long().tolist(),
            length.flatten().tolist(),
            speed.flatten().tolist(),
            strict=True,
        )
    ]
    return list(zip(hands[0::2], hands[1::2], strict=True))


def relations(tracks: HandTracks, stroke: Tensor, touching: Tensor) -> list[Relation]:
    """How the two hands of each clip relate in the stroke, given that both take part.

    Args:
        tracks: measurements of B clips.
        stroke: mask (B, T), one unbroken run a clip.
        touching: clips in which the hands are on each other all the time (B,).
    """
    left, right = tracks.wrist.unbind(1)
    gap = (left - right).norm(dim=-1)
    first, last = first_and_last(stroke)
    clip = torch.arange(len(stroke))
    change = gap[clip, last] - gap[clip, first]
    mask = stroke[:, None].expand(-1, 2, -1)
    moves = _range(tracks.wrist, mask[..., None]).norm(dim=-1) >= thresholds.SMALL_FROM
    way = (tracks.speed * mask).sum(dim=(1, 2)) / tracks.fps
    parting = (change.abs() >= thresholds.SEPARATION_CHANGE_FROM) & (
        change.abs() >= thresholds.SEPARATION_SHARE_FROM * way
    )

    velocity = tracks.velocity * mask[..., None]
    v_left, v_right = velocity.unbind(1)
    power = (velocity.square().sum(dim=(2, 3)).prod(dim=1)).sqrt().clamp_min(1e-9)
    mirrored = (v_left * v_right * _MIRROR).sum(dim=(1, 2)) / power
    parallel = (v_left * v_right).sum(dim=(1, 2)) / power
    place = masked_mean(tracks.wrist, stroke)
    apart_from_mirror = (place[:, 0] - place[:, 1] * _MIRROR).norm(dim=-1)
    mean_gap = (gap * stroke).sum(dim=1) / stroke.sum(dim=1)

    found: list[Relation] = []
    for b in range(len(stroke)):
        if touching[b]:
            found.append("touching")
        elif parting[b]:
            found.append("apart" if change[b] > 0 else "together")
        elif mean_gap[b] < thresholds.TOGETHER_BELOW and (
            not moves[b].any() or mirrored[b] >= parallel[b]
        ):
            found.append("together")
        elif not moves[b].all():
            at_mirror = apart_from_mirror[b] < thresholds.MIRROR_PLACE_BELOW
            found.append("mirror" if at_mirror else "parallel")
        elif max(mirrored[b], parallel[b]) < thresholds.ALTERNATING_BELOW:
            found.append("alternating")
        else:
            is_parallel = parallel[b] - mirrored[b] >= thresholds.PARALLEL_MARGIN
            found.append("parallel" if is_parallel else "mirror")
    return found


def _range(x: Tensor, mask: Tensor) -> Tensor:
    """Range over time (B, 2, C) of x (B, 2, T, C) where mask (B, 2, T, 1) holds."""
    top = x.masked_fill(~mask, -torch.inf).amax(dim=2)
    return top - x.masked_fill(~mask, torch.inf).amin(dim=2)


def _swings(u: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Swings of u (B, 2, T) from end to end of its range, and the sense (+1, -1) of the first.

    Counted with hysteresis: a swing has crossed the middle of the range whole, up or down.
    """
    low = u.masked_fill(~mask, torch.inf).amin(dim=2, keepdim=True)
    high = u.masked_fill(~mask, -torch.inf).amax(dim=2, keepdim=True)
    level = (u - low) / (high - low).clamp_min(1e-6)
    lower, upper = thresholds.SWING_LEVELS
    at_end = ((level > upper).long() - (level < lower).long()) * mask
    frame = torch.arange(u.shape[2]).expand_as(u)
    latest = torch.where(at_end != 0, frame, -1).cummax(dim=2).values
    end = torch.where(latest >= 0, at_end.gather(2, latest.clamp_min(0)), 0)
    crossed = (end[..., 1:] * end[..., :-1]) < 0
    first = torch.where(at_end != 0, frame, u.shape[2] - 1).amin(dim=2, keepdim=True)
    sense = -at_end.gather(2, first).squeeze(2)
    return crossed.sum(dim=2), torch.where(sense == 0, 1, sense)


def _bow(along: Tensor, mask: Tensor) -> Tensor:
    """How far (B, 2) a path bows out at the middle of its length, in the same way each time.

    Fitted as a parabola over the place along the first axis, by least squares over all
    frames, so that jitter averages out.

    Args:
        along: coordinates along the principal axes (B, 2, T, 3).
        mask: (B, 2, T).
    """
    weight = mask.to(along)
    u, aside = along[..., 0], along[..., 1:]
    half = _range(along[..., :1], mask[..., None])[..., 0] / 2
    u = u / half.clamp_min(1e-6)[..., None]
    terms = torch.stack([torch.ones_like(u), u, u * u], dim=-1) * weight[..., None]
    normal = terms.transpose(-1, -2) @ terms + 1e-4 * torch.eye(3)
    fitted = torch.linalg.solve(normal, terms.transpose(-1, -2) @ (aside * weight[..., None]))
    return fitted[..., 2, :].norm(dim=-1)


def _turn(along: Tensor, mask: Tensor) -> Tensor:
    """Angle (B, 2) in radians, signed, by which the path goes round its centre."""
    bearing = torch.atan2(along[..., 1], along[..., 0])
    step = bearing.diff(dim=2)
    step = torch.atan2(step.sin(), step.cos())
    return (step * (mask[..., 1:] & mask[..., :-1])).sum(dim=2)


def _circling(axes: Tensor, turn: Tensor) -> Tensor:
    """The direction (B, 2, 3) in which a circle passes its topmost or foremost point."""
    spin = torch.linalg.cross(axes[..., 0], axes[..., 1]) * turn.sign()[..., None]
    lies_flat = spin[..., 1:2].abs() > math.sqrt(0.5)
    outermost = torch.where(lies_flat, spin.new_tensor([0.0, 0, 1]), spin.new_tensor([0.0, 1, 0]))
    return torch.linalg.cross(spin, outermost)


def _speed_while_moving(speed: Tensor, mask: Tensor) -> Tensor:
    """Mean speed (B, 2) over the frames of the stroke in which the hand is not still."""
    moving = mask & (speed >= thresholds.STILL_SPEED)
    return (speed * moving).sum(dim=2) / moving.sum(dim=2).clamp_min(1)


def _trajectory(
    path: int, heading: list[float], repetitions: int, length: float, speed: float
) -> Trajectory:
    if length < thresholds.SMALL_FROM:
        return STATIC
    names: tuple[Path, ...] = ("straight", "arc", "zigzag", "circle")
    axis = max(range(3), key=lambda i: abs(heading[i]))
    amplitude: Amplitude = "small"
    if length >= thresholds.MEDIUM_FROM:
        amplitude = "large" if length >= thresholds.LARGE_FROM else "medium"
    pace: Speed = "slow"
    if speed >= thresholds.MODERATE_FROM:
        pace = "fast" if speed >= thresholds.FAST_FROM else "moderate"
    return Trajectory(
        path=names[path],
        direction=_ENDS[axis][0 if heading[axis] > 0 else 1],
        repetitions=repetitions,
        amplitude=amplitude,
        speed=pace,
    )
