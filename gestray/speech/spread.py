"""Times for the words of a transcript that has none, where no aligner is at hand.

Words are laid out over the stretches in which somebody speaks, each as long as its letters ask
for. A forced aligner (`gestray.speech.alignment`) is better by far; this keeps a
transcript useful without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gestray.speech.features import FRAMES_PER_S, MelFeatures, Sound, frames_in
from gestray.speech.words import Word


def spread_words(words: Sequence[Word], samples: np.ndarray) -> list[Word]:
    """The words in their order, with times over the spoken stretches of float32 samples (N,).

    Where nothing is loud enough to be speech, they share the whole recording.
    """
    frames = frames_in(len(samples))
    if not words or not frames:
        return list(words)
    mel = MelFeatures()
    spoken = mel.spoken(mel(Sound(samples), 0, frames))
    if not spoken.any():
        spoken = np.ones(frames, bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], spoken, [False]]).astype(int)))
    starts, ends = edges[::2], edges[1::2]  # of the stretches, in frames
    # A clock that runs only while somebody speaks, and what it shows where stretches begin.
    before = np.concatenate([[0], np.cumsum(ends - starts)])
    letters = np.array([sum(map(str.isalnum, word.word)) + 1 for word in words])
    shows = np.concatenate([[0], np.cumsum(letters)]) / letters.sum() * before[-1]
    # A word lies in the stretch of its middle: none goes on after a pause.
    middles = (shows[:-1] + shows[1:]) / 2
    within = np.searchsorted(before, middles, side="right") - 1
    begins = starts[within] + np.maximum(shows[:-1] - before[within], 0)
    stops = np.minimum(starts[within] + shows[1:] - before[within], ends[within])
    return [
        replace(word, start_s=float(start), end_s=float(end))
        for word, start, end in zip(
            words,
            np.round(begins / FRAMES_PER_S, 4),
            np.round(stops / FRAMES_PER_S, 4),
            strict=True,
        )
    ]
