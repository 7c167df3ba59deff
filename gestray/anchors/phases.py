"""Where in a clip the gesture is: its phases, and which hands make it.

A gesture unit leaves rest (preparation), does what it means (stroke), may stay there
(hold) and returns (retraction) (Kendon 1980; Kita, van Gijn & van der Hulst 1998).
Stroke and hold are described. They are found from heights and speeds of the wrists:
preparation and retraction are the ways from and to a posture that belongs to no
stroke, up to the first and from the last pause; of what lies between, the most active
part is taken.

Hands come to a new stroke from rest, or straight from an earlier gesture's hold. A way out
of a posture in which the hands stayed is a preparation unless they come back to it, as
beats do. A clip that begins or ends within a movement shows a part of it, which is left out.
A stroke that sets out from rest itself cannot be told from a preparation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gestray.anchors import thresholds
from gestray.anchors.hand_tracks import HandTracks, smoothed, velocity


@dataclass(frozen=True)
class Phases:
    """The phases of B gestures in frames, each (B,); every phase ends before the next begins.

    Attributes:
        start: first frame of the preparation.
        stroke: first frame of the stroke.
        hold: first frame of the hold, one past the stroke.
        retraction: one past stroke and hold.
        end: one past the retraction.
    """

    start: Tensor
    stroke: Tensor
    hold: Tensor
    retraction: Tensor
    end: Tensor

    def expression(self, frames: int) -> Tensor:
        """Mask (B, T) of stroke and hold: what is described."""
        return _between(self.stroke, self.retraction, frames)

    def movement(self, frames: int) -> Tensor:
        """Mask (B, T) of the stroke alone, or of the hold where there is no stroke."""
        held = (self.hold <= self.stroke)[:, None]
        stroke = _between(self.stroke, self.hold, frames)
        return torch.where(held, self.expression(frames), stroke)


def gesture_phases(tracks: HandTracks) -> Phases:
    """The phases of the gesture in each clip; both hands have the same.

    A clip in which no hand is raised has its most active part as stroke instead;
    `participating` says whether that is a gesture.
    """
    frames = tracks.valid.shape[1]
    up = _raised(tracks)
    of_hands = _calm_speed(tracks)
    speed = (of_hands * up).amax(dim=1)  # of the faster of the hands that are up
    unit = _best_run(up.any(dim=1), speed)
    first, last = first_and_last(unit)
    length = tracks.valid.sum(dim=1)
    place = torch.where(up[..., None], tracks.wrist, 0.0).transpose(1, 2).flatten(-2)
    clip = torch.arange(len(unit))
    returns = (place[clip, first] - place[clip, last]).norm(dim=-1) < thresholds.SAME_POSTURE

    # Seen backwards a retraction is a preparation; but where hands stay at the end of a
    # clip, that is a hold, unless it is the posture they came from.
    goes_to_rest = last < length - 1
    leaves, _ = _first_and_last_movement(unit, speed)
    stays = leaves - first >= thresholds.STAYED_S * tracks.fps
    came_from_elsewhere = stays | returns | goes_to_rest
    start = _start_of_stroke(unit, speed, place, tracks.fps, first > 0, came_from_elsewhere)
    end = frames - _start_of_stroke(
        unit.flip(1), speed.flip(1), place.flip(1), tracks.fps, goes_to_rest, returns
    )

    shortest, longest = (max(1, round(s * tracks.fps)) for s in thresholds.STROKE_SECONDS)
    # A hand that rises and sinks without a pause has its stroke in that very movement.
    enough = end - start >= shortest
    moves_first, moves_last = _first_and_last_movement(unit, speed)
    start = torch.where(enough, start, moves_first)
    end = torch.where(enough, end, moves_last + 1)
    start, end = _best_stroke(start, end, speed, place, tracks.fps)
    stroke, retraction = _busiest_part(start, end, speed, longest)
    hold = _start_of_hold(stroke, retraction, speed)
    # Ways from and to rest begin and end below where hands count as raised.
    takes_part = (up & _between(stroke, retraction, frames)[:, None]).any(dim=2)
    speed = (of_hands * takes_part[..., None]).amax(dim=1)
    return Phases(
        start=_way_out(stroke, speed, tracks.fps),
        stroke=stroke,
        hold=hold,
        retraction=retraction,
        end=torch.minimum(
            frames - _way_out(frames - retraction, speed.flip(1), tracks.fps),
            torch.maximum(length, retraction),
        ),
    )


def participating(tracks: HandTracks, expression: Tensor) -> Tensor:
    """Which hands take part in the gesture: bool (B, 2).

    Args:
        tracks: the clips' measurements.
        expression: mask (B, T) of stroke and hold.
    """
    moved = _diagonal(tracks.wrist, expression)
    ranged = _diagonal(tracks.wrist, tracks.valid)
    height = masked_mean(tracks.palm[..., 1:], expression)[..., 0]
    left_rest = ranged >= thresholds.LEFT_REST
    held_up = height >= thresholds.CHEST_FROM
    is_up = height >= thresholds.WAIST_FROM
    # Beside a raised hand, one that hangs only swings along.
    takes_part = torch.where(
        is_up,
        held_up | left_rest | (moved >= thresholds.MOVED),
        (moved >= thresholds.MOVED_HANGING) & ~is_up.flip(1),
    )
    other = moved.flip(1)
    minor = (moved < thresholds.SECOND_HAND_SHARE * other) & ~held_up
    return takes_part & ~(minor & takes_part.flip(1))


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over time (B, 2, C) of x (B, 2, T, C) where mask (B, T) holds."""
    weight = mask[:, None, :, None].to(x)
    return (x * weight).sum(dim=2) / weight.sum(dim=2).clamp_min(1)


def first_and_last(mask: Tensor) -> tuple[Tensor, Tensor]:
    """First and last frame (B,) where mask (B, T) holds; it must hold somewhere."""
    frames = torch.arange(mask.shape[1])
    first = torch.where(mask, frames, mask.shape[1]).amin(dim=1)
    return first, torch.where(mask, frames, -1).amax(dim=1)


def _raised(tracks: HandTracks) -> Tensor:
    """Where each hand is raised (B, 2, T); everywhere in a clip in which none is."""
    height = tracks.palm[..., 1]  # (B, 2, T); padding repeats the last frame
    lowest = height.amin(dim=2, keepdim=True)
    is_up = height > (lowest + thresholds.RISEN).clamp(max=thresholds.WAIST_FROM)
    up = is_up & tracks.valid[:, None]
    # A hand that rests at the waist all the time, say on the other, is not up for a gesture.
    rests = _diagonal(tracks.wrist, tracks.valid) < thresholds.MOVED
    rests &= height.amax(dim=2) < thresholds.CHEST_FROM
    up &= ~rests[..., None]
    no_hand_up = ~up.any(dim=(1, 2))
    return up | (no_hand_up[:, None] & tracks.valid)[:, None]


def _calm_speed(tracks: HandTracks) -> Tensor:
    """Speed of the wrists (B, 2, T), smoothed so that jitter makes no pauses."""
    wrist = smoothed(tracks.wrist, thresholds.PAUSE_SMOOTHING_S * tracks.fps)
    return velocity(wrist, tracks.fps).norm(dim=-1)


def _best_run(mask: Tensor, speed: Tensor) -> Tensor:
    """Of the unbroken runs of mask (B, T) the one with most movement, or the longest if still."""
    starts = mask & ~torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], dim=1)
    run = starts.cumsum(dim=1) * mask  # 1, 2, ... inside runs, 0 outside
    # A still frame weighs as much as a slow movement, so that a held gesture counts too.
    weight = torch.where(mask, speed.clamp_min(thresholds.STILL_SPEED), torch.zeros_like(speed))
    score = torch.zeros(len(mask), mask.shape[1] + 1).to(speed).scatter_add_(1, run, weight)
    return mask & (run == score.argmax(dim=1, keepdim=True))


def _start_of_stroke(
    unit: Tensor, speed: Tensor, place: Tensor, fps: float, from_rest: Tensor, from_posture: Tensor
) -> Tensor:
    """First frame (B,) of what follows the preparation in runs (B, T).

    Args:
        unit: mask of the runs.
        speed: of the hands (B, T).
        place: of the hands (B, T, 6).
        fps: frames per second.
        from_rest: runs that begin after their clip does (B,).
        from_posture: runs that begin in a posture which may be none of the gesture's (B,).
    """
    frames = unit.shape[1]
    frame = torch.arange(frames)
    clip = torch.arange(len(unit))
    first, _ = first_and_last(unit)
    # Of a run that starts in a posture: when the hands pause next elsewhere.
    posture = place[clip, first][:, None]
    away = (place - posture).norm(dim=-1)
    has_left = (unit & (away >= thresholds.LEFT_POSTURE)).cummax(dim=1).values
    arrives = _first_pause(unit & has_left, speed)
    way = away[clip, arrives.clamp(max=frames - 1)][:, None]
    # Hands that come back to the posture and leave it again move to and from it.
    comes_back = unit & (frame >= arrives[:, None]) & (away <= thresholds.COMES_BACK_SHARE * way)
    leaves_again = comes_back.cummax(dim=1).values & unit & (away >= 0.5 * way)
    after_posture = torch.where(from_posture & ~leaves_again.any(dim=1), arrives, first)
    # A clip that begins within a movement is at speed at once.
    soon = _between(first, first + round(thresholds.LEG_SECONDS * fps), frames)
    peak = torch.where(soon, speed, 0.0).amax(dim=1)
    at_speed = (speed[clip, first] >= thresholds.AT_SPEED_SHARE * peak) & (
        speed[clip, first] >= thresholds.STILL_SPEED
    )
    start = torch.where(from_rest | at_speed, _first_pause(unit, speed), after_posture)
    return torch.where(start < frames, start, first)


def _first_and_last_movement(unit: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
    """First and last frame (B,) of runs (B, T) in which hands move; of the run if they never do."""
    moving = unit & (speed >= thresholds.IDLE_SPEED)
    return first_and_last(torch.where(moving.any(dim=1, keepdim=True), moving, unit))


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


def _best_stroke(
    start: Tensor, end: Tensor, speed: Tensor, place: Tensor, fps: float
) -> tuple[Tensor, Tensor]:
    """Of the strokes between `start` and `end` (B,) the one with most movement, and its hold.

    Movements from one pause to the next are legs. Legs to and fro are one stroke, and so are
    legs that go on in the same direction without a stop; a leg that goes nowhere is
    part of the hold before it.

    Args:
        start, end: first frame and one past the last (B,).
        speed: of the hands (B, T).
        place: of the hands (B, T, 6).
        fps: frames per second.
    """
    clips, frames = speed.shape
    frame = torch.arange(frames)
    inside = _between(start, end, frames)
    # Each leg ends with the frame of its pause. Frames outside belong to leg 0.
    breaks = _pauses(speed, fps) & inside & (frame > start[:, None]) & (frame < end[:, None] - 1)
    leg = (
        torch.cat([torch.zeros_like(breaks[:, :1]), breaks[:, :-1]], dim=1).cumsum(1) + 1
    ) * inside
    count = int(leg.max()) + 1
    last = torch.zeros(clips, count, dtype=torch.long).scatter_reduce_(
        1, leg, frame.expand_as(leg), "amax"
    )
    last[:, 0] = start
    last = last.cummax(dim=1).values  # legs that a clip lacks end where its last one does
    points = place.gather(1, last[..., None].expand(-1, -1, place.shape[-1]))
    legs = points.diff(dim=1)  # (B, L, 6), from leg 1 on
    length = legs.norm(dim=-1)
    weight = torch.where(inside, speed.clamp_min(thresholds.STILL_SPEED), 0.0)
    way = torch.zeros(clips, count).scatter_add_(1, leg, weight / fps)[:, 1:]

    before, after = legs[:, :-1], legs[:, 1:]
    longer = torch.maximum(length[:, :-1], length[:, 1:])
    returns = (before + after).norm(dim=-1) <= (
        (thresholds.COMES_BACK_SHARE * longer).clamp_min(thresholds.MOVED)
    )
    along = (before * after).sum(-1) / (length[:, :-1] * length[:, 1:]).clamp_min(1e-9)
    runs_on = (along >= thresholds.SAME_WAY) & (
        speed.gather(1, last[:, 1:-1]) >= thresholds.STILL_SPEED
    )
    is_still = (length < thresholds.MOVED) & (way < 2 * thresholds.MOVED)
    joined = returns | runs_on | is_still[:, 1:]
    group = torch.cat([torch.zeros(clips, 1, dtype=torch.long), (~joined).cumsum(dim=1)], dim=1)
    score = torch.zeros_like(way).scatter_add_(1, group, way)
    best = score.argmax(dim=1, keepdim=True)
    number = torch.arange(count - 1)
    first_leg = torch.where(group == best, number, count).amin(dim=1, keepdim=True)
    last_leg = torch.where(group == best, number, -1).amax(dim=1, keepdim=True)
    return last.gather(1, first_leg)[:, 0], last.gather(1, last_leg + 1)[:, 0] + 1


def _pauses(speed: Tensor, fps: float) -> Tensor:
    """Frames (B, T) at which a movement pauses between two that are clearly faster."""
    reach = max(1, round(thresholds.LEG_SECONDS * fps))
    wide = torch.nn.functional.pad(speed[:, None], (reach, reach), value=0.0)
    peaks = torch.nn.functional.max_pool1d(wide, reach + 1, 1)[:, 0]
    lower_peak = torch.minimum(peaks[:, : speed.shape[1]], peaks[:, -speed.shape[1] :])
    before = torch.cat([speed[:, :1], speed[:, :-1]], dim=1)
    after = torch.cat([speed[:, 1:], speed[:, -1:]], dim=1)
    is_minimum = (speed <= before) & (speed < after)
    return is_minimum & (speed <= thresholds.PHASE_MINIMUM_SHARE * lower_peak)


def _busiest_part(first: Tensor, end: Tensor, speed: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Runs from `first` to `end` (B,) cut to `longest` frames: those with most movement."""
    frames = speed.shape[1]
    frame = torch.arange(frames)
    way = torch.where(_between(first, end, frames), speed, 0.0).cumsum(dim=1)
    way = torch.cat([torch.zeros_like(way[:, :1]), way], dim=1)  # before each frame, and after all
    within = way[:, (frame + longest).clamp(max=frames)] - way[:, :-1]
    last_start = torch.maximum(first, end - longest)
    may_start = (frame >= first[:, None]) & (frame <= last_start[:, None])
    start = within.masked_fill(~may_start, -1.0).argmax(dim=1)
    return start, torch.minimum(end, start + longest)


def _start_of_hold(stroke: Tensor, end: Tensor, speed: Tensor) -> Tensor:
    """First frame (B,) from which the hands stay until `end`."""
    frames = speed.shape[1]
    moves = _between(stroke, end, frames) & (speed >= thresholds.HOLD_SPEED)
    return (torch.where(moves, torch.arange(frames), -1).amax(dim=1) + 1).clamp_min(stroke)


def _way_out(stroke: Tensor, speed: Tensor, fps: float) -> Tensor:
    """First frame (B,) of the unbroken movement to `stroke`; hands may wait there for a moment."""
    frames = speed.shape[1]
    frame = torch.arange(frames)
    still = speed < thresholds.STILL_SPEED
    before = frame < stroke[:, None]
    arrives = torch.where(~still & before, frame, -1).amax(dim=1)
    leaves = torch.where(still & (frame < arrives[:, None]), frame, -1).amax(dim=1) + 1
    waits = stroke - 1 - arrives
    has_way = (arrives >= 0) & (waits < thresholds.LONG_HOLD_FROM * fps)
    return torch.where(has_way, leaves, stroke)


def _between(first: Tensor, end: Tensor, frames: int) -> Tensor:
    frame = torch.arange(frames)
    return (frame >= first[:, None]) & (frame < end[:, None])


def _diagonal(x: Tensor, mask: Tensor) -> Tensor:
    """Diagonal (B, 2) of the box around the points (B, 2, T, 3) where mask (B, T) holds."""
    outside = ~mask[:, None, :, None]
    top = x.masked_fill(outside, -torch.inf).amax(dim=2)
    bottom = x.masked_fill(outside, torch.inf).amin(dim=2)
    return (top - bottom).norm(dim=-1)
