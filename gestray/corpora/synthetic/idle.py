"""Idle motion: how joints wander while a person stands and talks.

A body that is still between gestures would tell a model nothing of real recordings. Each
joint gets smooth noise with the spread and the speed of a real speaker's. The figures of
`IDLE` were measured on one BEAT2 recording (speaker 2, take 1; Liu et al. 2024, EMAGE):
standard deviations of the rotation about its mean and, of its power spectrum, the
frequencies below which half and nine tenths of the power lie; both sides averaged. Arms and
fingers are those of that recording's quiet stretches (wrist below 0.15 m/s against the
chest), for the rest of their spread comes from gestures. No frame of the recording is here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gestray.corpora.synthetic.stroke import FPS


@dataclass(frozen=True)
class Idle:
    """The wandering of a joint.

    Attributes:
        spread: standard deviations about x, y and z of the joint's own frame, radians; those
            of a left joint.
        median_hz: half of the power lies below.
        top_hz: nine tenths of the power lie below.
    """

    spread: tuple[float, float, float]
    median_hz: float
    top_hz: float


IDLE: dict[str, Idle] = {
    "pelvis": Idle((0.087, 0.156, 0.067), 0.14, 0.49),
    "spine1": Idle((0.071, 0.037, 0.040), 0.14, 0.58),
    "spine2": Idle((0.050, 0.033, 0.031), 0.14, 0.65),
    "spine3": Idle((0.021, 0.014, 0.017), 0.20, 0.91),
    "neck": Idle((0.068, 0.073, 0.053), 0.20, 0.61),
    "head": Idle((0.042, 0.058, 0.041), 0.22, 0.90),
    "collar": Idle((0.016, 0.033, 0.037), 0.27, 0.92),
    "shoulder": Idle((0.031, 0.046, 0.045), 0.33, 0.94),
    "elbow": Idle((0.066, 0.139, 0.098), 0.24, 0.76),
    "wrist": Idle((0.171, 0.035, 0.066), 0.28, 0.94),
    "index": Idle((0.034, 0.037, 0.094), 0.45, 1.65),
    "middle": Idle((0.037, 0.050, 0.105), 0.38, 1.30),
    "ring": Idle((0.046, 0.050, 0.115), 0.37, 1.45),
    "pinky": Idle((0.133, 0.088, 0.094), 0.25, 1.12),
    "thumb": Idle((0.064, 0.065, 0.050), 0.45, 1.45),
}
"""By joint; `index` to `thumb` hold for each joint of that finger."""

# Coefficients of a face, the first twelve: their spread, and the frequencies as above.
EXPRESSION_SPREAD: tuple[float, ...] = (
    *(0.28, 0.17, 0.15, 0.39, 0.19, 0.32, 0.19, 0.35, 0.23, 0.34, 0.27, 0.66),
)
EXPRESSION_HZ = (0.55, 2.6)

# Of the normal distribution: nine tenths lie below mean + this many standard deviations.
_NORMAL_TOP = 1.2816


def wander(joint_name: str, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Rotation vectors (T, 3) of a left or middle joint's wandering, radians.

    Args:
        joint_name: `spine1`, `left_elbow`, `right_index2` and so on; sides move alike.
        frames: T.
        rng: source of the noise.
    """
    kind = joint_name.removeprefix("left_").removeprefix("right_").rstrip("123")
    idle = IDLE.get(kind) or IDLE[joint_name]
    return np.array(idle.spread) * smooth_noise(frames, 3, rng, (idle.median_hz, idle.top_hz))


def smooth_noise(
    frames: int, channels: int, rng: np.random.Generator, hz: tuple[float, float]
) -> np.ndarray:
    """Normal noise (T, C), unit variance, half of its power below `hz[0]`, 90 % below `hz[1]`.

    The power spectrum is log-normal over frequency, as smooth as two figures leave it. A take
    is shorter than the slowest waves, so its mean wanders too, as a person's posture does.
    """
    # Twice the length: the noise must not close on itself within the take.
    length = 1 << int(np.ceil(np.log2(2 * frames)))
    frequency = np.fft.rfftfreq(length, 1 / FPS)[1:]
    sigma = np.log(hz[1] / hz[0]) / _NORMAL_TOP
    power = np.exp(-0.5 * (np.log(frequency / hz[0]) / sigma) ** 2) / frequency
    amplitude = np.sqrt(power / power.sum())
    wave = rng.normal(size=(2, channels, len(frequency)))
    spectrum = np.zeros((channels, length // 2 + 1), dtype=np.complex128)
    spectrum[:, 1:] = amplitude * (wave[0] + 1j * wave[1])
    # irfft divides by the length; each bin stands for itself and its conjugate.
    return np.fft.irfft(spectrum, length, axis=1)[:, :frames].T * (length / 2)
