"""The published definitions written down a second time, slowly and plainly, as an oracle.

Loops where the definition has sums, `librosa` and `scipy` where the field's code uses them.
"""

from __future__ import annotations

import math

import numpy as np

UPPER = [3, 6, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]


def beat_consistency(positions, audio, rate, mean_speeds, trim, threshold, fps=30):
    """Mean over the upper body's joints of the mean over onsets of exp(−d² / 2σ²), ×10."""
    import librosa
    from scipy.signal import argrelextrema

    frames = len(positions)
    audio = audio[: int(rate / fps * frames)]
    offset = int(trim * (rate / fps))
    onsets = librosa.onset.onset_detect(
        y=audio[offset : len(audio) - offset], sr=rate, hop_length=512, units="time"
    )
    velocity = np.zeros_like(positions)
    for frame in range(frames):
        if frame == 0:
            velocity[frame] = (positions[1] - positions[0]) * fps
        elif frame == frames - 1:
            velocity[frame] = (positions[-1] - positions[-2]) * fps
        else:
            velocity[frame] = (positions[frame + 1] - positions[frame - 1]) * fps / 2
    scores = []
    for j in UPPER:
        speed = np.linalg.norm(velocity[:, j], axis=-1) / mean_speeds[j]
        fast = set(np.where(speed > threshold)[0].tolist())
        minima = argrelextrema(speed[trim : frames - trim], np.less, order=7)[0]
        beats = [m / fps for m in minima.tolist() if m in fast]
        total = 0.0
        for onset in onsets:
            nearest = min((abs(onset - beat) for beat in beats), default=math.inf)
            total += math.exp(-(nearest**2) / (2 * 0.3**2))
        scores.append(total / len(onsets))
    return 10 * sum(scores) / len(scores)


def l1_diversity(positions):
    total = 0.0
    flat = positions.reshape(len(positions), 165)
    mean = flat.sum(axis=0) / len(flat)
    for frame in flat:
        total += sum(abs(float(x) - float(m)) for x, m in zip(frame, mean, strict=True))
    return total / len(flat)


def srgr(positions, recorded, semantic, threshold=0.1):
    total = 0.0
    for ours, theirs, score in zip(positions, recorded, semantic, strict=True):
        right = [float(abs(a - b).sum()) < threshold for a, b in zip(ours, theirs, strict=True)]
        total += sum(right) / len(right) * float(score) / 0.165
    return total / len(positions)


def mse(vertices, recorded):
    return 1e8 * float(((vertices.astype(float) - recorded.astype(float)) ** 2).mean())


def lvd(vertices, recorded):
    """L1 of (next of ours − this of theirs) against (next of theirs − this of theirs)."""
    vertices, recorded = vertices.astype(float), recorded.astype(float)
    ours, theirs = vertices[1:] - recorded[:-1], recorded[1:] - recorded[:-1]
    return 1e5 * float(np.abs(ours - theirs).mean())


def frechet(one, other):
    """×10, of features of frames, by the matrix root."""
    from scipy.linalg import sqrtm

    means = [x.mean(axis=0) for x in (one, other)]
    spreads = [np.cov(x, rowvar=False) for x in (one, other)]
    root = sqrtm(spreads[0] @ spreads[1])
    apart = means[0] - means[1]
    return 10 * float(apart @ apart + np.trace(spreads[0] + spreads[1] - 2 * root.real))
