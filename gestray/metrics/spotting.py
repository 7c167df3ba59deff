"""Gesture word spotting: where in a clip is the gesture of this word? (JEGAL, 2025)

Of each clip some words are known to carry a gesture. Every frame is compared with every
word of the clip; the similarities over JEGAL's temperature become, by a softmax over the
words, the chance that the frame belongs to a word. The word is spotted if the frame where
its chance is highest lies within the word's time, 0.36 s of margin on either side, and the
chance there is a half or more. Frames are those of the motion tower, which may cover several
of the recording; they count where they have their middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gestray.errors import UserError

MARGIN_S = 0.36
TEMPERATURE = 0.07
LEAST_CHANCE = 0.5


@dataclass(frozen=True)
class SpottingClip:
    """A clip with its words, and which of them are to be spotted.

    Attributes:
        frames: (K, D) embeddings of motion, need not be normalised.
        times_s: (K,) middles of the frames, in the time of the words.
        words: (W, D) embeddings of the words.
        starts_s, ends_s: (W,) of the words.
        targets: (N,) numbers of the words that carry a gesture.
    """

    frames: NDArray[np.float32]
    times_s: NDArray[np.float64]
    words: NDArray[np.float32]
    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]
    targets: Sequence[int]


def spot_words(clips: Sequence[SpottingClip]) -> Mapping[str, NDArray[np.float64]]:
    """Figures of every target, in the order of the clips and their targets.

    Returns:
        ``accuracy``: 1 if it is spotted; ``located``: 1 if the frame where its chance is
        highest is in its time, whatever that chance is (a tie counts the share of the frames
        in its time); ``chance``: the share of frames that are, which is what frames chosen
        at random are `located`.

    Raises:
        UserError: an embedding is not finite, or has another size than the others.
    """
    found: dict[str, list[float]] = {"accuracy": [], "located": [], "chance": []}
    for number, clip in enumerate(clips):
        chance_KN = _chances(clip, number)[:, list(clip.targets)]
        for column, target in enumerate(clip.targets):
            chance_K = chance_KN[:, column]
            near = (clip.times_s >= clip.starts_s[target] - MARGIN_S) & (
                clip.times_s <= clip.ends_s[target] + MARGIN_S
            )
            highest = chance_K.max()
            located = float(near[chance_K >= highest - 1e-9].mean())
            found["located"].append(located)
            found["accuracy"].append(located * (highest >= LEAST_CHANCE))
            found["chance"].append(float(near.mean()))
    return {name: np.array(values) for name, values in found.items()}


def _chances(clip: SpottingClip, number: int) -> NDArray[np.float64]:
    """(K, W): of each frame, the chance of every word."""
    sides = []
    for name in ("frames", "words"):
        values = np.asarray(getattr(clip, name), np.float64)
        norms = np.linalg.norm(values, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or not len(values):
            raise UserError(
                f"clip {number}: found {len(values)} {name}, some not finite; expected one at "
                "least and finite embeddings: the encoder has diverged"
            )
        sides.append(values / np.maximum(norms, 1e-9))
    logits = sides[0] @ sides[1].T / TEMPERATURE
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
