"""How much each word stands out: louder and longer than the words around it.

Two of the three cues that wavelet prosody analysis joins (Suni et al. 2017), without pitch, each
on the scale of the speech itself, so that a quiet speaker stands out as a loud one does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gestray.speech.audio import SAMPLE_RATE
from gestray.speech.words import Word

_STEP = SAMPLE_RATE // 100
_SILENCE = 1e-7  # power, −70 dB of full scale


def prominence_of(words: Sequence[Word], samples: np.ndarray) -> np.ndarray:
    """Prominence of words (W,), in standard deviations from the mean of the speech.

    Args:
        words: with times, in seconds since the first sample.
        samples: float32 (N,) at 16 kHz.
    """
    if not words:
        return np.zeros(0)
    whole = len(samples) // _STEP
    power = np.square(samples[: whole * _STEP]).reshape(whole, _STEP).mean(axis=1)
    level = np.log(np.append(power, 0.0) + _SILENCE)
    loudest, longest = np.zeros(len(words)), np.zeros(len(words))
    for number, word in enumerate(words):
        assert word.start_s is not None and word.end_s is not None
        first = min(int(word.start_s * 100), whole)
        loudest[number] = level[first : max(first + 1, round(word.end_s * 100))].max()
        letters = max(1, sum(map(str.isalnum, word.word)))
        # Per letter a short word is long: its first letters take longest.
        longest[number] = np.log(max(word.end_s - word.start_s, 0.01) / (letters + 2))
    return (_standard(loudest) + _standard(longest)) / 2


def _standard(values: np.ndarray) -> np.ndarray:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros(len(values))
