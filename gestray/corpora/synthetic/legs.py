"""Standing: where the feet are, when they step, and the legs that follow from it.

People shift their weight from one foot to the other, and now and then step and turn. The
plan says where each foot stands and the pelvis is; the legs are solved from both, so a
foot that stands does not slide: its joints keep their place while `Standing.contacts` says
so, and in a step the heel leaves the floor before the toes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gestray.corpora.synthetic.idle import smooth_noise
from gestray.corpora.synthetic.ik import matrix_to_rotvec, rotvec_to_matrix
from gestray.corpora.synthetic.speakers import Speaker
from gestray.corpora.synthetic.stroke import FPS, minimum_jerk
from gestray.motion.skeleton import REST_OFFSETS, joint

CONTACT_JOINTS = ("left_ankle", "right_ankle", "left_foot", "right_foot")
"""Joints of `Standing.contacts`, in the order of the field's codebases (7, 8, 10, 11)."""

SOLE = 0.02
"""Height of the foot joint above the floor while the foot stands, metres."""

SIDES = ("left", "right")
# Sideways sign of each side: the body's left is at +x.
_SIGN = {"left": 1.0, "right": -1.0}

_HIP, _THIGH, _SHIN, _FOOT = (
    REST_OFFSETS[joint(f"left_{name}")].astype(np.float64)
    for name in ("hip", "knee", "ankle", "foot")
)
_ANKLE_HEIGHT = SOLE - _FOOT[1]
_LEG = float(np.linalg.norm(_THIGH) + np.linalg.norm(_SHIN))
# Of its length: the most a leg is stretched by the height of the pelvis, and at all.
_STRETCH, _FULL_STRETCH = 0.997, 0.9997
# The pelvis is this far before the ankles, metres: the weight is on the middle of the foot.
_FORWARD = 0.03

# Half the distance of the feet, metres.
_HALF_STANCE = (0.10, 0.15)
# Of a step: seconds in the air, height of the toes, and how far the foot tips, radians.
_STEP_S, _STEP_HEIGHT, _TIP = (0.55, 0.75), 0.06, 0.55
# The heel leaves the floor this long before the toes, seconds.
_HEEL_FIRST_S = 0.15
# Seconds to shift the weight, and to hand it over before and after a step.
_SHIFT_S, _HANDOVER_S = (0.8, 1.6), 0.55
# Part of the weight on one foot after a shift, and on the foot that lets the other one step.
_WEIGHT, _ON_ONE = (0.2, 0.8), 0.75
# Standard deviations of where a speaker stands, metres about the origin, and of the heading,
# radians; and how far one step goes and turns at most.
_ROAM, _TURN = 0.17, 0.35
_LONGEST_STEP, _WIDEST_TURN = 0.22, 0.5
# How far knees give way, metres: median, and spread of the logarithm.
_GIVE, _GIVE_SPREAD = 0.005, 0.7
# Nobody moves in the first second and the last two of a take.
_QUIET_START_S, _QUIET_END_S = 1.0, 2.0


@dataclass(frozen=True)
class Standing:
    """Lower body of T frames.

    Attributes:
        pelvis: place of the pelvis, metres (T, 3); the floor is at height 0.
        turn: rotation vectors of the pelvis (T, 3).
        legs: rotation vectors of hip, knee, ankle and foot by side, each (T, 4, 3).
        contacts: whether each of `CONTACT_JOINTS` rests on its place, bool (T, 4).
    """

    pelvis: np.ndarray
    turn: np.ndarray
    legs: dict[str, np.ndarray]
    contacts: np.ndarray


@dataclass
class Moves:
    """Keyed values: each move leads from the value before to the next, in seconds."""

    first: np.ndarray
    spans: list[tuple[float, float]] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)

    def add(self, start_s: float, end_s: float, value: np.ndarray) -> None:
        self.spans.append((start_s, end_s))
        self.values.append(value)

    @property
    def now(self) -> np.ndarray:
        """The value after the last move."""
        return self.values[-1] if self.values else self.first

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Values (T, C): minimum-jerk within a move, constant between two."""
        result = np.tile(self.first, (len(seconds), 1))
        before = self.first
        for (start, end), value in zip(self.spans, self.values, strict=True):
            result += minimum_jerk((seconds - start) / (end - start))[:, None] * (value - before)
            before = value
        return result


def stand(speaker: Speaker, frames: int, turning: np.ndarray, rng: np.random.Generator) -> Standing:
    """A take's lower body in the style of `speaker`.

    Args:
        speaker: sets how often weight is shifted and steps are made, and the sway.
        frames: T.
        turning: rotation vectors by which the pelvis sways on top of its heading (T, 3).
        rng: source of all that varies.
    """
    seconds = np.arange(frames) / FPS
    feet, body = _plan(speaker, frames / FPS, rng)
    placed = body.at(seconds)
    heading = placed[:, 2]
    sway = speaker.sway_m * smooth_noise(frames, 2, rng, hz=(0.2, 0.6))
    give = _GIVE * np.exp(_GIVE_SPREAD * smooth_noise(frames, 1, rng, hz=(0.2, 0.7))[:, 0])
    forward = np.stack([np.sin(heading), np.cos(heading)], axis=1)
    ground = placed[:, :2] + _FORWARD * forward + sway
    turn = _heading_matrix(heading) @ rotvec_to_matrix(turning)

    contacts = np.zeros((frames, len(CONTACT_JOINTS)), dtype=bool)
    ankles, soles, hips, toes = {}, {}, {}, {}
    drop = []
    for number, side in enumerate(SIDES):
        ankles[side], soles[side], toes[side], contacts[:, number::2] = _tread(
            feet[side], side, seconds
        )
        hips[side] = turn @ _of_side(_HIP, side)
        across = np.linalg.norm(ankles[side][:, [0, 2]] - ground - hips[side][:, [0, 2]], axis=1)
        tall = np.sqrt(np.maximum((_STRETCH * _LEG) ** 2 - across**2, 0.01))
        drop.append(hips[side][:, 1] - ankles[side][:, 1] - tall)
    # As high as both legs allow: a smooth maximum, so that knees do not jerk when one takes over.
    height = -np.logaddexp(*(300.0 * np.array(drop))) / 300.0 - give
    pelvis = np.stack([ground[:, 0], height, ground[:, 1]], axis=1)
    legs = {
        side: np.concatenate(
            [_solve_leg(ankles[side] - pelvis - hips[side], turn, soles[side]), toes[side]], axis=1
        )
        for side in SIDES
    }
    return Standing(pelvis, matrix_to_rotvec(turn), legs, contacts)


def _plan(
    speaker: Speaker, seconds: float, rng: np.random.Generator
) -> tuple[dict[str, Moves], Moves]:
    """Footprints, and the moves (x, z, heading) of the body between them."""
    half = rng.uniform(*_HALF_STANCE)
    centre, heading = rng.normal(0, _ROAM, 2), rng.normal(0, _TURN)
    feet = {side: Moves(_print(side, centre, heading, half, rng)) for side in SIDES}

    def between(weight: float) -> np.ndarray:
        """The body with the share `weight` of it on the left foot."""
        return weight * feet["left"].now + (1 - weight) * feet["right"].now

    body = Moves(between(rng.uniform(0.35, 0.65)))
    now = _QUIET_START_S + rng.exponential(2.0)
    while True:
        if rng.random() < speaker.steps:
            way = rng.normal(0, _ROAM, 2) - centre
            centre = centre + way * min(1.0, _LONGEST_STEP / float(np.linalg.norm(way)))
            turn = rng.normal(0, _TURN) - heading
            heading += float(np.clip(turn, -_WIDEST_TURN, _WIDEST_TURN))
            aside = (centre - between(0.5)[:2]) @ np.array([np.cos(heading), -np.sin(heading)])
            # The foot on the side one goes to steps first, so that legs do not cross.
            order = SIDES if aside > 0 else SIDES[::-1]
            lengths = rng.uniform(*_STEP_S, 2)
            if now + lengths.sum() + 3 * _HANDOVER_S > seconds - _QUIET_END_S:
                return feet, body
            for side, step_s in zip(order, lengths, strict=True):
                on_other = 1 - _ON_ONE if side == "left" else _ON_ONE
                body.add(now, now + _HANDOVER_S, between(on_other))
                now += _HANDOVER_S
                target = _print(side, centre, heading, half, rng)
                feet[side].add(now, now + step_s, target)
                now += step_s
            body.add(now, now + _HANDOVER_S, between(rng.uniform(*_WEIGHT)))
            now += _HANDOVER_S
        else:
            shift_s = rng.uniform(*_SHIFT_S)
            if now + shift_s > seconds - _QUIET_END_S:
                return feet, body
            body.add(now, now + shift_s, between(rng.uniform(*_WEIGHT)))
            now += shift_s
        now += rng.exponential(speaker.stillness_s)


def _print(
    side: str, centre: np.ndarray, heading: float, half: float, rng: np.random.Generator
) -> np.ndarray:
    """A footprint (x, z, heading) beside `centre`, turned a little out."""
    across = np.array([np.cos(heading), -np.sin(heading)])
    along = np.array([np.sin(heading), np.cos(heading)])
    place = centre + _SIGN[side] * half * across + rng.normal(0, 0.025) * along
    return np.array([*place, heading + _SIGN[side] * rng.uniform(0.05, 0.25)])


def _tread(
    foot: Moves, side: str, seconds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ankle (T, 3), sole (T, 3, 3), rotation vector of the toes (T, 1, 3), contacts (T, 2).

    `foot` holds its prints, and a step is a move from one to the next.
    """
    tip, lift = np.zeros(len(seconds)), np.zeros(len(seconds))
    heel, toes = np.ones(len(seconds), dtype=bool), np.ones(len(seconds), dtype=bool)
    for start, end in foot.spans:
        early = start - _HEEL_FIRST_S
        tip += _TIP * _arch((seconds - early) / (end - early))
        lift += _STEP_HEIGHT * _arch((seconds - start) / (end - start))
        heel &= (seconds <= early) | (seconds >= end)
        toes &= (seconds <= start) | (seconds >= end)
    placed = foot.at(seconds)
    flat = _heading_matrix(placed[:, 2])
    zero = np.zeros_like(tip)
    sole = flat @ rotvec_to_matrix(np.stack([tip, zero, zero], axis=1))
    to_toes = _of_side(_FOOT, side)
    # The foot tips over its toes, which keep their place while they stand.
    ankle = np.stack([placed[:, 0], _ANKLE_HEIGHT + lift, placed[:, 1]], axis=1)
    bent = np.stack([-tip, zero, zero], axis=1)[:, None]
    contacts = np.stack([heel, toes], axis=1)
    return ankle + flat @ to_toes - sole @ to_toes, sole, bent, contacts


def _solve_leg(reach: np.ndarray, turn: np.ndarray, sole: np.ndarray) -> np.ndarray:
    """Rotation vectors (T, 3, 3) of hip, knee and ankle.

    Args:
        reach: from hip to ankle, metres (T, 3).
        turn: rotation of the pelvis (T, 3, 3).
        sole: rotation of the foot (T, 3, 3).
    """
    # The knee is a hinge about x: its angle follows from the distance to bridge.
    distance = np.linalg.norm(reach, axis=1)
    squares = float(_THIGH @ _THIGH + _SHIN @ _SHIN)
    aligned = float(_THIGH[1] * _SHIN[1] + _THIGH[2] * _SHIN[2])
    crossed = float(_THIGH[2] * _SHIN[1] - _THIGH[1] * _SHIN[2])
    bridged = np.minimum(distance, _FULL_STRETCH * _LEG) ** 2
    fixed = squares + 2 * float(_THIGH[0] * _SHIN[0])
    size = 2 * float(np.hypot(aligned, crossed))
    angle = np.arctan2(crossed, aligned) + np.arccos(np.clip((bridged - fixed) / size, -1, 1))
    zero = np.zeros_like(angle)
    knee = rotvec_to_matrix(np.stack([angle, zero, zero], axis=1))

    # The thigh turns the leg into the line to bridge, the knee pointing between hips and toes.
    bent = _THIGH + knee @ _SHIN
    aside = turn[:, :, 0] + sole[:, :, 0]
    thigh = _basis(reach, aside) @ _basis(bent, np.broadcast_to([1.0, 0.0, 0.0], bent.shape)).mT
    hip = turn.mT @ thigh
    ankle = (thigh @ knee).mT @ sole
    return matrix_to_rotvec(np.stack([hip, knee, ankle], axis=1))


def _basis(main: np.ndarray, aside: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) whose first column is along `main` and second as near to `aside`."""
    first = main / np.linalg.norm(main, axis=1, keepdims=True)
    second = aside - (aside * first).sum(axis=1, keepdims=True) * first
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def _heading_matrix(heading: np.ndarray) -> np.ndarray:
    zero = np.zeros_like(heading)
    return rotvec_to_matrix(np.stack([zero, heading, zero], axis=-1))


def _of_side(offset: np.ndarray, side: str) -> np.ndarray:
    return offset * np.array([_SIGN[side], 1.0, 1.0])


def _arch(share: np.ndarray) -> np.ndarray:
    """From 0 up to 1 and back, with a smooth start and end; 0 outside of [0, 1]."""
    return np.sin(np.pi * np.clip(share, 0.0, 1.0)) ** 2
