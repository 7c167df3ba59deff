"""Mel filter banks: triangles that sum a spectrum's power in bands as wide as the ear's.

Two scales are in use. Slaney's is what librosa and speech models take, and what is compared with
them takes it, too; features of our own are evenly spaced on O'Shaughnessy's.

Shapes: K bins of a spectrum of a window (samples / 2 + 1), M bands.
"""

from __future__ import annotations

from functools import cache

import numpy as np

# Slaney's scale: mels are 200 / 3 Hz up to 1 kHz, and 27 of them multiply by 6.4 above.
_LINEAR_HZ, _CORNER_HZ, _STEP = 200 / 3, 1000.0, np.log(6.4) / 27


@cache
def slaney_filters(window: int, rate: int, bands: int) -> np.ndarray:
    """Filters of equal area, from 0 Hz to half the rate: (K, M), float64.

    Linear below 1 kHz and logarithmic above (Slaney 1998, Auditory Toolbox).

    Args:
        window: samples of the window.
        rate: samples a second, above 2000.
        bands: M.
    """
    corner = _CORNER_HZ / _LINEAR_HZ
    highest = float(corner + np.log(rate / 2 / _CORNER_HZ) / _STEP)
    mels = np.linspace(0, highest, bands + 2)
    above = _CORNER_HZ * np.exp(_STEP * (mels - corner))
    edges = np.where(mels < corner, mels * _LINEAR_HZ, above)
    triangles = _triangles(np.linspace(0, rate / 2, window // 2 + 1), edges)
    return triangles * (2 / (edges[2:] - edges[:-2]))


@cache
def oshaughnessy_filters(
    window: int, rate: int, bands: int, lowest_hz: float, highest_hz: float
) -> np.ndarray:
    """Filters of equal weight, evenly spaced on the scale of O'Shaughnessy (1987): (K, M), float64.

    Args:
        window: samples of the window.
        rate: samples a second.
        bands: M.
        lowest_hz, highest_hz: where the first begins and the last ends.
    """

    def mel(hertz: np.ndarray) -> np.ndarray:
        return 2595 * np.log10(1 + hertz / 700)

    lowest, highest = mel(np.array([lowest_hz, highest_hz]))
    at = mel(np.fft.rfftfreq(window, 1 / rate))
    triangles = _triangles(at, np.linspace(lowest, highest, bands + 2))
    return triangles / np.maximum(triangles.sum(axis=0), 1e-9)


def _triangles(at: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Each rises from an edge (M + 2,) to 1 at the next and falls to the one after: (K, M)."""
    rising = (at[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - at[:, None]) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(rising, falling))
