"""The face of a take: jaw and mouth shapes on syllables, blinks, and eyes that jump.

The jaw of BEAT2 moves little (a standard deviation of 0.013 rad in the recording that
`idle` was measured on): most of speech is in the expression coefficients. Here each
syllable opens the jaw and draws the first coefficients to the shape of its vowel, wider
where the word is stressed, so that a model of the face has speech to follow.
"""

from __future__ import annotations

import numpy as np

from gestray.corpora.synthetic.idle import EXPRESSION_HZ, EXPRESSION_SPREAD, smooth_noise
from gestray.corpora.synthetic.stroke import FPS
from gestray.corpora.synthetic.voice import Phone

NUM_EXPRESSIONS = 100

BLINK_COEFFICIENT = 10
"""Expression coefficient that closes the eyes."""

# Height of a syllable's opening of the jaw, radians; how much wider stress makes it; its width.
_JAW, _STRESS, _SYLLABLE_S = (0.02, 0.042), 1.35, 0.065
# Pull of a vowel (see `voice.VOWEL_CLASSES`) on the first coefficients of the expression.
_VOWEL_SHAPES: dict[str, tuple[float, float, float, float]] = {
    "A": (0.8, 0.1, -0.2, 0.4),
    "E": (0.4, 0.5, -0.1, 0.1),
    "I": (0.2, 0.7, 0.0, -0.2),
    "O": (0.6, -0.3, 0.5, 0.3),
    "U": (0.2, -0.5, 0.7, 0.0),
}
# The other coefficients wander with this share of the spread of a real face.
_WANDER = 0.8
# Blinks a second in talk (Bentivoglio et al. 1997: 26 a minute in conversation).
_BLINKS_PER_S, _BLINK_S, _BLINK = 26 / 60, 0.06, 1.2
# Eyes rest between 0.5 and 2.5 s on a spot, and jump within 0.07 s.
_GAZE_S, _JUMP_S = (0.5, 2.5), 0.07
_GAZE_SPREAD = (0.02, 0.035, 0.0)


def face_motion(
    phones: list[Phone], frames: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a face does while `phones` are said.

    Returns:
        Jaw opening in radians (T,), rotation vectors of both eyes (T, 3), and expression
        coefficients (T, 100).
    """
    seconds = np.arange(frames) / FPS
    vowels = [phone for phone in phones if phone.label[0] in _VOWEL_SHAPES]
    times = np.array([(vowel.start_s + vowel.end_s) / 2 for vowel in vowels])
    effort = np.array([_STRESS if vowel.label[1:] == "1" else 1.0 for vowel in vowels])
    effort = effort * rng.uniform(*_JAW, len(vowels))
    # One opening a syllable, (T, S).
    opening = bumps(seconds, times, _SYLLABLE_S) * effort
    jaw = opening.sum(axis=1)

    expressions = np.zeros((frames, NUM_EXPRESSIONS))
    wandering = smooth_noise(frames, len(EXPRESSION_SPREAD), rng, EXPRESSION_HZ)
    expressions[:, : len(EXPRESSION_SPREAD)] = _WANDER * np.array(EXPRESSION_SPREAD) * wandering
    shapes = np.array([_VOWEL_SHAPES[vowel.label[0]] for vowel in vowels]).reshape(-1, 4)
    expressions[:, : shapes.shape[1]] *= 0.4
    expressions[:, : shapes.shape[1]] += opening / np.mean(_JAW) @ shapes
    expressions[:, BLINK_COEFFICIENT] += _blinks(seconds, rng)
    return jaw, _gaze(seconds, rng), expressions


def bumps(seconds: np.ndarray, centres: np.ndarray, width_s: float) -> np.ndarray:
    """Gaussians (T, N) of height 1 and standard deviation `width_s` at `centres` (N,)."""
    return np.exp(-0.5 * ((seconds[:, None] - centres) / width_s) ** 2)


def _blinks(seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    count = rng.poisson(_BLINKS_PER_S * len(seconds) / FPS)
    times = rng.uniform(0, len(seconds) / FPS, count)
    return _BLINK * bumps(seconds, times, _BLINK_S).max(axis=1, initial=0.0)


def _gaze(seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotation vectors (T, 3): still on a spot, then a quick jump to the next."""
    rests = rng.uniform(*_GAZE_S, int(len(seconds) / FPS / _GAZE_S[0]) + 2)
    spots = rng.normal(0, 1, (len(rests) + 1, 3)) * _GAZE_SPREAD
    jumps = np.cumsum(rests)
    number = np.searchsorted(jumps, seconds)
    began = np.where(number > 0, jumps[number - 1], -1.0)
    share = np.clip((seconds - began) / _JUMP_S, 0.0, 1.0)[:, None]
    return spots[np.maximum(number - 1, 0)] * (1 - share) + spots[number] * share
