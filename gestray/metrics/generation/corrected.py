"""The figures as their definitions say, in units that can be pictured.

What differs from `published.py`: nothing is trimmed and no scale factor applied; a beat's
threshold is looked up where the beat is, and the other direction is scored too (beats that
nobody speaks to), without which motion that twitches all the time is perfect; distances are
Euclidean; weights are normalised; velocities are compared with velocities.

Shapes: T frames, J joints, V vertices.
"""

from __future__ import annotations

import numpy as np

from gestray.metrics.generation.beats import nearness, slowest, speeds
from gestray.metrics.generation.figures import Figure, Part
from gestray.metrics.generation.onsets import onset_times
from gestray.motion.skeleton import BODY, UPPER, joint

FIGURES = (
    Figure("fgd", "FGD", "lower", 4),
    Figure("bc", "onsets met by beats", "real", 3),
    Figure("bc_beats", "beats met by onsets", "real", 3),
    Figure("diversity", "diversity, cm", "real", 2),
    Figure("srgr", "SRGR", "higher", 3),
    Figure("mse", "face MSE, mm²", "lower", 3),
    Figure("lvd", "face velocity, mm/s", "lower", 2),
    Figure("jitter", "jitter, m/s³", "real", 1),
    Figure("foot_skating", "foot skating, cm/s", "real", 2),
)

_ORDER, _SIGMA_S, _THRESHOLD = 7, 0.3, 0.3
_NEAR_M = 0.1
# Feet this near to the floor stand on it (Zhang et al. 2018, "Mode-Adaptive Neural Networks").
_FLOOR_M = 0.025
_FEET = (joint("left_foot"), joint("right_foot"))


def beat_consistency(
    positions: np.ndarray,
    samples: np.ndarray,
    rate: int,
    mean_speeds: np.ndarray,
    fps: float = 30.0,
) -> tuple[Part, Part]:
    """How near onsets have a beat, and how near beats have an onset, each in [0, 1].

    Args: see `published.beat_consistency`.

    Returns:
        The first weighted by onsets, the second by beats; a mean over 13 joints.
    """
    samples = samples[: round(rate * len(positions) / fps)]
    onsets = onset_times(samples, rate)
    relative = speeds(positions[:, UPPER], fps) / mean_speeds[list(UPPER)]
    is_beat = slowest(relative, _ORDER) & (relative > _THRESHOLD)
    met = of_beats = beats_in_all = 0.0
    for column in is_beat.T:
        beats = np.flatnonzero(column) / fps
        met += float(nearness(onsets, beats, _SIGMA_S).sum())
        if len(onsets):
            of_beats += float(nearness(beats, onsets, _SIGMA_S).sum())
            beats_in_all += len(beats)
    return (met / len(UPPER), len(onsets)), (of_beats, beats_in_all)


def diversity(positions: np.ndarray) -> Part:
    """Mean distance in centimetres of a joint from where it is on average in the clip.

    Args:
        positions: metres (T, J, 3), without the body's path.
    """
    distance = np.linalg.norm(positions - positions.mean(axis=0), axis=-1).mean(axis=1)
    return 100 * float(distance.sum()), len(distance)


def semantic_relevant_recall(
    positions: np.ndarray, recorded: np.ndarray, semantic: np.ndarray
) -> Part:
    """Share of joints within 10 cm of where they were recorded, frames weighted by their
    semantic score; in [0, 1]."""
    near = (np.linalg.norm(positions - recorded, axis=-1) < _NEAR_M).mean(axis=1)
    return float((near * semantic).sum()), float(semantic.sum())


def face_mse(vertices: np.ndarray, recorded: np.ndarray) -> Part:
    """Mean squared distance of vertices (T, V, 3) in mm²."""
    squared = np.square(1000 * (vertices - recorded), dtype=np.float64).sum(axis=-1).mean(axis=1)
    return float(squared.sum()), len(squared)


def face_velocity(vertices: np.ndarray, recorded: np.ndarray, fps: float = 30.0) -> Part:
    """Mean length of the difference of vertices' velocities, millimetres a second."""
    step = np.diff(vertices, axis=0) - np.diff(recorded, axis=0)
    length = np.linalg.norm(step, axis=-1).mean(axis=1)
    return 1000 * fps * float(length.sum()), len(length)


def jitter(positions: np.ndarray, fps: float = 30.0) -> Part:
    """Mean length of the jerk of the body's 22 joints, m/s³ (Yi et al. 2021, "TransPose").

    Args:
        positions: metres (T, 55, 3), with the body's path or without.
    """
    jerk = np.linalg.norm(np.diff(positions[:, list(BODY)], n=3, axis=0), axis=-1) * fps**3
    return float(jerk.mean(axis=1).sum()), len(jerk)


def foot_skating(positions: np.ndarray, fps: float = 30.0) -> Part:
    """How fast feet slide while they stand, cm/s (Zhang et al. 2018, "MANN", eq. 14).

    A foot counts with 2 − 2^(h / 2.5 cm) for its height h above the floor, from 1 on it to 0
    at 2.5 cm; the floor is where the lower foot of the clip mostly is.

    Args:
        positions: metres (T, 55, 3) with the body's path.
    """
    feet = positions[:, _FEET]
    floor = np.quantile(feet[..., 1].min(axis=1), 0.05)
    height = np.clip((feet[1:, :, 1] - floor) / _FLOOR_M, 0, 1)
    slides = np.linalg.norm(np.diff(feet[..., [0, 2]], axis=0), axis=-1) * fps
    weight = 2 - np.exp2(height)
    return 100 * float((slides * weight).sum()), float(weight.sum())
