"""Recorded strokes put under words of another motion.

From preparation to retraction, the arms and hands are those of a recorded gesture, whose stroke
begins with the word; before and after, rotations go from one motion to the other along the
shortest way, by a weight whose first two derivatives vanish at both ends, so that neither place
nor velocity jumps. The rest of the body is left to the motion. How long the way takes is found:
the shortest time in which no hand is faster than hands are. A stroke for which there is none, or
that would cut into an earlier one, is left out, and its caller told so.

Shapes: T frames of the motion, N of a recorded clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import roma
import torch
from torch import Tensor

from gestray.corpora.take import FPS
from gestray.form import GesturePhases
from gestray.motion.kinematics import joint_positions
from gestray.motion.skeleton import HANDS, joint

ARMS = tuple(
    joint(f"{side}_{part}")
    for part in ("collar", "shoulder", "elbow", "wrist")
    for side in ("left", "right")
)
MOVED = (*ARMS, *HANDS)
"""Joints that a stroke takes over."""

# Whose speed tells how fast a hand is.
_TRACKED = tuple(
    joint(f"{side}_{part}") for side in ("left", "right") for part in ("wrist", "middle3")
)
# Of the recording before the preparation and after the retraction: where it comes to rest, and
# without which the way in would look like a part of the gesture.
_AROUND_S = 0.2
_WAYS_S = (0.3, 0.4, 0.55, 0.75, 1.0, 1.3)

Outcome = Literal["placed", "no room", "too fast"]


@dataclass(frozen=True, eq=False)
class Stroke:
    """A recorded gesture.

    Args:
        poses: axis-angle (N, 165), with some of what came before and after.
        phases: in seconds from the first frame of `poses`.
    """

    poses: np.ndarray
    phases: GesturePhases


def hand_speeds(poses: np.ndarray) -> np.ndarray:
    """Speed of wrists and middle fingertips relative to the chest, m/s, (T − 1, 4)."""
    places = joint_positions(torch.tensor(poses, dtype=torch.float32)).numpy()
    relative = places[:, _TRACKED] - places[:, joint("spine3"), None]
    return np.linalg.norm(np.diff(relative, axis=0), axis=-1) * FPS


def put_strokes(
    poses: np.ndarray, strokes: Sequence[tuple[float, Stroke]], fastest: float
) -> tuple[np.ndarray, list[Outcome]]:
    """The motion with strokes that begin at the times given.

    Args:
        poses: axis-angle (T, 165).
        strokes: seconds at which each stroke begins, and the gesture; the earlier in the list
            has the right of way.
        fastest: speed in m/s that no hand exceeds on the way in or out, unless the motion or
            the gesture itself does there; such as the 99th percentile of `hand_speeds`.

    Returns:
        Poses (T, 165), and what became of each stroke.
    """
    made = np.array(poses, dtype=np.float32)
    taken = np.zeros(len(made), dtype=bool)
    outcomes: list[Outcome] = []
    for word_s, stroke in strokes:
        outcome, placed, span = _put(made, taken, round(word_s * FPS), stroke, fastest)
        if placed is not None:
            made[span] = placed
            taken[span] = True
        outcomes.append(outcome)
    return made, outcomes


def _put(
    poses: np.ndarray, taken: np.ndarray, at: int, stroke: Stroke, fastest: float
) -> tuple[Outcome, np.ndarray | None, slice]:
    """The motion of a span with the stroke in it, by the shortest way that is slow enough."""
    phases = stroke.phases
    begins = round(phases.stroke_s * FPS)
    first, last = (round(s * FPS) for s in (phases.start_s - _AROUND_S, phases.end_s + _AROUND_S))
    at -= begins - first
    outcome: Outcome = "no room"
    for way_s in _WAYS_S:
        way = round(way_s * FPS)
        span = slice(at - way, at + (last - first) + way + 1)
        if span.start < 0 or span.stop > len(poses) or taken[span].any():
            break
        frames = np.arange(first - way, last + way + 1)
        theirs = stroke.poses[frames.clip(0, len(stroke.poses) - 1)]
        placed = _between(poses[span], theirs, _weight(way, last - first))
        allowed = max(fastest, *(float(hand_speeds(x).max()) for x in (poses[span], theirs)))
        # With the frames around it, since speed is between frames.
        around = slice(max(0, span.start - 1), span.stop + 1)
        whole = poses[around].copy()
        whole[span.start - around.start : span.stop - around.start] = placed
        if hand_speeds(whole).max() <= allowed:
            return "placed", placed, span
        outcome = "too fast"
    return outcome, None, slice(0, 0)


def _weight(way: int, held: int) -> np.ndarray:
    """From 0 to 1 in `way` frames, 1 for `held` more, and back (Perlin 2002's quintic)."""
    x = np.arange(way + 1) / way
    rise = x**3 * (x * (6 * x - 15) + 10)
    return np.concatenate([rise, np.ones(max(0, held - 1)), rise[::-1] if held else rise[-2::-1]])


def _between(ours: np.ndarray, theirs: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Our poses with the joints of `MOVED` turned towards theirs by a weight (T,)."""
    columns = [3 * j + axis for j in MOVED for axis in range(3)]
    start, end = (_quaternions(x[:, columns]) for x in (ours, theirs))
    step = roma.unitquat_to_rotvec(roma.quat_product(roma.quat_conjugation(start), end))
    part = roma.rotvec_to_unitquat(step * torch.from_numpy(weight)[:, None, None])
    found = ours.copy()
    turned = roma.unitquat_to_rotvec(roma.quat_product(start, part)).flatten(1).numpy()
    found[:, columns] = turned
    return found


def _quaternions(vectors: np.ndarray) -> Tensor:
    return roma.rotvec_to_unitquat(
        torch.tensor(vectors, dtype=torch.float64).unflatten(-1, (-1, 3))
    )
