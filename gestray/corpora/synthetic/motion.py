"""The motion of a take: arms from the gestures, and all else that keeps a body alive.

Around the gestures the body stands and steps (`legs`), wanders idly (`idle`), breathes,
moves its head with the gesture and the stress of the words, and speaks (`face`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gestray.corpora.synthetic.arms import arm_motion
from gestray.corpora.synthetic.face import bumps, face_motion
from gestray.corpora.synthetic.gesture import HandStroke
from gestray.corpora.synthetic.grammar import SpokenWord
from gestray.corpora.synthetic.idle import wander
from gestray.corpora.synthetic.ik import ARM_JOINTS
from gestray.corpora.synthetic.legs import SIDES, Moves, Standing, stand
from gestray.corpora.synthetic.looseness import loosen
from gestray.corpora.synthetic.script import Utterance
from gestray.corpora.synthetic.speakers import Speaker
from gestray.corpora.synthetic.stroke import FPS, Gesture, minimum_jerk
from gestray.motion.skeleton import JOINT_NAMES, LEFT_HAND, RIGHT_HAND, joint

# Amplitudes of the head's moves, radians, and periods per second of a nod and of a shake.
_NOD, _SHAKE, _TILT = 0.13, 0.22, 0.16
_NOD_HZ, _SHAKE_HZ = 1.6, 2.0
# The head moves longer than the hands: seconds before and after the stroke.
_HEAD_MARGIN_S = 0.25
# A nod on a stressed word comes this long after its start, and lasts about four times as long.
_STRESS_LAG_S, _STRESS_WIDTH_S = 0.1, 0.09
# The head turns to somebody else after so many seconds, within so many; up or down, aside and
# to a shoulder by so much (standard deviations, radians).
_LOOK_S, _LOOK_TURN_S, _LOOK_SPREAD = (1.5, 6.0), 0.6, (0.06, 0.15, 0.04)
_BREATH_HZ, _BREATH = 0.25, 0.008
# Of the wandering of the pelvis on top of its heading; the spine makes up for most of it.
_PELVIS_WANDER, _COUNTER = (0.5, 0.3, 0.5), 0.7
# How often the hands rest at the speaker's usual place in a take.
_USUAL_REST = 0.7


@dataclass(frozen=True)
class TakeMotion:
    """SMPL-X motion of T frames at 30 fps.

    Attributes:
        poses: axis-angle, radians, float32 (T, 165).
        trans: metres, float64 (T, 3).
        expressions: float64 (T, 100).
        contacts: whether each of `legs.CONTACT_JOINTS` rests on its place, bool (T, 4).
        rest: where the hands are between gestures.
    """

    poses: np.ndarray
    trans: np.ndarray
    expressions: np.ndarray
    contacts: np.ndarray
    rest: HandStroke


def make_motion(
    utterances: list[Utterance], speaker: Speaker, frames: int, rng: np.random.Generator
) -> TakeMotion:
    """Motion of a take that follows its script."""
    gestures = [gesture for utterance in utterances for gesture in utterance.gestures]
    words = [word for utterance in utterances for word in utterance.words]
    joints = np.zeros((frames, len(JOINT_NAMES), 3))
    standing = _lower_body(joints, speaker, rng)
    _hold_trunk(joints, speaker, rng)
    _move_head(joints, gestures, words, speaker, rng)
    usual = rng.random() < _USUAL_REST
    rest = speaker.rests[0 if usual else int(rng.integers(1, len(speaker.rests)))]
    for side, hand in (("left", LEFT_HAND), ("right", RIGHT_HAND)):
        arm, fingers = arm_motion(gestures, side, rest, frames)
        joints[:, [joint(f"{side}_{name}") for name in ARM_JOINTS]] = arm
        joints[:, hand] = fingers
    loosen(joints, gestures, speaker.liveliness, rng)
    phones = [phone for utterance in utterances for phone in utterance.phones]
    jaw, eyes, expressions = face_motion(phones, frames, rng)
    joints[:, joint("jaw"), 0] = jaw
    joints[:, [joint("left_eye_smplhf"), joint("right_eye_smplhf")]] = eyes[:, None]
    return TakeMotion(
        joints.reshape(frames, -1).astype(np.float32),
        standing.pelvis,
        expressions,
        standing.contacts,
        rest,
    )


def _lower_body(joints: np.ndarray, speaker: Speaker, rng: np.random.Generator) -> Standing:
    turning = speaker.liveliness * wander("pelvis", len(joints), rng) * _PELVIS_WANDER
    standing = stand(speaker, len(joints), turning, rng)
    joints[:, joint("pelvis")] = standing.turn
    joints[:, joint("spine1")] = -_COUNTER * turning
    for side in SIDES:
        joints[:, [joint(f"{side}_{name}") for name in ("hip", "knee", "ankle", "foot")]] = (
            standing.legs[side]
        )
    return standing


def _hold_trunk(joints: np.ndarray, speaker: Speaker, rng: np.random.Generator) -> None:
    frames = len(joints)
    breath = np.sin(2 * np.pi * (_BREATH_HZ * np.arange(frames) / FPS + rng.random()))
    for name in ("spine1", "spine2", "spine3"):
        joints[:, joint(name)] += speaker.liveliness * wander(name, frames, rng)
        joints[:, joint(name), 0] += speaker.lean / 3
    joints[:, joint("spine3"), 0] -= _BREATH * breath


def _move_head(
    joints: np.ndarray,
    gestures: list[Gesture],
    words: list[SpokenWord],
    speaker: Speaker,
    rng: np.random.Generator,
) -> None:
    frames = len(joints)
    head = np.zeros((frames, 3))
    head[:, 0] = speaker.head_pitch - 0.6 * speaker.lean
    starts = np.array([word.start_s for word in words if word.stressed])
    stress = bumps(np.arange(frames) / FPS, starts + _STRESS_LAG_S, _STRESS_WIDTH_S)
    head[:, 0] += speaker.head_nod * stress.sum(axis=1)
    margin = round(_HEAD_MARGIN_S * FPS)
    head += _look_around(frames, rng)
    for gesture in gestures:
        first = max(gesture.first - margin, 0)
        span = slice(first, min(gesture.last + margin, frames))
        local = np.arange(span.stop - span.start) / FPS
        ramp = minimum_jerk(np.minimum(local, local[::-1]) / _HEAD_MARGIN_S)
        match gesture.variant.head:
            case "nod":
                head[span, 0] += _NOD * ramp * np.sin(2 * np.pi * _NOD_HZ * local)
            case "shake":
                head[span, 1] += _SHAKE * ramp * np.sin(2 * np.pi * _SHAKE_HZ * local)
            case "tilt":
                head[span, 2] += _TILT * ramp * rng.choice([-1.0, 1.0])
    for name in ("neck", "head"):
        joints[:, joint(name)] = 0.5 * head + speaker.liveliness * wander(name, frames, rng)


def _look_around(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Rotation vectors (T, 3) of a head that turns from one listener to the next."""
    turns = Moves(rng.normal(0, 1, 3) * _LOOK_SPREAD)
    now = 0.0
    while now < frames / FPS:
        now += rng.uniform(*_LOOK_S)
        turns.add(now, now + _LOOK_TURN_S, rng.normal(0, 1, 3) * _LOOK_SPREAD)
        now += _LOOK_TURN_S
    return turns.at(np.arange(frames) / FPS)
