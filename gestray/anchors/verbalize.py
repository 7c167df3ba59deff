"""What a gesture looks like, read off the motion by geometry alone.

The physical form supervises the motion branch of the dual encoder, so it must
say the same of the same motion every time and nothing that is not there: no
model takes part, and every limit is in `gestray.anchors.thresholds`. The words
are those of gesture studies (McNeill 1992 for gesture space; Bressem 2013 for
hand shape, orientation, movement and position).

    form, phases = describe(poses)      # a clip of a few seconds
    sentence(form)                      # "The right hand, flat and palm up, ..."
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gestray.anchors import thresholds
from gestray.anchors.contacts import contacts
from gestray.anchors.gesture_space import location, palm
from gestray.anchors.hand_shapes import hand_shapes
from gestray.anchors.hand_tracks import HandTracks, hand_tracks
from gestray.anchors.head import head_movements
from gestray.anchors.phases import Phases, gesture_phases, masked_mean, participating
from gestray.anchors.trajectory import relations, trajectories
from gestray.anchors.wording import mirrored, sentence
from gestray.form import GesturePhases, Handedness, HandForm, Hold, PhysicalForm, Relation

__all__ = ["Description", "describe", "describe_many", "mirrored", "sentence"]

# Clips that are measured at once; bounds memory (a clip of 5 s takes about 3 MB).
_CLIPS_AT_ONCE = 64


class Description(NamedTuple):
    """What is read off a clip.

    Attributes:
        form: what the gesture looks like.
        phases: when its phases begin and end within the clip; None without a gesture.
    """

    form: PhysicalForm
    phases: GesturePhases | None


def describe(
    poses: np.ndarray | Tensor, fps: float = 30.0, rest_offsets: Tensor | None = None
) -> Description:
    """The gesture in a clip of a few seconds.

    Args:
        poses: axis-angle in radians (T, 165), in the order of SMPL-X.
        fps: frames per second.
        rest_offsets: offsets of the speaker's own joints (55, 3), as in
            `gestray.motion.kinematics`; a size makes no difference, proportions do.

    Raises:
        UserError: the shape is another, or values are not finite.
    """
    return describe_many([poses], fps, rest_offsets)[0]


def describe_many(
    clips: Sequence[np.ndarray | Tensor], fps: float = 30.0, rest_offsets: Tensor | None = None
) -> list[Description]:
    """The gestures in many clips of any lengths; see `describe`."""
    # Clips of like length together waste no padding; each is read as if it were alone.
    order = sorted(range(len(clips)), key=lambda i: len(clips[i]))
    found: dict[int, Description] = {}
    with torch.no_grad():
        for start in range(0, len(order), _CLIPS_AT_ONCE):
            chunk = order[start : start + _CLIPS_AT_ONCE]
            tracks = hand_tracks([clips[i] for i in chunk], fps, rest_offsets)
            found.update(zip(chunk, _descriptions(tracks), strict=True))
    return [found[i] for i in range(len(clips))]


def _descriptions(tracks: HandTracks) -> list[Description]:
    phases = gesture_phases(tracks)
    frames = tracks.valid.shape[1]
    expression, movement = phases.expression(frames), phases.movement(frames)
    takes_part = participating(tracks, expression)
    gestures = takes_part.any(dim=1)
    travels = trajectories(tracks, movement)
    touched, touching = contacts(tracks, expression)
    related = relations(tracks, movement, touching)
    places = masked_mean(tracks.palm, expression).tolist()
    normals = masked_mean(tracks.palm_normal, expression).tolist()
    shapes = hand_shapes(tracks, expression)
    heads = head_movements(tracks, torch.where(gestures[:, None], expression, tracks.valid))
    times = _times(phases, tracks.fps)

    found = []
    for b, (left, right) in enumerate(takes_part.tolist()):
        hands = [
            HandForm(
                location=location(places[b][h]),
                palm=palm(normals[b][h], is_left=h == 0),
                shape=shapes[b][h],
                trajectory=travels[b][h],
                contact=touched[b][h],
            )
            if (left, right)[h]
            else None
            for h in range(2)
        ]
        relation: Relation = related[b] if left and right else "single"
        handedness: Handedness = (
            "both" if left and right else "left" if left else "right" if right else "none"
        )
        form = PhysicalForm(
            handedness=handedness,
            left=hands[0],
            right=hands[1],
            relation=relation,
            hold=_hold(times[b]) if left or right else "none",
            head=heads[b],
        )
        found.append(Description(form, times[b] if left or right else None))
    return found


def _times(phases: Phases, fps: float) -> list[GesturePhases]:
    starts = torch.stack(
        [phases.start, phases.stroke, phases.hold, phases.retraction, phases.end], dim=1
    )
    names = list(GesturePhases.model_fields)
    return [
        GesturePhases(**{n: round(f / fps, 4) for n, f in zip(names, frames, strict=True)})
        for frames in starts.tolist()
    ]


def _hold(times: GesturePhases) -> Hold:
    seconds = times.retraction_s - times.hold_s
    if seconds >= thresholds.LONG_HOLD_FROM:
        return "long"
    return "brief" if seconds >= thresholds.BRIEF_HOLD_FROM else "none"
