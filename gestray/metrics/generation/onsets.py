"""When syllables begin: onsets of speech, as `librosa.onset.onset_detect` finds them.

Beat consistency is defined by that function's defaults, so they are followed to the letter
(a test compares the two); without the library, whose compiler takes longer to start than a
minute of motion to score.

Shapes: S samples, N hops, M mel bands.
"""

from __future__ import annotations

import numpy as np

from gestray.speech.mel import slaney_filters

_FFT, _HOP, _BANDS = 2048, 512, 128
_DELTA = 0.07
_PRE_MAX_S, _POST_MAX_S, _MEAN_S, _WAIT_S = 0.03, 0.0, 0.10, 0.03


def onset_times(samples: np.ndarray, rate: int) -> np.ndarray:
    """Onsets in seconds, float64, ascending; none in silence.

    Args:
        samples: mono float (S,) in [-1, 1].
        rate: samples a second.
    """
    strength = onset_strength(samples, rate)
    if not strength.any():
        return np.zeros(0)
    strength = strength - strength.min()
    strength /= strength.max() + np.finfo(strength.dtype).tiny
    return _peaks(strength, rate) * (_HOP / rate)


def onset_strength(samples: np.ndarray, rate: int) -> np.ndarray:
    """By how much the bands of a log-mel spectrogram rise from hop to hop, on average (N,).

    Spectral flux (Böck and Widmer 2013) on 128 Slaney mel bands, of windows of 2048 samples
    that are centred on the hops.
    """
    padded = np.pad(samples.astype(np.float32), _FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)).astype(np.float32)
    power = np.concatenate(
        [
            np.square(np.abs(np.fft.rfft(frames[first : first + 512] * window, axis=1)))
            for first in range(0, len(frames), 512)
        ]
    )
    to_bands = slaney_filters(_FFT, rate, _BANDS).astype(np.float32)
    decibels = 10 * np.log10(np.maximum(power.astype(np.float32) @ to_bands, 1e-10))
    decibels = np.maximum(decibels, decibels.max() - 80)
    flux = np.maximum(np.diff(decibels, axis=0), 0).mean(axis=1)
    # One hop is lost to the difference, two that the window looks ahead.
    lag = 1 + _FFT // (2 * _HOP)
    return np.pad(flux, (lag, 0))[: len(frames)]


def _peaks(strength: np.ndarray, rate: int) -> np.ndarray:
    """Hops that are the largest nearby, and well above the mean nearby (Böck et al. 2012)."""
    pre_max, wait = (int(np.ceil(s * rate // _HOP)) for s in (_PRE_MAX_S, _WAIT_S))
    post_max = int(np.ceil(_POST_MAX_S * rate // _HOP + 1))
    mean_hops = int(np.ceil(_MEAN_S * rate // _HOP))
    count = len(strength)
    wide = np.pad(strength, (pre_max, post_max - 1), constant_values=-np.inf)
    largest = np.lib.stride_tricks.sliding_window_view(wide, pre_max + post_max).max(axis=1)
    sums = np.concatenate([[0], np.cumsum(strength, dtype=np.float64)])
    first = np.maximum(np.arange(count) - mean_hops, 0)
    last = np.minimum(np.arange(count) + mean_hops + 1, count)
    means = (sums[last] - sums[first]) / (last - first)
    candidates = np.flatnonzero((strength >= largest) & (strength >= means + _DELTA))
    if wait < 1:
        return candidates
    kept: list[int] = []
    for hop in candidates.tolist():
        if not kept or hop > kept[-1] + wait:
            kept.append(hop)
    return np.array(kept, dtype=np.int64)
