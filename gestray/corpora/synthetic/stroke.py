"""One gesture made concrete: a variant of a gesture type, jittered and laid out in frames.

A stroke is a path of the wrist and a law of time along it. Hands move from rest to rest
along minimum-jerk profiles (Flash and Hogan 1985): every pass starts and ends at zero
speed, so strokes join preparation and retraction without a jolt. Circles alone
run through, with a smooth start and end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from gestray.corpora.synthetic.gesture import PALM_NORMALS, GestureType, HandStroke, Variant
from gestray.corpora.synthetic.hands import HAND_SHAPES
from gestray.corpora.synthetic.speakers import Speaker
from gestray.form import Hold

FPS = 30

# Standard deviations of what differs from one performance to the next.
_PLACE_JITTER = 0.018  # arm lengths
_DIRECTION_JITTER = 0.05  # of a unit vector, about 3 degrees
# A hand that touches something goes where that is: its place and direction differ by less.
_CONTACT_SHARE = 0.25
# Least and most seconds that hands stay at the end of the stroke. Between the words lie
# stretches that one person would call brief and another one not; a hold that the keyword
# draws out goes on to the next word.
_HOLD_S: dict[Hold, tuple[float, float]] = {
    "none": (0.0, 0.06),
    "brief": (0.27, 0.4),
    "long": (0.62, 1.0),
}
# Of a flick, the way to its lowest point and the way back, seconds.
_FLICK_S = (0.16, 0.24)
# Share of a circling movement that passes while it gathers and loses speed.
_CIRCLE_RAMP = 0.15
# Frames over which one hand shape of a sequence turns into the next.
_SHAPE_CHANGE_FRAMES = 4

# How much of a movement is done at each time: passes and returns, or rounds, after seconds (F,).
Law = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class HandPath:
    """One hand's stroke over F frames, in hand space (see `gestray.corpora.synthetic.gesture`).

    Attributes:
        stroke: what the hand does.
        wrist: wrist in arm lengths (F, 3).
        palm: direction the palm faces (F, 3).
        fingers: direction of the stretched fingers (3,).
        fingers_rotvec: finger rotations of a left hand, radians (F, 15, 3).
    """

    stroke: HandStroke
    wrist: np.ndarray
    palm: np.ndarray
    fingers: np.ndarray
    fingers_rotvec: np.ndarray


@dataclass(frozen=True)
class Gesture:
    """A gesture in a take; its span is stroke and hold.

    Attributes:
        kind: the gesture type.
        variant: which of its variants.
        first: first frame of the stroke in the take.
        frames: frames of stroke and hold.
        moving_s: seconds of the stroke; what is left of the span is its hold.
        passes: repetitions; 0 for a held hand.
        left, right: each hand's path, None for a hand that takes no part.
        effort: course of the gesture from 0 to 1 (F,); drives the shoulders.
    """

    kind: GestureType
    variant: Variant
    first: int
    frames: int
    moving_s: float
    passes: int
    left: HandPath | None
    right: HandPath | None
    effort: np.ndarray

    @property
    def last(self) -> int:
        """One past the last frame."""
        return self.first + self.frames

    @property
    def hold_s(self) -> float:
        """Seconds that the hands stay at the end of the stroke."""
        return max((self.frames - 1) / FPS - self.moving_s, 0.0)


def minimum_jerk(s: np.ndarray) -> np.ndarray:
    """Share of the way covered after the share `s` of the time (Flash and Hogan 1985, eq. 9)."""
    s = np.clip(s, 0.0, 1.0)
    return s**3 * (10 + s * (6 * s - 15))


def make_gesture(
    kind: GestureType,
    speaker: Speaker,
    start_s: float,
    cover_s: float,
    rng: np.random.Generator,
    flicks_s: tuple[float, ...] = (),
) -> Gesture:
    """A gesture of `kind` in the style of `speaker`.

    Args:
        kind: the gesture type; one of its variants is drawn.
        speaker: sets hand, size and tempo.
        start_s: start of the stroke in the take, seconds.
        cover_s: the hold lasts at least until then, seconds.
        rng: source of all that varies.
        flicks_s: for beats, the times of the lowest points, seconds.
    """
    variant = kind.variants[int(rng.integers(len(kind.variants)))]
    stroke, is_held = variant.stroke, variant.stroke.path == "static"
    first = round(start_s * FPS)
    passes = int(rng.integers(variant.passes[0], variant.passes[1] + 1))
    pass_s = variant.pass_s / (speaker.tempo * rng.uniform(0.92, 1.1))
    if flicks_s:
        passes = len(flicks_s)
        moving_s, law = _swings(_flick_knots(np.array(flicks_s) - first / FPS))
    elif is_held:
        passes, moving_s, law = 0, 0.0, np.zeros_like
    elif stroke.path == "circle":
        moving_s, law = _rounds(passes, pass_s)
    else:
        moving_s, law = _swings(np.arange(2 * passes) * pass_s)
    hold_s = _hold_s(variant.hold, cover_s - first / FPS - moving_s, rng)
    frames = int(np.ceil((moving_s + hold_s) * FPS)) + 1
    seconds = np.arange(frames) / FPS

    progress = law(seconds)
    size = speaker.amplitude * rng.uniform(0.9, 1.1)
    lead = _hand_path(variant, stroke, progress, size, rng)
    second = lead
    if variant.hands == "both":
        second = _second_path(variant, progress, size, rng)
    hands = variant.hands
    if hands == "preferred" or variant.other is not None:
        leads_right = rng.random() < speaker.right_handed
        if variant.other is not None and leads_right:
            lead, second = second, lead
        if hands == "preferred":
            hands = "right" if leads_right else "left"
    return Gesture(
        kind=kind,
        variant=variant,
        first=first,
        frames=frames,
        moving_s=moving_s,
        passes=passes,
        left=lead if hands in ("left", "both") else None,
        right=second if hands in ("right", "both") else None,
        effort=np.ones(frames) if is_held else minimum_jerk(seconds / max(moving_s, 1e-6)),
    )


def still_path(stroke: HandStroke, frames: int = 1) -> HandPath:
    """A hand that stays where `stroke` starts, without jitter; for rest poses."""
    return HandPath(
        stroke,
        np.tile(np.array(stroke.start, dtype=np.float64), (frames, 1)),
        np.tile(np.array(PALM_NORMALS[stroke.palm]), (frames, 1)),
        np.array(stroke.fingers, dtype=np.float64),
        np.tile(HAND_SHAPES[stroke.shapes[0]], (frames, 1, 1)),
    )


def nominal_path(stroke: HandStroke, progress: np.ndarray, size: float = 1.0) -> HandPath:
    """The path of `stroke` without jitter.

    Args:
        stroke: what the hand does.
        progress: passes and returns done, or rounds of a circle (F,).
        size: factor of the way; a hand that touches something arrives there all the same.
    """
    start = np.array(stroke.start, dtype=np.float64)
    travel, bulge = np.array(stroke.travel), np.array(stroke.bulge)
    if stroke.contact != "none":
        start = start + (1 - size) * travel
    travel, bulge = size * travel, size * bulge
    u = progress[:, None]
    swing = 1 - np.abs(1 - u % 2)
    if stroke.path == "circle":
        angle = 2 * np.pi * u
        wrist = start + travel * (1 - np.cos(angle)) / 2 + bulge * np.sin(angle) / 2
    else:
        wrist = start + travel * swing + bulge * 4 * swing * (1 - swing)
    return HandPath(
        stroke,
        wrist,
        _rolled(stroke, swing[:, 0]),
        np.array(stroke.fingers, dtype=np.float64),
        _shape_sequence(stroke, progress),
    )


def _hold_s(hold: Hold, needed_s: float, rng: np.random.Generator) -> float:
    """Seconds of hold, at least `needed_s`."""
    words = list(_HOLD_S)
    hold_s = max(rng.uniform(*_HOLD_S[hold]), needed_s)
    for shorter, longer in pairwise(words):
        if _HOLD_S[shorter][1] < hold_s < _HOLD_S[longer][0]:
            return _HOLD_S[longer][0]
    return hold_s


def _second_path(
    variant: Variant, progress: np.ndarray, size: float, rng: np.random.Generator
) -> HandPath:
    """What the hand does that does not lead, when both take part."""
    stroke = variant.other or variant.stroke
    if variant.relation == "alternating":
        progress = progress + 0.5 if stroke.path == "circle" else 1 - progress
    if variant.relation == "parallel":
        aside, up, front = stroke.travel
        stroke = replace(stroke, travel=(-aside, up, front))
    return _hand_path(variant, stroke, progress, size, rng)


def _hand_path(
    variant: Variant,
    stroke: HandStroke,
    progress: np.ndarray,
    size: float,
    rng: np.random.Generator,
) -> HandPath:
    path = nominal_path(stroke, progress, size)
    share = 1.0 if stroke.contact == "none" else _CONTACT_SHARE
    place, palm, fingers = (
        share * _jitter(rng, deviation)
        for deviation in (_PLACE_JITTER, _DIRECTION_JITTER, _DIRECTION_JITTER)
    )
    return replace(
        path, wrist=path.wrist + place, palm=path.palm + palm, fingers=path.fingers + fingers
    )


def _rolled(stroke: HandStroke, share: np.ndarray) -> np.ndarray:
    """Where the palm faces (F, 3), at each share (F,) of the way to the end of a pass."""
    axis = np.array(stroke.fingers) / np.linalg.norm(stroke.fingers)
    palm = np.array(PALM_NORMALS[stroke.palm])
    palm = palm - (palm @ axis) * axis
    first, last = np.deg2rad(stroke.rolls)
    angle = -(first + (last - first) * share)[:, None]
    return (np.cos(angle) * palm + np.sin(angle) * np.cross(axis, palm)) / np.linalg.norm(palm)


def _shape_sequence(stroke: HandStroke, progress: np.ndarray) -> np.ndarray:
    """Finger rotations (F, 15, 3): shape k belongs to pass k, and changes on the way back."""
    library = np.stack([HAND_SHAPES[shape] for shape in stroke.shapes])
    number = np.minimum((progress + 0.5) // 2, len(library) - 1).astype(int)
    # Each frame takes the mean of its neighbours in time, which turns steps into ramps.
    around = np.arange(-_SHAPE_CHANGE_FRAMES // 2, _SHAPE_CHANGE_FRAMES // 2 + 1)
    near = np.clip(np.arange(len(number))[:, None] + around, 0, len(number) - 1)
    return library[number[near]].mean(axis=1)


def _swings(knots: np.ndarray) -> tuple[float, Law]:
    """Passes and returns: k are done at knot k (seconds), minimum-jerk in between."""

    def law(seconds: np.ndarray) -> np.ndarray:
        leg = np.clip(np.searchsorted(knots, seconds, side="right") - 1, 0, len(knots) - 2)
        return leg + minimum_jerk((seconds - knots[leg]) / (knots[leg + 1] - knots[leg]))

    return float(knots[-1]), law


def _rounds(count: int, round_s: float) -> tuple[float, Law]:
    """Rounds of a circle, run through without a stop."""
    whole_s = count * round_s
    return whole_s, lambda seconds: count * _run_through(seconds / whole_s)


def _run_through(share: np.ndarray) -> np.ndarray:
    """Share of the way at each share of the time: even, with smooth ramps at both ends."""
    ramp = _CIRCLE_RAMP
    t = np.clip(share, 0.0, 1.0)

    def gather(x: np.ndarray) -> np.ndarray:
        return 0.5 * (x - ramp / np.pi * np.sin(np.pi * x / ramp))

    middle = t - ramp / 2
    way = np.where(t < ramp, gather(t), middle)
    way = np.where(t > 1 - ramp, 1 - ramp - gather(1 - t), way)
    return way / (1 - ramp)


def _flick_knots(lowest_s: np.ndarray) -> np.ndarray:
    """Knots of beats: down to each lowest point, and up again in time for the next."""
    down, back = _FLICK_S
    highest = np.maximum(lowest_s[1:] - down, (lowest_s[:-1] + lowest_s[1:]) / 2)
    return np.sort(np.concatenate([[lowest_s[0] - down], lowest_s, highest, [lowest_s[-1] + back]]))


def _jitter(rng: np.random.Generator, deviation: float) -> np.ndarray:
    return np.clip(rng.normal(0, deviation, 3), -2 * deviation, 2 * deviation)
