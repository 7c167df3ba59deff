"""The motion of a take: arms from the gestures, and all else that keeps a body alive.

Around the gestures the body sways over feet that stay in place, breathes, moves its
head with the gesture and the stress of the words, and opens its mouth on syllables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from gestray.corpora.synthetic.arms import arm_motion
from gestray.corpora.synthetic.grammar import SpokenWord
from gestray.corpora.synthetic.ik import ARM_JOINTS
from gestray.corpora.synthetic.script import Utterance
from gestray.corpora.synthetic.speakers import Speaker
from gestray.corpora.synthetic.stroke import FPS, Gesture, minimum_jerk
from gestray.motion.skeleton import LEFT_HAND, REST_OFFSETS, RIGHT_HAND, joint

_NUM_JOINTS = 55
_NUM_EXPRESSIONS = 100
# Height of the pelvis above the floor, metres: the legs, and the sole below the foot joint.
_STAND_HEIGHT = -float(
    sum(REST_OFFSETS[joint(f"left_{name}")][1] for name in ("hip", "knee", "ankle", "foot"))
)
_STAND_HEIGHT += 0.02
_LEG_LENGTH = -float(sum(REST_OFFSETS[joint(f"left_{name}")][1] for name in ("knee", "ankle")))

# Amplitudes of the head's moves and of the jaw, radians.
_NOD, _SHAKE, _TILT = 0.13, 0.22, 0.16
_STRESS_NOD = 0.035
_JAW = (0.07, 0.15)
# Periods per second of a nod and of a shake.
_NOD_HZ, _SHAKE_HZ = 1.6, 2.0
# The head moves longer than the hands: seconds before and after the stroke.
_HEAD_MARGIN_S = 0.25
_BREATH_HZ = 0.25
_VOWELS = re.compile(r"[aeiouy]+")


@dataclass(frozen=True)
class TakeMotion:
    """SMPL-X motion of T frames at 30 fps.

    Attributes:
        poses: axis-angle, radians, float32 (T, 165).
        trans: metres, float64 (T, 3).
        expressions: float64 (T, 100); all but the first few are zero.
    """

    poses: np.ndarray
    trans: np.ndarray
    expressions: np.ndarray


def make_motion(
    utterances: list[Utterance], speaker: Speaker, frames: int, rng: np.random.Generator
) -> TakeMotion:
    """Motion of a take that follows its script."""
    gestures = [utterance.gesture for utterance in utterances if utterance.gesture is not None]
    words = [word for utterance in utterances for word in utterance.words]
    joints = np.zeros((frames, _NUM_JOINTS, 3))
    sway = speaker.sway_m * _noise(frames, 2, rng, hz=(0.05, 0.35))
    _stand(joints, sway, rng)
    _hold_trunk(joints, speaker, rng)
    _move_head(joints, gestures, words, speaker, rng)
    for side, hand_joints in (("left", LEFT_HAND), ("right", RIGHT_HAND)):
        arm, hand = arm_motion(gestures, side, speaker.rest, frames)
        idle = _noise(frames, 3 * len(ARM_JOINTS), rng, hz=(0.08, 0.5)).reshape(frames, -1, 3)
        joints[:, [joint(f"{side}_{name}") for name in ARM_JOINTS]] = arm + 0.005 * idle
        loose = _noise(frames, len(hand_joints) * 3, rng, hz=(0.1, 0.6)).reshape(frames, -1, 3)
        joints[:, hand_joints] = hand + 0.01 * loose
    mouth = _mouth(words, frames, rng)
    joints[:, joint("jaw"), 0] = mouth
    trans = np.array([0.0, _STAND_HEIGHT, 0.0]) + rng.normal(0, 0.05, 3) * (1, 0, 1)
    trans = trans + np.stack([sway[:, 0], np.zeros(frames), sway[:, 1]], axis=1)
    return TakeMotion(
        joints.reshape(frames, -1).astype(np.float32), trans, _expressions(mouth, rng)
    )


def _stand(joints: np.ndarray, sway: np.ndarray, rng: np.random.Generator) -> None:
    """Turns the legs against the sway (T, 2) of the pelvis, so that the feet stay."""
    joints[:, joint("pelvis"), 1] = rng.normal(0, 0.08)
    to_front, to_side = sway[:, 1] / _LEG_LENGTH, -sway[:, 0] / _LEG_LENGTH
    for side in ("left", "right"):
        for name, sign in (("hip", 1), ("ankle", -1)):
            joints[:, joint(f"{side}_{name}"), 0] = sign * to_front
            joints[:, joint(f"{side}_{name}"), 2] = sign * to_side


def _hold_trunk(joints: np.ndarray, speaker: Speaker, rng: np.random.Generator) -> None:
    frames = len(joints)
    breath = np.sin(2 * np.pi * (_BREATH_HZ * np.arange(frames) / FPS + rng.random()))
    drift = _noise(frames, 9, rng, hz=(0.05, 0.3)).reshape(frames, 3, 3)
    for k, name in enumerate(("spine1", "spine2", "spine3")):
        joints[:, joint(name)] = 0.018 * drift[:, k]
        joints[:, joint(name), 0] += speaker.lean / 3
    joints[:, joint("spine3"), 0] -= 0.008 * breath


def _move_head(
    joints: np.ndarray,
    gestures: list[Gesture],
    words: list[SpokenWord],
    speaker: Speaker,
    rng: np.random.Generator,
) -> None:
    frames = len(joints)
    seconds = np.arange(frames) / FPS
    head = 0.035 * _noise(frames, 3, rng, hz=(0.08, 0.4))
    head[:, 0] += speaker.head_pitch - 0.6 * speaker.lean
    starts = np.array([word.start_s for word in words if word.stressed])
    head[:, 0] += _STRESS_NOD * _bumps(seconds, starts + 0.1, 0.09)
    margin = round(_HEAD_MARGIN_S * FPS)
    for gesture in gestures:
        span = slice(max(gesture.first - margin, 0), gesture.last + margin)
        local = np.arange(span.stop - span.start) / FPS
        local = local[: frames - span.start]
        ramp = minimum_jerk(np.minimum(local, local[::-1]) / _HEAD_MARGIN_S)
        match gesture.variant.head:
            case "nod":
                head[span, 0] += _NOD * ramp * np.sin(2 * np.pi * _NOD_HZ * local)
            case "shake":
                head[span, 1] += _SHAKE * ramp * np.sin(2 * np.pi * _SHAKE_HZ * local)
            case "tilt":
                head[span, 2] += _TILT * ramp * rng.choice([-1.0, 1.0])
    joints[:, joint("neck")] += 0.5 * head
    joints[:, joint("head")] += 0.5 * head


def _mouth(words: list[SpokenWord], frames: int, rng: np.random.Generator) -> np.ndarray:
    """Opening of the jaw, radians (T,): one movement a syllable."""
    centres = []
    for word in words:
        syllables = max(len(_VOWELS.findall(word.text)), 1)
        share = (np.arange(syllables) + 0.5) / syllables
        centres.append(word.start_s + share * (word.end_s - word.start_s))
    if not centres:
        return np.zeros(frames)
    times = np.concatenate(centres)
    return _bumps(np.arange(frames) / FPS, times, 0.07, rng.uniform(*_JAW, len(times)))


def _expressions(mouth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Expression coefficients (T, 100): the first follows the mouth, four more drift."""
    expressions = np.zeros((len(mouth), _NUM_EXPRESSIONS))
    expressions[:, 0] = 6 * mouth
    expressions[:, 1:5] = 0.25 * _noise(len(mouth), 4, rng, hz=(0.1, 0.8))
    return expressions


def _bumps(
    seconds: np.ndarray,
    centres: np.ndarray,
    width_s: float,
    heights: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Sum (T,) of Gaussians of standard deviation `width_s` at `centres`."""
    away = (seconds[:, None] - centres) / width_s
    return (heights * np.exp(-0.5 * away**2)).sum(axis=1)


def _noise(
    frames: int, channels: int, rng: np.random.Generator, hz: tuple[float, float]
) -> np.ndarray:
    """Smooth noise (T, C) of unit variance: four sines a channel, of frequencies within `hz`."""
    waves = 4
    frequency = rng.uniform(*hz, (waves, channels))
    phase = rng.random((waves, channels))
    turns = frequency * (np.arange(frames) / FPS)[:, None, None] + phase
    return np.sin(2 * np.pi * turns).sum(axis=1) * np.sqrt(2 / waves)
