"""Where in a clip the gesture is: its stroke, and which hands make it.

A gesture unit leaves rest (preparation), does what it means (stroke, perhaps
held) and returns (retraction) (Kendon 1980; Kita, van Gijn & van der Hulst 1998).
Only the stroke is described. It is found from heights and speeds of the wrists:
preparation and retraction are the ways from and to a rest below the waist, up
to the first and from the last pause; of what lies between, the most active part
is taken. A stroke that sets out from rest itself cannot be told from a preparation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gestray.anchors import thresholds
from gestray.anchors.hand_tracks import HandTracks


def stroke_window(tracks: HandTracks) -> Tensor:
    """The frames of each clip's stroke, as a mask (B, T) of one unbroken run.

    One window serves both hands. A clip in which no hand is raised has its most
    active part instead; `participating` says whether that is a gesture.
    """
    height = tracks.palm[..., 1]  # (B, 2, T); padding repeats the last frame
    lowest = height.amin(dim=2, keepdim=True)
    is_up = height > (lowest + thresholds.RISEN).clamp(max=thresholds.WAIST_FROM)
    up = is_up & tracks.valid[:, None]
    # A hand that rests at the waist all the time, say on the other, is not up for a gesture.
    rests = _diagonal(tracks.wrist, tracks.valid) < thresholds.MOVED
    rests &= height.amax(dim=2) < thresholds.CHEST_FROM
    up &= ~rests[..., None]
    no_hand_up = ~up.any(dim=(1, 2))
    up = up | (no_hand_up[:, None] & tracks.valid)[:, None]
    # The speed of the faster one of the hands that are up.
    speed = (tracks.speed * up).amax(dim=1)

    unit = _best_run(up.any(dim=1), speed)
    inner = _without_ways_to_rest(unit, speed, tracks.valid)
    shortest, longest = (max(1, round(s * tracks.fps)) for s in thresholds.STROKE_SECONDS)
    # A hand that rises and sinks without a pause has its stroke in that very movement.
    enough = inner.sum(dim=1, keepdim=True) >= shortest
    return _busiest_part(torch.where(enough, inner, unit), speed, longest)


def participating(tracks: HandTracks, stroke: Tensor) -> Tensor:
    """Which hands take part in the gesture: bool (B, 2).

    Args:
        tracks: the clips' measurements.
        stroke: mask (B, T) from `stroke_window`.
    """
    moved = _diagonal(tracks.wrist, stroke)
    ranged = _diagonal(tracks.wrist, tracks.valid)
    height = masked_mean(tracks.palm[..., 1:], stroke)[..., 0]
    left_rest = ranged >= thresholds.LEFT_REST
    held_up = height >= thresholds.CHEST_FROM
    is_up = height >= thresholds.WAIST_FROM
    takes_part = torch.where(
        is_up,
        held_up | left_rest | (moved >= thresholds.MOVED),
        moved >= thresholds.MOVED_HANGING,
    )
    other = moved.flip(1)
    minor = (moved < thresholds.SECOND_HAND_SHARE * other) & ~held_up & ~left_rest
    return takes_part & ~(minor & takes_part.flip(1))


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over time (B, 2, C) of x (B, 2, T, C) where mask (B, T) holds."""
    weight = mask[:, None, :, None].to(x)
    return (x * weight).sum(dim=2) / weight.sum(dim=2).clamp_min(1)


def _diagonal(x: Tensor, mask: Tensor) -> Tensor:
    """Diagonal (B, 2) of the box around the points (B, 2, T, 3) where mask (B, T) holds."""
    outside = ~mask[:, None, :, None]
    top = x.masked_fill(outside, -torch.inf).amax(dim=2)
    bottom = x.masked_fill(outside, torch.inf).amin(dim=2)
    return (top - bottom).norm(dim=-1)


def _best_run(mask: Tensor, speed: Tensor) -> Tensor:
    """Of the unbroken runs of mask (B, T) the one with most movement, or the longest if still."""
    starts = mask & ~torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], dim=1)
    run = starts.cumsum(dim=1) * mask  # 1, 2, ... inside runs, 0 outside
    # A still frame weighs as much as a slow movement, so that a held gesture counts too.
    weight = torch.where(mask, speed.clamp_min(thresholds.STILL_SPEED), torch.zeros_like(speed))
    score = torch.zeros(len(mask), mask.shape[1] + 1).to(speed).scatter_add_(1, run, weight)
    return mask & (run == score.argmax(dim=1, keepdim=True))


def _without_ways_to_rest(unit: Tensor, speed: Tensor, valid: Tensor) -> Tensor:
    """Cuts preparation and retraction off runs (B, T) that start or end within their clip."""
    frames = unit.shape[1]
    frame = torch.arange(frames).expand_as(unit)
    first, last = first_and_last(unit)
    came_from_rest = first > 0
    goes_to_rest = last < valid.sum(dim=1) - 1
    start = torch.where(came_from_rest, _first_pause(unit, speed), first)
    from_end = _first_pause(unit.flip(1), speed.flip(1))
    end = torch.where(goes_to_rest, frames - 1 - from_end, last)
    return unit & (frame >= start[:, None]) & (frame <= end[:, None])


def _first_pause(unit: Tensor, speed: Tensor) -> Tensor:
    """First frame (B,) of runs (B, T) where the movement pauses; T where it never does.

    A pause is stillness, or a minimum of speed well below the peak before it.
    """
    frames = unit.shape[1]
    inside = torch.where(unit, speed, torch.zeros_like(speed))
    peak = inside.cummax(dim=1).values
    before = torch.cat([speed[:, :1], speed[:, :-1]], dim=1)
    after = torch.cat([speed[:, 1:], speed[:, -1:]], dim=1)
    is_minimum = (speed <= before) & (speed < after)
    low = is_minimum & (speed <= thresholds.PHASE_MINIMUM_SHARE * peak)
    pause = unit & (low | (speed < thresholds.STILL_SPEED))
    return torch.where(pause, torch.arange(frames), frames).amin(dim=1)


def _busiest_part(run: Tensor, speed: Tensor, longest: int) -> Tensor:
    """Runs (B, T) cut to at most `longest` frames: those with most movement, else the first."""
    frames = run.shape[1]
    frame = torch.arange(frames).expand_as(run)
    first, last = first_and_last(run)
    way = torch.where(run, speed, torch.zeros_like(speed)).cumsum(dim=1)
    way = torch.cat([torch.zeros_like(way[:, :1]), way], dim=1)  # before each frame, and after all
    within = way[:, (torch.arange(frames) + longest).clamp(max=frames)] - way[:, :-1]
    last_start = torch.maximum(first, last + 1 - longest)
    may_start = (frame >= first[:, None]) & (frame <= last_start[:, None])
    start = within.masked_fill(~may_start, -1.0).argmax(dim=1, keepdim=True)
    return run & (frame >= start) & (frame < start + longest)


def first_and_last(mask: Tensor) -> tuple[Tensor, Tensor]:
    """First and last frame (B,) where mask (B, T) holds; it must hold somewhere."""
    frames = torch.arange(mask.shape[1])
    first = torch.where(mask, frames, mask.shape[1]).amin(dim=1)
    return first, torch.where(mask, frames, -1).amax(dim=1)
