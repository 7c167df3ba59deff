"""All figures of one take's motion beside its recording, in both modes.

A minute of motion is scored in a fraction of a second: joints come from forward kinematics, not
from a skinned mesh, and every figure is an array expression over the clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gestray.corpora.take import FPS
from gestray.metrics.generation import corrected, published
from gestray.metrics.generation.beats import speeds
from gestray.metrics.generation.face import Face
from gestray.metrics.generation.figures import Figure, Part
from gestray.metrics.generation.published import BeatSettings
from gestray.motion.kinematics import joint_positions
from gestray.motion.skeleton import JOINT_NAMES, REST_OFFSETS
from gestray.speech.audio import SAMPLE_RATE

PUBLISHED, CORRECTED = "published", "corrected"
FIGURES: Mapping[str, Sequence[Figure]] = {
    PUBLISHED: published.FIGURES,
    CORRECTED: corrected.FIGURES,
}
"""Of each mode, in the order of tables; in results they are called ``mode.name``."""

_FACE_FRAMES = 64  # vertices of so many frames at once


@dataclass(frozen=True, eq=False)
class Moved:
    """A motion to score.

    Args:
        poses: axis-angle (T, 165).
        trans: metres (T, 3), or None.
        expressions: FLAME (T, 100), or None.
    """

    poses: np.ndarray
    trans: np.ndarray | None = None
    expressions: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Spoken:
    """A recording: the motion to compare with, and what was said.

    Args:
        moved: as recorded.
        samples: speech at 16 kHz (S,), or None.
        semantic: score of each frame (T,), or None where nothing is annotated.
        rest_offsets: the speaker's own (55, 3); None: those of gestray's skeleton.
        face: the speaker's, or None without SMPL-X model.
    """

    moved: Moved
    samples: np.ndarray | None = None
    semantic: np.ndarray | None = None
    rest_offsets: np.ndarray | None = None
    face: Face | None = None


def measure(
    moved: Moved,
    spoken: Spoken,
    mean_speeds: np.ndarray,
    settings: BeatSettings = BeatSettings(),
) -> dict[str, Part]:
    """Every figure but FGD, as ``mode.name``; one that cannot be told is absent.

    The shorter of the two motions counts.

    Args:
        moved: generated.
        spoken: the recording whose speech it was generated for.
        mean_speeds: see `mean_joint_speeds`.
        settings: of the published beat consistency.
    """
    frames = min(len(moved.poses), len(spoken.moved.poses))
    own = REST_OFFSETS if spoken.rest_offsets is None else spoken.rest_offsets
    offsets = torch.tensor(own)
    found, wanted = (_positions(m, frames, offsets) for m in (moved, spoken.moved))
    parts: dict[str, Part] = {}

    def tell(mode: str, name: str, part: Part) -> None:
        if part[1] > 0:
            parts[f"{mode}.{name}"] = part

    tell(PUBLISHED, "l1div", published.l1_diversity(found))
    tell(CORRECTED, "diversity", corrected.diversity(found))
    placed = found
    if moved.trans is not None and moved.trans.any():
        placed = found + moved.trans[:frames, None]
        tell(CORRECTED, "foot_skating", corrected.foot_skating(placed, FPS))
    tell(CORRECTED, "jitter", corrected.jitter(placed, FPS))
    if spoken.samples is not None:
        heard = spoken.samples, SAMPLE_RATE, mean_speeds, FPS
        tell(PUBLISHED, "bc", published.beat_consistency(found, *heard, settings))
        met, of_beats = corrected.beat_consistency(found, *heard)
        tell(CORRECTED, "bc", met)
        tell(CORRECTED, "bc_beats", of_beats)
    if spoken.semantic is not None:
        semantic = spoken.semantic[:frames]
        for mode, module in ((PUBLISHED, published), (CORRECTED, corrected)):
            tell(mode, "srgr", module.semantic_relevant_recall(found, wanted, semantic))
    for name, part in _of_face(moved, spoken, frames).items():
        mode, _, plain = name.partition(".")
        tell(mode, plain, part)
    return parts


def _positions(moved: Moved, frames: int, offsets: torch.Tensor) -> np.ndarray:
    """Joints (T, 55, 3) in metres without the body's path."""
    poses = torch.tensor(moved.poses[:frames], dtype=torch.float32)
    return joint_positions(poses, rest_offsets=offsets).numpy()


def _of_face(moved: Moved, spoken: Spoken, frames: int) -> dict[str, Part]:
    """MSE and LVD of both modes, some frames at a time; {} without vertices."""
    pair = (moved, spoken.moved)
    if spoken.face is None or any(m.expressions is None for m in pair):
        return {}
    sums: dict[str, Part] = {}
    for first in range(0, frames, _FACE_FRAMES):
        # A frame before, since velocities are between frames.
        span = slice(max(0, first - 1), min(first + _FACE_FRAMES, frames))
        ours, theirs = (_vertices(spoken.face, m, span) for m in pair)
        new = slice(first - span.start, None)
        each = {
            "published.mse": published.face_mse(ours[new], theirs[new]),
            "corrected.mse": corrected.face_mse(ours[new], theirs[new]),
            "published.lvd": _positions_apart(ours, theirs),
            "corrected.lvd": corrected.face_velocity(ours, theirs, FPS),
        }
        for name, (total, weight) in each.items():
            before = sums.get(name, (0.0, 0.0))
            sums[name] = before[0] + total, before[1] + weight
    total, weight = sums["published.lvd"]
    if weight:
        sums["published.lvd"] = total / weight * frames, frames
    return sums


def _positions_apart(ours: np.ndarray, theirs: np.ndarray) -> Part:
    """`published.lip_vertex_difference` of a stretch, weighted by its steps."""
    total, weight = published.lip_vertex_difference(ours, theirs)
    steps = len(ours) - 1
    return (total / weight * steps, steps) if weight else (0.0, 0.0)


def _vertices(face: Face, moved: Moved, span: slice) -> np.ndarray:
    assert moved.expressions is not None
    poses = torch.tensor(moved.poses[span], dtype=torch.float32)
    return face.vertices(poses, torch.tensor(moved.expressions[span], dtype=torch.float32)).numpy()


def mean_joint_speeds(motions: Iterable[np.ndarray]) -> np.ndarray:
    """Mean speed of each joint over a corpus, metres a second (55,): what beats are relative to.

    Args:
        motions: poses (T, 165) of recorded takes.
    """
    total, frames = np.zeros(len(JOINT_NAMES)), 0
    for poses in motions:
        found = speeds(joint_positions(torch.tensor(poses, dtype=torch.float32)).numpy(), FPS)
        total += found.sum(axis=0)
        frames += len(found)
    # The pelvis, without its path, does not move; nothing is relative to it.
    return np.maximum(total / max(frames, 1), 1e-9)
