"""The figures as the field's code computes them, so that they compare with papers' tables.

Scale factors are the tables': FGD and BC times 10, MSE times 10⁸, LVD times 10⁵. What that code
does otherwise than its papers say is kept, and said where it is done; `corrected.py` does not
do it. Sources: EMAGE (Liu et al. 2024), SemTalk, GestureLSM and RAG-Gesture, whose settings differ
(`BeatSettings`).

Shapes: T frames, J joints, V vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gestray.metrics.generation.beats import nearness, slowest, speeds
from gestray.metrics.generation.figures import Figure, Part
from gestray.metrics.generation.onsets import onset_times
from gestray.motion.skeleton import UPPER

FIGURES = (
    Figure("fgd", "FGD ×10", "lower", 3),
    Figure("bc", "BC ×10", "real", 3),
    Figure("l1div", "L1 diversity", "real", 2),
    Figure("srgr", "SRGR", "higher", 3),
    Figure("mse", "face MSE ×10⁸", "lower", 3),
    Figure("lvd", "LVD ×10⁵", "lower", 3),
)

FGD_WHOLE = 32
"""Clips are cut to whole multiples of so many frames before they are encoded."""


@dataclass(frozen=True)
class BeatSettings:
    """What papers set differently; figures compare only where all of it is the same.

    Args:
        trim: frames left out at either end: 60 in EMAGE, 10 in RAG-Gesture.
        threshold: of relative speed: 0.3 in older code, 0.1 in newer.
        order: frames to either side that a beat is slower than.
        sigma: seconds.
    """

    trim: int = 60
    threshold: float = 0.3
    order: int = 7
    sigma: float = 0.3


def beat_consistency(
    positions: np.ndarray,
    samples: np.ndarray,
    rate: int,
    mean_speeds: np.ndarray,
    fps: float = 30.0,
    settings: BeatSettings = BeatSettings(),
) -> Part:
    """BC ×10, weighted by frames: how near motion's beats are to speech's onsets.

    A beat is a minimum of a joint's speed (13 joints of the upper body) that lies above a
    threshold. Kept from the code: whether it lies above is looked up `trim` frames *before*
    the beat, since the minima are numbered from the trim's end and the speeds from the start.
    Silence, where the code divides by zero, has no weight.

    Args:
        positions: metres (T, 55, 3), without the body's path.
        samples: speech (S,).
        rate: its samples a second.
        mean_speeds: of each joint over a corpus, metres a second (55,).
        fps: of the motion.
        settings: of the paper to compare with.
    """
    trim = settings.trim
    kept = len(positions) - 2 * trim
    if kept <= 0:
        return 0.0, 0.0
    # As in the code, a frame is a whole number of samples here and not there.
    samples = samples[: int(rate / fps * len(positions))]
    cut = int(trim * (rate / fps))
    onsets = onset_times(samples[cut : len(samples) - cut], rate)
    if not len(onsets):
        return 0.0, 0.0
    relative = speeds(positions[:, UPPER], fps) / mean_speeds[list(UPPER)]
    is_beat = slowest(relative[trim : trim + kept], settings.order)
    is_beat &= relative[:kept] > settings.threshold
    scores = [
        nearness(onsets, np.flatnonzero(beats) / fps, settings.sigma).mean() for beats in is_beat.T
    ]
    return 10 * float(np.mean(scores)) * kept, kept


def l1_diversity(positions: np.ndarray) -> Part:
    """Sum over all coordinates of |x − the clip's mean|, a mean over frames.

    Args:
        positions: metres (T, 55, 3), without the body's path.
    """
    flat = positions.reshape(len(positions), -1)
    return float(np.abs(flat - flat.mean(axis=0)).sum()), len(flat)


def semantic_relevant_recall(
    positions: np.ndarray,
    recorded: np.ndarray,
    semantic: np.ndarray,
    threshold: float = 0.1,
) -> Part:
    """SRGR: share of joints near where they were recorded, frames weighted by semantic score.

    Near is |Δx| + |Δy| + |Δz| below a threshold: 0.1 in BEAT and EMAGE, 0.3 in RAG-Gesture. The
    score is divided by 0.165, its mean in BEAT, not by its own: so the figure can exceed 1.

    Args:
        positions, recorded: metres (T, J, 3), without the body's path.
        semantic: of each frame, in [0, 1] (T,).
        threshold: metres.
    """
    near = np.abs(positions - recorded).sum(axis=-1) < threshold
    return float((near.mean(axis=1) * semantic / 0.165).sum()), len(near)


def face_mse(vertices: np.ndarray, recorded: np.ndarray) -> Part:
    """MSE ×10⁸ of the vertices of a body at rest but for jaw and expression (T, V, 3)."""
    squared = np.square(vertices - recorded, dtype=np.float64).mean(axis=(1, 2))
    return 1e8 * float(squared.sum()), len(squared)


def lip_vertex_difference(vertices: np.ndarray, recorded: np.ndarray) -> Part:
    """LVD ×10⁵. Meant are differences of velocity; the code takes the next recorded frame
    from either side, so that what remains is the mean |Δ| of *positions*, the first frame
    left out."""
    apart = np.abs(vertices[1:] - recorded[1:], dtype=np.float64).mean(axis=(1, 2))
    # The code weighs a clip's mean by all its frames.
    frames = len(vertices)
    return (1e5 * float(apart.mean()) * frames, frames) if frames > 1 else (0.0, 0.0)
