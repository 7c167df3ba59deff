"""One gesture made concrete: a variant of a gesture type, jittered and laid out in frames.

A stroke is a path of the wrist and a law of time along it. Hands move from rest to rest
along minimum-jerk profiles (Flash and Hogan 1985): every pass starts and ends at zero
speed, so strokes join preparation and retraction without a jolt. Circles alone
run through, with a smooth start and end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gestray.corpora.synthetic.gesture import PALM_NORMALS, GestureType, HandStroke, Variant
from gestray.corpora.synthetic.hands import HAND_SHAPES
from gestray.corpora.synthetic.speakers import Speaker

FPS = 30

# Standard deviations of what differs from one performance to the next.
_PLACE_JITTER = 0.018  # arm lengths
_DIRECTION_JITTER = 0.05  # of a unit vector, about 3 degrees
# Of a flick, the way to its lowest point and the way back, seconds.
_FLICK_S = (0.16, 0.24)
# Share of a circling movement that passes while it gathers and loses speed.
_CIRCLE_RAMP = 0.15
# Frames over which one hand shape of a sequence turns into the next.
_SHAPE_CHANGE_FRAMES = 4


@dataclass(frozen=True)
class HandPath:
    """One hand's stroke over F frames, in hand space (see `gestray.corpora.synthetic.gesture`).

    Attributes:
        stroke: what the hand does.
        wrist: wrist in arm lengths (F, 3).
        palm: direction the palm faces (3,).
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
        passes: repetitions; 0 for a held hand.
        left, right: each hand's path, None for a hand that takes no part.
        effort: course of the gesture from 0 to 1 (F,); drives the shoulders.
    """

    kind: GestureType
    variant: Variant
    first: int
    frames: int
    passes: int
    left: HandPath | None
    right: HandPath | None
    effort: np.ndarray

    @property
    def last(self) -> int:
        """One past the last frame."""
        return self.first + self.frames


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
    tempo = speaker.tempo * rng.uniform(0.92, 1.1)
    first = round(start_s * FPS)
    is_held = variant.stroke.path == "static"
    passes = int(rng.integers(variant.passes[0], variant.passes[1] + 1))
    if flicks_s:
        knots, passes = _flick_knots(np.array(flicks_s) - first / FPS), len(flicks_s)
    elif is_held:
        knots, passes = np.zeros(1), 0
    else:
        knots = np.arange(2 * passes) * variant.pass_s / tempo
    is_circle = variant.stroke.path == "circle"
    moving_s = passes * variant.pass_s / tempo if is_circle else float(knots[-1])
    hold_s = 0.1 if flicks_s else rng.uniform(*variant.hold_s)
    frames = int(np.ceil(max(moving_s + hold_s, cover_s - first / FPS) * FPS)) + 1
    seconds = np.arange(frames) / FPS

    if is_circle:
        progress = passes * _run_through(seconds / moving_s)
    elif is_held:
        progress = np.zeros(frames)
    else:
        progress = _swing(seconds, knots)
    size = speaker.amplitude * rng.uniform(0.9, 1.1)
    path = _hand_path(variant.stroke, progress, size, rng)
    other = path
    if variant.hands == "both":
        opposite = variant.relation == "alternating"
        shifted = (progress + 0.5 if is_circle else 1 - progress) if opposite else progress
        other = _hand_path(variant.stroke, shifted, size, rng)
    is_right = rng.random() < speaker.right_handed
    hands = variant.hands
    if hands == "preferred":
        hands = "right" if is_right else "left"
    return Gesture(
        kind=kind,
        variant=variant,
        first=first,
        frames=frames,
        passes=passes,
        left=path if hands in ("left", "both") else None,
        right=other if hands in ("right", "both") else None,
        effort=np.ones(frames) if is_held else minimum_jerk(seconds / max(moving_s, 1e-6)),
    )


def still_path(stroke: HandStroke, frames: int = 1) -> HandPath:
    """A hand that stays where `stroke` starts, without jitter; for rest poses."""
    return HandPath(
        stroke,
        np.tile(np.array(stroke.start, dtype=np.float64), (frames, 1)),
        np.array(PALM_NORMALS[stroke.palm]),
        np.array(stroke.fingers, dtype=np.float64),
        np.tile(HAND_SHAPES[stroke.shapes[0]], (frames, 1, 1)),
    )


def _hand_path(
    stroke: HandStroke, progress: np.ndarray, size: float, rng: np.random.Generator
) -> HandPath:
    start = np.array(stroke.start) + _jitter(rng, _PLACE_JITTER)
    travel, bulge = size * np.array(stroke.travel), size * np.array(stroke.bulge)
    u = progress[:, None]
    if stroke.path == "circle":
        angle = 2 * np.pi * u
        wrist = start + travel * (1 - np.cos(angle)) / 2 + bulge * np.sin(angle) / 2
    else:
        swing = 1 - np.abs(1 - u % 2)
        wrist = start + travel * swing + bulge * 4 * swing * (1 - swing)
    return HandPath(
        stroke,
        wrist,
        np.array(PALM_NORMALS[stroke.palm]) + _jitter(rng, _DIRECTION_JITTER),
        np.array(stroke.fingers) + _jitter(rng, _DIRECTION_JITTER),
        _shape_sequence(stroke, progress),
    )


def _shape_sequence(stroke: HandStroke, progress: np.ndarray) -> np.ndarray:
    """Finger rotations (F, 15, 3): shape k belongs to pass k, and changes on the way back."""
    library = np.stack([HAND_SHAPES[shape] for shape in stroke.shapes])
    number = np.minimum((progress + 0.5) // 2, len(library) - 1).astype(int)
    # Each frame takes the mean of its neighbours in time, which turns steps into ramps.
    around = np.arange(-_SHAPE_CHANGE_FRAMES // 2, _SHAPE_CHANGE_FRAMES // 2 + 1)
    near = np.clip(np.arange(len(number))[:, None] + around, 0, len(number) - 1)
    return library[number[near]].mean(axis=1)


def _swing(seconds: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Passes and returns done at each time: k at knot k, minimum-jerk in between."""
    leg = np.clip(np.searchsorted(knots, seconds, side="right") - 1, 0, len(knots) - 2)
    share = (seconds - knots[leg]) / (knots[leg + 1] - knots[leg])
    return leg + minimum_jerk(share)


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
