"""Recorded strokes put under words of another motion.

From preparation to retraction, the arms and hands are those of a recorded gesture, whose stroke
begins with the word; before and after, rotations go from one motion to the other along the
shortest way, by a weight whose first two derivatives vanish at both ends, so that neither place
nor velocity jumps. The rest of the body is left to the motion. How long the way takes is found:
the shortest time in which no hand is faster than hands are, but where one of the two motions is so
itself, and in which the gesture is still seen: where the motion makes one of its own near by, a
blend of the two may look like neither. A stroke for which there is none, or that would cut into an
earlier one, is left out, and its caller told so.

Shapes: T frames of the motion, N of a recorded clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import roma
import torch
from scipy.ndimage import maximum_filter1d
from torch import Tensor

from gestray.anchors.verbalize import Description, describe
from gestray.corpora.take import FPS
from gestray.form import GesturePhases, PhysicalForm
from gestray.motion.kinematics import joint_positions
from gestray.motion.skeleton import HANDS, joint

ARMS = tuple(
    joint(f"{side}_{part}")
    for part in ("collar", "shoulder", "elbow", "wrist")
    for side in ("left", "right")
)
MOVED = (*ARMS, *HANDS)
"""Joints that a stroke takes over."""

# What the chest hangs on: left to the motion, whose turning is no haste of the hands.
_TRUNK = tuple(joint(name) for name in ("pelvis", "spine1", "spine2", "spine3"))
# Whose speed tells how fast a hand is.
_TRACKED = tuple(
    joint(f"{side}_{part}") for side in ("left", "right") for part in ("wrist", "middle3")
)
# Of the recording before the preparation and after the retraction: where it comes to rest, and
# without which the way in would look like a part of the gesture.
AROUND_S = 0.2
_WAYS_S = (0.3, 0.4, 0.55, 0.75, 1.0, 1.3, 1.7)
_ROUNDING = 1e-4  # m/s
# Frames by which a blend may shift a peak of what it is made of.
_NEAR = 3

AT_WORD_S = 0.2
"""How far from its word a stroke may begin."""

Outcome = Literal["placed", "no room", "too fast", "not seen"]


@dataclass(frozen=True, eq=False)
class Stroke:
    """A recorded gesture.

    Args:
        poses: axis-angle (N, 165), with some of what came before and after.
        phases: in seconds from the first frame of `poses`.
        form: what the verbalizer says of it.
    """

    poses: np.ndarray
    phases: GesturePhases
    form: PhysicalForm

    @property
    def held(self) -> tuple[int, int]:
        """First and last frame of what is taken over whole; may reach beyond `poses`."""
        start_s, end_s = self.phases.start_s - AROUND_S, self.phases.end_s + AROUND_S
        return round(start_s * FPS), round(end_s * FPS)

    def frames(self, first: int, last: int) -> np.ndarray:
        """Poses of the frames `first` to `last`, exclusive; the outermost beyond the recording."""
        return self.poses[np.arange(first, last).clip(0, len(self.poses) - 1)]


def hand_speeds(poses: np.ndarray) -> np.ndarray:
    """Speed of wrists and middle fingertips as seen from the chest, m/s, (T − 1, 4).

    A chest that turns does not make them faster: a gesture is as fast over any trunk.
    """
    upright = np.array(poses, dtype=np.float32).reshape(len(poses), -1, 3)
    upright[:, _TRUNK] = 0
    places = joint_positions(torch.from_numpy(upright.reshape(len(poses), -1))).numpy()
    relative = places[:, _TRACKED] - places[:, joint("spine3"), None]
    return np.linalg.norm(np.diff(relative, axis=0), axis=-1) * FPS


class Placing:
    """A motion that strokes are put into; what is put first has the right of way.

    Args:
        poses: axis-angle (T, 165); copied.
        fastest: speed in m/s that no hand exceeds on the way in or out, unless the motion or
            the gesture does so within 0.1 s; such as the 99th percentile of `hand_speeds`.
    """

    def __init__(self, poses: np.ndarray, fastest: float) -> None:
        self.poses = np.array(poses, dtype=np.float32)
        self._fastest = fastest
        self._taken = np.zeros(len(poses), dtype=bool)

    def put(self, word_s: float, stroke: Stroke) -> tuple[Outcome, slice | None]:
        """Put a stroke so that it begins `word_s` seconds into the motion.

        Returns:
            What became of it, and the frames that it takes up with its way in and out; None
            where it is left out.
        """
        begins = round(stroke.phases.stroke_s * FPS)
        first, last = stroke.held
        at = round(word_s * FPS) - (begins - first)
        outcome: Outcome = "no room"
        for way_s in _WAYS_S:
            way = round(way_s * FPS)
            span = slice(at - way, at + (last - first) + way + 1)
            if span.start < 0 or span.stop > len(self.poses) or self._taken[span].any():
                break
            ours, theirs = self.poses[span], stroke.frames(first - way, last + way + 1)
            made = _between(ours, theirs, _weight(way, last - first))
            if hurried(made, ours, theirs, self._fastest).any():
                outcome = "too fast"
            elif not recognised(describe(made), stroke, (way + begins - first) / FPS):
                outcome = "not seen"
            else:
                self.poses[span] = made
                self._taken[span] = True
                return "placed", span
        return outcome, None


def recognised(seen: Description, stroke: Stroke, begins_s: float) -> bool:
    """Whether a description is of the stroke, from `begins_s` on, give or take 0.2 s."""
    if seen.phases is None or abs(seen.phases.stroke_s - begins_s) > AT_WORD_S:
        return False
    return signs(seen.form) == signs(stroke.form)


def signs(form: PhysicalForm) -> tuple[object, ...]:
    """What makes a gesture that gesture: its hands, and their shape, palm and path."""
    hands = (h and (h.shape, h.palm, h.trajectory.path) for h in (form.left, form.right))
    return form.handedness, *hands


def hurried(made: np.ndarray, ours: np.ndarray, theirs: np.ndarray, fastest: float) -> np.ndarray:
    """Where a hand is faster than `fastest`, m/s, though neither motion is: bool (T − 1, 4).

    Neither is within 0.1 s of that moment; between the ways, where the gesture goes on as it was
    recorded, no hand can be.

    Args:
        made, ours, theirs: the blend and what it was made of (T, 165), frame by frame.
    """
    speeds, allowed = hand_speeds(made), np.maximum(hand_speeds(ours), hand_speeds(theirs))
    allowed = maximum_filter1d(allowed, 2 * _NEAR + 1, axis=0, mode="nearest")
    return speeds > np.maximum(allowed, fastest) + _ROUNDING


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
