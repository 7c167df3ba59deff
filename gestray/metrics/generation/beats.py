"""Beats of motion: moments at which a joint, having moved, is slowest.

Shapes: T frames, J joints.
"""

from __future__ import annotations

import numpy as np


def speeds(positions: np.ndarray, fps: float) -> np.ndarray:
    """Speed of joints in metres a second (T, J), by central differences.

    Args:
        positions: metres (T, J, 3), T at least 2.
        fps: frames a second.
    """
    return np.linalg.norm(np.gradient(positions, axis=0) * fps, axis=-1)


def slowest(values: np.ndarray, order: int) -> np.ndarray:
    """Where values (T, J) are below all of the `order` frames to either side, bool (T, J).

    Beyond the ends a frame's neighbours are the end itself, as in `scipy.signal.argrelmin`;
    the ends are no minima.
    """
    padded = np.pad(values, ((order, order), (0, 0)), mode="edge")
    nearby = np.lib.stride_tricks.sliding_window_view(padded, order, axis=0).min(axis=-1)
    frames = len(values)
    return (values < nearby[:frames]) & (values < nearby[order + 1 : order + 1 + frames])


def nearness(times: np.ndarray, others: np.ndarray, sigma: float) -> np.ndarray:
    """exp(−d² / 2σ²) of each time's distance d to the nearest of the others; without any, 0.

    Args:
        times: seconds (N,).
        others: seconds (M,), ascending.
        sigma: seconds.
    """
    if not len(others):
        return np.zeros(len(times))
    after = np.searchsorted(others, times).clip(1, max(1, len(others) - 1))
    first, last = others[after - 1], others[after.clip(max=len(others) - 1)]
    distance = np.minimum(np.abs(times - first), np.abs(last - times))
    return np.exp(-np.square(distance) / (2 * sigma**2))
